//! A client of a cluster: made from its settings, connected to all replicas, shared by all who use
//! a space of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bts_certs::Traffic;
use bts_core::client::{self as machine, Handle, Op, Options, Outcome};
use bts_core::crypto::sign::PROTOCOL_VERSION;
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::{BadSpaceName, PublicKey, ReplicaId, Session, SpaceName};
use bts_core::limits::CANDIDATES_MAX;
use bts_core::message::{Hello, HelloRole, Report};
use bts_core::time::Span;
use tokio::sync::{mpsc, oneshot};

use crate::call::{Call, Command, Ended};
use crate::config::Config;
use crate::connection::{Connection, Dialers};
use crate::driver::{Driver, EVENTS_MAX};
use crate::error::{ConnectError, Effect, Error};
use crate::network::Seat;
use crate::replicas::{Board, LinkState};
use crate::space::Space;

/// How long the machine waits before it first repeats an unanswered request.
const RESEND: Span = Span::from_millis(250);
/// With so many other requests open, reads spare who need not be asked.
const SPARE_FROM: usize = 4;
/// Entries that a replica names in one answer.
const CANDIDATES: u8 = 4;
/// Signatures that were checked in this process, or made in it: valid for one client, valid for all.
static VERIFIED: LazyLock<VerifiedRoots> = LazyLock::new(VerifiedRoots::default);
/// Random low bits of a session, so that two processes started at once differ.
const SESSION_RANDOM_BITS: u32 = 12;

/// A client. Cheap to clone; all clones are one client with one set of connections, and may be used
/// from many tasks and threads at the same time, of any async runtime.
///
/// When the last clone (and the last [`Space`]) is dropped, the client is closed as by
/// [`close`](Self::close), but nobody waits for it: a process that ends at once may end before the
/// replicas know the last results.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    board: Arc<Board>,
    commands: mpsc::UnboundedSender<Command>,
    next_handle: AtomicU64,
}

/// How a replica is, as far as it can be told from here.
#[derive(Clone, Debug)]
pub struct ReplicaStatus {
    /// Which.
    pub replica: ReplicaId,
    /// The name in its certificate.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its key.
    pub key: PublicKey,
    /// The link to it.
    pub link: LinkState,
    /// What it reports of itself, if it answered.
    pub report: Option<Report>,
}

impl Client {
    /// Starts a client and waits until a quorum of the replicas has welcomed it, which proves that
    /// they accepted its certificate. The other replicas are connected in the background. Fails
    /// when the connect deadline of the settings passes, or as soon as so many replicas refuse that
    /// no quorum is left; the error tells of each replica why.
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let deadline = config.connect_deadline;
        let client = Self::start(config)?;
        let (sender, welcomed) = oneshot::channel();
        client.shared.send(Command::Ready(deadline, sender));
        match welcomed.await {
            Ok(Ok(())) => Ok(client),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(std::io::Error::other("the driver's thread has ended").into()),
        }
    }

    /// Starts a client and does not wait for any replica. Operations wait within their deadlines.
    /// For tools that look at a cluster which may be broken.
    pub fn start(config: Config) -> Result<Self, ConnectError> {
        let seat = Seat::take()?;
        let (client, driving) = {
            let _within = seat.enter();
            Self::start_here(config)?
        };
        seat.run(driving);
        Ok(client)
    }

    /// To be called within the runtime that is to drive the client.
    fn start_here(
        config: Config,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), ConnectError> {
        let dialers = Arc::new(Dialers::bind(&config.identity)?);
        let config = Arc::new(config);
        let configuration = config.cluster.configuration();
        let size = configuration.size();
        let session = new_session();
        tracing::info!(
            identity = %config.identity(), %session, cluster = %config.cluster.id(),
            n = size.replicas(), f = size.faults(), q = size.ack_quorum(), "client started"
        );
        let machine = machine::Client::new(Options {
            configuration: Arc::clone(configuration),
            key: config.identity.signing_key().clone(),
            session,
            candidates: CANDIDATES,
            resend: RESEND,
            spare_from: SPARE_FROM,
            roots: VERIFIED.clone(),
        });
        let board = Arc::new(Board::new(size.replicas()));
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let connection = |(replica, member): (ReplicaId, &bts_certs::cluster::Member)| Connection {
            replica,
            member: member.clone(),
            hello: Hello {
                version: PROTOCOL_VERSION,
                cluster: config.cluster.id(),
                configuration: configuration.signing_context().configuration,
                role: HelloRole::Client { session },
            },
            dialers: Arc::clone(&dialers),
            board: Arc::clone(&board),
            events: events.clone(),
        };
        let connections = config.cluster.members().map(connection).collect();
        let (commands, commanded) = mpsc::unbounded_channel();
        let driver = Driver::new(Arc::clone(&config), Arc::clone(&board), machine);
        let driving = driver.run(commanded, received, connections, Arc::clone(&dialers));
        let shared = Arc::new(Shared {
            config,
            board,
            commands,
            next_handle: AtomicU64::new(0),
        });
        Ok((Self { shared }, driving))
    }

    /// A space of the cluster. It need not be made: a space exists by being used.
    pub fn space(&self, name: &str) -> Result<Space, BadSpaceName> {
        let deadline = self.shared.config.deadline;
        Ok(Space::new(
            Arc::clone(&self.shared),
            SpaceName::new(name)?,
            deadline,
        ))
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// How the links to the replicas are at this moment.
    pub fn links(&self) -> Vec<(ReplicaId, LinkState)> {
        let replicas = self.shared.config.cluster.configuration().replicas();
        replicas.zip(self.shared.board.states()).collect()
    }

    /// What went over the links to the replicas so far, as seen from here.
    pub fn traffic(&self) -> Traffic {
        self.shared.board.traffic()
    }

    /// Asks every replica how it is, and waits at most so long for the answers. What a replica
    /// reports of itself is its own claim; one that lies will lie here too.
    pub async fn inspect(&self, within: Duration) -> Result<Vec<ReplicaStatus>, Error> {
        let ended = self.shared.call(Op::Inspect, Some(within)).ended().await;
        let mut reports = match ended {
            Ended::Outcome(Outcome::Inspected(reports)) => reports,
            Ended::Closed(_) => return Err(Error::Closed),
            Ended::Outcome(_) | Ended::Taken(..) | Ended::Expired { .. } => Vec::new(),
        };
        let status = |((replica, member), link): ((ReplicaId, &bts_certs::cluster::Member), _)| {
            let position = reports.iter().position(|(other, _)| *other == replica);
            ReplicaStatus {
                replica,
                name: member.name.clone(),
                address: member.address.clone(),
                key: member.key,
                link,
                report: position.map(|position| reports.swap_remove(position).1),
            }
        };
        let members = self.shared.config.cluster.members();
        Ok(members
            .zip(self.shared.board.states())
            .map(status)
            .collect())
    }

    /// Closes the client, for all its clones. Operations under way are given up, new ones are
    /// refused; what goes on in the background (spreading decisions, putting back what was taken
    /// for nobody) may take five seconds more. If it took anything, its session is ended, so that the
    /// replicas forget what it took, and those of other processes with this key that crashed; within a
    /// second. Then the replicas are told goodbye.
    pub async fn close(&self) {
        let (sender, closed) = oneshot::channel();
        self.shared.send(Command::Close(sender));
        // An error means that the driver has ended already.
        let _ = closed.await;
    }
}

impl Shared {
    /// Starts an operation.
    pub(crate) fn call(&self, op: Op, deadline: Option<Duration>) -> Call {
        let handle = Handle(self.next_handle.fetch_add(1, Ordering::Relaxed));
        Call::start(&self.commands, handle, op, deadline)
    }

    /// The error of an operation that ended without an outcome of its own.
    pub(crate) fn error_of(&self, ended: Ended, deadline: Option<Duration>) -> Error {
        match ended {
            Ended::Expired { effect, answered } => {
                let roll = self.board.roll_call(&self.config.cluster, answered);
                let after = deadline.unwrap_or_default();
                if roll.answered.len() < roll.needed {
                    return Error::NoQuorum { roll, effect };
                }
                Error::Timeout {
                    after,
                    roll,
                    effect,
                }
            }
            Ended::Closed(Effect::None) => Error::Closed,
            Ended::Closed(effect) => Error::GivenUp(effect),
            Ended::Outcome(outcome) => error_of_outcome(outcome),
            Ended::Taken(found, _) => error_of_outcome(Outcome::Found(found)),
        }
    }

    fn send(&self, command: Command) {
        // It fails only if the driver is gone, which the answer tells too.
        let _ = self.commands.send(command);
    }
}

fn error_of_outcome(outcome: Outcome) -> Error {
    use bts_core::message::Refused;
    let refused = |by_policy, reason| Error::Refused { by_policy, reason };
    match outcome {
        Outcome::Refused(Refused::Forbidden(reason)) => refused(true, reason),
        Outcome::Refused(Refused::Limit(reason)) => refused(false, format!("a limit: {reason}")),
        Outcome::Refused(Refused::NoRoom(reason)) => refused(false, format!("no room: {reason}")),
        Outcome::Refused(Refused::IllFormed(reason) | Refused::Forged(reason)) => {
            Error::Malformed(reason)
        }
        Outcome::Refused(Refused::SessionEnded) => Error::SessionEnded,
        Outcome::Refused(Refused::TooManySessions) => refused(false, "too many sessions".into()),
        Outcome::Refused(Refused::Ended) => refused(false, "the configuration has ended".into()),
        Outcome::Refused(Refused::Starting) => refused(false, "the replicas are starting".into()),
        Outcome::Malformed(reason) => Error::Malformed(reason),
        Outcome::Cancelled => Error::GivenUp(Effect::None),
        Outcome::Unknown => Error::GivenUp(Effect::Possible),
        other @ (Outcome::Written(_)
        | Outcome::Found(_)
        | Outcome::Swapped { .. }
        | Outcome::Declined(_)
        | Outcome::None
        | Outcome::Listed(_)
        | Outcome::Inspected(_)
        | Outcome::Ended) => unreachable!("{other:?} is no outcome of this operation"),
    }
}

/// Later sessions of a key are greater: the time in microseconds, and random bits below it.
fn new_session() -> Session {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
    let random = rand::random_range(0..1u64 << SESSION_RANDOM_BITS);
    Session(micros.wrapping_shl(SESSION_RANDOM_BITS) | random)
}

const _: () = assert!((CANDIDATES as usize) <= CANDIDATES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_sessions_grow_with_time_and_differ() {
        let one = new_session();
        std::thread::sleep(Duration::from_millis(1));
        let two = new_session();
        assert!(one < two, "{one} {two}");
        assert!(
            one.0 > 1 << 62,
            "no bit of the time may be lost before the year 2100"
        );
    }
}

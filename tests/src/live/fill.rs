//! A replica that nobody has to talk to: its core is given signed entries as fast as it takes them,
//! and its shell stores what the core logs, as always.

use std::cell::Cell;
use std::rc::Rc;

use bts_certs::LocalIdentity;
use bts_certs::cluster::Cluster;
use bts_core::codec;
use bts_core::content::EntryPayload;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{Kind, SignedBytes, Signer};
use bts_core::ids::{
    ClientRef, EntryId, Lsn, PublicKey, ReplicaId, RequestId, Seq, Session, SpaceName, TakeNumber,
};
use bts_core::message::{ClientBody, ClientRequest};
use bts_core::replica::{Input, Outputs, Replica};
use bts_core::time::{Span, Time};
use bts_core::tuple::{Field, Tuple};
use bts_replica::{Machine, Settings};
use tokio::sync::oneshot;

use super::{SPACE, TUPLE_BYTES};

/// The first field of every tuple.
pub(super) const NAME: &str = "entry";
/// Entries that the core is given at a time.
const AT_ONCE: usize = 256;
/// When it has nothing to do.
const LATER: Span = Span::from_millis(1000);

/// What one client is to write: an iterator of signed entries in [`SPACE`].
#[derive(Clone, Debug)]
pub struct Share {
    signer: Signer,
    key: PublicKey,
    session: Session,
    written: u64,
    left: u64,
}

/// So many entries, evenly by these clients.
pub(super) fn shares(cluster: &Cluster, clients: Vec<LocalIdentity>, entries: u64) -> Vec<Share> {
    let context = *cluster.configuration().signing_context();
    let count = clients.len() as u64;
    let share = |(number, client): (u64, LocalIdentity)| {
        let signer = Signer::new(client.signing_key().clone(), context);
        let left = entries / count + u64::from(number < entries % count);
        Share::new(signer, Session(1_800_000_000_000_000 + number), left)
    };
    (0..).zip(clients).map(share).collect()
}

impl Share {
    /// So many entries in one session.
    pub fn new(signer: Signer, session: Session, entries: u64) -> Self {
        Self {
            key: signer.public(),
            signer,
            session,
            written: 0,
            left: entries,
        }
    }

    fn client(&self) -> ClientRef {
        ClientRef {
            key: self.key,
            session: self.session,
        }
    }
}

impl Iterator for Share {
    type Item = SignedBytes;

    fn next(&mut self) -> Option<SignedBytes> {
        self.left = self.left.checked_sub(1)?;
        self.written += 1;
        let space = SpaceName::new(SPACE).expect("a good name");
        let payload = EntryPayload {
            id: EntryId::written(space, self.key, self.session, Seq(self.written)),
            tuple: tuple(self.written),
            expiry: None,
            access: None,
        };
        Some(self.signer.sign(Kind::Entry, codec::encode(&payload)))
    }
}

/// A tuple of exactly [`TUPLE_BYTES`]: a name, a number, and what is left as bytes.
pub(super) fn tuple(number: u64) -> Tuple {
    let of = |bytes: usize| -> Tuple {
        let fields: [Field; 3] = [NAME.into(), number.into(), vec![7; bytes].into()];
        fields.into_iter().collect()
    };
    let bare = codec::encode(&of(0)).len();
    of(TUPLE_BYTES - bare)
}

/// Runs the replica of these settings in this task until it has stored all of this.
pub(super) async fn fill(settings: Settings, shares: Vec<Share>) -> Result<(), String> {
    let (done, over) = oneshot::channel();
    let done = Rc::new(Cell::new(Some(done)));
    let make = |start: bts_replica::Start<'_>| {
        Ok(Filler {
            core: bts_replica::replica(start)?,
            shares: shares.clone(),
            begun: false,
            next: Time::ZERO,
            logged: Lsn(0),
            synced: Lsn(0),
            done: Rc::clone(&done),
        })
    };
    let over = async { over.await.unwrap_or(()) };
    let ran = bts_replica::run(settings, make, over).await;
    ran.map_err(|error| error.to_string())
}

/// The core, and what it is still to be given.
struct Filler {
    core: Replica,
    shares: Vec<Share>,
    begun: bool,
    next: Time,
    logged: Lsn,
    synced: Lsn,
    done: Rc<Cell<Option<oneshot::Sender<()>>>>,
}

impl Filler {
    fn feed(&mut self, now: Time, out: &mut Outputs) {
        for share in &mut self.shares {
            let client = share.client();
            if !self.begun {
                self.core.handle(now, Input::ClientConnected(client), out);
            }
            for entry in share.take(AT_ONCE) {
                let request = ClientRequest {
                    request: RequestId(0),
                    settled_below: TakeNumber(0),
                    body: ClientBody::Out { entry },
                };
                self.core.handle(now, Input::Client(client, request), out);
            }
        }
        self.begun = true;
        if let Some((last, _)) = out.records.last() {
            self.logged = *last;
        }
        // Nobody hears the answers.
        out.send.clear();
        if self.is_over()
            && let Some(done) = self.done.take()
        {
            // Who waited may have given up.
            let _ = done.send(());
        }
    }

    fn is_over(&self) -> bool {
        self.shares.iter().all(|share| share.left == 0) && self.synced == self.logged
    }
}

impl Machine for Filler {
    fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        if let Input::Synced(lsn) = input {
            self.synced = lsn;
        }
        self.core.handle(now, input, out);
        self.feed(now, out);
        self.next = match self.is_over() {
            true => now + LATER,
            false => now,
        };
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        Some((self.next, "more to write"))
    }

    fn stream_next(&self, peer: ReplicaId) -> u64 {
        self.core.stream_next(peer)
    }

    fn stopped(&self) -> Option<Digest> {
        self.core.stopped()
    }
}

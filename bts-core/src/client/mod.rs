//! The client as a state machine: its part of the protocol, which needs no coordinator.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use crate::configuration::Configuration;
use crate::content::Put;
use crate::ids::{EntryId, ReplicaId, Session, SpaceName};
use crate::message::{ClientRequest, Found, Refused, Reply, Report};
use crate::template::Template;
use crate::time::{Span, Time};
use crate::tuple::Tuple;

/// Names an operation from its invocation until its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// What a swap does with the tuple it is about to take: the puts that replace it, or `None` to
/// decline, which ends the swap without taking. It may be called several times, once per attempt.
pub type SwapWith = Box<dyn FnMut(&Tuple) -> Option<Vec<Put>> + Send>;

/// An operation (PROTOCOL section 4).
pub enum Op {
    /// Writes a tuple.
    Out {
        /// The space.
        space: SpaceName,
        /// The tuple, with access lists if wanted.
        put: Put,
    },
    /// Reads a matching tuple: `rdp`, or with `wait` `rd`.
    Read {
        /// The space.
        space: SpaceName,
        /// What to look for.
        template: Template,
        /// Whether to wait for one.
        wait: bool,
    },
    /// Takes a matching tuple: `inp`, or with `wait` `in`; with `with` a swap.
    Take {
        /// The space.
        space: SpaceName,
        /// What to look for.
        template: Template,
        /// Whether to wait for one.
        wait: bool,
        /// What to put in its place.
        with: Option<SwapWith>,
    },
    /// Lists all matching tuples; not a snapshot.
    List {
        /// The space.
        space: SpaceName,
        /// What to look for.
        template: Template,
    },
    /// Asks every replica how it is. Ends when all answered, or by `Cancel`.
    Inspect,
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Out { space, put } => write!(f, "out({space}, {:?})", put.tuple),
            Self::Read { space, wait, .. } => write!(f, "read({space}, wait {wait})"),
            Self::Take {
                space, wait, with, ..
            } => {
                write!(f, "take({space}, wait {wait}, swap {})", with.is_some())
            }
            Self::List { space, .. } => write!(f, "list({space})"),
            Self::Inspect => f.write_str("inspect"),
        }
    }
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `out`: `q` replicas hold the entry.
    Written(EntryId),
    /// A tuple was read, or taken by `in`/`inp`.
    Found(Found),
    /// A swap took the first and put the others in its place; `q` replicas applied it.
    Swapped {
        /// What was taken.
        taken: Found,
        /// Ids of the puts.
        put: Vec<EntryId>,
    },
    /// The swap's function declined this tuple, which was present.
    Declined(Found),
    /// Proven: at one instant during the operation nothing matched.
    None,
    /// All entries listed.
    Listed(Vec<Found>),
    /// What each replica reported, so far as it answered.
    Inspected(Vec<(ReplicaId, Report)>),
    /// `f+1` replicas refuse it for good.
    Refused(Refused),
    /// The tuple or template breaks the bounds of the protocol; nothing was sent.
    Malformed(String),
    /// Cancelled before it had an effect that others can see.
    Cancelled,
    /// Cancelled when it might already have had an effect. An `out` may become visible; a Take is
    /// finished in the background, and a tuple won by it is put back; a swap may take effect.
    Unknown,
}

/// What happens to a client.
#[derive(Debug)]
pub enum Input {
    /// The application wants something done.
    Invoke(Handle, Op),
    /// The application does not want the result any more. The operation still ends with an outcome.
    Cancel(Handle),
    /// A replica welcomed us.
    Connected(ReplicaId),
    /// The connection to it ended.
    Disconnected(ReplicaId),
    /// A replica answered.
    Reply(ReplicaId, Reply),
    /// Nothing but time passed: a deadline is reached.
    Tick,
}

/// What a client wants done. The owner empties it.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be sent, in order for each replica; losing or doubling one is harmless.
    pub send: Vec<(ReplicaId, ClientRequest)>,
    /// Operations that ended.
    pub done: Vec<(Handle, Outcome)>,
    /// Faults of replicas, to be logged for people.
    pub events: Vec<(ReplicaId, String)>,
}

/// What a client is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub configuration: Arc<Configuration>,
    /// Its key.
    pub key: SigningKey,
    /// Its session: start time in microseconds, low bits random.
    pub session: Session,
    /// Entries reported per replica in one read.
    pub candidates: u8,
    /// How often an unanswered request is repeated, at first; each repetition waits twice as long.
    pub resend: Span,
}

/// The client.
#[derive(Debug)]
pub struct Client {
    options: Options,
}

impl Client {
    /// A client without connections.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Takes one input to its end.
    pub fn handle(&mut self, _now: Time, _input: Input, _out: &mut Outputs) {
        let _ = &self.options;
    }

    /// When the client wants a [`Input::Tick`], and what for.
    pub fn deadline(&self) -> Option<(Time, &'static str)> {
        None
    }

    /// Which replicas answered this operation so far, for error messages.
    pub fn answered(&self, _handle: Handle) -> Vec<ReplicaId> {
        Vec::new()
    }

    /// True if nothing is left to be finished in the background.
    pub fn is_idle(&self) -> bool {
        true
    }
}

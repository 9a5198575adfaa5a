//! The habits of a [liar](super::liar): what each is, and what a liar does not hear. What it says
//! by itself is in [`outburst`](super::outburst), how it edits what its honest core says in
//! [`edit`](super::edit).

use bts_core::replica::Outgoing;

use crate::sim::node::Message;
use crate::sim::rng::Rng;

/// One way to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Votes for every Take, proposal and lock, whatever it voted for before.
    Agree,
    /// Says that what was asked for is done: stored, applied.
    Boast,
    /// Does not hear messages of some kinds: its state is stale.
    Deaf(u64),
    /// Finds nothing, ever.
    Empty,
    /// Claims votes, locks and epochs that are not so.
    FalseStatus,
    /// Relays votes, certificates and decisions that nobody signed.
    Forge,
    /// Always finds something: what was removed long ago, or what only it knows of.
    Full,
    /// Changes bytes of what it relays.
    Garble,
    /// Names entries that nobody wrote, signed by itself in the name of others.
    Invent,
    /// Shows genuine votes as certificates of what they do not certify.
    Miscertify,
    /// Promises other things than it should, and different ones to different replicas.
    Perjure,
    /// Proposes what it likes in its ballots, to each what it likes.
    Propose,
    /// Says again what it heard before, genuine but out of place.
    Replay,
    /// Does not say messages of some kinds to some of the others.
    Withhold(u64),
}

impl Habit {
    /// Draws a habit.
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(12) {
            0 => Self::Agree,
            1 => Self::Boast,
            2 => Self::Deaf(rng.number()),
            3 => Self::Empty,
            4 => Self::FalseStatus,
            5 => Self::Forge,
            6 => Self::Full,
            7 => Self::Garble,
            8 => Self::Perjure,
            9 => Self::Propose,
            10 => Self::Replay,
            _ => Self::Withhold(rng.number()),
        }
    }
}

/// True if the habit keeps the core from hearing this.
pub fn is_deaf(habit: &Habit, heard: Option<&Message>) -> bool {
    match (habit, heard) {
        (Habit::Deaf(salt), Some(message)) => picks(*salt, message.kind()),
        _ => false,
    }
}

/// A third of the kinds, by the salt.
fn picks(salt: u64, kind: &str) -> bool {
    let mix = |sum: u64, byte: u8| Rng::new(sum ^ u64::from(byte)).number();
    kind.bytes().fold(salt, mix).is_multiple_of(3)
}

/// Some kinds to everybody, and everything to some.
pub(super) fn withholds(salt: u64, outgoing: &Outgoing) -> bool {
    let (kind, to) = match outgoing {
        Outgoing::Client(to, reply) => (Message::Reply(reply.clone()).kind(), to.key.0[0]),
        Outgoing::Peer(to, message) => (Message::Peer(message.clone()).kind(), to.0 as u8),
    };
    picks(salt, kind) || Rng::new(salt ^ u64::from(to)).number().is_multiple_of(3)
}

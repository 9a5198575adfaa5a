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
    /// Says anything that it can sign.
    Babble,
    /// Says that what was asked for is done: stored, applied.
    Boast,
    /// Does not hear messages of some kinds: its state is stale.
    Deaf(u64),
    /// Says the same again and again.
    Flood,
    /// Finds nothing, ever.
    Empty,
    /// Claims votes, locks and epochs that are not so.
    FalseStatus,
    /// Relays votes, certificates and decisions that nobody signed.
    Forge,
    /// Always finds something: what was removed long ago, or what only it knows of.
    Full,
    /// Keeps certificates that it could make to itself, and shows them late, to one replica.
    Hoard,
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
    /// Proposes nothing in its ballots, and locks nothing.
    Stall,
    /// Does not say messages of some kinds to some of the others.
    Withhold(u64),
}

impl Habit {
    /// Draws a habit.
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(20) {
            0 => Self::Agree,
            1..=3 => Self::Babble,
            4 => Self::Boast,
            5 => Self::Deaf(rng.number()),
            6 => Self::Empty,
            7 => Self::FalseStatus,
            8 => Self::Flood,
            9 => Self::Forge,
            10 => Self::Full,
            11 => Self::Garble,
            12 => Self::Hoard,
            13 => Self::Invent,
            14 => Self::Miscertify,
            15 => Self::Perjure,
            16 => Self::Propose,
            17 => Self::Replay,
            18 => Self::Stall,
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

//! What can happen to a replica.

use std::fmt;

use super::cast::{CORRECT, Entry, LIAR};

/// A batch of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Batch {
    X,
    Y,
    Both,
}

impl Batch {
    pub(super) const ALL: [Self; 3] = [Self::X, Self::Y, Self::Both];

    /// Its items with their numbers, which rise, with gaps.
    pub(super) fn numbered(self) -> impl Iterator<Item = (u64, Entry)> {
        let of_x = (self != Self::Y).then_some((10, Entry::X));
        let of_y = (self != Self::X).then_some((20, Entry::Y));
        of_x.into_iter().chain(of_y)
    }
}

/// Something that can happen to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Act {
    /// A client brings the decision.
    Decided(Entry),
    /// The winner says that it knows.
    Settled(Entry),
    /// A peer tells of what it applied.
    Told(u8, Batch),
    /// A peer gives the decision.
    Given(u8, Entry),
    /// A peer has forgotten it.
    Forgotten(u8, Entry),
    /// A peer knows nothing of it.
    Unknown(u8, Entry),
    /// A peer got x by a write-back.
    Relayed(u8),
    /// A reader writes x back.
    WrittenBack,
    /// A reader says that it is gone.
    Dropped(Entry),
    /// Another client wants x, and brings it along.
    TakenAgain,
    /// Time passes, so that what may be forgotten is.
    Time,
    /// The power fails; what was obsolete has been deleted, or not.
    Restarted { pruned: bool },
    /// By a broken rule it forgets.
    Forgets(Entry),
}

impl Act {
    /// All that can happen where there is a put or not, restarts or not, a broken rule or not.
    pub(super) fn all(with_put: bool, restarts: bool, forgets: bool) -> Vec<Self> {
        let entries = &Entry::ALL[..1 + usize::from(with_put)];
        let batches = &Batch::ALL[..1 + 2 * usize::from(with_put)];
        let mut all = vec![
            Self::WrittenBack,
            Self::TakenAgain,
            Self::Time,
            Self::Relayed(LIAR),
        ];
        for entry in entries.iter().copied() {
            all.extend([
                Self::Decided(entry),
                Self::Settled(entry),
                Self::Dropped(entry),
            ]);
            all.push(Self::Unknown(LIAR, entry));
            all.extend(forgets.then_some(Self::Forgets(entry)));
            for by in 0..=LIAR {
                all.extend([Self::Given(by, entry), Self::Forgotten(by, entry)]);
            }
        }
        let told = |by| batches.iter().map(move |batch| Self::Told(by, *batch));
        all.extend((0..=LIAR).flat_map(told));
        if restarts {
            all.extend([true, false].map(|pruned| Self::Restarted { pruned }));
        }
        all
    }

    /// The peer that says it.
    pub(super) fn by(self) -> Option<u8> {
        match self {
            Self::Told(by, _)
            | Self::Given(by, _)
            | Self::Forgotten(by, _)
            | Self::Unknown(by, _)
            | Self::Relayed(by) => Some(by),
            Self::Decided(_)
            | Self::Settled(_)
            | Self::WrittenBack
            | Self::Dropped(_)
            | Self::TakenAgain
            | Self::Time
            | Self::Restarted { .. }
            | Self::Forgets(_) => None,
        }
    }

    /// What a correct replica says, as a place in the network; nothing else is ever there.
    pub(super) fn place(self) -> Option<u8> {
        let by = self.by().filter(|by| usize::from(*by) < CORRECT)?;
        let within = match self {
            Self::Given(_, entry) => entry as u8,
            Self::Forgotten(_, entry) => 2 + entry as u8,
            Self::Told(_, batch) => 4 + batch as u8,
            _ => return None,
        };
        Some(PLACES * by + within)
    }
}

/// What one replica can say.
const PLACES: u8 = 7;

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decided(entry) => write!(f, "a client brings the decision of {entry:?}"),
            Self::Settled(entry) => write!(f, "the winner of {entry:?} says that it knows"),
            Self::Told(by, batch) => write!(f, "s{by} tells that it applied {batch:?}"),
            Self::Given(by, entry) => write!(f, "s{by} gives the decision of {entry:?}"),
            Self::Forgotten(by, entry) => write!(f, "s{by} says that {entry:?} is forgotten"),
            Self::Unknown(by, entry) => write!(f, "s{by} says that it does not know {entry:?}"),
            Self::Relayed(by) => write!(f, "s{by} relays X"),
            Self::WrittenBack => f.write_str("a reader writes X back"),
            Self::Dropped(entry) => write!(f, "a reader says that {entry:?} is gone"),
            Self::TakenAgain => f.write_str("another client takes X"),
            Self::Time => f.write_str("time passes"),
            Self::Restarted { pruned: true } => f.write_str("restarts with a short log"),
            Self::Restarted { pruned: false } => f.write_str("restarts with its whole log"),
            Self::Forgets(entry) => write!(f, "forgets {entry:?}, by a broken rule"),
        }
    }
}

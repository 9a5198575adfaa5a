//! The ways in which a replica misbehaves, by name.

use std::fmt;
use std::str::FromStr;

use crate::adversary::Vice;
use crate::adversary::habit::Habit;
use crate::sim::rng::Rng;

/// What a hostile replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// Passes on entries with another field than was signed, and votes with other bytes.
    Altered,
    /// Announces a frame and never ends it.
    Endless,
    /// Votes in the name of others, and certifies with such votes.
    Forger,
    /// Says what is no message.
    Garbage,
    /// Names entries that nobody wrote.
    Inventor,
    /// All that can be done with messages, by turns.
    Liar,
    /// Answers every second client only.
    Silent,
    /// Says everything late, and in another order.
    Slow,
    /// Forgets what it said and was told: shows what is gone, calls empty what is not.
    Stale,
    /// Shows one half of the cluster another replica than the other half.
    TwoFaced,
    /// Gives its vote to every Take that asks for it, and promises what it likes.
    TwoVotes,
    /// Shows genuine votes as certificates of what they do not certify.
    WrongCertificates,
}

/// How often a liar yields to each of its habits.
const LIAR_PER_MILLE: u64 = 120;

/// What a liar does by turns.
const ALL_HABITS: [Habit; 18] = [
    Habit::Agree,
    Habit::Babble,
    Habit::Boast,
    Habit::Deaf(1),
    Habit::Empty,
    Habit::FalseStatus,
    Habit::Flood,
    Habit::Forge,
    Habit::Full,
    Habit::Garble,
    Habit::Hoard,
    Habit::Invent,
    Habit::Miscertify,
    Habit::Perjure,
    Habit::Propose,
    Habit::Replay,
    Habit::Stall,
    Habit::Withhold(1),
];

/// No behaviour has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBehaviour(String);

impl Behaviour {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Altered,
        Self::Endless,
        Self::Forger,
        Self::Garbage,
        Self::Inventor,
        Self::Liar,
        Self::Silent,
        Self::Slow,
        Self::Stale,
        Self::TwoFaced,
        Self::TwoVotes,
        Self::WrongCertificates,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Endless => "endless",
            Self::Forger => "forger",
            Self::Garbage => "garbage",
            Self::Inventor => "inventor",
            Self::Liar => "liar",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Stale => "stale",
            Self::TwoFaced => "two-faced",
            Self::TwoVotes => "two-votes",
            Self::WrongCertificates => "wrong-certificates",
        }
    }

    /// What it does with messages.
    pub(super) fn vice(self) -> Vice {
        let mut random = Rng::new(0);
        let mut deaf = || Habit::Deaf(random.number());
        let habits = match self {
            Self::Altered => vec![(Habit::Garble, 1000)],
            Self::Forger => vec![(Habit::Forge, 1000), (Habit::FalseStatus, 300)],
            Self::Inventor => vec![(Habit::Invent, 1000)],
            Self::Liar => ALL_HABITS
                .iter()
                .map(|habit| (habit.clone(), LIAR_PER_MILLE))
                .collect(),
            Self::Stale => vec![
                (Habit::Boast, 500),
                (Habit::Empty, 300),
                (Habit::Full, 300),
                (Habit::Replay, 300),
                (deaf(), 1000),
                (deaf(), 1000),
            ],
            Self::TwoVotes => vec![
                (Habit::Agree, 1000),
                (Habit::Perjure, 500),
                (Habit::Propose, 500),
            ],
            Self::WrongCertificates => vec![(Habit::Miscertify, 1000)],
            Self::TwoFaced => return Vice::TwoFaced(200),
            Self::Endless | Self::Garbage | Self::Silent | Self::Slow => Vec::new(),
        };
        Vice::Liar(habits)
    }
}

impl FromStr for Behaviour {
    type Err = UnknownBehaviour;

    fn from_str(name: &str) -> Result<Self, UnknownBehaviour> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| UnknownBehaviour(name.to_owned()))
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownBehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Behaviour::ALL.map(Behaviour::name).join(", ");
        write!(f, "no behaviour is called {:?}; there are {names}", self.0)
    }
}

impl std::error::Error for UnknownBehaviour {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviour_is_found_by_its_name() {
        for behaviour in Behaviour::ALL {
            assert_eq!(behaviour.name().parse(), Ok(behaviour));
        }
        let error = "good".parse::<Behaviour>().expect_err("nobody is good");
        assert!(error.to_string().contains("altered, endless"), "{error}");
    }
}

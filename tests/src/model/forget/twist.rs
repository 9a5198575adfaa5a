//! Rules of forgetting that are broken on purpose, from outside: by what a replica is told, by the log
//! that it starts from, and by what is said in its name.

use std::fmt;

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForgetTwist {
    /// A decision is forgotten before its winner knows of it (A5).
    Unsettled,
    /// A decision is forgotten although one replica alone has it (A6).
    Unlogged,
    /// A decision is forgotten although its put is there (A6).
    PutLives,
    /// One "forgotten" is believed (C1).
    OneBelieved,
    /// Whoever knows nothing says "forgotten" (C1).
    UnknownForgotten,
    /// That an entry was forgotten is not stored.
    RangeNotStored,
}

/// All of them, with their names.
const TWISTS: [(ForgetTwist, &str); 6] = [
    (ForgetTwist::Unsettled, "forgotten-unsettled"),
    (ForgetTwist::Unlogged, "forgotten-by-one"),
    (ForgetTwist::PutLives, "forgotten-with-put"),
    (ForgetTwist::OneBelieved, "one-forgotten-believed"),
    (ForgetTwist::UnknownForgotten, "unknown-says-forgotten"),
    (ForgetTwist::RangeNotStored, "forgotten-range-not-stored"),
];

impl ForgetTwist {
    /// Every broken rule.
    pub fn all() -> impl Iterator<Item = Self> {
        TWISTS.iter().map(|(twist, _)| *twist)
    }

    /// True if replicas forget by the model's rule, which is the broken one, besides their own.
    pub(super) fn forgets(self) -> bool {
        match self {
            Self::Unsettled | Self::Unlogged | Self::PutLives => true,
            Self::OneBelieved | Self::UnknownForgotten | Self::RangeNotStored => false,
        }
    }
}

impl fmt::Display for ForgetTwist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let twist = TWISTS.iter().find(|(twist, _)| twist == self);
        f.write_str(twist.map_or("", |(_, name)| name))
    }
}

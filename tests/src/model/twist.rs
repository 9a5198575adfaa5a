//! Rules broken on purpose. What bts-core does right cannot be broken from outside, so a broken
//! rule is tried with transcriptions; thresholds are changed where the model counts.

use std::fmt;

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the text of each is in the table below")]
pub enum Twist {
    FewerForced,
    MoreForced,
    FewerFast,
    FewerQuorum,
    FewerPromises,
    VotesBeforeLocks,
    ReleaseDespiteVotes,
    LockBelowPromise,
    FirstTwice,
    FirstAfterPromise,
    PrepareTwice,
    LockLowered,
    PromiseWithoutLock,
    MoreDoubt,
    LocksUnread,
    FirstForgotten,
    PromiseForgotten,
    PrepareForgotten,
    LockForgotten,
    SentBeforeSynced,
}

/// All of them, with what each breaks.
const TWISTS: [(Twist, &str); 20] = [
    (Twist::FewerForced, "T-1"),
    (Twist::MoreForced, "T+1"),
    (Twist::FewerFast, "F-1"),
    (Twist::FewerQuorum, "q-1"),
    (Twist::FewerPromises, "P-1"),
    (Twist::VotesBeforeLocks, "first-votes-before-locks"),
    (Twist::ReleaseDespiteVotes, "release-despite-T-votes"),
    (Twist::LockBelowPromise, "lock-below-promise"),
    (Twist::FirstTwice, "first-vote-twice"),
    (Twist::FirstAfterPromise, "first-vote-after-promise"),
    (Twist::PrepareTwice, "prepare-vote-twice"),
    (Twist::LockLowered, "lock-replaced-by-lower"),
    (Twist::PromiseWithoutLock, "promise-without-lock"),
    (Twist::MoreDoubt, "reader-R+1"),
    (Twist::LocksUnread, "reader-ignores-locks"),
    (Twist::FirstForgotten, "restart-forgets-first-vote"),
    (Twist::PromiseForgotten, "restart-forgets-promise"),
    (Twist::PrepareForgotten, "restart-forgets-prepare-vote"),
    (Twist::LockForgotten, "restart-forgets-lock"),
    (Twist::SentBeforeSynced, "sent-before-synced"),
];

impl Twist {
    /// Every broken rule.
    pub fn all() -> impl Iterator<Item = Self> {
        TWISTS.iter().map(|(twist, _)| *twist)
    }

    /// True if it shows only where replicas restart.
    pub fn is_of_restarts(self) -> bool {
        match self {
            Self::FirstForgotten
            | Self::PromiseForgotten
            | Self::PrepareForgotten
            | Self::LockForgotten
            | Self::SentBeforeSynced => true,
            Self::FewerForced
            | Self::MoreForced
            | Self::FewerFast
            | Self::FewerQuorum
            | Self::FewerPromises
            | Self::VotesBeforeLocks
            | Self::ReleaseDespiteVotes
            | Self::LockBelowPromise
            | Self::FirstTwice
            | Self::FirstAfterPromise
            | Self::PrepareTwice
            | Self::LockLowered
            | Self::PromiseWithoutLock
            | Self::MoreDoubt
            | Self::LocksUnread => false,
        }
    }

    /// The broken rule of this name.
    pub fn named(name: &str) -> Option<Self> {
        let twist = TWISTS.iter().find(|(_, known)| *known == name);
        twist.map(|(twist, _)| *twist)
    }
}

impl fmt::Display for Twist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let twist = TWISTS.iter().find(|(twist, _)| twist == self);
        f.write_str(twist.map_or("", |(_, name)| name))
    }
}

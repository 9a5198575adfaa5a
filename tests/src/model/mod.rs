//! Model check of one chain of instances (ballots, locks, epochs, Release, the read rule): every
//! reachable state within bounds, with the acceptors, promises, certificates, value choice and
//! reader of bts-core itself.
//!
//! The network holds every statement ever signed and delivers anything to anybody at any time, so
//! clients and proposers need no state: whatever certificate or proposal can be put together may
//! reach any acceptor. All proposers and `f` acceptors are faulty; the latter sign whatever helps.
//! "Decided" means that enough votes exist, not that somebody holds them. Correct replicas go on
//! after a decision, which includes those that stop.
//!
//! The code of bts-core is asked once per distinct local question (a few thousand in all) and its
//! answers are kept; a state is a sorted row of numbers. What cannot matter any more, because too
//! few votes can still come, is left out of it; `world.rs` says when.

mod acceptor;
mod choice;
pub mod forget;
mod local;
mod material;
mod reader;
mod restart;
mod search;
mod seen;
pub mod swap;
mod trace;
mod twist;
mod world;

pub use search::run;
pub use twist::Twist;

use std::fmt;

/// Numbers a value: Takes in order, then `Release`.
type Pick = u8;

/// A set of values, by bit.
type Picks = u8;

/// Ballots of a model at most, ballot 0 included.
const BALLOTS_MAX: usize = 4;
/// Epochs of a model at most.
const EPOCHS_MAX: usize = 2;
/// Correct replicas of a model at most.
const CORRECT_MAX: usize = 6;

/// How much is explored.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// n
    pub replicas: usize,
    /// f, all of them faulty
    pub faults: usize,
    /// Takes per epoch.
    pub takes: u8,
    /// The highest ballot.
    pub ballots: u8,
    /// How many epochs.
    pub epochs: u8,
    /// Contents signed for the one id: Take number i names content `i mod contents` (A2).
    pub contents: u8,
    /// Whether correct replicas lose their power, at any time and any number of times.
    pub restarts: bool,
    /// A rule to break, to see that the check sees it.
    pub twist: Option<Twist>,
    /// Whether transcriptions of acceptor, choice and reader are asked instead of bts-core.
    pub transcribed: bool,
    /// Whether it is a violation already if another value could be proposed in the ballot above the
    /// highest, after one was decided.
    pub look: bool,
    /// Whether what cannot matter any more is left out of states.
    pub reduced: bool,
    /// After so many states the search gives up.
    pub states_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            replicas: 4,
            faults: 1,
            takes: 2,
            ballots: 2,
            epochs: 2,
            contents: 1,
            restarts: false,
            twist: None,
            transcribed: false,
            look: true,
            reduced: true,
            states_max: 200_000_000,
        }
    }
}

impl Bounds {
    fn correct(&self) -> usize {
        self.replicas - self.faults
    }

    /// What a replica that forgets refuses now it may do later, so that all of it matters.
    fn is_reduced(&self) -> bool {
        self.reduced && !self.twist.is_some_and(Twist::is_of_restarts)
    }

    fn release(&self) -> Pick {
        self.takes
    }

    fn values(&self) -> impl Iterator<Item = Pick> + use<> {
        0..=self.takes
    }

    fn is_legal(&self) -> bool {
        let size = bts_core::quorum::ClusterSize::new(self.replicas, self.faults);
        size.is_ok()
            && self.correct() <= CORRECT_MAX
            && (1..=3).contains(&self.takes)
            && (1..BALLOTS_MAX).contains(&usize::from(self.ballots))
            && (1..=EPOCHS_MAX).contains(&usize::from(self.epochs))
            && (1..=2).contains(&self.contents)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "n={} f={} takes={} ballots=0..{} epochs=0..{} contents={}",
            self.replicas,
            self.faults,
            self.takes,
            self.ballots,
            self.epochs - 1,
            self.contents
        )?;
        if self.transcribed {
            f.write_str(" transcribed")?;
        }
        if self.restarts {
            f.write_str(" restarts")?;
        }
        if !self.look {
            f.write_str(" no-look")?;
        }
        if !self.reduced {
            f.write_str(" unreduced")?;
        }
        self.twist.map_or(Ok(()), |twist| write!(f, " {twist}"))
    }
}

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Two values can be decided in one epoch.
    Disagreement {
        /// The epoch.
        epoch: u8,
    },
    /// Two values can be locked in one ballot.
    TwoLocks {
        /// The epoch.
        epoch: u8,
        /// The ballot.
        ballot: u8,
    },
    /// A value is decided, and were all to enter the next ballot, another one could be proposed.
    Open {
        /// The epoch.
        epoch: u8,
    },
    /// A Take is decided, and a reader that began afterwards returns the entry.
    WrongRead {
        /// The epoch of the Take.
        epoch: u8,
    },
    /// An acceptor did what it is made to stop at, by an assertion of its own.
    Stopped,
    /// An acceptor is bound to something else after a restart than before it.
    Forgot,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disagreement { epoch } => write!(f, "two values are decided in epoch {epoch}"),
            Self::TwoLocks { epoch, ballot } => {
                write!(
                    f,
                    "two values are locked in ballot {ballot} of epoch {epoch}"
                )
            }
            Self::Open { epoch } => write!(
                f,
                "the next ballot of epoch {epoch} may propose something else than what is decided"
            ),
            Self::WrongRead { epoch } => write!(
                f,
                "a read that began after the Take of epoch {epoch} was decided returns the entry"
            ),
            Self::Stopped => f.write_str("an acceptor stops at an assertion of its own"),
            Self::Forgot => f.write_str("an acceptor is bound otherwise after a restart"),
        }
    }
}

/// What was met on the way; a search that met nothing proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// States in which `F` first votes decide.
    pub fast: u64,
    /// States in which commit votes decide a Take.
    pub slow: u64,
    /// States in which an epoch is released.
    pub released: u64,
    /// States in which a Take of epoch 1 is decided.
    pub second_epoch: u64,
    /// States with a decided Take after which a reader has been shown something that it may use.
    pub readable: u64,
    /// Questions that code of bts-core was asked: acceptors, promise sets, readers, restarts.
    pub asked: [usize; 4],
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Distinct states.
    pub states: usize,
    /// Steps between them.
    pub transitions: u64,
    /// Steps to the farthest state.
    pub depth: usize,
    /// Whether all states were visited.
    pub is_complete: bool,
    /// What was met.
    pub met: Met,
    /// What is wrong, with a shortest way there.
    pub violation: Option<(Violation, Vec<String>)>,
}

impl Verdict {
    /// True if everything was visited and nothing was wrong.
    pub fn holds(&self) -> bool {
        self.is_complete && self.violation.is_none()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} transitions, depth {}: ",
            self.states, self.transitions, self.depth
        )?;
        match &self.violation {
            Some((violation, _)) => write!(f, "VIOLATION, {violation}"),
            None if self.is_complete => f.write_str("holds in every state"),
            None => f.write_str("holds so far, not complete"),
        }
    }
}

//! What can go wrong, told so that somebody can act on it: which replicas answered, which did not
//! and why, and whether the operation may have had an effect.

use std::fmt;
use std::time::Duration;

use bts_certs::LinkError;
use bts_core::ids::ReplicaId;
use thiserror::Error;

use crate::replicas::LinkState;
use crate::tuple::{FromTupleError, ToTupleError, Tuple};

/// Why a client could not be started or connected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The operating system gave no thread, socket or timer.
    #[error("the client cannot be started: {0}")]
    Start(#[from] std::io::Error),
    /// No link can be made from here, or TLS not be set up.
    #[error("the client cannot be started: {0}")]
    Link(#[from] LinkError),
    /// So many replicas refuse us that no quorum is left: our certificate, or the cluster we
    /// believe to speak to, is wrong.
    #[error("refused by too many replicas: {0}")]
    Refused(RollCall),
    /// Fewer replicas than needed welcomed us in time.
    #[error("no quorum: {0}")]
    NoQuorum(RollCall),
}

/// Why an operation failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Fewer replicas than needed answered before the deadline.
    #[error("no quorum: {roll}; {effect}")]
    NoQuorum {
        /// Who answered and who did not.
        roll: RollCall,
        /// Whether it may have had an effect.
        effect: Effect,
    },
    /// The deadline passed, though enough replicas answered: what was waited for did not come, or
    /// others were in the way.
    #[error("not done within {after:?}; {roll}; {effect}")]
    Timeout {
        /// The deadline.
        after: Duration,
        /// Who answered and who did not.
        roll: RollCall,
        /// Whether it may have had an effect.
        effect: Effect,
    },
    /// More replicas refuse it than can be faulty.
    #[error("refused{}: {reason}", if *.by_policy { " by the policy of the space" } else { "" })]
    Refused {
        /// Whether the policy never allows it; otherwise it may be tried again later.
        by_policy: bool,
        /// What the replicas say.
        reason: String,
    },
    /// Another process with our key ended our session, as no replica had seen us for a minute. Whoever wants
    /// to go on connects anew.
    #[error(
        "another process with our key ended this session, which the replicas had not seen for long: \
         connect again; what was begun may still take effect"
    )]
    SessionEnded,
    /// The tuple or template breaks a rule of the protocol; nothing was sent.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The value is no tuple, or too large; nothing was sent.
    #[error("no tuple: {0}")]
    NotATuple(#[from] ToTupleError),
    /// The tuple that was found is not of the type that was asked for. By `take` it was taken, and
    /// here it is; by a swap it was not.
    #[error("a tuple was found that is not of the type asked for: {source}")]
    Unreadable {
        /// What was found.
        tuple: Tuple,
        /// What does not fit.
        source: FromTupleError,
    },
    /// The operation was given up.
    #[error("given up; {0}")]
    GivenUp(Effect),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

/// Whether an operation that did not end may have had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It had none and will have none.
    None,
    /// A tuple that was written may be or become visible. A Take is finished in the background, and
    /// a tuple won by it is put back; a swap may take effect.
    Possible,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "it had no effect",
            Self::Possible => "it may still take effect",
        })
    }
}

/// Who answered, and who did not and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollCall {
    /// Replicas that must answer.
    pub needed: usize,
    /// Replicas that answered.
    pub answered: Vec<ReplicaId>,
    /// The others.
    pub silent: Vec<Silent>,
}

/// A replica that did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Which.
    pub replica: ReplicaId,
    /// Its address.
    pub address: String,
    /// How the link to it is.
    pub link: LinkState,
}

impl fmt::Display for RollCall {
    /// `3 replicas must answer; s0 and s1 did; s2 (10.0.0.3:7400) unreachable: ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered: Vec<String> = self.answered.iter().map(ToString::to_string).collect();
        let answered = match answered.as_slice() {
            [] => "none did".into(),
            some => format!("{} did", some.join(", ")),
        };
        write!(f, "{} replicas must answer, {answered}", self.needed)?;
        self.silent.iter().try_for_each(|silent| {
            write!(
                f,
                "; {} ({}): {}",
                silent.replica, silent.address, silent.link
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_no_quorum_names_who_answered_and_who_did_not() {
        let silent = |index, link| Silent {
            replica: ReplicaId(index),
            address: format!("10.0.0.{index}:7400"),
            link,
        };
        let roll = RollCall {
            needed: 3,
            answered: vec![ReplicaId(0), ReplicaId(3)],
            silent: vec![
                silent(1, LinkState::Unreachable("the peer does not answer".into())),
                silent(2, LinkState::Connected),
            ],
        };
        let error = Error::NoQuorum {
            roll,
            effect: Effect::Possible,
        };
        assert_eq!(
            error.to_string(),
            "no quorum: 3 replicas must answer, s0, s3 did; \
             s1 (10.0.0.1:7400): unreachable: the peer does not answer; \
             s2 (10.0.0.2:7400): connected, but silent; it may still take effect"
        );
        let refused = Error::Refused {
            by_policy: true,
            reason: "you may not take".into(),
        };
        assert_eq!(
            refused.to_string(),
            "refused by the policy of the space: you may not take"
        );
    }
}

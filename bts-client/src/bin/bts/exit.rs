//! Exit codes, and which failure has which.

use std::fmt::Display;

use bts_client::admin::ReplaceError;
use bts_client::{ConfigError, ConnectError, Error};

/// How the command ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    NotFound = 1,
    Usage = 2,
    Timeout = 3,
    Refused = 4,
    NoQuorum = 5,
    Failed = 6,
    Interrupted = 130,
}

/// Why the command did not end well.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }

    pub(crate) fn of_config(error: ConfigError) -> Self {
        let help = "see --config; `bts-certs` makes the settings of a client with its certificate";
        Self::new(Exit::Usage, format!("{error}\n{help}"))
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = match error {
            ConnectError::Refused(_) => Exit::Refused,
            ConnectError::NoQuorum(_) => Exit::NoQuorum,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<ReplaceError> for Failure {
    fn from(error: ReplaceError) -> Self {
        let exit = match error {
            ReplaceError::NoSuchReplica(_)
            | ReplaceError::NothingChanges(_)
            | ReplaceError::TooManyLost(..)
            | ReplaceError::Cluster(_)
            | ReplaceError::Done(_)
            | ReplaceError::OtherCluster(_) => Exit::Usage,
            ReplaceError::Unreachable { .. } => Exit::Timeout,
            ReplaceError::Refused { .. }
            | ReplaceError::OtherChange { .. }
            | ReplaceError::Elsewhere { .. } => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error {
            Error::NoQuorum { .. } => Exit::NoQuorum,
            Error::Timeout { .. } => Exit::Timeout,
            Error::Refused { .. } => Exit::Refused,
            Error::Malformed(_) | Error::NotATuple(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

//! Counting words with a master and workers that share nothing but a tuple space.
//!
//! A piece of text is one tuple that moves through three states, each move one atomic swap:
//! `("todo", n, text)` -> `("doing", n, worker, text)` -> `("done", n, worker, counts)`. So a piece
//! is never lost and never counted twice, whatever happens to a worker: what a dead one was doing
//! is swapped back to "todo".

pub mod corpus;
pub mod master;
pub mod options;
pub mod show;
pub mod words;
pub mod worker;

use bts_client::{ConnectError, Error};

use crate::lab::LabError;

/// The space that the job is in.
pub const SPACE: &str = "wordcount";

/// Why the job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// No text to count.
    #[error(transparent)]
    Corpus(#[from] corpus::CorpusError),
    /// The throw-away cluster could not be set up.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The settings of this process cannot be read.
    #[error("cannot read the client's settings: {0}")]
    Settings(String),
    /// The cluster does not answer.
    #[error("cannot connect: {0}")]
    Connect(#[from] ConnectError),
    /// An operation on the space failed.
    #[error("the tuple space failed: {0}")]
    Space(#[from] Error),
    /// A result is not what a worker writes.
    #[error("the result of task {0} cannot be read")]
    BadResult(u64),
    /// All workers died.
    #[error("no worker is left")]
    NoWorkers,
}

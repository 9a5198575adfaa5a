//! Why a change of members did not come to its end.

use std::io;
use std::path::PathBuf;

use bts_certs::LinkError;
use bts_certs::toml_file::FileError;
use bts_core::ids::ReplicaId;
use bts_core::replica::handover::{BadExport, CannotUnite};
use thiserror::Error;

/// Why a member was not replaced, or not yet.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// No link can be made from here.
    #[error("cannot start: {0}")]
    Start(LinkError),
    /// A seat that the cluster does not have.
    #[error("this cluster has no replica {}", .0.0)]
    NoSuchReplica(ReplicaId),
    /// The same key, and the memory is not lost.
    #[error(
        "nothing would change: give the certificate of who takes the place of replica {}, or say that \
         its memory is lost", .0.0
    )]
    NothingChanges(ReplicaId),
    /// More would begin with nothing than may be faulty.
    #[error(
        "{0} replicas would begin with nothing, and only {1} may be faulty: what was acknowledged could be \
         lost. Replace one after the other, if their data is there"
    )]
    TooManyLost(usize, usize),
    /// A replica cannot be reached, or does not do what was asked, in time.
    #[error(
        "replica {0} cannot be reached: {why}. Nothing is lost: run the same command again when it is \
         there. If its data is lost for good, add --lost {0}", .seat.0
    )]
    Unreachable {
        /// Which.
        seat: ReplicaId,
        /// Why.
        why: String,
    },
    /// A replica refuses.
    #[error("replica {} refuses: {why}", .seat.0)]
    Refused {
        /// Which.
        seat: ReplicaId,
        /// Its words.
        why: String,
    },
    /// A replica has stopped for another change.
    #[error(
        "replica {0} has stopped for another change of members: finish that one first, with the command \
         and the working directory that began it. If it lies, add --lost {0}", .seat.0
    )]
    OtherChange {
        /// Which.
        seat: ReplicaId,
    },
    /// A replica is in another configuration.
    #[error(
        "replica {} is in configuration {number}, which is not the one of this cluster file: take the \
         newest one, or the working directory with which that change was begun", .seat.0
    )]
    Elsewhere {
        /// Which.
        seat: ReplicaId,
        /// The number of its configuration.
        number: u64,
    },
    /// What a replica handed over is forged. The replica is faulty.
    #[error(
        "what replica {0} handed over cannot be used: {why}. No correct replica does that: give it up \
         with --lost {0}, if not more are lost than may be faulty", .seat.0
    )]
    BadExport {
        /// Which.
        seat: ReplicaId,
        /// What is wrong.
        why: BadExport,
    },
    /// What was handed over makes no state.
    #[error("what the replicas handed over cannot be united: {0}")]
    Unite(#[from] CannotUnite),
    /// The next configuration would be none.
    #[error(transparent)]
    Cluster(#[from] FileError),
    /// The file of the next configuration is that of a first one.
    #[error("the cluster file in the working directory is not one that was made there")]
    NotFounded,
    /// The working directory is that of a change that came to its end.
    #[error("{} holds a change that is done: take another --work directory", .0.display())]
    Done(PathBuf),
    /// The working directory is that of another cluster.
    #[error("{} holds a change of another cluster: take another --work directory", .0.display())]
    OtherCluster(PathBuf),
    /// A file of the working directory is not as it was written.
    #[error("{} is damaged: delete it, and run the same command again", .0.display())]
    Damaged(PathBuf),
    /// The working directory cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

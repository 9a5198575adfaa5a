//! What can be wrong with a store: what happened, to which file, and what to do about it.

use std::io;
use std::path::PathBuf;

use bts_core::ids::Lsn;
use bts_core::replica::Unreplayable;

/// Why a store cannot be used. Its text is for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process uses it.
    #[error(
        "{path} is in use by process {by}: two replicas on one directory would break each other's \
         promises. Stop the other one first"
    )]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// The number of the process, as far as it is known.
        by: String,
    },
    /// It is not this replica's.
    #[error(
        "{path} holds the store of {theirs}, this is {ours}: nothing was touched. Compare `data_dir` \
         and the cluster file in the settings"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
        /// Who wanted it.
        ours: String,
    },
    /// It was written by another version of the program.
    #[error(
        "{path} is in the format {found:?}, this program knows {known:?}: nothing was touched. \
         Start the version that wrote it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this program writes.
        known: &'static str,
    },
    /// Something changed it, or lost a part of it.
    #[error(
        "{path} is damaged: {what}. This replica does not start with less than it promised. The \
         way back: see `What if a store is damaged` in docs/storage.md"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A record in it is none that this replica would have written after those before it.
    #[error(
        "{path} holds records that contradict each other or the cluster file: {why}. The way back: \
         see `What if a store is damaged` in docs/storage.md"
    )]
    Unreplayable {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        why: Unreplayable,
    },
    /// There is no room.
    #[error("{path} cannot grow: {source}. Make room on its disk")]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system says no.
    #[error("{path}: cannot {doing}: {source}{}", advice(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A sync failed, so that nobody knows what is on the disk.
    #[error(
        "{path}: the disk did not take what was written ({source}); what it holds after {last} is \
         unknown. Look at the disk before the replica is started again"
    )]
    Sync {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
        /// The last record known to be durable.
        last: Lsn,
    },
    /// The machinery of the store gave up.
    #[error("{path}: {what}")]
    Engine {
        /// The file.
        path: PathBuf,
        /// What it says.
        what: String,
    },
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            ". The user of this process must own the directory, with all that is in it"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            ". `data_dir` must be a directory, or a name that is free"
        }
        io::ErrorKind::ReadOnlyFilesystem => ". Mount it for writing",
        _ => "",
    }
}

/// True if the system says that there is no room, now.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

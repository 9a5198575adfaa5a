//! The directory of a store: who may use it, and whether it was left in order.
//!
//! | file | what for |
//! |---|---|
//! | `log-*`, `kept-*`, `spare-*` | the log |
//! | `lock` | held by the process that uses it |
//! | `closed` | says how the log stood when it was closed; not there while it is used |
//! | `ballast` | room for hard times |

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use bts_core::codec;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::frame::{Seal, digest};

/// The directory, held by this process.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    /// Ends with the process.
    _lock: File,
}

/// How a log stood when it was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closed {
    pub(super) commits: u64,
    /// Of the last, on which all before depend.
    pub(super) seal: Seal,
}

impl Closed {
    /// With a digest, so that it cannot be altered by accident.
    fn encode(&self) -> Vec<u8> {
        let body = codec::encode(self);
        [&digest(&[b"closed", &body]), &*body].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (said, body) = bytes.split_first_chunk::<16>()?;
        let is_intact = *said == digest(&[b"closed", body]);
        is_intact.then(|| codec::decode_peer(body).ok()).flatten()
    }
}

impl Dir {
    /// Makes the directory if it is not there, and takes it for this process.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        create(path).map_err(io_error(path, "make the directory"))?;
        Self::hold(path)
    }

    /// Takes a directory that is there.
    pub(super) fn hold(path: &Path) -> Result<Self, StoreError> {
        let name = path.join("lock");
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut lock = options
            .open(&name)
            .map_err(io_error(&name, "open the lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                let _ = lock.read_to_string(&mut by);
                let by = if by.is_empty() {
                    "(unknown)".into()
                } else {
                    by
                };
                return Err(StoreError::Busy { path: name, by });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(&name, "lock")(source)),
        }
        // For whoever finds it locked; it locks without that as well.
        let _ = lock.rewind().and_then(|()| lock.set_len(0));
        let _ = write!(lock, "{}", std::process::id());
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was said when the log was closed.
    pub(super) fn closed(&self) -> Result<Option<Closed>, StoreError> {
        let path = self.closed_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&path, "read")(error)),
        };
        match Closed::decode(&bytes) {
            Some(closed) => Ok(Some(closed)),
            None => {
                let what = "it was altered since it was written".into();
                Err(StoreError::Damaged { path, what })
            }
        }
    }

    /// The log is about to be used, or is closed in this state.
    pub(super) fn set_closed(&self, closed: Option<&Closed>) -> Result<(), StoreError> {
        let path = self.closed_path();
        let done = match closed {
            Some(closed) => File::create(&path).and_then(|mut file| {
                file.write_all(&closed.encode())?;
                file.sync_all()
            }),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        done.and_then(|()| self.sync())
            .map_err(io_error(&path, "note how the log stands"))
    }

    /// Makes names of files durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_dir(&self.path)
    }

    fn closed_path(&self) -> PathBuf {
        self.path.join("closed")
    }
}

/// An error of the system about a file.
pub(super) fn io_error(
    path: &Path,
    doing: &'static str,
) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| {
        if super::error::is_full(&source) {
            return StoreError::Full { path, source };
        }
        StoreError::Io {
            path,
            doing,
            source,
        }
    }
}

fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Makes names of files in a directory durable.
#[cfg(unix)]
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Other systems keep names by themselves, and do not open directories.
#[cfg(not(unix))]
pub(crate) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

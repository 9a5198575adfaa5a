//! The file under redb, watched: redb tells that something failed, and this which call it was. A
//! write that finds no room leaves the last commit whole; a sync that fails leaves nobody knows what.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// The first call that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Reading, writing, or growing.
    Access(io::Error),
    /// Making durable.
    Sync(io::Error),
}

/// Where the first failure is noted.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Mutex<Option<Failure>>>);

impl Watch {
    /// The first failure since the file was opened.
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note<T>(&self, result: io::Result<T>, failure: fn(io::Error) -> Failure) -> io::Result<T> {
        result.inspect_err(|error| {
            let copy = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(failure(copy));
        })
    }
}

/// A file of redb.
#[derive(Debug)]
pub(super) struct WatchedFile<B> {
    inner: B,
    watch: Watch,
}

impl WatchedFile<FileBackend> {
    /// This file, which nobody else uses: the lock of the directory sees to that.
    pub(super) fn new(file: File, watch: Watch) -> Result<Self, redb::DatabaseError> {
        let inner = FileBackend::new(file)?;
        Ok(Self { inner, watch })
    }
}

impl<B: StorageBackend> StorageBackend for WatchedFile<B> {
    fn len(&self) -> io::Result<u64> {
        self.watch.note(self.inner.len(), Failure::Access)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watch
            .note(self.inner.read(offset, out), Failure::Access)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch.note(self.inner.set_len(len), Failure::Access)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch.note(self.inner.sync_data(), Failure::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watch
            .note(self.inner.write(offset, data), Failure::Access)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

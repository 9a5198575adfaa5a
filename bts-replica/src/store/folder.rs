//! What the log asks of a file system, as a trait: so that tests can stop it after any step and lose
//! what was not synced.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::files::sync_dir;

/// A directory of files.
pub(super) trait Folder: Debug + Send + Sync {
    /// All names.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file that is there.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn Blob>>;
    /// Makes an empty file, instead of one that may be there.
    fn create(&self, name: &str) -> io::Result<Box<dyn Blob>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes durable which names there are, and of what.
    fn sync(&self) -> io::Result<()>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A file.
pub(super) trait Blob: Debug + Send + Sync {
    fn length(&self) -> io::Result<u64>;
    /// Reads until the buffer is full or the file ends; returns how many bytes that were.
    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes durable what was written, and how long the file is.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Folder for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| {
            let name = entry?.file_name();
            // What this program made has a name that it can read.
            Ok(name.into_string().unwrap_or_default())
        });
        names.collect()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn Blob>> {
        let writes = access == Access::Write;
        open(&self.path(name), File::options().read(true).write(writes))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Blob>> {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        open(&self.path(name), options)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_dir(&self.0)
    }
}

fn open(path: &Path, options: &fs::OpenOptions) -> io::Result<Box<dyn Blob>> {
    Ok(Box::new(options.open(path)?))
}

impl Blob for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match read_some(self, at + done as u64, rest) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        write_all(self, at, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(unix)]
fn read_some(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(unix)]
fn write_all(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn read_some(mut file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(at))?;
    io::Read::read(&mut file, buffer)
}

#[cfg(not(unix))]
fn write_all(mut file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(at))?;
    io::Write::write_all(&mut file, bytes)
}

//! Room kept for hard times. A full disk would not even let the store be opened again, so some of it
//! is taken beforehand and given back when the store finds no more; and as long as that cannot be
//! taken again, the disk counts as full.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How much is kept.
const BALLAST_BYTES: usize = if cfg!(test) { 64 << 10 } else { 8 << 20 };

/// The file.
#[derive(Debug)]
pub(super) struct Ballast(PathBuf);

impl Ballast {
    /// In this directory.
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.join("ballast"))
    }

    /// Takes the room, unless it is taken.
    pub(super) fn take(&self) -> io::Result<()> {
        let length = fs::metadata(&self.0).map(|data| data.len());
        if length.is_ok_and(|length| length == BALLAST_BYTES as u64) {
            return Ok(());
        }
        fill(&self.0).inspect_err(|_| self.drop_it())
    }

    /// Whether as much again could be taken: what was given back itself is not room enough.
    pub(super) fn try_more(&self) -> io::Result<()> {
        let more = self.0.with_extension("more");
        let filled = fill(&more);
        let removed = fs::remove_file(&more);
        filled.and(removed)
    }

    /// Gives it back.
    pub(super) fn drop_it(&self) {
        // It may not be there, and then there is nothing to give back.
        let _ = fs::remove_file(&self.0);
    }
}

/// Zeros would be compressed away, or kept as a hole, by some file systems.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut block = vec![0_u8; 1 << 16];
    rand::fill(&mut block[..]);
    for _ in 0..BALLAST_BYTES / block.len() {
        file.write_all(&block)?;
    }
    file.sync_all()
}

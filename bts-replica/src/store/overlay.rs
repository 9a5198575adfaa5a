//! A file that is only read, under a redb that writes as it opens: what it writes is kept in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// Bytes of the pieces in which changes are kept.
const BLOCK_BYTES: usize = 4096;

/// The file, and what was written since.
#[derive(Debug)]
pub(super) struct Overlay {
    file: FileBackend,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    length: u64,
    /// What lies beyond this in the file has been cut off.
    file_length: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK_BYTES]>>,
}

impl Overlay {
    pub(super) fn new(file: File) -> Result<Self, redb::DatabaseError> {
        let length = file.metadata()?.len();
        let changes = Changes {
            length,
            file_length: length,
            blocks: BTreeMap::new(),
        };
        Ok(Self {
            file: FileBackend::new(file)?,
            changes: Mutex::new(changes),
        })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block that begins here, as it is now.
    fn block(&self, changes: &Changes, start: u64) -> io::Result<Box<[u8; BLOCK_BYTES]>> {
        if let Some(block) = changes.blocks.get(&start) {
            return Ok(block.clone());
        }
        let mut block = Box::new([0; BLOCK_BYTES]);
        let in_file = changes.file_length.saturating_sub(start);
        let in_file = usize::try_from(in_file).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        self.file.read(start, &mut block[..in_file])?;
        Ok(block)
    }
}

/// Calls `each` with the blocks of a range: where each begins, the part of it, and that of the range.
fn blocks(
    offset: u64,
    length: usize,
    mut each: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> io::Result<()>,
) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK_BYTES as u64).unwrap_or(0);
        let count = (BLOCK_BYTES - within).min(length - done);
        each(
            at - within as u64,
            within..within + count,
            done..done + count,
        )?;
        done += count;
    }
    Ok(())
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        if offset + out.len() as u64 > changes.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        blocks(offset, out.len(), |start, within, part| {
            let block = self.block(&changes, start)?;
            out[part].copy_from_slice(&block[within]);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut changes = self.changes();
        changes.length = length;
        changes.file_length = changes.file_length.min(length);
        changes.blocks.split_off(&length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        blocks(offset, data.len(), |start, within, part| {
            let mut block = self.block(&changes, start)?;
            block[within].copy_from_slice(&data[part]);
            changes.blocks.insert(start, block);
            Ok(())
        })
    }
}

//! Reading a log from its first chunk to its last, with every check that can be made: each chunk is
//! as it was written, numbers rise, and no chunk is missing or was added.

use bts_core::ids::Lsn;
use bts_core::replica::Record;
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::chunks::Chunks;
use super::format::{self, State};
use super::open::{Broken, CHUNKS};

/// What is wrong with a log.
pub(super) enum Bad {
    Damaged(String),
    Broken(Broken),
}

impl<E: Into<Broken>> From<E> for Bad {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Reads chunk after chunk, and checks what it reads.
pub(super) struct Replay<'a> {
    range: redb::Range<'static, u64, &'static [u8]>,
    /// Of the chunk at hand, the next record last.
    records: Vec<(Lsn, Record)>,
    chunks: &'a mut Chunks,
    last: u64,
    count: u64,
    found: (u64, u128),
    bad: Option<Bad>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(database: &Database, chunks: &'a mut Chunks) -> Result<Self, Bad> {
        let table: ReadOnlyTable<u64, &'static [u8]> = database.begin_read()?.open_table(CHUNKS)?;
        Ok(Self {
            range: table.range::<u64>(..)?,
            records: Vec::new(),
            chunks,
            last: 0,
            count: 0,
            found: (0, 0),
            bad: None,
        })
    }

    /// Reads the next chunk. False at the end.
    fn read(&mut self) -> Result<bool, Bad> {
        let Some(entry) = self.range.next() else {
            return Ok(false);
        };
        let (first, value) = entry?;
        let (first, value) = (first.value(), value.value());
        let bad = |what: &str| Bad::Damaged(format!("the chunk of record {first} {what}"));
        let (seal, body) = format::unseal(&format::chunk_key(first), value)
            .ok_or_else(|| bad("is not as it was written"))?;
        let records = format::records(body).ok_or_else(|| bad("is cut off"))?;
        let lsns: Vec<u64> = records.iter().map(|(lsn, _)| *lsn).collect();
        let rises = lsns.is_sorted_by(|one, next| one < next);
        if lsns.first() != Some(&first) || first <= self.last || !rises {
            return Err(bad("is out of order"));
        }
        for (lsn, record) in records.iter().rev() {
            let record = format::decode_record(record)
                .map_err(|error| bad(&format!("has a record that is none: {error}")))?;
            self.records.push((Lsn(*lsn), record));
        }
        self.last = lsns.last().copied().unwrap_or(first);
        self.count += lsns.len() as u64;
        self.found = (self.found.0 + 1, self.found.1.wrapping_add(seal));
        self.chunks.add(&lsns, seal, value.len());
        Ok(true)
    }

    /// After the last record: all that was written is there, and nothing else.
    pub(super) fn finish(mut self, state: &State) -> Result<u64, Bad> {
        // Whoever read may have stopped at a record that does not fit.
        while self.next().is_some() {}
        if let Some(bad) = self.bad {
            return Err(bad);
        }
        if self.found != (state.chunks, state.sum) || Lsn(self.last) != state.last {
            let what = format!(
                "{} chunks up to record {} were found, {} up to record {} were written",
                self.found.0, self.last, state.chunks, state.last.0
            );
            return Err(Bad::Damaged(what));
        }
        Ok(self.count)
    }
}

impl Iterator for Replay<'_> {
    type Item = (Lsn, Record);

    fn next(&mut self) -> Option<Self::Item> {
        while self.records.is_empty() && self.bad.is_none() {
            match self.read() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(bad) => self.bad = Some(bad),
            }
        }
        self.records.pop()
    }
}

//! Which records of which chunk live, and what is worth being written anew.
//!
//! A chunk without a living record is removed. Old chunks of which little lives are written anew,
//! neighbours together, so that what lives long does not keep the dead on the disk; a bounded number
//! of bytes at a time, so that no commit waits for it.

use std::collections::BTreeMap;

use bts_core::ids::Lsn;
use bts_core::replica::Obsolete;

/// How many bytes of records one chunk is to have. One longer record has a chunk of its own.
pub(super) const CHUNK_BYTES: usize = 56 << 10;
/// Chunks that may still change quickly are left alone: those of the latest records.
const YOUNG_RECORDS: u64 = 10_000;
/// Chunks looked at per commit, at least.
const SWEEP_CHUNKS: usize = 64;
/// Bytes of chunks written anew per commit, at least.
const REWRITE_BYTES: usize = 2 * CHUNK_BYTES;
/// Chunks removed per commit, besides as many as it adds.
const REMOVED_MAX: usize = 256;

/// All chunks, by their first record.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    all: BTreeMap<u64, Chunk>,
    /// Chunks in which nothing lives.
    dead: Vec<u64>,
    /// Records that must stay until others, which are dead, are gone: by those others.
    waiting: BTreeMap<u64, Vec<u64>>,
    /// Where the next sweep goes on.
    cursor: u64,
    records: u64,
    living: u64,
    bytes: u64,
}

/// One chunk.
#[derive(Debug)]
struct Chunk {
    seal: u128,
    records: u32,
    bytes: u32,
    /// Living records, as distances from the first, rising.
    living: Vec<u32>,
    /// Records that are there, but dead.
    dead: Vec<u32>,
}

/// What to do in one commit besides adding to the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Chunks to remove.
    pub(super) remove: Vec<u64>,
    /// Neighbouring chunks of each of which what lives becomes one chunk.
    pub(super) merge: Vec<Vec<u64>>,
}

/// What all chunks are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) chunks: u64,
    pub(crate) records: u64,
    pub(crate) living: u64,
    pub(crate) bytes: u64,
}

impl Chunk {
    fn living_bytes(&self) -> usize {
        let share = u64::from(self.bytes) * self.living.len() as u64;
        usize::try_from(share / u64::from(self.records.max(1))).unwrap_or(usize::MAX)
    }

    fn is_sparse(&self) -> bool {
        self.living.len() * 2 < self.records as usize
    }
}

impl Chunks {
    /// Notes a chunk with these records, all alive.
    pub(super) fn add(&mut self, lsns: &[u64], seal: u128, bytes: usize) {
        let Some(first) = lsns.first().copied() else {
            return;
        };
        let distance = |lsn: &u64| u32::try_from(lsn - first).expect("chunks span less");
        let chunk = Chunk {
            seal,
            records: u32::try_from(lsns.len()).expect("chunks are small"),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            living: lsns.iter().map(distance).collect(),
            dead: Vec::new(),
        };
        self.records += lsns.len() as u64;
        self.living += lsns.len() as u64;
        self.bytes += u64::from(chunk.bytes);
        self.all.insert(first, chunk);
    }

    /// A record is needed no more, or not when another one is gone.
    pub(super) fn retire(&mut self, obsolete: &Obsolete) {
        match obsolete.after {
            Some(after) if self.is_there(after) => {
                self.waiting
                    .entry(after.0)
                    .or_default()
                    .push(obsolete.lsn.0);
            }
            Some(_) | None => self.kill(obsolete.lsn),
        }
    }

    fn is_there(&self, lsn: Lsn) -> bool {
        let chunk = self.all.range(..=lsn.0).next_back();
        chunk.is_some_and(|(first, chunk)| {
            let distance = u32::try_from(lsn.0 - first);
            let is_in = |list: &[u32]| distance.is_ok_and(|at| list.binary_search(&at).is_ok());
            is_in(&chunk.living) || is_in(&chunk.dead)
        })
    }

    /// A record is needed no more. What is not known is not there.
    fn kill(&mut self, lsn: Lsn) {
        let Some((first, chunk)) = self.all.range_mut(..=lsn.0).next_back() else {
            return;
        };
        let Ok(distance) = u32::try_from(lsn.0 - first) else {
            return;
        };
        if let Ok(place) = chunk.living.binary_search(&distance) {
            chunk.living.remove(place);
            let place = chunk.dead.partition_point(|dead| *dead < distance);
            chunk.dead.insert(place, distance);
            self.living -= 1;
            if chunk.living.is_empty() {
                chunk.living.shrink_to_fit();
                self.dead.push(*first);
            }
        }
    }

    /// Whether a record lives, in the chunk that begins with `first`.
    pub(super) fn lives(&self, first: u64, lsn: u64) -> bool {
        let distance = u32::try_from(lsn - first).ok();
        let chunk = self.all.get(&first).zip(distance);
        chunk.is_some_and(|(chunk, distance)| chunk.living.binary_search(&distance).is_ok())
    }

    /// The chunk is gone; returns its seal.
    pub(super) fn remove(&mut self, first: u64) -> Option<u128> {
        let chunk = self.all.remove(&first)?;
        self.records -= u64::from(chunk.records);
        self.living -= chunk.living.len() as u64;
        self.bytes -= u64::from(chunk.bytes);
        for distance in chunk.dead {
            let freed = self.waiting.remove(&(first + u64::from(distance)));
            freed
                .into_iter()
                .flatten()
                .for_each(|lsn| self.kill(Lsn(lsn)));
        }
        Some(chunk.seal)
    }

    /// What to remove and to write anew in a commit that added so many chunks and bytes. The newest
    /// chunk stays as it is: the numbers of records rise over restarts too.
    pub(super) fn plan(&mut self, added: usize, added_bytes: usize) -> Plan {
        let Some(newest) = self.all.last_key_value().map(|(first, _)| *first) else {
            return Plan::default();
        };
        let mut remove = Vec::new();
        while remove.len() < REMOVED_MAX + added
            && let Some(first) = self.dead.pop()
        {
            remove.push(first);
        }
        if let Some(place) = remove.iter().position(|first| *first == newest) {
            self.dead.push(remove.swap_remove(place));
        }
        let sweep = SWEEP_CHUNKS + 2 * added;
        let merge = self.sweep(newest, sweep, REWRITE_BYTES + 2 * added_bytes);
        Plan { remove, merge }
    }

    /// Looks at some old chunks, and returns runs of neighbours that are to be one.
    fn sweep(&mut self, newest: u64, chunks: usize, bytes: usize) -> Vec<Vec<u64>> {
        let young = newest.saturating_sub(YOUNG_RECORDS);
        let mut runs = Vec::new();
        let mut run = Run::default();
        let mut left = bytes;
        let mut cursor = None;
        let old = self.all.range(self.cursor.min(young)..young).take(chunks);
        for (first, chunk) in old {
            if chunk.living.is_empty() {
                continue;
            }
            let living = chunk.living_bytes();
            if run.bytes + living > CHUNK_BYTES || run.spans_too_much(*first) {
                std::mem::take(&mut run).end(&mut runs);
            }
            if living > CHUNK_BYTES / 2 && !chunk.is_sparse() {
                std::mem::take(&mut run).end(&mut runs);
                continue;
            }
            if living > left {
                cursor = Some(*first);
                break;
            }
            left -= living;
            run.push(*first, living, chunk.is_sparse());
        }
        // A run that goes on beyond what was looked at begins the next sweep.
        let reached = self.all.range(self.cursor.min(young)..young).nth(chunks);
        let goes_on = cursor.or(reached.map(|(first, _)| *first));
        self.cursor = match (goes_on, run.chunks.first()) {
            (Some(_), Some(first)) if *first > self.cursor => *first,
            (Some(next), _) => {
                run.end(&mut runs);
                next
            }
            (None, _) => {
                run.end(&mut runs);
                0
            }
        };
        runs
    }

    /// What all chunks are together.
    pub(super) fn totals(&self) -> Totals {
        Totals {
            chunks: self.all.len() as u64,
            records: self.records,
            living: self.living,
            bytes: self.bytes,
        }
    }
}

/// Neighbours with little alive.
#[derive(Debug, Default)]
struct Run {
    chunks: Vec<u64>,
    bytes: usize,
    has_sparse: bool,
}

impl Run {
    fn push(&mut self, first: u64, bytes: usize, is_sparse: bool) {
        self.chunks.push(first);
        self.bytes += bytes;
        self.has_sparse |= is_sparse;
    }

    /// Distances within a chunk must fit their type.
    fn spans_too_much(&self, next: u64) -> bool {
        let span = u64::from(u32::MAX / 2);
        self.chunks.first().is_some_and(|first| next - first > span)
    }

    fn end(self, runs: &mut Vec<Vec<u64>>) {
        if self.has_sparse || self.chunks.len() > 1 {
            runs.push(self.chunks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(lsn: u64) -> Obsolete {
        let lsn = Lsn(lsn);
        Obsolete { lsn, after: None }
    }

    fn chunk(chunks: &mut Chunks, first: u64, records: u64, bytes: usize) {
        let lsns: Vec<_> = (first..first + records).collect();
        chunks.add(&lsns, u128::from(first), bytes);
    }

    #[test]
    fn chunks_dead_ones_go_but_for_the_newest() {
        let mut chunks = Chunks::default();
        chunk(&mut chunks, 1, 2, 100);
        chunk(&mut chunks, 3, 1, 100);
        for lsn in [1, 2, 2, 3, 9] {
            chunks.retire(&now(lsn));
        }
        assert_eq!(chunks.plan(1, 0).remove, [1]);
        chunk(&mut chunks, 4, 1, 100);
        assert_eq!(chunks.plan(1, 0).remove, [3]);
    }

    #[test]
    fn chunks_record_waits_until_another_is_gone() {
        let mut chunks = Chunks::default();
        chunk(&mut chunks, 1, 2, 100);
        chunk(&mut chunks, 3, 1, 100);
        chunk(&mut chunks, 4, 1, 100);
        let after = |lsn, after| Obsolete {
            lsn: Lsn(lsn),
            after: Some(Lsn(after)),
        };
        chunks.retire(&after(3, 1));
        chunks.retire(&now(1));
        assert!(chunks.lives(3, 3), "1 is dead, but there");
        assert!(chunks.plan(1, 0).remove.is_empty());
        chunks.retire(&now(2));
        assert_eq!(chunks.plan(1, 0).remove, [1]);
        chunks.remove(1);
        assert_eq!(chunks.plan(1, 0).remove, [3], "nothing stands in its way");
        chunk(&mut chunks, 5, 1, 100);
        chunks.retire(&after(4, 1));
        assert_eq!(chunks.plan(1, 0).remove, [4], "1 is gone long since");
    }

    #[test]
    fn chunks_old_sparse_neighbours_become_one() {
        let mut chunks = Chunks::default();
        for first in [1, 11, 21, 31] {
            chunk(&mut chunks, first, 10, CHUNK_BYTES);
        }
        for lsn in (2..=10).chain(12..=20).chain(32..=40) {
            chunks.retire(&now(lsn));
        }
        assert!(chunks.plan(0, 0).merge.is_empty(), "they are young");
        chunk(&mut chunks, 41 + YOUNG_RECORDS, 1, 100);
        assert_eq!(chunks.plan(0, 0).merge, [vec![1, 11], vec![31]]);
    }

    /// Whatever is added, killed and merged, the effort of one commit is bounded, and what is left in
    /// the end is not much more than what lives.
    #[test]
    fn chunks_room_is_bounded_by_what_lives() {
        let mut chunks = Chunks::default();
        let mut next = 1;
        for _ in 0..20_000 {
            chunk(&mut chunks, next, 4, 1200);
            // One of forty lives for ever, the others die ten records later.
            for lsn in (next..next + 4).filter_map(|lsn| lsn.checked_sub(10)) {
                if lsn % 40 != 0 {
                    chunks.retire(&now(lsn));
                }
            }
            next += 4;
            let plan = chunks.plan(1, 1200);
            assert!(plan.remove.len() <= REMOVED_MAX + 1);
            for first in plan.remove {
                chunks.remove(first);
            }
            for run in plan.merge {
                let of = |first: &u64| {
                    let chunk = &chunks.all[first];
                    let lsn = |distance: &u32| first + u64::from(*distance);
                    chunk.living.iter().map(lsn).collect::<Vec<_>>()
                };
                let lsns: Vec<u64> = run.iter().flat_map(of).collect();
                assert!(lsns.is_sorted());
                run.iter().for_each(|first| {
                    chunks.remove(*first);
                });
                chunks.add(&lsns, 0, lsns.len() * 300);
            }
        }
        let totals = chunks.totals();
        assert_eq!(totals.living, totals.records.min(totals.living));
        let expected = next / 40 + 12;
        assert!(totals.living.abs_diff(expected) < 10, "{totals:?}");
        let bound = totals.living * 2 + YOUNG_RECORDS;
        assert!(totals.records < bound, "{totals:?}");
        assert!(totals.chunks < 100 + YOUNG_RECORDS / 4, "{totals:?}");
    }
}

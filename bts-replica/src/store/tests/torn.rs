//! The last commits of a log, byte by byte: what is cut off, and what is refused.

use std::ops::Range;

use super::*;

/// A log of one file that was not closed.
struct Log {
    lock: tempfile::TempDir,
    name: String,
    bytes: Vec<u8>,
    /// Where each commit stands, and what is there once it is.
    commits: Vec<(Range<usize>, Vec<u64>)>,
}

/// The first of these commits adds one record, the second two, and so on.
fn log(commits: u64, length: usize) -> Log {
    let (lock, sim) = (folder(), Sim::default());
    let mut store = open_in(&sim, lock.path()).expect("a new store");
    let (mut next, mut begin, mut stands) = (1, store.end(), Vec::new());
    for count in 1..=commits {
        let batch = batch(next..next + count, length);
        store.commit(batch).expect("room");
        next += count;
        let end = store.end();
        stands.push((begin..end, (1..next).collect()));
        begin = end;
    }
    drop(store);
    let (name, bytes) = sim.files().pop_first().expect("one file");
    Log {
        lock,
        name,
        bytes,
        commits: stands,
    }
}

impl Log {
    /// What is found when the file has these bytes.
    fn read(&self, bytes: &[u8]) -> Result<Vec<u64>, StoreError> {
        let sim = Sim::of([(self.name.clone(), bytes.to_vec())]);
        let mut store = open_in(&sim, self.lock.path())?;
        let found = numbers(&mut store)?;
        // It goes on where it was cut off.
        let next = found.last().map_or(1, |last| last + 1);
        store.commit(batch([next], 100)).expect("room");
        drop(store);
        let mut store = open_in(&sim, self.lock.path())?;
        let grown = numbers(&mut store)?;
        assert_eq!(grown, [&found[..], &[next]].concat());
        Ok(found)
    }

    fn before(&self, commit: usize) -> Vec<u64> {
        let before = commit.checked_sub(1).map(|before| &self.commits[before].1);
        before.cloned().unwrap_or_default()
    }
}

/// From any byte on what was written is cut off, was never written, or is something else.
#[test]
fn torn_tail_is_cut_off_at_the_last_whole_commit() {
    let log = log(3, 100);
    for (commit, (range, whole)) in log.commits.iter().enumerate() {
        for at in range.clone() {
            let cut = &log.bytes[..at];
            let mut zeros = log.bytes.clone();
            zeros[at..].fill(0);
            let mut garbage = log.bytes.clone();
            garbage[at..].iter_mut().for_each(|byte| *byte ^= 0xa5);
            for bytes in [cut, &zeros, &garbage] {
                let found = log.read(bytes).expect("a torn commit is no damage");
                // The last bytes of a commit may be zeros anyway.
                let is_whole =
                    bytes == zeros && log.bytes[at..range.end].iter().all(|byte| *byte == 0);
                let is_pad = at >= range.end - 7 && found == *whole;
                assert!(
                    found == log.before(commit) || is_whole || is_pad,
                    "at {at}: {found:?}"
                );
            }
        }
    }
}

/// A byte of a commit that later ones follow is no torn write.
#[test]
fn torn_commit_with_others_behind_it_is_damage() {
    let log = log(4, 120);
    let (mut refused, mut cut) = (0, 0);
    for (commit, (range, whole)) in log.commits.iter().enumerate() {
        let is_last = commit + 1 == log.commits.len();
        for at in range.clone() {
            let mut bytes = log.bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            match log.read(&bytes) {
                Err(StoreError::Damaged { path, what }) => {
                    assert!(!is_last, "nobody knows");
                    assert!(path.ends_with(&log.name), "{path:?}");
                    let said = format!("byte {} is not intact", range.start);
                    assert!(what.contains(&said), "{what}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
                Ok(found) if is_last && found == log.before(commit) => cut += 1,
                // A byte behind the last record.
                Ok(found) => assert!(
                    found == log.commits[3].1 && at >= range.end - 7,
                    "{whole:?}"
                ),
            }
        }
    }
    assert!(refused > 900 && cut > 600, "{refused}, {cut}");
}

/// Sectors of the last write, in any choice.
#[test]
fn torn_sectors_are_no_damage() {
    let log = log(6, 900);
    let (range, whole) = log.commits.last().expect("six");
    let before = log.before(log.commits.len() - 1);
    let first = range.start / 512;
    let last = range.end.div_ceil(512);
    for seed in 0..400_u64 {
        let mut bytes = log.bytes.clone();
        let mut is_whole = true;
        for sector in first..last {
            if (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (sector - first)) & 1 == 1 {
                let from = (sector * 512).max(range.start);
                let to = ((sector + 1) * 512).min(bytes.len());
                is_whole &= bytes[from..to.min(range.end)].iter().all(|byte| *byte == 0);
                bytes[from..to].fill(0);
            }
        }
        let found = log.read(&bytes).expect("a torn write is no damage");
        assert_eq!(
            found,
            if is_whole {
                whole.clone()
            } else {
                before.clone()
            }
        );
    }
}

//! Damage of every kind: either an error that says so, or nothing is lost. Never a panic.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

/// A closed store, and its files as bytes.
fn small() -> (tempfile::TempDir, Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path()).expect("a new store");
    for first in [1, 5, 9] {
        store.commit(batch(first..first + 4, 500)).expect("room");
    }
    store.commit(obsolete(5..9)).expect("room");
    store.commit(obsolete([])).expect("room");
    store.close().expect("closed");
    let log = fs::read(dir.path().join("store.redb")).expect("it is there");
    let closed = fs::read(dir.path().join("closed")).expect("it is there");
    (dir, log, closed)
}

fn lived() -> Vec<u64> {
    (1..5).chain(9..13).collect()
}

/// A directory with these files; `None` stands for one that was not closed.
fn restore(log: &[u8], closed: Option<&[u8]>) -> (tempfile::TempDir, PathBuf) {
    // In memory where that is possible: these stores are many, and none has to last.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.expect("a folder");
    let file = dir.path().join("store.redb");
    fs::write(&file, log).expect("written");
    if let Some(closed) = closed {
        fs::write(dir.path().join("closed"), closed).expect("written");
    }
    (dir, file)
}

/// `None`: it was refused.
fn read(dir: &Path) -> Option<Vec<u64>> {
    let mut store = match DiskStore::open(dir, &identity()) {
        Ok((store, _)) => store,
        Err(error) => return refused(&error),
    };
    match numbers(&mut store) {
        Ok(found) => Some(found),
        Err(error) => refused(&error),
    }
}

fn refused(error: &StoreError) -> Option<Vec<u64>> {
    match error {
        StoreError::Damaged { .. } | StoreError::Version { .. } | StoreError::Foreign { .. } => {
            None
        }
        other => panic!("no damage: {other}"),
    }
}

/// Pages that nothing refers to may hold anything; all others are looked at byte by byte.
#[test]
fn damage_of_any_byte_is_noticed_or_harmless() {
    let (_dir, log, closed) = small();
    let (next, noticed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // One bit of every place of the header, and of every few places of what is in use.
    let places: Vec<usize> = (0..log.len())
        .filter(|place| *place < 320 || (log[*place] != 0 && place % 13 == 0))
        .collect();
    let work = || {
        while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut log = log.clone();
            log[*place] ^= 1 << (place % 8);
            let (dir, _) = restore(&log, Some(&closed));
            match read(dir.path()) {
                Some(found) => assert_eq!(found, lived(), "a byte at {place} was changed"),
                None => drop(noticed.fetch_add(1, Ordering::Relaxed)),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let noticed = noticed.into_inner();
    assert!(noticed > 300, "only {noticed} were noticed");
}

#[test]
fn damage_of_a_file_cut_off_is_noticed() {
    let (_dir, log, closed) = small();
    for keep in (0..log.len()).step_by(40_961).chain([1, log.len() - 1]) {
        for closed in [Some(&*closed), None] {
            let (dir, _) = restore(&log[..keep], closed);
            if let Some(found) = read(dir.path()) {
                assert_eq!(found, lived(), "{keep} bytes of {} are left", log.len());
            }
        }
    }
    let (dir, _) = restore(&log[..0], None);
    let error = open(dir.path()).expect_err("it is empty").to_string();
    assert!(error.contains("is damaged: the file is empty"), "{error}");
    assert!(error.contains("docs/storage.md"), "{error}");
}

#[test]
fn damage_of_files_exchanged_or_gone_is_noticed() {
    let (dir, old, closed_before) = small();
    let mut store = open(dir.path()).expect("it was closed");
    store.commit(batch([13], 500)).expect("room");
    store.close().expect("closed");
    let closed = fs::read(dir.path().join("closed")).expect("it is there");
    let new = fs::read(dir.path().join("store.redb")).expect("it is there");
    for (log, closed) in [(&old, &closed), (&new, &closed_before)] {
        let (dir, _) = restore(log, Some(closed));
        assert_eq!(read(dir.path()), None, "log and note are of two times");
    }
    let (dir, file) = restore(&new, Some(&closed));
    fs::remove_file(file).expect("it is there");
    let error = open(dir.path()).expect_err("the log is gone").to_string();
    assert!(error.contains("the file is gone"), "{error}");
    let (dir, _) = restore(&new, Some(b"something else"));
    assert_eq!(read(dir.path()), None, "the note was altered");
}

/// A crash: some of what was written last is on the disk, and some is not. All of a commit is there, or nothing
/// of it: what it adds, however long, and what it removes.
#[test]
fn damage_of_a_crash_is_cut_back_to_the_last_commit() {
    torn(batch(5..9, 500), 5..9);
    let mut big = batch(5..400, 500);
    big.obsolete = (1..5).map(dead).collect();
    torn(big, 5..400);
}

/// Four records were stored when the power failed in the middle of `commit`, which adds these; whole it leaves them, and
/// the four unless it removes them.
fn torn(commit: Batch, added: std::ops::Range<u64>) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path()).expect("a new store");
    let file = dir.path().join("store.redb");
    let four: Vec<u64> = (1..5).collect();
    let whole: Vec<u64> = match commit.obsolete.is_empty() {
        true => four.iter().copied().chain(added).collect(),
        false => added.collect(),
    };
    store.commit(batch(1..5, 500)).expect("room");
    let before = fs::read(&file).expect("it is there");
    store.commit(commit).expect("room");
    let after = fs::read(&file).expect("it is there");
    drop(store);
    let length = before.len().max(after.len());
    let page = |image: &[u8], at: usize| {
        let mut page = vec![0; 512];
        let end = image.len().min(at + 512);
        if at < end {
            page[..end - at].copy_from_slice(&image[at..end]);
        }
        page
    };
    let changed: Vec<usize> = (0..length)
        .step_by(512)
        .filter(|at| page(&before, *at) != page(&after, *at))
        .collect();
    for seed in 0_u64..100 {
        let mut torn = after.clone();
        torn.resize(length, 0);
        for (bit, at) in changed.iter().enumerate() {
            let is_lost = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (bit % 64)) & 1 == 1;
            if is_lost {
                torn[*at..*at + 512].copy_from_slice(&page(&before, *at));
            }
        }
        let (dir, _) = restore(&torn, None);
        let found = read(dir.path()).expect("a torn write is no damage");
        assert!(found == whole || found == four, "{found:?}");
    }
}

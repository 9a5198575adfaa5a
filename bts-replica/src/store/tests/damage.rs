//! Damage of every kind: either an error that says so, or nothing is lost. Never a panic.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

type Files = BTreeMap<String, Vec<u8>>;

/// A closed store of some files, of each kind; and what lives in it.
struct Sample {
    files: Files,
    closed: Vec<u8>,
    found: Vec<u64>,
    /// The files of the log, of which there may be others.
    needed: BTreeSet<String>,
    /// Without the last commit.
    before: Vec<u64>,
    /// The file that was written last, and where its last commit begins.
    tail: (String, usize),
}

fn sample() -> Sample {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path()).expect("a new store");
    for number in 1..200_u64 {
        let mut batch = batch([number], 900);
        let dead = number.checked_sub(10).filter(|dead| dead % 8 != 0);
        batch.obsolete = dead.into_iter().map(super::dead).collect();
        put(&mut store, batch);
    }
    let before = numbers(&mut store).expect("intact");
    let begin = store.end();
    store.commit(batch([200], 900)).expect("room");
    let found = numbers(&mut store).expect("intact");
    let tail = (store.tail_name(), begin);
    let needed = store.names();
    store.close().expect("closed");
    let files = files(dir.path());
    for kind in ["log-", "kept-"] {
        let count = needed.iter().filter(|name| name.starts_with(kind)).count();
        assert!(count > 0, "{needed:?}");
    }
    Sample {
        closed: fs::read(dir.path().join("closed")).expect("it is there"),
        files,
        found,
        needed,
        before,
        tail,
    }
}

/// A directory with these files; `None` stands for one that was not closed.
fn restore(files: &Files, closed: Option<&[u8]>) -> tempfile::TempDir {
    let dir = folder();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("written");
    }
    if let Some(closed) = closed {
        fs::write(dir.path().join("closed"), closed).expect("written");
    }
    dir
}

/// `None`: it was refused.
fn read(dir: &Path) -> Option<Vec<u64>> {
    let checked = DiskStore::inspect(dir).and_then(|(mut store, _)| numbers(&mut store));
    let mut store = match DiskStore::open(dir, &identity()) {
        Ok((store, _)) => store,
        Err(error) => {
            assert!(checked.is_err(), "a check says the same");
            return refused(&error);
        }
    };
    match numbers(&mut store) {
        Ok(found) => {
            assert_eq!(checked.expect("a check says the same"), found);
            Some(found)
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &StoreError) -> Option<Vec<u64>> {
    match error {
        StoreError::Damaged { .. } | StoreError::Version { .. } => None,
        other => panic!("no damage: {other}"),
    }
}

/// Bytes behind the last commit of a file may be anything; all others are looked at.
#[test]
fn damage_of_any_byte_is_noticed_or_harmless() {
    let sample = sample();
    let places: Vec<(&String, usize)> = sample
        .files
        .iter()
        .flat_map(|(name, bytes)| (0..bytes.len()).map(move |place| (name, place)))
        .filter(|(_, place)| *place < 200 || place % 61 == 0)
        .collect();
    let (next, noticed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some((name, place)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut files = sample.files.clone();
            let bytes = files.get_mut(*name).expect("it is there");
            bytes[*place] ^= 1 << (place % 8);
            for closed in [Some(&*sample.closed), None] {
                let dir = restore(&files, closed);
                let is_last = **name == sample.tail.0 && *place >= sample.tail.1;
                match read(dir.path()) {
                    Some(found) if found == sample.found => {}
                    Some(found) => {
                        let may_be_cut = closed.is_none() && is_last && found == sample.before;
                        assert!(may_be_cut, "byte {place} of {name} was changed");
                    }
                    None => drop(noticed.fetch_add(1, Ordering::Relaxed)),
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let noticed = noticed.into_inner();
    assert!(noticed > places.len(), "only {noticed} of {}", places.len());
}

/// A file that is cut off; of the one that was written last the end may be what was not durable.
#[test]
fn damage_of_a_file_cut_off_is_noticed() {
    let sample = sample();
    for (name, bytes) in &sample.files {
        let is_tail = *name == sample.tail.0;
        for keep in (0..bytes.len()).step_by(1777).chain([1, bytes.len() - 1]) {
            for closed in [Some(&*sample.closed), None] {
                let mut files = sample.files.clone();
                files.get_mut(name).expect("it is there").truncate(keep);
                let dir = restore(&files, closed);
                let Some(found) = read(dir.path()) else {
                    continue;
                };
                let is_prefix = sample.found.starts_with(&found);
                let may_be_cut = closed.is_none() && is_tail && is_prefix;
                assert!(
                    found == sample.found || may_be_cut,
                    "{keep} bytes of {name}"
                );
            }
        }
    }
}

/// Every file of the log is needed, as it is, in its place.
#[test]
fn damage_of_files_gone_or_exchanged_is_noticed() {
    let sample = sample();
    let Sample { needed, .. } = &sample;
    assert!(needed.len() > 3, "{needed:?}");
    for name in sample.files.keys() {
        let mut files = sample.files.clone();
        files.remove(name);
        for closed in [Some(&*sample.closed), None] {
            let dir = restore(&files, closed);
            match read(dir.path()) {
                Some(found) => {
                    assert!(!needed.contains(name), "{name} is gone");
                    assert_eq!(found, sample.found);
                }
                None => assert!(needed.contains(name), "{name} is not needed"),
            }
        }
    }
    for one in needed {
        for other in needed.iter().filter(|other| *other > one) {
            let mut files = sample.files.clone();
            files.insert(one.clone(), sample.files[other].clone());
            files.insert(other.clone(), sample.files[one].clone());
            let dir = restore(&files, None);
            assert_eq!(read(dir.path()), None, "{one} and {other}");
        }
    }
}

/// The note of how the log was closed, and logs of another time.
#[test]
fn damage_of_logs_and_notes_of_two_times_is_noticed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path()).expect("a new store");
    put(&mut store, batch(1..5, 500));
    store.close().expect("closed");
    let state = |dir: &Path| {
        let closed = fs::read(dir.join("closed")).expect("it is there");
        (files(dir), closed)
    };
    let (old, closed_before) = state(dir.path());
    let mut store = open(dir.path()).expect("it was closed");
    put(&mut store, batch([13], 500));
    store.close().expect("closed");
    let (new, closed) = state(dir.path());
    for (log, closed) in [(&old, &closed), (&new, &closed_before)] {
        let dir = restore(log, Some(closed));
        assert_eq!(read(dir.path()), None, "log and note are of two times");
    }
    let dir = restore(&Files::new(), Some(&closed));
    let error = open(dir.path()).expect_err("the log is gone").to_string();
    assert!(error.contains("the log is gone"), "{error}");
    assert!(error.contains("docs/storage.md"), "{error}");
    let dir = restore(&new, Some(b"something else"));
    assert_eq!(read(dir.path()), None, "the note was altered");
}

/// Files of another version are told from damage, and are not touched.
#[test]
fn damage_is_not_what_another_version_wrote() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("store.redb"), "redb").expect("written");
    let error = open(dir.path()).expect_err("an old store").to_string();
    assert!(error.contains("\"bts store 1\""), "{error}");
    assert!(error.contains("\"bts log 1\""), "{error}");
    let dir = tempfile::tempdir().expect("a folder");
    drop(open(dir.path()).expect("a new store"));
    let mut changed = files(dir.path());
    let bytes = changed.values_mut().next().expect("a file");
    bytes[..9].copy_from_slice(b"bts log 7");
    let dir = restore(&changed, None);
    let error = open(dir.path()).expect_err("a newer one").to_string();
    assert!(error.contains("\"bts log 7\""), "{error}");
    assert_eq!(files(dir.path()), changed);
}

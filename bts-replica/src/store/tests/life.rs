//! What stores keep, and whom they admit.

use std::collections::BTreeSet;
use std::fs;

use bts_core::ids::Incarnation;
use bts_core::memory::Known;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::store::Found;

#[test]
fn store_opened_again_has_what_was_committed() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("deep/data");
    let (mut store, found) = DiskStore::open(&path, &identity()).expect("a new store");
    assert_eq!(found, Found::Nothing);
    assert!(!store.is_confirmed() && store.peers().is_empty());
    let incarnation = store.incarnation();
    assert_eq!(numbers(&mut store).expect("nothing"), [0; 0]);
    let known = Known {
        incarnation: Incarnation(7),
        position: Lsn(8),
    };
    let first = Batch {
        peers: Some([(ReplicaId(1), known)].into()),
        ..batch(1..=3, 100)
    };
    assert_eq!(store.commit(first).expect("room"), Some(Lsn(3)));
    let confirmed = Batch {
        confirmed: true,
        ..Batch::default()
    };
    assert_eq!(store.commit(confirmed).expect("room"), Some(Lsn(3)));
    // Many at once, and one that is longer than a chunk.
    store.commit(batch(4..=1000, 300)).expect("room");
    store.commit(batch([1001], 200_000)).expect("room");
    store.commit(batch([1002], 20)).expect("room");
    store.close().expect("closed");
    let (mut store, found) = DiskStore::open(&path, &identity()).expect("it was closed");
    assert_eq!(found, Found::Closed);
    assert!(store.is_confirmed());
    assert_eq!(store.peers()[&ReplicaId(1)], known);
    assert_eq!(store.incarnation(), incarnation);
    let expected: Vec<u64> = (1..=1002).collect();
    assert_eq!(numbers(&mut store).expect("intact"), expected);
    drop(store);
    let (mut store, found) = DiskStore::open(&path, &identity()).expect("it was left");
    assert_eq!(found, Found::Left);
    assert_eq!(numbers(&mut store).expect("intact"), expected);
}

#[test]
fn store_is_for_one_process_one_replica_and_one_configuration() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).expect("a new store");
    let error = open(dir.path()).expect_err("it is in use").to_string();
    let process = format!("in use by process {}", std::process::id());
    assert!(error.contains(&process), "{error}");
    store.close().expect("closed");
    let others = [
        Identity {
            cluster: ClusterId([9; 32]),
            ..identity()
        },
        Identity {
            configuration: Digest([9; 32]),
            ..identity()
        },
        Identity {
            replica: ReplicaId(9),
            ..identity()
        },
        Identity {
            key: PublicKey([9; 32]),
            ..identity()
        },
    ];
    for other in others {
        let error = DiskStore::open(dir.path(), &other).expect_err("it is another's");
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(&other.to_string()), "{error}");
    }
    open(dir.path()).expect("it was not touched");
}

#[test]
fn store_that_cannot_be_there_says_why() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let error = open(&file).expect_err("a file").to_string();
    assert!(error.contains("`data_dir` must be a directory"), "{error}");
    let error = open(&file.join("below"))
        .expect_err("in a file")
        .to_string();
    assert!(error.contains("`data_dir` must be a directory"), "{error}");
}

#[test]
fn store_half_made_is_made_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("log.new"), "half").expect("written");
    open(dir.path()).expect("made anew");
}

/// Whatever is added and needed no more, and whenever it is opened again: exactly the records that
/// are needed are there for sure, in their order, and of the others none that was never written.
#[test]
fn store_keeps_what_lives_through_any_life() {
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().expect("a folder");
        let mut store = open(dir.path()).expect("a new store");
        let mut living = BTreeSet::new();
        let mut next = 1;
        for _ in 0..400 {
            let count = rng.random_range(0..40);
            let mut batch = batch(next..next + count, rng.random_range(8..3000));
            living.extend(next..next + count);
            next += count;
            // Old ones die more often, and some are told of twice.
            let bound = rng.random_range(0..=next);
            let share = rng.random_range(0.0..1.0);
            let dead: Vec<u64> = living.range(..bound).copied().collect();
            let dead = dead.into_iter().filter(|_| rng.random_bool(share));
            batch.obsolete = dead.map(super::dead).collect();
            batch.obsolete.iter().for_each(|record| {
                living.remove(&record.lsn.0);
            });
            batch.obsolete.push(super::dead(rng.random_range(0..next)));
            living.remove(&batch.obsolete.last().expect("one").lsn.0);
            put(&mut store, batch);
            if rng.random_bool(0.05) {
                match rng.random_bool(0.5) {
                    true => store.close().expect("closed"),
                    false => drop(store),
                }
                store = open(dir.path()).expect("intact");
                check(&mut store, &living, next);
                let dead = (1..next).filter(|number| !living.contains(number));
                store.commit(obsolete(dead)).expect("room");
            }
        }
        check(&mut store, &living, next);
    }
}

fn check(store: &mut DiskStore, living: &BTreeSet<u64>, next: u64) {
    let found = numbers(store).expect("intact");
    assert!(found.is_sorted_by(|one, other| one < other));
    assert!(found.iter().all(|number| (1..next).contains(number)));
    let found: BTreeSet<u64> = found.into_iter().collect();
    let lost: Vec<_> = living.difference(&found).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

/// A steady flow of records that die soon takes bounded room, whatever lives on between them; and
/// the last record stays, so that numbers rise over restarts too.
#[test]
fn store_of_a_steady_flow_does_not_grow() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path()).expect("a new store");
    let mut length = 0;
    for round in 0..3000_u64 {
        let first = 1 + round * 16;
        let mut batch = batch(first..first + 16, 200);
        let before = first.saturating_sub(64)..first.saturating_sub(48);
        let before = before.filter(|number| number % 400 != 1);
        batch.obsolete = before.map(dead).collect();
        put(&mut store, batch);
        if round == 1500 {
            length = room_taken(dir.path());
        }
    }
    let totals = store.totals();
    assert!(totals.records < 3000 * 16 / 2, "{totals:?}");
    let grown = room_taken(dir.path());
    assert!(grown <= length + length / 4, "from {length} to {grown}");
    put(&mut store, obsolete(1..=48_000));
    put(&mut store, obsolete([]));
    drop(store);
    let mut store = open(dir.path()).expect("intact");
    let found = numbers(&mut store).expect("intact");
    assert_eq!(found.last(), Some(&48_000));
}

fn room_taken(dir: &Path) -> usize {
    files(dir).values().map(Vec::len).sum()
}

//! A store that is opened again holds what was committed; one that was damaged says so.

mod crash;
mod damage;
mod life;
mod room;
pub(super) mod sim;
mod torn;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{Seal, SignedBytes};
use bts_core::ids::{ClusterId, Lsn, PublicKey, ReplicaId};
use bts_core::replica::{Obsolete, Record};

use super::files::Dir;
use super::format::FileId;
use super::{Batch, DiskStore, Identity, Store, StoreError};

use sim::Sim;

fn identity() -> Identity {
    Identity {
        cluster: ClusterId([1; 32]),
        configuration: Digest([2; 32]),
        replica: ReplicaId(3),
        key: PublicKey([4; 32]),
    }
}

/// A record that can be told from all others, of some length.
fn record(number: u64, length: usize) -> Record {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(length.max(8), number as u8);
    Record::Entry(SignedBytes {
        payload,
        signer: PublicKey([5; 32]),
        seal: Seal {
            signature: [6; 64],
            path: Vec::new(),
        },
    })
}

fn open(dir: &Path) -> Result<DiskStore, StoreError> {
    let (mut store, _) = DiskStore::open(dir, &identity())?;
    store.replay(&mut |log| log.for_each(drop))?;
    Ok(store)
}

/// The store in a simulated file system.
fn open_in(sim: &Sim, lock: &Path) -> Result<DiskStore, StoreError> {
    let dir = Dir::take(lock).expect("it was let go");
    let (mut store, _) = DiskStore::open_in(dir, Arc::new(sim.clone()), &identity())?;
    store.replay(&mut |log| log.for_each(drop))?;
    Ok(store)
}

/// In memory where that is possible: these folders are many, and none has to last.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    dir.expect("a folder")
}

/// The numbers of all records, each of which is what was written under its number.
fn numbers(store: &mut DiskStore) -> Result<Vec<u64>, StoreError> {
    let mut found = Vec::new();
    let count = store.replay(&mut |log| {
        for (lsn, read) in log {
            let Record::Entry(signed) = &read else {
                panic!("another kind of record");
            };
            assert_eq!(read, record(lsn.0, signed.payload.len()));
            found.push(lsn.0);
        }
    })?;
    assert_eq!(count, found.len() as u64);
    Ok(found)
}

fn batch(numbers: impl IntoIterator<Item = u64>, length: usize) -> Batch {
    let record = |number| (Lsn(number), record(number, length));
    Batch {
        records: numbers.into_iter().map(record).collect(),
        ..Batch::default()
    }
}

/// A commit, and what is done after it while nobody waits.
fn put(store: &mut DiskStore, batch: Batch) {
    store.commit(batch).expect("room");
    store.tend().expect("room");
}

/// The files of the log, with their contents.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("it is there");
    let names = entries.map(|entry| entry.expect("it is there").file_name());
    let names = names.map(|name| name.into_string().expect("a name of ours"));
    let is_log = |name: &String| FileId::of_name(name).is_some();
    names
        .filter(is_log)
        .map(|name| {
            (
                name.clone(),
                std::fs::read(dir.join(name)).expect("it is there"),
            )
        })
        .collect()
}

fn dead(number: u64) -> Obsolete {
    let lsn = Lsn(number);
    Obsolete { lsn, after: None }
}

fn obsolete(numbers: impl IntoIterator<Item = u64>) -> Batch {
    Batch {
        obsolete: numbers.into_iter().map(dead).collect(),
        ..Batch::default()
    }
}

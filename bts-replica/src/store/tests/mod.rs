//! A store that is opened again holds what was committed; one that was damaged says so.

mod damage;
mod life;

use std::path::Path;

use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{Seal, SignedBytes};
use bts_core::ids::{ClusterId, Lsn, PublicKey, ReplicaId};
use bts_core::replica::{Obsolete, Record};

use super::{Batch, DiskStore, Identity, Store, StoreError};

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

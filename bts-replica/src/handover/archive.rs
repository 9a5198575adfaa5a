//! What a stopped replica holds: its log, which nobody adds to any more.

use std::path::Path;

use bts_core::codec;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{SignedBytes, Signer};
use bts_core::ids::{Incarnation, Lsn};
use bts_core::limits::RECORDS_PER_PART_MAX;
use bts_core::replica::Record;
use bts_core::replica::handover::sign_export;
use serde_bytes::ByteBuf;

use crate::home;
use crate::settings::Settings;
use crate::store::{DiskStore, Store, StoreError};

/// Bytes of records in one answer, if it is not a single record.
const PAGE_BYTES: usize = 1 << 20;

/// The log. It keeps the store, so that no other process uses it.
pub(super) struct Archive {
    store: DiskStore,
    records: Vec<Vec<u8>>,
    position: Lsn,
    purpose: Digest,
}

impl Archive {
    /// Reads the store of a replica that has stopped.
    pub(super) fn open(settings: &Settings, home: &Path) -> Result<Self, StoreError> {
        let number = settings.cluster.configuration().number();
        let dir = home::store_dir(home, number);
        let (mut store, _) = DiskStore::open(&dir, &settings.owner())?;
        let (mut records, mut position, mut purpose) = (Vec::new(), Lsn(0), None);
        store.replay(&mut |log| {
            for (lsn, record) in log {
                if let Record::Stopped(stopped) = &record {
                    purpose = Some(*stopped);
                }
                records.push(codec::encode(&record));
                position = lsn;
            }
        })?;
        let purpose = purpose.ok_or_else(|| StoreError::Engine {
            path: dir,
            what: "its replica has stopped, and it does not say so".into(),
        })?;
        Ok(Self {
            store,
            records,
            position,
            purpose,
        })
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.store.incarnation()
    }

    pub(super) fn position(&self) -> Lsn {
        self.position
    }

    /// What it stopped for.
    pub(super) fn purpose(&self) -> Digest {
        self.purpose
    }

    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    pub(super) fn seal(&self, signer: &Signer) -> SignedBytes {
        sign_export(signer, self.purpose, self.records.iter().map(Vec::as_slice))
    }

    /// Records after so many.
    pub(super) fn page(&self, skip: u64) -> Vec<ByteBuf> {
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let (mut page, mut bytes) = (Vec::new(), 0);
        for record in self.records.iter().skip(skip) {
            bytes += record.len();
            let is_full = page.len() == RECORDS_PER_PART_MAX;
            if is_full || bytes > PAGE_BYTES && !page.is_empty() {
                break;
            }
            page.push(ByteBuf::from(record.clone()));
        }
        page
    }
}

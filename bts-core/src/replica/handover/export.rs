//! Exports: all that a stopped replica holds, which is its log, under one signature. A replica
//! may lie in it by leaving out and by claiming to have forgotten, not otherwise: everything else in a
//! log proves itself, and is checked here like what comes from any stranger.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{self, DecodeError};
use crate::consensus::certificate::Value;
use crate::consensus::choose::Told;
use crate::content::{DecidedTake, HeldContent, TakePayload};
use crate::crypto::hash::{Digest, Domain, Hasher};
use crate::crypto::sign::{Kind, SignedBytes, Signer};
use crate::crypto::verified::{ValidCertificate, Verified, Verifier};
use crate::ids::{ClientRef, EntryId, Epoch, Lsn, OpId, ReplicaId, TakeNumber};
use crate::misbehavior::Forgery;
use crate::replica::ranges::RemovedRanges;
use crate::replica::record::{Change, Record};
use crate::replica::store::{Admitted, Store};

/// The signed payload of an export: "I have stopped for this, and held these records".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPayload {
    /// Hash of what it stopped for: an export serves one change of configuration.
    pub purpose: Digest,
    /// Hash of the records, each as it is encoded, in order.
    pub digest: Digest,
}

/// Signs the records of a replica that has stopped.
pub fn sign_export<'a>(
    signer: &Signer,
    purpose: Digest,
    records: impl IntoIterator<Item = &'a [u8]>,
) -> SignedBytes {
    let hasher = Hasher::new(Domain::Export);
    let digest = records.into_iter().fold(hasher, Hasher::part).finish();
    let payload = ExportPayload { purpose, digest };
    signer.sign(Kind::Export, codec::encode(&payload))
}

/// Why an export is none. A correct replica makes no such, so that its replica is faulty, or its bytes
/// were changed on the way, which its signature shows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadExport {
    /// The signature, or its signer.
    #[error("it is not signed: {0}")]
    Unsigned(Forgery),
    /// Another replica signed it than the one that handed it over.
    #[error("it is what {0} signed")]
    OtherSeat(ReplicaId),
    /// It was made for another change of configuration.
    #[error("it was made for another change of configuration")]
    OtherPurpose,
    /// Records were changed, added or cut off.
    #[error("the records are not those that were signed")]
    OtherRecords,
    /// A record is none.
    #[error("record {0} cannot be read: {1}")]
    Undecodable(Lsn, DecodeError),
    /// The records do not end with the word that the replica stopped for this.
    #[error("its replica did not stop for this")]
    NotStopped,
    /// A record does not prove itself.
    #[error("record {0} is forged: {1}")]
    Forged(Lsn, Forgery),
    /// A record contradicts the records before it.
    #[error("record {0} contradicts those before it: {1}")]
    Contradicts(Lsn, &'static str),
}

/// What one replica held, all of it checked.
#[derive(Debug)]
pub struct Export {
    replica: ReplicaId,
    store: Store,
}

impl Export {
    /// Checks what the replica of this seat handed over, all records included: `verifier` is of the
    /// configuration that ends.
    pub fn verify(
        verifier: &Verifier,
        seat: ReplicaId,
        purpose: Digest,
        header: SignedBytes,
        records: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, BadExport> {
        let (replica, said) = verifier
            .export::<ExportPayload>(header)
            .map_err(BadExport::Unsigned)?;
        if replica != seat {
            return Err(BadExport::OtherSeat(replica));
        }
        if said.purpose != purpose {
            return Err(BadExport::OtherPurpose);
        }
        let mut export = Self {
            replica,
            store: Store::default(),
        };
        let mut hasher = Hasher::new(Domain::Export);
        let mut first_fault = None;
        for (lsn, bytes) in (1..).map(Lsn).zip(records) {
            hasher = hasher.part(&bytes);
            if first_fault.is_none() {
                first_fault = export.replay(verifier, lsn, &bytes).err();
            }
        }
        // What was changed on the way is nobody's fault, and told first.
        if hasher.finish() != said.digest {
            return Err(BadExport::OtherRecords);
        }
        match first_fault {
            Some(fault) => Err(fault),
            None if export.store.stopped() != Some(purpose) => Err(BadExport::NotStopped),
            None => Ok(export),
        }
    }

    /// Whose it is.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    fn replay(&mut self, verifier: &Verifier, lsn: Lsn, bytes: &[u8]) -> Result<(), BadExport> {
        let record: Record =
            codec::decode_peer(bytes).map_err(|error| BadExport::Undecodable(lsn, error))?;
        let change =
            checked(verifier, record).map_err(|forgery| BadExport::Forged(lsn, forgery))?;
        let admitted = self.store.admits(&change);
        match admitted.map_err(|why| BadExport::Contradicts(lsn, why))? {
            Admitted::Fits => self.store.apply(lsn, &change),
            Admitted::Leftover => {}
        }
        self.store.take_obsolete();
        Ok(())
    }

    /// True if it says that the entry was taken, and shows no proof.
    pub(super) fn says_gone(&self, id: &EntryId) -> bool {
        self.store.decision(id).is_none() && self.store.is_removed(id)
    }

    /// Decisions that it kept.
    pub(super) fn decided(&self) -> impl Iterator<Item = &Arc<DecidedTake>> {
        self.store.numbered(Lsn(0)).map(|(_, kept)| &kept.decided)
    }

    /// Contents that were written. Puts are told by the decisions.
    pub(super) fn written(&self) -> impl Iterator<Item = HeldContent> {
        let roots = self.store.live_after(None).filter(|(id, _)| id.is_root());
        let contents = roots.flat_map(|(_, contents)| contents);
        contents.map(|held| held.content())
    }

    /// Roots that it says are gone.
    pub(super) fn gone_roots(&self) -> RemovedRanges {
        self.store.gone_roots()
    }

    /// Entries of which it knows an epoch, or bound itself in one.
    pub(super) fn instances(&self) -> impl Iterator<Item = &EntryId> {
        self.store.instances()
    }

    pub(super) fn epoch(&self, id: &EntryId) -> Epoch {
        self.store.epoch(id)
    }

    /// The certificate by which the epoch of an entry began.
    pub(super) fn released(&self, id: &EntryId) -> Option<&ValidCertificate> {
        self.store.bound(id)?.released.as_ref()
    }

    /// What it bound itself to in this epoch of an entry. Who is in an earlier one did not in this.
    pub(super) fn told(&self, id: &EntryId, epoch: Epoch) -> Told {
        let bound = self.store.bound(id).filter(|bound| bound.epoch == epoch);
        bound.map_or_else(Told::default, |bound| {
            let lock = bound.instance.locked().map(ValidCertificate::statement);
            Told {
                lock: lock.map(|lock| (lock.ballot, lock.value)),
                first: bound.instance.first(),
            }
        })
    }

    /// Below which number it was told that the Takes of a session are settled: all, if it ended.
    pub(super) fn settled(&self, session: &ClientRef) -> TakeNumber {
        if self.store.has_ended(session) {
            return TakeNumber(u64::MAX);
        }
        self.store.settled(session)
    }

    /// A Take that it voted for or locked.
    pub(super) fn take(&self, id: &EntryId, op: OpId) -> Option<&Verified<TakePayload>> {
        let bound = self.store.bound(id)?;
        let takes = bound.first.iter().chain(&bound.locked);
        takes.into_iter().find(|take| take.op() == op)
    }
}

/// The change that a record of somebody else's log says. A replica need not check its own log for what
/// it would never have written.
fn checked(verifier: &Verifier, record: Record) -> Result<Change, Forgery> {
    let change = Change::from_record(verifier, record)?;
    if let Change::Locked(lock, take) = &change {
        let said = lock.statement();
        verifier.lock(lock.certificate().clone(), &said.id, said.epoch)?;
        let is_of_it = match said.value {
            Value::Take(op) => take.op() == op,
            Value::Release | Value::Expire => true,
        };
        if !is_of_it || take.id != said.id || take.epoch != said.epoch {
            return Err(Forgery::TakeMismatch);
        }
    }
    Ok(change)
}

//! Promises: what a replica tells when it enters a ballot, and when a promise is *valid*
//! (PROTOCOL section 5 rule 1 (G9c)).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::certificate::{Certificate, VoteKind};
use crate::codec;
use crate::content::{IllFormed, TakePayload};
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::{ValidCertificate, Verified, Verifier};
use crate::ids::{Ballot, EntryId, Epoch, OpId, ReplicaId};
use crate::limits::{EPOCH_MAX, TAKES_PER_PROMISE_MAX};
use crate::misbehavior::{Evidence, Forgery};

/// The signed payload of a promise: "in `I(id, epoch)` I accept nothing below `ballot` any more;
/// before it I had given this first vote and accepted this lock".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromisePayload {
    /// The entry.
    pub id: EntryId,
    /// The epoch.
    pub epoch: Epoch,
    /// The ballot entered, at least 1.
    pub ballot: Ballot,
    /// The first vote given.
    pub first: Option<OpId>,
    /// The highest lock accepted.
    pub lock: Option<Certificate>,
    /// Takes known: that of the first vote, and the least (D3).
    #[serde(deserialize_with = "codec::at_most::<TAKES_PER_PROMISE_MAX, _, _>")]
    pub takes: Vec<OpId>,
}

impl PromisePayload {
    fn well_formed(&self) -> Result<(), IllFormed> {
        if !self.id.is_canonical() {
            return Err(IllFormed::BadId);
        }
        if self.epoch.0 > EPOCH_MAX {
            return Err(IllFormed::EpochTooHigh);
        }
        match self.ballot > Ballot::ZERO && self.takes.len() <= TAKES_PER_PROMISE_MAX {
            true => Ok(()),
            false => Err(IllFormed::BadPromise),
        }
    }
}

/// A promise by a replica, its signature checked, but not yet whether it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPromise {
    /// Who promises.
    pub replica: ReplicaId,
    /// What.
    pub promise: Verified<PromisePayload>,
}

/// Why a promise does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromiseFault {
    /// Its lock is no valid certificate of a lower ballot of this instance.
    BadLock(Forgery),
    /// The Take of its first vote is not known in full, so it cannot be judged yet.
    FirstUnknown(OpId),
    /// None of its Takes is known and allowed: it is no promise (B2).
    NoAllowedTake,
}

/// R-5.1c. A valid promise: a witness, made by [`ValidPromise::new`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidPromise {
    signed: SignedPromise,
    lock: Option<ValidCertificate>,
    first: Option<Verified<TakePayload>>,
    allowed: BTreeMap<OpId, Verified<TakePayload>>,
}

impl ValidPromise {
    /// Checks a promise. `known` finds a Take of this instance in full; `allows` is the policy.
    pub fn new(
        verifier: &Verifier,
        signed: SignedPromise,
        known: impl Fn(&OpId) -> Option<Verified<TakePayload>>,
        allows: impl Fn(&TakePayload) -> bool,
    ) -> Result<Self, PromiseFault> {
        let promise = &signed.promise;
        let lock = lock_below(verifier, promise).map_err(PromiseFault::BadLock)?;
        let of_instance =
            |take: &Verified<TakePayload>| take.id == promise.id && take.epoch == promise.epoch;
        let find = |op: &OpId| known(op).filter(of_instance);
        let first = match promise.first {
            Some(op) => Some(find(&op).ok_or(PromiseFault::FirstUnknown(op))?),
            None => None,
        };
        let allowed: BTreeMap<_, _> = promise
            .first
            .iter()
            .chain(&promise.takes)
            .filter_map(|op| Some((*op, find(op)?)))
            .filter(|(_, take)| allows(take))
            .collect();
        if allowed.is_empty() {
            return Err(PromiseFault::NoAllowedTake);
        }
        Ok(Self {
            signed,
            lock,
            first,
            allowed,
        })
    }

    /// Who promises.
    pub fn replica(&self) -> ReplicaId {
        self.signed.replica
    }

    /// What.
    pub fn payload(&self) -> &PromisePayload {
        &self.signed.promise
    }

    /// The promise as it travels.
    pub fn signed(&self) -> &SignedBytes {
        self.signed.promise.signed()
    }

    /// Proof against its replica, if `other` is another promise of the same for the same ballot: a
    /// correct one repeats its promise as it was.
    pub fn contradicts(&self, other: &Self) -> Option<Evidence> {
        let (one, two) = (self.payload(), other.payload());
        let same_ballot = (&one.id, one.epoch, one.ballot) == (&two.id, two.epoch, two.ballot);
        let contradicts = self.replica() == other.replica() && same_ballot && one != two;
        contradicts.then(|| Evidence::ContradictingPromises {
            replica: self.replica(),
            one: self.signed().clone(),
            other: other.signed().clone(),
        })
    }

    /// The lock it reports.
    pub fn lock(&self) -> Option<&ValidCertificate> {
        self.lock.as_ref()
    }

    /// The Take of its first vote, allowed or not.
    pub fn first(&self) -> Option<&Verified<TakePayload>> {
        self.first.as_ref()
    }

    /// Its Takes that are known, well-formed and allowed.
    pub fn allowed(&self) -> &BTreeMap<OpId, Verified<TakePayload>> {
        &self.allowed
    }
}

impl Verifier {
    /// A promise's signature and form.
    pub fn signed_promise(&self, signed: SignedBytes) -> Result<SignedPromise, Forgery> {
        let (replica, promise) = self.promise::<PromisePayload>(signed)?;
        promise.well_formed()?;
        Ok(SignedPromise { replica, promise })
    }

    /// A certificate that can be locked in `I(id, epoch)`: first or prepare votes.
    pub fn lock(
        &self,
        certificate: Certificate,
        id: &EntryId,
        epoch: Epoch,
    ) -> Result<ValidCertificate, Forgery> {
        let valid = self.certificate(certificate)?;
        if valid.kind() == VoteKind::Commit {
            return Err(Forgery::NotALock);
        }
        let is_of_it = valid.statement().id == *id && valid.statement().epoch == epoch;
        match is_of_it || mutant!(LockOfAnyInstance) {
            true => Ok(valid),
            false => Err(Forgery::WrongInstance),
        }
    }
}

fn lock_below(
    verifier: &Verifier,
    promise: &PromisePayload,
) -> Result<Option<ValidCertificate>, Forgery> {
    let Some(certificate) = &promise.lock else {
        return Ok(None);
    };
    let lock = verifier.lock(certificate.clone(), &promise.id, promise.epoch)?;
    match lock.statement().ballot < promise.ballot {
        true => Ok(Some(lock)),
        false => Err(Forgery::WrongInstance),
    }
}

//! Signed material about one instance, made once per distinct statement and kept: exhaustive checks
//! use the real certificates and promises without paying for a signature at every step.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bts_core::codec;
use bts_core::consensus::certificate::{Value, VoteKind};
use bts_core::consensus::promise::{PromiseFault, PromisePayload, ValidPromise};
use bts_core::content::TakePayload;
use bts_core::crypto::sign::Kind;
use bts_core::crypto::verified::{ValidCertificate, Verified};
use bts_core::ids::{Ballot, EntryId, Epoch, OpId, PublicKey};

use crate::support::{Cluster, id_in, signed, statement, take_payload};

/// A value by number: the Take of that number, or [`RELEASE`].
pub(crate) type Pick = u8;

/// `Release` as a [`Pick`].
pub(crate) const RELEASE: Pick = 255;

/// What a promise tells, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    /// The Take of its first vote.
    pub(crate) first: Option<u8>,
    /// Ballot and value of its lock.
    pub(crate) lock: Option<(u32, Pick)>,
    /// Further Takes it names.
    pub(crate) takes: Vec<u8>,
}

pub(crate) struct Workshop {
    pub(crate) cluster: Cluster,
    pub(crate) id: EntryId,
    pub(crate) epoch: Epoch,
    takes: Vec<Verified<TakePayload>>,
    allowed: Vec<bool>,
    locks: RefCell<BTreeMap<(u32, Pick), ValidCertificate>>,
    promises: RefCell<BTreeMap<(u16, u32, Told), ValidPromise>>,
}

impl Workshop {
    /// Material about one entry in this epoch; a Take for each flag, which says whether the policy
    /// allows it.
    pub(crate) fn new(cluster: Cluster, epoch: u8, allowed: &[bool]) -> Self {
        let id = id_in("jobs", PublicKey([7; 32]), 1);
        let take = |seed| {
            let client = cluster.client(seed);
            let take = signed(&client, Kind::Take, &take_payload(&client, &id, epoch));
            cluster.verifier.take(take).unwrap()
        };
        let takes = (100..).take(allowed.len()).map(take).collect();
        Self {
            cluster,
            id,
            epoch: Epoch(epoch),
            takes,
            allowed: allowed.to_vec(),
            locks: RefCell::default(),
            promises: RefCell::default(),
        }
    }

    pub(crate) fn take(&self, number: u8) -> &Verified<TakePayload> {
        &self.takes[usize::from(number)]
    }

    pub(crate) fn is_allowed(&self, number: u8) -> bool {
        self.allowed[usize::from(number)]
    }

    pub(crate) fn op(&self, number: u8) -> OpId {
        self.take(number).op()
    }

    pub(crate) fn value(&self, pick: Pick) -> Value {
        match pick {
            RELEASE => Value::Release,
            number => Value::Take(self.op(number)),
        }
    }

    /// Every value there is.
    pub(crate) fn picks(&self) -> impl Iterator<Item = Pick> + use<> {
        (0..self.takes.len() as u8).chain([RELEASE])
    }

    pub(crate) fn pick(&self, value: Value) -> Pick {
        self.picks()
            .find(|pick| self.value(*pick) == value)
            .expect("a value of this workshop")
    }

    /// The lock for this value in this ballot.
    pub(crate) fn lock(&self, ballot: u32, pick: Pick) -> ValidCertificate {
        let make = || {
            let kind = match ballot {
                0 => VoteKind::First,
                _ => VoteKind::Prepare,
            };
            let said = statement(&self.id, self.epoch.0, ballot, self.value(pick));
            let q = self.cluster.configuration.size().ack_quorum() as u16;
            let certificate = self.cluster.certificate(kind, &said, 0..q);
            let lock = self
                .cluster
                .verifier
                .lock(certificate, &self.id, self.epoch);
            lock.expect("well-formed, and enough votes")
        };
        self.locks
            .borrow_mut()
            .entry((ballot, pick))
            .or_insert_with(make)
            .clone()
    }

    /// The promise of a replica for a ballot, if it is a valid one.
    pub(crate) fn promise(
        &self,
        replica: u16,
        ballot: u32,
        told: &Told,
    ) -> Result<ValidPromise, PromiseFault> {
        let key = (replica, ballot, told.clone());
        if let Some(promise) = self.promises.borrow().get(&key) {
            return Ok(promise.clone());
        }
        let promise = self.make_promise(replica, ballot, told)?;
        self.promises.borrow_mut().insert(key, promise.clone());
        Ok(promise)
    }

    fn make_promise(
        &self,
        replica: u16,
        ballot: u32,
        told: &Told,
    ) -> Result<ValidPromise, PromiseFault> {
        let lock = told.lock.map(|(ballot, pick)| self.lock(ballot, pick));
        let payload = PromisePayload {
            id: self.id.clone(),
            epoch: self.epoch,
            ballot: Ballot(ballot),
            first: told.first.map(|number| self.op(number)),
            lock: lock.map(|lock| lock.certificate().clone()),
            takes: told.takes.iter().map(|number| self.op(*number)).collect(),
        };
        let signer = &self.cluster.replicas[usize::from(replica)];
        let verifier = &self.cluster.verifier;
        let bytes = signer.sign(Kind::Promise, codec::encode(&payload));
        let promise = verifier
            .signed_promise(bytes)
            .expect("signed and well-formed");
        let known = |op: &OpId| self.takes.iter().find(|take| take.op() == *op).cloned();
        let allows = |take: &TakePayload| {
            let same = |number: &u8| **self.take(*number) == *take;
            (0..self.takes.len() as u8)
                .find(same)
                .is_some_and(|number| self.is_allowed(number))
        };
        ValidPromise::new(verifier, promise, known, allows)
    }
}

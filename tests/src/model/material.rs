//! Signed material about one entry, made once per distinct statement and kept.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bts_core::configuration::{Configuration, Policy};
use bts_core::consensus::ballot::owner;
use bts_core::consensus::certificate::{Certificate, Statement, Value, VoteKind};
use bts_core::consensus::promise::{PromisePayload, ValidPromise};
use bts_core::content::{Decision, TakePayload};
use bts_core::crypto::sign::SignedBytes;
use bts_core::crypto::verified::{ValidCertificate, Verified, Verifier};
use bts_core::ids::{
    Ballot, ClientRef, ClusterId, ContentHash, EntryId, Epoch, OpId, PublicKey, ReplicaId, Session,
    SpaceName,
};
use bts_core::quorum::ClusterSize;
use bts_core::tuple::Tuple;
use ed25519_dalek::SigningKey;

use super::{Bounds, Pick};
use crate::adversary::forge::{self, ClientForge, ReplicaForge};

/// The session of everybody who takes.
const TAKER: Session = Session(5);

/// What a promise tells, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Told {
    /// The Take of its first vote.
    pub(super) first: Option<Pick>,
    /// Ballot and value of its lock.
    pub(super) lock: Option<(u8, Pick)>,
}

/// How many votes make what, measured by asking the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Enough {
    pub(super) first_lock: usize,
    pub(super) prepare_lock: usize,
    pub(super) fast: usize,
    pub(super) slow: usize,
}

/// One entry, its contents, the Takes of each epoch, and all keys.
pub(super) struct Material {
    pub(super) configuration: Arc<Configuration>,
    pub(super) verifier: Verifier,
    pub(super) space: SpaceName,
    pub(super) id: EntryId,
    pub(super) contents: Vec<(ContentHash, SignedBytes)>,
    replicas: Vec<ReplicaForge>,
    takes: Vec<Vec<Verified<TakePayload>>>,
    locks: RefCell<BTreeMap<(u8, u8, Pick), ValidCertificate>>,
    promises: RefCell<BTreeMap<(u8, u16, u8, Told), ValidPromise>>,
}

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

impl Material {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let n = bounds.replicas as u8;
        let keys = (0..n).map(|replica| PublicKey(key(replica).verifying_key().to_bytes()));
        let configuration = Configuration::new(
            ClusterId([9; 32]),
            1,
            keys.collect(),
            bounds.faults,
            Policy::default(),
        );
        let configuration = Arc::new(configuration.expect("a legal cluster"));
        let space = SpaceName::new("jobs").expect("a legal name");
        let writer = ClientForge::new(&configuration, key(100), Session(3));
        let id = writer.id(&space, 1);
        let content = |number: u8| {
            let entry = writer.entry(id.clone(), Tuple(vec![u64::from(number).into()]));
            (forge::content_hash(&configuration, &entry), entry)
        };
        let contents: Vec<_> = (0..bounds.contents).map(content).collect();
        let verifier = Verifier::new(Arc::clone(&configuration));
        let take = |epoch: u8, number: u8| {
            let client = ClientForge::new(&configuration, key(110 + number), TAKER);
            let (content, _) = contents[usize::from(number % bounds.contents)];
            let number = u64::from(epoch) + 1;
            let take = client.take(number, id.clone(), content, Epoch(epoch), Vec::new());
            verifier.take(take).expect("signed and well-formed")
        };
        let takes = (0..bounds.epochs)
            .map(|epoch| (0..bounds.takes).map(|n| take(epoch, n)).collect())
            .collect();
        let replica = |i: u8| ReplicaForge::new(&configuration, ReplicaId(u16::from(i)), key(i));
        Self {
            replicas: (0..n).map(replica).collect(),
            verifier,
            space,
            id,
            takes,
            contents,
            locks: RefCell::default(),
            promises: RefCell::default(),
            configuration,
        }
    }

    pub(super) fn size(&self) -> ClusterSize {
        self.configuration.size()
    }

    pub(super) fn take(&self, epoch: u8, number: Pick) -> &Verified<TakePayload> {
        &self.takes[usize::from(epoch)][usize::from(number)]
    }

    fn takes(&self, epoch: u8) -> &[Verified<TakePayload>] {
        &self.takes[usize::from(epoch)]
    }

    /// Whose Takes have this key.
    pub(super) fn taker(&self, key: PublicKey) -> ClientRef {
        ClientRef {
            key,
            session: TAKER,
        }
    }

    /// Who proposes in a ballot.
    pub(super) fn owner(&self, epoch: u8, ballot: u8) -> ReplicaId {
        let ballot = Ballot(u32::from(ballot));
        owner(self.size(), &self.id, Epoch(epoch), ballot)
    }

    pub(super) fn op(&self, epoch: u8, number: Pick) -> OpId {
        self.take(epoch, number).op()
    }

    pub(super) fn value(&self, epoch: u8, pick: Pick) -> Value {
        match self.takes(epoch).get(usize::from(pick)) {
            Some(take) => Value::Take(take.op()),
            None => Value::Release,
        }
    }

    pub(super) fn pick(&self, epoch: u8, value: Value) -> Pick {
        let picks = 0..=self.takes(epoch).len() as Pick;
        let mut found = picks.filter(|pick| self.value(epoch, *pick) == value);
        found.next().expect("a value of this model")
    }

    /// What this content's reader looks for.
    pub(super) fn tuple(&self, content: u8) -> Tuple {
        Tuple(vec![u64::from(content).into()])
    }

    fn statement(&self, epoch: u8, ballot: u8, pick: Pick) -> Statement {
        Statement {
            id: self.id.clone(),
            epoch: Epoch(epoch),
            ballot: Ballot(u32::from(ballot)),
            value: self.value(epoch, pick),
        }
    }

    fn certificate(&self, kind: VoteKind, said: &Statement, votes: usize) -> Certificate {
        let votes = self.replicas[..votes].iter().map(|r| r.vote(kind, said));
        forge::certificate(&votes.collect::<Vec<_>>()).expect("at least one vote")
    }

    /// The least numbers of votes with which the verifier takes a certificate for what it claims.
    pub(super) fn enough(&self) -> Enough {
        let least = |is_enough: &dyn Fn(usize) -> bool| {
            let mut counts = 1..=self.replicas.len();
            counts
                .find(|count| is_enough(*count))
                .expect("all votes are enough")
        };
        let zero = self.statement(0, 0, 0);
        let one = self.statement(0, 1, 0);
        let locks = |kind, said: &Statement, votes| {
            let certificate = self.certificate(kind, said, votes);
            self.verifier.lock(certificate, &self.id, Epoch(0)).is_ok()
        };
        let decides = |kind, said: &Statement, votes| {
            let certificate = self.certificate(kind, said, votes);
            let take = Some(self.take(0, 0).signed().clone());
            self.verifier
                .decision(Decision { certificate, take })
                .is_ok()
        };
        Enough {
            first_lock: least(&|votes| locks(VoteKind::First, &zero, votes)),
            prepare_lock: least(&|votes| locks(VoteKind::Prepare, &one, votes)),
            fast: least(&|votes| decides(VoteKind::First, &zero, votes)),
            slow: least(&|votes| decides(VoteKind::Commit, &one, votes)),
        }
    }

    /// The lock for this value in this ballot.
    pub(super) fn lock(&self, epoch: u8, ballot: u8, pick: Pick) -> ValidCertificate {
        let make = || {
            let kind = match ballot {
                0 => VoteKind::First,
                _ => VoteKind::Prepare,
            };
            let said = self.statement(epoch, ballot, pick);
            let certificate = self.certificate(kind, &said, self.size().ack_quorum());
            let lock = self.verifier.lock(certificate, &self.id, Epoch(epoch));
            lock.expect("well-formed, and enough votes")
        };
        let mut locks = self.locks.borrow_mut();
        let lock = locks.entry((epoch, ballot, pick)).or_insert_with(make);
        lock.clone()
    }

    /// The certificate that this epoch was released.
    pub(super) fn released(&self, epoch: u8) -> Certificate {
        let said = self.statement(epoch, 1, self.takes(epoch).len() as Pick);
        self.certificate(VoteKind::Commit, &said, self.size().ack_quorum())
    }

    /// The promise of a replica for a ballot. All promises together name every Take.
    pub(super) fn promise(&self, epoch: u8, replica: u16, ballot: u8, told: Told) -> ValidPromise {
        let key = (epoch, replica, ballot, told);
        if let Some(promise) = self.promises.borrow().get(&key) {
            return promise.clone();
        }
        let takes = self.takes(epoch);
        let lock = told
            .lock
            .map(|(ballot, pick)| self.lock(epoch, ballot, pick));
        let named = [usize::from(replica), usize::from(replica) + 1];
        let mut named = named
            .map(|number| takes[number % takes.len()].op())
            .to_vec();
        named.dedup();
        let payload = PromisePayload {
            id: self.id.clone(),
            epoch: Epoch(epoch),
            ballot: Ballot(u32::from(ballot)),
            first: told.first.map(|number| self.op(epoch, number)),
            lock: lock.map(|lock| lock.certificate().clone()),
            takes: named,
        };
        let signed = self.replicas[usize::from(replica)].promise(&payload);
        let signed = self
            .verifier
            .signed_promise(signed)
            .expect("signed and well-formed");
        let known = |op: &OpId| takes.iter().find(|take| take.op() == *op).cloned();
        let promise = ValidPromise::new(&self.verifier, signed, known, |_| true);
        let promise = promise.expect("a valid promise");
        self.promises.borrow_mut().insert(key, promise.clone());
        promise
    }
}

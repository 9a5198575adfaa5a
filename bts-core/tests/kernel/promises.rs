//! Who may promise what, and when a promise is valid (R-5.1c (G9c)).

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, Statement, Value, VoteKind};
use bts_core::consensus::promise::{PromiseFault, PromisePayload, ValidPromise};
use bts_core::content::{IllFormed, TakePayload};
use bts_core::crypto::sign::Kind;
use bts_core::crypto::verified::Verified;
use bts_core::ids::{Ballot, EntryId, Epoch, OpId, PublicKey};
use bts_core::misbehavior::Forgery;

use crate::support::{Cluster, id_in, signed, some_op, statement, take_payload};

const WRITER: PublicKey = PublicKey([7; 32]);

/// A cluster, a Take of the instance that all promises here are about, and some Takes that are not
/// of it.
struct Scene {
    cluster: Cluster,
    take: Verified<TakePayload>,
    strangers: Vec<Verified<TakePayload>>,
}

impl Scene {
    fn new() -> Self {
        let cluster = Cluster::of_four();
        let client = cluster.client(40);
        let take = |id: &EntryId, epoch| {
            let bytes = signed(&client, Kind::Take, &take_payload(&client, id, epoch));
            cluster.verifier.take(bytes).unwrap()
        };
        let others = [id_in("other", WRITER, 1), id_in("jobs", WRITER, 2)];
        let mut strangers: Vec<_> = others.iter().map(|id| take(id, 1)).collect();
        strangers.push(take(&entry(), 2));
        Self {
            take: take(&entry(), 1),
            strangers,
            cluster,
        }
    }

    /// A good promise for ballot 3.
    fn promise(&self) -> PromisePayload {
        let lock = statement(&entry(), 1, 2, Value::Take(some_op(9)));
        PromisePayload {
            id: entry(),
            epoch: Epoch(1),
            ballot: Ballot(3),
            first: Some(self.take.op()),
            lock: Some(self.lock(VoteKind::Prepare, &lock)),
            takes: vec![self.take.op()],
        }
    }

    fn lock(&self, kind: VoteKind, said: &Statement) -> Certificate {
        self.cluster.certificate(kind, said, 0..3)
    }

    fn refusal(&self, promise: &PromisePayload) -> Option<Forgery> {
        let bytes = signed(&self.cluster.replicas[0], Kind::Promise, promise);
        self.cluster.verifier.signed_promise(bytes).err()
    }

    fn fault(&self, promise: &PromisePayload) -> Option<PromiseFault> {
        let verifier = &self.cluster.verifier;
        let bytes = signed(&self.cluster.replicas[0], Kind::Promise, promise);
        let promise = verifier.signed_promise(bytes).unwrap();
        let takes = self.strangers.iter().chain([&self.take]);
        let known = |op: &OpId| takes.clone().find(|take| take.op() == *op).cloned();
        ValidPromise::new(verifier, promise, known, |_| true).err()
    }
}

fn entry() -> EntryId {
    id_in("jobs", WRITER, 1)
}

#[test]
fn promise_is_a_replica_s_own() {
    let scene = Scene::new();
    let payload = codec::encode(&scene.promise());
    let verifier = &scene.cluster.verifier;
    let by_replica = scene.cluster.replicas[2].sign(Kind::Promise, payload.clone());
    let signed = verifier.signed_promise(by_replica.clone()).unwrap();
    assert_eq!(signed.replica.0, 2);

    let client = scene.cluster.client(40);
    let stranger = Some(Forgery::NotAReplica(client.public()));
    let by_client = client.sign(Kind::Promise, payload.clone());
    assert_eq!(verifier.signed_promise(by_client).err(), stranger);
    let mut claimed = by_replica;
    claimed.signer = scene.cluster.key(1);
    let bad = Forgery::BadSignature(scene.cluster.key(1));
    assert_eq!(verifier.signed_promise(claimed).err(), Some(bad));
    let as_vote = scene.cluster.replicas[2].sign(Kind::Commit, payload.clone());
    let bad = Forgery::BadSignature(scene.cluster.key(2));
    assert_eq!(verifier.signed_promise(as_vote).err(), Some(bad.clone()));
    let elsewhere = Cluster::new(4, 1, 2, [9; 32]);
    let elsewhere = elsewhere.replicas[2].sign(Kind::Promise, payload);
    assert_eq!(verifier.signed_promise(elsewhere).err(), Some(bad));
}

#[test]
fn promise_ill_formed_is_refused() {
    let scene = Scene::new();
    let good = scene.promise();
    assert_eq!(scene.refusal(&good), None);
    let ballot = PromisePayload {
        ballot: Ballot::ZERO,
        ..good.clone()
    };
    assert_eq!(
        scene.refusal(&ballot),
        Some(Forgery::IllFormed(IllFormed::BadPromise))
    );
    let epoch = PromisePayload {
        epoch: Epoch(4),
        ..good.clone()
    };
    assert_eq!(
        scene.refusal(&epoch),
        Some(Forgery::IllFormed(IllFormed::EpochTooHigh))
    );
    let takes = PromisePayload {
        takes: vec![some_op(1); 3],
        ..good
    };
    assert!(matches!(
        scene.refusal(&takes),
        Some(Forgery::Undecodable(_))
    ));
}

#[test]
fn promise_g9_lock_is_a_certificate_of_a_lower_ballot_of_this_instance() {
    let scene = Scene::new();
    let with = |kind, said: &Statement| {
        let lock = Some(scene.lock(kind, said));
        scene.fault(&PromisePayload {
            lock,
            ..scene.promise()
        })
    };
    let take = Value::Take(some_op(9));
    assert_eq!(scene.fault(&scene.promise()), None);
    assert_eq!(
        with(VoteKind::First, &statement(&entry(), 1, 0, take)),
        None
    );
    assert_eq!(
        with(
            VoteKind::Prepare,
            &statement(&entry(), 1, 2, Value::Release)
        ),
        None
    );
    let wrong = Some(PromiseFault::BadLock(Forgery::WrongInstance));
    let prepare = VoteKind::Prepare;
    assert_eq!(
        with(prepare, &statement(&entry(), 1, 3, take)),
        wrong,
        "of its own ballot"
    );
    assert_eq!(
        with(prepare, &statement(&entry(), 1, 4, take)),
        wrong,
        "of a higher one"
    );
    assert_eq!(
        with(prepare, &statement(&entry(), 0, 2, take)),
        wrong,
        "of another epoch"
    );
    let other = id_in("other", WRITER, 1);
    assert_eq!(
        with(prepare, &statement(&other, 1, 2, take)),
        wrong,
        "of another space"
    );
    let commits = with(VoteKind::Commit, &statement(&entry(), 1, 2, take));
    assert_eq!(commits, Some(PromiseFault::BadLock(Forgery::NotALock)));

    let mut few = scene.promise();
    few.lock.as_mut().unwrap().votes.pop();
    let fault = PromiseFault::BadLock(Forgery::TooFewVotes(2));
    assert_eq!(scene.fault(&few), Some(fault));
    let mut forged = scene.promise();
    forged.lock.as_mut().unwrap().votes[1].1.signature[0] ^= 1;
    let fault = PromiseFault::BadLock(Forgery::BadSignature(scene.cluster.key(1)));
    assert_eq!(scene.fault(&forged), Some(fault));
}

#[test]
fn promise_g9_first_vote_is_judged_with_its_take() {
    let scene = Scene::new();
    let first = Some(some_op(1));
    let unknown = PromisePayload {
        first,
        ..scene.promise()
    };
    assert_eq!(
        scene.fault(&unknown),
        Some(PromiseFault::FirstUnknown(some_op(1)))
    );
    for stranger in &scene.strangers {
        let first = Some(stranger.op());
        let promise = PromisePayload {
            first,
            ..scene.promise()
        };
        let fault = PromiseFault::FirstUnknown(stranger.op());
        assert_eq!(
            scene.fault(&promise),
            Some(fault),
            "a Take of another instance"
        );
    }
}

#[test]
fn promise_g9_other_takes_that_fail_a_check_are_absent() {
    let scene = Scene::new();
    let naming = |takes| PromisePayload {
        first: None,
        takes,
        ..scene.promise()
    };
    assert_eq!(
        scene.fault(&naming(vec![some_op(1), scene.take.op()])),
        None
    );
    let none = Some(PromiseFault::NoAllowedTake);
    assert_eq!(scene.fault(&naming(vec![])), none);
    assert_eq!(scene.fault(&naming(vec![some_op(1)])), none);
    for stranger in &scene.strangers {
        assert_eq!(scene.fault(&naming(vec![stranger.op()])), none);
    }
}

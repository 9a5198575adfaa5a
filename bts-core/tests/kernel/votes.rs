//! Every change to a valid vote is refused, and for the right reason.

use bts_core::codec::{self, DecodeError};
use bts_core::consensus::certificate::{SealedVote, Statement, Value, VoteKind};
use bts_core::content::IllFormed;
use bts_core::crypto::batch::PathStep;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::Kind;
use bts_core::ids::{EntryId, Epoch, PublicKey, ReplicaId};
use bts_core::limits::MERKLE_PATH_MAX;
use bts_core::misbehavior::Forgery;

use crate::support::{Cluster, id_in, some_op, statement};

const WRITER: PublicKey = PublicKey([7; 32]);

fn entry() -> EntryId {
    id_in("jobs", WRITER, 1)
}

/// What votes can say, each with the kind of vote that can say it.
pub(crate) fn statements() -> Vec<(VoteKind, Statement)> {
    let take = Value::Take(some_op(1));
    vec![
        (VoteKind::First, statement(&entry(), 0, 0, take)),
        (VoteKind::Prepare, statement(&entry(), 2, 1, take)),
        (VoteKind::Prepare, statement(&entry(), 0, 1, Value::Release)),
        (VoteKind::Commit, statement(&entry(), 0, 0, take)),
        (VoteKind::Commit, statement(&entry(), 0, 9, Value::Release)),
    ]
}

/// The statement with one part of it changed, in every part.
pub(crate) fn altered(said: &Statement) -> Vec<Statement> {
    let other_ids = [
        id_in("other", WRITER, 1),
        id_in("jobs", PublicKey([8; 32]), 1),
        id_in("jobs", WRITER, 2),
        entry().put(0).unwrap(),
    ];
    let mut all: Vec<_> = other_ids
        .into_iter()
        .map(|id| Statement { id, ..said.clone() })
        .collect();
    let mut epoch = said.clone();
    epoch.epoch = Epoch((said.epoch.0 + 1) % 3);
    let mut value = said.clone();
    value.value = Value::Take(some_op(2));
    all.extend([epoch, value]);
    if said.ballot.0 > 0 {
        let mut ballot = said.clone();
        ballot.ballot.0 += 1;
        all.push(ballot);
    }
    all
}

#[test]
fn vote_every_change_is_refused() {
    let cluster = Cluster::of_four();
    for (kind, said) in statements() {
        let vote = cluster.vote(1, kind, &said);
        let bad = Err(Forgery::BadSignature(cluster.key(1)));
        assert!(cluster.verifier.vote(vote.clone()).is_ok());
        for other in altered(&said) {
            let payload = codec::encode(&other);
            let forged = SealedVote {
                payload,
                ..vote.clone()
            };
            assert_eq!(cluster.verifier.vote(forged), bad, "{said} as {other}");
        }
        let replica = ReplicaId(2);
        assert_eq!(
            cluster.verifier.vote(SealedVote {
                replica,
                ..vote.clone()
            }),
            Err(Forgery::BadSignature(cluster.key(2))),
        );
        let replica = ReplicaId(4);
        assert_eq!(
            cluster.verifier.vote(SealedVote {
                replica,
                ..vote.clone()
            }),
            Err(Forgery::NoSuchReplica(replica)),
        );
    }
}

#[test]
fn vote_of_one_kind_is_not_of_another() {
    let cluster = Cluster::of_four();
    let bad = Err(Forgery::BadSignature(cluster.key(0)));
    let as_kind = |vote: &SealedVote, kind| {
        cluster.verifier.vote(SealedVote {
            kind,
            ..vote.clone()
        })
    };
    let ill_formed = Err(Forgery::IllFormed(IllFormed::BadVote));

    let first = cluster.vote(0, VoteKind::First, &statements()[0].1);
    assert_eq!(as_kind(&first, VoteKind::Commit), bad);
    assert_eq!(as_kind(&first, VoteKind::Prepare), ill_formed);
    let prepare = cluster.vote(0, VoteKind::Prepare, &statements()[1].1);
    assert_eq!(as_kind(&prepare, VoteKind::Commit), bad);
    assert_eq!(as_kind(&prepare, VoteKind::First), ill_formed);
    let commit = cluster.vote(0, VoteKind::Commit, &statements()[3].1);
    assert_eq!(as_kind(&commit, VoteKind::First), bad);
}

#[test]
fn vote_of_another_cluster_or_configuration_is_refused() {
    let here = Cluster::of_four();
    let elsewhere = [
        Cluster::new(4, 1, 1, [8; 32]),
        Cluster::new(4, 1, 2, [9; 32]),
        Cluster::new(4, 0, 1, [9; 32]),
        Cluster::new(5, 1, 1, [9; 32]),
    ];
    for (kind, said) in statements() {
        for there in &elsewhere {
            let vote = there.vote(0, kind, &said);
            assert!(there.verifier.vote(vote.clone()).is_ok());
            assert_eq!(
                here.verifier.vote(vote),
                Err(Forgery::BadSignature(here.key(0)))
            );
        }
    }
}

#[test]
fn vote_that_no_correct_replica_gives_is_ill_formed() {
    let cluster = Cluster::of_four();
    let take = Value::Take(some_op(1));
    let refused = |kind, said: &Statement, why| {
        let vote = cluster.vote(0, kind, said);
        assert_eq!(
            cluster.verifier.vote(vote),
            Err(Forgery::IllFormed(why)),
            "{kind:?} {said}"
        );
    };
    let all = [VoteKind::First, VoteKind::Prepare, VoteKind::Commit];
    for kind in all {
        let ballot = u32::from(kind != VoteKind::First);
        refused(
            kind,
            &statement(&entry(), 0, ballot, Value::Expire),
            IllFormed::BadVote,
        );
        refused(
            kind,
            &statement(&entry(), 3, ballot, Value::Release),
            IllFormed::BadVote,
        );
        refused(
            kind,
            &statement(&entry(), 4, ballot, take),
            IllFormed::EpochTooHigh,
        );
        refused(
            kind,
            &statement(&entry(), 0, 0, Value::Release),
            IllFormed::BadVote,
        );
    }
    refused(
        VoteKind::First,
        &statement(&entry(), 0, 1, take),
        IllFormed::BadVote,
    );
    refused(
        VoteKind::Prepare,
        &statement(&entry(), 0, 0, take),
        IllFormed::BadVote,
    );
}

#[test]
fn vote_a12_has_one_encoding() {
    let cluster = Cluster::of_four();
    let said = statement(&entry(), 0, 1, Value::Release);
    let seal = |payload: Vec<u8>| {
        let seal = cluster.replicas[0]
            .seal(&[(Kind::Prepare, &payload)])
            .remove(0);
        let (kind, replica) = (VoteKind::Prepare, ReplicaId(0));
        cluster.verifier.vote(SealedVote {
            kind,
            payload,
            replica,
            seal,
        })
    };
    let canonical = codec::encode(&said);
    assert!(seal(canonical.clone()).is_ok());
    // The last byte is the tag of Release; 251 announces a number of two bytes.
    let mut wasteful = canonical.clone();
    wasteful.splice(canonical.len() - 1.., [251, 1, 0]);
    let undecodable = |error| Err(Forgery::Undecodable(error));
    assert_eq!(seal(wasteful), undecodable(DecodeError::NotCanonical));
    let mut longer = canonical;
    longer.push(0);
    assert_eq!(seal(longer), undecodable(DecodeError::Trailing(1)));
    assert!(matches!(seal(Vec::new()), Err(Forgery::Undecodable(_))));
}

#[test]
fn vote_with_an_endless_merkle_path_is_refused() {
    let cluster = Cluster::of_four();
    let mut vote = cluster.vote(0, VoteKind::First, &statements()[0].1);
    let step = PathStep {
        left: true,
        sibling: Digest([0; 32]),
    };
    vote.seal.path = vec![step; MERKLE_PATH_MAX + 1];
    assert_eq!(
        cluster.verifier.vote(vote.clone()),
        Err(Forgery::PathTooLong)
    );
    vote.seal.path.truncate(MERKLE_PATH_MAX);
    assert_eq!(
        cluster.verifier.vote(vote),
        Err(Forgery::BadSignature(cluster.key(0)))
    );
}

/// A batch of three, so that there is a path to be flipped as well.
#[test]
fn vote_every_flipped_bit_is_refused() {
    let cluster = Cluster::of_four();
    let said = codec::encode(&statements()[1].1);
    let batch = [
        (Kind::Prepare, said.as_slice()),
        (Kind::Commit, &said),
        (Kind::Commit, &[]),
    ];
    let vote = SealedVote {
        kind: VoteKind::Prepare,
        payload: said.clone(),
        replica: ReplicaId(3),
        seal: cluster.replicas[3].seal(&batch).remove(0),
    };
    let bytes = codec::encode(&vote);
    assert!(cluster.verifier.vote(vote).is_ok());
    let mut decoded = 0;
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(vote) = codec::decode_client::<SealedVote>(&flipped) {
            decoded += 1;
            assert!(cluster.verifier.vote(vote).is_err(), "bit {bit}");
        }
    }
    assert!(decoded > 1000, "most flips reach the verifier: {decoded}");
}

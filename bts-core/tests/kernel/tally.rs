//! Counting votes: one per replica, thresholds by statement, and evidence only where there is guilt.

use bts_core::consensus::certificate::{Statement, Value, VoteKind};
use bts_core::consensus::tally::{Counted, Tally};
use bts_core::crypto::verified::VerifiedVote;
use bts_core::ids::{PublicKey, ReplicaId};
use bts_core::misbehavior::Evidence;

use crate::support::{Cluster, id_in, some_op, statement};

fn said(seq: u64, ballot: u32, op: u8) -> Statement {
    let id = id_in("jobs", PublicKey([7; 32]), seq);
    statement(&id, 0, ballot, Value::Take(some_op(op)))
}

fn vote(cluster: &Cluster, replica: u16, kind: VoteKind, said: &Statement) -> VerifiedVote {
    cluster
        .verifier
        .vote(cluster.vote(replica, kind, said))
        .unwrap()
}

#[test]
fn tally_counts_each_replica_once() {
    let cluster = Cluster::of_four();
    let (a, b) = (said(1, 0, 1), said(1, 0, 2));
    let mut tally = Tally::new(VoteKind::First);
    let mut count =
        |replica, said: &Statement| tally.count(vote(&cluster, replica, VoteKind::First, said));
    assert_eq!(count(0, &a), Counted::New);
    assert_eq!(count(0, &a), Counted::Repeated);
    assert_eq!(count(1, &a), Counted::New);
    let Counted::Contradicts(evidence) = count(1, &b) else {
        panic!("two votes of one ballot convict");
    };
    let Evidence::ContradictingVotes {
        replica,
        one,
        other,
    } = *evidence
    else {
        panic!("votes are the evidence");
    };
    assert_eq!(replica, ReplicaId(1));
    let says = |vote| cluster.verifier.vote(vote).unwrap().statement().clone();
    assert_eq!(
        (says(one), says(other)),
        (a.clone(), b.clone()),
        "verifiable by anybody"
    );
    assert_eq!(count(2, &b), Counted::New);

    assert_eq!(tally.voters(), 3);
    assert!(tally.has_voted(ReplicaId(1)) && !tally.has_voted(ReplicaId(3)));
    assert_eq!(
        (tally.votes_for(&a), tally.votes_for(&b)),
        (2, 1),
        "the earlier vote stands"
    );
    assert_eq!(tally.certificate(&a, 3), None);
    let certificate = tally.certificate(&a, 2).unwrap();
    let voters: Vec<_> = certificate.votes.iter().map(|vote| vote.0.0).collect();
    assert_eq!(voters, [0, 1]);
}

#[test]
fn tally_makes_valid_certificates() {
    let cluster = Cluster::of_four();
    let mut tally = Tally::new(VoteKind::Commit);
    for replica in [3, 0, 2] {
        tally.count(vote(&cluster, replica, VoteKind::Commit, &said(1, 4, 1)));
    }
    let certificate = tally.certificate(&said(1, 4, 1), 3).unwrap();
    assert!(cluster.verifier.decision_certificate(certificate).is_ok());
    assert_eq!(tally.certificate(&said(1, 4, 2), 0), None, "nobody said so");
}

#[test]
fn tally_votes_of_other_kinds_do_not_count() {
    let cluster = Cluster::of_four();
    let mut tally = Tally::new(VoteKind::Prepare);
    let commit = vote(&cluster, 0, VoteKind::Commit, &said(1, 1, 1));
    assert_eq!(tally.count(commit), Counted::OtherKind);
    assert_eq!(tally.voters(), 0);
}

/// Correct replicas vote for other values in other ballots, epochs and entries; whoever mixes up
/// its tallies must not convict them.
#[test]
fn tally_votes_of_other_ballots_are_no_evidence() {
    let cluster = Cluster::of_four();
    let mut other_epoch = said(1, 1, 2);
    other_epoch.epoch.0 = 1;
    for other in [said(1, 2, 2), said(2, 1, 2), other_epoch] {
        let mut tally = Tally::new(VoteKind::Prepare);
        tally.count(vote(&cluster, 0, VoteKind::Prepare, &said(1, 1, 1)));
        let counted = tally.count(vote(&cluster, 0, VoteKind::Prepare, &other));
        assert_eq!(counted, Counted::OtherKind, "{other}");
        assert_eq!(tally.votes_for(&said(1, 1, 1)), 1);
    }
}

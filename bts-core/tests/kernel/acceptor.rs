//! what an acceptor refuses, rule by rule: each refusal stops a schedule that ends in two decisions
//! only in a larger state space than the exhaustive check visits, or never.

use bts_core::consensus::instance::{Instance, Refusal};
use bts_core::ids::Ballot;

use crate::support::Cluster;
use crate::workshop::{RELEASE, Workshop};

#[test]
fn acceptor_a11_first_vote_once_and_in_ballot_0_only() {
    let workshop = Workshop::new(Cluster::of_four(), 0, &[true, true]);
    let (a, b) = (workshop.op(0), workshop.op(1));
    let mut acceptor = Instance::default();
    assert!(acceptor.is_untouched());
    acceptor.first_vote(a);
    assert_eq!(acceptor.may_first_vote(a), Ok(()), "repeating it");
    assert_eq!(acceptor.may_first_vote(b), Err(Refusal::VotedOtherwise));
    acceptor.enter(Ballot(2));
    assert_eq!(acceptor.may_first_vote(a), Ok(()), "still repeating it");
    assert_eq!(
        acceptor.may_first_vote(b),
        Err(Refusal::Promised(Ballot(2)))
    );
    let mut late = Instance::default();
    late.enter(Ballot(1));
    assert_eq!(late.may_first_vote(a), Err(Refusal::Promised(Ballot(1))));
}

#[test]
fn acceptor_a10_prepare_vote_once_per_ballot_and_never_below_the_promise() {
    let workshop = Workshop::new(Cluster::of_four(), 0, &[true]);
    let (take, release) = (workshop.value(0), workshop.value(RELEASE));
    let mut acceptor = Instance::default();
    assert!(
        acceptor.may_prepare(Ballot::ZERO, take).is_err(),
        "it belongs to the clients"
    );
    acceptor.enter(Ballot(2));
    let promised = Err(Refusal::Promised(Ballot(2)));
    assert_eq!(acceptor.may_prepare(Ballot(1), take), promised);
    acceptor.prepare_vote(Ballot(2), take);
    assert_eq!(
        acceptor.may_prepare(Ballot(2), take),
        Ok(()),
        "repeating it"
    );
    assert_eq!(
        acceptor.may_prepare(Ballot(2), release),
        Err(Refusal::VotedOtherwise)
    );
    assert_eq!(acceptor.may_prepare(Ballot(3), release), Ok(()));
}

#[test]
fn acceptor_a11_lock_is_replaced_by_higher_ballots_only() {
    let workshop = Workshop::new(Cluster::of_four(), 0, &[true]);
    let mut acceptor = Instance::default();
    acceptor.lock(workshop.lock(0, 0));
    assert_eq!(acceptor.may_lock(Ballot(0)), Ok(()));
    acceptor.enter(Ballot(2));
    for lower in [0, 1] {
        let promised = Err(Refusal::Promised(Ballot(2)));
        assert_eq!(acceptor.may_lock(Ballot(lower)), promised);
    }
    acceptor.lock(workshop.lock(2, RELEASE));
    acceptor.lock(workshop.lock(2, RELEASE));
    assert_eq!(acceptor.locked(), Some(&workshop.lock(2, RELEASE)));
    assert_eq!(acceptor.promised(), Ballot(2));
}

#[test]
#[should_panic(expected = "not above")]
fn acceptor_promise_never_falls() {
    let mut acceptor = Instance::default();
    acceptor.enter(Ballot(2));
    acceptor.enter(Ballot(1));
}

#[test]
#[should_panic(expected = "a ballot is entered before it is locked in")]
fn acceptor_g3_joins_a_ballot_by_entering_it() {
    let workshop = Workshop::new(Cluster::of_four(), 0, &[true]);
    Instance::default().lock(workshop.lock(1, 0));
}

#[test]
#[should_panic(expected = "two locks of one ballot")]
fn acceptor_stops_when_more_than_f_replicas_are_faulty() {
    let workshop = Workshop::new(Cluster::of_four(), 0, &[true, true]);
    let mut acceptor = Instance::default();
    acceptor.lock(workshop.lock(0, 0));
    acceptor.lock(workshop.lock(0, 1));
}

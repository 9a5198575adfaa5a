//! Promises and proposals as one replica judges them: the others are the test's to play.

use bts_core::consensus::certificate::{Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::Decision;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{Ballot, ReplicaId};
use bts_core::message::{ClientBody, LockRequest, PeerMessage, ReplyBody, Status};
use bts_core::misbehavior::Evidence;
use bts_core::replica::{Event, Input};
use bts_core::time::Span;

use crate::cast::{Client, Target, bare, owned_by, promise_of, proposal, statement, task};
use crate::support::{WINDOW, World};

pub(crate) fn status(world: &mut World, client: &Client, at: u16, target: &Target) -> Status {
    world.status(client, at, target).expect("present")
}

pub(crate) fn tell(world: &mut World, client: &Client, at: &[u16], take: &SignedBytes) {
    for i in at {
        world.send(client, *i, ClientBody::Evidence(bare(take)));
    }
    world.pump();
}

/// The promise of a replica that the test plays, as a message.
pub(crate) fn promised(
    world: &World,
    by: u16,
    promise: &PromisePayload,
    takes: &[&SignedBytes],
) -> PeerMessage {
    PeerMessage::Promise {
        promise: world.promise(by, promise),
        takes: takes.iter().map(|take| (*take).clone()).collect(),
        released: None,
    }
}

/// 5.1 (iii): two Takes that fight are not waited for long.
#[test]
fn recover_rivals_enter_ballot_1_early() {
    let mut world = World::with_real(&[0]);
    let (one, two) = (world.client(1), world.client(2));
    let target = world.out(&one, 1, task(1), &[0]);
    tell(&mut world, &one, &[0], &one.take(&target, 0, 1));
    tell(&mut world, &two, &[0], &two.take(&target, 0, 1));
    world.pass(Span::from_micros(WINDOW.as_micros() / 4));
    assert_eq!(status(&mut world, &one, 0, &target).promised, Ballot(1));
}

/// Whichever comes first, the lock or the rival: what is locked is about to be decided.
#[test]
fn recover_rivals_wait_for_a_lock() {
    for lock_first in [true, false] {
        let mut world = World::with_real(&[0]);
        let (one, two) = (world.client(1), world.client(2));
        let target = world.out(&one, 1, task(1), &[0]);
        let take = one.take(&target, 0, 1);
        let said = statement(&target.id, 0, 0, Value::Take(world.op(&take)));
        let lock = ClientBody::Lock(LockRequest {
            certificate: world.certificate(VoteKind::First, &said, &[1, 2, 3]),
            take: take.clone(),
            released: None,
        });
        tell(&mut world, &one, &[0], &take);
        if lock_first {
            world.ask(&one, 0, lock.clone());
        }
        tell(&mut world, &two, &[0], &two.take(&target, 0, 1));
        world.ask(&one, 0, lock);
        world.pass(Span::from_micros(WINDOW.as_micros() / 2));
        assert_eq!(status(&mut world, &one, 0, &target).promised, Ballot(0));
    }
}

/// G3: who joins a ballot by its proposal sends a promise for it, with what it held before.
#[test]
fn recover_g3_joined_by_a_proposal_means_promised() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = owned_by(&mut world, &client, 1, &[0]);
    let take = client.take(&target, 0, 1);
    world.ask(&client, 0, ClientBody::Take(bare(&take)));
    let op = world.op(&take);
    let message = proposal(&world, &target.id, 0, 1, &take, &[1, 2, 3]);
    world.peer(1, 0, PeerMessage::Propose(message));
    let promise = world.wire.iter().find_map(|(_, _, m)| match m {
        PeerMessage::Promise { promise, .. } => Some(promise.clone()),
        _ => None,
    });
    let promise = world.verifier.signed_promise(promise.expect("a promise"));
    let promise = promise.expect("a good promise").promise;
    assert_eq!((promise.ballot, promise.first), (Ballot(1), Some(op)));
}

/// R-5.1b. G3 by a lock: no window opens at anybody without the promise of whoever joined.
#[test]
fn recover_g3_joined_by_a_lock_means_promised() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    let take = client.take(&target, 0, 1);
    let said = statement(&target.id, 0, 7, Value::Take(world.op(&take)));
    let lock = LockRequest {
        certificate: world.certificate(VoteKind::Prepare, &said, &[1, 2, 3]),
        take,
        released: None,
    };
    world.ask(&client, 0, ClientBody::Lock(lock));
    let promise = world.wire.iter().find_map(|(_, _, m)| match m {
        PeerMessage::Promise { promise, .. } => Some(promise.clone()),
        _ => None,
    });
    let promise = world.verifier.signed_promise(promise.expect("a promise"));
    let promise = promise.expect("a good promise").promise;
    assert_eq!(promise.ballot, Ballot(7));
    assert_eq!(promise.lock, None, "what it held before");
}

/// Two promises of one replica for one ballot convict it.
#[test]
fn recover_contradicting_promises_convict() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    let take = client.take(&target, 0, 1);
    let op = world.op(&take);
    let one = promise_of(&target.id, 0, 1, &[op]);
    let two = PromisePayload {
        first: Some(op),
        ..one.clone()
    };
    let convicted = |world: &World| {
        let promises = |(_, e): &(u16, Event)| matches!(e, Event::Convicted(e) if matches!(**e, Evidence::ContradictingPromises { .. }));
        world.events.iter().any(promises)
    };
    for (promise, guilty) in [(&one, false), (&one, false), (&two, true)] {
        let message = promised(&world, 3, promise, &[&take]);
        world.peer(3, 0, message);
        assert_eq!(convicted(&world), guilty);
    }
}

/// A promise with a lock that does not verify is the fault of whoever signed it.
#[test]
fn recover_promise_with_a_false_lock_is_blamed() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    let take = client.take(&target, 0, 1);
    let said = statement(&target.id, 0, 0, Value::Take(world.op(&take)));
    let promise = PromisePayload {
        lock: Some(world.certificate(VoteKind::First, &said, &[1, 2])),
        ..promise_of(&target.id, 0, 1, &[world.op(&take)])
    };
    let message = promised(&world, 3, &promise, &[&take]);
    world.peer(3, 0, message);
    let blamed = |(_, e): &(u16, Event)| matches!(e, Event::Forged { .. });
    assert!(world.events.iter().any(blamed));
    assert_eq!(status(&mut world, &client, 0, &target).promised, Ballot(0));
}

/// A proposal with more promises than there are replicas is refused before any is checked.
#[test]
fn recover_proposal_with_too_many_promises_costs_no_checks() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = owned_by(&mut world, &client, 1, &[0]);
    let take = client.take(&target, 0, 1);
    let mut proposed = proposal(&world, &target.id, 0, 1, &take, &[1, 2, 3]);
    for ballot in 2..200 {
        let promise = promise_of(&target.id, 0, ballot, &[world.op(&take)]);
        proposed.promises.push(world.promise(3, &promise));
    }
    let checked = |world: &mut World| match world.ask(&client, 0, ClientBody::Inspect) {
        Some(ReplyBody::Report(report)) => report.signatures_checked,
        other => panic!("{other:?}"),
    };
    let before = checked(&mut world);
    world.peer(1, 0, PeerMessage::Propose(proposed));
    assert!(checked(&mut world) - before < 5);
}

/// D2: the owner of a ballot repeats its proposal, and then its lock, once per window.
#[test]
fn recover_d2_owner_repeats_proposal_and_lock() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = owned_by(&mut world, &client, 0, &[0]);
    let take = client.take(&target, 0, 1);
    let op = world.op(&take);
    tell(&mut world, &client, &[0], &take);
    for peer in [1, 2] {
        let message = promised(&world, peer, &promise_of(&target.id, 0, 1, &[op]), &[&take]);
        world.peer(peer, 0, message);
    }
    let sent = |world: &World, is: fn(&PeerMessage) -> bool| {
        let to_one = |(_, to, m): &&(u16, u16, PeerMessage)| *to == 1 && is(m);
        world.wire.iter().filter(to_one).count()
    };
    let proposals = |m: &PeerMessage| matches!(m, PeerMessage::Propose(_));
    let locks = |m: &PeerMessage| matches!(m, PeerMessage::Lock(_));
    assert_eq!(sent(&world, proposals), 1);
    world.step(0, Input::PeerConnected(ReplicaId(1), 0));
    assert_eq!(sent(&world, proposals), 2, "on a new connection");
    let said = statement(&target.id, 0, 1, Value::Take(op));
    for peer in [1, 2] {
        let vote = world.vote(peer, VoteKind::Prepare, &said);
        world.peer(peer, 0, PeerMessage::PrepareVote(vote));
    }
    assert_eq!(sent(&world, locks), 1);
    world.step(0, Input::PeerConnected(ReplicaId(1), 0));
    assert_eq!((sent(&world, proposals), sent(&world, locks)), (2, 2));
    for peer in [1, 2] {
        let vote = world.vote(peer, VoteKind::Commit, &said);
        world.peer(peer, 0, PeerMessage::CommitVote(vote));
    }
    assert!(world.is_removed(&client, 0, &target.id));
}

/// The same without a new connection, as long as the ballot lasts.
#[test]
fn recover_d2_owner_without_votes_repeats_its_proposal() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = owned_by(&mut world, &client, 0, &[0]);
    let take = client.take(&target, 0, 1);
    let op = world.op(&take);
    tell(&mut world, &client, &[0], &take);
    // The window of ballot 1 opens with the promises, a while after the ballot was entered.
    let message = promised(&world, 1, &promise_of(&target.id, 0, 1, &[op]), &[&take]);
    world.peer(1, 0, message);
    world.pass(WINDOW.times(2));
    let message = promised(&world, 2, &promise_of(&target.id, 0, 1, &[op]), &[&take]);
    world.peer(2, 0, message);
    let sent = |world: &World| {
        let proposal = |(_, to, m): &&(u16, u16, PeerMessage)| {
            *to == 1 && matches!(m, PeerMessage::Propose(_))
        };
        world.wire.iter().filter(proposal).count()
    };
    assert_eq!(sent(&world), 1);
    world.pass(Span::from_micros(WINDOW.as_micros() * 3 / 2));
    assert_eq!(sent(&world), 2);
}

/// Where clients need long to decide, they are not helped before: that makes them slower still. Whoever pretends to
/// need for ever gets no more than eight windows.
#[test]
fn recover_r51_window_is_as_long_as_clients_need() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let mut number = 0;
    let mut fight = |world: &mut World, span: Span, is_helped: bool| {
        number += 1;
        let target = world.out(&client, number, task(number), &[0]);
        let take = client.take(&target, 0, number);
        tell(world, &client, &[0], &take);
        world.pass(span);
        let helped = status(world, &client, 0, &target).promised > Ballot(0);
        assert_eq!(helped, is_helped, "entry {number} after {span}");
        let said = statement(&target.id, 0, 0, Value::Take(world.op(&take)));
        let decision = Decision {
            certificate: world.certificate(VoteKind::Commit, &said, &[1, 2, 3]),
            take: Some(take),
        };
        world.peer(1, 0, PeerMessage::Decide(decision));
    };
    let windows = |times: u64| Span::from_micros(WINDOW.as_micros() * times / 10);
    fight(&mut world, windows(11), true);
    for _ in 0..4 {
        fight(&mut world, windows(9), false);
    }
    fight(&mut world, windows(14), false);
    for _ in 0..60 {
        fight(&mut world, windows(85), true);
    }
    fight(&mut world, windows(75), false);
    for _ in 0..60 {
        fight(&mut world, windows(1), false);
    }
    fight(&mut world, windows(11), true);
}

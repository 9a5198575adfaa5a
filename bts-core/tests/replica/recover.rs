//! Recovery inside one instance (R-5.1a to ), over four replicas of which some are faulty or
//! cut off.

use bts_core::consensus::certificate::{Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::ids::{Ballot, Epoch};
use bts_core::message::{ClientBody, PeerMessage, ReplyBody, TakeRequest};
use bts_core::replica::Input;
use bts_core::time::Span;

use crate::cast::{Client, Target, bare, owned_by, promise_of, statement, task};
use crate::promises::{promised, status, tell};
use crate::support::{WINDOW, World};

/// How an instance ended at each real replica: the op decided, or the epoch reached.
fn ends(world: &mut World, client: &Client, target: &Target) -> Vec<Result<Value, Epoch>> {
    let mut ends = Vec::new();
    for i in world.real() {
        let key = bts_core::message::FetchKey::Decision(target.id.clone());
        ends.push(match world.ask(client, i, ClientBody::Fetch(key)) {
            Some(ReplyBody::Removed {
                removal: bts_core::message::Removal::Decision(decision),
                ..
            }) => {
                let take = decision.take.expect("a Take");
                Ok(Value::Take(world.op(&take)))
            }
            _ => Err(status(world, client, i, target).epoch),
        });
    }
    ends
}

///
#[test]
fn recover_split_votes_end_in_one_decision() {
    let mut world = World::of_four();
    let (one, two) = (world.client(1), world.client(2));
    let target = world.out(&one, 1, task(1), &[0, 1, 2, 3]);
    let takes = [one.take(&target, 0, 1), two.take(&target, 0, 1)];
    for (i, client, take) in [(0, &one, 0), (1, &one, 0), (2, &two, 1), (3, &two, 1)] {
        let request = ClientBody::Take(bare(&takes[take]));
        let answer = world.ask(client, i, request);
        assert!(matches!(answer, Some(ReplyBody::FirstVote(_))));
    }
    // Each learns of the other, as it would by its other requests.
    tell(&mut world, &one, &[2, 3], &takes[0]);
    tell(&mut world, &two, &[0, 1], &takes[1]);
    world.pass(WINDOW.times(4));
    let ends = ends(&mut world, &one, &target);
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    assert!(
        ends[0].is_ok(),
        "both clients wait, so one of them gets it: {ends:?}"
    );
    for client in [&one, &two] {
        let told = world.replies.iter().filter(|(_, to, _, body)| {
            *to == client.at && matches!(body, ReplyBody::Removed { .. })
        });
        assert!(told.count() >= 3, "whoever waits is told of the end");
    }
}

#[test]
fn recover_client_crashed_after_one_vote() {
    let mut world = World::of_four();
    let (crashed, other) = (world.client(1), world.client(2));
    let target = world.out(&other, 1, task(1), &[0, 1, 2, 3]);
    let take = crashed.take(&target, 0, 1);
    world.ask(&crashed, 0, ClientBody::Take(bare(&take)));
    for i in 0..4 {
        world.step(i, Input::ClientGone(crashed.at));
    }
    // s0 alone knows the Take; its promise tells the others.
    world.pass(WINDOW.times(20));
    let ends = ends(&mut world, &other, &target);
    assert_eq!(ends, vec![Err(Epoch(1)); 4], "released, as nobody waits");
}

#[test]
fn recover_two_votes_of_three_are_carried_on() {
    let mut world = World::of_four();
    let (crashed, other) = (world.client(1), world.client(2));
    let target = world.out(&other, 1, task(1), &[0, 1, 2, 3]);
    let take = crashed.take(&target, 0, 1);
    for i in [0, 1, 2] {
        world.ask(&crashed, i, ClientBody::Take(bare(&take)));
    }
    for i in 0..4 {
        world.step(i, Input::ClientGone(crashed.at));
    }
    world.pass(WINDOW.times(20));
    let won = Value::Take(world.op(&take));
    assert_eq!(ends(&mut world, &other, &target), vec![Ok(won); 4]);
}

/// The owner of ballot 1 is silent: its window runs out and the next owner decides.
#[test]
fn recover_silent_owner_costs_one_ballot() {
    for silent in 0..4 {
        let real: Vec<_> = (0..4).filter(|i| *i != silent).collect();
        let mut world = World::with_real(&real);
        let client = world.client(1);
        let target = owned_by(&mut world, &client, silent, &real);
        let take = client.take(&target, 0, 1);
        tell(&mut world, &client, &real, &take);
        world.pass(WINDOW.times(2));
        assert!(!world.is_removed(&client, real[0], &target.id));
        world.pass(WINDOW.times(6));
        let won = Value::Take(world.op(&take));
        assert_eq!(ends(&mut world, &client, &target), vec![Ok(won); 3]);
    }
}

/// 5.1 (ii): `f+1` promises are followed, to the `(f+1)`-th highest ballot; fewer move nothing,
/// whatever they say [B1: exhaustion, inflation].
#[test]
fn recover_b1_only_f_plus_1_promises_move_a_replica() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    let take = client.take(&target, 0, 1);
    let op = world.op(&take);
    let promise = |ballot| promise_of(&target.id, 0, ballot, &[op]);
    let message = promised(&world, 3, &promise(u32::MAX), &[&take]);
    world.peer(3, 0, message);
    assert_eq!(status(&mut world, &client, 0, &target).promised, Ballot(0));
    let message = promised(&world, 2, &promise(5), &[&take]);
    world.peer(2, 0, message);
    assert_eq!(status(&mut world, &client, 0, &target).promised, Ballot(5));
}

/// B1: one replica that always is one ballot ahead pre-empts nobody.
#[test]
fn recover_b1_faulty_replica_ahead_preempts_nobody() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = owned_by(&mut world, &client, 0, &[0, 1, 2]);
    let take = client.take(&target, 0, 1);
    let op = world.op(&take);
    tell(&mut world, &client, &[0, 1, 2], &take);
    for ballot in [2, 3, 4, 60, u32::MAX] {
        for to in [0, 1, 2] {
            let promise = promise_of(&target.id, 0, ballot, &[op]);
            let message = promised(&world, 3, &promise, &[&take]);
            world.peer(3, to, message);
        }
    }
    world.pass(WINDOW.times(2));
    assert_eq!(
        ends(&mut world, &client, &target),
        vec![Ok(Value::Take(op)); 3]
    );
}

/// R-5.1a.
/// D1: a Take reaches one replica that is cut off for an hour. Alone it stays in ballot 1, so the
/// others need not climb after it.
#[test]
fn recover_d1_partition_hour() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    world.isolate(0);
    let take = client.take(&target, 0, 1);
    tell(&mut world, &client, &[0], &take);
    world.pass(Span::from_millis(3_600_000));
    assert_eq!(status(&mut world, &client, 0, &target).promised, Ballot(1));
    let before = world.wire.len();
    world.pass(WINDOW.times(10));
    let repeated = world.wire[before..].iter();
    let repeated = repeated.filter(|(_, _, m)| matches!(m, PeerMessage::Promise { .. }));
    assert!(repeated.count() >= 3, "it repeats its promise meanwhile");
    world.heal();
    world.pass(WINDOW.times(8));
    let ends = ends(&mut world, &client, &target);
    assert!(
        ends.iter().all(|end| *end == ends[0]) && ends[0] != Err(Epoch(0)),
        "{ends:?}"
    );
}

/// R-5.1d. D2: whoever missed the decision is answered with it when it speaks of the instance.
#[test]
fn recover_d2_missed_decision_is_answered() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    let take = client.take(&target, 0, 1);
    let decision = world.decision(&take);
    world.ask(
        &client,
        1,
        ClientBody::Decide {
            decision,
            applied: false,
        },
    );
    let op = world.op(&take);
    let promise = promise_of(&target.id, 0, 1, &[op]);
    let message = promised(&world, 3, &promise, &[&take]);
    world.peer(3, 1, message);
    let last = world
        .wire
        .iter()
        .rev()
        .find(|(from, to, _)| (*from, *to) == (1, 3));
    assert!(
        matches!(last, Some((_, _, PeerMessage::Decide(_)))),
        "{last:?}"
    );
    let other = world.out(&client, 2, task(2), &[0]);
    let (id, certificate) = (other.id.clone(), world.release(&other.id, 0));
    world.peer(3, 0, PeerMessage::Released { id, certificate });
    let late = client.take(&other, 0, 1);
    let promise = promise_of(&other.id, 0, 1, &[world.op(&late)]);
    let message = promised(&world, 3, &promise, &[&late]);
    world.peer(3, 0, message);
    let last = world
        .wire
        .iter()
        .rev()
        .find(|(from, to, _)| (*from, *to) == (0, 3));
    assert!(
        matches!(last, Some((_, _, PeerMessage::Released { .. }))),
        "{last:?}"
    );
}

/// R-5.1b. Whatever got lost is said again: no answer to the first proposal, lock or vote arrives.
#[test]
fn recover_d2_everything_is_repeated() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = owned_by(&mut world, &client, 0, &[0, 1, 2]);
    let take = client.take(&target, 0, 1);
    tell(&mut world, &client, &[0, 1, 2], &take);
    world.cut.extend([(1, 0), (2, 0)]);
    world.pass(WINDOW.times(2));
    assert_eq!(status(&mut world, &client, 0, &target).promised, Ballot(1));
    world.cut.clear();
    world.cut.insert((2, 0));
    world.pass(WINDOW.times(1));
    world.cut.clear();
    world.pass(WINDOW.times(8));
    let won = Value::Take(world.op(&take));
    assert_eq!(ends(&mut world, &client, &target), vec![Ok(won); 3]);
}

/// A faulty replica reports a valid lock in its promise but keeps the Take that it names to itself.
/// The owner goes on with the promises of the others.
#[test]
fn recover_lock_without_its_take_holds_up_nobody() {
    let mut world = World::with_real(&[1, 2, 3]);
    let client = world.client(1);
    let hidden = world.client(2);
    let target = owned_by(&mut world, &client, 1, &[1, 2, 3]);
    let take = client.take(&target, 0, 1);
    let secret = hidden.take(&target, 0, 1);
    let said = statement(&target.id, 0, 0, Value::Take(world.op(&secret)));
    let promise = PromisePayload {
        lock: Some(world.certificate(VoteKind::First, &said, &[0, 2, 3])),
        ..promise_of(&target.id, 0, 1, &[world.op(&take)])
    };
    let message = promised(&world, 0, &promise, &[&take]);
    tell(&mut world, &client, &[1, 2, 3], &take);
    world.peer(0, 1, message);
    world.pass(WINDOW.times(2));
    let won = Value::Take(world.op(&take));
    assert_eq!(ends(&mut world, &client, &target), vec![Ok(won); 3]);
}

/// B2, D3: an entry is released three times at most; in the last epoch some Take wins.
#[test]
fn recover_d3_last_epoch_ends_with_a_take() {
    let mut world = World::of_four();
    let (crashing, other) = (world.client(1), world.client(2));
    let target = world.out(&other, 1, task(1), &[0, 1, 2, 3]);
    for i in 0..4 {
        world.step(i, Input::ClientGone(crashing.at));
    }
    for epoch in 0..4 {
        let released = status(&mut world, &other, 0, &target).released;
        let request = TakeRequest {
            released,
            ..bare(&crashing.take(&target, epoch, u64::from(epoch)))
        };
        for i in 0..4 {
            world.send(&other, i, ClientBody::Evidence(request.clone()));
        }
        world.pump();
        world.pass(WINDOW.times(30));
        let ends = ends(&mut world, &other, &target);
        match epoch {
            3 => assert!(ends.iter().all(Result::is_ok), "{ends:?}"),
            _ => assert_eq!(ends, vec![Err(Epoch(epoch + 1)); 4]),
        }
    }
}

/// One replica alone is its own quorum: it proposes, votes and decides, and what waited for that is
/// handled.
#[test]
fn recover_own_decision_sets_free_what_waited_for_it() {
    let mut world = World::of_one();
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    let swap = client.take_and_put(&target, 0, 1, &[task(2)]);
    let op = world.op(&swap);
    let put = Target {
        id: target.id.put(0).expect("short"),
        hash: bts_core::content::put_hash(op, 0),
        content: target.content,
    };
    let next = client.take(&put, 0, 2);
    let said = statement(&put.id, 0, 1, Value::Take(world.op(&next)));
    let decision = bts_core::content::Decision {
        certificate: world.certificate(VoteKind::Commit, &said, &[0]),
        take: Some(next),
    };
    let applied = true;
    let waiting = world.send(&client, 0, ClientBody::Decide { decision, applied });
    tell(&mut world, &client, &[0], &swap);
    world.pass(WINDOW);
    let answer = world.answer(0, &client, waiting);
    assert!(
        matches!(answer, Some(ReplyBody::Applied { .. })),
        "{answer:?}"
    );
}

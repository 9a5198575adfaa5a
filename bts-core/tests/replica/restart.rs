//! Restarts: what a replica told anybody binds it afterwards, and what it told nobody may be
//! lost. The others are the test's to play.

use bts_core::consensus::certificate::{Value, VoteKind};
use bts_core::ids::{Ballot, Lsn, ReplicaId};
use bts_core::message::{ClientBody, LockRequest, PeerMessage, ReadMode, ReplyBody, Since};
use bts_core::replica::{BadRecord, Input, Outputs, Record, Replica};
use bts_core::tuple::Tuple;

use crate::cast::{Client, any, bare, owned_by, proposal, read, statement, task};
use crate::support::{WINDOW, World};

fn alone() -> (World, Client, Client) {
    let mut world = World::with_real(&[0]);
    let (one, other) = (world.client(1), world.client(2));
    (world, one, other)
}

fn count(world: &World, is_it: impl Fn(&PeerMessage) -> bool) -> usize {
    world.wire.iter().filter(|(_, _, m)| is_it(m)).count()
}

/// A11: one first vote, also after a restart. 1. The replica votes for one Take. 2. It restarts.
/// 3. It is asked for the other.
#[test]
fn restart_a11_first_vote_is_kept() {
    let (mut world, one, other) = alone();
    let target = world.out(&one, 1, task(1), &[0]);
    let (mine, theirs) = (one.take(&target, 0, 1), other.take(&target, 0, 1));
    world.ask(&one, 0, ClientBody::Take(bare(&mine)));
    world.restart_with(0, &[&one, &other]);
    let answer = world.ask(&other, 0, ClientBody::Take(bare(&theirs)));
    assert!(
        matches!(answer, Some(ReplyBody::Contended { .. })),
        "{answer:?}"
    );
    let again = world.ask(&one, 0, ClientBody::Take(bare(&mine)));
    assert!(matches!(again, Some(ReplyBody::FirstVote(_))), "{again:?}");
}

/// A vote that was not synced had not left, so that it may be forgotten.
#[test]
fn restart_vote_that_never_left_is_free_again() {
    let (mut world, one, other) = alone();
    let target = world.out(&one, 1, task(1), &[0]);
    world.slow.insert(0);
    let answer = world.ask(&one, 0, ClientBody::Take(bare(&one.take(&target, 0, 1))));
    assert_eq!(answer, None, "it is not synced");
    world.slow.clear();
    world.restart_with(0, &[&one, &other]);
    let answer = world.ask(
        &other,
        0,
        ClientBody::Take(bare(&other.take(&target, 0, 1))),
    );
    assert!(
        matches!(answer, Some(ReplyBody::FirstVote(_))),
        "{answer:?}"
    );
}

/// A10: 1. The replica prepare-votes for one Take in ballot 1. 2. It restarts. 3. The owner, who is
/// faulty, proposes the other in the same ballot.
#[test]
fn restart_a10_prepare_vote_is_kept() {
    let (mut world, one, other) = alone();
    let target = owned_by(&mut world, &one, 1, &[0]);
    let takes = [one.take(&target, 0, 1), other.take(&target, 0, 1)];
    let prepared = |m: &PeerMessage| matches!(m, PeerMessage::PrepareVote(_));
    let first = proposal(&world, &target.id, 0, 1, &takes[0], &[1, 2, 3]);
    world.peer(1, 0, PeerMessage::Propose(first.clone()));
    assert_eq!(count(&world, prepared), 1);
    world.restart(0);
    let second = proposal(&world, &target.id, 0, 1, &takes[1], &[1, 2, 3]);
    world.peer(1, 0, PeerMessage::Propose(second));
    assert_eq!(count(&world, prepared), 1, "it voted in this ballot");
    world.peer(1, 0, PeerMessage::Propose(first));
    assert_eq!(
        count(&world, prepared),
        2,
        "the vote that was given is repeated"
    );
}

/// A11: no first vote once promised, also after a restart. 1. The replica enters ballot 1. 2. It
/// restarts. 3. A Take asks for a vote of ballot 0. The promise is repeated as it was.
#[test]
fn restart_promise_is_kept_and_repeated() {
    let (mut world, one, other) = alone();
    let target = world.out(&one, 1, task(1), &[0]);
    world.send(
        &one,
        0,
        ClientBody::Evidence(bare(&one.take(&target, 0, 1))),
    );
    world.pass(WINDOW);
    let promises = |world: &World| {
        let promise = |m: &PeerMessage| match m {
            PeerMessage::Promise { promise, .. } => Some(promise.clone()),
            _ => None,
        };
        let all = world.wire.iter().filter_map(|(_, _, m)| promise(m));
        all.collect::<Vec<_>>()
    };
    let before = promises(&world);
    assert!(!before.is_empty(), "it entered ballot 1");
    world.wire.clear();
    world.restart_with(0, &[&one, &other]);
    world.step(0, Input::PeerConnected(ReplicaId(2), 0));
    assert_eq!(promises(&world), before[..1], "to the one who connected");
    world.pass(WINDOW.doubled(2));
    assert!(promises(&world).len() > 3, "to all, once per window");
    assert!(promises(&world).iter().all(|promise| *promise == before[0]));
    let answer = world.ask(
        &other,
        0,
        ClientBody::Take(bare(&other.take(&target, 0, 1))),
    );
    assert!(
        matches!(answer, Some(ReplyBody::Contended { .. })),
        "{answer:?}"
    );
}

/// The timer of an open instance runs again: a replica that voted and restarts does not wait for
/// anybody to tell it of the Take once more.
#[test]
fn restart_timers_of_open_instances_run() {
    let (mut world, one, _) = alone();
    let target = world.out(&one, 1, task(1), &[0]);
    world.ask(&one, 0, ClientBody::Take(bare(&one.take(&target, 0, 1))));
    world.restart_with(0, &[&one]);
    world.pass(WINDOW.doubled(1));
    let status = world.status(&one, 0, &target).expect("present");
    assert_eq!(status.promised, Ballot(1));
}

/// A lock is kept: what a replica gave its commit vote for, it reports to every reader and in every
/// promise.
#[test]
fn restart_lock_is_kept() {
    let (mut world, one, _) = alone();
    let target = world.out(&one, 1, task(1), &[0]);
    let take = one.take(&target, 0, 1);
    let said = statement(&target.id, 0, 0, Value::Take(world.op(&take)));
    let lock = world.certificate(VoteKind::First, &said, &[1, 2, 3]);
    let request = LockRequest {
        certificate: lock.clone(),
        take,
        released: None,
    };
    world.ask(&one, 0, ClientBody::Lock(request));
    world.restart_with(0, &[&one]);
    let status = world.status(&one, 0, &target).expect("present");
    assert_eq!(status.lock, Some(lock));
}

/// A swap is applied as a whole after a restart too, and readers of what it removed are told of it
/// until it is known to be stable (A1).
#[test]
fn restart_decision_is_kept_and_not_yet_stable() {
    let (mut world, one, _) = alone();
    let target = world.out(&one, 1, task(1), &[0]);
    let puts = [Tuple(vec!["done".into()])];
    let decision = world.decision(&one.take_and_put(&target, 0, 1, &puts));
    world.peer(1, 0, PeerMessage::Decide(decision.clone()));
    world.restart_with(0, &[&one]);
    assert!(world.is_removed(&one, 0, &target.id));
    let answer = world.ask(&one, 0, read(any("task"), ReadMode::Rdp));
    let Some(ReplyBody::Found {
        candidates,
        watch,
        moved,
    }) = answer
    else {
        panic!("{answer:?}");
    };
    assert!(candidates.is_empty() && watch.is_some());
    assert_eq!(moved, [decision]);
}

/// What is looked for by template is found after a restart as before it, whatever was taken meanwhile,
/// by whomever it was written and in whatever space.
#[test]
fn restart_templates_find_what_they_found() {
    let (mut world, one, other) = alone();
    let targets: Vec<_> = (1..=6)
        .map(|seq| {
            let writer = if seq % 2 == 0 { &one } else { &other };
            world.out(writer, seq, task(seq), &[0])
        })
        .collect();
    for (place, target) in targets.iter().enumerate().take(2) {
        let take = one.take(target, 0, 1 + place as u64);
        let decision = world.decision(&take);
        world.peer(1, 0, PeerMessage::Decide(decision));
    }
    let list = |world: &mut World, after_restart: bool| {
        if after_restart {
            world.restart_with(0, &[&one, &other]);
        }
        let template = any("task");
        let space = targets[0].id.space().clone();
        let body = ClientBody::List {
            space,
            template,
            after: None,
        };
        world.ask(&one, 0, body).expect("an answer")
    };
    let before = list(&mut world, false);
    let ReplyBody::Page {
        candidates: entries,
        ..
    } = &before
    else {
        panic!("{before:?}");
    };
    assert_eq!(entries.len(), 4);
    assert_eq!(list(&mut world, true), before);
    // What comes and goes from here on is found and lost as ever.
    world.out(&one, 8, task(8), &[0]);
    let decision = world.decision(&one.take(&targets[2], 0, 3));
    world.peer(1, 0, PeerMessage::Decide(decision));
    let ReplyBody::Page {
        candidates: entries,
        ..
    } = list(&mut world, false)
    else {
        panic!("a listing");
    };
    assert_eq!(entries.len(), 4);
}

/// B4 (iv): a watch does not outlive its run. 1. A client gets a watch. 2. The replica restarts.
/// 3. The client reads something else and gets another watch. 4. Its round 2 names the old one.
#[test]
fn restart_b4_iv_watch_of_an_earlier_run_says_nothing() {
    let (mut world, one, _) = alone();
    let watch = |world: &mut World, kind| match world.ask(&one, 0, read(any(kind), ReadMode::Rdp)) {
        Some(ReplyBody::Found { watch, .. }) => watch.expect("it is empty"),
        other => panic!("{other:?}"),
    };
    let old = watch(&mut world, "task");
    world.out(&one, 1, task(1), &[0]);
    world.restart_with(0, &[&one]);
    watch(&mut world, "other");
    let body = ClientBody::StillEmpty {
        watch: old,
        nonce: 7,
        stable: Vec::new(),
    };
    let answer = world.ask(&one, 0, body);
    let Some(ReplyBody::EmptySince { since, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(since, Since::NoSuchWatch);
}

/// Records that contradict each other are told apart from a crash of the program.
#[test]
fn restart_contradicting_log_is_refused() {
    let (mut world, one, other) = alone();
    let target = world.out(&one, 1, task(1), &[0]);
    let votes = [&one, &other].map(|client| Record::FirstVote(client.take(&target, 0, 1)));
    let entry = Record::Entry(one.entry(1, task(1)));
    let recover = |records: Vec<Record>| {
        let log = (1..).map(Lsn).zip(records);
        let options = world.options_of(0);
        Replica::recover(options, world.now, log, &mut Outputs::default())
    };
    recover(vec![entry.clone(), votes[0].clone()]).expect("this is possible");
    let refused = recover(vec![entry, votes[0].clone(), votes[1].clone()]);
    let refused = refused.expect_err("two first votes");
    assert_eq!(refused.lsn, Lsn(3));
    assert!(
        matches!(refused.why, BadRecord::Contradicts(_)),
        "{refused}"
    );
}

//! Forgetting: what may be dropped, when, and what is said of it afterwards.

use bts_core::content::{Content, Decision, put_hash};
use bts_core::message::{ClientBody, FetchKey, PeerMessage, ReadMode, Removal, ReplyBody};
use bts_core::time::Span;
use bts_core::tuple::Tuple;

use crate::cast::{Client, Target, any, read, task};
use crate::support::{Plan, World};

pub(crate) const A_WHILE: Span = Span::from_millis(1_000);

/// What a replica says of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Present,
    Decided,
    Forgotten,
    Unknown,
    NotHeld,
}

pub(crate) fn said(world: &mut World, client: &Client, at: u16, target: &Target) -> Said {
    let key = FetchKey::Content(target.id.clone(), target.hash);
    match world.ask(client, at, ClientBody::Fetch(key)) {
        Some(ReplyBody::Given(_)) => Said::Present,
        Some(ReplyBody::Removed { removal, .. }) => match removal {
            Removal::Decision(_) => Said::Decided,
            Removal::Forgotten => Said::Forgotten,
            Removal::Unknown => Said::Unknown,
        },
        Some(ReplyBody::NotHeld(_)) => Said::NotHeld,
        other => panic!("{other:?}"),
    }
}

fn decide(world: &mut World, client: &Client, at: &[u16], decision: &Decision) {
    for i in at {
        let (decision, applied) = (decision.clone(), false);
        world.ask(client, *i, ClientBody::Decide { decision, applied });
    }
}

/// The put of a Take on this entry.
fn put_of(world: &World, target: &Target, decision: &Decision, index: u16) -> Target {
    let op = world.op(decision.take.as_ref().expect("a Take"));
    Target {
        id: target.id.put(index).expect("short"),
        hash: put_hash(op, index),
        content: Content::Put(Box::new(decision.clone())),
    }
}

/// Takes an entry and puts so many in its place, at these replicas.
pub(crate) fn swap(
    world: &mut World,
    client: &Client,
    at: &[u16],
    target: &Target,
    number: u64,
    puts: u16,
) -> (Decision, Vec<Target>) {
    let tuples: Vec<_> = (0..puts).map(|i| task(u64::from(i))).collect();
    let take = client.take_and_put(target, 0, number, &tuples);
    let decision = world.decision(&take);
    decide(world, client, at, &decision);
    let puts = (0..puts).map(|i| put_of(world, target, &decision, i));
    let puts = puts.collect();
    (decision, puts)
}

pub(crate) const ALL: [u16; 4] = [0, 1, 2, 3];

/// Two peers tell s0 that they have forgotten an entry.
fn others_forgot(world: &mut World, target: &Target) {
    for peer in [1, 2] {
        let (id, removal) = (target.id.clone(), Removal::Forgotten);
        world.peer(peer, 0, PeerMessage::Removed { id, removal });
    }
}

/// The only real one of five replicas, with an entry, the put of a swap on it, and the put of a swap on that.
fn line_at_one_of_five() -> (World, Client, [Target; 3]) {
    let mut world = World::new(Plan {
        n: 5,
        real: vec![0],
        ..Plan::default()
    });
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    let (_, mut first) = swap(&mut world, &client, &[0], &target, 0, 1);
    let (_, mut second) = swap(&mut world, &client, &[0], &first[0], 1, 1);
    let line = [target, first.remove(0), second.remove(0)];
    (world, client, line)
}

/// A5: a decision is kept until its winner knows of it, and then not for long.
#[test]
fn forget_a5_not_before_the_winner_knows() {
    let mut world = World::of_four();
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &ALL);
    swap(&mut world, &client, &ALL, &target, 5, 0);
    world.pass(A_WHILE);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Decided);
    world.settled.insert(client.at, 5);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Decided);
    world.pass(A_WHILE);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Decided);
    world.settled.insert(client.at, 6);
    for i in ALL {
        assert_eq!(said(&mut world, &client, i, &target), Said::Decided);
    }
    world.pass(A_WHILE);
    for i in ALL {
        assert_eq!(said(&mut world, &client, i, &target), Said::Forgotten);
    }
    let again = ClientBody::Out {
        entry: client.entry(1, task(1)),
    };
    assert_eq!(world.ask(&client, 0, again), Some(ReplyBody::Ack));
    assert_eq!(said(&mut world, &client, 0, &target), Said::Forgotten);
}

/// C3: settled is what a process says of its own Takes, not its key.
#[test]
fn forget_c3_another_session_settles_nothing() {
    let mut world = World::of_four();
    let client = world.client(1);
    let mut other = world.client(1);
    other.at.session = bts_core::ids::Session(77);
    for i in ALL {
        world.step(i, bts_core::replica::Input::ClientConnected(other.at));
    }
    let target = world.out(&client, 1, task(1), &ALL);
    swap(&mut world, &client, &ALL, &target, 0, 0);
    world.settled.insert(other.at, 100);
    assert_eq!(said(&mut world, &other, 0, &target), Said::Decided);
    world.pass(A_WHILE);
    assert_eq!(said(&mut world, &other, 0, &target), Said::Decided);
}

/// A6: not before `n - f` replicas logged it from its certificate.
#[test]
fn forget_a6_not_before_others_logged_it() {
    let mut world = World::of_four();
    let client = world.client(1);
    world.settled.insert(client.at, 100);
    let target = world.out(&client, 1, task(1), &ALL);
    for cut in [2, 3] {
        world.isolate(cut);
    }
    swap(&mut world, &client, &[0, 1], &target, 0, 0);
    world.pass(A_WHILE);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Decided);
    world.heal();
    world.pass(Span::from_millis(60_000));
    for i in ALL {
        assert_eq!(said(&mut world, &client, i, &target), Said::Forgotten);
    }
}

/// A6: not while a put lives, whose proof it is.
#[test]
fn forget_a6_not_while_a_put_lives() {
    let mut world = World::of_four();
    let client = world.client(1);
    world.settled.insert(client.at, 100);
    let target = world.out(&client, 1, task(1), &ALL);
    let (_, puts) = swap(&mut world, &client, &ALL, &target, 0, 2);
    swap(&mut world, &client, &ALL, &puts[0], 1, 0);
    world.pass(A_WHILE);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Decided);
    assert_eq!(said(&mut world, &client, 0, &puts[0]), Said::Forgotten);
    assert_eq!(said(&mut world, &client, 0, &puts[1]), Said::Present);
    swap(&mut world, &client, &ALL, &puts[1], 2, 0);
    world.pass(A_WHILE);
    for target in [&target, &puts[0], &puts[1]] {
        assert_eq!(said(&mut world, &client, 0, target), Said::Forgotten);
    }
}

/// A1: what a decision removed is told with it until it is stable, after a restart too; so the proof of a
/// put outlives the put for as long.
#[test]
fn forget_a1_not_while_the_end_of_a_put_is_unstable() {
    let mut world = World::of_four();
    let client = world.client(1);
    world.settled.insert(client.at, 100);
    let target = world.out(&client, 1, task(1), &ALL);
    let (_, puts) = swap(&mut world, &client, &ALL, &target, 0, 1);
    world.pass(A_WHILE);
    world.isolate(0);
    let done = Tuple(vec!["done".into(), 1_u64.into()]);
    let take = client.take_and_put(&puts[0], 0, 1, &[done]);
    let decision = world.decision(&take);
    decide(&mut world, &client, &[0], &decision);
    world.pass(A_WHILE);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Decided);
    world.prune(0, || true);
    world.restart_with(0, &[&client]);
    let body = read(any("task"), ReadMode::Rdp);
    let answer = world.ask(&client, 0, body);
    let Some(ReplyBody::Found { moved, .. }) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(moved, [decision]);
    world.heal();
    world.pass(Span::from_millis(60_000));
    assert_eq!(said(&mut world, &client, 0, &target), Said::Forgotten);
}

/// G2: of what is put below an entry that was skipped nothing is known, but it may come.
#[test]
fn forget_g2_below_what_was_skipped_puts_still_come() {
    let mut world = World::of_four();
    let client = world.client(1);
    world.settled.insert(client.at, 100);
    let target = world.out(&client, 1, task(1), &ALL);
    world.isolate(2);
    let here = [0, 1, 3];
    let (_, puts) = swap(&mut world, &client, &here, &target, 0, 1);
    let (_, heads) = swap(&mut world, &client, &here, &puts[0], 1, 1);
    world.pass(A_WHILE);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Forgotten);
    assert_eq!(said(&mut world, &client, 0, &puts[0]), Said::Decided);
    assert_eq!(said(&mut world, &client, 2, &target), Said::Present);
    world.heal();
    world.pass(Span::from_millis(60_000));
    assert_eq!(
        said(&mut world, &client, 2, &target),
        Said::Unknown,
        "skipped"
    );
    assert_eq!(said(&mut world, &client, 2, &heads[0]), Said::Present);
    // And it is as good as any other from now on.
    let (_, more) = swap(&mut world, &client, &ALL, &heads[0], 2, 2);
    swap(&mut world, &client, &ALL, &more[0], 3, 0);
    world.pass(A_WHILE);
    for i in ALL {
        assert_eq!(said(&mut world, &client, i, &more[0]), Said::Forgotten);
        assert_eq!(said(&mut world, &client, i, &more[1]), Said::Present);
        assert_eq!(said(&mut world, &client, i, &heads[0]), Said::Decided);
    }
}

/// G2: a put that was skipped before the decision that put it in place was heard of stays away.
#[test]
fn forget_g2_skipped_put_does_not_come_with_its_origin() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    let take = client.take_and_put(&target, 0, 0, &[task(2)]);
    let decision = world.decision(&take);
    let put = put_of(&world, &target, &decision, 0);
    let op = world.op(&client.take(&put, 0, 1));
    let news = PeerMessage::Applied {
        after: 0,
        items: vec![(1, put.id.clone(), op)],
    };
    world.peer(1, 0, news);
    others_forgot(&mut world, &put);
    assert_eq!(said(&mut world, &client, 0, &put), Said::Unknown, "skipped");
    decide(&mut world, &client, &[0], &decision);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Decided);
    assert_eq!(world.replica(0).live().count(), 0);
    world.restart(0);
    assert_eq!(world.replica(0).live().count(), 0);
}

/// A restart forgets who logged what, while the others may have forgotten the decision meanwhile.
#[test]
fn forget_after_a_restart_peers_are_asked() {
    let mut world = World::of_four();
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &ALL);
    swap(&mut world, &client, &ALL, &target, 0, 0);
    world.isolate(2);
    world.settled.insert(client.at, 1);
    for i in [0, 1, 3] {
        said(&mut world, &client, i, &target);
    }
    world.pass(A_WHILE);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Forgotten);
    world.restart_with(2, &[&client]);
    world.settled.clear();
    assert_eq!(said(&mut world, &client, 2, &target), Said::Decided);
    world.heal();
    world.pass(Span::from_millis(20_000));
    assert_eq!(said(&mut world, &client, 2, &target), Said::Forgotten);
}

/// The same, if a put was there at first: when it is skipped, nobody says anything more, and the replica has to ask.
#[test]
fn forget_after_a_restart_peers_are_asked_when_the_puts_are_gone() {
    let mut world = World::of_four();
    let client = world.client(1);
    world.settled.insert(client.at, 100);
    let target = world.out(&client, 1, task(1), &ALL);
    let (_, puts) = swap(&mut world, &client, &ALL, &target, 0, 1);
    world.isolate(2);
    swap(&mut world, &client, &[0, 1, 3], &puts[0], 1, 0);
    world.pass(A_WHILE);
    world.restart_with(2, &[&client]);
    world.heal();
    world.pass(Span::from_millis(30_000));
    assert_eq!(said(&mut world, &client, 2, &target), Said::Forgotten);
}

/// What was forgotten stays removed after a restart, whatever comes again.
#[test]
fn forget_survives_a_restart() {
    let mut world = World::of_four();
    let client = world.client(1);
    world.settled.insert(client.at, 100);
    let targets: Vec<_> = (0..20)
        .map(|seq| world.out(&client, seq, task(seq), &ALL))
        .collect();
    let mut decisions = Vec::new();
    for (number, target) in (0..).zip(&targets) {
        decisions.push(swap(&mut world, &client, &ALL, target, number, 0).0);
        world.pass(Span::from_millis(150));
    }
    world.pass(A_WHILE);
    world.prune(0, || true);
    let left = world.log_of(0).len();
    assert!(
        left <= 20,
        "{left} records are left of {} entries",
        targets.len()
    );
    world.restart_with(0, &[&client]);
    for (target, decision) in targets.iter().zip(&decisions) {
        let Content::Signed(entry) = target.content.clone() else {
            panic!("a written entry")
        };
        world.ask(&client, 0, ClientBody::WriteBack { entry });
        decide(&mut world, &client, &[0], decision);
        assert_eq!(said(&mut world, &client, 0, target), Said::Forgotten);
    }
}

/// A lineage does not grow, neither in memory nor in the log, as long as its takers settle; nor does one
/// crashed taker make it grow.
#[test]
fn forget_a_long_lineage_stays_small() {
    let mut world = World::of_four();
    let (client, crashed) = (world.client(1), world.client(2));
    let mut head = world.out(&client, 1, task(1), &ALL);
    let mut sizes = Vec::new();
    for number in 0..60 {
        let who = if number == 7 { &crashed } else { &client };
        let (_, puts) = swap(&mut world, who, &ALL, &head, number, 2);
        let side = puts[1].clone();
        head = puts[0].clone();
        world.settled.insert(client.at, 2 * number);
        swap(&mut world, &client, &ALL, &side, 1_000 + number, 0);
        world.settled.insert(client.at, 2_000);
        world.pass(Span::from_millis(200));
        world.prune(0, || true);
        sizes.push(world.log_of(0).len());
    }
    let (early, late) = (sizes[20], sizes[59]);
    assert!(late <= early + 2, "the log grows: {sizes:?}");
}

/// What `f + 1` forgot was stable, though fewer than a quorum were heard to have it: an origin does not wait for
/// what is not there any more.
#[test]
fn forget_r77_what_others_forgot_was_stable() {
    let (mut world, client, line) = line_at_one_of_five();
    line.iter()
        .for_each(|target| others_forgot(&mut world, target));
    world.pass(A_WHILE);
    for target in &line[..2] {
        assert_eq!(said(&mut world, &client, 0, target), Said::Forgotten);
    }
}

/// The same after a restart from a log that holds a decision and, after it, that it was forgotten: what is read first is
/// not unstable for ever.
#[test]
fn forget_r75_what_was_forgotten_before_a_restart_was_stable() {
    let (mut world, client, [target, first, second]) = line_at_one_of_five();
    let forgotten = |world: &mut World, target: &Target| {
        others_forgot(world, target);
        world.pass(A_WHILE);
        said(world, &client, 0, target)
    };
    assert_eq!(forgotten(&mut world, &second), Said::Unknown);
    assert_eq!(forgotten(&mut world, &first), Said::Forgotten);
    assert_eq!(said(&mut world, &client, 0, &target), Said::Decided);
    world.restart_with(0, &[&client]);
    assert_eq!(forgotten(&mut world, &target), Said::Forgotten);
}

/// A peer that says "forgotten" of everything costs nothing but room on its own account.
#[test]
fn forget_one_peer_alone_takes_nothing_away() {
    let mut world = World::of_four();
    let client = world.client(1);
    let targets: Vec<_> = (0..10)
        .map(|seq| world.out(&client, seq, task(seq), &ALL))
        .collect();
    for target in &targets {
        let (id, removal) = (target.id.clone(), Removal::Forgotten);
        for _ in 0..3 {
            let (id, removal) = (id.clone(), removal.clone());
            world.peer(3, 0, PeerMessage::Removed { id, removal });
        }
    }
    world.pass(Span::from_millis(60_000));
    for target in &targets {
        assert_eq!(said(&mut world, &client, 0, target), Said::Present);
    }
}

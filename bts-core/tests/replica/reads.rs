//! What a replica tells readers: the two rounds of None, reservations, hints and pushes.

use bts_core::content::Decision;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{EntryId, OpId, WatchId};
use bts_core::limits::WATCHES_PER_SESSION_MAX;
use bts_core::message::{Candidate, ClientBody, PeerMessage, ReadMode, ReplyBody, Since};
use bts_core::replica::Input;
use bts_core::template::{Pattern, Template};
use bts_core::time::Span;

use crate::cast::{Client, Target, any, bare, read, task};
use crate::support::{RESERVATION, WINDOW, World};

fn alone() -> (World, Client) {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    (world, client)
}

/// Round 1.
fn found(
    world: &mut World,
    client: &Client,
    at: u16,
    body: ClientBody,
) -> (Vec<Candidate>, Option<WatchId>, Vec<Decision>) {
    match world.ask(client, at, body) {
        Some(ReplyBody::Found {
            candidates,
            watch,
            moved,
        }) => (candidates, watch, moved),
        other => panic!("{other:?}"),
    }
}

fn named(world: &mut World, client: &Client, mode: ReadMode) -> Vec<(EntryId, bool)> {
    let (candidates, _, _) = found(world, client, 0, read(any("task"), mode));
    let pair = |c: Candidate| (c.id, c.status.reserved);
    candidates.into_iter().map(pair).collect()
}

/// Round 2.
fn since(
    world: &mut World,
    client: &Client,
    at: u16,
    watch: WatchId,
    stable: &[OpId],
) -> (Since, usize) {
    let body = ClientBody::StillEmpty {
        watch,
        nonce: 7,
        stable: stable.to_vec(),
    };
    match world.ask(client, at, body) {
        Some(ReplyBody::EmptySince {
            nonce: 7,
            since,
            moved,
            ..
        }) => (since, moved.len()),
        other => panic!("{other:?}"),
    }
}

fn pushes(world: &World, client: &Client) -> usize {
    let push = |(_, to, _, body): &&(u16, _, _, ReplyBody)| {
        *to == client.at && matches!(body, ReplyBody::Push(_))
    };
    world.replies.iter().filter(push).count()
}

#[test]
fn reads_b4_watch_breaks_by_insertion() {
    let (mut world, client) = alone();
    let (_, watch, _) = found(&mut world, &client, 0, read(any("task"), ReadMode::Rdp));
    let watch = watch.expect("empty");
    assert_eq!(since(&mut world, &client, 0, watch, &[]), (Since::Yes, 0));
    let target = world.out(&client, 1, task(1), &[0]);
    let decision = world.decision(&client.take(&target, 0, 1));
    world.peer(1, 0, PeerMessage::Decide(decision));
    assert_eq!(
        since(&mut world, &client, 0, watch, &[]),
        (Since::No, 0),
        "empty again is not empty ever since"
    );
}

#[test]
fn reads_b4_watch_breaks_by_every_way_in() {
    let (mut world, client) = alone();
    let target = world.out(&client, 1, task(1), &[0]);
    for (kind, way) in ["a", "b", "c", "d"].into_iter().zip(0..) {
        let (_, watch, _) = found(&mut world, &client, 0, read(any(kind), ReadMode::Rdp));
        let tuple = bts_core::tuple::Tuple(vec![kind.into(), 1u64.into()]);
        let entry = client.entry(10 + way, tuple.clone());
        match way {
            0 => drop(world.ask(&client, 0, ClientBody::WriteBack { entry })),
            1 => world.peer(1, 0, PeerMessage::Relay { entry }),
            2 => {
                let other = world.target(entry);
                let mut request = bare(&client.take(&other, 0, 50));
                request.content = Some(other.content.clone());
                world.ask(&client, 0, ClientBody::Evidence(request));
            }
            _ => {
                let swap = client.take_and_put(&target, 0, 51, &[tuple]);
                let decision = world.decision(&swap);
                world.peer(1, 0, PeerMessage::Decide(decision));
            }
        }
        let watch = watch.expect("empty");
        assert_eq!(
            since(&mut world, &client, 0, watch, &[]).0,
            Since::No,
            "{kind}"
        );
    }
}

#[test]
fn reads_b4_watch_is_of_one_client_and_dies_with_its_connection() {
    let (mut world, client) = alone();
    let other = world.client(2);
    let (_, watch, _) = found(&mut world, &client, 0, read(any("task"), ReadMode::Rdp));
    let watch = watch.expect("empty");
    assert_eq!(
        since(&mut world, &other, 0, watch, &[]).0,
        Since::NoSuchWatch
    );
    world.step(0, Input::ClientGone(client.at));
    world.step(0, Input::ClientConnected(client.at));
    assert_eq!(
        since(&mut world, &client, 0, watch, &[]).0,
        Since::NoSuchWatch
    );
}

#[test]
fn reads_b4_oldest_watch_makes_room() {
    let (mut world, client) = alone();
    let mut watches = Vec::new();
    for _ in 0..=WATCHES_PER_SESSION_MAX {
        let (_, watch, _) = found(&mut world, &client, 0, read(any("task"), ReadMode::Rdp));
        watches.push(watch.expect("empty"));
    }
    assert_eq!(
        since(&mut world, &client, 0, watches[0], &[]).0,
        Since::NoSuchWatch
    );
    assert_eq!(since(&mut world, &client, 0, watches[1], &[]).0, Since::Yes);
}

/// An entry that somebody else's Take is about to remove is present until that is decided.
#[test]
fn reads_contested_entry_is_present() {
    let (mut world, client) = alone();
    let target = world.out(&client, 1, task(1), &[0]);
    world.ask(
        &client,
        0,
        ClientBody::Take(bare(&client.take(&target, 0, 1))),
    );
    let (candidates, watch, _) = found(&mut world, &client, 0, read(any("task"), ReadMode::Rdp));
    assert!(candidates.len() == 1 && watch.is_none());
    assert!(candidates[0].status.first.is_some());
}

fn swap_todo(world: &mut World, client: &Client, at: &[u16]) -> (Target, SignedBytes) {
    let target = world.out(client, 1, task(1), at);
    let done = bts_core::tuple::Tuple(vec!["done".into(), 1u64.into()]);
    let swap = client.take_and_put(&target, 0, 1, &[done]);
    (target, swap)
}

/// A1, C4: who applied a swap is not plainly empty for what the swap removed, until the swap is
/// stable; then the watch of round 1 is good for a plain "empty ever since".
#[test]
fn reads_c4_empty_but_for_the_swap_until_it_is_stable() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let (_, swap) = swap_todo(&mut world, &client, &[0, 1, 2]);
    let op = world.op(&swap);
    let decision = world.decision(&swap);
    world.isolate(0);
    let decide = |decision: &Decision| ClientBody::Decide {
        decision: decision.clone(),
        applied: true,
    };
    world.ask(&client, 0, decide(&decision));
    world.pass(WINDOW);
    let (candidates, watch, moved) =
        found(&mut world, &client, 0, read(any("task"), ReadMode::Rdp));
    assert!(candidates.is_empty() && moved == vec![decision.clone()]);
    let watch = watch.expect("empty but for the swap");
    assert_eq!(since(&mut world, &client, 0, watch, &[]), (Since::Yes, 1));
    assert_eq!(
        since(&mut world, &client, 0, watch, &[op]),
        (Since::Yes, 0),
        "stable, says the client for this sending"
    );
    assert_eq!(
        since(&mut world, &client, 0, watch, &[]),
        (Since::Yes, 1),
        "and for no other"
    );
    let (_, _, others) = found(&mut world, &client, 0, read(any("other"), ReadMode::Rdp));
    assert!(
        others.is_empty(),
        "only for templates that match what it removed"
    );
    for i in [1, 2] {
        world.ask(&client, i, decide(&decision));
    }
    world.heal();
    world.pass(WINDOW);
    assert_eq!(since(&mut world, &client, 0, watch, &[]), (Since::Yes, 0));
    let (_, _, moved) = found(&mut world, &client, 0, read(any("task"), ReadMode::Rdp));
    assert!(moved.is_empty());
}

/// `q` have to have applied it: two of four that say so, and a third that lies twice, are not three.
#[test]
fn reads_c4_stable_means_q_replicas() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let (target, swap) = swap_todo(&mut world, &client, &[0]);
    let op = world.op(&swap);
    let decision = world.decision(&swap);
    world.peer(1, 0, PeerMessage::Decide(decision));
    let moved = |world: &mut World| {
        let (_, _, moved) = found(world, &client, 0, read(any("task"), ReadMode::Rdp));
        moved.len()
    };
    let tell = |world: &mut World, peer: u16, after: u64, op: OpId| {
        let items = vec![(after + 1, target.id.clone(), op)];
        world.peer(peer, 0, PeerMessage::Applied { after, items });
    };
    tell(&mut world, 1, 0, op);
    tell(&mut world, 1, 1, op);
    assert_eq!(moved(&mut world), 1);
    tell(&mut world, 2, 0, world_op(&client, &target));
    assert_eq!(moved(&mut world), 1, "another decision is none of this one");
    tell(&mut world, 3, 0, op);
    assert_eq!(moved(&mut world), 0);
}

fn world_op(client: &Client, target: &Target) -> OpId {
    World::with_real(&[]).op(&client.take(target, 0, 77))
}

/// C4: a decided Take on a put shows that the swap behind it is stable.
#[test]
fn reads_c4_stable_by_descent() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let (target, swap) = swap_todo(&mut world, &client, &[0]);
    let decision = world.decision(&swap);
    world.peer(1, 0, PeerMessage::Decide(decision.clone()));
    let put = Target {
        id: target.id.put(0).expect("short"),
        hash: bts_core::content::put_hash(world.op(&swap), 0),
        content: bts_core::content::Content::Put(Box::new(decision)),
    };
    let next = world.decision(&client.take(&put, 0, 2));
    world.peer(1, 0, PeerMessage::Decide(next));
    let (_, _, moved) = found(&mut world, &client, 0, read(any("task"), ReadMode::Rdp));
    assert!(moved.is_empty());
}

/// "Empty but for" more than a reply can hold is told as "not empty", not in a frame that is too
/// long to be sent.
#[test]
fn reads_c4_moved_decisions_fit_into_a_reply() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let long = || {
        let bytes = vec![0u8; 60_000];
        bts_core::tuple::Tuple(vec!["done".into(), bytes.into()])
    };
    for seq in 0..20 {
        let target = world.out(&client, seq, task(1), &[0]);
        let swap = client.take_and_put(&target, 0, seq, &[long(), long()]);
        let decision = world.decision(&swap);
        world.peer(1, 0, PeerMessage::Decide(decision));
    }
    let request = world.send(&client, 0, read(any("task"), ReadMode::Rdp));
    // So many bytes are not indexed in one go.
    world.pass(Span::from_millis(20));
    let answer = world.answer(0, &client, request);
    let bytes = bts_core::codec::encode(&answer.expect("an answer")).len();
    assert!(
        bytes < bts_core::limits::CLIENT_FRAME_BYTES_MAX,
        "{bytes} bytes"
    );
    let (candidates, watch, _) = found(&mut world, &client, 0, read(any("task"), ReadMode::Rdp));
    assert!(candidates.is_empty() && watch.is_none());
}

/// B8: a reserved entry is named last, and never left out; readers do not care.
#[test]
fn reads_b8_reserved_is_named_last_but_named() {
    let (mut world, client) = alone();
    let other = world.client(2);
    for seq in [1, 2] {
        world.out(&client, seq, task(seq), &[0]);
    }
    let first = named(&mut world, &client, ReadMode::Enter);
    assert_eq!(
        first
            .iter()
            .map(|(_, reserved)| *reserved)
            .collect::<Vec<_>>(),
        [false, false]
    );
    let seen = named(&mut world, &other, ReadMode::Enter);
    assert_eq!(seen[1], (first[0].0.clone(), true), "last, with a word why");
    assert!(!seen[0].1);
    let third = world.client(3);
    let seen = named(&mut world, &third, ReadMode::Enter);
    assert!(seen.len() == 2 && seen.iter().all(|(_, reserved)| *reserved));
    world.pass(RESERVATION);
    assert!(
        named(&mut world, &third, ReadMode::Enter)
            .iter()
            .all(|(_, reserved)| !reserved)
    );
}

/// A reservation is not renewable while others ask.
#[test]
fn reads_reservation_is_not_renewed_while_others_ask() {
    let (mut world, client) = alone();
    let other = world.client(2);
    world.out(&client, 1, task(1), &[0]);
    named(&mut world, &client, ReadMode::Enter);
    assert!(named(&mut world, &other, ReadMode::Enter)[0].1);
    world.pass(RESERVATION);
    named(&mut world, &client, ReadMode::Enter);
    assert!(
        !named(&mut world, &other, ReadMode::Enter)[0].1,
        "it is the other's turn"
    );
    assert!(named(&mut world, &client, ReadMode::Enter)[0].1);
}

#[test]
fn reads_reservation_ends_with_its_client() {
    let (mut world, client) = alone();
    let other = world.client(2);
    world.out(&client, 1, task(1), &[0]);
    named(&mut world, &client, ReadMode::Enter);
    world.step(0, Input::ClientGone(client.at));
    assert!(!named(&mut world, &other, ReadMode::Enter)[0].1);
}

/// B6: one `in` is told first, then 1, 2, 4, ... more, as long as nobody acts.
#[test]
fn reads_b6_hints_double() {
    let (mut world, writer) = alone();
    let waiters: Vec<_> = (10..30).map(|seed| world.client(seed)).collect();
    for waiter in &waiters {
        world.send(waiter, 0, read(any("task"), ReadMode::In));
    }
    world.out(&writer, 1, task(1), &[0]);
    let told = |world: &World| waiters.iter().map(|w| pushes(world, w)).sum::<usize>();
    for expected in [1, 2, 4, 8, 16, 20, 20] {
        assert_eq!(told(&world), expected);
        world.pass(RESERVATION);
    }
}

/// D4: one place per client key, and within a key the waiters take turns.
#[test]
fn reads_d4_workers_with_one_key_are_told_in_turn() {
    let (mut world, writer) = alone();
    let (crowd, single) = (world.client(10), world.client(11));
    for _ in 0..8 {
        world.send(&crowd, 0, read(any("task"), ReadMode::In));
    }
    world.send(&single, 0, read(any("task"), ReadMode::In));
    world.out(&writer, 1, task(1), &[0]);
    world.pass(RESERVATION);
    assert_eq!((pushes(&world, &crowd), pushes(&world, &single)), (1, 1));
    world.pass(RESERVATION.times(5));
    assert_eq!(pushes(&world, &crowd), 8, "all of them in the end");
}

/// B6: an `in` that came while the entry was reserved is told when the reservation ends.
#[test]
fn reads_b6_end_of_a_reservation_wakes() {
    let (mut world, client) = alone();
    let waiter = world.client(2);
    world.out(&client, 1, task(1), &[0]);
    named(&mut world, &client, ReadMode::Enter);
    world.send(&waiter, 0, read(any("task"), ReadMode::In));
    assert_eq!(pushes(&world, &waiter), 0);
    world.pass(RESERVATION);
    assert_eq!(pushes(&world, &waiter), 1);
}

/// B6: a release wakes, whoever was told before.
#[test]
fn reads_b6_release_wakes() {
    let (mut world, client) = alone();
    let (taker, reader) = (world.client(2), world.client(3));
    world.send(&taker, 0, read(any("task"), ReadMode::In));
    world.send(&reader, 0, read(any("task"), ReadMode::Rd));
    let target = world.out(&client, 1, task(1), &[0]);
    world.ask(
        &client,
        0,
        ClientBody::Take(bare(&client.take(&target, 0, 1))),
    );
    world.pass(Span::from_micros(WINDOW.as_micros() / 2));
    let before = (pushes(&world, &taker), pushes(&world, &reader));
    assert_eq!(before, (1, 1));
    let (id, certificate) = (target.id.clone(), world.release(&target.id, 0));
    world.peer(1, 0, PeerMessage::Released { id, certificate });
    assert_eq!((pushes(&world, &taker), pushes(&world, &reader)), (2, 2));
}

/// Who signs one id many times does not make each release that many messages to each `rd`.
#[test]
fn reads_b6_release_is_told_once_however_many_contents_the_entry_has() {
    let (mut world, client) = alone();
    let (reader, other) = (world.client(2), world.client(3));
    let targets = [1, 2, 3].map(|number| world.out(&client, 1, task(number), &[0]));
    world.send(&reader, 0, read(any("task"), ReadMode::Rd));
    let last = Template(task(3).0.into_iter().map(Pattern::Exact).collect());
    world.send(&other, 0, read(last, ReadMode::Rd));
    let id = targets[0].id.clone();
    world.ask(
        &client,
        0,
        ClientBody::Take(bare(&client.take(&targets[0], 0, 2))),
    );
    let certificate = world.release(&id, 0);
    world.peer(1, 0, PeerMessage::Released { id, certificate });
    assert_eq!((pushes(&world, &reader), pushes(&world, &other)), (1, 1));
}

/// D4: nor does a blocked `in` take the turns of others with them.
#[test]
fn reads_d4_in_is_told_once_however_many_contents_the_entry_has() {
    let (mut world, client) = alone();
    let targets = [1, 2, 3, 4].map(|number| world.out(&client, 1, task(number), &[0]));
    let waiters = [2, 3, 4].map(|seed| world.client(seed));
    world.ask(
        &client,
        0,
        ClientBody::Take(bare(&client.take(&targets[0], 0, 2))),
    );
    for waiter in &waiters {
        world.send(waiter, 0, read(any("task"), ReadMode::In));
    }
    let (id, certificate) = (targets[0].id.clone(), world.release(&targets[0].id, 0));
    world.peer(1, 0, PeerMessage::Released { id, certificate });
    let told = |world: &World| waiters.each_ref().map(|waiter| pushes(world, waiter));
    assert_eq!(told(&world).iter().sum::<usize>(), 1);
    world.pass(RESERVATION);
    assert_eq!(told(&world).iter().sum::<usize>(), 2);
    world.pass(RESERVATION);
    assert_eq!(told(&world), [1, 1, 1]);
}

/// A put that goes live wakes like an entry that was written.
#[test]
fn reads_b6_put_going_live_wakes() {
    let (mut world, client) = alone();
    let (_, swap) = swap_todo(&mut world, &client, &[0]);
    let waiter = world.client(2);
    world.send(&waiter, 0, read(any("done"), ReadMode::In));
    let decision = world.decision(&swap);
    world.peer(1, 0, PeerMessage::Decide(decision));
    assert_eq!(pushes(&world, &waiter), 1);
}

#[test]
fn reads_cancelled_waiter_is_told_nothing() {
    let (mut world, client) = alone();
    let (gone, cancelled) = (world.client(2), world.client(3));
    world.send(&gone, 0, read(any("task"), ReadMode::Rd));
    let waiter = world.send(&cancelled, 0, read(any("task"), ReadMode::Rd));
    world.step(0, Input::ClientGone(gone.at));
    world.send(&cancelled, 0, ClientBody::Cancel { waiter });
    world.out(&client, 1, task(1), &[0]);
    assert_eq!((pushes(&world, &gone), pushes(&world, &cancelled)), (0, 0));
}

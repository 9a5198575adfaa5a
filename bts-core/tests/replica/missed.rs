//! A replica that was away: all that it missed comes, once, and operators see it come.

use bts_core::ids::ReplicaId;
use bts_core::limits::COMPARED_ITEMS_MAX;
use bts_core::message::{ClientBody, Compared, Comparing, PeerMessage, ReplyBody};
use bts_core::replica::Input;
use bts_core::time::Span;

use crate::cast::{Client, Target, task};
use crate::compare::{SWEEPS, counter, is_compare, is_fetch_of_content, is_held, traffic};
use crate::support::World;

/// What a replica tells operators of its comparing with a peer.
pub(crate) fn comparing(world: &mut World, client: &Client, at: u16, peer: u16) -> Comparing {
    let Some(ReplyBody::Report(report)) = world.ask(client, at, ClientBody::Inspect) else {
        panic!("a report");
    };
    let mut of = report.comparing.into_iter();
    let found = of.find(|comparing| comparing.peer == ReplicaId(peer));
    found.expect("the peer is in reach")
}

/// Operators are told what is under way, and that nothing is left.
#[test]
fn missed_r76_catching_up_is_told() {
    let mut world = World::with_real(&[0, 1]);
    let client = world.client(1);
    let old: Vec<_> = (0..40)
        .map(|seq| world.out(&client, seq, task(seq), &[0, 1]))
        .collect();
    world.pass(SWEEPS);
    let quiet = comparing(&mut world, &client, 0, 1);
    assert!(quiet.is_caught_up && quiet.complete_at_us.is_some());
    world.isolate(0);
    for (number, target) in (0..).zip(&old[..20]) {
        let decision = world.decision(&client.take(target, 0, number));
        let decide = PeerMessage::Decide(decision);
        world.step(1, Input::Peer(ReplicaId(2), decide));
    }
    for seq in 100..200 {
        world.out(&client, seq, task(seq), &[1]);
    }
    world.pass(Span::from_millis(20_000));
    // What is asked for does not arrive.
    world.cut = [(1, 0)].into();
    for (one, other) in [(0, 1), (1, 0)] {
        world.step(one, Input::PeerConnected(ReplicaId(other), u64::MAX));
    }
    world.pass(Span::from_millis(100));
    let asking = comparing(&mut world, &client, 0, 1);
    assert!(!asking.is_caught_up && asking.complete_at_us.is_none());
    assert_eq!((asking.passed, asking.fetched, asking.fetching), (0, 0, 0));
    let list = world.replica(1).live().collect();
    let list = Compared {
        from: None,
        upto: None,
        items: Some(list),
    };
    world.peer(1, 0, PeerMessage::Compared(list));
    let fetching = comparing(&mut world, &client, 0, 1);
    assert!(!fetching.is_caught_up);
    assert_eq!((fetching.began_with, fetching.passed), (40, 40));
    assert_eq!((fetching.fetched, fetching.fetching), (0, 100));
    assert_eq!(fetching.doubted, 20);
    world.cut.clear();
    world.pass(SWEEPS);
    let done = comparing(&mut world, &client, 0, 1);
    assert!(done.is_caught_up && done.complete_at_us > quiet.complete_at_us);
    assert_eq!((done.fetching, done.doubted), (0, 0));
    assert_eq!(world.replica(0).live().count(), 120);
    // Out of reach, nothing is told of it.
    world.step(0, Input::PeerGone(ReplicaId(1)));
    let answer = world.ask(&client, 0, ClientBody::Inspect);
    assert!(matches!(answer, Some(ReplyBody::Report(report))
        if report.comparing.iter().all(|of| of.peer != ReplicaId(1))));
}

/// What a replica missed of so many operations: entries that it holds and that were taken, and entries of
/// which a tenth are left.
struct Missed {
    operations: u64,
    old: Vec<Target>,
    left: Vec<Target>,
}

impl Missed {
    /// Replica 0 is cut off, the other real ones go on.
    fn happen(world: &mut World, client: &Client, operations: u64) -> Self {
        let all = world.real();
        let old: Vec<_> = (0..operations / 5)
            .map(|seq| world.out(client, seq, task(seq), &all))
            .collect();
        world.isolate(0);
        let up = &all[1..];
        let new: Vec<_> = (0..operations / 2)
            .map(|seq| world.out(client, 1_000_000 + seq, task(seq), up))
            .collect();
        let (left, taken): (Vec<_>, Vec<_>) = (0..).zip(new).partition(|(at, _)| at % 10 == 0);
        let taken = old.iter().chain(taken.iter().map(|(_, target)| target));
        for (number, target) in (0..).zip(taken) {
            let decision = world.decision(&client.take(target, 0, number));
            for i in up {
                let by = ReplicaId(if *i == 1 { 2 } else { 1 });
                let decide = PeerMessage::Decide(decision.clone());
                world.step(*i, Input::Peer(by, decide));
            }
            if number % 500 == 0 {
                world.pass(Span::from_millis(20));
                world.wire.clear();
            }
        }
        world.pump();
        world.pass(Span::from_millis(20_000));
        world.wire.clear();
        world.bursts.clear();
        let left = left.into_iter().map(|(_, target)| target).collect();
        Self {
            operations,
            old,
            left,
        }
    }

    /// True if replica 0 holds what is left, and nothing else.
    fn is_caught_up(&self, world: &mut World) -> bool {
        world.replica(0).live().count() == self.left.len()
    }

    /// Lets time pass until nothing is missed any more, and tells what moved until then.
    fn caught_up(&self, world: &mut World, client: &Client) {
        let began = world.now;
        while !self.is_caught_up(world) {
            world.pass(Span::from_millis(100));
            assert!(world.now < began + SWEEPS.times(100), "it never ends");
        }
        let took = world.now.since(began).as_micros() / 1000;
        let (compared, bytes) = traffic(world, is_compare);
        let (asked, asked_bytes) = traffic(world, |m| matches!(m, PeerMessage::Fetch(_)));
        let (moved, moved_bytes) = traffic(world, |m| {
            matches!(m, PeerMessage::Given(_) | PeerMessage::Removed { .. })
        });
        let (messages, at_once) = largest_burst(world, 1);
        println!(
            "{} operations missed, nothing after {took} ms: {compared} messages of {bytes} bytes to \
             compare, {asked} of {asked_bytes} bytes that ask, {moved} of {moved_bytes} bytes that \
             moved; a peer sent at most {messages} messages of {at_once} bytes at once",
            self.operations
        );
        for target in &self.left {
            assert!(is_held(world, client, 0, target), "{}", target.id);
        }
        for target in &self.old {
            assert!(world.is_removed(client, 0, &target.id), "{}", target.id);
        }
        let (fetched, _) = traffic(world, is_fetch_of_content);
        assert_eq!(fetched, self.left.len(), "each is fetched once");
    }
}

/// Entries came and went while a replica was away, some of those that it holds among them, and streams
/// tell nothing of that any more: what is left comes, what is gone goes.
#[test]
fn missed_r76_operations_move_what_they_left() {
    let mut world = World::with_real(&[0, 1]);
    let client = world.client(1);
    let missed = Missed::happen(&mut world, &client, 10_000);
    world.cut.clear();
    for (one, other) in [(0, 1), (1, 0)] {
        world.step(one, Input::PeerConnected(ReplicaId(other), u64::MAX));
    }
    missed.caught_up(&mut world, &client);
    let (moved, _) = traffic(&world, |m| {
        matches!(m, PeerMessage::Given(_) | PeerMessage::Removed { .. })
    });
    assert!(moved <= missed.left.len() + 2 * missed.old.len(), "{moved}");
}

/// The same where the others have forgotten what was taken: they say so, and tell nothing else of it. For more:
/// `BTS_MISSED=100000 cargo test --release -p bts-core --test replica -- --nocapture missed_r76_forgotten`
#[test]
fn missed_r76_forgotten_operations_move_what_they_left() {
    let more = option_env!("BTS_MISSED");
    let operations = more.map_or(2_000, |more| more.parse().expect("a number"));
    let mut world = World::of_four();
    let client = world.client(1);
    world.settled.insert(client.at, u64::MAX);
    let missed = Missed::happen(&mut world, &client, operations);
    for i in 1..4 {
        let forgotten = counter(&mut world, &client, i, "forgotten");
        assert!(forgotten.is_some_and(|count| count * 20 == operations * 13));
    }
    world.heal();
    missed.caught_up(&mut world, &client);
}

/// Most messages, and most bytes, that a replica sent its peers on account of one input.
fn largest_burst(world: &World, by: u16) -> (usize, usize) {
    let ends = world.bursts.iter().skip(1).map(|(_, begin)| *begin);
    let ends = ends.chain([world.wire.len()]);
    let bursts = world.bursts.iter().zip(ends);
    let own = bursts.filter(|((replica, _), _)| *replica == by);
    let sizes = own.map(|((_, begin), end)| {
        let sent = &world.wire[*begin..end];
        let bytes = sent.iter().map(|m| bts_core::codec::encode(&m.2).len());
        (sent.len(), bytes.sum())
    });
    sizes.fold((0, 0), |most: (usize, usize), one: (usize, usize)| {
        (most.0.max(one.0), most.1.max(one.1))
    })
}

/// A peer lists what another one has as well, is asked for a share of it, and gives nothing: that one gives all
/// of it soon after.
#[test]
fn missed_c7_who_gives_nothing_delays_little() {
    let mut world = World::with_real(&[0, 1]);
    world.isolate(0);
    let client = world.client(1);
    let entries = 3_000;
    for seq in 0..entries {
        world.out(&client, seq, task(seq), &[1]);
    }
    world.wire.clear();
    world.step(0, Input::PeerConnected(ReplicaId(2), 0));
    let (began, mut seen) = (world.now, 0);
    while world.replica(0).live().count() < entries as usize {
        world.pass(Span::from_millis(10));
        assert!(world.now < began + SWEEPS, "it is kept from it");
        // The liar comes first.
        if world.cut.contains(&(1, 0)) && world.now > began + Span::from_millis(200) {
            world.heal();
        }
        let new: Vec<_> = world.wire[seen..].to_vec();
        seen = world.wire.len();
        for (from, to, message) in new {
            let (0, 2, PeerMessage::Compare(asked)) = (from, to, message) else {
                continue;
            };
            let all = world.replica(1).live();
            let after = all.filter(|(id, _)| asked.from.as_ref().is_none_or(|from| id > from));
            let items: Vec<_> = after.take(COMPARED_ITEMS_MAX).collect();
            let is_cut = items.len() == COMPARED_ITEMS_MAX;
            let last = items.last().map(|(id, _)| id.clone());
            let answer = Compared {
                from: asked.from,
                upto: last.filter(|_| is_cut),
                items: Some(items),
            };
            world.peer(2, 0, PeerMessage::Compared(answer));
        }
    }
    let asked = world.wire.iter().filter(|m| is_fetch_of_content(&m.2));
    let [of_one, of_liar] = [1, 2].map(|peer| asked.clone().filter(|m| m.1 == peer).count());
    assert_eq!(of_one as u64, entries);
    assert!((1..1_000).contains(&of_liar), "{of_liar}");
}

//! Comparing: whatever a replica lacks that a peer holds it gets, with nobody telling it of
//! that, and no more than that; and no peer can keep it busy, or make it believe anything.

use bts_core::content::{Content, Decision};
use bts_core::crypto::hash::Digest;
use bts_core::ids::{ContentHash, EntryId, ReplicaId};
use bts_core::limits::COMPARED_ITEMS_MAX;
use bts_core::message::{
    ClientBody, Compare, Compared, FetchKey, Given, PeerMessage, Removal, ReplyBody,
};
use bts_core::replica::Input;
use bts_core::time::Span;

use crate::cast::{Client, Target, task};
use crate::missed::comparing;
use crate::support::World;

/// Time for a sweep of a small store with everybody.
pub(crate) const SWEEPS: Span = Span::from_millis(5_000);

pub(crate) fn is_held(world: &mut World, client: &Client, at: u16, target: &Target) -> bool {
    let key = FetchKey::Content(target.id.clone(), target.hash);
    let answer = world.ask(client, at, ClientBody::Fetch(key));
    matches!(answer, Some(ReplyBody::Given(_)))
}

/// Messages that `pick` picks, and their bytes.
pub(crate) fn traffic(world: &World, pick: impl Fn(&PeerMessage) -> bool) -> (usize, usize) {
    let picked = world.wire.iter().filter(|(_, _, message)| pick(message));
    picked.fold((0, 0), |(count, bytes), (_, _, message)| {
        (count + 1, bytes + bts_core::codec::encode(message).len())
    })
}

pub(crate) fn is_compare(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Compare(_) | PeerMessage::Compared(_))
}

pub(crate) fn is_fetch_of_content(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Fetch(FetchKey::Content(..)))
}

/// Swaps x, x.0, x.0.0, ..., each with a second put, and what they leave: the last put of the line, and
/// every second put.
fn lineage(
    world: &World,
    client: &Client,
    target: &Target,
    length: u64,
) -> (Vec<Decision>, Vec<Target>) {
    let mut target = target.clone();
    let (mut decisions, mut left) = (Vec::new(), Vec::new());
    for number in 1..=length {
        let take = client.take_and_put(&target, 0, number, &[task(number), task(1000 + number)]);
        let decision = world.decision(&take);
        let put = |index: u16| Target {
            id: target.id.put(index).expect("few runs"),
            hash: bts_core::content::put_hash(world.op(&take), index),
            content: Content::Put(Box::new(decision.clone())),
        };
        left.push(put(1));
        let next = put(0);
        decisions.push(decision);
        target = next;
    }
    left.push(target);
    (decisions, left)
}

pub(crate) fn counter(world: &mut World, client: &Client, at: u16, name: &str) -> Option<u64> {
    let Some(ReplyBody::Report(report)) = world.ask(client, at, ClientBody::Inspect) else {
        panic!("a report");
    };
    let found = report.counters.iter().find(|(known, _)| known == name);
    found.map(|(_, count)| *count)
}

/// An Out that one replica never heard, while nobody reads, takes, or reconnects.
#[test]
fn compare_r76_a_hole_that_nobody_tells_of_is_filled() {
    let mut world = World::of_four();
    world.pass(SWEEPS);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    world.pass(SWEEPS);
    assert!(is_held(&mut world, &client, 3, &target));
    let fetched = counter(&mut world, &client, 3, "fetched by comparing");
    assert_eq!(fetched, Some(1));
}

/// Entries with these numbers, one at each of two replicas, which then meet and compare.
fn met_after_writing_apart(numbers: [u64; 2]) -> (World, Client, Target, Target) {
    let mut world = World::with_real(&[0, 1]);
    world.isolate(0);
    let client = world.client(1);
    let one = world.out(&client, numbers[0], task(1), &[0]);
    let other = world.out(&client, numbers[1], task(2), &[1]);
    world.heal();
    world.pass(Span::from_millis(1000));
    (world, client, one, other)
}

#[test]
fn compare_r76_two_that_lack_something_of_the_other_both_get_it() {
    let (mut world, client, one, other) = met_after_writing_apart([1, 2]);
    assert!(is_held(&mut world, &client, 0, &other));
    assert!(is_held(&mut world, &client, 1, &one));
}

/// Both contents of an id that its writer signed twice.
#[test]
fn compare_r76_several_contents_of_one_id_are_compared() {
    let (mut world, client, one, other) = met_after_writing_apart([1, 1]);
    assert_eq!(one.id, other.id);
    for target in [&one, &other] {
        assert!(is_held(&mut world, &client, 0, target));
        assert!(is_held(&mut world, &client, 1, target));
    }
}

/// A removed entry is not fetched again, and whoever still lists it learns of its end.
#[test]
fn compare_r76_what_was_removed_goes_and_does_not_come_back() {
    let mut world = World::with_real(&[0, 1]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1]);
    world.isolate(0);
    let decision = world.decision(&client.take(&target, 0, 1));
    world.step(1, Input::Peer(ReplicaId(2), PeerMessage::Decide(decision)));
    world.pump();
    // No stream tells of it.
    world.heal();
    let before = world.wire.len();
    world.pass(SWEEPS);
    assert!(world.is_removed(&client, 0, &target.id));
    assert!(!is_held(&mut world, &client, 1, &target));
    let asked = world.wire[before..]
        .iter()
        .any(|m| is_fetch_of_content(&m.2));
    assert!(!asked, "a removed entry is not fetched");
}

/// C6: entries whose whole descent was missed.
#[test]
fn compare_c6_a_missed_lineage_comes_whole() {
    let mut world = World::with_real(&[0, 1]);
    world.isolate(0);
    let client = world.client(1);
    let target = world.out(&client, 1, task(0), &[1]);
    let (decisions, left) = lineage(&world, &client, &target, 3);
    for decision in &decisions {
        let message = PeerMessage::Decide(decision.clone());
        world.step(1, Input::Peer(ReplicaId(2), message));
    }
    world.pump();
    world.heal();
    world.pass(SWEEPS);
    for target in &left {
        assert!(is_held(&mut world, &client, 0, target), "{}", target.id);
    }
    assert!(world.is_removed(&client, 0, &target.id));
}

#[test]
fn compare_r76_an_empty_replica_catches_up() {
    let mut world = World::with_real(&[0, 1]);
    world.isolate(0);
    let client = world.client(1);
    let entries = 10_000;
    let targets: Vec<_> = (0..entries)
        .map(|seq| world.out(&client, seq, task(seq), &[1]))
        .collect();
    world.wire.clear();
    world.heal();
    world.pass(Span::from_millis(2_000));
    let missing = targets
        .iter()
        .filter(|t| !is_held(&mut world, &client, 0, t))
        .count();
    assert_eq!(missing, 0);
    let (compared, bytes) = traffic(&world, is_compare);
    let (fetched, _) = traffic(&world, is_fetch_of_content);
    let (_, given) = traffic(&world, |m| matches!(m, PeerMessage::Given(_)));
    let (doubts, _) = traffic(&world, |m| {
        matches!(m, PeerMessage::Fetch(FetchKey::Decision(_)))
    });
    println!(
        "{entries} entries: {compared} messages of {bytes} bytes to compare, {fetched} fetches, \
         {given} bytes given, {doubts} doubts"
    );
    assert_eq!(fetched as u64, entries, "each is fetched once");
    assert!(compared < 100 && doubts < 400, "{compared} {doubts}");
    assert!(comparing(&mut world, &client, 0, 1).is_caught_up);
}

/// What is the same costs two messages a slice, however much was done meanwhile.
#[test]
fn compare_r76_only_what_is_needed_moves() {
    let mut world = World::with_real(&[0, 1]);
    let client = world.client(1);
    for seq in 0..5_000 {
        world.out(&client, seq, task(seq), &[0, 1]);
    }
    world.isolate(0);
    let missed: Vec<_> = (0..10)
        .map(|seq| world.out(&client, 100_000 + seq, task(seq), &[1]))
        .collect();
    world.wire.clear();
    world.heal();
    world.pass(Span::from_millis(900));
    for target in &missed {
        assert!(is_held(&mut world, &client, 0, target));
    }
    let (compared, bytes) = traffic(&world, is_compare);
    println!("5000 entries, 10 missed: {compared} messages of {bytes} bytes");
    assert!(
        compared <= 2 * 2 * 6 && bytes < 250_000,
        "{compared} {bytes}"
    );
    assert_eq!(traffic(&world, is_fetch_of_content).0, missed.len());
}

fn hostile(id: &EntryId, count: u64) -> Vec<(EntryId, ContentHash)> {
    let lie = |number: u64| {
        let id = (0..=number).fold(id.clone(), |id, _| id.put(7).expect("one run"));
        (id, ContentHash(Digest([9; 32])))
    };
    (0..count).map(lie).collect()
}

/// A peer lists for ever what nobody can give: it is asked for a bounded part of that, then left alone
/// but for one slice in a while.
#[test]
fn compare_c7_lists_of_what_nobody_has_are_given_up() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    let list = hostile(&target.id, COMPARED_ITEMS_MAX as u64);
    let mut seen = 0;
    let mut lies = 0;
    for _ in 0..600 {
        world.pass(Span::from_millis(100));
        let new: Vec<_> = world.wire[seen..].to_vec();
        seen = world.wire.len();
        for (_, to, message) in new {
            let answer = match message {
                PeerMessage::Compare(asked) if to == 1 => PeerMessage::Compared(Compared {
                    from: asked.from,
                    upto: asked.to,
                    items: Some(list.clone()),
                }),
                PeerMessage::Fetch(key) if to == 1 => PeerMessage::NotHeld(key),
                _ => continue,
            };
            lies += usize::from(matches!(answer, PeerMessage::Compared(_)));
            world.peer(1, 0, answer);
        }
    }
    let (asked, _) = traffic(&world, is_fetch_of_content);
    assert!(lies < 40, "a slice every three seconds: {lies}");
    assert!(asked < 40 * 33, "{asked}");
}

/// Answers that would go on for ever, go back, or list what was not asked about.
#[test]
fn compare_c7_what_answers_no_question_is_ignored() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    world.pass(Span::from_millis(100));
    let asked = world
        .wire
        .iter()
        .find_map(|(_, to, message)| match message {
            PeerMessage::Compare(asked) if *to == 1 => Some(asked.clone()),
            _ => None,
        });
    let asked = asked.expect("a sweep begins");
    assert_eq!(
        (asked.from.as_ref(), asked.to.as_ref(), asked.count),
        (None, None, 1)
    );
    let list = hostile(&target.id, 3);
    let backwards: Vec<_> = list.iter().rev().cloned().collect();
    let last = list.last().map(|(id, _)| id.clone());
    let answers = [
        (Some(target.id), None, Some(list.clone())),
        (None, last.clone(), Some(list)),
        (None, last, None),
        (None, None, Some(backwards)),
    ];
    for (from, upto, items) in answers {
        let answer = Compared { from, upto, items };
        world.peer(1, 0, PeerMessage::Compared(answer));
    }
    assert_eq!(traffic(&world, is_fetch_of_content).0, 0);
    let ignored = counter(&mut world, &client, 0, "comparing: not what was asked");
    assert_eq!(ignored, Some(4));
}

/// A content that nobody asked this peer for is not taken, and a forged one is not stored.
#[test]
fn compare_r76_contents_prove_themselves() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    world.pass(Span::from_millis(100));
    let target = world.target(client.entry(1, task(1)));
    let given = |content| PeerMessage::Given(Given::Content(target.id.clone(), content));
    world.peer(1, 0, given(target.content.clone()));
    assert!(!is_held(&mut world, &client, 0, &target), "not asked for");
    let answer = Compared {
        from: None,
        upto: None,
        items: Some(vec![(target.id.clone(), target.hash)]),
    };
    world.peer(1, 0, PeerMessage::Compared(answer));
    let Content::Signed(mut forged) = target.content.clone() else {
        panic!("a written entry");
    };
    *forged.payload.last_mut().expect("bytes") ^= 1;
    world.peer(1, 0, given(Content::Signed(forged)));
    assert!(!is_held(&mut world, &client, 0, &target), "forged");
    world.peer(1, 0, given(target.content.clone()));
    assert!(is_held(&mut world, &client, 0, &target));
}

#[test]
fn compare_c7_questions_are_answered_at_a_bounded_rate() {
    let mut world = World::with_real(&[0]);
    let question = Compare {
        from: None,
        to: None,
        count: 7,
        digest: Digest([0; 32]),
    };
    for _ in 0..1000 {
        world.peer(1, 0, PeerMessage::Compare(question.clone()));
    }
    let answers = |world: &World| traffic(world, |m| matches!(m, PeerMessage::Compared(_))).0;
    assert!(answers(&world) < 100, "{}", answers(&world));
    world.peer(2, 0, PeerMessage::Compare(question));
    let to_other = |m: &&(u16, u16, PeerMessage)| m.1 == 2 && is_compare(&m.2);
    assert_eq!(
        world.wire.iter().filter(to_other).count(),
        1,
        "another peer"
    );
}

/// A peer that lists nothing is asked about a few of our entries, not about all of them.
#[test]
fn compare_r76_doubts_about_a_replica_that_lacks_all_are_few() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    for seq in 0..500 {
        world.out(&client, seq, task(seq), &[0]);
    }
    world.pass(Span::from_millis(100));
    let answer = Compared {
        from: None,
        upto: None,
        items: Some(Vec::new()),
    };
    world.peer(1, 0, PeerMessage::Compared(answer));
    world.pass(Span::from_millis(5_000));
    let is_doubt = |m: &PeerMessage| matches!(m, PeerMessage::Fetch(FetchKey::Decision(_)));
    assert!((1..50).contains(&traffic(&world, is_doubt).0));
}

/// An end that the peer tells when asked is applied, and more is asked about at once.
#[test]
fn compare_r76_missed_ends_are_asked_for() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let targets: Vec<_> = (0..200)
        .map(|seq| world.out(&client, seq, task(seq), &[0]))
        .collect();
    world.pass(Span::from_millis(100));
    let answer = Compared {
        from: None,
        upto: None,
        items: Some(Vec::new()),
    };
    world.peer(1, 0, PeerMessage::Compared(answer));
    let mut seen = world.wire.len();
    for _ in 0..20 {
        world.pass(Span::from_millis(100));
        let new: Vec<_> = world.wire[seen..].to_vec();
        seen = world.wire.len();
        for (_, to, message) in new {
            let PeerMessage::Fetch(FetchKey::Decision(id)) = message else {
                continue;
            };
            let number = targets.iter().position(|target| target.id == id);
            let number = number
                .filter(|_| to == 1)
                .expect("ours, asked of that peer");
            let decision = world.decision(&client.take(&targets[number], 0, number as u64));
            let removal = Removal::Decision(Box::new(decision));
            world.peer(1, 0, PeerMessage::Removed { id, removal });
        }
    }
    for target in &targets {
        assert!(world.is_removed(&client, 0, &target.id), "{}", target.id);
    }
}

//! Reads whose shape has no index yet wait for it; nothing else does.

use bts_core::crypto::hash::Digest;
use bts_core::ids::RequestId;
use bts_core::limits::{READS_KEPT_PER_CLIENT_MAX, SHAPES_MAX};
use bts_core::message::{ClientBody, ReadMode, Refused, ReplyBody};
use bts_core::replica::{Input, Limits};
use bts_core::template::{Pattern, Template};
use bts_core::tuple::{Field, FieldType};

use crate::cast::{Client, any, read, task};
use crate::support::{Plan, World};

/// One replica with twenty tasks, which looks at four in one go.
fn stocked() -> (World, Client) {
    let mut world = World::new(Plan {
        real: vec![0],
        limits: Limits {
            index_slice: 4,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = world.client(1);
    (0..20).for_each(|i| drop(world.out(&client, i, task(i), &[0])));
    (world, client)
}

/// A template of a shape of its own: the number is bound, or both are free.
fn numbered(number: u64) -> Template {
    let field = Pattern::Exact(Field::Uint(number));
    [Pattern::Any, field].into_iter().collect()
}

fn free() -> Template {
    [Pattern::Any, Pattern::Any].into_iter().collect()
}

/// A template of so many fields, each bit of the number says of which kind one is.
fn shaped(number: u64, fields: u64) -> Template {
    let field = |bit: u64| match number >> bit & 1 {
        1 => Pattern::Any,
        _ => Pattern::Typed(FieldType::Uint),
    };
    (0..fields).map(field).collect()
}

/// What was answered, and with how many candidates.
fn answered(world: &World, request: RequestId) -> Option<usize> {
    let mut found = world.replies.iter().filter(|(_, _, r, _)| *r == request);
    found.next_back().map(|(_, _, _, body)| match body {
        ReplyBody::Found { candidates, .. } => candidates.len(),
        ReplyBody::Page { candidates, .. } => candidates.len(),
        other => panic!("{other:?}"),
    })
}

/// Lets it go on with what it makes, once; false if it makes nothing.
fn slice(world: &mut World) -> bool {
    let deadline = world.replica(0).deadline();
    let made = deadline.filter(|(_, what)| what.contains("index"));
    if let Some((at, _)) = made {
        world.now = world.now.max(at);
        world.step(0, Input::Tick);
    }
    made.is_some()
}

fn slices(world: &mut World) -> usize {
    (0..1000).take_while(|_| slice(world)).count()
}

#[test]
fn index_r42_is_made_in_slices_while_others_go_on() {
    let (mut world, client) = stocked();
    let page = ClientBody::List {
        space: any_space(),
        template: free(),
        after: None,
    };
    let (first, list) = (
        world.send(&client, 0, read(free(), ReadMode::Rdp)),
        world.send(&client, 0, page),
    );
    let other = world.send(&client, 0, read(numbered(7), ReadMode::Rdp));
    for round in 0..3 {
        assert_eq!(answered(&world, first), None);
        world.out(&client, 100 + round, task(100 + round), &[0]);
        assert!(slice(&mut world));
    }
    let rest = slices(&mut world);
    assert!((5..20).contains(&rest), "two of 23 by four: {rest}");
    assert!(answered(&world, first) > Some(0));
    assert_eq!(
        answered(&world, list),
        Some(23),
        "what came meanwhile is there"
    );
    assert_eq!(answered(&world, other), Some(1));
    let again = world.send(&client, 0, read(numbered(101), ReadMode::Rdp));
    assert_eq!(answered(&world, again), Some(1), "at once");
}

fn any_space() -> bts_core::ids::SpaceName {
    match read(any("task"), ReadMode::Rdp) {
        ClientBody::Read(read) => read.space,
        _ => unreachable!("it reads"),
    }
}

/// Nothing is proven absent by an index that is not whole.
#[test]
fn index_r42_part_of_it_proves_nothing() {
    let (mut world, client) = stocked();
    for number in 0..20 {
        let shape = [
            Pattern::Typed(FieldType::Text),
            Pattern::Exact(Field::Uint(number)),
        ];
        let template: Template = shape.into_iter().collect();
        let request = world.send(&client, 0, read(template, ReadMode::Rdp));
        assert_ne!(answered(&world, request), Some(0), "{number} is there");
        slice(&mut world);
    }
}

#[test]
fn index_r42_cancelled_read_is_not_answered_and_leaves_no_waiter() {
    let (mut world, client) = stocked();
    let waiter = world.send(&client, 0, read(numbered(500), ReadMode::Rd));
    let other = world.send(&client, 0, read(numbered(1), ReadMode::Rdp));
    world.send(&client, 0, ClientBody::Cancel { waiter });
    slices(&mut world);
    assert_eq!(answered(&world, other), Some(1));
    world.out(&client, 500, task(500), &[0]);
    assert_eq!(answered(&world, waiter), None, "nobody waits for it");
}

#[test]
fn index_r42_client_that_is_gone_waits_for_nothing() {
    let (mut world, client) = stocked();
    let request = world.send(&client, 0, read(free(), ReadMode::Rd));
    world.step(0, Input::ClientGone(client.at));
    slices(&mut world);
    assert_eq!(answered(&world, request), None);
}

/// Whoever asks for ever new shapes waits for one index, then it is another key's turn.
#[test]
fn index_r42_one_key_does_not_keep_others_waiting() {
    for (greedy, modest) in [(2, 3), (3, 2)] {
        let (mut world, _) = stocked();
        let (greedy, modest) = (world.client(greedy), world.client(modest));
        for bits in 0..12 {
            world.send(&greedy, 0, read(shaped(bits, 2 + bits / 4), ReadMode::Rdp));
        }
        let request = world.send(&modest, 0, read(numbered(3), ReadMode::Rdp));
        let mut took = 0;
        while answered(&world, request).is_none() {
            assert!(slice(&mut world));
            took += 1;
        }
        assert!(
            took <= 2 * 6,
            "two indices of twenty entries by four: {took}"
        );
    }
}

/// A full disk keeps nobody from reading.
#[test]
fn index_r34_is_made_without_room_on_the_disk() {
    let (mut world, client) = stocked();
    world.step(0, Input::Frozen(Some("full".into())));
    let request = world.send(&client, 0, read(numbered(3), ReadMode::Rdp));
    slices(&mut world);
    assert_eq!(answered(&world, request), Some(1));
}

#[test]
fn index_r42_repeated_read_is_kept_once() {
    let (mut world, client) = stocked();
    let body = read(free(), ReadMode::Rdp);
    let request = world.send(&client, 0, body.clone());
    (0..200).for_each(|_| world.send_as(&client, 0, request, body.clone()));
    let before = world.replies.len();
    slices(&mut world);
    assert_eq!(world.replies.len(), before + 1);
}

/// However many shapes are in use: an index is kept until those have been answered who waited for it.
#[test]
fn index_r42_is_not_dropped_before_its_readers_are_answered() {
    let (mut world, first) = stocked();
    let second = world.client(2);
    let shape = |number| shaped(number, 8);
    let used = SHAPES_MAX as u64;
    for number in 0..used {
        world.send(&first, 0, read(shape(number), ReadMode::Rdp));
        slices(&mut world);
    }
    let reads = [
        world.send(&first, 0, read(shape(used), ReadMode::Rdp)),
        world.send(&second, 0, read(shape(used + 1), ReadMode::Rdp)),
    ];
    // The others are in use all the time.
    for round in 0..200 {
        if !slice(&mut world) {
            break;
        }
        let number = round % used;
        world.send(&first, 0, read(shape(number), ReadMode::Rdp));
    }
    for request in reads {
        assert_eq!(answered(&world, request), Some(0));
    }
}

/// Answers are large: the shell sends some before there are more.
#[test]
fn index_r42_not_all_who_waited_are_answered_at_once() {
    let (mut world, client) = stocked();
    for _ in 0..100 {
        world.send(&client, 0, read(free(), ReadMode::Rdp));
    }
    let mut most = 0;
    loop {
        let before = world.replies.len();
        if !slice(&mut world) {
            break;
        }
        most = most.max(world.replies.len() - before);
    }
    assert_eq!(world.replies.len(), 20 + 100);
    assert!(most <= 16, "{most}");
}

#[test]
fn index_r81_reads_that_wait_are_limited_per_client() {
    let (mut world, client) = stocked();
    let other = world.client(2);
    let count = READS_KEPT_PER_CLIENT_MAX + 1;
    let requests: Vec<_> = (0..count)
        .map(|_| world.send(&client, 0, read(free(), ReadMode::Rdp)))
        .collect();
    let of = |world: &World, request| world.answer(0, &client, request);
    let limit = of(&world, requests[count - 1]);
    assert!(matches!(limit, Some(ReplyBody::Refused(Refused::Limit(_)))));
    let modest = world.send(&other, 0, read(free(), ReadMode::Rdp));
    slices(&mut world);
    assert!(answered(&world, modest) > Some(0));
    assert!(
        requests[..count - 1]
            .iter()
            .all(|r| answered(&world, *r) > Some(0))
    );
}

#[test]
fn index_r710_a_stopped_replica_makes_none() {
    let (mut world, client) = stocked();
    world.send(&client, 0, read(free(), ReadMode::Rdp));
    assert!(world.replica(0).deadline().is_some());
    world.step(0, Input::Stop(Digest([7; 32])));
    assert_eq!(slices(&mut world), 0);
}

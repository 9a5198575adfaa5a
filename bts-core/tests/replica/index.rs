//! Reads whose shape has no index yet wait for it; nothing else does.

use bts_core::ids::RequestId;
use bts_core::message::{ClientBody, ReadMode, ReplyBody};
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
    let shape = |bits: u32| -> Template {
        let pattern = |bit: u32| match bits >> bit & 1 {
            1 => Pattern::Any,
            _ => Pattern::Typed(FieldType::Uint),
        };
        (0..2 + bits / 4).map(pattern).collect()
    };
    for (greedy, modest) in [(2, 3), (3, 2)] {
        let (mut world, _) = stocked();
        let (greedy, modest) = (world.client(greedy), world.client(modest));
        for bits in 0..12 {
            world.send(&greedy, 0, read(shape(bits), ReadMode::Rdp));
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

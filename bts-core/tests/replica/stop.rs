//! The end of a configuration at one replica.

use std::collections::BTreeSet;

use bts_core::crypto::hash::Digest;
use bts_core::message::{ClientBody, ReadMode, Refused, ReplyBody};
use bts_core::replica::{Input, Record};
use bts_core::time::Span;

use crate::cast::{any, bare, read, task};
use crate::support::{WINDOW, World};

const PURPOSE: Digest = Digest([3; 32]);

fn is_refused(answer: &Option<ReplyBody>) -> bool {
    matches!(answer, Some(ReplyBody::Refused(Refused::Ended)))
}

/// C8: nothing is voted, promised or told any more, whatever is asked and however often it restarts, or a
/// vote could be missing in what it exported.
#[test]
fn stop_c8_is_for_good() {
    let mut world = World::of_four();
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2, 3]);
    let take = client.take(&target, 0, 1);
    world.ask(&client, 1, ClientBody::Take(bare(&take)));
    world.ask(&client, 0, ClientBody::Evidence(bare(&take)));
    world.step(0, Input::Stop(PURPOSE));
    for restarts in [false, true] {
        if restarts {
            world.restart(0);
            world.heal();
        }
        let (told, logged) = (world.wire.len(), world.log_of(0).len());
        let out = ClientBody::Out {
            entry: client.entry(2, task(2)),
        };
        let rdp = read(any("task"), ReadMode::Rdp);
        for body in [out, rdp, ClientBody::Take(bare(&take))] {
            assert!(is_refused(&world.ask(&client, 0, body)));
        }
        world.pass(Span::from_millis(8_000));
        world.step(0, Input::Stop(Digest([4; 32])));
        assert_eq!(world.replica(0).deadline(), None);
        assert_eq!(world.replica(0).stopped(), Some(PURPOSE));
        assert_eq!(world.log_of(0).len(), logged, "nothing is logged");
        let by_it = world.wire[told..].iter().filter(|(from, _, _)| *from == 0);
        assert_eq!(by_it.count(), 0, "nothing is told");
    }
    let last = world.log_of(0).last().map(|(_, record)| record.clone());
    assert_eq!(last, Some(Record::Stopped(PURPOSE)));
}

/// A9: a vote that was logged before the stop may leave after it: the export holds it.
#[test]
fn stop_a9_what_was_logged_before_leaves_when_it_is_durable() {
    let mut world = World::of_four();
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2, 3]);
    let take = client.take(&target, 0, 1);
    world.slow.insert(0);
    let request = world.send(&client, 0, ClientBody::Take(bare(&take)));
    world.step(0, Input::Stop(PURPOSE));
    assert_eq!(world.answer(0, &client, request), None);
    world.sync(0);
    let answer = world.answer(0, &client, request);
    assert!(
        matches!(answer, Some(ReplyBody::FirstVote(_))),
        "{answer:?}"
    );
    let log = world.log_of(0).iter().map(|(_, record)| record);
    let is_vote = |record: &&Record| matches!(record, Record::FirstVote(_));
    assert_eq!(log.filter(is_vote).count(), 1);
}

/// C8: own votes that were held back are not counted any more, or what follows from them would be logged
/// after the stop, and the export be none. (One replica alone votes for its own proposals.)
#[test]
fn stop_c8_no_record_follows_from_votes_that_were_under_way() {
    let mut met = BTreeSet::new();
    for syncs in 0..8 {
        let mut world = World::of_one();
        let client = world.client(1);
        let target = world.out(&client, 1, task(1), &[0]);
        let take = client.take(&target, 0, 1);
        world.slow.insert(0);
        world.send(&client, 0, ClientBody::Evidence(bare(&take)));
        for _ in 0..syncs {
            world.sync(0);
            world.pass(WINDOW.times(2));
        }
        world.step(0, Input::Stop(PURPOSE));
        for _ in 0..8 {
            world.sync(0);
            world.pass(WINDOW.times(2));
        }
        let log = world.log_of(0);
        assert!(
            matches!(log.last(), Some((_, Record::Stopped(_)))),
            "{log:?}"
        );
        met.insert(log.len());
    }
    assert!(met.len() > 3, "stopped in different places: {met:?}");
}

/// Who cannot log that it stops does not stop: the order is repeated when there is room.
#[test]
fn stop_waits_for_room() {
    let mut world = World::of_four();
    world.step(0, Input::Frozen(Some("full".into())));
    world.step(0, Input::Stop(PURPOSE));
    assert_eq!(world.replica(0).stopped(), None);
    world.step(0, Input::Frozen(None));
    world.step(0, Input::Stop(PURPOSE));
    assert_eq!(world.replica(0).stopped(), Some(PURPOSE));
}

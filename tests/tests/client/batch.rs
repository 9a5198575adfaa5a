//! What comes together is signed together, and may be overtaken before it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use bts_core::client::{Handle, Input, Op, Outcome};
use bts_core::content::Put;
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{ReplicaId, RequestId, TakeNumber};
use bts_core::message::{ClientBody, Reply, ReplyBody};

use crate::desk::{Desk, Entry, any, empty_but_for, in_full, named, space, tuple};

fn write(desk: &mut Desk, number: u64) {
    let (space, put) = (space(), Put::from(tuple(number)));
    desk.gather(Input::Invoke(Handle(1000 + number), Op::Out { space, put }));
}

/// A take that has chosen one of these entries, and waits for its signature.
fn choosing(desk: &mut Desk, entries: &[Entry]) -> (Handle, RequestId) {
    let take = desk.take(false, None);
    let (request, _) = desk.read_request();
    for from in (0..3).map(ReplicaId) {
        let body = named(entries.iter().map(in_full).collect());
        desk.gather(Input::Reply(from, Reply { request, body }));
    }
    assert!(desk.client.has_unsigned());
    (take, request)
}

fn takes(desk: &mut Desk) -> usize {
    let is_take = |body: &ClientBody| matches!(body, ClientBody::Take(_)).then_some(());
    desk.sent_of(is_take).len()
}

#[test]
fn batch_r25_what_comes_together_shares_a_signature() {
    let mut desk = Desk::new(4, 1);
    (0..5).for_each(|number| write(&mut desk, number));
    assert!(desk.sent().is_empty(), "it is not signed yet");
    desk.sign();
    let sent = desk.sent_of(|body| match body {
        ClientBody::Out { entry } => Some(entry.clone()),
        _ => None,
    });
    assert_eq!(sent.len(), 5 * 4);
    let signatures = sent.iter().map(|(_, _, entry)| entry.seal.signature);
    assert_eq!(signatures.collect::<BTreeSet<_>>().len(), 1);
    let verifier = Verifier::new(Arc::clone(&desk.configuration));
    for (to, request, entry) in sent {
        assert!(verifier.entry(entry).is_ok());
        desk.reply(to, request, ReplyBody::Ack);
    }
    assert_eq!(desk.done().len(), 5);
    desk.sign();
    assert!(desk.sent().is_empty(), "all is signed");
}

#[test]
fn batch_cancelled_before_it_is_signed_is_not_sent() {
    let mut desk = Desk::new(4, 1);
    write(&mut desk, 1);
    desk.gather(Input::Cancel(Handle(1001)));
    assert_eq!(desk.outcome(), Outcome::Unknown);
    desk.sign();
    assert!(desk.sent().is_empty());

    let entry = desk.entry(1);
    let (take, _) = choosing(&mut desk, &[entry]);
    desk.gather(Input::Cancel(take));
    assert_eq!(desk.outcome(), Outcome::Cancelled);
    desk.sign();
    assert_eq!(takes(&mut desk), 0);
    desk.rdp();
    assert_eq!(desk.settled_below(), TakeNumber(1), "its number is used up");
}

/// Whichever of the two was chosen: once it is known to be gone the other one is taken.
#[test]
fn batch_entry_that_is_gone_before_its_take_is_signed_is_not_taken() {
    for gone in 0..2 {
        let mut desk = Desk::new(4, 1);
        let entries = [desk.entry(1), desk.entry(2)];
        let (_, request) = choosing(&mut desk, &entries);
        let rival = desk.rival(&entries[gone], 0, 1, Vec::new());
        let body = empty_but_for(1, vec![desk.decision(&rival)]);
        desk.gather(Input::Reply(ReplicaId(3), Reply { request, body }));
        desk.sign();
        let (_, take, _) = desk.take_request();
        assert_eq!(take.payload.id, entries[1 - gone].id);
    }
}

/// All acknowledge after so long what was written.
fn acknowledge(desk: &mut Desk, after_ms: u64) {
    let sent = desk.sent_of(|body| matches!(body, ClientBody::Out { .. }).then_some(()));
    desk.pass_ms(after_ms);
    for (to, request, ()) in sent {
        let body = ReplyBody::Ack;
        desk.gather(Input::Reply(ReplicaId(to), Reply { request, body }));
    }
}

/// Writes two tuples, which all acknowledge after so long.
fn two_written(desk: &mut Desk, first: u64, after_ms: u64) {
    (first..first + 2).for_each(|number| write(desk, number));
    desk.sign();
    acknowledge(desk, after_ms);
    assert_eq!(desk.done().len(), 2);
}

#[test]
fn batch_waits_for_more_only_while_replicas_are_busy() {
    let mut desk = Desk::new(4, 1);
    (0..20).for_each(|round| two_written(&mut desk, 2 * round, 100));
    write(&mut desk, 100);
    assert_eq!(desk.client.gathers_until(), None, "far is not busy");
    desk.sign();

    let mut desk = Desk::new(4, 1);
    two_written(&mut desk, 0, 1);
    (1..20).for_each(|round| two_written(&mut desk, 2 * round, 21));
    write(&mut desk, 100);
    let until = desk
        .client
        .gathers_until()
        .expect("the other may come soon");
    let waits_ms = until.since(desk.time()).as_micros() / 1000;
    assert!((5..=10).contains(&waits_ms), "a part of 20: {waits_ms}");
    write(&mut desk, 101);
    assert_eq!(desk.client.gathers_until(), None, "both are there");
}

/// Reads that were asked now, and are sent after so long; all answer another millisecond later.
fn two_read(desk: &mut Desk, first: u64, held_ms: u64) {
    let entry = desk.entry(1);
    for number in first..first + 2 {
        let (space, template, wait) = (space(), any(), false);
        let op = Op::Read {
            space,
            template,
            wait,
        };
        desk.gather(Input::Invoke(Handle(5000 + number), op));
    }
    desk.pass_ms(held_ms);
    desk.sign();
    let sent = desk.sent_of(|body| matches!(body, ClientBody::Read(_)).then_some(()));
    desk.pass_ms(1);
    for (to, request, ()) in sent {
        let body = named(vec![in_full(&entry)]);
        desk.gather(Input::Reply(ReplicaId(to), Reply { request, body }));
    }
    assert_eq!(desk.done().len(), 2);
}

/// Reads are answered at once and writes when they are stored: neither makes the other one late.
#[test]
fn batch_does_not_wait_because_one_kind_of_answer_takes_longer() {
    let mut desk = Desk::new(4, 1);
    for round in 0..20 {
        two_written(&mut desk, 2 * round, 20);
        two_read(&mut desk, 2 * round, 0);
    }
    write(&mut desk, 100);
    assert_eq!(desk.client.gathers_until(), None);
}

/// How long something waited here says nothing of the replicas.
#[test]
fn batch_time_that_requests_waited_here_is_not_the_replicas() {
    let mut desk = Desk::new(4, 1);
    two_read(&mut desk, 0, 0);
    (1..20).for_each(|round| two_read(&mut desk, 2 * round, 20));
    write(&mut desk, 100);
    assert_eq!(desk.client.gathers_until(), None);
}

/// Whoever is blocked may have nothing to send for ever, and one replica may be down.
#[test]
fn batch_does_not_wait_for_those_who_are_blocked() {
    let mut desk = Desk::new(4, 1);
    for _ in 0..5 {
        desk.take(true, None);
        let (request, _) = desk.read_request();
        for replica in 0..3 {
            desk.reply(replica, request, empty_but_for(1, Vec::new()));
        }
    }
    two_written(&mut desk, 0, 1);
    (1..20).for_each(|round| two_written(&mut desk, 2 * round, 21));
    // One at a time from now on.
    for number in 100..104 {
        write(&mut desk, number);
        desk.sign();
        acknowledge(&mut desk, 21);
    }
    write(&mut desk, 200);
    assert_eq!(desk.client.gathers_until(), None);
}

//! `rd` and `in`: waiting for what is not there yet.

use bts_core::client::{Input, Op, Outcome};
use bts_core::ids::{ReplicaId, RequestId};
use bts_core::message::{Candidate, ClientBody, ReadMode, Refused, ReplyBody};

use crate::desk::{Desk, any, by_hash, in_full, is_read, named, space, status, voted};

/// A blocked `rd` that found nothing.
fn blocked_rd(desk: &mut Desk) -> RequestId {
    desk.invoke(Op::Read {
        space: space(),
        template: any(),
        wait: true,
    });
    let (request, read) = desk.read_request();
    assert_eq!(read.mode, ReadMode::Rd);
    for replica in 0..4 {
        desk.reply(replica, request, named(Vec::new()));
    }
    request
}

fn push(desk: &mut Desk, from: u16, request: RequestId, candidate: Candidate) {
    desk.reply(from, request, ReplyBody::Push(Box::new(candidate)));
}

/// The requests by which it was.
fn written_back(desk: &mut Desk) -> Vec<RequestId> {
    let asked = desk.sent_of(|body| matches!(body, ClientBody::WriteBack { .. }).then_some(()));
    asked.into_iter().map(|(_, request, ())| request).collect()
}

fn cancels(desk: &mut Desk, waiter: RequestId) -> usize {
    desk.sent_of(|body| match body {
        ClientBody::Cancel { waiter: named } if *named == waiter => Some(()),
        _ => None,
    })
    .len()
}

#[test]
fn wait_r44_nothing_is_polled() {
    let mut desk = Desk::new(4, 1);
    blocked_rd(&mut desk);
    assert!(desk.client.deadline().is_none());
    desk.pass_ms(60_000);
    assert!(desk.sent().is_empty());
}

#[test]
fn wait_r44_pushes_of_q_replicas_end_it() {
    let mut desk = Desk::new(4, 1);
    let request = blocked_rd(&mut desk);
    let entry = desk.entry(1);
    push(&mut desk, 0, request, in_full(&entry));
    push(&mut desk, 1, request, by_hash(&entry));
    desk.assert_pending();
    push(&mut desk, 2, request, by_hash(&entry));
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == entry.id));
    assert_eq!(
        cancels(&mut desk, request),
        4,
        "replicas may forget the waiter"
    );
}

/// A push is judged like a reply: rule 2.
#[test]
fn wait_pushed_entry_with_votes_is_not_returned() {
    let mut desk = Desk::new(4, 1);
    let request = blocked_rd(&mut desk);
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    push(&mut desk, 0, request, voted(&entry, rival.op));
    push(&mut desk, 1, request, voted(&entry, rival.op));
    push(&mut desk, 2, request, by_hash(&entry));
    desk.assert_pending();
}

/// A push that others do not repeat in time is written back: a waiter must not depend on all of them.
#[test]
fn wait_pushed_by_few_is_written_back() {
    let mut desk = Desk::new(4, 1);
    let request = blocked_rd(&mut desk);
    let entry = desk.entry(1);
    push(&mut desk, 2, request, in_full(&entry));
    assert!(desk.sent().is_empty(), "others may yet push it");
    desk.pass_ms(25);
    let asked = written_back(&mut desk);
    assert_eq!(asked.len(), 3);
    for replica in 0..2 {
        let id = entry.id.clone();
        let status = status(&entry);
        desk.reply(replica, asked[0], ReplyBody::Status { id, status });
    }
    assert!(matches!(desk.outcome(), Outcome::Found(_)));
}

/// Where replicas take long to answer, the writer takes long to reach the others.
#[test]
fn wait_pushed_by_few_is_not_written_back_before_the_others_can_push_it() {
    let mut desk = Desk::new(4, 1);
    desk.answered_late();
    let request = blocked_rd(&mut desk);
    let entry = desk.entry(1);
    push(&mut desk, 2, request, in_full(&entry));
    desk.pass_ms(250);
    assert_eq!(written_back(&mut desk).len(), 0);
    desk.pass_ms(250);
    assert_eq!(written_back(&mut desk).len(), 3);
}

/// A waiter dies with its connection: it is registered anew, though it had been answered.
#[test]
fn wait_b6_waiter_is_made_anew_on_a_new_connection() {
    let mut desk = Desk::new(4, 1);
    let request = blocked_rd(&mut desk);
    desk.input(Input::Disconnected(ReplicaId(1)));
    desk.input(Input::Connected(ReplicaId(1)));
    let sent = desk.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to, sent[0].request), (1, request));
    assert!(is_read(&sent[0].body, ReadMode::Rd));
}

/// Too many waiters is a reason to ask again later, not an answer.
#[test]
fn wait_limit_is_asked_again() {
    let mut desk = Desk::new(4, 1);
    desk.invoke(Op::Read {
        space: space(),
        template: any(),
        wait: true,
    });
    let (request, _) = desk.read_request();
    for replica in 0..4 {
        let full = Refused::Limit("waiters".to_owned());
        desk.reply(replica, request, ReplyBody::Refused(full));
    }
    desk.assert_pending();
    desk.pass_ms(600);
    assert_eq!(desk.sent().len(), 4);
}

/// An `in` is told by a hint, and takes what q replicas hold.
#[test]
fn wait_r44_hint_to_an_in_leads_to_its_take() {
    let mut desk = Desk::new(4, 1);
    desk.take(true, None);
    let (request, read) = desk.read_request();
    assert_eq!(read.mode, ReadMode::In);
    for replica in 0..4 {
        desk.reply(replica, request, named(Vec::new()));
    }
    let entry = desk.entry(1);
    push(&mut desk, 0, request, in_full(&entry));
    push(&mut desk, 3, request, by_hash(&entry));
    assert!(desk.sent().is_empty());
    push(&mut desk, 1, request, by_hash(&entry));
    let (take, signed, sent) = desk.take_request();
    assert!(sent[2].content.is_some(), "s2 does not report it");
    assert!(sent[0].content.is_none());
    for replica in 0..4 {
        let vote = desk.first_vote(replica, &signed);
        desk.reply(replica, take, vote);
    }
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == entry.id));
    assert_eq!(cancels(&mut desk, request), 4);
}

/// Replicas that named entries which are all gone are asked again: more may have been there than
/// they named.
#[test]
fn wait_replicas_are_asked_again_when_all_they_named_is_gone() {
    let mut desk = Desk::new(4, 1);
    desk.take(true, None);
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    let (take, _, _) = desk.take_request();
    let removed = ReplyBody::Removed {
        id: entry.id,
        removal: bts_core::message::Removal::Decision(Box::new(desk.decision(&rival))),
    };
    desk.reply(2, take, removed);
    desk.pass_ms(5);
    let again = desk.sent_of(|body| is_read(body, ReadMode::In).then_some(()));
    assert!(again.len() >= 3, "the sooner the better");
    assert!(again.iter().all(|(_, again, ())| *again == request));
}

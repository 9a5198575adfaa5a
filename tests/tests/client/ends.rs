//! The end of sessions: which sessions of its key a client ends, and what it does when its own has ended.

use bts_core::client::{Op, Outcome};
use bts_core::codec;
use bts_core::content::EndPayload;
use bts_core::ids::{RequestId, Session};
use bts_core::message::{ClientBody, Refused, ReplyBody};

use crate::desk::{Desk, Sent, in_full, named};

fn told(present: &[u64], gone: &[u64]) -> ReplyBody {
    let sessions = |all: &[u64]| all.iter().copied().map(Session).collect();
    ReplyBody::Sessions {
        present: sessions(present),
        gone: sessions(gone),
    }
}

/// The question who is there, and the ends that were sent, each to all four.
fn asked(desk: &mut Desk) -> (Option<RequestId>, Vec<(RequestId, u64)>) {
    let sent = desk.sent();
    let question = |sent: &Sent| matches!(sent.body, ClientBody::Sessions).then_some(sent.request);
    let end = |sent: &Sent| match &sent.body {
        ClientBody::EndSession(end) if sent.to == 0 => {
            let end: EndPayload = codec::decode_payload(&end.payload).expect("an end");
            Some((sent.request, end.session.0))
        }
        _ => None,
    };
    let ends = sent.iter().filter_map(end).collect();
    (sent.iter().find_map(question), ends)
}

fn ended(desk: &mut Desk) -> Vec<u64> {
    let (_, ends) = asked(desk);
    ends.into_iter().map(|(_, session)| session).collect()
}

/// Whoever works reaches n - f replicas, so a correct one of any q sees it: what q do not see is dead.
#[test]
fn ends_h1_only_what_q_replicas_do_not_see() {
    let mut desk = Desk::new(4, 1);
    desk.invoke(Op::End { own: false });
    let (question, ends) = asked(&mut desk);
    assert_eq!(ends, []);
    let question = question.expect("it asks who is there");
    desk.reply(0, question, told(&[7, 8], &[1, 2]));
    desk.reply(1, question, told(&[7], &[1, 2, 8]));
    assert_eq!(ended(&mut desk), Vec::<u64>::new(), "two are no quorum");
    desk.reply(2, question, told(&[7, 2], &[1, 8]));
    let (_, ends) = asked(&mut desk);
    assert_eq!(ends.iter().map(|(_, s)| *s).collect::<Vec<_>>(), [1]);
    let (request, _) = ends[0];
    desk.reply(0, request, ReplyBody::Ack);
    desk.reply(0, request, ReplyBody::Ack);
    desk.reply(3, request, ReplyBody::Ack);
    desk.assert_pending();
    desk.reply(1, request, ReplyBody::Ack);
    assert_eq!(desk.outcome(), Outcome::Ended);
}

/// A liar heard the Hello of a process that is just beginning, and calls it gone before the others have heard of it.
#[test]
fn ends_h2_not_what_one_replica_calls_gone() {
    let mut desk = Desk::new(4, 1);
    desk.invoke(Op::End { own: false });
    let (question, _) = asked(&mut desk);
    let question = question.expect("it asks who is there");
    desk.reply(3, question, told(&[], &[7, 9]));
    desk.reply(0, question, told(&[7], &[]));
    desk.reply(1, question, told(&[7], &[]));
    assert_eq!(ended(&mut desk), Vec::<u64>::new());
    assert_eq!(desk.outcome(), Outcome::Ended);
}

/// At its own end nobody waits for replicas that began a moment ago and cannot tell who is dead.
#[test]
fn ends_r712_own_session_without_delay() {
    let mut desk = Desk::new(4, 1);
    assert!(!desk.client.has_engaged());
    desk.invoke(Op::End { own: true });
    let (question, ends) = asked(&mut desk);
    let (request, session) = ends[0];
    assert_eq!(session, 7);
    desk.reply(
        0,
        question.expect("it asks as well"),
        ReplyBody::Refused(Refused::Starting),
    );
    for replica in 0..3 {
        desk.assert_pending();
        desk.reply(replica, request, ReplyBody::Ack);
    }
    assert_eq!(desk.outcome(), Outcome::Ended);
}

/// Refused as too many sessions were left behind, a Take is repeated, and meanwhile the dead are ended, once.
#[test]
fn ends_r712_take_ends_the_dead_and_goes_on() {
    let mut desk = Desk::new(4, 1);
    let request = engaged(&mut desk);
    let refused = || ReplyBody::Refused(Refused::TooManySessions);
    (0..4).for_each(|replica| desk.reply(replica, request, refused()));
    let (question, _) = asked(&mut desk);
    let question = question.expect("it asks who is there");
    for replica in 0..3 {
        desk.reply(replica, question, told(&[7], &[1]));
    }
    let (_, ends) = asked(&mut desk);
    assert_eq!(ends.len(), 1);
    (0..3).for_each(|replica| desk.reply(replica, ends[0].0, ReplyBody::Ack));
    desk.pass_ms(1_000);
    let takes = desk.sent_of(|body| matches!(body, ClientBody::Take(_)).then_some(()));
    let again = takes.iter().filter(|(_, r, ())| *r == request);
    assert_eq!(again.count(), 4, "it is asked again");
    desk.assert_pending();
    assert!(desk.client.is_idle(), "the ending is over");
}

/// f + 1 say that our session has ended: then it has, and no other entry would do. One of them may lie.
#[test]
fn ends_h5_an_ended_session_takes_nothing() {
    let mut desk = Desk::new(4, 1);
    let request = engaged(&mut desk);
    let ended = || ReplyBody::Refused(Refused::SessionEnded);
    desk.reply(3, request, ended());
    let no = Refused::Forbidden("no".to_owned());
    desk.reply(0, request, ReplyBody::Refused(no));
    desk.assert_pending();
    desk.reply(1, request, ended());
    assert_eq!(desk.outcome(), Outcome::Refused(Refused::SessionEnded));
}

/// An `inp` that found one entry and sent its Take.
fn engaged(desk: &mut Desk) -> RequestId {
    desk.take(false, None);
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    let (request, _, _) = desk.take_request();
    assert!(desk.client.has_engaged());
    request
}

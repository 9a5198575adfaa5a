//! `out`, repetition, and what ends an operation before it begins.

use bts_core::client::{Input, Op, Outcome};
use bts_core::content::Put;
use bts_core::ids::{ReplicaId, RequestId};
use bts_core::limits::FIELDS_MAX;
use bts_core::message::{ClientBody, Refused, ReplyBody};
use bts_core::template::{Pattern, Template};
use bts_core::tuple::Tuple;

use crate::desk::{Desk, space, tuple};

fn out(desk: &mut Desk) -> RequestId {
    desk.invoke(Op::Out {
        space: space(),
        put: Put::from(tuple(1)),
    });
    let sent = desk.sent();
    assert_eq!(sent.len(), 4, "a request goes to all");
    sent[0].request
}

fn forbidden() -> ReplyBody {
    ReplyBody::Refused(Refused::Forbidden("no".to_owned()))
}

#[test]
fn out_is_done_at_q_acknowledgements() {
    let mut desk = Desk::new(4, 1);
    let request = out(&mut desk);
    desk.reply(0, request, ReplyBody::Ack);
    desk.reply(0, request, ReplyBody::Ack);
    desk.reply(3, request, ReplyBody::Ack);
    desk.assert_pending();
    desk.reply(1, request, ReplyBody::Ack);
    assert!(matches!(desk.outcome(), Outcome::Written(_)));
    assert!(desk.client.deadline().is_none(), "nothing is left to do");
}

#[test]
fn out_is_refused_by_f_plus_1() {
    let mut desk = Desk::new(4, 1);
    let request = out(&mut desk);
    desk.reply(3, request, forbidden());
    desk.reply(3, request, forbidden());
    desk.assert_pending();
    desk.reply(1, request, forbidden());
    assert!(matches!(
        desk.outcome(),
        Outcome::Refused(Refused::Forbidden(_))
    ));
}

#[test]
fn out_g6_limit_is_no_exit_but_asked_again() {
    let mut desk = Desk::new(4, 1);
    let request = out(&mut desk);
    for replica in 0..4 {
        let full = Refused::Limit("full".to_owned());
        desk.reply(replica, request, ReplyBody::Refused(full));
    }
    desk.assert_pending();
    desk.pass_ms(501);
    assert_eq!(desk.sent().len(), 4);
    for replica in 0..3 {
        desk.reply(replica, request, ReplyBody::Ack);
    }
    assert!(matches!(desk.outcome(), Outcome::Written(_)));
}

#[test]
fn requests_are_repeated_to_those_that_did_not_answer_with_back_off() {
    let mut desk = Desk::new(4, 1);
    let request = out(&mut desk);
    desk.reply(0, request, ReplyBody::Ack);
    desk.pass_ms(501);
    let to = |desk: &mut Desk| desk.sent().iter().map(|sent| sent.to).collect::<Vec<_>>();
    assert_eq!(to(&mut desk), [1, 2, 3]);
    desk.pass_ms(501);
    assert_eq!(to(&mut desk), [0; 0], "it waits twice as long");
    desk.pass_ms(501);
    assert_eq!(to(&mut desk), [1, 2, 3]);
    desk.input(Input::Connected(ReplicaId(0)));
    desk.input(Input::Connected(ReplicaId(2)));
    assert_eq!(
        to(&mut desk),
        [2],
        "a new connection asks at once what is open"
    );
}

#[test]
fn replies_count_only_from_replicas_that_were_asked() {
    let mut desk = Desk::new(4, 1);
    let request = out(&mut desk);
    for replica in [0, 1, 7] {
        desk.reply(replica, request, ReplyBody::Ack);
    }
    desk.reply(2, RequestId(99), ReplyBody::Ack);
    desk.assert_pending();
}

#[test]
fn malformed_operations_are_not_sent() {
    let mut desk = Desk::new(4, 1);
    let long = Tuple(vec![1u64.into(); FIELDS_MAX + 1]);
    let mut expiring = Put::from(tuple(1));
    expiring.expiry = Some(1);
    for put in [Put::from(long), expiring] {
        desk.invoke(Op::Out {
            space: space(),
            put,
        });
        assert!(matches!(desk.outcome(), Outcome::Malformed(_)));
    }
    desk.invoke(Op::Read {
        space: space(),
        template: Template(vec![Pattern::Any; FIELDS_MAX + 1]),
        wait: true,
    });
    assert!(matches!(desk.outcome(), Outcome::Malformed(_)));
    assert!(desk.sent().is_empty());
}

#[test]
fn inspect_ends_with_all_reports_or_by_cancel() {
    let mut desk = Desk::new(4, 1);
    let handle = desk.invoke(Op::Inspect);
    let request = desk.sent()[0].request;
    desk.reply(2, request, ReplyBody::Report(Box::default()));
    desk.assert_pending();
    assert_eq!(desk.client.answered(handle), [ReplicaId(2)]);
    desk.input(Input::Cancel(handle));
    assert!(matches!(desk.outcome(), Outcome::Inspected(reports) if reports.len() == 1));

    desk.invoke(Op::Inspect);
    let sent = desk.sent();
    assert!(
        sent.iter()
            .all(|sent| matches!(sent.body, ClientBody::Inspect))
    );
    for replica in 0..4 {
        desk.reply(replica, sent[0].request, ReplyBody::Report(Box::default()));
    }
    assert!(matches!(desk.outcome(), Outcome::Inspected(reports) if reports.len() == 4));
}

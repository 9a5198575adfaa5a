//! Cancelling: what had no effect ends, what may have had one is finished in the background.

use bts_core::client::{Handle, Input, Outcome};
use bts_core::codec;
use bts_core::content::{EntryPayload, Put};
use bts_core::ids::RequestId;
use bts_core::message::{ClientBody, ReplyBody};

use crate::desk::{Desk, Entry, SignedTake, empty, in_full, named, tuple};

fn engaged(desk: &mut Desk, swap: bool) -> (Handle, Entry, RequestId, SignedTake) {
    let with: Option<bts_core::client::SwapWith> =
        swap.then(|| Box::new(|_: &_| Some(vec![Put::from(tuple(2))])) as _);
    let handle = desk.take(true, with);
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    let (request, take, _) = desk.take_request();
    (handle, entry, request, take)
}

fn outs(desk: &mut Desk) -> Vec<(RequestId, EntryPayload)> {
    let sent = desk.sent_of(|body| match body {
        ClientBody::Out { entry } => {
            Some(codec::decode_payload::<EntryPayload>(&entry.payload).expect("an entry"))
        }
        _ => None,
    });
    sent.into_iter()
        .map(|(_, request, entry)| (request, entry))
        .collect()
}

fn vote_all(desk: &mut Desk, request: RequestId, take: &SignedTake) {
    for replica in 0..4 {
        let vote = desk.first_vote(replica, take);
        desk.reply(replica, request, vote);
    }
}

#[test]
fn cancel_read_and_unengaged_take_have_no_effect() {
    let mut desk = Desk::new(4, 1);
    let read = desk.rdp();
    desk.input(Input::Cancel(read));
    assert_eq!(desk.outcome(), Outcome::Cancelled);
    let take = desk.take(true, None);
    let (request, _) = {
        let _ = desk.sent_of(|_| None::<()>);
        (RequestId(2), ())
    };
    desk.input(Input::Cancel(take));
    assert_eq!(desk.outcome(), Outcome::Cancelled);
    let cancels = desk.sent_of(|body| match body {
        ClientBody::Cancel { waiter } => Some(*waiter),
        _ => None,
    });
    assert_eq!(cancels.len(), 4);
    assert!(cancels.iter().all(|(_, _, waiter)| *waiter == request));
    assert!(desk.client.is_idle() && desk.client.deadline().is_none());
    desk.reply(0, request, named(vec![in_full(&desk.entry(1))]));
    desk.input(Input::Cancel(take));
    desk.assert_pending();
}

#[test]
fn cancel_out_may_have_had_an_effect() {
    let mut desk = Desk::new(4, 1);
    let handle = desk.invoke(bts_core::client::Op::Out {
        space: crate::desk::space(),
        put: Put::from(tuple(1)),
    });
    desk.input(Input::Cancel(handle));
    assert_eq!(desk.outcome(), Outcome::Unknown);
}

/// The tuple of an abandoned `in` must not vanish: it is written again.
#[test]
fn cancel_in_that_wins_puts_the_tuple_back() {
    let mut desk = Desk::new(4, 1);
    let (handle, entry, request, take) = engaged(&mut desk, false);
    desk.input(Input::Cancel(handle));
    assert_eq!(desk.outcome(), Outcome::Unknown);
    assert!(!desk.client.is_idle(), "the Take is finished");
    assert!(outs(&mut desk).is_empty(), "nothing is won yet");
    vote_all(&mut desk, request, &take);
    let back = outs(&mut desk);
    assert_eq!(back.len(), 4);
    assert_eq!(back[0].1.tuple, entry.tuple);
    assert_ne!(back[0].1.id, entry.id);
    assert!(!desk.client.is_idle());
    for replica in 0..3 {
        desk.reply(replica, back[0].0, ReplyBody::Ack);
    }
    assert!(desk.client.is_idle());
    desk.assert_pending();
}

/// It is settled in the background also if another wins, and no further entry is engaged.
#[test]
fn cancel_in_that_loses_ends() {
    let mut desk = Desk::new(4, 1);
    let (handle, entry, request, _) = engaged(&mut desk, false);
    desk.input(Input::Cancel(handle));
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    let removed = ReplyBody::Removed {
        id: entry.id,
        removal: bts_core::message::Removal::Decision(Box::new(desk.decision(&rival))),
    };
    desk.reply(1, request, removed);
    assert!(desk.client.is_idle());
    assert!(outs(&mut desk).is_empty());
    assert_eq!(
        desk.outcome(),
        Outcome::Unknown,
        "told once, when cancelled"
    );
}

/// A swap that wins took effect: nothing is put back, but it is made stable.
#[test]
fn cancel_swap_that_wins_stays() {
    let mut desk = Desk::new(4, 1);
    let (handle, entry, request, take) = engaged(&mut desk, true);
    desk.input(Input::Cancel(handle));
    assert_eq!(desk.outcome(), Outcome::Unknown);
    let _ = desk.sent();
    vote_all(&mut desk, request, &take);
    let sent = desk.sent();
    assert!(
        sent.iter()
            .all(|sent| matches!(sent.body, ClientBody::Decide { applied: true, .. }))
    );
    for replica in 0..3 {
        assert!(!desk.client.is_idle());
        let applied = ReplyBody::Applied {
            id: entry.id.clone(),
            op: take.op,
        };
        desk.reply(replica, sent[0].request, applied);
    }
    assert!(desk.client.is_idle());
    assert!(outs(&mut desk).is_empty());
}

/// What is decided late is finished too: an engaged Take is never given up because time passed.
#[test]
fn cancel_engaged_take_is_repeated_until_it_ends() {
    let mut desk = Desk::new(4, 1);
    let (handle, _, _, _) = engaged(&mut desk, false);
    desk.input(Input::Cancel(handle));
    let _ = desk.sent();
    desk.pass_ms(60_000);
    assert!(!desk.client.is_idle());
    assert!(!desk.sent().is_empty());
}

/// Nothing is left of a cancelled proof of None.
#[test]
fn cancel_during_round_2() {
    let mut desk = Desk::new(4, 1);
    let handle = desk.rdp();
    let (request, _) = desk.read_request();
    for replica in 0..3 {
        desk.reply(replica, request, empty(1));
    }
    desk.input(Input::Cancel(handle));
    assert_eq!(desk.outcome(), Outcome::Cancelled);
    assert!(desk.client.deadline().is_none());
}

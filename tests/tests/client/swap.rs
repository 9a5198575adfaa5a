//! Swaps: done when they are stable, or declined by what a read of its own finds.

use bts_core::client::{Outcome, SwapWith};
use bts_core::content::Put;
use bts_core::ids::EntryId;
use bts_core::message::{ClientBody, ReadMode, ReplyBody, Since};

use crate::absent::{answer, round_2};
use crate::desk::{Desk, by_hash, empty, in_full, named, tuple};

/// A worker that swaps one tuple again and again begins with its Take: who applied the swap holds what it put.
#[test]
fn swap_r43c_goes_on_with_its_own_put() {
    let mut desk = Desk::new(4, 1);
    let next = || Some(Box::new(|_: &_| Some(vec![Put::from(tuple(2))])) as SwapWith);
    desk.take(true, next());
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    (0..3).for_each(|replica| desk.reply(replica, request, named(vec![in_full(&entry)])));
    assert_eq!(swap_all_agree(&mut desk), entry.id);
    desk.take(true, next());
    let put = swap_all_agree(&mut desk);
    assert_eq!(Some(put), entry.id.put(0));
}

/// All replicas vote for the Take that was just sent, and apply it; the entry that it takes.
fn swap_all_agree(desk: &mut Desk) -> EntryId {
    let (request, take, _) = desk.take_request();
    for replica in 0..4 {
        let vote = desk.first_vote(replica, &take);
        desk.reply(replica, request, vote);
    }
    let request = desk.sent()[0].request;
    let (id, op) = (take.payload.id.clone(), take.op);
    for replica in 0..3 {
        let id = id.clone();
        desk.reply(replica, request, ReplyBody::Applied { id, op });
    }
    assert!(matches!(desk.outcome(), Outcome::Swapped { .. }));
    desk.sent();
    id
}

#[test]
fn swap_is_done_when_q_applied_it() {
    let mut desk = Desk::new(4, 1);
    desk.take(true, Some(Box::new(|_| Some(vec![Put::from(tuple(2))]))));
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![by_hash(&entry)]));
    }
    let sent = desk.sent();
    assert!(
        matches!(sent[0].body, ClientBody::Fetch(_)),
        "no full answer"
    );
    assert_eq!(sent.len(), 1, "one of those that report it is asked");
    desk.reply(3, request, named(vec![in_full(&entry)]));
    let (request, take, _) = desk.take_request();
    for replica in 0..4 {
        let vote = desk.first_vote(replica, &take);
        desk.reply(replica, request, vote);
    }
    desk.assert_pending();
    let asked = desk.sent();
    let request = asked[0].request;
    assert!(
        asked
            .iter()
            .all(|sent| matches!(sent.body, ClientBody::Decide { applied: true, .. }))
    );
    let applied = ReplyBody::Applied {
        id: entry.id.clone(),
        op: take.op,
    };
    for replica in [3, 3, 1, 2] {
        desk.assert_pending();
        desk.reply(replica, request, applied.clone());
    }
    let put = entry.id.put(0).expect("a short path");
    assert!(
        matches!(desk.outcome(), Outcome::Swapped { taken, put: puts } if taken.id == entry.id && puts == [put])
    );
}

/// A swap's function that declines: the tuple is returned as an `rdp` would, by rule 2 on replies
/// that are synced.
#[test]
fn swap_declined_is_a_read_of_its_own() {
    let mut desk = Desk::new(4, 1);
    desk.take(false, Some(Box::new(|_| None)));
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    desk.assert_pending();
    let (request, read) = desk.read_request();
    assert_eq!(read.mode, ReadMode::Rdp);
    assert!(read.template.matches(&entry.tuple));
    for replica in 0..3 {
        desk.assert_pending();
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    assert!(matches!(desk.outcome(), Outcome::Declined(found) if found.id == entry.id));
}

/// The declined tuple is gone when it is looked at again: the swap begins anew.
#[test]
fn swap_declined_tuple_that_is_gone_is_looked_for_anew() {
    let mut desk = Desk::new(4, 1);
    let entry = desk.entry(1);
    let (enter, request) = desk.declining(&entry);
    for replica in 0..3 {
        desk.reply(replica, request, empty(1));
    }
    for asked in round_2(&mut desk) {
        answer(&mut desk, &asked, Since::Yes);
    }
    desk.assert_pending();
    let (again, read) = desk.read_request();
    assert_eq!((again, read.mode), (enter, ReadMode::Enter));
}

/// Puts that no replica would accept are refused before anything is signed.
#[test]
fn swap_malformed_puts_end_it() {
    let mut desk = Desk::new(4, 1);
    let many: SwapWith = Box::new(|_| Some(vec![Put::from(tuple(1)); 17]));
    desk.take(false, Some(many));
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    assert!(matches!(desk.outcome(), Outcome::Malformed(_)));
    assert!(
        desk.sent_of(|body| matches!(body, ClientBody::Take(_)).then_some(()))
            .is_empty()
    );
}

//! `inp`, `in` and swaps: one engagement after the other until one is won (R-4.3b), and a swap that
//! is done when it is stable.

use bts_core::client::{Input, Outcome};
use bts_core::content::Put;
use bts_core::ids::{ReplicaId, RequestId};
use bts_core::message::{ClientBody, ReadMode, ReplyBody};

use crate::desk::{Desk, Entry, SignedTake, by_hash, in_full, named, tuple};

/// An `inp` that has engaged its only candidate, which all replicas report.
fn engaged(desk: &mut Desk) -> (Entry, RequestId, SignedTake) {
    desk.take(false, None);
    let (request, read) = desk.read_request();
    assert_eq!(read.mode, ReadMode::Enter);
    let entry = desk.entry(1);
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    let (request, take, _) = desk.take_request();
    assert_eq!(take.payload.id, entry.id);
    (entry, request, take)
}

fn decides(desk: &mut Desk, wanted: bool) -> usize {
    desk.sent_of(|body| match body {
        ClientBody::Decide { applied, .. } if *applied == wanted => Some(()),
        _ => None,
    })
    .len()
}

#[test]
fn take_f_equal_first_votes_decide() {
    let mut desk = Desk::new(4, 1);
    let (entry, request, take) = engaged(&mut desk);
    for replica in 0..3 {
        let vote = desk.first_vote(replica, &take);
        desk.reply(replica, request, vote);
        desk.assert_pending();
    }
    let vote = desk.first_vote(3, &take);
    desk.reply(3, request, vote);
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == entry.id));
    assert_eq!(decides(&mut desk, false), 4, "the decision is spread");
    assert!(desk.client.is_idle());
}

#[test]
fn take_q_votes_become_a_lock_when_the_others_are_late() {
    let mut desk = Desk::new(4, 1);
    let (_, request, take) = engaged(&mut desk);
    for replica in 0..3 {
        let vote = desk.first_vote(replica, &take);
        desk.reply(replica, request, vote);
    }
    let locks = |desk: &mut Desk| {
        desk.sent_of(|body| match body {
            ClientBody::Lock(lock) => Some(lock.clone()),
            _ => None,
        })
    };
    assert!(locks(&mut desk).is_empty(), "F may still come");
    desk.pass_ms(25);
    let sent = locks(&mut desk);
    assert_eq!(sent.len(), 4);
    for replica in 1..4 {
        desk.assert_pending();
        let vote = desk.commit_vote(replica, &sent[0].2.certificate);
        desk.reply(replica, sent[0].1, vote);
    }
    assert!(matches!(desk.outcome(), Outcome::Found(_)));
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
    desk.input(Input::Connected(ReplicaId(0)));
}

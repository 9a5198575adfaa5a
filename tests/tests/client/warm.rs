//! A worker that loops (R-4.3c): candidates for the next take come along with this one, so that it
//! begins with its Take. They are good for Takes only, and for no longer than a reservation.

use bts_core::client::Outcome;
use bts_core::ids::RequestId;
use bts_core::message::{ClientBody, ReadMode, ReadRequest, Removal, ReplyBody};

use crate::desk::{Desk, Entry, SignedTake, empty, in_full, named, status};

#[test]
fn take_r43c_looping_worker_takes_in_one_round_trip() {
    let (mut desk, next) = looping();
    desk.take(false, None);
    let (request, take, _) = desk.take_request();
    assert_eq!(
        take.payload.id, next.id,
        "no question comes before the Take"
    );
    win(&mut desk, request, &take);
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == next.id));
}

#[test]
fn take_r43c_first_take_asks_for_nothing_ahead() {
    let mut desk = Desk::new(4, 1);
    desk.take(false, None);
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    (0..4).for_each(|replica| desk.reply(replica, request, named(vec![in_full(&entry)])));
    assert!(
        reads(&mut desk).is_empty(),
        "who takes one entry only wants one"
    );
}

#[test]
fn take_r43c_old_candidates_are_not_tried() {
    let (mut desk, _) = looping();
    desk.pass_ms(50);
    desk.take(false, None);
    let (_, read) = desk.read_request();
    assert_eq!(read.mode, ReadMode::Enter);
}

#[test]
fn take_r43c_candidate_that_is_gone_proves_nothing() {
    let (mut desk, next) = looping();
    desk.take(false, None);
    let (request, _, _) = desk.take_request();
    let rival = desk.rival(&next, 0, 1, Vec::new());
    for replica in 0..4 {
        let removal = Removal::Decision(Box::new(desk.decision(&rival)));
        let body = ReplyBody::Removed {
            id: next.id.clone(),
            removal,
        };
        desk.reply(replica, request, body);
    }
    desk.assert_pending();
    let (request, read) = reads(&mut desk)
        .pop()
        .expect("None rests on replies of its own");
    assert_eq!(read.mode, ReadMode::Enter);
    (0..3).for_each(|replica| desk.reply(replica, request, empty(1)));
    desk.assert_pending();
}

#[test]
fn take_r43c_entry_that_was_just_taken_is_no_candidate() {
    let mut desk = Desk::new(4, 1);
    first_take(&mut desk);
    let entry = desk.entry(2);
    let (request, take, ahead) = second_take(&mut desk, &entry);
    (0..4).for_each(|replica| desk.reply(replica, ahead, named(vec![in_full(&entry)])));
    win(&mut desk, request, &take);
    desk.outcome();
    desk.sent();
    desk.take(false, None);
    desk.read_request();
}

#[test]
fn take_r43c_contested_candidate_is_no_head_start() {
    let mut desk = Desk::new(4, 1);
    first_take(&mut desk);
    let (second, third) = (desk.entry(2), desk.entry(3));
    let (request, take, ahead) = second_take(&mut desk, &second);
    let rival = desk.rival(&third, 0, 1, Vec::new());
    for replica in 0..4 {
        let mut candidate = in_full(&third);
        candidate.status.first = Some(rival.op);
        desk.reply(replica, ahead, named(vec![candidate]));
    }
    win(&mut desk, request, &take);
    desk.outcome();
    desk.sent();
    desk.take(false, None);
    desk.read_request();
}

/// A client that has taken two entries in a row, and what it was told to take next.
fn looping() -> (Desk, Entry) {
    let mut desk = Desk::new(4, 1);
    first_take(&mut desk);
    let (second, third) = (desk.entry(2), desk.entry(3));
    let (request, take, ahead) = second_take(&mut desk, &second);
    let mut last = in_full(&second);
    last.status = status(&second);
    last.status.first = Some(take.op);
    for replica in 0..4 {
        desk.reply(replica, ahead, named(vec![in_full(&third), last.clone()]));
    }
    win(&mut desk, request, &take);
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == second.id));
    desk.sent();
    (desk, third)
}

fn first_take(desk: &mut Desk) {
    desk.take(false, None);
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    (0..4).for_each(|replica| desk.reply(replica, request, named(vec![in_full(&entry)])));
    let (request, take, _) = desk.take_request();
    win(desk, request, &take);
    desk.outcome();
    desk.sent();
}

/// The Take of a second entry, and the question for a third that goes behind it.
fn second_take(desk: &mut Desk, entry: &Entry) -> (RequestId, SignedTake, RequestId) {
    desk.take(false, None);
    let (request, _) = desk.read_request();
    (0..3).for_each(|replica| desk.reply(replica, request, named(vec![in_full(entry)])));
    let sent = desk.sent();
    let is_read = |body: &ClientBody| matches!(body, ClientBody::Read(_));
    let to_first: Vec<_> = sent.iter().filter(|sent| sent.to == 0).collect();
    let (take, ahead) = match to_first.as_slice() {
        [take, ahead] if is_read(&ahead.body) => (take, ahead.request),
        other => panic!("a Take and a question behind it, not {other:?}"),
    };
    let ClientBody::Take(request) = &take.body else {
        panic!("a Take comes first, not {take:?}");
    };
    (take.request, desk.known_take(&request.take), ahead)
}

fn win(desk: &mut Desk, request: RequestId, take: &SignedTake) {
    for replica in 0..4 {
        let vote = desk.first_vote(replica, take);
        desk.reply(replica, request, vote);
    }
}

fn reads(desk: &mut Desk) -> Vec<(RequestId, ReadRequest)> {
    let read = |body: &ClientBody| match body {
        ClientBody::Read(read) => Some(read.clone()),
        _ => None,
    };
    let sent = desk.sent_of(read);
    sent.into_iter()
        .map(|(_, request, read)| (request, read))
        .collect()
}

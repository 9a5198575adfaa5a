//! A worker that loops (R-4.3c): candidates for the next take come along with this one, so that it
//! begins with its Take. They are good for Takes only, and for no longer than a reservation.

use bts_core::client::{Op, Outcome};
use bts_core::ids::RequestId;
use bts_core::message::{ClientBody, ReadMode, ReadRequest, Removal, ReplyBody};
use bts_core::template::Template;

use crate::desk::{Desk, Entry, SignedTake, empty, in_full, named, space, status, tuple};

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
    desk.pass_ms(600);
    desk.take(false, None);
    let (_, read) = desk.read_request();
    assert_eq!(read.mode, ReadMode::Enter);
}

/// Where a take takes long, so does using up what lies ready.
#[test]
fn take_r43c_candidates_last_as_long_as_it_takes_to_take_them() {
    let mut desk = Desk::new(4, 1);
    desk.answered_late();
    let next = loops(&mut desk);
    desk.pass_ms(900);
    desk.take(false, None);
    let (_, take, _) = desk.take_request();
    assert_eq!(take.payload.id, next.id);
}

/// Many workers of one client, each with a queue of its own.
#[test]
fn take_r43c_every_template_has_its_shelf() {
    let mut desk = Desk::new(4, 1);
    let take_of = |desk: &mut Desk, queue: u64| {
        desk.invoke(Op::Take {
            space: space(),
            template: Template::from(tuple(queue)),
            wait: false,
            with: None,
        });
    };
    for queue in 0..200 {
        take_of(&mut desk, queue);
        let (request, _) = desk.read_request();
        let entries = [0, 1].map(|nth| desk.entry_of(2 * queue + nth, tuple(queue)));
        for replica in 0..4 {
            desk.reply(
                replica,
                request,
                named(entries.iter().map(in_full).collect()),
            );
        }
        let (request, take, _) = desk.take_request();
        win(&mut desk, request, &take);
        desk.outcome();
        desk.sent();
    }
    for queue in 0..200 {
        take_of(&mut desk, queue);
        desk.take_request();
        desk.sent();
    }
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
    let entry = first_take(&mut desk);
    let (request, take, ahead) = second_take(&mut desk);
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
    let third = desk.entry(3);
    let (request, take, ahead) = second_take(&mut desk);
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

/// Takes of what lay ready succeed: the next question is for twice as many, and none goes out while there are
/// enough.
#[test]
fn take_r43c_one_question_serves_several_takes() {
    let (mut desk, _) = looping();
    assert_eq!(take_of_shelf(&mut desk, 4..=5), Some(2), "one was good");
    assert_eq!(take_of_shelf(&mut desk, 5..=8), Some(4), "one lies ready");
    assert_eq!(take_of_shelf(&mut desk, 0..=0), None, "three do");
    assert_eq!(take_of_shelf(&mut desk, 9..=20), Some(16));
}

/// Where replicas name nothing more, nobody asks ahead: not in a hand-off, nor who swaps one tuple.
#[test]
fn take_r43c_dry_queue_is_not_asked_ahead() {
    let (mut desk, _) = looping();
    assert_eq!(
        take_of_shelf(&mut desk, 3..=3),
        Some(2),
        "nothing but what is taken"
    );
    desk.take(false, None);
    let (request, _) = desk.read_request();
    let entry = desk.entry(7);
    (0..4).for_each(|replica| desk.reply(replica, request, named(vec![in_full(&entry)])));
    let (request, take, _) = desk.take_request();
    assert!(reads(&mut desk).is_empty());
    win(&mut desk, request, &take);
}

/// Where others take from the same entries, what lies ready spoils: back to one at a time.
#[test]
fn take_r43c_lost_candidate_empties_the_shelf() {
    let (mut desk, _) = looping();
    take_of_shelf(&mut desk, 4..=6);
    desk.take(false, None);
    let (request, take, _) = desk.take_request();
    let lost = desk.entry(4);
    assert_eq!(take.payload.id, lost.id);
    let rival = desk.rival(&lost, 0, 1, Vec::new());
    let removal = Removal::Decision(Box::new(desk.decision(&rival)));
    let id = lost.id;
    desk.reply(0, request, ReplyBody::Removed { id, removal });
    desk.assert_pending();
    desk.sent();
    desk.take(false, None);
    desk.read_request();
}

/// Operations of one client do not fight for one entry: who comes second waits for the first, without helping
/// against it, and goes on when that is over.
#[test]
fn take_r43_siblings_keep_out_of_each_others_way() {
    let mut desk = Desk::new(4, 1);
    let (one, two) = (desk.entry(1), desk.entry(2));
    desk.take(false, None);
    let (request, _) = desk.read_request();
    (0..4).for_each(|replica| desk.reply(replica, request, named(vec![in_full(&one)])));
    let (engaged, take, _) = desk.take_request();
    desk.take(false, None);
    let (request, _) = desk.read_request();
    for replica in 0..4 {
        let mut contested = in_full(&one);
        contested.status.first = Some(take.op);
        desk.reply(replica, request, named(vec![contested]));
    }
    desk.pass_ms(40);
    let fights = desk.sent_of(|body| match body {
        ClientBody::Take(_) | ClientBody::Evidence(_) | ClientBody::Fetch(_) => Some(()),
        _ => None,
    });
    assert_eq!(fights, []);
    win(&mut desk, engaged, &take);
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == one.id));
    // A replica that has not heard of it names it once more; that is not tried.
    let named_both = || named(vec![in_full(&one), in_full(&two)]);
    desk.sent();
    (0..3).for_each(|replica| desk.reply(replica, request, named_both()));
    let (_, take, _) = desk.take_request();
    assert_eq!(take.payload.id, two.id);
}

/// Who waits for a sibling that loses goes on as well.
#[test]
fn take_r43_sibling_that_loses_makes_room() {
    let mut desk = Desk::new(4, 1);
    let one = desk.entry(1);
    desk.take(false, None);
    let (request, _) = desk.read_request();
    (0..4).for_each(|replica| desk.reply(replica, request, named(vec![in_full(&one)])));
    let (engaged, take, _) = desk.take_request();
    desk.take(false, None);
    let (request, _) = desk.read_request();
    (0..4).for_each(|replica| desk.reply(replica, request, named(vec![in_full(&one)])));
    assert!(desk.sent().is_empty(), "it waits");
    let certificate = desk.release(&one.id, 0);
    let id = one.id;
    desk.reply(0, engaged, ReplyBody::Released { id, certificate });
    let (_, again, _) = desk.take_request();
    assert_eq!(again.payload.id, take.payload.id);
}

/// Takes what lies ready. If a question goes behind the Take all replicas name these entries; how many it was for.
fn take_of_shelf(desk: &mut Desk, seqs: std::ops::RangeInclusive<u64>) -> Option<u8> {
    desk.take(false, None);
    let to_first = desk.sent().into_iter().filter(|sent| sent.to == 0);
    let (mut take, mut ahead) = (None, None);
    for sent in to_first {
        match sent.body {
            ClientBody::Take(request) => take = Some((sent.request, request)),
            ClientBody::Read(read) => ahead = Some((sent.request, read.candidates)),
            other => panic!("a Take and perhaps a question, not {other:?}"),
        }
    }
    let (request, take) = take.expect("a Take comes at once");
    if let Some((ahead, _)) = ahead {
        let entries: Vec<_> = seqs.map(|seq| desk.entry(seq)).collect();
        for replica in 0..4 {
            let candidates = entries.iter().map(in_full).collect();
            desk.reply(replica, ahead, named(candidates));
        }
    }
    let take = desk.known_take(&take.take);
    win(desk, request, &take);
    desk.outcome();
    desk.sent();
    ahead.map(|(_, count)| count)
}

/// A client that has taken two entries in a row, and what it was told to take next.
fn looping() -> (Desk, Entry) {
    let mut desk = Desk::new(4, 1);
    let next = loops(&mut desk);
    (desk, next)
}

/// Has it take two entries in a row; what it is told to take next.
fn loops(desk: &mut Desk) -> Entry {
    let (second, third) = (first_take(desk), desk.entry(3));
    let (request, take, ahead) = second_take(desk);
    let mut last = in_full(&second);
    last.status = status(&second);
    last.status.first = Some(take.op);
    for replica in 0..4 {
        desk.reply(replica, ahead, named(vec![in_full(&third), last.clone()]));
    }
    win(desk, request, &take);
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == second.id));
    desk.sent();
    third
}

/// A take; the other entry that replicas named.
fn first_take(desk: &mut Desk) -> Entry {
    desk.take(false, None);
    let (request, _) = desk.read_request();
    let (one, two) = (desk.entry(1), desk.entry(2));
    let both = || named(vec![in_full(&one), in_full(&two)]);
    (0..4).for_each(|replica| desk.reply(replica, request, both()));
    let (request, take, _) = desk.take_request();
    win(desk, request, &take);
    desk.outcome();
    desk.sent();
    if take.payload.id == one.id { two } else { one }
}

/// The Take of the second entry, which the first question named as well, and the question for a third that goes
/// behind it.
fn second_take(desk: &mut Desk) -> (RequestId, SignedTake, RequestId) {
    desk.take(false, None);
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

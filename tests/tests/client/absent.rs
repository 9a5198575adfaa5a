//! The proof of None (R-4.2d, R-4.2e).

use bts_core::client::{Input, Outcome};
use bts_core::content::Put;
use bts_core::ids::{OpId, ReplicaId, RequestId, WatchId};
use bts_core::message::{ClientBody, ReadMode, ReplyBody, Since};

use crate::desk::{Desk, SignedTake, empty, empty_but_for, in_full, is_read, named, tuple};

pub(crate) struct Round2 {
    to: u16,
    request: RequestId,
    watch: WatchId,
    nonce: u64,
    stable: Vec<OpId>,
}

pub(crate) fn round_2(desk: &mut Desk) -> Vec<Round2> {
    let sent = desk.sent_of(|body| match body {
        ClientBody::StillEmpty {
            watch,
            nonce,
            stable,
        } => Some((*watch, *nonce, stable.clone())),
        _ => None,
    });
    sent.into_iter()
        .map(|(to, request, (watch, nonce, stable))| Round2 {
            to,
            request,
            watch,
            nonce,
            stable,
        })
        .collect()
}

pub(crate) fn answer(desk: &mut Desk, asked: &Round2, since: Since) {
    let body = ReplyBody::EmptySince {
        nonce: asked.nonce,
        watch: asked.watch,
        since,
        moved: Vec::new(),
    };
    desk.reply(asked.to, asked.request, body);
}

fn to(sent: &[Round2]) -> Vec<u16> {
    sent.iter().map(|round| round.to).collect()
}

fn swapped(desk: &Desk) -> SignedTake {
    let puts = vec![Put::from(tuple(2))];
    desk.rival(&desk.entry(1), 0, 1, puts)
}

#[test]
fn none_takes_q_answers_to_round_2() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    for replica in 0..3 {
        assert!(round_2(&mut desk).is_empty(), "round 2 needs q empties");
        desk.reply(replica, request, empty(u64::from(replica)));
    }
    let sent = round_2(&mut desk);
    assert_eq!(to(&sent), [0, 1, 2]);
    answer(&mut desk, &sent[0], Since::Yes);
    answer(&mut desk, &sent[0], Since::Yes);
    answer(&mut desk, &sent[1], Since::Yes);
    desk.assert_pending();
    answer(&mut desk, &sent[2], Since::Yes);
    assert_eq!(desk.outcome(), Outcome::None);
}

/// s2's "empty" comes after round 2 was sent: it does not count in that sending, since there would
/// be no instant at which all three were empty.
#[test]
fn none_b4_iii_late_empty_counts_in_a_new_sending_only() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    for replica in [0, 1, 3] {
        desk.reply(replica, request, empty(1));
    }
    let first = round_2(&mut desk);
    answer(&mut desk, &first[0], Since::Yes);
    answer(&mut desk, &first[1], Since::Yes);
    desk.reply(2, request, empty(1));
    desk.pass_ms(5);
    let late = Round2 {
        to: 2,
        request: first[0].request,
        watch: WatchId(1),
        nonce: first[0].nonce,
        stable: Vec::new(),
    };
    answer(&mut desk, &late, Since::Yes);
    desk.assert_pending();

    let second = round_2(&mut desk);
    assert_eq!(
        to(&second),
        [0, 1, 2, 3],
        "a silent s3 does not stop the proof"
    );
    assert_ne!(second[0].nonce, first[0].nonce);
    for asked in &second[..3] {
        desk.assert_pending();
        answer(&mut desk, asked, Since::Yes);
    }
    assert_eq!(desk.outcome(), Outcome::None);
}

/// An answer that names the watch of an earlier reading says nothing about this one.
#[test]
fn none_b4_answers_to_another_nonce_or_watch_do_not_count() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    for replica in 0..3 {
        desk.reply(replica, request, empty(5));
    }
    let sent = round_2(&mut desk);
    answer(&mut desk, &sent[0], Since::Yes);
    answer(&mut desk, &sent[1], Since::Yes);
    for (watch, nonce) in [(4, sent[2].nonce), (5, sent[2].nonce + 1)] {
        let body = ReplyBody::EmptySince {
            nonce,
            watch: WatchId(watch),
            since: Since::Yes,
            moved: Vec::new(),
        };
        desk.reply(2, sent[2].request, body);
    }
    desk.assert_pending();
}

#[test]
fn none_b4_iv_lost_watch_is_read_anew() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    for replica in 0..3 {
        desk.reply(replica, request, empty(1));
    }
    let sent = round_2(&mut desk);
    answer(&mut desk, &sent[0], Since::Yes);
    answer(&mut desk, &sent[1], Since::NoSuchWatch);
    answer(&mut desk, &sent[2], Since::Yes);
    desk.assert_pending();
    let again = desk.sent();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].to, again[0].request), (1, request));
    assert!(is_read(&again[0].body, ReadMode::Rdp));
    desk.reply(1, request, empty(2));
    desk.pass_ms(5);
    let second = round_2(&mut desk);
    assert_eq!(to(&second), [0, 1, 2]);
    second
        .iter()
        .for_each(|asked| answer(&mut desk, asked, Since::Yes));
    assert_eq!(desk.outcome(), Outcome::None);
}

/// What the others report does not matter: s3 names an old entry, three are empty.
#[test]
fn none_b4_i_is_independent_of_what_is_reported() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let junk = desk.entry(1);
    desk.reply(3, request, named(vec![in_full(&junk)]));
    for replica in 0..3 {
        desk.reply(replica, request, empty(1));
    }
    let sent = round_2(&mut desk);
    assert_eq!(to(&sent), [0, 1, 2]);
    sent.iter()
        .for_each(|asked| answer(&mut desk, asked, Since::Yes));
    assert_eq!(desk.outcome(), Outcome::None);
}

/// s0 applied a swap, the others never had what it took. If None were returned before the swap is
/// stable, the next reader would find neither half: round 2 is sent only when `q` applied it.
#[test]
fn none_a1_round_2_is_sent_after_q_applied() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let swap = swapped(&desk);
    let moved = vec![desk.decision(&swap)];
    desk.reply(0, request, empty_but_for(1, moved));
    desk.reply(2, request, empty(1));
    desk.reply(3, request, empty(1));
    let decides = desk.sent_of(|body| match body {
        ClientBody::Decide { decision, applied } => Some((decision.clone(), *applied)),
        ClientBody::StillEmpty { .. } => panic!("round 2 before the swap is stable"),
        _ => None,
    });
    assert_eq!(decides.len(), 4, "the decision goes to all");
    assert!(decides.iter().all(|(_, _, (_, applied))| *applied));
    let applied = ReplyBody::Applied {
        id: swap.payload.id.clone(),
        op: swap.op,
    };
    for replica in [0, 0, 3] {
        desk.reply(replica, decides[0].1, applied.clone());
        desk.pass_ms(1);
        assert!(round_2(&mut desk).is_empty());
    }
    desk.reply(1, decides[0].1, applied);
    desk.pass_ms(5);
    let sent = round_2(&mut desk);
    assert_eq!(to(&sent), [0, 2, 3]);
    assert!(
        sent.iter().all(|round| round.stable == [swap.op]),
        "stable decisions are named"
    );
    sent.iter()
        .for_each(|asked| answer(&mut desk, asked, Since::Yes));
    assert_eq!(desk.outcome(), Outcome::None);
}

/// "Empty since, but for D" of a decision not named stable does not count in this sending.
#[test]
fn none_c4_moved_in_round_2_takes_another_sending() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    for replica in 0..3 {
        desk.reply(replica, request, empty(1));
    }
    let sent = round_2(&mut desk);
    answer(&mut desk, &sent[1], Since::Yes);
    answer(&mut desk, &sent[2], Since::Yes);
    let swap = swapped(&desk);
    let body = ReplyBody::EmptySince {
        nonce: sent[0].nonce,
        watch: sent[0].watch,
        since: Since::Yes,
        moved: vec![desk.decision(&swap)],
    };
    desk.reply(0, sent[0].request, body);
    desk.assert_pending();
    let decides = desk.sent();
    assert!(
        decides
            .iter()
            .all(|sent| matches!(sent.body, ClientBody::Decide { applied: true, .. }))
    );
    for replica in 0..3 {
        let applied = ReplyBody::Applied {
            id: swap.payload.id.clone(),
            op: swap.op,
        };
        desk.reply(replica, decides[0].request, applied);
    }
    desk.assert_pending();
    desk.pass_ms(5);
    let second = round_2(&mut desk);
    assert_eq!(to(&second), [0, 1, 2]);
    second
        .iter()
        .for_each(|asked| answer(&mut desk, asked, Since::Yes));
    assert_eq!(desk.outcome(), Outcome::None);
}

/// A swap declined what it found. While it looked at that once more a late answer to its search named a decision,
/// and all replicas applied it: the new search must not wait for answers that have come.
#[test]
fn none_a1_after_a_declined_tuple_decisions_become_stable_anew() {
    let mut desk = Desk::new(4, 1);
    let entry = desk.entry(1);
    let (enter, again) = desk.declining(&entry);
    let swap = swapped(&desk);
    let decision = desk.decision(&swap);
    let apply = |desk: &mut Desk, watch| {
        desk.reply(3, enter, empty_but_for(watch, vec![decision.clone()]));
        let is_asked = |body: &ClientBody| matches!(body, ClientBody::Decide { applied: true, .. });
        let asked = desk.sent_of(|body| is_asked(body).then_some(()));
        for (replica, request, ()) in asked {
            let (id, op) = (swap.payload.id.clone(), swap.op);
            desk.reply(replica, request, ReplyBody::Applied { id, op });
        }
    };
    apply(&mut desk, 1);
    (0..3).for_each(|replica| desk.reply(replica, again, empty(1)));
    let asked = round_2(&mut desk);
    asked
        .iter()
        .for_each(|asked| answer(&mut desk, asked, Since::Yes));
    desk.assert_pending();
    assert_eq!(desk.read_request().0, enter, "it searches anew");
    apply(&mut desk, 2);
    for replica in 0..2 {
        let late = empty_but_for(2, vec![decision.clone()]);
        desk.reply(replica, enter, late);
    }
    desk.pass_ms(5);
    let asked = round_2(&mut desk);
    assert_eq!(to(&asked), [0, 1, 3]);
    asked
        .iter()
        .for_each(|asked| answer(&mut desk, asked, Since::Yes));
    assert_eq!(desk.outcome(), Outcome::None);
}

/// A decision that nobody made makes the whole answer worthless.
#[test]
fn none_forged_moved_decision_is_no_answer() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let swap = swapped(&desk);
    let mut forged = desk.decision(&swap);
    forged.certificate.votes.pop();
    desk.reply(3, request, empty_but_for(1, vec![forged]));
    desk.reply(0, request, empty(1));
    desk.reply(1, request, empty(1));
    assert!(round_2(&mut desk).is_empty());
    assert_eq!(desk.events.len(), 1);
    assert_eq!(desk.events[0].0, ReplicaId(3));
}

/// The watch of a connection that ended may be gone; the replica says so, and is asked anew.
#[test]
fn none_survives_a_reconnect() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    desk.reply(0, request, empty(1));
    desk.reply(1, request, empty(1));
    desk.input(Input::Disconnected(ReplicaId(2)));
    desk.input(Input::Connected(ReplicaId(2)));
    let again = desk.sent();
    assert_eq!(
        again.len(),
        1,
        "the unanswered read is sent on the new connection"
    );
    desk.reply(2, request, empty(9));
    assert_eq!(to(&round_2(&mut desk)), [0, 1, 2]);
}

//! `inp` and `in`: one engagement after the other until one is won (R-4.3b).

use bts_core::client::Outcome;
use bts_core::content::Content;
use bts_core::ids::{Epoch, ReplicaId, RequestId, TakeNumber};
use bts_core::message::{
    ClientBody, FetchKey, Given, LockRequest, ReadMode, Refused, Removal, ReplyBody,
};

use crate::desk::{Desk, Entry, SignedTake, by_hash, empty, in_full, named, status, voted};

/// An `inp` that has engaged its only candidate, which all replicas report.
fn engaged(desk: &mut Desk) -> (Entry, RequestId, SignedTake) {
    engaged_in(desk, 1)
}

/// The same for the entry of this number.
pub(crate) fn engaged_in(desk: &mut Desk, seq: u64) -> (Entry, RequestId, SignedTake) {
    desk.take(false, None);
    let (request, read) = desk.read_request();
    assert_eq!(read.mode, ReadMode::Enter);
    let entry = desk.entry(seq);
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    let (request, take, _) = desk.take_request();
    assert_eq!(take.payload.id, entry.id);
    (entry, request, take)
}

/// The contents that were sent with Takes since the last call, also with those shown as evidence.
fn contents_sent(desk: &mut Desk) -> Vec<(u16, RequestId, Option<Content>)> {
    desk.sent_of(|body| match body {
        ClientBody::Take(request) | ClientBody::Evidence(request) => Some(request.content.clone()),
        _ => None,
    })
}

fn decides(desk: &mut Desk, wanted: bool) -> usize {
    desk.sent_of(|body| match body {
        ClientBody::Decide { applied, .. } if *applied == wanted => Some(()),
        _ => None,
    })
    .len()
}

pub(crate) fn locks(desk: &mut Desk) -> Vec<(u16, RequestId, LockRequest)> {
    desk.sent_of(|body| match body {
        ClientBody::Lock(lock) => Some(lock.clone()),
        _ => None,
    })
}

pub(crate) fn first_votes(desk: &mut Desk, request: RequestId, take: &SignedTake, from: &[u16]) {
    for replica in from {
        let vote = desk.first_vote(*replica, take);
        desk.reply(*replica, request, vote);
    }
}

fn contended(desk: &Desk, entry: &Entry, lock: Option<&SignedTake>) -> ReplyBody {
    let mut status = status(entry);
    status.first = lock.map(|take| take.op);
    status.lock = lock.map(|take| desk.lock(take));
    ReplyBody::Contended {
        id: entry.id.clone(),
        status,
    }
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

/// An answer to *Enter* may leave before what it names is stored (A9): all who named the entry lost it
/// in a crash, and the client waited for ever for votes of replicas that told it what they lacked.
/// Whoever says so is sent the content, once.
#[test]
fn take_a9_content_is_sent_to_who_named_it_and_lost_it() {
    let mut desk = Desk::new(4, 1);
    let (entry, request, take) = engaged(&mut desk);
    let lost = FetchKey::Content(entry.id.clone(), entry.hash);
    for replica in 0..3 {
        desk.reply(replica, request, ReplyBody::NotHeld(lost.clone()));
        let sent = contents_sent(&mut desk);
        assert_eq!(sent, [(replica, request, Some(entry.content.clone()))]);
    }
    desk.reply(0, request, ReplyBody::NotHeld(lost));
    assert_eq!(contents_sent(&mut desk), [], "it has been told");
    let other = FetchKey::Content(desk.entry(2).id, entry.hash);
    desk.reply(3, request, ReplyBody::NotHeld(other));
    assert_eq!(contents_sent(&mut desk), [], "nobody asked for that");
    first_votes(&mut desk, request, &take, &[0, 1, 2, 3]);
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == entry.id));
}

/// The same when it turns out only as the Take is shown as evidence.
#[test]
fn take_a9_content_is_sent_with_evidence_too() {
    let mut desk = Desk::new(4, 1);
    let (entry, _, _) = engaged(&mut desk);
    desk.pass_ms(200);
    let shown = contents_sent(&mut desk);
    let (to, evidence, content) = shown.last().expect("shown to all").clone();
    assert_eq!((to, &content), (3, &Some(entry.content.clone())));
    let lost = FetchKey::Content(entry.id.clone(), entry.hash);
    desk.reply(0, evidence, ReplyBody::NotHeld(lost));
    assert_eq!(contents_sent(&mut desk), [(0, evidence, content)]);
}

/// What is only slow is not asked for more work. What somebody else is in the way of, all are soon shown.
#[test]
fn take_undisputed_is_not_shown_early() {
    for (disputed, after_ms) in [(false, 200), (true, 50)] {
        let mut desk = Desk::new(4, 1);
        let (entry, request, _) = engaged(&mut desk);
        if disputed {
            let other = contended(&desk, &entry, None);
            desk.reply(3, request, other);
        }
        desk.pass_ms(after_ms - 1);
        assert_eq!(contents_sent(&mut desk), [], "{disputed}");
        desk.pass_ms(1);
        assert_eq!(contents_sent(&mut desk).len(), 4, "{disputed}");
    }
}

#[test]
fn take_q_votes_become_a_lock_when_the_others_are_late() {
    let mut desk = Desk::new(4, 1);
    let (_, request, take) = engaged(&mut desk);
    for replica in 0..3 {
        let vote = desk.first_vote(replica, &take);
        desk.reply(replica, request, vote);
    }
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

/// One replica has another vote, so that F = n is out of reach: the lock goes out at once.
#[test]
fn take_b10_lock_at_once_when_f_is_out_of_reach() {
    let mut desk = Desk::new(4, 1);
    let (entry, request, take) = engaged(&mut desk);
    let no = contended(&desk, &entry, None);
    desk.reply(3, request, no);
    first_votes(&mut desk, request, &take, &[0, 1]);
    assert!(locks(&mut desk).is_empty());
    first_votes(&mut desk, request, &take, &[2]);
    assert_eq!(locks(&mut desk).len(), 4);
}

/// F votes decide also if the last of them comes after the lock was sent.
#[test]
fn take_late_first_vote_still_decides() {
    let mut desk = Desk::new(4, 1);
    let (_, request, take) = engaged(&mut desk);
    first_votes(&mut desk, request, &take, &[0, 1, 2]);
    desk.pass_ms(25);
    first_votes(&mut desk, request, &take, &[3]);
    assert!(matches!(desk.outcome(), Outcome::Found(_)));
}

/// Votes in another's name, for another Take, or twice by one replica make no quorum.
#[test]
fn take_forged_first_votes_do_not_count() {
    let mut desk = Desk::new(4, 1);
    let (entry, request, take) = engaged(&mut desk);
    first_votes(&mut desk, request, &take, &[0, 1, 0, 1]);
    let others = desk.first_vote(2, &take);
    desk.reply(3, request, others);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    let for_rival = desk.first_vote(3, &rival);
    desk.reply(3, request, for_rival);
    desk.pass_ms(25);
    assert!(locks(&mut desk).is_empty());
    desk.assert_pending();
    assert_eq!(desk.events.len(), 2);
    assert!(desk.events.iter().all(|(who, _)| *who == ReplicaId(3)));
}

/// Neither time nor silence ends an engagement: the Take may be decided without us knowing. All are
/// shown it again and again.
#[test]
fn take_engaged_client_never_leaves_because_time_passed() {
    let mut desk = Desk::new(4, 1);
    let (_, request, take) = engaged(&mut desk);
    first_votes(&mut desk, request, &take, &[0]);
    desk.pass_ms(3_600_000);
    desk.assert_pending();
    let sent = desk.sent();
    let shown = sent
        .iter()
        .filter(|sent| matches!(sent.body, ClientBody::Evidence(_)));
    assert!(shown.count() > 40);
    assert!(
        !sent
            .iter()
            .any(|sent| matches!(&sent.body, ClientBody::Take(t) if t.take != take.signed)),
        "one engagement at a time"
    );
}

#[test]
fn take_lost_goes_on_with_the_next_candidate() {
    let mut desk = Desk::new(4, 1);
    desk.take(false, None);
    let (request, _) = desk.read_request();
    let (one, other) = (desk.entry(1), desk.entry(2));
    for replica in 0..3 {
        desk.reply(
            replica,
            request,
            named(vec![in_full(&one), in_full(&other)]),
        );
    }
    let (request, first, _) = desk.take_request();
    let (lost, next) = match first.payload.id == one.id {
        true => (one, other),
        false => (other, one),
    };
    let rival = desk.rival(&lost, 0, 1, Vec::new());
    let forged = Removal::Decision(Box::new(bts_core::content::Decision {
        certificate: desk.lock(&rival),
        take: Some(rival.signed.clone()),
    }));
    for (removal, goes_on) in [
        (forged, false),
        (Removal::Unknown, false),
        (Removal::Decision(Box::new(desk.decision(&rival))), true),
    ] {
        let id = lost.id.clone();
        desk.reply(2, request, ReplyBody::Removed { id, removal });
        desk.assert_pending();
        if goes_on {
            let (_, take, _) = desk.take_request();
            assert_eq!(take.payload.id, next.id);
            assert_eq!(
                take.payload.number,
                TakeNumber(1),
                "a number of its own [G4]"
            );
        } else {
            assert!(desk.sent().is_empty());
        }
    }
}

/// Our own decision may be told to us by whoever recovered it.
#[test]
fn take_a5_won_by_the_help_of_others() {
    let mut desk = Desk::new(4, 1);
    let (entry, request, take) = engaged(&mut desk);
    let removed = ReplyBody::Removed {
        id: entry.id.clone(),
        removal: Removal::Decision(Box::new(desk.decision(&take))),
    };
    desk.reply(1, request, removed);
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == entry.id));
}

/// "Forgotten" by one may be a lie; by f+1 it is a fact, and not ours, as we have not settled.
#[test]
fn take_c1_forgotten_counts_at_f_plus_1() {
    let mut desk = Desk::new(4, 1);
    let (entry, request, _) = engaged(&mut desk);
    let forgotten = ReplyBody::Removed {
        id: entry.id,
        removal: Removal::Forgotten,
    };
    desk.reply(3, request, forgotten.clone());
    desk.reply(3, request, forgotten.clone());
    assert!(desk.sent().is_empty());
    desk.reply(1, request, forgotten);
    let told = desk.sent_of(|body| matches!(body, ClientBody::Dropped { .. }).then_some(()));
    assert_eq!(told.len(), 3, "those that report it are told to ask");
}

#[test]
fn take_b3_released_entry_is_taken_in_the_next_epoch() {
    let mut desk = Desk::new(4, 1);
    let (entry, request, _) = engaged(&mut desk);
    let other = desk.entry(2);
    let forged = ReplyBody::Released {
        id: entry.id.clone(),
        certificate: desk.release(&other.id, 0),
    };
    desk.reply(3, request, forged);
    assert!(desk.sent().is_empty());
    let released = ReplyBody::Released {
        id: entry.id.clone(),
        certificate: desk.release(&entry.id, 0),
    };
    desk.reply(1, request, released);
    let (_, take, sent) = desk.take_request();
    assert_eq!(take.payload.epoch, Epoch(1));
    assert!(
        sent.iter()
            .all(|take| take.released == Some(desk.release(&entry.id, 0)))
    );
}

/// A status that proves a later epoch ends the engagement as well.
#[test]
fn take_b3_epoch_in_a_status_is_believed_with_its_proof() {
    let mut desk = Desk::new(4, 1);
    let (entry, request, _) = engaged(&mut desk);
    let mut status = status(&entry);
    status.epoch = Epoch(1);
    let id = entry.id.clone();
    let boast = ReplyBody::Contended {
        id: id.clone(),
        status: status.clone(),
    };
    desk.reply(3, request, boast);
    assert!(desk.sent().is_empty());
    status.released = Some(desk.release(&entry.id, 0));
    desk.reply(1, request, ReplyBody::Contended { id, status });
    assert_eq!(desk.take_request().1.payload.epoch, Epoch(1));
}

/// A lock for another's Take is helped: nobody waits for its client.
#[test]
fn take_r61_lock_of_a_rival_is_finished() {
    let mut desk = Desk::new(4, 1);
    let (entry, request, _) = engaged(&mut desk);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    let no = contended(&desk, &entry, Some(&rival));
    desk.reply(1, request, no);
    let asked = desk.sent_of(|body| match body {
        ClientBody::Fetch(FetchKey::Take(id, op)) => Some((id.clone(), *op)),
        _ => None,
    });
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].0, asked[0].2.1), (1, rival.op));
    let given = ReplyBody::Given(Given::Take(rival.signed.clone()));
    desk.reply(1, asked[0].1, given);
    let sent = locks(&mut desk);
    assert_eq!(sent.len(), 4);
    assert_eq!(sent[0].2.take, rival.signed);
    for replica in 0..3 {
        let vote = desk.commit_vote(replica, &sent[0].2.certificate);
        desk.reply(replica, sent[0].1, vote);
    }
    assert!(decides(&mut desk, false) >= 4, "and told to all");
    desk.assert_pending();
}

/// G6 (i): a client that may read but not take must not be engaged for ever.
#[test]
fn take_g6_forbidden_by_f_plus_1_ends_with_the_reason() {
    let mut desk = Desk::new(4, 1);
    let (_, request, _) = engaged(&mut desk);
    let no = ReplyBody::Refused(Refused::Forbidden("not yours".to_owned()));
    desk.reply(3, request, no.clone());
    desk.reply(3, request, no.clone());
    desk.reply(2, request, ReplyBody::Refused(Refused::Starting));
    desk.assert_pending();
    desk.reply(1, request, no);
    assert!(matches!(
        desk.outcome(),
        Outcome::Refused(Refused::Forbidden(_))
    ));
}

/// One entry is refused, but there is another one: that is taken.
#[test]
fn take_g6_forbidden_entry_is_passed_over() {
    let mut desk = Desk::new(4, 1);
    desk.take(false, None);
    let (request, _) = desk.read_request();
    let (one, other) = (desk.entry(1), desk.entry(2));
    for replica in 0..3 {
        desk.reply(
            replica,
            request,
            named(vec![in_full(&one), in_full(&other)]),
        );
    }
    let (request, first, _) = desk.take_request();
    for replica in 0..2 {
        let no = ReplyBody::Refused(Refused::Forbidden("not yours".to_owned()));
        desk.reply(replica, request, no);
    }
    let (_, second, _) = desk.take_request();
    assert_ne!(second.payload.id, first.payload.id);
}

/// G6 (ii): what fewer than q report is written back before it is taken.
#[test]
fn take_g6_entry_of_fewer_than_q_is_written_back_first() {
    let mut desk = Desk::new(4, 1);
    desk.take(false, None);
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    desk.reply(3, request, named(vec![in_full(&entry)]));
    desk.reply(2, request, named(vec![by_hash(&entry)]));
    desk.reply(0, request, empty(1));
    desk.pass_ms(25);
    let sent = desk.sent();
    assert!(
        !sent
            .iter()
            .any(|sent| matches!(sent.body, ClientBody::Take(_)))
    );
    let asked = sent
        .iter()
        .find(|sent| matches!(sent.body, ClientBody::WriteBack { .. }));
    let asked = asked.expect("it is written back");
    let id = entry.id.clone();
    let status = status(&entry);
    desk.reply(0, asked.request, ReplyBody::Status { id, status });
    assert_eq!(desk.take_request().1.payload.id, entry.id);
}

/// What others have votes for, or have reserved, is tried last.
#[test]
fn take_b8_free_entries_come_first() {
    let mut desk = Desk::new(4, 1);
    for number in 0..6 {
        desk.take(false, None);
        let (request, _) = desk.read_request();
        let [free, stray, reserved] = [0, 1, 2].map(|i| desk.entry(10 * number + i));
        let rival = desk.rival(&stray, 0, number, Vec::new());
        for replica in 0..3 {
            let mut held = in_full(&reserved);
            held.status.reserved = true;
            let stray = match replica {
                0 => voted(&stray, rival.op),
                _ => in_full(&stray),
            };
            desk.reply(replica, request, named(vec![held, stray, in_full(&free)]));
        }
        assert_eq!(desk.take_request().1.payload.id, free.id);
    }
}

/// The only candidate is reserved for another: it is left to it for a while, not for ever.
#[test]
fn take_b8_reserved_entry_is_taken_later() {
    let mut desk = Desk::new(4, 1);
    desk.take(false, None);
    let (request, _) = desk.read_request();
    let mut held = in_full(&desk.entry(1));
    held.status.reserved = true;
    for replica in 0..4 {
        desk.reply(replica, request, named(vec![held.clone()]));
    }
    let takes = |desk: &mut Desk| {
        desk.sent_of(|body| matches!(body, ClientBody::Take(_)).then_some(()))
            .len()
    };
    desk.pass_ms(100);
    assert_eq!(takes(&mut desk), 0);
    desk.pass_ms(200);
    assert_eq!(takes(&mut desk), 4);
}

/// Every request tells below which number all Takes of the session are settled.
#[test]
fn take_g4_settled_below_follows_what_the_client_knows() {
    let mut desk = Desk::new(4, 1);
    let (_, request, take) = engaged(&mut desk);
    assert_eq!(desk.settled_below(), TakeNumber(0));
    first_votes(&mut desk, request, &take, &[0, 1, 2, 3]);
    desk.rdp();
    assert_eq!(desk.settled_below(), TakeNumber(1));
}

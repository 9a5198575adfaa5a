//! Helping what contests an entry (R-6.1, R-4.2c).

use bts_core::client::Outcome;
use bts_core::consensus::certificate::VoteKind;
use bts_core::ids::{ReplicaId, RequestId};
use bts_core::message::{ClientBody, FetchKey, Given, LockRequest, ReplyBody, TakeRequest};

use crate::desk::{Desk, Entry, SignedTake, first, in_full, named, voted};

/// An `rdp` that finds three of four replicas with a vote for another's Take, one of them locked.
fn contested(desk: &mut Desk, locked: bool) -> (RequestId, Entry, SignedTake) {
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    for replica in 0..3 {
        let mut report = voted(&entry, rival.op);
        if locked && replica == 0 {
            report.status.lock = Some(desk.lock(&rival));
        }
        desk.reply(replica, request, named(vec![report]));
    }
    desk.pass_ms(25);
    (request, entry, rival)
}

fn fetched(desk: &mut Desk, entry: &Entry, take: &SignedTake) -> Vec<(u16, RequestId)> {
    let fetches = desk.sent_of(|body| match body {
        ClientBody::Fetch(FetchKey::Take(id, op)) => Some((id.clone(), *op)),
        _ => None,
    });
    assert!(!fetches.is_empty(), "the contesting Take is asked for");
    fetches
        .into_iter()
        .map(|(to, request, key)| {
            assert_eq!(key, (entry.id.clone(), take.op));
            (to, request)
        })
        .collect()
}

fn locks(desk: &mut Desk) -> Vec<(u16, RequestId, LockRequest)> {
    desk.sent_of(|body| match body {
        ClientBody::Lock(lock) => Some(lock.clone()),
        _ => None,
    })
}

fn evidence(desk: &mut Desk) -> Vec<(u16, RequestId, TakeRequest)> {
    desk.sent_of(|body| match body {
        ClientBody::Evidence(take) => Some(take.clone()),
        _ => None,
    })
}

/// The client of the lock may be dead: the reader collects the commit votes and decides.
#[test]
fn help_r61_reader_finishes_what_is_locked() {
    let mut desk = Desk::new(4, 1);
    let (_, entry, rival) = contested(&mut desk, true);
    let asked = fetched(&mut desk, &entry, &rival);
    let given = ReplyBody::Given(Given::Take(rival.signed.clone()));
    desk.reply(asked[0].0, asked[0].1, given);
    let sent = locks(&mut desk);
    assert_eq!(sent.len(), 4);
    assert_eq!(sent[0].2.certificate, desk.lock(&rival));
    for replica in 0..2 {
        let vote = desk.commit_vote(replica, &sent[0].2.certificate);
        desk.reply(replica, sent[0].1, vote);
    }
    let told = |desk: &mut Desk| {
        desk.sent_of(|body| matches!(body, ClientBody::Decide { .. }).then_some(()))
            .len()
    };
    assert_eq!(told(&mut desk), 0, "two are no quorum");
    let vote = desk.commit_vote(3, &sent[0].2.certificate);
    desk.reply(3, sent[0].1, vote);
    assert!(told(&mut desk) >= 4, "the decision goes to all");
    desk.assert_pending();
}

/// The only one that spoke of the Take says nothing more, for it is down. Who speaks of it later is asked too.
#[test]
fn help_r61_take_is_asked_of_those_that_speak_of_it_later() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    let mut report = in_full(&entry);
    report.status.lock = Some(desk.lock(&rival));
    desk.reply(0, request, named(vec![report.clone()]));
    for replica in 1..3 {
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    desk.pass_ms(25);
    let asked = fetched(&mut desk, &entry, &rival);
    assert_eq!(asked[0].0, 0);
    assert_eq!(asked.len(), 1, "nobody else speaks of it");
    desk.reply(3, request, named(vec![report]));
    desk.pass_ms(50);
    let asked = fetched(&mut desk, &entry, &rival);
    assert!(asked.iter().any(|(to, _)| *to == 3), "{asked:?}");
}

/// Votes that somebody else signed, or for something else, are no commit votes.
#[test]
fn help_forged_commit_votes_do_not_count() {
    let mut desk = Desk::new(4, 1);
    let (_, entry, rival) = contested(&mut desk, true);
    let asked = fetched(&mut desk, &entry, &rival);
    let given = ReplyBody::Given(Given::Take(rival.signed.clone()));
    desk.reply(asked[0].0, asked[0].1, given);
    let sent = locks(&mut desk);
    let request = sent[0].1;
    let other = desk.rival(&entry, 0, 2, Vec::new());
    let mut stolen = desk.vote(1, VoteKind::Commit, &first(&rival));
    stolen.replica = ReplicaId(3);
    desk.reply(3, request, ReplyBody::CommitVote(stolen));
    let relayed = desk.vote(1, VoteKind::Commit, &first(&rival));
    desk.reply(3, request, ReplyBody::CommitVote(relayed));
    let wrong = desk.vote(2, VoteKind::Commit, &first(&other));
    desk.reply(2, request, ReplyBody::CommitVote(wrong));
    let vote = desk.commit_vote(0, &sent[0].2.certificate);
    desk.reply(0, request, vote);
    let vote = desk.commit_vote(1, &sent[0].2.certificate);
    desk.reply(1, request, vote);
    let decided = desk.sent_of(|body| matches!(body, ClientBody::Decide { .. }).then_some(()));
    assert!(decided.is_empty());
    assert_eq!(desk.events.len(), 2, "{:?}", desk.events);
    assert!(desk.events.iter().all(|(who, _)| *who == ReplicaId(3)));
}

/// Only votes are seen: all are shown the Take, which starts their timers, and are asked again
/// until it is over.
#[test]
fn help_r42c_contesting_take_is_shown_to_all() {
    let mut desk = Desk::new(4, 1);
    let (read, entry, rival) = contested(&mut desk, false);
    let asked = fetched(&mut desk, &entry, &rival);
    let other = desk.rival(&entry, 0, 2, Vec::new());
    let lie = ReplyBody::Given(Given::Take(other.signed));
    desk.reply(asked[0].0, asked[0].1, lie);
    desk.pass_ms(5);
    assert!(evidence(&mut desk).is_empty(), "not the one asked for");
    let given = ReplyBody::Given(Given::Take(rival.signed.clone()));
    desk.reply(asked[1].0, asked[1].1, given);
    let shown = evidence(&mut desk);
    assert_eq!(shown.len(), 4);
    for (to, _, request) in &shown {
        assert_eq!(request.take, rival.signed);
        assert_eq!(
            request.content.is_some(),
            *to == 3,
            "content for who does not report it"
        );
    }
    desk.pass_ms(300);
    let again = desk.sent();
    let repeats = |wanted: &dyn Fn(&ClientBody) -> bool| {
        again.iter().filter(|sent| wanted(&sent.body)).count()
    };
    assert!(repeats(&|body| matches!(body, ClientBody::Evidence(_))) >= 8);
    assert!(repeats(&|body| matches!(body, ClientBody::Read(_))) >= 6);
    let released = ReplyBody::Released {
        id: entry.id.clone(),
        certificate: desk.release(&entry.id, 0),
    };
    desk.reply(1, shown[0].1, released);
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == entry.id));
    let _ = read;
}

/// A lock for Release contests nothing (C2).
#[test]
fn help_lock_for_release_is_no_doubt() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let release = desk.release_statement(&entry.id, 0);
    let mut locked = in_full(&entry);
    locked.status.lock = Some(desk.certificate(VoteKind::Prepare, &release, 0..3));
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![locked.clone()]));
    }
    assert!(matches!(desk.outcome(), Outcome::Found(_)));
}

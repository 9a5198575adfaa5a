//! `rdp` that returns an entry (R-4.2, R-4.2a).

use bts_core::client::Outcome;
use bts_core::content::Content;
use bts_core::ids::{EntryId, Epoch, ReplicaId, RequestId, Seq, Session, SpaceName};
use bts_core::message::{ClientBody, FetchKey, Given, ReplyBody};

use crate::desk::{Desk, Entry, by_hash, empty, in_full, named, status, voted};

fn found(outcome: &Outcome, entry: &Entry) -> bool {
    matches!(outcome, Outcome::Found(found) if found.id == entry.id && found.tuple == entry.tuple)
}

fn fetches(desk: &mut Desk) -> Vec<(u16, RequestId, FetchKey)> {
    desk.sent_of(|body| match body {
        ClientBody::Fetch(key) => Some(key.clone()),
        _ => None,
    })
}

/// Altered on the way: another tuple under the same signature.
fn altered(desk: &Desk, entry: &Entry) -> Content {
    let other = desk.entry_of(1, crate::desk::tuple(99));
    match (other.content, &entry.content) {
        (Content::Signed(mut other), Content::Signed(signed)) => {
            other.seal = signed.seal.clone();
            Content::Signed(other)
        }
        _ => unreachable!("entries are signed"),
    }
}

#[test]
fn read_q_reports_suffice() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, read) = desk.read_request();
    let entry = desk.entry(1);
    assert_eq!(read.candidates, 4);
    desk.reply(3, request, named(vec![in_full(&entry)]));
    desk.reply(3, request, named(vec![in_full(&entry)]));
    desk.reply(0, request, named(vec![by_hash(&entry)]));
    desk.assert_pending();
    desk.reply(1, request, named(vec![by_hash(&entry)]));
    assert!(found(&desk.outcome(), &entry));
    assert!(desk.sent().is_empty(), "no further step");
}

#[test]
fn read_starts_elsewhere_and_asks_another_in_full_each_time() {
    let mut desk = Desk::new(4, 1);
    let mut reads = Vec::new();
    for _ in 0..4 {
        desk.rdp();
        reads.push(desk.read_request().1);
    }
    let mut full: Vec<_> = reads.iter().map(|read| read.full).collect();
    full.sort();
    full.dedup();
    assert_eq!(full.len(), 4, "the load of full answers is shared");
    let mut starts: Vec<_> = reads.iter().map(|read| read.start).collect();
    starts.dedup();
    assert_eq!(starts.len(), 4);
}

/// The full answer must hash to what the quorum reports, or a liar who was to answer in full could
/// make up the tuple. Another replica is asked.
#[test]
fn read_d5_full_content_that_does_not_fit_its_hash_is_not_believed() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let mut lie = in_full(&entry);
    lie.full = Some(altered(&desk, &entry));
    desk.reply(3, request, named(vec![lie]));
    desk.reply(0, request, named(vec![by_hash(&entry)]));
    desk.reply(1, request, named(vec![by_hash(&entry)]));
    desk.assert_pending();
    assert_eq!(desk.events.len(), 1);
    assert_eq!(desk.events[0].0, ReplicaId(3));
    let asked = fetches(&mut desk);
    assert_eq!(asked.len(), 1, "one of those that report it");
    let one = asked[0].0;
    desk.pass_ms(25);
    let asked = fetches(&mut desk);
    assert_eq!(asked.len(), 2, "then the others");
    assert!(
        asked
            .iter()
            .all(|(to, _, key)| *to != one
                && *key == FetchKey::Content(entry.id.clone(), entry.hash))
    );
    for (to, request, _) in asked {
        let given = match to {
            3 => altered(&desk, &entry),
            _ => entry.content.clone(),
        };
        desk.reply(
            to,
            request,
            ReplyBody::Given(Given::Content(entry.id.clone(), given)),
        );
    }
    assert!(found(&desk.outcome(), &entry));
}

/// Nothing waits for one particular replica. 1. `s0` alone reports an entry, by its hash. 2. It is
/// asked for the content, twice, and is gone for good. 3. `s1` comes to hold the entry: it is asked.
#[test]
fn read_content_is_asked_of_those_who_hold_it_later() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    desk.reply(0, request, named(vec![by_hash(&entry)]));
    desk.reply(1, request, empty(1));
    desk.reply(2, request, empty(1));
    desk.pass_ms(100);
    let asked = fetches(&mut desk);
    assert!(!asked.is_empty() && asked.iter().all(|(to, _, _)| *to == 0));
    desk.reply(1, request, named(vec![by_hash(&entry)]));
    desk.pass_ms(200);
    let asked = fetches(&mut desk);
    let later = asked.into_iter().find(|(to, _, _)| *to == 1);
    assert!(later.is_some(), "s1 is not asked");
}

/// The content of another entry under this id is refused, though its hash fits.
#[test]
fn read_content_of_another_entry_is_not_believed() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let (entry, other) = (desk.entry(1), desk.entry(2));
    let mut lie = in_full(&entry);
    lie.hash = other.hash;
    lie.full = Some(other.content.clone());
    lie.status.contents = vec![other.hash, entry.hash];
    desk.reply(3, request, named(vec![lie]));
    desk.reply(0, request, named(vec![by_hash(&entry)]));
    desk.reply(1, request, named(vec![by_hash(&entry)]));
    desk.assert_pending();
    assert_eq!(desk.events[0].0, ReplicaId(3));
}

/// A tuple that does not match is not returned, even if all report its entry.
#[test]
fn read_content_that_does_not_match_is_not_returned() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let two_fields = bts_core::tuple::Tuple(vec![1u64.into(), 2u64.into()]);
    let entry = desk.entry_of(1, two_fields);
    for replica in 0..4 {
        desk.reply(replica, request, named(vec![in_full(&entry)]));
    }
    desk.assert_pending();
}

/// R first votes for one Take among q reports: it may be decided already.
#[test]
fn read_r42a_r_first_votes_put_an_entry_in_doubt() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    desk.reply(0, request, named(vec![voted(&entry, rival.op)]));
    desk.reply(1, request, named(vec![voted(&entry, rival.op)]));
    desk.reply(2, request, named(vec![in_full(&entry)]));
    desk.assert_pending();
    desk.reply(3, request, named(vec![in_full(&entry)]));
    assert!(
        found(&desk.outcome(), &entry),
        "three of the four have one vote among them"
    );
}

/// R-1 votes may be lies of the faulty ones.
#[test]
fn read_r42a_fewer_than_r_first_votes_do_not() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    desk.reply(3, request, named(vec![voted(&entry, rival.op)]));
    desk.reply(1, request, named(vec![in_full(&entry)]));
    desk.reply(2, request, named(vec![in_full(&entry)]));
    assert!(found(&desk.outcome(), &entry));
}

/// One accepted lock: the Take may be decided by commit votes. A report that shows it is left out.
#[test]
fn read_c2_locked_report_does_not_count() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    let mut locked = in_full(&entry);
    locked.status.lock = Some(desk.lock(&rival));
    desk.reply(0, request, named(vec![locked]));
    desk.reply(1, request, named(vec![in_full(&entry)]));
    desk.reply(2, request, named(vec![in_full(&entry)]));
    desk.assert_pending();
    desk.reply(3, request, named(vec![in_full(&entry)]));
    assert!(found(&desk.outcome(), &entry), "three without a lock");
}

/// A forged lock makes the reply worthless: it does not count as a report either.
#[test]
fn read_forged_lock_makes_the_reply_worthless() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    let mut locked = in_full(&entry);
    let mut lock = desk.lock(&rival);
    lock.votes[1].1 = lock.votes[0].1.clone();
    locked.status.lock = Some(lock);
    desk.reply(3, request, named(vec![locked]));
    assert_eq!(desk.events.len(), 1);
    assert_eq!(desk.events[0].0, ReplicaId(3));
    desk.reply(1, request, named(vec![in_full(&entry)]));
    desk.reply(2, request, named(vec![in_full(&entry)]));
    desk.assert_pending();
}

/// s3 shows a genuine lock of an epoch that was released: it means nothing once the release is
/// known.
#[test]
fn read_b5_votes_and_locks_of_a_released_epoch_mean_nothing() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    let mut old = in_full(&entry);
    old.status.first = Some(rival.op);
    old.status.lock = Some(desk.lock(&rival));
    desk.reply(3, request, named(vec![old]));
    desk.reply(1, request, named(vec![voted(&entry, rival.op)]));
    desk.assert_pending();
    let mut new = in_full(&entry);
    new.status.epoch = Epoch(1);
    new.status.released = Some(desk.release(&entry.id, 0));
    desk.reply(2, request, named(vec![new]));
    assert!(found(&desk.outcome(), &entry));
}

/// An epoch without its proof is made up.
#[test]
fn read_b3_epoch_without_its_release_is_worthless() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let other = desk.entry(2);
    for released in [
        None,
        Some(desk.release(&other.id, 0)),
        Some(desk.release(&entry.id, 1)),
    ] {
        let mut boast = in_full(&entry);
        boast.status.epoch = Epoch(1);
        boast.status.released = released;
        desk.events.clear();
        desk.reply(3, request, named(vec![boast]));
        assert_eq!(desk.events.len(), 1);
    }
    desk.reply(1, request, named(vec![in_full(&entry)]));
    desk.reply(2, request, named(vec![in_full(&entry)]));
    desk.assert_pending();
}

/// With q reports in epochs up to e, a release of e or a later one lets the reader return x: a Take
/// decided before would be of a later epoch, and one of the q would have shown that.
#[test]
fn read_b2_release_resolves_a_contested_entry() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    for replica in 0..3 {
        desk.reply(replica, request, named(vec![voted(&entry, rival.op)]));
    }
    desk.assert_pending();
    let released = ReplyBody::Released {
        id: entry.id.clone(),
        certificate: desk.release(&entry.id, 0),
    };
    desk.reply(3, request, released);
    assert!(found(&desk.outcome(), &entry));
}

/// Two contents of one id, three replicas hold either: no content has a quorum, whatever the id has.
#[test]
fn read_a2_contents_of_one_id_are_counted_apart() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let one = desk.entry(1);
    let other = desk.entry_of(1, crate::desk::tuple(50));
    assert_eq!(one.id, other.id);
    desk.reply(0, request, named(vec![in_full(&one)]));
    desk.reply(1, request, named(vec![in_full(&one)]));
    desk.reply(2, request, named(vec![in_full(&other)]));
    desk.assert_pending();
    let mut both = in_full(&other);
    both.status = status(&one);
    desk.reply(3, request, named(vec![both]));
    assert!(found(&desk.outcome(), &one));
}

/// Who holds another content only says nothing about this one.
#[test]
fn read_a2_report_of_another_content_dispels_no_doubt() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let one = desk.entry(1);
    let other = desk.entry_of(1, crate::desk::tuple(50));
    let rival = desk.rival(&one, 0, 1, Vec::new());
    desk.reply(0, request, named(vec![voted(&one, rival.op)]));
    desk.reply(1, request, named(vec![voted(&one, rival.op)]));
    desk.reply(2, request, named(vec![in_full(&one)]));
    desk.reply(3, request, named(vec![in_full(&other)]));
    desk.assert_pending();
}

#[test]
fn read_entries_of_other_spaces_make_a_reply_worthless() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let space = SpaceName::new("other").expect("a good name");
    let mut foreign = by_hash(&desk.entry(1));
    foreign.id = EntryId::written(space, desk.me, Session(1), Seq(1));
    desk.reply(3, request, named(vec![foreign]));
    assert_eq!(desk.events.len(), 1);
}

/// A worthless reply is no reply: two others are no quorum, and nothing is begun on their word.
#[test]
fn read_worthless_reply_does_not_complete_a_quorum() {
    let mut desk = Desk::new(4, 1);
    desk.rdp();
    let (request, _) = desk.read_request();
    let entry = desk.entry(1);
    let mut boast = in_full(&desk.entry(2));
    boast.status.epoch = Epoch(1);
    desk.reply(3, request, named(vec![boast]));
    desk.reply(0, request, named(vec![in_full(&entry)]));
    desk.reply(1, request, empty(1));
    desk.pass_ms(50);
    assert!(desk.sent().is_empty());
    desk.reply(2, request, empty(1));
    desk.pass_ms(50);
    assert!(!desk.sent().is_empty());
}

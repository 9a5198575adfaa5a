//! Listing: pages of all replicas, what few report is written back first.

use bts_core::client::{Op, Outcome};
use bts_core::crypto::hash::Digest;
use bts_core::ids::{EntryId, RequestId};
use bts_core::message::{Candidate, ClientBody, FetchKey, Given, Removal, ReplyBody};

use crate::desk::{Desk, any, by_hash, in_full, space, status};

fn list(desk: &mut Desk) -> Vec<(u16, RequestId)> {
    desk.invoke(Op::List {
        space: space(),
        template: any(),
    });
    pages(desk)
        .into_iter()
        .map(|(to, request, _)| (to, request))
        .collect()
}

fn pages(desk: &mut Desk) -> Vec<(u16, RequestId, Option<Digest>)> {
    desk.sent_of(|body| match body {
        ClientBody::List { after, .. } => Some(*after),
        _ => None,
    })
}

fn page(candidates: Vec<Candidate>, next: Option<u8>) -> ReplyBody {
    ReplyBody::Page {
        candidates,
        next: next.map(|byte| Digest([byte; 32])),
    }
}

fn listed(outcome: Outcome) -> Vec<EntryId> {
    match outcome {
        Outcome::Listed(found) => found.into_iter().map(|found| found.id).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn list_names_what_q_replicas_name_on_all_their_pages() {
    let mut desk = Desk::new(4, 1);
    let asked = list(&mut desk);
    assert_eq!(asked.len(), 4);
    let (one, other) = (desk.entry(1), desk.entry(2));
    for (replica, request) in &asked[..3] {
        desk.reply(*replica, *request, page(vec![in_full(&one)], Some(5)));
    }
    let more = pages(&mut desk);
    assert_eq!(more.len(), 3);
    for (replica, request, after) in more {
        desk.assert_pending();
        assert_eq!(after, Some(Digest([5; 32])));
        desk.reply(replica, request, page(vec![in_full(&other)], None));
        desk.pass_ms(25);
    }
    assert_eq!(listed(desk.outcome()), [one.id, other.id]);
}

#[test]
fn list_empty_space() {
    let mut desk = Desk::new(4, 1);
    let asked = list(&mut desk);
    for (replica, request) in &asked[..3] {
        desk.assert_pending();
        desk.reply(*replica, *request, page(Vec::new(), None));
        desk.assert_pending();
        desk.pass_ms(25);
    }
    assert!(listed(desk.outcome()).is_empty());
}

/// Present, but in full nobody sent it: also if it has another content, which all hold and which is
/// not looked for, it is not left out.
#[test]
fn list_content_that_nobody_sent_is_asked_for() {
    let mut desk = Desk::new(4, 1);
    let asked = list(&mut desk);
    let entry = desk.entry(1);
    for (replica, request) in &asked[..3] {
        desk.reply(*replica, *request, page(vec![by_hash(&entry)], None));
    }
    desk.pass_ms(25);
    desk.assert_pending();
    let fetch = desk.sent_of(|body| match body {
        ClientBody::Fetch(key) => Some(key.clone()),
        _ => None,
    });
    let (to, request, _) = fetch.first().cloned().expect("it is asked for");
    let given = Given::Content(entry.id.clone(), entry.content.clone());
    desk.reply(to, request, ReplyBody::Given(given));
    assert_eq!(listed(desk.outcome()), [entry.id]);
}

/// A page that leads nowhere would keep us for ever.
#[test]
fn list_page_that_leads_backwards_is_a_fault() {
    let mut desk = Desk::new(4, 1);
    let asked = list(&mut desk);
    desk.reply(3, asked[3].1, page(Vec::new(), Some(5)));
    let (_, request, _) = pages(&mut desk).remove(0);
    desk.reply(3, request, page(Vec::new(), Some(5)));
    assert_eq!(desk.events.len(), 1);
    assert!(pages(&mut desk).is_empty());
    for (replica, request) in &asked[..3] {
        desk.reply(*replica, *request, page(Vec::new(), None));
    }
    desk.pass_ms(25);
    assert!(
        listed(desk.outcome()).is_empty(),
        "the others do without it"
    );
}

#[test]
fn list_entry_of_fewer_than_q_is_written_back_and_dropped_if_it_is_gone() {
    let mut desk = Desk::new(4, 1);
    let asked = list(&mut desk);
    let (gone, there) = (desk.entry(1), desk.entry(2));
    desk.reply(
        3,
        asked[3].1,
        page(vec![in_full(&gone), in_full(&there)], None),
    );
    for (replica, request) in &asked[..3] {
        desk.reply(*replica, *request, page(Vec::new(), None));
    }
    desk.assert_pending();
    let sent = desk.sent_of(|body| match body {
        ClientBody::WriteBack { entry } => Some(entry.clone()),
        _ => None,
    });
    assert_eq!(sent.len(), 6);
    let rival = desk.rival(&gone, 0, 1, Vec::new());
    let removed = ReplyBody::Removed {
        id: gone.id,
        removal: Removal::Decision(Box::new(desk.decision(&rival))),
    };
    desk.reply(0, sent[0].1, removed);
    for replica in 0..2 {
        desk.assert_pending();
        let id = there.id.clone();
        let status = status(&there);
        desk.reply(replica, sent[3].1, ReplyBody::Status { id, status });
    }
    assert_eq!(listed(desk.outcome()), [there.id]);
}

/// two replicas named an entry before it was taken and forgotten; one that is asked to store it
/// says "forgotten", which is not enough, and the fourth is silent. So the two are asked again.
#[test]
fn list_c1_old_reports_of_what_was_forgotten_are_asked_about() {
    let mut desk = Desk::new(4, 1);
    let asked = list(&mut desk);
    let gone = desk.entry(1);
    for replica in [1, 2] {
        let named = page(vec![in_full(&gone)], None);
        desk.reply(replica, asked[usize::from(replica)].1, named);
    }
    desk.reply(3, asked[3].1, page(Vec::new(), None));
    desk.pass_ms(25);
    let write_backs = |desk: &mut Desk| {
        desk.sent_of(|body| matches!(body, ClientBody::WriteBack { .. }).then_some(()))
    };
    let sent = write_backs(&mut desk);
    let to: Vec<_> = sent.iter().map(|(to, _, ())| *to).collect();
    assert_eq!(to, [0, 3], "those that did not name it");
    let forgotten = || ReplyBody::Removed {
        id: gone.id.clone(),
        removal: Removal::Forgotten,
    };
    desk.reply(3, sent[1].1, forgotten());
    desk.pass_ms(100);
    desk.assert_pending();
    let sent = write_backs(&mut desk);
    let (_, request, ()) = sent
        .iter()
        .rev()
        .find(|(to, _, ())| *to == 1)
        .expect("asked");
    desk.reply(1, *request, forgotten());
    assert!(listed(desk.outcome()).is_empty());
}

/// C1: somebody locked a Take that nobody else speaks of, and forgot it since: so did others, whose
/// reports are old, and one is silent for ever.
#[test]
fn list_c1_old_locks_of_what_was_forgotten_are_asked_about() {
    let mut desk = Desk::new(4, 1);
    let asked = list(&mut desk);
    let gone = desk.entry(1);
    let rival = desk.rival(&gone, 0, 1, Vec::new());
    for replica in [0, 1, 2] {
        let mut seen = in_full(&gone);
        if replica == 1 {
            seen.status.lock = Some(desk.lock(&rival));
        }
        let named = page(vec![seen], None);
        desk.reply(replica, asked[usize::from(replica)].1, named);
    }
    desk.pass_ms(25);
    let fetches = |desk: &mut Desk, take: bool| {
        desk.sent_of(|body| match body {
            ClientBody::Fetch(FetchKey::Take(..)) if take => Some(()),
            ClientBody::Fetch(FetchKey::Decision(_)) if !take => Some(()),
            _ => None,
        })
    };
    let forgotten = || ReplyBody::Removed {
        id: gone.id.clone(),
        removal: Removal::Forgotten,
    };
    let sent = fetches(&mut desk, true);
    let [(1, request, ())] = sent[..] else {
        panic!("who locked it is asked for the Take: {sent:?}")
    };
    desk.reply(1, request, forgotten());
    desk.pass_ms(25);
    desk.assert_pending();
    let sent = fetches(&mut desk, false);
    let to: Vec<_> = sent.iter().map(|(to, _, ())| *to).collect();
    assert_eq!(to, [0, 2, 3], "those that did not say that it is gone");
    desk.reply(2, sent[1].1, forgotten());
    desk.pass_ms(25);
    assert!(listed(desk.outcome()).is_empty());
}

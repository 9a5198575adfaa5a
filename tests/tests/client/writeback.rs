//! What fewer than a quorum report: write-back (R-4.2b), and what is dropped.

use bts_core::client::Outcome;
use bts_core::content::{Content, Decision, Put};
use bts_core::ids::{ReplicaId, RequestId};
use bts_core::message::{ClientBody, FetchKey, Given, Refused, Removal, ReplyBody};

use crate::desk::{Desk, Entry, by_hash, empty, in_full, named, status, tuple};

/// An `rdp` to which s3 names the entry while s0 and s1 name nothing and s2 is silent.
fn reported_by_one(desk: &mut Desk, entry: &Entry) -> RequestId {
    desk.rdp();
    let (request, _) = desk.read_request();
    desk.reply(3, request, named(vec![in_full(entry)]));
    desk.reply(0, request, empty(1));
    desk.reply(1, request, empty(1));
    desk.assert_pending();
    desk.pass_ms(25);
    request
}

/// A put, and the same with a proof of too few votes.
fn put_and_spoilt(desk: &Desk) -> (Entry, Entry) {
    let origin = desk.entry(1);
    let rival = desk.rival(&origin, 0, 1, vec![Put::from(tuple(7))]);
    let put = desk.put_of(&rival, 0, desk.decision(&rival));
    let mut wrong = desk.decision(&rival);
    wrong.certificate.votes.truncate(2);
    (put, desk.put_of(&rival, 0, wrong))
}

fn write_backs(desk: &mut Desk) -> Vec<(u16, RequestId, ())> {
    desk.sent_of(|body| matches!(body, ClientBody::WriteBack { .. }).then_some(()))
}

fn stored(entry: &Entry) -> ReplyBody {
    ReplyBody::Status {
        id: entry.id.clone(),
        status: status(entry),
    }
}

fn decides(desk: &mut Desk, applied: bool) -> Vec<(u16, RequestId, Decision)> {
    desk.sent_of(|body| match body {
        ClientBody::Decide {
            decision,
            applied: asked,
        } if *asked == applied => Some(decision.clone()),
        _ => None,
    })
}

#[test]
fn writeback_r42b_entry_of_fewer_than_q_is_stored_by_the_others_first() {
    let mut desk = Desk::new(4, 1);
    let entry = desk.entry(1);
    reported_by_one(&mut desk, &entry);
    let asked = write_backs(&mut desk);
    let to: Vec<_> = asked.iter().map(|(to, _, ())| *to).collect();
    assert_eq!(to, [0, 1, 2], "those that do not report it");
    for replica in 0..2 {
        desk.assert_pending();
        desk.reply(replica, asked[0].1, stored(&entry));
    }
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == entry.id));
}

/// A replica that reported the entry when it was written back to the others says later that it has
/// nothing: its first answer may have been a hint, and lost with its power. It is sent the entry
/// too, though another one that was asked is silent.
#[test]
fn writeback_reaches_who_reported_it_and_does_not_any_more() {
    let mut desk = Desk::new(4, 1);
    let entry = desk.entry(1);
    desk.rdp();
    let (request, _) = desk.read_request();
    desk.reply(3, request, named(vec![in_full(&entry)]));
    desk.reply(0, request, named(vec![by_hash(&entry)]));
    desk.reply(1, request, empty(1));
    desk.pass_ms(25);
    let asked = write_backs(&mut desk);
    let to: Vec<_> = asked.iter().map(|(to, _, ())| *to).collect();
    assert_eq!(to, [1, 2], "those that do not report it");
    desk.reply(0, request, empty(1));
    desk.pass_ms(100);
    let asked = write_backs(&mut desk);
    let to: Vec<_> = asked.iter().map(|(to, _, ())| *to).collect();
    assert_eq!(to, [0, 1, 2], "s2 does not keep s0 from being asked");
    for replica in [0, 1] {
        desk.assert_pending();
        desk.reply(replica, asked[0].1, stored(&entry));
    }
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == entry.id));
}

/// A status with R votes shows that the entry is being taken: rule 2 holds after a write-back too.
#[test]
fn writeback_status_counts_like_a_report() {
    let mut desk = Desk::new(4, 1);
    let entry = desk.entry(1);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    reported_by_one(&mut desk, &entry);
    let asked = write_backs(&mut desk);
    for replica in 0..2 {
        let mut status = status(&entry);
        status.first = Some(rival.op);
        let id = entry.id.clone();
        desk.reply(replica, asked[0].1, ReplyBody::Status { id, status });
    }
    desk.assert_pending();
}

/// Badly signed claims by fewer than q are ignored, and who made them is accused.
#[test]
fn writeback_forged_entry_is_not_relayed() {
    let mut desk = Desk::new(4, 1);
    let mut entry = desk.entry(1);
    if let (Content::Signed(signed), Content::Signed(other)) =
        (&mut entry.content, desk.entry(2).content)
    {
        signed.seal = other.seal;
    }
    reported_by_one(&mut desk, &entry);
    assert!(write_backs(&mut desk).is_empty());
    assert_eq!(desk.events.len(), 1);
    assert_eq!(desk.events[0].0, ReplicaId(3));
    desk.pass_ms(100);
    assert_eq!(desk.events.len(), 1, "and is not looked at again");
}

#[test]
fn writeback_g5_decision_drops_the_entry_and_is_told_to_who_reported_it() {
    let mut desk = Desk::new(4, 1);
    let entry = desk.entry(1);
    let request = reported_by_one(&mut desk, &entry);
    let asked = write_backs(&mut desk);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    let removed = ReplyBody::Removed {
        id: entry.id.clone(),
        removal: Removal::Decision(Box::new(desk.decision(&rival))),
    };
    desk.reply(0, asked[0].1, removed);
    let told = decides(&mut desk, false);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, &told[0].2), (3, &desk.decision(&rival)));
    desk.reply(3, request, named(vec![in_full(&entry)]));
    assert_eq!(decides(&mut desk, false).len(), 1, "and told again");
    desk.pass_ms(100);
    assert!(write_backs(&mut desk).is_empty());
    desk.assert_pending();
}

/// A decision that is none drops nothing.
#[test]
fn writeback_forged_decision_drops_nothing() {
    let mut desk = Desk::new(4, 1);
    let entry = desk.entry(1);
    reported_by_one(&mut desk, &entry);
    let asked = write_backs(&mut desk);
    let rival = desk.rival(&entry, 0, 1, Vec::new());
    let lock_only = Decision {
        certificate: desk.lock(&rival),
        take: Some(rival.signed.clone()),
    };
    let other = desk.rival(&desk.entry(2), 0, 1, Vec::new());
    for decision in [lock_only, desk.decision(&other)] {
        let removed = ReplyBody::Removed {
            id: entry.id.clone(),
            removal: Removal::Decision(Box::new(decision)),
        };
        desk.reply(0, asked[0].1, removed);
    }
    assert!(decides(&mut desk, false).is_empty());
    for replica in 1..3 {
        let id = entry.id.clone();
        let status = status(&entry);
        desk.reply(replica, asked[0].1, ReplyBody::Status { id, status });
    }
    assert!(matches!(desk.outcome(), Outcome::Found(_)));
}

#[test]
fn writeback_g5_f_plus_1_that_call_it_removed_drop_it() {
    let mut desk = Desk::new(4, 1);
    let entry = desk.entry(1);
    reported_by_one(&mut desk, &entry);
    let asked = write_backs(&mut desk);
    let removed = ReplyBody::Removed {
        id: entry.id.clone(),
        removal: Removal::Unknown,
    };
    desk.reply(0, asked[0].1, removed.clone());
    desk.reply(0, asked[0].1, removed.clone());
    let dropped = |desk: &mut Desk| {
        desk.sent_of(|body| match body {
            ClientBody::Dropped { id } => Some(id.clone()),
            _ => None,
        })
    };
    assert!(dropped(&mut desk).is_empty(), "one may lie");
    desk.reply(1, asked[0].1, removed);
    let told = dropped(&mut desk);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, &told[0].2), (3, &entry.id));
}

#[test]
fn writeback_g6_entry_that_f_plus_1_refuse_is_left_alone() {
    let mut desk = Desk::new(4, 1);
    let entry = desk.entry(1);
    reported_by_one(&mut desk, &entry);
    let asked = write_backs(&mut desk);
    for replica in 0..2 {
        let refused = Refused::Forbidden("not hers to write".to_owned());
        desk.reply(replica, asked[0].1, ReplyBody::Refused(refused));
    }
    desk.pass_ms(3000);
    assert!(write_backs(&mut desk).is_empty());
}

/// A put is never stored alone: its write-back is the decision of its origin, and only then its
/// holders are asked how it stands.
#[test]
fn writeback_a7_put_travels_as_the_decision_of_its_origin() {
    let mut desk = Desk::new(4, 1);
    let origin = desk.entry(1);
    let swap = desk.rival(&origin, 0, 1, vec![Put::from(tuple(2))]);
    let decision = desk.decision(&swap);
    let put = desk.put_of(&swap, 0, decision.clone());
    reported_by_one(&mut desk, &put);
    let asked = decides(&mut desk, true);
    let to: Vec<_> = asked.iter().map(|(to, _, _)| *to).collect();
    assert_eq!(to, [0, 1, 2]);
    assert_eq!(asked[0].2, decision);
    for replica in 0..2 {
        desk.assert_pending();
        let applied = ReplyBody::Applied {
            id: origin.id.clone(),
            op: swap.op,
        };
        desk.reply(replica, asked[0].1, applied);
        let probes = desk.sent_of(|body| match body {
            ClientBody::Read(read) => Some(read.clone()),
            _ => None,
        });
        assert_eq!(probes.len(), 1);
        assert_eq!(probes[0].0, replica);
        assert!(probes[0].2.template.matches(&put.tuple));
        desk.reply(replica, probes[0].1, named(vec![by_hash(&put)]));
    }
    assert!(
        matches!(desk.outcome(), Outcome::Found(found) if found.id == put.id && found.tuple == tuple(2))
    );
}

/// The origin is applied there but the put is not named: it was removed, and the replica is asked
/// how.
#[test]
fn writeback_put_that_is_gone_is_dropped_by_its_decision() {
    let mut desk = Desk::new(4, 1);
    let origin = desk.entry(1);
    let swap = desk.rival(&origin, 0, 1, vec![Put::from(tuple(2))]);
    let put = desk.put_of(&swap, 0, desk.decision(&swap));
    reported_by_one(&mut desk, &put);
    let asked = decides(&mut desk, true);
    let applied = ReplyBody::Applied {
        id: origin.id,
        op: swap.op,
    };
    desk.reply(0, asked[0].1, applied);
    let probe = desk.sent().remove(0);
    desk.reply(0, probe.request, empty(7));
    let fetch = desk.sent().remove(0);
    assert!(
        matches!(&fetch.body, ClientBody::Fetch(FetchKey::Decision(id)) if *id == put.id && fetch.to == 0)
    );
    let next = desk.rival(&put, 0, 2, Vec::new());
    let removed = ReplyBody::Removed {
        id: put.id.clone(),
        removal: Removal::Decision(Box::new(desk.decision(&next))),
    };
    desk.reply(0, fetch.request, removed);
    let told = decides(&mut desk, false);
    assert_eq!((told.len(), told[0].0), (1, 3));
}

/// The hash of a put does not bind its proof, so whoever reported the hash alone need not have sent
/// what is wrong: once all were accused who reported it, and the put was nobody's.
#[test]
fn writeback_wrong_proof_is_its_senders_fault_alone() {
    let mut desk = Desk::new(4, 1);
    let (put, spoilt) = put_and_spoilt(&desk);
    desk.rdp();
    let (request, _) = desk.read_request();
    desk.reply(3, request, named(vec![in_full(&spoilt)]));
    desk.reply(0, request, named(vec![by_hash(&put)]));
    desk.reply(1, request, empty(1));
    desk.pass_ms(25);
    assert_eq!(desk.events.len(), 1, "{:?}", desk.events);
    assert_eq!(desk.events[0].0, ReplicaId(3));
    for _ in 0..3 {
        let asked = desk.sent_of(|body| match body {
            ClientBody::Fetch(FetchKey::Content(..)) => Some(()),
            _ => None,
        });
        for (to, request, ()) in asked {
            let held = if to == 3 { &spoilt } else { &put };
            let given = Given::Content(put.id.clone(), held.content.clone());
            desk.reply(to, request, ReplyBody::Given(given));
        }
        if !decides(&mut desk, true).is_empty() {
            assert_eq!(desk.events.len(), 1, "{:?}", desk.events);
            return;
        }
        desk.pass_ms(50);
    }
    panic!("what s0 holds is not written back");
}

/// The liar may come first and alone: when a correct replica reports the same put, it is a put.
#[test]
fn writeback_wrong_proof_of_the_only_one_does_not_spoil_the_put() {
    let mut desk = Desk::new(4, 1);
    let (put, spoilt) = put_and_spoilt(&desk);
    let request = reported_by_one(&mut desk, &spoilt);
    assert_eq!(desk.events.len(), 1, "{:?}", desk.events);
    for replica in [0, 1, 2] {
        desk.reply(replica, request, named(vec![in_full(&put)]));
    }
    let outcome = desk.outcome();
    assert!(
        matches!(&outcome, Outcome::Found(found) if found.id == put.id),
        "{outcome:?}"
    );
}

/// A put whose proof does not hold is nobody's.
#[test]
fn writeback_put_with_a_forged_proof_is_not_relayed() {
    let mut desk = Desk::new(4, 1);
    let origin = desk.entry(1);
    let swap = desk.rival(&origin, 0, 1, vec![Put::from(tuple(2))]);
    let mut decision = desk.decision(&swap);
    decision.certificate = desk.lock(&swap);
    let put = desk.put_of(&swap, 0, decision);
    reported_by_one(&mut desk, &put);
    assert!(decides(&mut desk, true).is_empty());
    assert_eq!(desk.events.len(), 1);
}

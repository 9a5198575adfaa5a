//! Reads of a client with much under way ask a quorum, and the others only if that does not suffice (R-4.2g).

use bts_core::client::{Op, Outcome};
use bts_core::content::Put;
use bts_core::ids::{ReplicaId, RequestId};
use bts_core::message::{ClientBody, Since};

use crate::absent::{answer, round_2};
use crate::desk::{Desk, by_hash, empty, in_full, named, space, tuple};

/// Who was asked to read since the last call, and by which request.
fn asked(desk: &mut Desk) -> (Vec<u16>, Option<RequestId>) {
    let sent = desk.sent_of(|body| matches!(body, ClientBody::Read(_)).then_some(()));
    let request = sent.first().map(|(_, request, ())| *request);
    (sent.into_iter().map(|(to, _, ())| to).collect(), request)
}

/// A read that spares somebody: whom it asks, by which request, and who is spared.
fn begun(desk: &mut Desk) -> (Vec<u16>, RequestId, u16) {
    desk.rdp();
    let (asked, request) = asked(desk);
    assert_eq!(asked.len(), 3);
    let spared = (0..4).find(|replica| !asked.contains(replica));
    (
        asked,
        request.expect("it asks"),
        spared.expect("one is not asked"),
    )
}

#[test]
fn spared_r42g_nobody_unless_much_is_under_way() {
    let mut desk = Desk::sparing(4, 1, 2);
    for expected in [4, 4, 3] {
        desk.rdp();
        assert_eq!(asked(&mut desk).0.len(), expected);
    }
    desk.take(false, None);
    assert_eq!(asked(&mut desk).0.len(), 4, "who takes asks all");
    let put = Put::from(tuple(1));
    desk.invoke(Op::Out {
        space: space(),
        put,
    });
    assert_eq!(desk.sent().len(), 4, "who writes as well");
}

#[test]
fn spared_r42g_quorum_that_suffices_is_all_that_is_asked() {
    let mut desk = Desk::sparing(4, 1, 0);
    let entry = desk.entry(1);
    for _ in 0..3 {
        let (asked, request, _) = begun(&mut desk);
        for replica in asked {
            desk.assert_pending();
            desk.reply(replica, request, named(vec![in_full(&entry)]));
        }
        assert!(matches!(desk.outcome(), Outcome::Found(_)));
        desk.pass_ms(1000);
        assert!(desk.sent().is_empty());
    }
}

#[test]
fn spared_r42g_none_is_proven_by_a_quorum() {
    let mut desk = Desk::sparing(4, 1, 0);
    let (to, request, _) = begun(&mut desk);
    desk.pass_ms(4);
    for replica in to {
        desk.reply(replica, request, empty(1));
    }
    let again = round_2(&mut desk);
    desk.pass_ms(4);
    assert_eq!(asked(&mut desk).0, [], "they have time for round 2");
    for asked in again {
        answer(&mut desk, &asked, Since::Yes);
    }
    assert_eq!(desk.outcome(), Outcome::None);
    assert!(desk.sent().is_empty());
}

#[test]
fn spared_r42g_is_asked_at_once_when_the_others_do_not_suffice() {
    let mut desk = Desk::sparing(4, 1, 0);
    let (to, request, spared) = begun(&mut desk);
    let entry = desk.entry(1);
    desk.reply(to[0], request, named(vec![in_full(&entry)]));
    desk.reply(to[1], request, named(vec![by_hash(&entry)]));
    assert!(desk.sent().is_empty());
    desk.reply(to[2], request, empty(1));
    assert_eq!(asked(&mut desk), (vec![spared], Some(request)));
    desk.reply(spared, request, named(vec![by_hash(&entry)]));
    assert!(matches!(desk.outcome(), Outcome::Found(found) if found.id == entry.id));
}

/// As long as a quorum suffices, it is the same one; when it does not, another one has its turn.
#[test]
fn spared_r42g_another_one_is_when_the_others_did_not_suffice() {
    let mut desk = Desk::sparing(4, 1, 0);
    let entry = desk.entry(1);
    let mut spares = Vec::new();
    for round in 0..12 {
        let (to, request, spared) = begun(&mut desk);
        spares.push(spared);
        let liar = to.iter().copied().find(|replica| *replica == 0);
        let others = to.iter().filter(|replica| **replica != 0);
        others.for_each(|replica| desk.reply(*replica, request, named(vec![in_full(&entry)])));
        if let Some(liar) = liar {
            desk.reply(liar, request, empty(round));
            desk.reply(spared, request, named(vec![in_full(&entry)]));
        }
        assert!(matches!(desk.outcome(), Outcome::Found(_)));
        desk.sent();
    }
    assert!(
        spares.iter().filter(|spared| **spared != 0).count() <= 3,
        "{spares:?}"
    );
    assert_eq!(spares[4..], [0; 8]);
}

#[test]
fn spared_r42g_is_asked_in_place_of_who_is_silent() {
    let mut desk = Desk::sparing(4, 1, 0);
    let entry = desk.entry(1);
    let (to, request, spared) = begun(&mut desk);
    for replica in &to[1..] {
        desk.reply(*replica, request, named(vec![in_full(&entry)]));
    }
    desk.pass_ms(4);
    assert!(desk.sent().is_empty());
    desk.pass_ms(1);
    assert_eq!(asked(&mut desk), (vec![spared], Some(request)));
    desk.reply(spared, request, named(vec![in_full(&entry)]));
    assert!(matches!(desk.outcome(), Outcome::Found(_)));
}

#[test]
fn spared_r42g_who_is_not_connected_is() {
    let mut desk = Desk::sparing(4, 1, 0);
    desk.input(bts_core::client::Input::Disconnected(ReplicaId(2)));
    assert_eq!(begun(&mut desk).2, 2);
    desk.input(bts_core::client::Input::Disconnected(ReplicaId(3)));
    desk.rdp();
    assert_eq!(asked(&mut desk).0.len(), 4, "there is nobody to spare");
}

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

#[test]
fn spared_r42g_is_asked_in_place_of_who_is_silent_and_soon_spares_that_one() {
    let mut desk = Desk::sparing(4, 1, 0);
    let entry = desk.entry(1);
    let mut silent = None;
    for _ in 0..3 {
        let (to, request, spared) = begun(&mut desk);
        let silent = *silent.get_or_insert(to[0]);
        for replica in to.into_iter().filter(|replica| *replica != silent) {
            desk.reply(replica, request, named(vec![in_full(&entry)]));
        }
        assert!(desk.sent().is_empty());
        desk.pass_ms(20);
        assert_eq!(asked(&mut desk).0, [spared]);
        desk.reply(spared, request, named(vec![in_full(&entry)]));
        assert!(matches!(desk.outcome(), Outcome::Found(_)));
    }
    assert_eq!(Some(begun(&mut desk).2), silent, "it was late too often");
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

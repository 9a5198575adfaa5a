//! nothing that promises something leaves before the disk has it (A9).

use bts_core::consensus::certificate::{Value, VoteKind};
use bts_core::message::{
    ClientBody, FetchKey, LockRequest, PeerMessage, ReadMode, ReplyBody, TakeRequest,
};
use bts_core::tuple::Tuple;

use crate::cast::{Client, Target, any, bare, promise_of, read, statement, task};
use crate::support::World;

/// A replica with one entry on a disk that is slow from now on.
fn slow() -> (World, Client, Target) {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    world.slow.insert(0);
    (world, client, target)
}

/// Nothing answers the request before the sync, and something does afterwards.
fn held_back(world: &mut World, client: &Client, body: ClientBody) -> ReplyBody {
    let request = world.send(client, 0, body);
    assert_eq!(world.answer(0, client, request), None, "before the sync");
    world.sync(0);
    world.answer(0, client, request).expect("after the sync")
}

#[test]
fn gate_a9_acknowledgement_waits() {
    let (mut world, client, _) = slow();
    let entry = client.entry(2, task(2));
    let answer = held_back(&mut world, &client, ClientBody::Out { entry });
    assert_eq!(answer, ReplyBody::Ack);
}

#[test]
fn gate_a9_write_back_and_relay_wait() {
    let (mut world, client, _) = slow();
    let entry = client.entry(2, task(2));
    let relayed = |world: &World| {
        let relay = |(_, _, m): &(u16, u16, PeerMessage)| matches!(m, PeerMessage::Relay { .. });
        world.wire.iter().any(relay)
    };
    let request = world.send(&client, 0, ClientBody::WriteBack { entry });
    assert!(!relayed(&world) && world.answer(0, &client, request).is_none());
    world.sync(0);
    assert!(relayed(&world) && world.answer(0, &client, request).is_some());
}

#[test]
fn gate_a9_first_vote_waits() {
    let (mut world, client, target) = slow();
    let take = client.take(&target, 0, 1);
    let answer = held_back(&mut world, &client, ClientBody::Take(bare(&take)));
    assert!(matches!(answer, ReplyBody::FirstVote(_)), "{answer:?}");
}

#[test]
fn gate_a9_repeated_first_vote_waits_like_the_first() {
    let (mut world, client, target) = slow();
    let take = client.take(&target, 0, 1);
    let one = world.send(&client, 0, ClientBody::Take(bare(&take)));
    let two = world.send(&client, 0, ClientBody::Take(bare(&take)));
    assert!(world.answer(0, &client, one).is_none() && world.answer(0, &client, two).is_none());
    world.sync(0);
    assert!(world.answer(0, &client, one).is_some() && world.answer(0, &client, two).is_some());
}

#[test]
fn gate_a9_what_rdp_and_rd_name_waits() {
    for mode in [ReadMode::Rdp, ReadMode::Rd] {
        let (mut world, client, _) = slow();
        let entry = client.entry(2, task(2));
        world.send(&client, 0, ClientBody::Out { entry });
        let answer = held_back(&mut world, &client, read(any("task"), mode));
        assert!(matches!(answer, ReplyBody::Found { .. }), "{answer:?}");
    }
}

#[test]
fn gate_a9_push_to_rd_waits_and_hint_to_in_does_not() {
    for (mode, waits) in [(ReadMode::Rd, true), (ReadMode::In, false)] {
        let mut world = World::with_real(&[0]);
        let client = world.client(1);
        let waiter = world.send(&client, 0, read(any("task"), mode));
        world.slow.insert(0);
        let entry = client.entry(2, task(2));
        world.send(&client, 0, ClientBody::Out { entry });
        let pushed = |world: &World| {
            let answer = world.answer(0, &client, waiter);
            matches!(answer, Some(ReplyBody::Push(_)))
        };
        assert_eq!(pushed(&world), !waits, "{mode:?} before the sync");
        world.sync(0);
        assert!(pushed(&world));
    }
}

/// B6: the client believes the later word, and the hint is not given again.
#[test]
fn gate_b6_hint_does_not_overtake_what_was_found_before() {
    for mode in [ReadMode::Rd, ReadMode::In] {
        let (mut world, client, _) = slow();
        world.send(
            &client,
            0,
            ClientBody::Out {
                entry: client.entry(2, task(2)),
            },
        );
        let waiter = world.send(&client, 0, read(any("other"), mode));
        let other = Tuple(vec!["other".into(), 1u64.into()]);
        let entry = client.entry(3, other);
        world.send(&client, 0, ClientBody::Out { entry });
        world.sync(0);
        let told = world.replies.iter().filter(|(_, _, to, _)| *to == waiter);
        let told: Vec<_> = told.map(|(_, _, _, body)| body).collect();
        assert!(
            matches!(told[..], [ReplyBody::Found { .. }, ReplyBody::Push(_)]),
            "{mode:?}: {told:?}"
        );
    }
}

#[test]
fn gate_a9_commit_vote_waits() {
    let (mut world, client, target) = slow();
    let take = client.take(&target, 0, 1);
    let value = Value::Take(world.op(&take));
    let said = statement(&target.id, 0, 0, value);
    let certificate = world.certificate(VoteKind::First, &said, &[1, 2, 3]);
    let lock = LockRequest {
        certificate,
        take,
        released: None,
    };
    let answer = held_back(&mut world, &client, ClientBody::Lock(lock));
    assert!(matches!(answer, ReplyBody::CommitVote(_)), "{answer:?}");
}

#[test]
fn gate_a9_applied_decision_and_moved_wait() {
    let (mut world, client, target) = slow();
    let take = client.take_and_put(&target, 0, 1, &[task(9)]);
    let decision = world.decision(&take);
    let applied = world.send(
        &client,
        0,
        ClientBody::Decide {
            decision,
            applied: true,
        },
    );
    let key = FetchKey::Decision(target.id);
    let fetched = world.send(&client, 0, ClientBody::Fetch(key));
    let moved = world.send(&client, 0, read(task(1).into(), ReadMode::Rdp));
    world.pass(crate::support::WINDOW);
    let told = |world: &World| {
        let applied = |(_, _, m): &(u16, u16, PeerMessage)| matches!(m, PeerMessage::Applied { items, .. } if !items.is_empty());
        world.wire.iter().any(applied)
    };
    let answers = |world: &World| [applied, fetched, moved].map(|r| world.answer(0, &client, r));
    assert_eq!(answers(&world), [None, None, None]);
    assert!(!told(&world), "peers are told before the sync");
    world.sync(0);
    assert!(answers(&world).iter().all(Option::is_some) && told(&world));
}

#[test]
fn gate_a9_promise_waits() {
    let (mut world, client, target) = slow();
    let take = client.take(&target, 0, 1);
    world.send(&client, 0, ClientBody::Evidence(bare(&take)));
    world.sync(0);
    let promised = |world: &World| {
        let promise = |(from, _, m): &(u16, u16, PeerMessage)| {
            *from == 0 && matches!(m, PeerMessage::Promise { .. })
        };
        world.wire.iter().any(promise)
    };
    world.pass(crate::support::WINDOW.times(2));
    assert!(!promised(&world));
    world.sync(0);
    assert!(promised(&world));
}

#[test]
fn gate_a9_proposal_and_prepare_vote_wait() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let (target, take) = owned_by(&mut world, &client, 0);
    world.send(&client, 0, ClientBody::Evidence(bare(&take)));
    world.slow.insert(0);
    let op = world.op(&take);
    for peer in [1, 2] {
        let promise = world.promise(peer, &promise_of(&target.id, 0, 1, &[op]));
        let message = PeerMessage::Promise {
            promise,
            takes: vec![take.clone()],
            released: None,
        };
        world.peer(peer, 0, message);
    }
    let proposed = |world: &World| {
        let propose = |(_, _, m): &(u16, u16, PeerMessage)| matches!(m, PeerMessage::Propose(_));
        world.wire.iter().any(propose)
    };
    assert!(!proposed(&world), "it holds an own promise");
    world.sync(0);
    assert!(proposed(&world));

    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let (target, take) = owned_by(&mut world, &client, 1);
    world.slow.insert(0);
    let proposal = crate::cast::proposal(&world, &target.id, 0, 1, &take, &[1, 2, 3]);
    world.peer(1, 0, PeerMessage::Propose(proposal));
    let voted = |world: &World| {
        let vote = |(_, _, m): &(u16, u16, PeerMessage)| matches!(m, PeerMessage::PrepareVote(_));
        world.wire.iter().any(vote)
    };
    assert!(!voted(&world));
    world.sync(0);
    assert!(voted(&world));
}

/// An entry at replica 0 whose ballot 1 this replica owns, and a Take on it.
fn owned_by(
    world: &mut World,
    client: &Client,
    owner: u16,
) -> (Target, bts_core::crypto::sign::SignedBytes) {
    let target = crate::cast::owned_by(world, client, owner, &[0]);
    let take = client.take(&target, 0, 1);
    (target, take)
}

#[test]
fn gate_a9_given_content_waits() {
    let (mut world, client, target) = slow();
    let entry = client.entry(2, task(2));
    let other = world.target(entry.clone());
    world.send(&client, 0, ClientBody::Out { entry });
    let key = FetchKey::Content(other.id.clone(), other.hash);
    world.peer(3, 0, PeerMessage::Fetch(key.clone()));
    let given = |world: &World| {
        let given = |(_, _, m): &(u16, u16, PeerMessage)| matches!(m, PeerMessage::Given(_));
        world.wire.iter().any(given)
    };
    assert!(!given(&world));
    let answer = held_back(&mut world, &client, ClientBody::Fetch(key));
    assert!(matches!(answer, ReplyBody::Given(_)) && given(&world));
    let take = client.take(&target, 0, 1);
    let evidence = ClientBody::Evidence(TakeRequest {
        take,
        content: None,
        released: None,
    });
    world.send(
        &client,
        0,
        ClientBody::Out {
            entry: client.entry(3, task(3)),
        },
    );
    let answer = held_back(&mut world, &client, evidence);
    assert!(matches!(answer, ReplyBody::Status { .. }));
}

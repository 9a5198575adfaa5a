//! Voters judge a proposal by what it carries: what one of them knows beside it, or lacks,
//! neither changes the choice nor convicts the owner.

use bts_core::consensus::ballot;
use bts_core::consensus::certificate::Value;
use bts_core::consensus::choose::take_order;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{Ballot, Epoch, ReplicaId};
use bts_core::message::{ClientBody, FetchKey, Given, PeerMessage, Proposal, TakeRequest};

use crate::cast::{Client, Target, owned_by, promise_of, task};
use crate::support::World;

/// The prepare vote that replica 0 sent last, if any.
fn voted(world: &World) -> bool {
    let is_vote = |(from, _, message): &(u16, u16, PeerMessage)| {
        *from == 0 && matches!(message, PeerMessage::PrepareVote(_))
    };
    world.wire.iter().any(is_vote)
}

/// A proposal with the promises of replicas 1 to 3, which name these Takes.
fn proposal(
    world: &World,
    target: &Target,
    epoch: u8,
    ballot: u32,
    named: &[&SignedBytes],
    carried: &[&SignedBytes],
) -> Proposal {
    let ops: Vec<_> = named.iter().map(|take| world.op(take)).collect();
    let one = &ops[..1];
    let promise = |by, takes| world.promise(by, &promise_of(&target.id, epoch, ballot, takes));
    Proposal {
        id: target.id.clone(),
        epoch: Epoch(epoch),
        ballot: Ballot(ballot),
        value: Value::Take(ops[0]),
        promises: vec![promise(1, one), promise(2, one), promise(3, &ops)],
        takes: carried.iter().map(|take| (*take).clone()).collect(),
        released: epoch
            .checked_sub(1)
            .map(|before| world.release(&target.id, before)),
    }
}

/// In the last epoch the choice is one value. A faulty replica's promise names the least Take,
/// which a faulty client gave to one voter only: the owner cannot know it, and proposes the next.
#[test]
fn proposal_d3_take_that_only_the_voter_knows_does_not_count() {
    let mut world = World::with_real(&[0]);
    let clients: Vec<Client> = (1..3).map(|seed| world.client(seed)).collect();
    let target = world.out(&clients[0], 1, task(1), &[0]);
    let mut takes: Vec<_> = clients
        .iter()
        .map(|client| (client, client.take(&target, 3, 1)))
        .collect();
    takes.sort_by_key(|(client, take)| {
        take_order(&target.id, Epoch(3), &client.at.key, world.op(take))
    });
    let [(_, least), (client, next)] = takes.as_slice() else {
        unreachable!("two clients");
    };
    let evidence = TakeRequest {
        take: least.clone(),
        content: None,
        released: Some(world.release(&target.id, 2)),
    };
    world.ask(client, 0, ClientBody::Evidence(evidence));

    let size = world.configuration.size();
    let owner = |ballot| ballot::owner(size, &target.id, Epoch(3), Ballot(ballot));
    let ballot = (1..3)
        .find(|ballot| owner(*ballot) != ReplicaId(0))
        .expect("two owners");
    let proposal = proposal(&world, &target, 3, ballot, &[next, least], &[next]);
    world.peer(owner(ballot).0, 0, PeerMessage::Propose(proposal));
    assert!(voted(&world), "{:?}", world.events);
    assert_eq!(world.events, [], "nobody is blamed");
}

/// (A2) A faulty writer signed two contents; the Take of the one that a voter lacks is proposed. It
/// asks the owner for the content, and votes then.
#[test]
fn proposal_a2_content_that_the_voter_lacks_is_asked_for() {
    let mut world = World::with_real(&[0]);
    let (writer, other) = (world.client(1), world.client(2));
    let held = owned_by(&mut world, &writer, 1, &[0]);
    let seq = (1000..2000).find(|seq| world.target(writer.entry(*seq, task(*seq))).id == held.id);
    let lacked = world.target(writer.entry(seq.expect("written above"), task(0)));
    let (wanted, rival) = (other.take(&lacked, 0, 1), other.take(&held, 0, 2));
    let mut proposal = proposal(&world, &held, 0, 1, &[&rival, &wanted], &[&rival, &wanted]);
    proposal.value = Value::Take(world.op(&wanted));
    world.peer(1, 0, PeerMessage::Propose(proposal));
    assert!(!voted(&world));
    assert_eq!(world.events, [], "nobody is blamed");
    let key = FetchKey::Content(lacked.id.clone(), lacked.hash);
    let asked = (0, 1, PeerMessage::Fetch(key));
    assert!(world.wire.contains(&asked), "{:?}", world.wire);

    let given = Given::Content(lacked.id.clone(), lacked.content);
    world.peer(1, 0, PeerMessage::Given(given));
    assert!(voted(&world), "{:?}", world.wire);
}

/// (A2) A promise that counts for another reason still tells of a content to be asked for: else the
/// owner would never allow the Take that all others allow.
#[test]
fn promise_a2_content_that_the_owner_lacks_is_asked_for() {
    let mut world = World::with_real(&[0]);
    let (writer, other) = (world.client(1), world.client(2));
    let held = world.out(&writer, 1, task(1), &[0]);
    let lacked = world.target(writer.entry(1, task(2)));
    let takes = vec![other.take(&held, 0, 1), other.take(&lacked, 0, 2)];
    let ops: Vec<_> = takes.iter().map(|take| world.op(take)).collect();
    let promise = world.promise(2, &promise_of(&held.id, 0, 1, &ops));
    let released = None;
    world.peer(
        2,
        0,
        PeerMessage::Promise {
            promise,
            takes,
            released,
        },
    );
    let key = FetchKey::Content(lacked.id, lacked.hash);
    assert!(
        world.wire.contains(&(0, 2, PeerMessage::Fetch(key))),
        "{:?}",
        world.wire
    );
}

//! What one replica binds itself to (R-3.1, R-4.3a), by hand: the other three are the test's to
//! play.

use bts_core::configuration::{Allow, Policy, SpacePolicy};
use bts_core::consensus::certificate::{Value, VoteKind};
use bts_core::content::Content;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{Ballot, Epoch};
use bts_core::message::{
    ClientBody, FetchKey, LockRequest, PeerMessage, ReadMode, Refused, ReplyBody, TakeRequest,
};
use bts_core::misbehavior::Evidence;
use bts_core::replica::Event;

use crate::cast::{
    Client, Target, any, bare, owned_by, promise_of, proposal, read, statement, task,
};
use crate::support::{Plan, WINDOW, World};

fn alone() -> (World, Client) {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    (world, client)
}

fn ask_vote(world: &mut World, client: &Client, take: &SignedBytes) -> ReplyBody {
    let answer = world.ask(client, 0, ClientBody::Take(bare(take)));
    answer.expect("an answer")
}

/// A lock of `value` by everybody else.
fn lock(
    world: &World,
    target: &Target,
    ballot: u32,
    value: Value,
    take: &SignedBytes,
) -> LockRequest {
    let kind = match ballot {
        0 => VoteKind::First,
        _ => VoteKind::Prepare,
    };
    let said = statement(&target.id, 0, ballot, value);
    LockRequest {
        certificate: world.certificate(kind, &said, &[1, 2, 3]),
        take: take.clone(),
        released: None,
    }
}

fn prepared(world: &World) -> usize {
    let vote = |(from, _, m): &&(u16, u16, PeerMessage)| {
        *from == 0 && matches!(m, PeerMessage::PrepareVote(_))
    };
    world.wire.iter().filter(vote).count()
}

///
/// Two contents of one id are two candidates but one instance: who voted for a Take of one of them
/// does not vote for a Take of the other.
#[test]
fn votes_a2_two_contents_have_one_instance() {
    let (mut world, client) = alone();
    let one = world.out(&client, 1, task(1), &[0]);
    let other = world.out(&client, 1, task(2), &[0]);
    assert_eq!(one.id, other.id);
    let convicted = |(_, e): &(u16, Event)| matches!(e, Event::Convicted(e) if matches!(**e, Evidence::TwoContents { .. }));
    assert!(
        world.events.iter().any(convicted),
        "its writer is convicted"
    );
    let answer = ask_vote(&mut world, &client, &client.take(&one, 0, 1));
    assert!(matches!(answer, ReplyBody::FirstVote(_)));
    let answer = ask_vote(&mut world, &client, &client.take(&other, 0, 2));
    assert!(matches!(answer, ReplyBody::Contended { .. }), "{answer:?}");
    let decision = world.decision(&client.take(&one, 0, 1));
    world.peer(1, 0, PeerMessage::Decide(decision));
    let answer = world.ask(&client, 0, read(any("task"), ReadMode::Rdp));
    let Some(ReplyBody::Found { candidates, .. }) = answer else {
        panic!("{answer:?}")
    };
    assert!(candidates.is_empty(), "removed with all its contents");
}

/// A2: a replica votes for a content that it holds, and for no other.
#[test]
fn votes_a2_content_must_be_held() {
    let (mut world, client) = alone();
    world.out(&client, 1, task(1), &[0]);
    let other = world.target(client.entry(1, task(2)));
    let answer = ask_vote(&mut world, &client, &client.take(&other, 0, 1));
    let lacks = FetchKey::Content(other.id.clone(), other.hash);
    assert_eq!(answer, ReplyBody::NotHeld(lacks));
    let request = TakeRequest {
        content: Some(other.content.clone()),
        ..bare(&client.take(&other, 0, 1))
    };
    let answer = world.ask(&client, 0, ClientBody::Take(request));
    assert!(
        matches!(answer, Some(ReplyBody::FirstVote(_))),
        "{answer:?}"
    );
}

/// A3: the vote is for the hash of the whole Take, so other puts are another Take.
#[test]
fn votes_a3_other_puts_are_another_take() {
    let (mut world, client) = alone();
    let target = world.out(&client, 1, task(1), &[0]);
    let one = client.take_and_put(&target, 0, 1, &[task(5)]);
    let other = client.take_and_put(&target, 0, 1, &[task(6)]);
    assert!(matches!(
        ask_vote(&mut world, &client, &one),
        ReplyBody::FirstVote(_)
    ));
    assert!(matches!(
        ask_vote(&mut world, &client, &other),
        ReplyBody::Contended { .. }
    ));
}

/// A3: a put belongs to the Take that was decided; an entry that claims its id is none.
#[test]
fn votes_a3_put_cannot_be_written() {
    let (mut world, client) = alone();
    let target = world.out(&client, 1, task(1), &[0]);
    let payload = bts_core::content::EntryPayload {
        id: target.id.put(0).expect("short"),
        tuple: task(2),
        expiry: None,
        access: None,
    };
    let entry = client.signer.sign(
        bts_core::crypto::sign::Kind::Entry,
        bts_core::codec::encode(&payload),
    );
    let answer = world.ask(&client, 0, ClientBody::Out { entry });
    assert!(matches!(
        answer,
        Some(ReplyBody::Refused(Refused::IllFormed(_)))
    ));
}

/// A3: somebody else's Take gets no vote, whoever sends it.
#[test]
fn votes_a3_take_is_for_its_signer() {
    let (mut world, client) = alone();
    let other = world.client(2);
    let target = world.out(&client, 1, task(1), &[0]);
    let take = other.take(&target, 0, 1);
    let answer = ask_vote(&mut world, &client, &take);
    assert!(
        matches!(answer, ReplyBody::Refused(Refused::IllFormed(_))),
        "{answer:?}"
    );
}

/// A space where only `owner` may take.
fn closed_space() -> (World, Client, Client) {
    let owner = World::with_real(&[0]).client(1).at.key;
    let rights = SpacePolicy {
        take: Allow::Keys([owner].into()),
        ..SpacePolicy::default()
    };
    let mut policy = Policy::default();
    let name = bts_core::ids::SpaceName::new("jobs").expect("a good name");
    policy.spaces.insert(name, rights);
    let mut world = World::new(Plan {
        real: vec![0],
        policy,
        ..Plan::default()
    });
    let (owner, thief) = (world.client(1), world.client(2));
    (world, owner, thief)
}

/// A4: in a free choice the policy counts. A faulty owner of ballot 1 proposes a Take that nobody
/// may sign, justified by promises which name it.
#[test]
fn votes_a4_policy_in_a_free_choice() {
    let (mut world, owner, thief) = closed_space();
    let target = owned_by(&mut world, &owner, 1, &[0]);
    let theft = thief.take(&target, 0, 1);
    let answer = ask_vote(&mut world, &thief, &theft);
    assert!(
        matches!(answer, ReplyBody::Refused(Refused::Forbidden(_))),
        "{answer:?}"
    );
    let stolen = proposal(&world, &target.id, 0, 1, &theft, &[1, 2, 3]);
    world.peer(1, 0, PeerMessage::Propose(stolen));
    assert_eq!(prepared(&world), 0);
    let bought = owner.take(&target, 0, 1);
    let good = proposal(&world, &target.id, 0, 1, &bought, &[1, 2, 3]);
    world.peer(1, 0, PeerMessage::Propose(good));
    assert_eq!(prepared(&world), 1);
}

/// A4: nobody votes on an entry that it does not hold, or an id could be used up before its writer
/// came to write it.
#[test]
fn votes_a4_content_must_be_held_to_prepare() {
    let (mut world, client) = alone();
    let target = owned_by(&mut world, &client, 1, &[]);
    let take = client.take(&target, 0, 1);
    let good = proposal(&world, &target.id, 0, 1, &take, &[1, 2, 3]);
    world.peer(1, 0, PeerMessage::Propose(good));
    assert_eq!(prepared(&world), 0);
    let Content::Signed(entry) = target.content else {
        panic!("a written entry")
    };
    world.ask(&client, 0, ClientBody::Out { entry });
    assert_eq!(
        prepared(&world),
        1,
        "what waited for the content is handled"
    );
}

/// A7: a put enters with all of its decision or not at all.
#[test]
fn votes_a7_put_never_comes_alone() {
    let (mut world, client) = alone();
    let target = world.out(&client, 1, task(1), &[0]);
    let swap = client.take_and_put(&target, 0, 1, &[task(2), task(3)]);
    let decision = world.decision(&swap);
    let put = Target {
        id: target.id.put(0).expect("short"),
        hash: bts_core::content::put_hash(world.op(&swap), 0),
        content: Content::Put(Box::new(decision)),
    };
    let request = TakeRequest {
        content: Some(put.content.clone()),
        ..bare(&client.take(&put, 0, 2))
    };
    world.ask(&client, 0, ClientBody::Take(request));
    for (number, present) in [(1, false), (2, true), (3, true)] {
        let answer = world.ask(&client, 0, read(task(number).into(), ReadMode::Rdp));
        let Some(ReplyBody::Found { candidates, .. }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(!candidates.is_empty(), present, "task {number}");
    }
}

/// A11: no first vote once a higher ballot was entered.
#[test]
fn votes_a11_first_vote_after_a_promise_is_refused() {
    let (mut world, client) = alone();
    let other = world.client(2);
    let target = world.out(&client, 1, task(1), &[0]);
    world.ask(
        &client,
        0,
        ClientBody::Evidence(bare(&client.take(&target, 0, 1))),
    );
    world.pass(WINDOW.times(2));
    let answer = ask_vote(&mut world, &other, &other.take(&target, 0, 1));
    let ReplyBody::Contended { status, .. } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!((status.first, status.promised), (None, Ballot(1)));
}

/// A10: one prepare vote per ballot, whatever a faulty owner proposes.
#[test]
fn votes_a10_second_prepare_vote_of_a_ballot_is_refused() {
    let (mut world, client) = alone();
    let other = world.client(2);
    let target = owned_by(&mut world, &client, 1, &[0]);
    let takes = [client.take(&target, 0, 1), other.take(&target, 0, 1)];
    for (take, votes) in takes.iter().zip([1, 1]) {
        let proposed = proposal(&world, &target.id, 0, 1, take, &[1, 2, 3]);
        world.peer(1, 0, PeerMessage::Propose(proposed));
        assert_eq!(prepared(&world), votes);
    }
    let again = proposal(&world, &target.id, 0, 1, &takes[0], &[1, 2, 3]);
    world.peer(1, 0, PeerMessage::Propose(again));
    assert_eq!(prepared(&world), 2, "the vote that was given is repeated");
}

/// A11: what the owner proposes is what its promises force, and exactly `P` of them.
#[test]
fn votes_a11_choice_is_checked() {
    let (mut world, client) = alone();
    let other = world.client(2);
    let target = owned_by(&mut world, &client, 1, &[0]);
    let (mine, theirs) = (client.take(&target, 0, 1), other.take(&target, 0, 1));
    let op = world.op(&mine);
    // Two of three gave their first vote to `mine`.
    let mut forced = proposal(&world, &target.id, 0, 1, &theirs, &[3]);
    forced.takes.push(mine);
    for by in [1, 2] {
        let promise = bts_core::consensus::promise::PromisePayload {
            first: Some(op),
            ..promise_of(&target.id, 0, 1, &[op])
        };
        forced.promises.push(world.promise(by, &promise));
    }
    world.peer(1, 0, PeerMessage::Propose(forced.clone()));
    assert_eq!(prepared(&world), 0, "another value than the forced one");
    let mut few = forced.clone();
    few.value = Value::Take(op);
    few.promises.pop();
    world.peer(1, 0, PeerMessage::Propose(few));
    let mut twice = forced.clone();
    twice.value = Value::Take(op);
    twice.promises[0] = twice.promises[1].clone();
    world.peer(1, 0, PeerMessage::Propose(twice));
    assert_eq!(prepared(&world), 0);
    forced.value = Value::Take(op);
    world.peer(2, 0, PeerMessage::Propose(forced.clone()));
    assert_eq!(prepared(&world), 0, "not from the owner of the ballot");
    world.peer(1, 0, PeerMessage::Propose(forced));
    assert_eq!(prepared(&world), 1);
}

/// A lock below what was promised is refused, and does not replace a higher one.
#[test]
fn votes_a11_lock_below_the_promise_is_refused() {
    let (mut world, client) = alone();
    let target = world.out(&client, 1, task(1), &[0]);
    let take = client.take(&target, 0, 1);
    let value = Value::Take(world.op(&take));
    let high = lock(&world, &target, 2, value, &take);
    let answer = world.ask(&client, 0, ClientBody::Lock(high));
    assert!(
        matches!(answer, Some(ReplyBody::CommitVote(_))),
        "{answer:?}"
    );
    for (ballot, value) in [(0, value), (1, value), (1, Value::Release)] {
        let low = lock(&world, &target, ballot, value, &take);
        let answer = world.ask(&client, 0, ClientBody::Lock(low));
        let Some(ReplyBody::Contended { status, .. }) = answer else {
            panic!("{answer:?}")
        };
        let held = world.verifier.certificate(status.lock.expect("a lock"));
        assert_eq!(held.expect("a good lock").statement().ballot, Ballot(2));
    }
}

/// B2: with a lock of `Release` comes some Take as evidence. One that nobody may take with is none:
/// the ballot joined by it would have a promise that counts for nobody.
#[test]
fn votes_b2_release_lock_needs_an_allowed_take() {
    let (mut world, owner, thief) = closed_space();
    let target = world.out(&owner, 1, task(1), &[0]);
    let theft = thief.take(&target, 0, 1);
    let unfounded = lock(&world, &target, 1, Value::Release, &theft);
    let answer = world.ask(&thief, 0, ClientBody::Lock(unfounded.clone()));
    assert!(matches!(answer, Some(ReplyBody::Refused(_))), "{answer:?}");
    world.peer(3, 0, PeerMessage::Lock(unfounded.clone()));
    let status = world.status(&owner, 0, &target).expect("present");
    assert_eq!((status.promised, status.lock), (Ballot(0), None));
    // Who knows an allowed Take anyway needs no other.
    let take = owner.take(&target, 0, 1);
    world.ask(&owner, 0, ClientBody::Evidence(bare(&take)));
    let answer = world.ask(&thief, 0, ClientBody::Lock(unfounded));
    assert!(
        matches!(answer, Some(ReplyBody::CommitVote(_))),
        "{answer:?}"
    );
    let promised = world.wire.iter().rev().find_map(|(_, _, m)| match m {
        PeerMessage::Promise { takes, .. } => Some(takes.clone()),
        _ => None,
    });
    assert_eq!(promised, Some(vec![take]));
}

/// A lock that a replica cannot judge yet is not lost on it.
#[test]
fn votes_client_lock_waits_for_the_content() {
    let (mut world, client) = alone();
    let target = world.target(client.entry(1, task(1)));
    let take = client.take(&target, 0, 1);
    let value = Value::Take(world.op(&take));
    let body = ClientBody::Lock(lock(&world, &target, 0, value, &take));
    let request = world.send(&client, 0, body);
    let asked = |(_, _, m): &(u16, u16, PeerMessage)| {
        matches!(m, PeerMessage::Fetch(FetchKey::Content(..)))
    };
    assert!(world.wire.iter().any(asked), "it asks for the content");
    let given = bts_core::message::Given::Content(target.id.clone(), target.content);
    world.peer(2, 0, PeerMessage::Given(given));
    let answer = world.answer(0, &client, request);
    assert!(
        matches!(answer, Some(ReplyBody::CommitVote(_))),
        "{answer:?}"
    );
}

/// G1: votes bind the space, so a release of one space says nothing in another.
#[test]
fn votes_g1_release_of_another_space_is_none() {
    let (mut world, client) = alone();
    let here = world.out(&client, 1, task(1), &[0]);
    let there = world.target(client.entry_in("other", 1, task(1)));
    for released in [world.release(&there.id, 0), world.release(&here.id, 1)] {
        let request = TakeRequest {
            released: Some(released),
            ..bare(&client.take(&here, 1, 1))
        };
        let answer = world.ask(&client, 0, ClientBody::Take(request));
        assert!(
            !matches!(answer, Some(ReplyBody::FirstVote(_))),
            "{answer:?}"
        );
    }
    let status = world.status(&client, 0, &here).expect("present");
    assert_eq!(status.epoch, Epoch(0));
    let request = TakeRequest {
        released: Some(world.release(&here.id, 0)),
        ..bare(&client.take(&here, 1, 1))
    };
    let answer = world.ask(&client, 0, ClientBody::Take(request));
    assert!(
        matches!(answer, Some(ReplyBody::FirstVote(_))),
        "{answer:?}"
    );
}

/// G9d: there is no epoch above 3, and 3 has no release.
#[test]
fn votes_g9_epoch_above_3_is_ill_formed() {
    let (mut world, client) = alone();
    let target = world.out(&client, 1, task(1), &[0]);
    let request = TakeRequest {
        released: Some(world.release(&target.id, 3)),
        ..bare(&client.take(&target, 4, 1))
    };
    let answer = world.ask(&client, 0, ClientBody::Take(request));
    assert!(
        matches!(answer, Some(ReplyBody::Refused(Refused::IllFormed(_)))),
        "{answer:?}"
    );
    let certificate = world.release(&target.id, 3);
    let id = target.id.clone();
    world.peer(1, 0, PeerMessage::Released { id, certificate });
    let status = world.status(&client, 0, &target).expect("present");
    assert_eq!(status.epoch, Epoch(0));
}

///
/// A released epoch is over at once, and the next one is a fresh start: nothing is contested.
#[test]
fn votes_released_entry_is_free_again() {
    let (mut world, client) = alone();
    let target = world.out(&client, 1, task(1), &[0]);
    let take = client.take(&target, 0, 1);
    ask_vote(&mut world, &client, &take);
    let (id, certificate) = (target.id.clone(), world.release(&target.id, 0));
    world.peer(1, 0, PeerMessage::Released { id, certificate });
    let status = world.status(&client, 0, &target).expect("present");
    assert_eq!(
        (status.epoch, status.first, status.lock),
        (Epoch(1), None, None)
    );
    let answer = ask_vote(&mut world, &client, &take);
    assert!(matches!(answer, ReplyBody::Released { .. }), "{answer:?}");
}

/// B3: a Take in an epoch that has not begun here gets no vote; what is lacking is the release of
/// the epoch before.
#[test]
fn votes_b3_epoch_ahead_needs_its_proof() {
    let (mut world, client) = alone();
    let target = world.out(&client, 1, task(1), &[0]);
    let answer = ask_vote(&mut world, &client, &client.take(&target, 1, 1));
    let lacks = FetchKey::Release(target.id, Epoch(0));
    assert_eq!(answer, ReplyBody::NotHeld(lacks));
}

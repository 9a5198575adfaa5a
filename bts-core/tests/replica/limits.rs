//! Bounds and rights: what is refused, to whom, and what gives room again.

use bts_core::configuration::{Allow, Policy, SpacePolicy};
use bts_core::ids::{Ballot, RequestId, Session, TakeNumber};
use bts_core::message::{
    ClientBody, ClientRequest, FetchKey, PeerMessage, ReadMode, Refused, Removal, ReplyBody,
    TakeRequest,
};
use bts_core::replica::{Input, Limits};
use bts_core::tuple::Tuple;

use crate::cast::{Client, any, bare, promise_of, read, task};
use crate::support::{Plan, WINDOW, World};

fn limited() -> (World, Client) {
    let mut world = World::new(Plan {
        real: vec![0],
        limits: Limits {
            open_votes_per_client: 2,
            waiters_per_session: 2,
            live_contents_per_writer: 5,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = world.client(1);
    (world, client)
}

fn is_limit(answer: &Option<ReplyBody>) -> bool {
    matches!(answer, Some(ReplyBody::Refused(Refused::Limit(_))))
}

/// Undecided votes are limited per client, and each is given back exactly once: by its decision or
/// by the release of its epoch.
#[test]
fn limits_of_open_votes_is_given_back_once() {
    let (mut world, client) = limited();
    let targets: Vec<_> = (1..=4)
        .map(|i| world.out(&client, i, task(i), &[0]))
        .collect();
    let vote = |world: &mut World, i: usize, epoch| {
        let request = TakeRequest {
            released: (epoch > 0).then(|| world.release(&targets[i].id, epoch - 1)),
            ..bare(&client.take(&targets[i], epoch, i as u64))
        };
        world.ask(&client, 0, ClientBody::Take(request))
    };
    for i in [0, 1] {
        assert!(matches!(
            vote(&mut world, i, 0),
            Some(ReplyBody::FirstVote(_))
        ));
    }
    assert!(is_limit(&vote(&mut world, 2, 0)));
    assert!(
        matches!(vote(&mut world, 0, 0), Some(ReplyBody::FirstVote(_))),
        "repeated"
    );
    // Released, and decided in the next epoch: one vote less, not two.
    let (id, certificate) = (targets[0].id.clone(), world.release(&targets[0].id, 0));
    world.peer(1, 0, PeerMessage::Released { id, certificate });
    let decision = world.decision(&client.take(&targets[0], 1, 9));
    world.peer(1, 0, PeerMessage::Decide(decision));
    assert!(matches!(
        vote(&mut world, 2, 0),
        Some(ReplyBody::FirstVote(_))
    ));
    assert!(is_limit(&vote(&mut world, 3, 0)));
    let decision = world.decision(&client.take(&targets[1], 0, 1));
    world.peer(1, 0, PeerMessage::Decide(decision));
    assert!(matches!(
        vote(&mut world, 3, 0),
        Some(ReplyBody::FirstVote(_))
    ));
}

/// C7: a client over its limit of votes cannot start recoveries instead: what it tells of is limited
/// as well, by itself and by the mouth of a faulty replica, and given back with the instance.
#[test]
fn limits_c7_evidence_is_limited() {
    let (mut world, client) = limited();
    let targets: Vec<_> = (1..=5)
        .map(|i| world.out(&client, i, task(i), &[0]))
        .collect();
    let take = |i: usize| client.take(&targets[i], 0, i as u64);
    for i in 0..2 {
        let answer = world.ask(&client, 0, ClientBody::Evidence(bare(&take(i))));
        assert!(
            matches!(answer, Some(ReplyBody::Status { .. })),
            "{answer:?}"
        );
    }
    assert!(is_limit(&world.ask(
        &client,
        0,
        ClientBody::Evidence(bare(&take(2)))
    )));
    let again = world.ask(&client, 0, ClientBody::Evidence(bare(&take(1))));
    assert!(!is_limit(&again), "it is known already: {again:?}");
    for (i, target) in targets.iter().enumerate().skip(2) {
        let op = world.op(&take(i));
        for peer in [2, 3] {
            let promise = world.promise(peer, &promise_of(&target.id, 0, 1, &[op]));
            let (takes, released) = (vec![take(i)], None);
            let message = PeerMessage::Promise {
                promise,
                takes,
                released,
            };
            world.step(0, Input::Peer(bts_core::ids::ReplicaId(peer), message));
        }
    }
    world.pump();
    let promised = |world: &mut World, i: usize| {
        let status = world.status(&client, 0, &targets[i]).expect("present");
        status.promised
    };
    assert_eq!(
        promised(&mut world, 2),
        Ballot(1),
        "f+1 promises are followed"
    );
    assert_eq!(
        promised(&mut world, 4),
        Ballot(0),
        "of the third nothing is known"
    );
    let decision = world.decision(&take(0));
    world.peer(1, 0, PeerMessage::Decide(decision));
    assert!(!is_limit(&world.ask(
        &client,
        0,
        ClientBody::Evidence(bare(&take(4)))
    )));
}

/// A Take that is refused for a limit starts no timer either.
#[test]
fn limits_refused_take_opens_no_instance() {
    let (mut world, client) = limited();
    let targets: Vec<_> = (1..=3)
        .map(|i| world.out(&client, i, task(i), &[0]))
        .collect();
    for target in &targets {
        world.ask(
            &client,
            0,
            ClientBody::Take(bare(&client.take(target, 0, 1))),
        );
    }
    world.pass(WINDOW.times(2));
    let status = world.status(&client, 0, &targets[2]).expect("present");
    assert_eq!(status.promised, Ballot(0));
}

#[test]
fn limits_of_contents_is_refused() {
    let (mut world, client) = limited();
    (1..=5).for_each(|i| drop(world.out(&client, i, task(i), &[0])));
    let entry = client.entry(6, task(6));
    assert!(is_limit(&world.ask(
        &client,
        0,
        ClientBody::Out {
            entry: entry.clone()
        }
    )));
    let answer = world.ask(&client, 0, ClientBody::WriteBack { entry });
    assert!(
        matches!(answer, Some(ReplyBody::Status { .. })),
        "B7, G8: {answer:?}"
    );
}

#[test]
fn limits_of_waiters_is_refused() {
    let (mut world, client) = limited();
    for _ in 0..2 {
        let answer = world.ask(&client, 0, read(any("task"), ReadMode::In));
        assert!(!is_limit(&answer), "{answer:?}");
    }
    let answer = world.ask(&client, 0, read(any("task"), ReadMode::Rd));
    assert!(is_limit(&answer), "refused, never empty: {answer:?}");
}

/// Whoever may not read a space is not told what was put there.
#[test]
fn limits_decision_is_not_told_to_whom_the_space_is_closed() {
    let mut world = World::with_real(&[0]);
    let owner = world.client(1);
    let mut policy = Policy::default();
    let name = bts_core::ids::SpaceName::new("jobs").expect("a good name");
    let rights = SpacePolicy {
        read: Allow::Keys([owner.at.key].into()),
        ..SpacePolicy::default()
    };
    policy.spaces.insert(name, rights);
    let mut world = World::new(Plan {
        real: vec![0],
        policy,
        ..Plan::default()
    });
    let (owner, stranger) = (world.client(1), world.client(2));
    let target = world.out(&owner, 1, task(1), &[0]);
    let secret = Tuple(vec!["secret".into()]);
    let decision = world.decision(&owner.take_and_put(&target, 0, 1, &[secret]));
    world.peer(1, 0, PeerMessage::Decide(decision));
    for body in [
        ClientBody::Fetch(FetchKey::Decision(target.id.clone())),
        ClientBody::Take(bare(&stranger.take(&target, 0, 1))),
    ] {
        let answer = world.ask(&stranger, 0, body.clone());
        assert!(matches!(answer, Some(ReplyBody::Refused(_))), "{answer:?}");
        let answer = world.ask(&owner, 0, body);
        assert!(!matches!(answer, Some(ReplyBody::NotHeld(_)) | None));
    }
}

/// A writer that signs content after content is refused, not told that they are stored. What a
/// reader writes back is stored: else every replica could hold others, and nobody could ever read
/// or miss the entry.
#[test]
fn limits_a2_many_contents_are_refused_to_their_writer_only() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let entry = |number| client.entry(1, task(number));
    for number in 0..bts_core::limits::CONTENTS_PER_ID_MAX as u64 {
        let entry = entry(number);
        assert_eq!(
            world.ask(&client, 0, ClientBody::Out { entry }),
            Some(ReplyBody::Ack)
        );
    }
    let answer = world.ask(&client, 0, ClientBody::Out { entry: entry(90) });
    assert!(
        matches!(answer, Some(ReplyBody::Refused(Refused::Limit(_)))),
        "{answer:?}"
    );
    let target = world.target(entry(90));
    let status = world.status(&client, 0, &target).expect("present");
    assert!(status.contents.contains(&target.hash));
}

/// B7: the writer's limit is its own matter. An entry that another replica stored before the limit
/// was reached here is written back all the same, or neither it nor None could be had.
#[test]
fn limits_b7_write_back_is_not_refused() {
    let (mut world, writer) = limited();
    for i in 1..=5 {
        world.out(&writer, i, task(i), &[0]);
    }
    let elsewhere = writer.entry(6, task(6));
    let out = ClientBody::Out {
        entry: elsewhere.clone(),
    };
    assert!(is_limit(&world.ask(&writer, 0, out)));
    let reader = world.client(2);
    let back = ClientBody::WriteBack {
        entry: elsewhere.clone(),
    };
    let answer = world.ask(&reader, 0, back);
    assert!(
        matches!(answer, Some(ReplyBody::Status { .. })),
        "{answer:?}"
    );
    let target = world.target(elsewhere);
    let held = world.status(&reader, 0, &target).map(|s| s.contents);
    assert_eq!(held, Some(vec![target.hash]));
}

/// C3: what one process settled says nothing about another one with the same key: each session has
/// a window of its own, and the outcome of its Take is told.
#[test]
fn limits_c3_sessions_of_one_key_are_settled_apart() {
    let (mut world, one) = limited();
    let mut other = world.client(1);
    other.at.session = Session(99);
    world.step(0, Input::ClientConnected(other.at));
    let target = world.out(&one, 1, task(1), &[0]);
    let message = ClientRequest {
        request: RequestId(1 << 40),
        settled_below: TakeNumber(1_000_000),
        body: ClientBody::Inspect,
    };
    world.step(0, Input::Client(other.at, message));
    let take = one.take(&target, 0, 3);
    let answer = world.ask(&one, 0, ClientBody::Take(bare(&take)));
    assert!(
        matches!(answer, Some(ReplyBody::FirstVote(_))),
        "{answer:?}"
    );
    let decision = world.decision(&take);
    world.peer(1, 0, PeerMessage::Decide(decision.clone()));
    let answer = world.ask(&one, 0, ClientBody::Take(bare(&take)));
    let expected = ReplyBody::Removed {
        id: target.id,
        removal: Removal::Decision(Box::new(decision)),
    };
    assert_eq!(
        answer,
        Some(expected),
        "the winner is told, not that it is forgotten"
    );
    let answer = world.ask(&other, 0, ClientBody::Take(bare(&take)));
    assert!(
        !matches!(answer, Some(ReplyBody::FirstVote(_))),
        "a Take of another session gets no vote here: {answer:?}"
    );
}

//! What replicas tell and ask one another: streams, fetches and messages that wait for what
//! they lack, the order of descent (R-4.5a), and what removes an entry.

use bts_core::content::{Content, Decision};
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{ContentHash, EntryId};
use bts_core::limits::{FETCHES_PER_SENDER_MAX, STASHED_PER_SENDER_MAX};
use bts_core::message::{ClientBody, FetchKey, Given, PeerMessage, Removal, ReplyBody};
use bts_core::time::Span;

use crate::cast::{Client, Target, any, bare, promise_of, read, task};
use crate::support::{WINDOW, World};

/// A line of swaps x, x.0, x.0.0, ... and the decision of each.
fn line(world: &World, client: &Client, target: &Target, length: u64) -> Vec<Decision> {
    let mut target = target.clone();
    let mut decisions = Vec::new();
    for number in 1..=length {
        let take = client.take_and_put(&target, 0, number, &[task(number)]);
        let decision = world.decision(&take);
        target = Target {
            id: target.id.put(0).expect("one run"),
            hash: bts_core::content::put_hash(world.op(&take), 0),
            content: Content::Put(Box::new(decision.clone())),
        };
        decisions.push(decision);
    }
    decisions
}

fn id_of(world: &World, decision: &Decision) -> EntryId {
    let take: SignedBytes = decision.take.clone().expect("a Take");
    world.verifier.take(take).expect("a good Take").id.clone()
}

#[test]
fn peers_c6_decisions_wait_for_those_they_descend_from() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(0), &[0]);
    let decisions = line(&world, &client, &target, 3);
    for decision in decisions.iter().rev() {
        world.peer(1, 0, PeerMessage::Decide(decision.clone()));
        let asked = |(_, to, m): &(u16, u16, PeerMessage)| {
            *to == 1 && matches!(m, PeerMessage::Fetch(FetchKey::Decision(_)))
        };
        assert!(world.wire.iter().any(asked), "what it lacks is asked for");
    }
    for decision in &decisions {
        let id = id_of(&world, decision);
        assert!(world.is_removed(&client, 0, &id), "{id}");
    }
}

/// A hostile client with many sessions sends the decisions of a long line to a replica that missed
/// all of it, then the first arrives: each one applied sets the next free, and none of them may
/// cost stack.
#[test]
fn peers_long_line_of_waiting_decisions_is_no_recursion() {
    let mut world = World::with_real(&[0]);
    let writer = world.client(1);
    let target = world.out(&writer, 1, task(0), &[0]);
    let decisions = line(&world, &writer, &target, 1500);
    let (first, later) = decisions.split_first().expect("a line");
    for (session, part) in later.chunks(STASHED_PER_SENDER_MAX).enumerate() {
        let helper = world.client(10 + session as u8);
        for decision in part {
            let body = ClientBody::Decide {
                decision: decision.clone(),
                applied: false,
            };
            world.send(&helper, 0, body);
        }
    }
    world.peer(1, 0, PeerMessage::Decide(first.clone()));
    let last = id_of(&world, decisions.last().expect("a line"));
    assert!(world.is_removed(&writer, 0, &last));
}

/// What a client left waiting ends with it; else every new session adds to the store.
#[test]
fn peers_waiting_messages_end_with_their_client() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.target(client.entry(1, task(0)));
    let decisions = line(&world, &client, &target, 2);
    let body = ClientBody::Decide {
        decision: decisions[1].clone(),
        applied: true,
    };
    let request = world.send(&client, 0, body);
    world.step(0, bts_core::replica::Input::ClientGone(client.at));
    world.peer(1, 0, PeerMessage::Decide(decisions[0].clone()));
    assert_eq!(world.answer(0, &client, request), None);
}

#[test]
fn peers_client_decide_below_a_missing_origin_is_answered_in_the_end() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.target(client.entry(1, task(0)));
    let decisions = line(&world, &client, &target, 2);
    let body = ClientBody::Decide {
        decision: decisions[1].clone(),
        applied: true,
    };
    let request = world.send(&client, 0, body);
    assert_eq!(world.answer(0, &client, request), None);
    let removal = Removal::Decision(Box::new(decisions[0].clone()));
    let id = target.id;
    world.peer(1, 0, PeerMessage::Removed { id, removal });
    let answer = world.answer(0, &client, request);
    assert!(
        matches!(answer, Some(ReplyBody::Applied { .. })),
        "{answer:?}"
    );
}

/// G5: x at s0, s1, s2; the decision reaches s0 and s1 only, and nobody ever mentions it again.
#[test]
fn peers_g5_missed_decision_comes_by_the_stream() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    let decision = world.decision(&client.take(&target, 0, 1));
    for i in [0, 1] {
        world.ask(
            &client,
            i,
            ClientBody::Decide {
                decision: decision.clone(),
                applied: true,
            },
        );
    }
    assert!(!world.is_removed(&client, 2, &target.id));
    world.pass(WINDOW);
    assert!(world.is_removed(&client, 2, &target.id));
}

#[test]
fn peers_g5_stream_goes_on_after_a_lost_connection() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    world.isolate(2);
    let decision = world.decision(&client.take(&target, 0, 1));
    for i in [0, 1] {
        world.ask(
            &client,
            i,
            ClientBody::Decide {
                decision: decision.clone(),
                applied: true,
            },
        );
    }
    // Longer than any fetch is repeated and any position told.
    world.pass(Span::from_millis(600_000));
    assert!(!world.is_removed(&client, 2, &target.id));
    world.heal();
    world.pass(WINDOW);
    assert!(world.is_removed(&client, 2, &target.id));
}

/// s2 hears of the decision, then is cut off for longer than fetches used to be repeated. Its
/// stream says that it heard of it, so nobody will speak of it again.
#[test]
fn peers_g5_decision_heard_of_is_asked_for_until_it_comes() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    // The news leave, the answers to all questions get lost.
    world.cut.extend([(2, 0), (2, 1), (2, 3)]);
    let decision = world.decision(&client.take(&target, 0, 1));
    for i in [0, 1] {
        world.ask(
            &client,
            i,
            ClientBody::Decide {
                decision: decision.clone(),
                applied: true,
            },
        );
    }
    world.pass(Span::from_millis(3_600_000));
    assert!(!world.is_removed(&client, 2, &target.id));
    world.cut.clear();
    world.pass(Span::from_millis(60_000));
    assert!(world.is_removed(&client, 2, &target.id));
}

/// The same, told by a client first, whose word ends sooner than a peer's.
#[test]
fn peers_g5_word_of_a_peer_outlives_that_of_a_client() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    world.cut.extend([(2, 0), (2, 1), (2, 3)]);
    world.ask(
        &client,
        2,
        ClientBody::Dropped {
            id: target.id.clone(),
        },
    );
    let decision = world.decision(&client.take(&target, 0, 1));
    for i in [0, 1] {
        world.ask(
            &client,
            i,
            ClientBody::Decide {
                decision: decision.clone(),
                applied: true,
            },
        );
    }
    world.pass(Span::from_millis(3_600_000));
    world.cut.clear();
    world.pass(Span::from_millis(60_000));
    assert!(world.is_removed(&client, 2, &target.id));
}

#[test]
fn peers_g5_dropped_makes_a_replica_ask() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    world.cut.extend([(0, 2), (1, 2)]);
    let decision = world.decision(&client.take(&target, 0, 1));
    for i in [0, 1] {
        world.ask(
            &client,
            i,
            ClientBody::Decide {
                decision: decision.clone(),
                applied: true,
            },
        );
    }
    world.pass(Span::from_millis(60_000));
    assert!(!world.is_removed(&client, 2, &target.id));
    world.cut.clear();
    world.ask(
        &client,
        2,
        ClientBody::Dropped {
            id: target.id.clone(),
        },
    );
    assert!(world.is_removed(&client, 2, &target.id));
}

#[test]
fn peers_g5_gap_in_a_stream_is_asked_for() {
    let mut world = World::with_real(&[0]);
    let message = PeerMessage::Applied {
        after: 5,
        items: Vec::new(),
    };
    world.peer(1, 0, message);
    assert_eq!(
        world.wire.last(),
        Some(&(0, 1, PeerMessage::Resume { next: 0 }))
    );
}

/// A faulty peer tells of any number of decisions that nobody made. That must not cost the room
/// for those that the others tell of, and what finds no room is told again, not missed for good.
#[test]
fn peers_g5_false_news_leave_room_for_true_ones() {
    let mut world = World::with_real(&[0, 1, 2]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    let op = world.op(&client.take(&target, 0, 1));
    let invented = |seq: u64| (seq, world.target(client.entry(100 + seq, task(0))).id, op);
    let items: Vec<_> = (1..=FETCHES_PER_SENDER_MAX as u64 + 100)
        .map(invented)
        .collect();
    for (index, part) in (0..).zip(items.chunks(512)) {
        let message = PeerMessage::Applied {
            after: index * 512,
            items: part.to_vec(),
        };
        world.peer(3, 2, message);
    }
    let heard = world.replica(2).stream_next(bts_core::ids::ReplicaId(3));
    assert_eq!(
        heard,
        FETCHES_PER_SENDER_MAX as u64 + 1,
        "no further than there is room"
    );
    let decision = world.decision(&client.take(&target, 0, 1));
    for i in [0, 1] {
        world.ask(
            &client,
            i,
            ClientBody::Decide {
                decision: decision.clone(),
                applied: true,
            },
        );
    }
    world.pass(WINDOW);
    assert!(world.is_removed(&client, 2, &target.id));
}

/// s2 missed more decisions than it may ask for at once.
#[test]
fn peers_g5_long_absence_is_made_good() {
    let mut world = World::with_real(&[0, 2]);
    let client = world.client(1);
    world.isolate(2);
    let count = FETCHES_PER_SENDER_MAX as u64 + 300;
    let mut last = None;
    for seq in 0..count {
        let target = world.target(client.entry(seq, task(seq)));
        let decision = world.decision(&client.take(&target, 0, seq));
        world.send(
            &client,
            0,
            ClientBody::Decide {
                decision,
                applied: false,
            },
        );
        last = Some(target.id);
    }
    world.heal();
    world.pass(Span::from_millis(20_000));
    assert!(world.is_removed(&client, 2, &last.expect("some")));
    let heard = world.replica(2).stream_next(bts_core::ids::ReplicaId(0));
    assert!(heard > count, "all of them: {heard}");
}

/// Repetitions of one promise that waits for a content must not push out what else that peer sent.
#[test]
fn peers_message_waits_for_its_content_and_is_handled_then() {
    let mut world = World::with_real(&[0, 1]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[1]);
    world.cut.insert((1, 0));
    let take = client.take(&target, 0, 1);
    let op = world.op(&take);
    for seq in 0..2 * STASHED_PER_SENDER_MAX as u64 {
        // Another ballot each time, as nothing says that a faulty peer is modest.
        let promise = promise_of(&target.id, 0, 1 + seq as u32, &[op]);
        let message = PeerMessage::Promise {
            promise: world.promise(2, &promise),
            takes: vec![take.clone()],
            released: None,
        };
        world.peer(2, 0, message);
    }
    world.cut.clear();
    world.pass(WINDOW);
    let status = world.status(&client, 0, &target).expect("present");
    assert_eq!(
        status.contents,
        vec![target.hash],
        "the content was fetched"
    );
}

#[test]
fn peers_content_that_was_not_asked_for_is_ignored() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.target(client.entry(1, task(1)));
    let given = Given::Content(target.id.clone(), target.content);
    world.peer(1, 0, PeerMessage::Given(given));
    let answer = world.ask(
        &client,
        0,
        read(any("task"), bts_core::message::ReadMode::Rdp),
    );
    let Some(ReplyBody::Found { candidates, .. }) = answer else {
        panic!("{answer:?}")
    };
    assert!(candidates.is_empty());
}

/// C1: "removed" without the decision is not acted upon, however many say so, and "forgotten" only if
/// a correct one is among them.
#[test]
fn peers_c1_removed_without_decision_removes_nothing() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0]);
    let mut say = |peer, removal| {
        let id = target.id.clone();
        world.peer(peer, 0, PeerMessage::Removed { id, removal });
        world.status(&client, 0, &target).is_some()
    };
    for peer in [1, 2, 3] {
        assert!(say(peer, Removal::Unknown));
    }
    assert!(say(3, Removal::Forgotten));
    assert!(say(3, Removal::Forgotten), "it says nothing new");
    assert!(!say(1, Removal::Forgotten), "f + 1 have forgotten it");
    let answer = world.ask(
        &client,
        0,
        ClientBody::Fetch(FetchKey::Decision(target.id.clone())),
    );
    let Some(ReplyBody::Removed { removal, .. }) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        removal,
        Removal::Unknown,
        "it never had the decision itself"
    );
}

/// R-4.2b, G8: what a replica stored by a write-back it sends on to all.
#[test]
fn peers_g8_write_back_reaches_all() {
    let mut world = World::of_four();
    let client = world.client(1);
    let entry = client.entry(1, task(1));
    let target = world.target(entry.clone());
    world.ask(&client, 0, ClientBody::WriteBack { entry });
    for i in 0..4 {
        let body = ClientBody::Fetch(FetchKey::Content(target.id.clone(), target.hash));
        let answer = world.ask(&client, i, body);
        assert!(
            matches!(answer, Some(ReplyBody::Given(_))),
            "{i}: {answer:?}"
        );
    }
}

/// A put that a reader writes back by its proof, at a replica that lacks the proof's own origin.
#[test]
fn peers_c6_proof_of_a_put_waits_for_what_it_descends_from() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let target = world.target(client.entry(1, task(0)));
    let decisions = line(&world, &client, &target, 2);
    let put = Target {
        id: target.id.put(0).and_then(|id| id.put(0)).expect("short"),
        hash: bts_core::content::put_hash(world.op(decisions[1].take.as_ref().expect("a Take")), 0),
        content: Content::Put(Box::new(decisions[1].clone())),
    };
    let mut request = bare(&client.take(&put, 0, 3));
    request.content = Some(put.content.clone());
    world.ask(&client, 0, ClientBody::Take(request));
    let removal = Removal::Decision(Box::new(decisions[0].clone()));
    let id = target.id;
    world.peer(1, 0, PeerMessage::Removed { id, removal });
    let key = FetchKey::Content(put.id.clone(), put.hash);
    let answer = world.ask(&client, 0, ClientBody::Fetch(key));
    assert!(matches!(answer, Some(ReplyBody::Given(_))), "{answer:?}");
    let _: ContentHash = put.hash;
}

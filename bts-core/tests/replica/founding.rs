//! The beginning of a configuration: its replicas hold what all of the old one held, and prove it to
//! each other and to the next.

use std::collections::BTreeSet;

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, Value, VoteKind};
use bts_core::content::Decision;
use bts_core::crypto::hash::Digest;
use bts_core::ids::{EntryId, Epoch, TakeNumber};
use bts_core::message::{ClientBody, FetchKey, PeerMessage, ReadMode, Removal, ReplyBody};
use bts_core::misbehavior::Forgery;
use bts_core::replica::handover::{Founding, United};
use bts_core::time::Span;

use crate::cast::{Client, any, bare, read, statement, task};
use crate::handover::{log_of, united};
use crate::support::{Plan, World};
use crate::turmoil::Turmoil;

/// What can be seen of a state, whatever proves it.
#[derive(Debug, PartialEq)]
struct Seen {
    present: BTreeSet<(EntryId, Epoch)>,
    taken: Vec<(EntryId, bts_core::ids::OpId)>,
    gone: String,
}

impl Seen {
    fn of(united: &United) -> Self {
        let written = united.written.keys().map(|(id, _)| id);
        let present = written.chain(&united.puts);
        let mut taken: Vec<_> = united.takes().map(|(id, t)| (id.clone(), t.op())).collect();
        taken.sort();
        Self {
            present: present.map(|id| (id.clone(), united.epoch(id))).collect(),
            taken,
            gone: format!("{:?} {:?}", united.gone_roots, united.gone_puts),
        }
    }
}

/// The replicas of the next configuration, of which these begin with nothing.
pub(crate) fn next(world: &World, state: &United, empty: &[u16]) -> World {
    let founding = Founding::of(state, world.configuration.signing_context());
    World::founded(Plan::default(), Some((&founding, empty)))
}

/// C8: what is handed over is handed over again as it was; nobody needs the votes of before.
#[test]
fn founding_c8_the_next_configuration_holds_the_same() {
    let (mut gone_puts, mut concluded) = (0, 0);
    for seed in 0..24 {
        let turmoil = Turmoil::run(seed, 80);
        let world = &turmoil.world;
        let first = united(world, &[3], |i| log_of(world, i)).expect("nobody lies");
        gone_puts += first.gone_puts.len();
        concluded += first.concluded.len();
        let second = next(world, &first, &[]);
        let again = united(&second, &[], |i| log_of(&second, i)).expect("nobody lies");
        assert_eq!(Seen::of(&first), Seen::of(&again), "seed {seed}");
        assert!(again.concluded.is_empty(), "all of it was decided");
        let held: BTreeSet<_> = Seen::of(&first).present.into_iter().map(|p| p.0).collect();
        let mut third = next(&second, &again, &[]);
        let live = third.replica(2).live().map(|(id, _)| id);
        assert_eq!(live.collect::<BTreeSet<_>>(), held, "seed {seed}");
    }
    assert!(gone_puts > 0 && concluded > 0, "{gone_puts} {concluded}");
}

/// An entry, one that was put, one that was taken, and one whose first epoch was released.
fn scene() -> (World, Client, [EntryId; 4], Decision) {
    let mut world = World::of_four();
    let client = world.client(1);
    let [entry, origin, released] = [1, 2, 3].map(|n| world.out(&client, n, task(n), &[0, 1, 2]));
    let swap = client.take_and_put(&origin, 0, 1, &[task(7)]);
    let decision = world.decision(&swap);
    for i in 0..3 {
        let (decision, applied) = (decision.clone(), false);
        world.ask(&client, i, ClientBody::Decide { decision, applied });
    }
    let (id, certificate) = (released.id.clone(), world.release(&released.id, 0));
    world.peer(3, 0, PeerMessage::Released { id, certificate });
    let put = origin.id.put(0).expect("short");
    let ids = [entry.id, put, origin.id, released.id];
    (world, client, ids, decision)
}

/// C8, A8: who was replaced begins with nothing, and catches up like one that was away; all of it
/// can be read and taken.
#[test]
fn founding_c8_who_begins_with_nothing_catches_up() {
    let (world, _, [entry, put, origin, released], _) = scene();
    let state = united(&world, &[3], |i| log_of(&world, i)).expect("nobody lies");
    let mut world = next(&world, &state, &[3]);
    world.pass(Span::from_millis(3_000));
    let reader = world.client(5);
    let found =
        |world: &mut World, i: u16| match world.ask(&reader, i, read(any("task"), ReadMode::Rdp)) {
            Some(ReplyBody::Found { candidates, .. }) => candidates
                .into_iter()
                .map(|c| (c.id, c.status.epoch))
                .collect::<BTreeSet<_>>(),
            other => panic!("{other:?}"),
        };
    let all = [(entry, Epoch(0)), (put, Epoch(0)), (released, Epoch(1))].into();
    for i in 0..3 {
        assert_eq!(found(&mut world, i), all, "s{i}");
    }
    let held: BTreeSet<_> = found(&mut world, 3)
        .into_iter()
        .map(|found| found.0)
        .collect();
    assert_eq!(held, all.into_iter().map(|entry| entry.0).collect());
    assert!(world.is_removed(&reader, 3, &origin));
}

fn decision_at(world: &mut World, id: EntryId) -> Decision {
    let reader = world.client(5);
    let fetch = ClientBody::Fetch(FetchKey::Decision(id));
    match world.ask(&reader, 0, fetch) {
        Some(ReplyBody::Removed {
            removal: Removal::Decision(decision),
            ..
        }) => *decision,
        answer => panic!("{answer:?}"),
    }
}

/// C8: a certificate of the old configuration proves nothing in the next, nor does one that says it was carried.
#[test]
fn founding_c8_only_what_was_handed_over_is_carried() {
    let (world, client, [entry, _, origin, _], old) = scene();
    let state = united(&world, &[3], |i| log_of(&world, i)).expect("nobody lies");
    let mut second = next(&world, &state, &[]);
    let check = |certificate: &Certificate| second.verifier.certificate(certificate.clone()).err();
    assert!(matches!(
        check(&old.certificate),
        Some(Forgery::BadSignature(_))
    ));
    let carried = decision_at(&mut second, origin);
    let check = |certificate: &Certificate| second.verifier.certificate(certificate.clone()).err();
    let good = &carried.certificate;
    assert_eq!(check(good), None);
    let elsewhere = next(&world, &United::default(), &[]);
    let there = elsewhere.verifier.certificate(good.clone()).err();
    assert_eq!(there, Some(Forgery::NotCarried), "another founding");
    let first = world.verifier.certificate(good.clone()).err();
    assert_eq!(
        first,
        Some(Forgery::NotCarried),
        "the first configuration has none"
    );
    let other = statement(
        &entry,
        0,
        1,
        Value::Take(second.op(&carried.take.clone().expect("a Take"))),
    );
    let forged = [
        Certificate {
            payload: codec::encode(&other),
            ..good.clone()
        },
        Certificate {
            carried: Some(Box::new([])),
            ..good.clone()
        },
        Certificate {
            kind: VoteKind::Prepare,
            ..good.clone()
        },
        Certificate {
            votes: old.certificate.votes,
            ..good.clone()
        },
        Certificate {
            carried: None,
            ..good.clone()
        },
    ];
    for forged in forged {
        assert!(check(&forged).is_some(), "{forged:?}");
    }
    let mut long = good.clone();
    let step = long
        .carried
        .iter()
        .flat_map(|path| path.iter())
        .next()
        .copied();
    long.carried = Some(vec![step.expect("more than one fact"); 33].into());
    assert_eq!(check(&long), Some(Forgery::PathTooLong));
    drop(client);
}

/// A Take that its client left in the old configuration, where nobody decided it, may still win in the next.
#[test]
fn founding_b2_an_undecided_take_goes_on() {
    let mut world = World::of_four();
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1, 2, 3]);
    let take = client.take(&target, 0, 1);
    world.ask(&client, 0, ClientBody::Take(bare(&take)));
    let state = united(&world, &[], |i| log_of(&world, i)).expect("nobody lies");
    let mut world = next(&world, &state, &[]);
    let client = world.client(1);
    for i in 0..4 {
        let vote = world.ask(&client, i, ClientBody::Take(bare(&take)));
        assert!(matches!(vote, Some(ReplyBody::FirstVote(_))), "{vote:?}");
    }
}

/// An epoch that was found to be released when its instance was closed is as over as one that votes released;
/// what sessions have settled stays so.
#[test]
fn founding_b2_what_was_closed_stays_closed() {
    let (world, client, [_, _, _, released], _) = scene();
    let mut state = united(&world, &[3], |i| log_of(&world, i)).expect("nobody lies");
    state.released.clear();
    state.ended.insert(released.clone(), Epoch(1));
    state.settled.insert(client.at, TakeNumber(2));
    let second = next(&world, &state, &[]);
    let again = united(&second, &[], |i| log_of(&second, i)).expect("nobody lies");
    assert_eq!(again.epoch(&released), Epoch(2));
    assert_eq!(again.settled, state.settled);
    let liar = united(&second, &[], |i| match i {
        0 => log_of(&second, 0),
        _ => Vec::new(),
    });
    let settled = liar
        .expect("more than f are silent, and no contradiction")
        .settled;
    assert!(settled.is_empty(), "the word of one");
}

/// The same state gives the same beginning, whoever makes it; another gives another.
#[test]
fn founding_is_determined_by_the_state() {
    let (world, _, _, _) = scene();
    let context = world.configuration.signing_context();
    let of = |given_up: &[u16]| {
        let state = united(&world, given_up, |i| log_of(&world, i)).expect("nobody lies");
        Founding::of(&state, context)
    };
    assert_eq!(of(&[3]), of(&[3]));
    assert_eq!(of(&[3]), of(&[]), "s3 held nothing of its own");
    let nothing = Founding::of(&United::default(), context);
    assert_ne!(of(&[]).proofs, nothing.proofs);
    assert_ne!(of(&[]).state, nothing.state);
    assert_ne!(nothing.proofs, Digest([0; 32]));
}

//! The end of sessions: what may be forgotten by it and what is refused, that nothing else is, who may
//! say it, and how many sessions a key may leave behind.

use bts_core::codec;
use bts_core::content::{Content, Decision, EndPayload, put_hash};
use bts_core::crypto::sign::{Kind, SignedBytes};
use bts_core::ids::{ClientRef, Lsn, Session};
use bts_core::limits::ENDED_SESSIONS_PER_CLIENT_MAX;
use bts_core::message::{ClientBody, FetchKey, PeerMessage, Refused, Removal, ReplyBody};
use bts_core::replica::{Event, Input, Limits, Record};
use bts_core::time::Span;

use crate::cast::{Client, Target, bare, task};
use crate::forget::{A_WHILE, ALL};
use crate::support::{Plan, WINDOW, World};
use crate::turmoil::Dice;

const LINGERS: Span = Span::from_millis(10_000);

/// How one replica says that an entry was removed.
fn removal(world: &mut World, client: &Client, at: u16, target: &Target) -> Option<Removal> {
    let key = FetchKey::Decision(target.id.clone());
    match world.ask(client, at, ClientBody::Fetch(key)) {
        Some(ReplyBody::Removed { removal, .. }) => Some(removal),
        _ => None,
    }
}

pub(crate) fn is_forgotten(world: &mut World, client: &Client, at: u16, target: &Target) -> bool {
    removal(world, client, at, target) == Some(Removal::Forgotten)
}

/// All replicas have forgotten that this entry was taken, and keep no decision.
pub(crate) fn assert_all_forgotten(world: &mut World, client: &Client, target: &Target) {
    for i in ALL {
        assert!(is_forgotten(world, client, i, target), "s{i}");
        assert_eq!(world.replica(i).kept().count(), 0);
    }
}

/// The end of this session, signed by this client.
fn end_of(signer: &Client, session: ClientRef) -> SignedBytes {
    let ClientRef { key, session } = session;
    let payload = codec::encode(&EndPayload { key, session });
    signer.signer.sign(Kind::EndSession, payload)
}

pub(crate) fn end(
    world: &mut World,
    by: &Client,
    at: u16,
    session: ClientRef,
) -> Option<ReplyBody> {
    let end = end_of(by, session);
    world.ask(by, at, ClientBody::EndSession(end))
}

/// Another process with the key of this client.
pub(crate) fn sibling(world: &mut World, of: u8, session: u64) -> Client {
    let mut sibling = world.client(of);
    sibling.at.session = Session(session);
    for i in world.real() {
        world.step(i, Input::ClientConnected(sibling.at));
    }
    sibling
}

/// Entry `seq` was taken by this session, at all replicas.
pub(crate) fn won(world: &mut World, winner: &Client, seq: u64) -> Target {
    let target = world.out(winner, seq, task(seq), &ALL);
    let decision = world.decision(&winner.take(&target, 0, seq));
    decide(world, winner, &ALL, &decision);
    target
}

fn leave(world: &mut World, client: &Client) {
    for i in world.real() {
        world.step(i, Input::ClientGone(client.at));
    }
}

fn limited(limit: usize) -> World {
    World::new(Plan {
        limits: Limits {
            gone_sessions_per_client: limit,
            session_lingers: LINGERS,
            ..Limits::default()
        },
        ..Plan::default()
    })
}

pub(crate) fn take_of(
    world: &mut World,
    client: &Client,
    at: u16,
    target: &Target,
) -> Option<ReplyBody> {
    let take = bare(&client.take(target, 0, 0));
    world.ask(client, at, ClientBody::Take(take))
}

/// A session that crashed never says that it knows what it won; its end does, said to one replica that tells it
/// the others (A5).
#[test]
fn ends_r712_what_a_dead_session_won_is_forgotten_everywhere() {
    let mut world = World::of_four();
    let (crashed, heir) = (world.client(1), sibling(&mut world, 1, 9));
    let target = won(&mut world, &crashed, 1);
    leave(&mut world, &crashed);
    world.pass(Span::from_millis(60_000));
    for i in ALL {
        assert!(!is_forgotten(&mut world, &heir, i, &target));
    }
    assert_eq!(end(&mut world, &heir, 0, crashed.at), Some(ReplyBody::Ack));
    world.pass(A_WHILE);
    assert_all_forgotten(&mut world, &heir, &target);
}

/// Its Takes get no first vote any more, also after a restart, whatever obsolete records are gone; a vote that was
/// given is repeated.
#[test]
fn ends_h5_no_first_vote_after_the_end() {
    let mut dice = Dice(7);
    let mut world = World::of_four();
    let client = world.client(1);
    let (voted, other) = (
        world.out(&client, 1, task(1), &ALL),
        world.out(&client, 2, task(2), &ALL),
    );
    let vote = |world: &mut World, target: &Target| take_of(world, &client, 0, target);
    assert!(matches!(
        vote(&mut world, &voted),
        Some(ReplyBody::FirstVote(_))
    ));
    end(&mut world, &client, 0, client.at);
    for _ in 0..3 {
        assert_eq!(
            vote(&mut world, &other),
            Some(ReplyBody::Refused(Refused::SessionEnded))
        );
        assert!(matches!(
            vote(&mut world, &voted),
            Some(ReplyBody::FirstVote(_))
        ));
        world.prune(0, || dice.below(2) == 0);
        world.restart_with(0, &[&client]);
    }
    // What it decided late is forgotten as well.
    let decision = world.decision(&client.take(&voted, 0, 0));
    decide(&mut world, &client, &ALL, &decision);
    world.heal();
    world.pass(Span::from_millis(60_000));
    for i in ALL {
        assert!(is_forgotten(&mut world, &client, i, &voted), "s{i}");
    }
}

/// G7: in the last epoch one Take only is known, that of a session which has ended. It is the one value there is,
/// and wins.
#[test]
fn ends_g7_an_ended_session_stops_no_recovery() {
    let mut world = World::of_four();
    let (client, other) = (world.client(1), world.client(2));
    let target = world.out(&client, 1, task(1), &ALL);
    for i in ALL {
        let certificate = world.release(&target.id, 2);
        let id = target.id.clone();
        world.peer((i + 1) % 4, i, PeerMessage::Released { id, certificate });
    }
    let take = bare(&client.take(&target, 3, 0));
    let first = world.ask(&client, 0, ClientBody::Take(take));
    assert!(matches!(first, Some(ReplyBody::FirstVote(_))), "{first:?}");
    for i in ALL {
        assert_eq!(end(&mut world, &client, i, client.at), Some(ReplyBody::Ack));
    }
    world.pass(WINDOW.times(60));
    for i in ALL {
        assert!(is_forgotten(&mut world, &other, i, &target), "s{i}");
    }
}

/// Nobody ends the session of another key: neither as a client nor by way of a replica, which is blamed.
#[test]
fn ends_h3_only_the_key_itself_ends_its_sessions() {
    let mut world = World::with_real(&[0, 1, 2]);
    let (client, hostile) = (world.client(1), world.client(2));
    let target = world.out(&client, 1, task(1), &[0, 1, 2]);
    let answer = end(&mut world, &hostile, 0, client.at);
    assert!(
        matches!(answer, Some(ReplyBody::Refused(Refused::IllFormed(_)))),
        "{answer:?}"
    );
    let mut forged = end_of(&hostile, client.at);
    forged.signer = client.at.key;
    let answer = world.ask(&hostile, 0, ClientBody::EndSession(forged.clone()));
    assert!(
        matches!(answer, Some(ReplyBody::Refused(Refused::Forged(_)))),
        "{answer:?}"
    );
    let before = world.events.len();
    world.peer(3, 0, PeerMessage::EndSession(forged));
    world.peer(3, 0, PeerMessage::EndSession(end_of(&hostile, client.at)));
    let blamed = world.events[before..].iter();
    let blamed = blamed.filter(|(_, event)| matches!(event, Event::Forged { .. }));
    assert_eq!(blamed.count(), 2);
    assert!(matches!(
        take_of(&mut world, &client, 0, &target),
        Some(ReplyBody::FirstVote(_))
    ));
    // What the key did sign counts, whoever relays it.
    let signed = end_of(&client, client.at);
    let answer = world.ask(&hostile, 1, ClientBody::EndSession(signed));
    assert_eq!(answer, Some(ReplyBody::Ack));
    assert_eq!(
        take_of(&mut world, &client, 2, &target),
        Some(ReplyBody::Refused(Refused::SessionEnded))
    );
}

/// so many sessions of a key may be gone without an end; then one that has nothing yet must end some.
/// Those that are connected do not count, nor do those of others.
#[test]
fn ends_h4_new_sessions_must_end_old_ones() {
    let mut world = limited(2);
    let dead = [1, 2, 3].map(|session| {
        let client = sibling(&mut world, 1, session);
        won(&mut world, &client, session);
        client
    });
    let (new, stranger) = (sibling(&mut world, 1, 9), world.client(2));
    let targets = [10, 11].map(|seq| world.out(&stranger, seq, task(seq), &ALL));
    let fresh = sibling(&mut world, 1, 8);
    leave(&mut world, &dead[0]);
    assert!(
        matches!(
            take_of(&mut world, &fresh, 0, &targets[0]),
            Some(ReplyBody::FirstVote(_))
        ),
        "two of them are connected"
    );
    leave(&mut world, &dead[1]);
    let refused = Some(ReplyBody::Refused(Refused::TooManySessions));
    assert_eq!(take_of(&mut world, &new, 0, &targets[1]), refused);
    // Who has something here already goes on.
    let own = won(&mut world, &dead[2], 4);
    assert!(take_of(&mut world, &dead[2], 0, &own).is_some_and(|answer| Some(answer) != refused));
    assert_eq!(end(&mut world, &new, 0, dead[0].at), Some(ReplyBody::Ack));
    assert!(matches!(
        take_of(&mut world, &new, 0, &targets[1]),
        Some(ReplyBody::FirstVote(_))
    ));
}

/// who is there is told by whoever has watched for a while: connected sessions, those that left a moment
/// ago, and the others that won something.
#[test]
fn ends_r712_sessions_linger() {
    let mut world = limited(2);
    let ask = |world: &mut World, by: &Client, at| world.ask(by, at, ClientBody::Sessions);
    let [one, two] = [1, 2].map(|session| sibling(&mut world, 1, session));
    let stranger = world.client(2);
    won(&mut world, &one, 1);
    won(&mut world, &stranger, 1);
    let starting = Some(ReplyBody::Refused(Refused::Starting));
    assert_eq!(ask(&mut world, &two, 0), starting);
    world.pass(LINGERS);
    let told = |present: &[u64], gone: &[u64]| {
        let sessions = |all: &[u64]| all.iter().copied().map(Session).collect();
        let (present, gone) = (sessions(present), sessions(gone));
        Some(ReplyBody::Sessions { present, gone })
    };
    assert_eq!(ask(&mut world, &two, 0), told(&[1, 2], &[]));
    leave(&mut world, &one);
    assert_eq!(ask(&mut world, &two, 0), told(&[1, 2], &[]));
    world.pass(LINGERS);
    assert_eq!(ask(&mut world, &two, 0), told(&[2], &[1]));
    world.restart_with(0, &[&two]);
    assert_eq!(ask(&mut world, &two, 0), starting);
    end(&mut world, &two, 1, one.at);
    assert_eq!(ask(&mut world, &two, 1), told(&[2], &[]));
}

/// A hostile client ends sessions without end: of those that won nothing the newest few are known, and the records
/// of the others are obsolete.
#[test]
fn ends_h4_a_flood_of_ends_leaves_little() {
    let mut world = World::with_real(&[0]);
    let client = world.client(1);
    let flood = 3 * ENDED_SESSIONS_PER_CLIENT_MAX as u64;
    for session in 0..flood {
        let session = ClientRef {
            session: Session(1000 + session),
            ..client.at
        };
        for _ in 0..2 {
            assert_eq!(end(&mut world, &client, 0, session), Some(ReplyBody::Ack));
        }
    }
    let is_end = |(_, record): &&(Lsn, Record)| matches!(record, Record::Ended(_));
    let logged = world.log_of(0).iter().filter(is_end).count();
    assert_eq!(logged as u64, flood, "each once");
    world.prune(0, || true);
    let left = world.log_of(0).iter().filter(is_end).count();
    assert!(left <= ENDED_SESSIONS_PER_CLIENT_MAX + 1, "{left} are left");
}

/// A decision waits for the end of its put, and of that one replica only ever hears that it is forgotten: it skips
/// the put, and nobody looked at the decision again, which stayed for ever. Skipping a put makes its origin ripe.
#[test]
fn ends_r77_put_that_was_skipped_keeps_nothing() {
    let mut world = World::of_four();
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &ALL);
    let swap = world.decision(&client.take_and_put(&target, 0, 1, &[task(2)]));
    decide(&mut world, &client, &ALL, &swap);
    let op = world.op(swap.take.as_ref().expect("a Take"));
    let put = Target {
        id: target.id.put(0).expect("short"),
        hash: put_hash(op, 0),
        content: Content::Put(Box::new(swap)),
    };
    let take = world.decision(&client.take(&put, 0, 2));
    end(&mut world, &client, 0, client.at);
    world.pass(A_WHILE);
    world.isolate(3);
    decide(&mut world, &client, &[0, 1, 2], &take);
    world.pass(A_WHILE);
    assert!(is_forgotten(&mut world, &client, 0, &put));
    assert_eq!(world.replica(3).kept().count(), 1);
    world.heal();
    world.pass(Span::from_millis(60_000));
    for i in ALL {
        assert_eq!(world.replica(i).kept().count(), 0, "s{i}");
    }
}

fn decide(world: &mut World, client: &Client, at: &[u16], decision: &Decision) {
    for i in at {
        let (decision, applied) = (decision.clone(), false);
        world.ask(client, *i, ClientBody::Decide { decision, applied });
    }
}

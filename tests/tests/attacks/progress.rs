//! Schedules after which somebody would wait for ever (marks B, D, G).

use bts_core::client::Outcome;
use bts_core::configuration::{Allow, Policy, SpacePolicy};
use bts_core::consensus::certificate::{Certificate, Statement, Value};
use bts_core::ids::{Ballot, Epoch, ReplicaId, TakeNumber};
use bts_core::message::ReplyBody;
use bts_core::message::{ClientBody, PeerMessage, Proposal, ReadMode, ReadRequest, TakeRequest};
use bts_tests::adversary::forge;
use bts_tests::adversary::habit::Habit;
use bts_tests::adversary::puppet::Heard;
use bts_tests::sim::Interception;
use bts_tests::sim::cluster::{Cluster, out, space, take, template, tuple};
use bts_tests::sim::node::{Flight, Message, Node, replica};
use bts_tests::sim::setup::Setup;
use bts_tests::sim::workload::anything;

use crate::hands::{
    Entry, Villain, beside, beside_an_accomplice, number_owned_by, overhear, promise_of_s3,
    promise_to_all, say,
};

/// What an operation may take in calm weather once nothing hinders it, in milliseconds.
const SOON_MS: u64 = 2_000;

/// A9. 1. `x` is written to all but s3, its writer dies, and nobody has stored it yet. 2. It is
/// named to a client all the same, as *Enter* may, and the client takes it. 3. The power of all
/// three fails. Nobody but the client has `x` now, and it waits for nobody else to bring it back.
#[test]
fn a9_entry_that_was_named_and_lost_holds_up_nobody() {
    let setup = Setup {
        sync_us: (20_000, 20_000),
        ..Setup::calm(4, 1)
    };
    let mut c = Cluster::of(setup, &[]);
    let (writer, taker) = (c.client(), c.client());
    c.isolate(3);
    c.start(writer, out(tuple("x 1")));
    c.run_ms(5);
    c.crash_client(writer);
    let handle = c.start(taker, take(template("x *"), false));
    c.run_ms(5);
    for number in 0..3 {
        c.world.cut_power(ReplicaId(number));
    }
    c.run_ms(50);
    for number in 0..3 {
        c.world.restart_replica(ReplicaId(number));
    }
    c.run_ms(SOON_MS);
    assert!(!c.is_open(handle), "it waits for what nobody else has");
    assert!(matches!(c.finish(handle), Outcome::Found(_)));
    c.judge();
}

/// B1. 1. s3 promises ballots near the highest, sixty ahead, and always one more than what it hears. 2.
/// A Take is contested. It is decided soon: one faulty replica moves nobody.
#[test]
fn b1_ballots_are_not_run_up_by_one_replica() {
    for ahead in [u32::MAX, 60, 2] {
        let mut c = Cluster::new(4, 1, &[3]);
        let taker = c.client();
        let mut villain = Villain::join(&mut c);
        let entry = villain.entry(&c, 1, tuple("x 1"));
        villain.write(&mut c, &entry, &[0, 1, 2]);
        let request = villain.take(&entry, 1, 0, Vec::new());
        villain.tell(&mut c, 0, ClientBody::Take(request.clone()));
        let handle = c.start(taker, take(template("x *"), false));
        for round in 0..20 {
            let ballot = ahead.saturating_add(round);
            let promise = promise_of_s3(&c, &entry, ballot, &request, false);
            promise_to_all(&mut c, &promise, &request);
            c.run_ms(SOON_MS / 20);
        }
        assert!(!c.is_open(handle), "still open with ballots {ahead} ahead");
        c.judge();
    }
}

/// B2. 1. A faulty client sends a Take of `x` in epoch 0 to s0 only, s3 claims the same vote. 2.
/// Whoever reads helps, nobody waits, it is released. 3. The client does it again in epochs 1, 2, 3.
/// Reads return all the time, and in the end somebody has won.
#[test]
fn b2_epochs_end_and_readers_return() {
    let mut c = beside(&[Habit::FalseStatus, Habit::Agree], Policy::default());
    let (reader, taker) = (c.client(), c.client());
    let mut villain = Villain::join(&mut c);
    let entry = villain.entry(&c, 1, tuple("x 1"));
    villain.write(&mut c, &entry, &[0, 1, 2]);
    let releases = overhear(&mut c, |f| match &f.message {
        Message::Peer(PeerMessage::Released { certificate, .. }) => Some(certificate.clone()),
        Message::Reply(reply) => match &reply.body {
            ReplyBody::Released { certificate, .. } => Some(certificate.clone()),
            _ => None,
        },
        _ => None,
    });
    for epoch in 0..4 {
        let released = releases
            .lock()
            .expect("one thread")
            .iter()
            .find(|c| ends(c, epoch))
            .cloned();
        let request = TakeRequest {
            released,
            ..villain.take(&entry, u64::from(epoch) + 1, epoch, Vec::new())
        };
        villain.tell(&mut c, 0, ClientBody::Take(request));
        c.run_ms(30);
        c.world.crash_client(villain.node);
        let read = c.start(
            reader,
            bts_tests::sim::cluster::read(template("x *"), false),
        );
        c.run_ms(SOON_MS);
        assert!(!c.is_open(read), "a reader waits in epoch {epoch}");
        villain = Villain::join(&mut c);
    }
    let handle = c.start(taker, take(template("x *"), false));
    c.run_ms(SOON_MS);
    assert!(!c.is_open(handle), "a taker waits after the last epoch");
    c.judge();
}

/// True for a certificate that the epoch before this one was released.
fn ends(certificate: &Certificate, epoch: u8) -> bool {
    let said = bts_core::codec::decode_payload::<Statement>(&certificate.payload);
    said.is_ok_and(|said| said.value == Value::Release && said.epoch.0 + 1 == epoch)
}

/// B4 (i). s3 always reports some entry that was taken long ago. None is told all the same.
#[test]
fn b4_i_none_in_spite_of_what_is_reported() {
    let mut c = beside(&[Habit::Full], Policy::default());
    let client = c.client();
    for number in 0..5 {
        c.out(client, tuple(&format!("x {number}")));
        assert!(c.inp(client, template("x *")).is_some());
    }
    let handle = c.start(client, take(template("x *"), false));
    c.run_ms(SOON_MS);
    assert_eq!(c.finish(handle), Outcome::None);
    c.judge();
}

/// B4 (ii). 1. s2 is slow in round 1; s0, s1, s3 are empty. 2. s3 does not answer round 2. A later
/// sending, to s2 as well, ends it.
#[test]
fn b4_ii_none_without_the_one_that_went_silent() {
    let mut c = Cluster::new(4, 1, &[]);
    let client = c.client();
    let slow = c.world.hold(|f| f.from == replica(2) && f.is("found"));
    c.world
        .lose(|f| f.from == replica(3) && f.is("empty since"));
    let handle = c.start(client, take(template("x *"), false));
    c.run_ms(30);
    assert!(c.is_open(handle));
    c.world.release(slow);
    c.run_ms(SOON_MS);
    assert_eq!(c.finish(handle), Outcome::None);
    c.judge();
}

/// B4 (iii). One of `x`, `y`, `z` is there all the time. 1. `x` is at s0 and s1. A reader's question
/// reaches s2, empty, and is slow to s0 and s1. 2. `y` is written to s0 and s2; `x` is taken; the
/// question reaches s1, empty, whose answer is slow. 3. `z` is written to s1 and s2; `y` is taken;
/// the question reaches s0, empty. s3 says what suits. 4. Round 2 is sent to s0, s2, s3, and then the
/// answer of s1 comes: neither that nor what s2 saw before is of the instant of the sending.
#[test]
fn b4_iii_no_common_instant_no_none() {
    let mut c = beside_an_accomplice();
    let reader = c.client();
    let question = |c: &mut Cluster, to: u16| {
        c.world
            .hold(move |f| f.from == Node::Client(reader) && f.to == replica(to) && f.is("read"))
    };
    let (to_s0, to_s1) = (question(&mut c, 0), question(&mut c, 1));
    let answer = c
        .world
        .hold(move |f| f.from == replica(1) && f.to == Node::Client(reader) && f.is("found"));
    write_except(&mut c, "x 1", 2);
    let handle = c.start(
        reader,
        bts_tests::sim::cluster::read(template("* 1"), false),
    );
    c.run_ms(10);
    write_except(&mut c, "y 1", 1);
    take_for_good(&mut c, "x *");
    c.world.release(to_s1);
    c.run_ms(10);
    write_except(&mut c, "z 1", 0);
    take_for_good(&mut c, "y *");
    assert!(!c.world.held(answer).is_empty(), "s1 was empty");
    c.world.release(to_s0);
    c.run_until("round 2 is sent", |world| {
        world.observer.coverage.count("still empty") > 0
    });
    c.world.release(answer);
    assert!(matches!(c.finish(handle), Outcome::Found(_)), "z is there");
    c.judge();
}

/// A client writes a tuple to all but one replica.
fn write_except(c: &mut Cluster, words: &str, never_to: u16) {
    let writer = c.client();
    c.world
        .lose(move |f| f.from == Node::Client(writer) && f.to == replica(never_to));
    c.out(writer, tuple(words));
    c.crash_client(writer);
}

/// A client takes a tuple, and all who hold it know.
fn take_for_good(c: &mut Cluster, words: &str) {
    let taker = c.client();
    assert!(c.inp(taker, template(words)).is_some());
    c.run_ms(10);
}

/// B4 (iv). The connections end between round 1 and round 2, and watches with them. The client reads
/// anew and is told None.
#[test]
fn b4_iv_none_after_lost_connections() {
    let mut c = Cluster::new(4, 1, &[3]);
    let client = c.client();
    let round_2 = c.world.hold(|f| f.is("still empty"));
    let handle = c.start(client, take(template("x *"), false));
    c.run_ms(20);
    for number in 0..3 {
        c.world.reset((Node::Client(client), replica(number)));
    }
    c.run_ms(100);
    c.world.release(round_2);
    c.run_ms(SOON_MS);
    assert_eq!(c.finish(handle), Outcome::None);
    c.judge();
}

/// B6. 1. A faulty key has fifty waiters that stay mute. 2. An `in` of somebody else waits. 3. An entry
/// comes, again and again: the mute ones cost time, not the tuple.
#[test]
fn b6_mute_waiters_do_not_starve_others() {
    let mut c = Cluster::new(4, 1, &[]);
    let (writer, worker) = (c.client(), c.client());
    let mut villain = Villain::join(&mut c);
    for start in 0..50 {
        for to in 0..4 {
            let read = ReadRequest {
                space: space(),
                template: anything(),
                mode: ReadMode::In,
                start,
                candidates: 4,
                full: ReplicaId(0),
            };
            villain.tell(&mut c, to, ClientBody::Read(read));
        }
    }
    for number in 0..6 {
        let waiting = c.start(worker, take(template("x *"), true));
        c.run_ms(50);
        c.out(writer, tuple(&format!("x {number}")));
        c.run_ms(SOON_MS);
        assert!(!c.is_open(waiting), "the mute ones have it all");
    }
    c.judge();
}

/// D1. 1. s2 is cut off while it knows a Take that nobody decided, for an hour. 2. Healed, the Take is
/// finished soon: alone it has climbed no ballots that the others would have to climb after it.
#[test]
fn d1_partition_of_an_hour_heals_soon() {
    let mut c = Cluster::new(4, 1, &[3]);
    let (writer, taker, reader) = (c.client(), c.client(), c.client());
    c.out(writer, tuple("x 1"));
    c.world.lose(|f| f.is("take") && f.to != replica(2));
    let handle = c.start(taker, take(template("x *"), false));
    c.run_ms(5);
    c.crash_client(taker);
    c.isolate(2);
    c.run_ms(3_600_000);
    assert!(c.is_open(handle));
    c.heal();
    let read = c.start(reader, take(template("x *"), false));
    c.run_ms(SOON_MS);
    assert!(!c.is_open(read), "an hour alone, and now an hour together");
    c.judge();
}

/// G3. 1. A client tells s0 and s1 of a Take and dies; they enter ballot 1, which is s3's; their promises
/// to s2 are slow. 2. s3 proposes to s2 only, on the promises of s0, s1 and its own, and is silent from
/// then on. s2 votes, and so has joined. 3. s0 and s1 need s2's promise to go on: joining is
/// entering, so it is sent, and the entry is decided.
#[test]
fn g3_who_joins_by_a_proposal_has_promised() {
    let mut c = Cluster::new(4, 1, &[3]);
    let reader = c.client();
    let mut villain = Villain::join(&mut c);
    let seq = number_owned_by(&c, &villain.forge, 3);
    let entry = villain.entry(&c, seq, tuple("x 1"));
    villain.write(&mut c, &entry, &[0, 1, 2]);
    c.run_ms(10);
    let slow = c.world.hold(|f| f.is("promise") && f.to == replica(2));
    let request = villain.take(&entry, 1, 0, Vec::new());
    for to in [0, 1] {
        villain.tell(&mut c, to, ClientBody::Take(request.clone()));
    }
    c.run_until("s0 and s1 promise", |world| {
        world.observer.coverage.count("promise") >= 6
    });
    c.run_ms(10);
    let proposal = proposal_of_s3(&mut c, &entry, &request);
    say(&mut c, 3, 2, PeerMessage::Propose(proposal));
    c.world.crash_client(villain.node);
    c.run_ms(20);
    c.world.release(slow);
    c.run_ms(SOON_MS);
    let read = c.start(
        reader,
        bts_tests::sim::cluster::read(template("x *"), false),
    );
    c.run_ms(SOON_MS);
    assert!(!c.is_open(read), "nobody can go on");
    c.judge();
}

/// On what s0 and s1 promised it, and a promise of its own.
fn proposal_of_s3(c: &mut Cluster, entry: &Entry, request: &TakeRequest) -> Proposal {
    let op = forge::op_of(&c.world.configuration, &request.take);
    let mut promises = std::collections::BTreeMap::new();
    for heard in c.heard(3) {
        if let Heard::Peer(from, PeerMessage::Promise { promise, .. }) = heard {
            promises.insert(from, promise);
        }
    }
    assert_eq!(promises.len(), 2, "s0 and s1 promised");
    let own = promise_of_s3(c, entry, 1, request, true);
    Proposal {
        id: entry.id.clone(),
        epoch: Epoch(0),
        ballot: Ballot(1),
        value: Value::Take(op),
        promises: promises.into_values().chain([own]).collect(),
        takes: vec![request.take.clone()],
        released: None,
    }
}

/// G4. 1. One `in` of a session waits for a week. 2. The same session goes on taking. What waits holds
/// no number, so that all Takes but the latest are settled: it never has more of them open than
/// replicas allow.
#[test]
fn g4_blocked_in_does_not_stop_its_session() {
    let mut c = Cluster::new(4, 1, &[]);
    let client = c.client();
    let settled = overhear(&mut c, move |f| match &f.message {
        Message::Request(request) if f.from == Node::Client(client) => Some(request.settled_below),
        _ => None,
    });
    let waiting = c.start(client, take(template("never *"), true));
    for number in 0..200 {
        c.out(client, tuple(&format!("x {number}")));
        assert!(c.inp(client, template("x *")).is_some(), "take {number}");
        let settled = settled.lock().expect("one thread").iter().max().copied();
        assert!(settled >= Some(TakeNumber(number)), "{settled:?}");
    }
    assert!(c.is_open(waiting));
    c.out(client, tuple("never 1"));
    assert!(matches!(c.finish(waiting), Outcome::Found(_)));
    c.judge();
}

/// G5. 1. `x` is taken with the votes of s0, s1, s3, which apply it; s2 hears nothing of it, then or
/// later. 2. The taker dies, s3 is silent. 3. s2 connects anew with s0 and s1, and asks them to go on
/// where they were in the numbered stream of their decisions; no client tells it, and what replicas
/// compare gets lost. It names `x` no more.
#[test]
fn g5_replica_that_missed_the_end_is_told_by_the_stream() {
    let (mut c, reader, deaf) = missed_by_s2();
    c.run_ms(60_000);
    c.world.discard(deaf);
    c.world.lose(move |f| {
        let asks = ["read", "still empty"].iter().any(|kind| f.is(kind));
        f.to == replica(2) && f.from == Node::Client(reader) && !asks
    });
    c.world.lose(|f| f.is("compare") || f.is("compared"));
    for other in [0, 1] {
        c.world.reset((replica(2), replica(other)));
        c.world.reset((replica(other), replica(2)));
    }
    assert_none_soon(&mut c, reader);
}

/// G5. The same, but for who tells s2: it hears nothing of other replicas any more, and the reader to
/// whom it names `x` knows better.
#[test]
fn g5_replica_that_missed_the_end_is_told_by_readers() {
    let (mut c, reader, _) = missed_by_s2();
    assert_none_soon(&mut c, reader);
}

/// A client has taken `x` and is gone, and s2, deaf but for a reader, knows nothing of it.
fn missed_by_s2() -> (Cluster, usize, Interception) {
    let mut c = beside(&[Habit::Agree, Habit::Boast], Policy::default());
    let (writer, taker, reader) = (c.client(), c.client(), c.client());
    c.out(writer, tuple("x 1"));
    c.run_ms(20);
    let is_other = move |f: &Flight| f.to == replica(2) && f.from != Node::Client(reader);
    let deaf = c.world.lose(is_other);
    // Nor does s3 say that it applied it: too few for the others to forget it.
    c.world.lose(|f| f.is("applied") && f.from == replica(3));
    assert!(c.inp(taker, template("x *")).is_some());
    c.run_ms(20);
    c.crash_client(taker);
    c.isolate(3);
    (c, reader, deaf)
}

fn assert_none_soon(c: &mut Cluster, reader: usize) {
    let handle = c.start(reader, take(template("x *"), false));
    c.run_ms(SOON_MS);
    assert!(!c.is_open(handle), "s2 was never told");
    assert_eq!(c.finish(handle), Outcome::None);
    c.judge();
}

/// G6. A client may read but not take. Its `inp` ends, soon, with the reason, or with None; the entry
/// stays for those who may.
#[test]
fn g6_without_the_right_nobody_waits() {
    let mut setup = Setup::calm(4, 1);
    let rights = SpacePolicy {
        take: Allow::Keys([bts_tests::sim::setup::public(&setup.client_key(0))].into()),
        ..SpacePolicy::default()
    };
    setup.policy.spaces.insert(space(), rights);
    let mut c = Cluster::of(setup, &[3]);
    let (entitled, other) = (c.client(), c.client());
    c.out(entitled, tuple("x 1"));
    let handle = c.start(other, take(template("x *"), false));
    c.run_ms(SOON_MS);
    assert!(!c.is_open(handle), "it waits for a right");
    assert!(!matches!(c.finish(handle), Outcome::Found(_)));
    assert!(c.inp(entitled, template("x *")).is_some());
    c.judge();
}

/// G6. A client may take but not write, and swaps: *Enter* names the entry, and all refuse the Take,
/// which would put something. It ends with the reason; the entry stays.
#[test]
fn g6_swap_without_the_right_to_write_ends() {
    let mut setup = Setup::calm(4, 1);
    let rights = SpacePolicy {
        insert: Allow::Keys([bts_tests::sim::setup::public(&setup.client_key(0))].into()),
        ..SpacePolicy::default()
    };
    setup.policy.spaces.insert(space(), rights);
    let mut c = Cluster::of(setup, &[3]);
    let (entitled, other) = (c.client(), c.client());
    c.out(entitled, tuple("x 1"));
    let handle = c.start_swap(other, template("x *"), vec![tuple("y 1")]);
    c.run_ms(SOON_MS);
    assert!(!c.is_open(handle), "it waits for a right");
    assert!(matches!(c.finish(handle), Outcome::Refused(_)));
    assert!(c.inp(other, template("x *")).is_some(), "it may take");
    c.judge();
}

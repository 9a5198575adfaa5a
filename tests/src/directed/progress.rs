//! Accidents and attacks after which nothing might ever go on: each schedule ends with operations of
//! correct clients that must end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bts_core::consensus::certificate::Value;
use bts_core::content::Content;
use bts_core::message::{Compared, Given, PeerMessage};
use bts_core::time::Span;

use super::Schedule;
use super::stage::Stage;
use super::steps::play;
use crate::adversary::forge::content_hash;
use crate::adversary::puppet::Heard;
use crate::sim::cluster::{Cluster, space, take, template, tuple};
use crate::sim::node::{Flight, Message, Node, replica};
use crate::sim::setup::Setup;

/// All of them.
pub(super) const ALL: &[Schedule] = &[
    Schedule::new("b1_ballot_of_one", b1_ballot_of_one),
    Schedule::new("b2_epochs_without_end", b2_epochs_without_end),
    Schedule::new("b6_release_wakes", b6_release_wakes),
    Schedule::new("put_wakes", put_wakes),
    Schedule::new("c6_order_of_descent", c6_order_of_descent),
    Schedule::new("d1_climbing_alone", d1_climbing_alone),
    Schedule::new("g3_joined_by_propose", g3_joined_by_propose),
    Schedule::new("g5_missed_decide", g5_missed_decide),
    Schedule::new("a6_forgotten_by_one", a6_forgotten_by_one),
    Schedule::new("hole_nobody_tells_of", hole_nobody_tells_of),
    Schedule::new("removal_nobody_tells_of", removal_nobody_tells_of),
    Schedule::new("given_unverified", given_unverified),
];

/// The liar promises a ballot that would take years (B1).
fn b1_ballot_of_one() {
    play(|s| {
        let item = s.item();
        let take = s.take(0, 0_u64, &item, &[]);
        let promise = s.lie(&item, 30, None, None, &[&take]);
        for number in 0..3 {
            let promise = PeerMessage::Promise {
                promise: promise.clone(),
                takes: vec![take.clone()],
                released: None,
            };
            s.say(number, promise);
        }
        s.c.run_ms(20);
        Some(())
    });
}

/// Every epoch is released, also the last one (B2).
fn b2_epochs_without_end() {
    play(|s| {
        let item = s.item_of_epochs(4);
        for epoch in 0..4_u8 {
            let [one, other] = [0, 1].map(|who| s.take(who, epoch, &item, &[]));
            s.enter([&one, &other], &[0, 1]);
            let promises = [0, 1].map(|number| s.promise_of(number, &item, 1).expect("entered"));
            let [first, second] = promises;
            let lie = s.lie(&item, 1, None, None, &[&one]);
            let said = s.says(&item, 1, Value::Release);
            let released = s.ballot(&said, &[first, second, lie], &[&one, &other], &[0, 1])?;
            s.decide(&released, None, &[0, 1, 2]);
            s.released = Some(released);
        }
        Some(())
    });
}

/// Of two that wait, one is told of an entry, begins to take it, and dies. The entry is contested
/// when the other one's turn comes, and then released (B6).
fn b6_release_wakes() {
    let mut setup = Setup::calm(4, 1);
    setup.window = Span::from_millis(20);
    let mut c = Cluster::of(setup, &[]);
    let [writer, one, other] = [(); 3].map(|()| c.client());
    let waiting = [one, other].map(|client| c.start(client, take(template("job *"), true)));
    c.run_ms(20);
    let unheard = c.world.hold(|f| f.is("take") && f.to != replica(0));
    let unproposed = c.world.hold(|f| f.is("propose"));
    c.out(writer, tuple("job 1"));
    c.run_ms(5);
    let told = c.world.held(unheard).first().map(|flight| flight.from);
    let (dead, hungry) = match told == Some(Node::Client(one)) {
        true => (one, waiting[1]),
        false => (other, waiting[0]),
    };
    c.crash_client(dead);
    c.run_ms(300);
    c.world.release(unproposed);
    c.finish(hungry);
    c.judge();
}

/// Who waits for what a swap puts is told.
fn put_wakes() {
    let mut c = Cluster::new(4, 1, &[]);
    let [writer, waiter, swapper] = [(); 3].map(|()| c.client());
    c.out(writer, tuple("todo 1"));
    let hungry = c.start(waiter, take(template("doing *"), true));
    c.run_ms(20);
    c.swapp(swapper, template("todo *"), vec![tuple("doing 1")]);
    c.finish(hungry);
    c.judge();
}

/// Nothing reaches this replica while the switch is on.
fn deafen(c: &mut Cluster, number: u16) -> Arc<AtomicBool> {
    let deaf = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&deaf);
    c.world
        .lose(move |f| f.to == replica(number) && switch.load(Ordering::Relaxed));
    deaf
}

/// A replica that missed two swaps, one upon the other, hears of the second one first (C6).
fn c6_order_of_descent() {
    let mut c = Cluster::new(4, 1, &[]);
    let [writer, one, other, reader] = [(); 4].map(|()| c.client());
    c.out(writer, tuple("todo 1"));
    let spread = c
        .world
        .hold(move |f| f.is("decide") && f.from == Node::Client(other) && f.to == replica(2));
    let deaf = deafen(&mut c, 2);
    c.swapp(one, template("todo *"), vec![tuple("doing 1")]);
    c.swapp(other, template("doing *"), vec![tuple("done 1")]);
    let peers = c
        .world
        .lose(|f| matches!(f.from, Node::Replica(_)) && f.to == replica(2) && !f.is("applied"));
    deaf.store(false, Ordering::Relaxed);
    keep_last(&mut c, spread);
    c.run_ms(20);
    c.world.release(peers);
    c.run_ms(3_000);
    c.world.crash_replica(bts_core::ids::ReplicaId(3));
    assert_eq!(c.rdp(reader, template("doing *")), None);
    c.judge();
}

/// Of the messages held back the last one passes.
fn keep_last(c: &mut Cluster, held: crate::sim::Interception) {
    let last: Option<Flight> = c.world.held(held).last().cloned();
    c.world.discard(held);
    c.world.send(last.expect("the decision was told"));
}

/// A replica that knows of a Take is cut off for minutes (D1).
fn d1_climbing_alone() {
    let mut c = Cluster::new(4, 1, &[3]);
    let [writer, dead, taker] = [(); 3].map(|()| c.client());
    c.out(writer, tuple("prize 1"));
    c.world.lose(|f| f.is("take") && f.to != replica(0));
    c.isolate(0);
    c.world.heal_one_way(Node::Client(dead), replica(0));
    for number in 0..3 {
        c.world.heal_one_way(replica(number), Node::Client(dead));
    }
    c.start(dead, take(template("prize *"), false));
    c.run_ms(30);
    c.crash_client(dead);
    c.isolate(0);
    c.run_ms(200_000);
    c.heal();
    c.run_ms(1_000);
    let gone = c.start(taker, take(template("prize *"), false));
    c.run_ms(20_000);
    assert!(
        !c.is_open(gone),
        "the others climb after the one that was away"
    );
}

/// Two enter ballot 1; the liar, who owns it, has a third one join by a proposal and falls silent
/// (G3).
fn g3_joined_by_propose() {
    play(|s: &mut Stage| {
        let item = s.item();
        let take = s.take(0, 0_u64, &item, &[]);
        s.show(0, &take, &[0, 1]);
        s.wait_for_window();
        let [one, two] = [0, 1].map(|number| s.promise_of(number, &item, 1).expect("entered"));
        let lie = s.lie(&item, 1, None, None, &[&take]);
        let said = s.says(&item, 1, s.value(&take));
        s.propose(&said, &[one, two, lie], &[&take], &[2]);
        Some(())
    });
}

/// An entry is taken while one replica hears nothing; the taker and another replica die (G5).
fn g5_missed_decide() {
    let mut c = Cluster::new(4, 1, &[]);
    let [writer, taker, reader] = [(); 3].map(|()| c.client());
    c.out(writer, tuple("prize 1"));
    let deaf = deafen(&mut c, 2);
    assert!(c.inp(taker, template("prize *")).is_some());
    c.run_ms(10);
    c.crash_client(taker);
    c.world.crash_replica(bts_core::ids::ReplicaId(3));
    c.run_ms(100);
    deaf.store(false, Ordering::Relaxed);
    assert_eq!(c.rdp(reader, template("prize *")), None);
    c.judge();
}

/// One replica alone hears of a decision, and of its winner that it knows; the others voted, and too few
/// of them are left to decide again (A6).
fn a6_forgotten_by_one() {
    let mut c = Cluster::new(4, 1, &[]);
    let [writer, taker, reader] = [(); 3].map(|()| c.client());
    c.out(writer, tuple("prize 1"));
    let apart = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&apart);
    c.world.lose(move |f| {
        let told = f.from == replica(0) && matches!(f.to, Node::Replica(_));
        let decided = f.is("decide") && f.to != replica(0);
        switch.load(Ordering::Relaxed) && (told || decided)
    });
    assert!(c.inp(taker, template("prize *")).is_some());
    c.world.crash_replica(bts_core::ids::ReplicaId(3));
    c.run_ms(500);
    c.crash_client(taker);
    apart.store(false, Ordering::Relaxed);
    assert_eq!(c.rdp(reader, template("prize *")), None);
    c.judge();
}

/// An Out never reaches one replica, another one that has it dies, and no reader can write it back.
fn hole_nobody_tells_of() {
    let mut c = Cluster::new(4, 1, &[]);
    let [writer, reader] = [(); 2].map(|()| c.client());
    c.run_ms(1_000);
    c.world
        .lose(|f| (f.is("out") || f.is("write-back")) && f.to == replica(2));
    c.out(writer, tuple("prize 1"));
    c.crash_client(writer);
    c.run_ms(10_000);
    c.world.crash_replica(bts_core::ids::ReplicaId(3));
    assert!(c.rdp(reader, template("prize *")).is_some());
    c.judge();
}

/// A replica misses that an entry was taken, and hears no stream and no client that could tell it.
fn removal_nobody_tells_of() {
    let mut c = Cluster::new(4, 1, &[]);
    let [writer, taker, reader] = [(); 3].map(|()| c.client());
    c.out(writer, tuple("prize 1"));
    let deaf = deafen(&mut c, 2);
    assert!(c.inp(taker, template("prize *")).is_some());
    c.crash_client(taker);
    c.run_ms(10_000);
    c.world.lose(|f| {
        let tells = ["applied", "decide", "dropped"]
            .iter()
            .any(|kind| f.is(kind));
        tells && f.to == replica(2)
    });
    deaf.store(false, Ordering::Relaxed);
    c.run_ms(10_000);
    c.world.crash_replica(bts_core::ids::ReplicaId(3));
    assert_eq!(c.rdp(reader, template("prize *")), None);
    c.judge();
}

/// Whoever compares with the liar is told of an entry that its writer never signed.
fn given_unverified() {
    let mut c = Cluster::new(4, 1, &[3]);
    let reader = c.client();
    let stranger = c.client_forge(0);
    let id = stranger.id(&space(), 1);
    let mut entry = stranger.entry(id.clone(), tuple("prize 1"));
    let hash = content_hash(&c.world.configuration, &entry);
    entry.seal.signature[0] ^= 1;
    for _ in 0..40 {
        c.run_ms(250);
        for heard in c.heard(3) {
            let Heard::Peer(to, PeerMessage::Compare(asked)) = heard else {
                continue;
            };
            let items = vec![(id.clone(), hash)];
            let answer = Compared {
                from: asked.from,
                upto: asked.to,
                items: Some(items),
            };
            let given = Given::Content(id.clone(), Content::Signed(entry.clone()));
            let says = [PeerMessage::Compared(answer), PeerMessage::Given(given)];
            for message in says {
                c.world.send(Flight {
                    from: replica(3),
                    to: Node::Replica(to),
                    message: Message::Peer(message),
                });
                c.run_ms(5);
            }
        }
    }
    assert_eq!(c.rdp(reader, template("prize *")), None);
    c.judge();
}

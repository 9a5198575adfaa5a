//! Attacks on what readers conclude (PROTOCOL section 4): an entry seen gone before what replaced it
//! is there, an absence made of two moments, an entry read that was taken. The ally helps.

use std::sync::atomic::Ordering;

use bts_core::codec;
use bts_core::consensus::certificate::Statement;
use bts_core::ids::EntryId;
use bts_core::message::ClientBody;

use super::Schedule;
use super::ally::{self, ALLY};
use crate::sim::cluster::{Cluster, out, read, swap, template, tuple};
use crate::sim::node::{Flight, Message, Node, replica};

/// All of them.
pub(super) const ALL: &[Schedule] = &[
    Schedule::new("a1_swap_half_seen", a1_swap_half_seen),
    Schedule::new("a7_half_a_swap", a7_half_a_swap),
    Schedule::new("applied_without_origin", applied_without_origin),
    Schedule::new("b4_late_empty", b4_late_empty),
    Schedule::new("none_of_two_moments", none_of_two_moments),
    Schedule::new("read_of_few", read_of_few),
    Schedule::new("read_after_fast_take", read_after_fast_take),
    Schedule::new("read_after_locked_take", read_after_locked_take),
];

/// Correct replicas hear nothing of each other.
fn part_replicas(c: &mut Cluster) {
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        c.cut(replica(one), replica(other));
    }
}

/// What is on its way arrives, and what follows from it.
fn recover(c: &mut Cluster) {
    c.heal();
    c.run_ms(3_000);
    c.judge();
}

/// A swap is decided and applied at one replica. A reader of what it removed asks that one and one
/// who never had it; an entry comes that the reader would have found; another reader, of what the
/// swap puts, asks the others (A1).
fn a1_swap_half_seen() {
    let (mut c, is_empty) = ally::cluster();
    let [writer, swapper, one, other] = [(); 4].map(|()| c.client());
    part_replicas(&mut c);
    let unheard = c.world.lose(|f| f.is("out") && f.to == replica(2));
    c.out(writer, tuple("todo 1"));
    c.world.release(unheard);
    c.cut(Node::Client(swapper), replica(2));
    let undecided = c
        .world
        .lose(|f| f.is("decide") && [replica(1), replica(2)].contains(&f.to));
    c.start(
        swapper,
        swap(template("todo *"), false, vec![tuple("doing 1")]),
    );
    c.run_ms(100);
    is_empty.store(true, Ordering::Relaxed);
    c.cut(Node::Client(one), replica(1));
    c.start(one, read(template("todo *"), false));
    c.run_ms(100);
    c.start(writer, out(tuple("todo 2")));
    c.run_ms(20);
    c.start(other, read(template("doing *"), false));
    c.run_ms(100);
    c.world.release(undecided);
    c.run_ms(300);
    recover(&mut c);
}

/// A swap puts two entries and is applied at one replica. A reader finds one of them there and with
/// the liar, and brings it to the others; another reader looks for the other one there (A7).
fn a7_half_a_swap() {
    let (mut c, is_empty) = ally::cluster();
    let [writer, swapper, one, other] = [(); 4].map(|()| c.client());
    part_replicas(&mut c);
    c.out(writer, tuple("todo 1"));
    let undecided = c.world.lose(move |f| {
        let is_late = f.to == replica(1) || f.to == replica(2);
        f.is("decide") && f.from == Node::Client(swapper) && is_late
    });
    let puts = vec![tuple("left 1"), tuple("right 1")];
    c.start(swapper, swap(template("todo *"), false, puts));
    c.run_ms(100);
    c.rdp(one, template("left *"));
    is_empty.store(true, Ordering::Relaxed);
    c.rdp(other, template("right *"));
    c.world.release(undecided);
    recover(&mut c);
}

/// True if it tells of a decision on this entry.
fn decides(flight: &Flight, id: &EntryId) -> bool {
    let Message::Request(request) = &flight.message else {
        return false;
    };
    let ClientBody::Decide { decision, .. } = &request.body else {
        return false;
    };
    let said = codec::decode_payload::<Statement>(&decision.certificate.payload);
    said.is_ok_and(|said| said.id == *id)
}

/// A replica that lacks the first of two swaps hears of the second one. What it answers must not
/// make the second stable.
fn applied_without_origin() {
    let (mut c, is_empty) = ally::cluster();
    let [writer, swapper, next, reader] = [(); 4].map(|()| c.client());
    part_replicas(&mut c);
    let id = c.out(writer, tuple("todo 1"));
    c.world.lose(move |f| f.to == replica(2) && decides(f, &id));
    c.world
        .lose(move |f| f.to == replica(2) && (f.is("take") || f.is("lock") || f.is("evidence")));
    c.swapp(swapper, template("todo *"), vec![tuple("doing 1")]);
    let late = c
        .world
        .lose(move |f| f.is("decide") && f.from == Node::Client(next) && f.to == replica(1));
    c.start(
        next,
        swap(template("doing *"), false, vec![tuple("done 1")]),
    );
    c.run_ms(200);
    is_empty.store(true, Ordering::Relaxed);
    c.start(reader, read(template("done *"), false));
    c.run_ms(200);
    c.world.release(late);
    recover(&mut c);
}

/// Something matches all the time, but at other replicas; each replica is empty once. A reader hears
/// two of these moments before it asks again, and the third one late (B4).
fn b4_late_empty() {
    let (mut c, is_empty) = ally::cluster();
    let [writer, reader, first, second] = [(); 4].map(|()| c.client());
    part_replicas(&mut c);
    let avoid = |number: u16| move |f: &Flight| f.is("out") && f.to == replica(number);
    let unheard = c.world.lose(avoid(2));
    c.out(writer, tuple("job 1"));
    c.world.release(unheard);
    let asked = c
        .world
        .hold(move |f| f.is("read") && f.from == Node::Client(reader) && f.to == replica(0));
    let asked_last = c
        .world
        .hold(move |f| f.is("read") && f.from == Node::Client(reader) && f.to == replica(1));
    let told_late = c
        .world
        .hold(move |f| f.is("found") && f.from == replica(2) && f.to == Node::Client(reader));
    is_empty.store(true, Ordering::Relaxed);
    let none = c.start(reader, read(template("job *"), false));
    c.run_ms(10);
    is_empty.store(false, Ordering::Relaxed);
    let unheard = c.world.lose(avoid(0));
    c.out(writer, tuple("job 2"));
    c.world.release(unheard);
    c.cut(Node::Client(first), replica(2));
    assert!(c.inp(first, template("job 1")).is_some());
    c.world.release(asked);
    c.run_ms(4);
    let unheard = c.world.lose(avoid(1));
    c.out(writer, tuple("job 3"));
    c.world.release(unheard);
    c.cut(Node::Client(second), replica(0));
    assert!(c.inp(second, template("job 2")).is_some());
    c.world.release(asked_last);
    c.run_ms(10);
    c.world.release(told_late);
    c.run_ms(20);
    let _ = c.is_open(none);
    recover(&mut c);
}

/// The same with one moment less: a reader hears that one replica was empty, then another.
fn none_of_two_moments() {
    let (mut c, is_empty) = ally::cluster();
    let [writer, reader, taker] = [(); 3].map(|()| c.client());
    part_replicas(&mut c);
    let unheard = c.world.lose(|f| f.is("out") && f.to == replica(2));
    c.out(writer, tuple("job 1"));
    c.world.release(unheard);
    let asked = c.world.hold(move |f| {
        f.is("read")
            && f.from == Node::Client(reader)
            && f.to != replica(2)
            && f.to != replica(ALLY)
    });
    is_empty.store(true, Ordering::Relaxed);
    c.start(reader, read(template("job *"), false));
    c.run_ms(10);
    is_empty.store(false, Ordering::Relaxed);
    let unheard = c.world.lose(|f| f.is("out") && f.to == replica(0));
    c.out(writer, tuple("job 2"));
    c.world.release(unheard);
    c.cut(Node::Client(taker), replica(2));
    assert!(c.inp(taker, template("job 1")).is_some());
    c.world.release(asked);
    c.run_ms(20);
    recover(&mut c);
}

/// One replica holds an entry that is being written. Who reads it makes a quorum hold it.
fn read_of_few() {
    let (mut c, is_empty) = ally::cluster();
    let [writer, one, other] = [(); 3].map(|()| c.client());
    part_replicas(&mut c);
    let unheard = c.world.lose(|f| f.is("out") && f.to != replica(0));
    c.start(writer, out(tuple("news 1")));
    c.run_ms(10);
    c.start(one, read(template("news *"), false));
    c.run_ms(50);
    is_empty.store(true, Ordering::Relaxed);
    c.cut(Node::Client(other), replica(0));
    c.start(other, read(template("news *"), false));
    c.run_ms(50);
    c.world.release(unheard);
    recover(&mut c);
}

/// A Take is decided by all first votes, and nobody is told. A reader meets two of the votes, and the
/// liar, who names the entry as if nothing were.
fn read_after_fast_take() {
    let (mut c, _) = ally::cluster();
    let [writer, taker, reader] = [(); 3].map(|()| c.client());
    part_replicas(&mut c);
    c.out(writer, tuple("prize 1"));
    let undecided = c.world.lose(|f| f.is("decide"));
    assert!(c.inp(taker, template("prize *")).is_some());
    c.cut(Node::Client(reader), replica(2));
    c.start(reader, read(template("prize *"), false));
    c.run_ms(40);
    c.world.release(undecided);
    recover(&mut c);
}

/// A Take is decided by a lock that one of its voters holds, and one who did not vote.
fn read_after_locked_take() {
    let (mut c, _) = ally::cluster();
    let [writer, taker, reader] = [(); 3].map(|()| c.client());
    part_replicas(&mut c);
    c.out(writer, tuple("prize 1"));
    let unheard = c.world.lose(|f| {
        f.is("decide")
            || (f.is("take") || f.is("evidence")) && f.to == replica(2)
            || f.is("lock") && f.to == replica(1)
    });
    assert!(c.inp(taker, template("prize *")).is_some());
    c.cut(Node::Client(reader), replica(1));
    c.start(reader, read(template("prize *"), false));
    c.run_ms(40);
    c.world.release(unheard);
    recover(&mut c);
}

//! Faults planted into histories that are right. A [`Fault`] makes a history wrong for a reason
//! that one rule of the fast judge names, so both judges must see it; [`shake`] changes anything,
//! and whether the result is wrong only the judges can say.

#![expect(clippy::ptr_arg, reason = "all faults have one signature")]

use bts_core::message::Found;

use super::super::history::{Answer, Call, Effect, Operation};
use super::right::{all, found, op, tuple};
use crate::sim::rng::Rng;

/// A kind of fault, and what the fast judge calls it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) called: &'static str,
    plant: fn(&mut Rng, &mut Vec<Operation>) -> Option<()>,
}

/// All kinds.
pub(super) const FAULTS: &[Fault] = &[
    fault("does not match", answer_another_question),
    fault("does not match", wait_for_nothing),
    fault("never written", drop_an_out),
    fault("never written", alter_a_tuple),
    fault("seen before", read_too_early),
    fault("seen before", read_a_put_too_early),
    fault("seen after", read_too_late),
    fault("seen after", read_what_was_replaced),
    fault("seen after", read_what_was_missed),
    fault("taken twice", take_again),
    fault("taken twice", see_a_put_of_somebody_else),
    fault("two effects", see_both_effects),
    fault("overlooked", miss_what_is_there),
    fault("overlooked", miss_what_hands_over),
    fault("overlooked", miss_both_halves_of_a_swap),
    fault("overlooked", leave_out_of_a_listing),
];

const fn fault(
    called: &'static str,
    plant: fn(&mut Rng, &mut Vec<Operation>) -> Option<()>,
) -> Fault {
    Fault { called, plant }
}

impl Fault {
    /// Plants one if the history has a place for it.
    pub(super) fn plant(self, rng: &mut Rng, history: &[Operation]) -> Option<Vec<Operation>> {
        let mut wrong = history.to_vec();
        (self.plant)(rng, &mut wrong)?;
        Some(wrong)
    }
}

/// A moment after everything.
fn end_of(history: &[Operation]) -> u64 {
    let ended = history.iter().filter_map(|operation| operation.ended);
    let started = history.iter().map(|operation| operation.started);
    ended.chain(started).max().unwrap_or(0) + 10
}

fn read(at: u64, answer: Answer) -> Operation {
    op(at, Some(at + 1), Call::Read(all()), answer)
}

/// Some operation for which this gives something.
fn some<T>(
    rng: &mut Rng,
    history: &[Operation],
    pick: impl Fn(&Operation) -> Option<T>,
) -> Option<(usize, T)> {
    let all = history.iter().enumerate();
    let mut all: Vec<_> = all.filter_map(|(i, o)| Some((i, pick(o)?))).collect();
    let chosen = (!all.is_empty()).then(|| rng.index(all.len()))?;
    Some(all.swap_remove(chosen))
}

fn written(operation: &Operation) -> Option<Found> {
    let is_out = matches!(operation.answer, Answer::Written(_));
    is_out.then(|| operation.written().remove(0))
}

fn answer_another_question(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (one, _) = some(rng, history, |o| (!o.seen().is_empty()).then_some(()))?;
    let other = super::right::only("c");
    history[one].call = match history[one].call {
        Call::Read(_) => Call::Read(other),
        Call::Take(_) => Call::Take(other),
        Call::Swap(_) => Call::Swap(other),
        _ => Call::List(other),
    };
    Some(())
}

fn wait_for_nothing(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (one, ()) = some(rng, history, |o| (o.answer == Answer::None).then_some(()))?;
    history[one].waits = true;
    Some(())
}

fn drop_an_out(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let seen: Vec<_> = history.iter().flat_map(Operation::seen).cloned().collect();
    let (one, _) = some(rng, history, |o| written(o).filter(|w| seen.contains(w)))?;
    history.remove(one);
    Some(())
}

fn alter_a_tuple(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (one, mut seen) = some(rng, history, |o| match &o.answer {
        Answer::Found(seen) => Some(seen.clone()),
        _ => None,
    })?;
    seen.tuple = tuple("altered");
    history[one].answer = Answer::Found(seen);
    history[one].call = Call::Read(all());
    Some(())
}

fn read_too_early(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (one, new) = some(rng, history, written)?;
    history
        .iter_mut()
        .for_each(|operation| *operation = later(operation));
    let at = history[one].started - 5;
    history.push(read(at, Answer::Found(new)));
    Some(())
}

/// A put is seen before its origin was written, by a swap that may have begun long before.
fn read_a_put_too_early(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (one, origin) = some(rng, history, |o| written(o).filter(|_| o.started > 10))?;
    let put = child(&origin);
    history.retain(|o| o.taken().is_none_or(|taken| taken.id != origin.id));
    let swap = Answer::Open(vec![Effect::Replace(origin.clone(), vec![put.clone()])]);
    let one = history
        .iter()
        .position(|o| written(o).as_ref() == Some(&origin))
        .unwrap_or(one);
    let at = history[one].started - 5;
    history.push(op(0, None, Call::Swap(all()), swap));
    history.push(read(at, Answer::Found(put)));
    Some(())
}

fn read_too_late(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (_, taken) = some(rng, history, |o| o.taken().cloned())?;
    history.push(read(end_of(history), Answer::Found(taken)));
    Some(())
}

/// Nobody knows that the swap took place but those who saw what it put.
fn read_what_was_replaced(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (one, (taken, puts)) = some(rng, history, |o| match &o.answer {
        Answer::Swapped(taken, puts) if !puts.is_empty() => Some((taken.clone(), puts.clone())),
        _ => None,
    })?;
    let seen_by = history
        .iter()
        .any(|o| o.seen().iter().any(|seen| puts.contains(seen)));
    let swap = &mut history[one];
    swap.ended = None;
    swap.answer = Answer::Open(vec![Effect::Replace(taken.clone(), puts)]);
    history.push(read(end_of(history), Answer::Found(taken)));
    seen_by.then_some(())
}

/// Somebody found nothing, so it was taken; yet later it is there.
fn read_what_was_missed(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (_, new) = some(rng, history, written)?;
    let end = end_of(history);
    let taken = Answer::Open(vec![Effect::Replace(new.clone(), Vec::new())]);
    let none = Call::Read(super::right::only(&text_of(&new)));
    history.retain(|o| o.taken().is_none_or(|taken| taken.id != new.id));
    history.push(op(0, None, Call::Ghost, taken));
    history.push(op(end, Some(end + 1), none, Answer::None));
    history.push(read(end + 3, Answer::Found(new)));
    Some(())
}

fn take_again(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (one, _) = some(rng, history, |o| o.taken().cloned())?;
    let again = history[one].clone();
    history.push(again);
    Some(())
}

/// What only a swap without answer can have put is seen, and somebody else was told that he took
/// its origin.
fn see_a_put_of_somebody_else(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (_, taken) = some(rng, history, |o| match (&o.call, &o.answer) {
        (Call::Take(_), Answer::Found(taken)) => Some(taken.clone()),
        _ => None,
    })?;
    let put = child(&taken);
    let swap = Answer::Open(vec![Effect::Replace(taken, vec![put.clone()])]);
    history.push(op(0, None, Call::Swap(all()), swap));
    history.push(read(end_of(history), Answer::Found(put)));
    Some(())
}

/// A swap without answer was engaged with one entry and then with another, and both are replaced.
fn see_both_effects(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let pairs = [found(901, "a"), found(902, "b")];
    let end = end_of(history);
    let swap = pairs
        .iter()
        .map(|one| Effect::Replace(one.clone(), vec![child(one)]));
    let swap = op(
        end + 2,
        None,
        Call::Swap(all()),
        Answer::Open(swap.collect()),
    );
    for one in &pairs {
        let out = Answer::Written(one.id.clone());
        history.push(op(end, Some(end + 1), Call::Out(one.tuple.clone()), out));
        let wait = rng.below(9);
        history.push(read(end + 4 + wait, Answer::Found(child(one))));
    }
    history.push(swap);
    Some(())
}

fn miss_what_is_there(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (_, new) = some(rng, history, written)?;
    history.retain(|o| takes(o, &new).is_none());
    history.push(read(end_of(history), Answer::None));
    Some(())
}

/// Neither of two entries is there all the time, but one of them always is.
fn miss_what_hands_over(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let end = end_of(history) + rng.below(9);
    let [first, second] = [found(901, "a"), found(902, "b")];
    let write = |at, new: &Found| {
        let out = Answer::Written(new.id.clone());
        op(at, Some(at + 1), Call::Out(new.tuple.clone()), out)
    };
    history.push(write(end, &first));
    history.push(write(end + 20, &second));
    history.push(op(
        end + 30,
        Some(end + 31),
        Call::Take(all()),
        Answer::Found(first),
    ));
    history.push(op(
        end + 10,
        Some(end + 40),
        Call::Read(all()),
        Answer::None,
    ));
    Some(())
}

/// The schedule of A1: who does not find the old entry proves that the new one is there.
fn miss_both_halves_of_a_swap(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let end = end_of(history) + rng.below(9);
    let old = found(901, "old");
    let new = Found {
        tuple: tuple("new"),
        ..child(&old)
    };
    let out = Answer::Written(old.id.clone());
    history.push(op(end, Some(end + 1), Call::Out(old.tuple.clone()), out));
    let swap = Answer::Open(vec![Effect::Replace(old, vec![new])]);
    history.push(op(end + 2, None, Call::Swap(all()), swap));
    for (at, key) in [(3, "old"), (5, "new")] {
        let none = Call::Read(super::right::only(key));
        history.push(op(end + at, Some(end + at + 1), none, Answer::None));
    }
    Some(())
}

fn leave_out_of_a_listing(rng: &mut Rng, history: &mut Vec<Operation>) -> Option<()> {
    let (_, new) = some(rng, history, written)?;
    history.retain(|o| takes(o, &new).is_none());
    let end = end_of(history);
    let list = Answer::Listed(Vec::new());
    history.push(op(end, Some(end + 1), Call::List(all()), list));
    Some(())
}

/// The operation if it took this, or may have.
fn takes<'a>(operation: &'a Operation, content: &Found) -> Option<&'a Operation> {
    let sure = operation
        .taken()
        .is_some_and(|taken| taken.id == content.id);
    let may = |effect: &Effect| match effect {
        Effect::Replace(taken, _) => taken.id == content.id,
        Effect::Write(_) => false,
    };
    (sure || operation.possible().iter().any(may)).then_some(operation)
}

/// What a swap of this entry puts in its place; nothing else in these histories has its tuple.
fn child(origin: &Found) -> Found {
    Found {
        id: origin.id.put(7).expect("few puts"),
        tuple: tuple("child"),
    }
}

fn text_of(found: &Found) -> String {
    match found.tuple.fields() {
        [bts_core::tuple::Field::Text(text)] => text.clone(),
        other => unreachable!("{other:?} is not written here"),
    }
}

fn later(operation: &Operation) -> Operation {
    Operation {
        started: operation.started + 10,
        ended: operation.ended.map(|ended| ended + 10),
        ..operation.clone()
    }
}

/// Changes something: drops, swaps, doubles, empties, moves.
pub(super) fn shake(rng: &mut Rng, history: &mut Vec<Operation>) {
    let one = rng.index(history.len());
    let other = rng.index(history.len());
    match rng.below(7) {
        0 => {
            history.remove(one);
        }
        1 => {
            let answer = history[one].answer.clone();
            let answered = |i: usize| history[i].ended.is_some();
            if history[one].call == history[other].call && answered(one) && answered(other) {
                history[one].answer = std::mem::replace(&mut history[other].answer, answer);
            }
        }
        2 => {
            let again = history[one].clone();
            history.push(again);
        }
        3 if history[one].template().is_some() && history[one].ended.is_some() => {
            history[one].answer = Answer::None;
        }
        4 => {
            let answer = std::mem::replace(&mut history[one].answer, Answer::None);
            let may = match answer {
                Answer::Swapped(taken, puts) => vec![Effect::Replace(taken, puts)],
                _ => Vec::new(),
            };
            history[one].answer = Answer::Open(may);
            history[one].ended = None;
        }
        5 => {
            let template = history[one].template().is_some();
            let seen = history[other].seen().first().cloned();
            if let (true, Some(seen)) = (template && history[one].ended.is_some(), seen) {
                history[one].call = Call::Read(all());
                history[one].answer = Answer::Found(seen);
            }
        }
        _ => {
            let shift = 1 + rng.below(1000);
            history[one].started += shift;
            history[one].ended = history[one].ended.map(|ended| ended + shift);
        }
    }
}

//! The judges judged: histories that are right by construction, the same with planted faults, and a
//! judge that tries every order.

use bts_core::ids::{EntryId, PublicKey, Seq, Session, SpaceName};
use bts_core::message::Found;
use bts_core::template::{Pattern, Template};
use bts_core::tuple::Tuple;

use super::fast;
use super::history::{Answer, Call, Effect, Operation};
use super::linearize::{self, Verdict};
use crate::sim::rng::Rng;

#[test]
fn check_right_histories_pass() {
    for seed in 0..400 {
        let history = right(&mut Rng::new(seed), 40);
        assert_eq!(
            linearize::check(&history),
            Verdict::Linearizable,
            "{}",
            show(&history)
        );
        assert_eq!(
            fast::violations(&history),
            Vec::<String>::new(),
            "{}",
            show(&history)
        );
    }
}

#[test]
fn check_agrees_with_every_order_tried() {
    let (mut bad, mut fast_found) = (0, 0);
    for seed in 0..3000 {
        let mut rng = Rng::new(seed);
        let length = rng.between(3, 6);
        let mut history = right(&mut rng, length);
        mutate(&mut rng, &mut history);
        let possible = any_order(&history);
        let verdict = linearize::check(&history);
        assert_eq!(
            verdict == Verdict::Linearizable,
            possible,
            "{}",
            show(&history)
        );
        let objections = fast::violations(&history);
        assert!(
            objections.is_empty() || !possible,
            "{objections:?}\n{}",
            show(&history)
        );
        bad += usize::from(!possible);
        fast_found += usize::from(!objections.is_empty());
    }
    assert!(bad > 300, "mutants that break something: {bad}");
    assert!(
        fast_found * 2 > bad,
        "the fast judge sees most of them: {fast_found} of {bad}"
    );
}

#[test]
fn check_fast_objects_only_where_exact_does() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let mut history = right(&mut rng, 30);
        mutate(&mut rng, &mut history);
        let exact = linearize::check(&history);
        let objections = fast::violations(&history);
        let agree = objections.is_empty() || matches!(exact, Verdict::Violation(_));
        assert!(agree, "{objections:?}\n{}", show(&history));
    }
}

#[test]
fn check_a_tuple_taken_twice_is_a_violation() {
    let taken = found(1, "a");
    let history = [
        op(
            1,
            Some(2),
            Call::Out(taken.tuple.clone()),
            Answer::Written(taken.id.clone()),
        ),
        op(3, Some(6), Call::Take(all()), Answer::Found(taken.clone())),
        op(4, Some(5), Call::Take(all()), Answer::Found(taken)),
    ];
    demand_violation(&history, "taken twice");
}

#[test]
fn check_none_beside_a_present_entry_is_a_violation() {
    let there = found(1, "a");
    let history = [
        op(
            1,
            Some(2),
            Call::Out(there.tuple.clone()),
            Answer::Written(there.id),
        ),
        op(3, Some(4), Call::Read(all()), Answer::None),
    ];
    demand_violation(&history, "overlooked");
}

#[test]
fn check_an_entry_nobody_wrote_is_a_violation() {
    let history = [op(
        3,
        Some(4),
        Call::Read(all()),
        Answer::Found(found(1, "a")),
    )];
    demand_violation(&history, "never written");
}

#[test]
fn check_a1_both_halves_of_a_swap_missing_is_a_violation() {
    let (old, new) = (found(1, "old"), put(1, "new"));
    let swapped = Answer::Open(vec![Effect::Replace(old.clone(), vec![new])]);
    let history = [
        op(
            1,
            Some(2),
            Call::Out(old.tuple.clone()),
            Answer::Written(old.id),
        ),
        op(3, None, Call::Swap(only("old")), swapped),
        op(4, Some(5), Call::Read(only("old")), Answer::None),
        op(6, Some(7), Call::Read(only("new")), Answer::None),
    ];
    assert!(matches!(linearize::check(&history), Verdict::Violation(_)));
    let fine = [&history[..2], &history[3..], &[late(&history[2])]].concat();
    assert_eq!(
        linearize::check(&fine),
        Verdict::Linearizable,
        "in the other order"
    );
}

#[test]
fn check_unanswered_operations_may_or_may_not_take_effect() {
    let new = found(1, "a");
    let write = Answer::Open(vec![Effect::Write(new.clone())]);
    let out = op(1, None, Call::Out(new.tuple.clone()), write);
    let read = |at, answer| op(at, Some(at + 1), Call::Read(all()), answer);
    let none_then_found = [
        out.clone(),
        read(3, Answer::None),
        read(5, Answer::Found(new.clone())),
    ];
    assert_eq!(linearize::check(&none_then_found), Verdict::Linearizable);
    let found_then_none = [out, read(3, Answer::Found(new)), read(5, Answer::None)];
    demand_violation(&found_then_none, "");
}

#[test]
fn check_half_a_swap_is_a_violation() {
    let (old, new) = (found(1, "old"), put(1, "new"));
    let swapped = Answer::Open(vec![Effect::Replace(old.clone(), vec![new.clone()])]);
    let history = [
        op(
            1,
            Some(2),
            Call::Out(old.tuple.clone()),
            Answer::Written(old.id.clone()),
        ),
        op(3, None, Call::Swap(only("old")), swapped),
        op(4, Some(5), Call::Read(only("new")), Answer::Found(new)),
        op(6, Some(7), Call::Read(only("old")), Answer::Found(old)),
    ];
    demand_violation(&history, "seen after what replaced it");
}

#[test]
fn check_contents_of_one_id_go_together() {
    let (one, other) = (found(1, "a"), found(1, "b"));
    let ghost = |content: &Found| {
        op(
            0,
            None,
            Call::Ghost,
            Answer::Open(vec![Effect::Write(content.clone())]),
        )
    };
    let history = [
        ghost(&one),
        ghost(&other),
        op(1, Some(2), Call::Take(all()), Answer::Found(one.clone())),
        op(3, Some(4), Call::Read(all()), Answer::Found(other.clone())),
    ];
    demand_violation(&history, "");
}

fn demand_violation(history: &[Operation], words: &str) {
    assert!(
        matches!(linearize::check(history), Verdict::Violation(_)),
        "{}",
        show(history)
    );
    let objections = fast::violations(history);
    assert!(
        words.is_empty() || objections.iter().any(|o| o.contains(words)),
        "{objections:?}"
    );
}

fn late(operation: &Operation) -> Operation {
    Operation {
        started: 8,
        ended: Some(9),
        ..operation.clone()
    }
}

/// A history made by doing one operation after the other, each within an interval around it.
fn right(rng: &mut Rng, length: u64) -> Vec<Operation> {
    let mut bag: Vec<Found> = Vec::new();
    let mut history = Vec::new();
    let mut seq = 0;
    for at in 0..length {
        let answered = rng.chance(900);
        seq += 1;
        let template = if rng.chance(400) {
            all()
        } else {
            only(key(rng))
        };
        let at_random = rng.index(bag.len().max(1));
        let chosen = bag.iter().cycle().skip(at_random).take(bag.len());
        let chosen = chosen
            .into_iter()
            .find(|content| template.matches(&content.tuple))
            .cloned();
        let (call, answer, effect) = match rng.below(4) {
            0 | 1 => {
                let new = found(seq, key(rng));
                bag.push(new.clone());
                let answer = Answer::Written(new.id.clone());
                (
                    Call::Out(new.tuple.clone()),
                    answer,
                    Some(Effect::Write(new)),
                )
            }
            2 => (
                Call::Read(template),
                chosen.map_or(Answer::None, Answer::Found),
                None,
            ),
            _ => take(&mut bag, rng, template, chosen),
        };
        let started = at * 100 - rng.below(250).min(at * 100);
        let (ended, answer) = match answered {
            true => (Some(at * 100 + 1 + rng.below(250)), answer),
            false => (None, Answer::Open(effect.into_iter().collect())),
        };
        history.push(op(started, ended, call, answer));
    }
    history
}

fn take(
    bag: &mut Vec<Found>,
    rng: &mut Rng,
    template: Template,
    chosen: Option<Found>,
) -> (Call, Answer, Option<Effect>) {
    let Some(taken) = chosen else {
        return (Call::Take(template), Answer::None, None);
    };
    bag.retain(|content| content.id != taken.id);
    if rng.chance(500) {
        let effect = Effect::Replace(taken.clone(), Vec::new());
        return (Call::Take(template), Answer::Found(taken), Some(effect));
    }
    let new = Found {
        id: taken.id.put(0).expect("few puts"),
        tuple: tuple(key(rng)),
    };
    bag.push(new.clone());
    let effect = Effect::Replace(taken.clone(), vec![new.clone()]);
    (
        Call::Swap(template),
        Answer::Swapped(taken, vec![new]),
        Some(effect),
    )
}

/// Plants a fault, or what may be one.
fn mutate(rng: &mut Rng, history: &mut Vec<Operation>) {
    let one = rng.index(history.len());
    let other = rng.index(history.len());
    match rng.below(5) {
        0 => {
            history.remove(one);
        }
        1 => {
            let answer = history[one].answer.clone();
            if history[one].call == history[other].call {
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
        _ => {
            let shift = 1 + rng.below(1000);
            history[one].started += shift;
            history[one].ended = history[one].ended.map(|ended| ended + shift);
        }
    }
}

/// Tries every order, with a plain bag.
fn any_order(history: &[Operation]) -> bool {
    extend(history, &mut vec![false; history.len()], &[])
}

fn extend(history: &[Operation], done: &mut Vec<bool>, bag: &[Found]) -> bool {
    let left = |done: &[bool]| (0..history.len()).filter(|i| !done[*i]).collect::<Vec<_>>();
    if left(done).iter().all(|i| history[*i].ended.is_none()) {
        return true;
    }
    for next in left(done) {
        if left(done)
            .iter()
            .any(|other| history[*other].precedes(&history[next]))
        {
            continue;
        }
        done[next] = true;
        let found = outcomes(&history[next], bag)
            .iter()
            .any(|bag| extend(history, done, bag));
        done[next] = false;
        if found {
            return true;
        }
    }
    false
}

/// The bags that may follow.
fn outcomes(operation: &Operation, bag: &[Found]) -> Vec<Vec<Found>> {
    let without = |taken: &Found| {
        bag.iter()
            .filter(|c| c.id != taken.id)
            .cloned()
            .collect::<Vec<_>>()
    };
    let has = |content: &Found| bag.contains(content);
    let write = |new: &Found| [bag, std::slice::from_ref(new)].concat();
    let replace = |taken: &Found, puts: &[Found]| {
        has(taken)
            .then(|| [without(taken).as_slice(), puts].concat())
            .into_iter()
            .collect()
    };
    match (&operation.call, &operation.answer) {
        (_, Answer::Written(_)) => vec![write(&operation.written()[0])],
        (Call::Take(_), Answer::Found(taken)) => replace(taken, &[]),
        (_, Answer::Swapped(taken, puts)) => replace(taken, puts),
        (_, Answer::Found(seen) | Answer::Declined(seen)) if has(seen) => vec![bag.to_vec()],
        (_, Answer::None) => {
            let template = operation.template().expect("only they find nothing");
            let empty = !bag.iter().any(|content| template.matches(&content.tuple));
            empty.then(|| bag.to_vec()).into_iter().collect()
        }
        (_, Answer::Open(effects)) => {
            let effect = |effect: &Effect| match effect {
                Effect::Write(new) => vec![write(new)],
                Effect::Replace(taken, puts) => replace(taken, puts),
            };
            effects
                .iter()
                .flat_map(effect)
                .chain([bag.to_vec()])
                .collect()
        }
        _ => Vec::new(),
    }
}

fn op(started: u64, ended: Option<u64>, call: Call, answer: Answer) -> Operation {
    Operation {
        who: "c".to_owned(),
        session: 0,
        waits: false,
        space: space(),
        call,
        started,
        ended,
        answer,
    }
}

fn space() -> SpaceName {
    SpaceName::new("s").expect("a good name")
}

fn tuple(key: &str) -> Tuple {
    Tuple(vec![key.into()])
}

fn found(seq: u64, key: &str) -> Found {
    Found {
        id: EntryId::written(space(), PublicKey([7; 32]), Session(1), Seq(seq)),
        tuple: tuple(key),
    }
}

fn put(seq: u64, key: &str) -> Found {
    Found {
        id: found(seq, key).id.put(0).expect("few puts"),
        tuple: tuple(key),
    }
}

fn key(rng: &mut Rng) -> &'static str {
    rng.pick(&["a", "b"]).expect("two")
}

fn all() -> Template {
    Template(vec![Pattern::Any])
}

fn only(key: &str) -> Template {
    Template(vec![Pattern::Exact(key.into())])
}

fn show(history: &[Operation]) -> String {
    history
        .iter()
        .map(|operation| format!("{operation}\n"))
        .collect()
}

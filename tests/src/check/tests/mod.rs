//! The judges judged: histories that are right by construction, the same with planted faults, and a
//! judge that tries every order.

mod planted;
mod right;
mod twin;

use bts_core::message::Found;

use super::fast;
use super::history::{Answer, Call, Effect, Operation};
use super::linearize::{self, Verdict};
use crate::sim::rng::Rng;
use planted::{FAULTS, shake};
use right::{Style, all, found, only, op, put, right, show};
use twin::any_order;

/// Histories on which the judges are compared: short ones with every order, long ones with each
/// other.
const SHORT: u64 = 6_000;
const LONG: u64 = 1_000;

#[test]
fn check_right_histories_pass() {
    for seed in 0..600 {
        let history = right(&mut Rng::new(seed), Style::of(40));
        let verdict = linearize::check(&history);
        assert_eq!(verdict, Verdict::Linearizable, "{}", show(&history));
        let objections = fast::violations(&history);
        assert_eq!(objections, Vec::<String>::new(), "{}", show(&history));
    }
}

/// The exact judge is right about every short history, and the fast one never objects to what some
/// order explains.
#[test]
fn check_agrees_with_every_order_tried() {
    let (mut bad, mut fast_found) = (0, 0);
    for seed in 0..SHORT {
        let mut rng = Rng::new(seed);
        let style = Style {
            spread: *rng.pick(&[90, 250, 600]).expect("three"),
            unknown_per_mille: 200,
            lists: rng.chance(200),
            ..Style::of(3 + rng.below(4))
        };
        let mut history = right(&mut rng, style);
        shake(&mut rng, &mut history);
        if history.len() > 6 || history.is_empty() {
            continue;
        }
        let possible = any_order(&history);
        let right = linearize::check(&history) == Verdict::Linearizable;
        assert_eq!(right, possible, "seed {seed}\n{}", show(&history));
        let objections = fast::violations(&history);
        let sound = objections.is_empty() || !possible;
        assert!(sound, "seed {seed} {objections:?}\n{}", show(&history));
        bad += usize::from(!possible);
        fast_found += usize::from(!objections.is_empty());
    }
    assert!(
        bad * 12 > SHORT as usize,
        "shaken ones that are wrong: {bad}"
    );
    let share = fast_found * 100 / bad;
    assert!(
        share >= 90,
        "the fast judge sees most of them: {fast_found} of {bad}"
    );
}

#[test]
fn check_fast_objects_only_where_exact_does() {
    let (mut bad, mut fast_found) = (0, 0);
    for seed in 0..LONG {
        let mut rng = Rng::new(seed);
        let mut history = right(&mut rng, Style::of(30));
        for _ in 0..=rng.below(3) {
            shake(&mut rng, &mut history);
        }
        let exact = linearize::check(&history);
        let objections = fast::violations(&history);
        let agree = objections.is_empty() || matches!(exact, Verdict::Violation(_));
        assert!(agree, "seed {seed} {objections:?}\n{}", show(&history));
        bad += usize::from(matches!(exact, Verdict::Violation(_)));
        fast_found += usize::from(!objections.is_empty());
    }
    let share = fast_found * 100 / bad;
    assert!(
        share >= 90,
        "the fast judge sees most of them: {fast_found} of {bad}"
    );
}

/// Each fault is seen by the exact judge, and called by its name by the fast one.
#[test]
fn check_planted_faults_are_seen_by_both() {
    for fault in FAULTS {
        let mut planted = 0;
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let length = rng.between(6, 30);
            let style = Style {
                unknown_per_mille: 50,
                ..Style::of(length)
            };
            let history = right(&mut rng, style);
            let Some(wrong) = fault.plant(&mut rng, &history) else {
                continue;
            };
            planted += 1;
            let exact = linearize::check(&wrong);
            let text = show(&wrong);
            assert!(
                matches!(exact, Verdict::Violation(_)),
                "{fault:?} {seed}\n{text}"
            );
            let objections = fast::violations(&wrong);
            let called = objections.iter().any(|o| o.starts_with(fault.called));
            assert!(called, "{fault:?} {seed} {objections:?}\n{text}");
        }
        assert!(planted > 50, "{fault:?} was planted {planted} times only");
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
    demand_violation(&history, "seen after it was gone");
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

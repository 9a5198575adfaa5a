//! The model check with small bounds, whose state counts are known; the long one is
//! `cargo run --release -p bts-tests --bin model` (docs/verification.md).

use bts_tests::model::forget::{self, ForgetBounds, ForgetTwist, ForgetViolation};
use bts_tests::model::swap::{self, Read, SwapBounds};
use bts_tests::model::{self, Bounds, Twist, Verdict, Violation};

fn small() -> Bounds {
    Bounds {
        ballots: 1,
        ..Bounds::default()
    }
}

fn holds(bounds: &Bounds) -> Verdict {
    let verdict = model::run(bounds);
    assert!(verdict.holds(), "{bounds}: {:#?}", verdict.violation);
    let met = &verdict.met;
    assert!(met.fast > 0 && met.slow > 0 && met.released > 0 && met.readable > 0);
    assert_eq!(met.second_epoch > 0, bounds.epochs > 1, "{bounds}");
    verdict
}

fn count(bounds: Bounds) -> (usize, u64, usize) {
    let verdict = holds(&bounds);
    (verdict.states, verdict.transitions, verdict.depth)
}

#[test]
fn model_holds_over_two_epochs() {
    assert_eq!(count(small()), (4_547, 14_659, 18));
}

#[test]
fn model_holds_up_to_ballot_2() {
    let bounds = Bounds {
        ballots: 2,
        epochs: 1,
        ..Bounds::default()
    };
    assert_eq!(count(bounds), (42_932, 158_600, 17));
}

/// Two contents of one id: nobody reads the one after the other was taken.
#[test]
fn model_a2_contents_of_one_id_share_an_instance() {
    let bounds = Bounds {
        contents: 2,
        ..small()
    };
    assert_eq!(count(bounds), (4_547, 14_659, 18));
}

#[test]
fn model_holds_with_seven_replicas_two_of_them_faulty() {
    let bounds = Bounds {
        replicas: 7,
        faults: 2,
        epochs: 1,
        ..small()
    };
    holds(&bounds);
}

/// Transcriptions of acceptor, choice and reader lead to the same states as the code itself.
#[test]
fn model_is_the_same_with_the_rules_as_written() {
    let transcribed = Bounds {
        transcribed: true,
        ..small()
    };
    assert_eq!(count(transcribed), count(small()));
}

/// Whoever restarts is bound to what it was bound to, by the code that makes a replica from its log.
#[test]
fn model_a10_a11_restarts_change_nothing() {
    let bounds = Bounds {
        restarts: true,
        ..small()
    };
    let verdict = holds(&bounds);
    assert_eq!((verdict.states, verdict.depth), (15_902, 18));
    let [.., restarts] = verdict.met.asked;
    assert_eq!(restarts, 64, "distinct acceptors that restarted");
}

/// What is left out of states does not matter.
#[test]
fn model_is_the_same_with_nothing_left_out() {
    let unreduced = Bounds {
        reduced: false,
        epochs: 1,
        ..small()
    };
    holds(&unreduced);
}

/// The check sees: with each of these rules broken, something is wrong somewhere.
#[test]
fn model_sees_every_broken_rule() {
    for twist in Twist::all() {
        let bounds = Bounds {
            // With restarts nothing is left out of states, and one ballot is enough.
            ballots: if twist.is_of_restarts() { 1 } else { 2 },
            epochs: 1,
            restarts: twist.is_of_restarts(),
            twist: Some(twist),
            ..Bounds::default()
        };
        let verdict = model::run(&bounds);
        let (_, trace) = verdict.violation.expect("a violation");
        assert!(!trace.is_empty(), "{twist}");
    }
}

/// Broken thresholds end in two decisions, not only where they might.
#[test]
fn model_wrong_thresholds_end_in_disagreement() {
    for twist in [Twist::MoreForced, Twist::FewerPromises, Twist::FewerForced] {
        let bounds = Bounds {
            epochs: 1,
            look: false,
            twist: Some(twist),
            ..small()
        };
        let violation = model::run(&bounds)
            .violation
            .map(|(violation, _)| violation);
        assert_eq!(
            violation,
            Some(Violation::Disagreement { epoch: 0 }),
            "{twist}"
        );
    }
}

/// x is at two correct replicas, one of which applied the swap; another may at any time.
#[test]
fn model_a1_swap_is_never_seen_undone() {
    let free = [0b010, 0b100].into_iter();
    for (free, liar_finds) in free.flat_map(|free| [(free, false), (free, true)]) {
        for reads in [[Read::X, Read::Y], [Read::Y, Read::X]] {
            let bounds = SwapBounds {
                reads,
                free,
                liar_finds,
                ..SwapBounds::default()
            };
            let verdict = swap::run(&bounds);
            assert!(
                verdict.holds(),
                "{bounds}: {verdict} {:#?}",
                verdict.violation
            );
            assert!(!verdict.results.is_empty(), "{bounds}: no read ended");
        }
    }
}

/// The check sees: with plain "empty" from those that applied it, a swap is seen half done.
#[test]
fn model_a1_sees_a_swap_that_is_hidden() {
    let bounds = SwapBounds {
        hides_swap: true,
        ..SwapBounds::default()
    };
    assert!(swap::run(&bounds).violation.is_some());
}

/// Whatever is said in whatever order, an entry that was forgotten stays away, and late replicas lose it too.
#[test]
fn model_a5_c1_what_is_forgotten_stays_away() {
    let verdict = forget::run(&ForgetBounds::default());
    assert!(verdict.holds(), "{verdict} {:#?}", verdict.violation);
    assert_eq!((verdict.states, verdict.depth), (55_436, 16));
    assert!(verdict.forgotten > 0 && verdict.skipped > 0 && verdict.finished > 0);
}

/// The check sees each broken rule of forgetting, and what comes of it.
#[test]
fn model_a5_a6_c1_sees_every_broken_rule_of_forgetting() {
    let wrong = |twist, strict| {
        let bounds = ForgetBounds {
            strict,
            ..ForgetBounds::breaking(twist)
        };
        let verdict = forget::run(&bounds);
        let (violation, trace) = verdict.violation.expect("a violation");
        assert!(!trace.is_empty(), "{bounds}");
        violation
    };
    use ForgetTwist as Twist;
    use ForgetViolation as Wrong;
    let expected = [
        (Twist::Unsettled, Wrong::Unsettled, Some(Wrong::WinnerLost)),
        (Twist::Unlogged, Wrong::Unlogged, Some(Wrong::Returned)),
        (Twist::PutLives, Wrong::PutLives, Some(Wrong::NeverAlike)),
        (
            Twist::OneBelieved,
            Wrong::Unfounded,
            Some(Wrong::NeverAlike),
        ),
        (
            Twist::UnknownForgotten,
            Wrong::Unfounded,
            Some(Wrong::NeverAlike),
        ),
        (Twist::RangeNotStored, Wrong::OtherAfterRestart, None),
    ];
    assert_eq!(expected.len(), Twist::all().count());
    for (twist, itself, consequence) in expected {
        assert_eq!(wrong(twist, true), itself, "{twist}");
        if let Some(consequence) = consequence {
            assert_eq!(wrong(twist, false), consequence, "{twist}");
        }
    }
}

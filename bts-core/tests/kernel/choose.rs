//! as built against as written: on everything that three promises can hold, and on
//! random promises in larger clusters.

use std::collections::BTreeSet;

use bts_core::consensus::certificate::Value;
use bts_core::consensus::choose::{BadPromises, Choice, choose, takes_behind};
use bts_core::consensus::promise::PromiseFault;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::reference::{Rules, permitted};
use crate::support::{Cluster, seeded, some_op};
use crate::workshop::{Pick, RELEASE, Told, Workshop};

/// What the code permits on these promises for `ballot`, by replicas 0, 1, ...
fn built(workshop: &Workshop, ballot: u32, promises: &[Told]) -> BTreeSet<Pick> {
    let valid: Vec<_> = (0..)
        .zip(promises)
        .map(|(replica, told)| {
            workshop
                .promise(replica, ballot, told)
                .expect("a valid promise")
        })
        .collect();
    let choice = choose(workshop.cluster.configuration.size(), &valid).expect("P promises");
    assert!(!choice.permits(Value::Expire));
    assert!(
        !choice.permits(Value::Take(some_op(1))),
        "a Take that nobody named"
    );
    let permits: BTreeSet<_> = workshop
        .picks()
        .filter(|pick| choice.permits(workshop.value(*pick)))
        .collect();
    for waits in [true, false] {
        let pick = workshop.pick(choice.pick(|_| waits));
        assert!(
            permits.contains(&pick),
            "a proposer picks what acceptors permit"
        );
    }
    permits
}

/// Locks of one ballot name one value, as long as no more than f replicas are faulty.
fn is_possible(promises: &[Told]) -> bool {
    let mut locks: Vec<_> = promises.iter().filter_map(|told| told.lock).collect();
    locks.sort();
    locks.dedup();
    let ballots: BTreeSet<_> = locks.iter().map(|(ballot, _)| ballot).collect();
    ballots.len() == locks.len()
}

/// All that one promise for ballot 2 of an instance with two Takes can tell.
fn everything(epoch: u8) -> Vec<Told> {
    let mut locks = vec![None];
    for ballot in 0..=1 {
        locks.extend([0, 1].map(|take| Some((ballot, take))));
    }
    if epoch < 3 {
        locks.push(Some((1, RELEASE)));
    }
    let mut all = Vec::new();
    for first in [None, Some(0), Some(1)] {
        for lock in &locks {
            for take in [0, 1] {
                all.push(Told {
                    first,
                    lock: *lock,
                    takes: vec![take],
                });
            }
        }
    }
    all
}

#[test]
fn choose_r52_exhaustively_for_three_promises() {
    let mut compared = 0;
    for epoch in [0, 3] {
        let workshop = Workshop::new(Cluster::of_four(), epoch, &[true, true]);
        let rules = Rules::of(workshop.cluster.configuration.size());
        let all = everything(epoch);
        for one in &all {
            for two in &all {
                for three in &all {
                    let promises = [one.clone(), two.clone(), three.clone()];
                    if is_possible(&promises) {
                        let written = permitted(rules, &workshop, &promises);
                        assert_eq!(built(&workshop, 2, &promises), written, "{promises:?}");
                        compared += 1;
                    }
                }
            }
        }
    }
    // 108 possible triples of locks in epoch 0 and 77 in epoch 3, times 6^3 votes and Takes.
    assert_eq!(compared, (108 + 77) * 216);
}

/// Random sets in clusters of 4 to 8, with three Takes of which the last is forbidden.
#[test]
fn choose_r52_on_random_promises() {
    let sizes = [(4, 1), (4, 0), (5, 1), (6, 1), (7, 2), (8, 2)];
    let workshops: Vec<_> = sizes
        .iter()
        .flat_map(|(n, f)| [0, 2, 3].map(|epoch| (*n, *f, epoch)))
        .map(|(n, f, epoch)| {
            Workshop::new(Cluster::new(n, f, 1, [9; 32]), epoch, &[true, true, false])
        })
        .collect();
    let lock = prop::option::weighted(0.3, (0..3_u32, 0..4_u8));
    let first = prop::option::weighted(0.7, 0..3_u8);
    let takes = prop::sample::select(vec![vec![0], vec![1], vec![0, 2], vec![2, 1], vec![1, 0]]);
    let told = (first, lock, takes).prop_map(|(first, lock, takes)| Told { first, lock, takes });
    let strategy = (0..workshops.len(), prop::collection::vec(told, 8));
    let test = |(index, drawn): (usize, Vec<Told>)| {
        let workshop = &workshops[index];
        let rules = Rules::of(workshop.cluster.configuration.size());
        let promises: Vec<_> = drawn
            .into_iter()
            .take(rules.promises)
            .map(|told| Told {
                lock: told.lock.map(|lock| legal(workshop, lock)),
                ..told
            })
            .collect();
        prop_assume!(is_possible(&promises));
        let written = permitted(rules, workshop, &promises);
        prop_assert_eq!(built(workshop, 3, &promises), written, "{:?}", promises);
        Ok(())
    };
    TestRunner::new(seeded(600, 52))
        .run(&strategy, test)
        .unwrap();
}

/// A lock that can exist: no Release in ballot 0 or in the last epoch.
fn legal(workshop: &Workshop, (ballot, number): (u32, u8)) -> (u32, Pick) {
    let may_release = ballot > 0 && workshop.epoch.0 < 3;
    match number {
        3 if may_release => (ballot, RELEASE),
        3 => (ballot, 0),
        take => (ballot, take),
    }
}

#[test]
fn choose_needs_exactly_p_promises_of_one_ballot() {
    let workshop = Workshop::new(Cluster::of_four(), 0, &[true]);
    let size = workshop.cluster.configuration.size();
    let told = Told {
        takes: vec![0],
        ..Told::default()
    };
    let promise = |replica, ballot| workshop.promise(replica, ballot, &told).unwrap();
    let three = [promise(0, 1), promise(1, 1), promise(2, 1)];
    assert!(choose(size, &three).is_ok());
    assert_eq!(choose(size, &[]), Err(BadPromises::WrongNumber(0)));
    assert_eq!(choose(size, &three[..2]), Err(BadPromises::WrongNumber(2)));
    let four = [&three[..], &[promise(3, 1)]].concat();
    assert_eq!(choose(size, &four), Err(BadPromises::WrongNumber(4)));
    let twice = [promise(0, 1), promise(1, 1), promise(1, 1)];
    assert_eq!(choose(size, &twice), Err(BadPromises::Mixed));
    let ballots = [promise(0, 1), promise(1, 1), promise(2, 2)];
    assert_eq!(choose(size, &ballots), Err(BadPromises::Mixed));
    let other_epoch = Workshop::new(Cluster::of_four(), 1, &[true]);
    let epochs = [
        promise(0, 1),
        promise(1, 1),
        other_epoch.promise(2, 1, &told).unwrap(),
    ];
    assert_eq!(choose(size, &epochs), Err(BadPromises::Mixed));
}

/// (A4) The policy is asked in the free choice only: a value that may have been decided is proposed
/// even if it looks forbidden here.
#[test]
fn choose_a4_policy_binds_the_free_choice_only() {
    let workshop = Workshop::new(Cluster::of_four(), 0, &[true, false]);
    let told = |first, lock| Told {
        first,
        lock,
        takes: vec![0, 1],
    };
    let locked = [told(None, Some((0, 1))), told(None, None), told(None, None)];
    assert_eq!(built(&workshop, 1, &locked), [1].into());
    let voted = [told(Some(1), None), told(Some(1), None), told(None, None)];
    assert_eq!(built(&workshop, 1, &voted), [1].into());
    let free = [told(Some(1), None), told(None, None), told(None, None)];
    assert_eq!(built(&workshop, 1, &free), [0, RELEASE].into());
}

/// (B2) A promise without any Take that the policy allows is none: nobody starts a recovery for
/// nothing.
#[test]
fn promise_b2_needs_an_allowed_take() {
    let workshop = Workshop::new(Cluster::of_four(), 0, &[true, false]);
    let told = |first, takes| Told {
        first,
        lock: None,
        takes,
    };
    let none = Err(PromiseFault::NoAllowedTake);
    let check = |told: Told| workshop.promise(0, 1, &told).map(drop);
    assert_eq!(check(told(None, vec![])), none);
    assert_eq!(check(told(None, vec![1])), none);
    assert_eq!(check(told(Some(1), vec![])), none);
    assert_eq!(check(told(Some(1), vec![0])), Ok(()));
    assert_eq!(check(told(Some(0), vec![])), Ok(()));
}

/// (D3) In the last epoch the choice is one value: of the allowed Takes the least.
#[test]
fn choose_d3_last_epoch_leaves_no_choice() {
    let workshop = Workshop::new(Cluster::of_four(), 3, &[true, true, false]);
    let size = workshop.cluster.configuration.size();
    let told = [vec![0, 2], vec![1, 2], vec![2, 0]].map(|takes| Told {
        takes,
        ..Told::default()
    });
    let promises: Vec<_> = (0..)
        .zip(&told)
        .map(|(replica, told)| workshop.promise(replica, 1, told).unwrap())
        .collect();
    let Choice::Free {
        takes,
        release: false,
    } = choose(size, &promises).unwrap()
    else {
        panic!("free, but without Release");
    };
    assert_eq!(takes.len(), 1);
    assert_eq!(built(&workshop, 1, &told).len(), 1);
}

/// (D3) What a proposal carries: first votes, allowed or not, since a promise with one is judged
/// with it, and of the other Takes those that count.
#[test]
fn choose_d3_takes_behind_are_what_the_choice_rests_on() {
    let workshop = Workshop::new(Cluster::of_four(), 3, &[true, true, false, false]);
    let promise = |replica, first, takes| {
        let told = Told {
            first,
            lock: None,
            takes,
        };
        workshop.promise(replica, 1, &told).unwrap()
    };
    let promises = [
        promise(0, Some(2), vec![0]),
        promise(1, None, vec![1, 3]),
        promise(2, None, vec![1]),
    ];
    let behind: BTreeSet<_> = takes_behind(&promises).into_keys().collect();
    assert_eq!(behind, [0, 1, 2].map(|take| workshop.op(take)).into());
}

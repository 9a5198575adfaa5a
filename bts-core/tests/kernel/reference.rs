//! as PROTOCOL section 5 words it, transcribed without a thought for speed or elegance, and
//! with the thresholds as parameters, so that a wrong one can be tried.

use std::collections::BTreeSet;

use bts_core::consensus::choose::take_order;
use bts_core::quorum::ClusterSize;

use crate::workshop::{Pick, RELEASE, Told, Workshop};

/// The rule that is in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// q
    pub(crate) quorum: usize,
    /// F
    pub(crate) fast: usize,
    /// P
    pub(crate) promises: usize,
    /// T
    pub(crate) forced: usize,
    /// (a) before (b)
    pub(crate) locks_first: bool,
}

impl Rules {
    pub(crate) fn of(size: ClusterSize) -> Self {
        Self {
            quorum: size.ack_quorum(),
            fast: size.fast_quorum(),
            promises: size.promise_quorum(),
            forced: size.forced_votes(),
            locks_first: true,
        }
    }
}

/// Every value that may be proposed on these promises. More than one value in (a) or (b) means that
/// the rule is not a rule; the result then holds them all.
pub(crate) fn permitted(rules: Rules, workshop: &Workshop, promises: &[Told]) -> BTreeSet<Pick> {
    let a = highest_locks(promises);
    let b = forced(rules, workshop, promises);
    let (one, other) = match rules.locks_first {
        true => (a, b),
        false => (b, a),
    };
    if !one.is_empty() {
        return one;
    }
    if !other.is_empty() {
        return other;
    }
    free(workshop, promises)
}

/// a. "a lock: the value of the one with the highest ballot"
fn highest_locks(promises: &[Told]) -> BTreeSet<Pick> {
    let mut highest = 0;
    for promise in promises {
        if let Some((ballot, _)) = promise.lock {
            highest = highest.max(ballot);
        }
    }
    let mut values = BTreeSet::new();
    for promise in promises {
        if let Some((ballot, value)) = promise.lock
            && ballot == highest
        {
            values.insert(value);
        }
    }
    values
}

/// b. "an op with at least T first votes"
fn forced(rules: Rules, workshop: &Workshop, promises: &[Told]) -> BTreeSet<Pick> {
    let mut values = BTreeSet::new();
    for op in workshop.picks().filter(|pick| *pick != RELEASE) {
        let mut votes = 0;
        for promise in promises {
            if promise.first == Some(op) {
                votes += 1;
            }
        }
        if votes >= rules.forced {
            values.insert(op);
        }
    }
    values
}

/// c. "e < 3: one of the Takes in the promises, or Release; e >= 3: of the Takes in the promises
/// that the policy allows, the one of least h(id, e, client key), then of least op"
fn free(workshop: &Workshop, promises: &[Told]) -> BTreeSet<Pick> {
    let mut takes = BTreeSet::new();
    for promise in promises {
        takes.extend(promise.first);
        takes.extend(&promise.takes);
    }
    takes.retain(|take| workshop.is_allowed(*take));
    if workshop.epoch.0 < 3 {
        takes.insert(RELEASE);
        return takes;
    }
    let order = |take: &Pick| {
        let client = workshop.take(*take).client;
        take_order(&workshop.id, workshop.epoch, &client, workshop.op(*take))
    };
    takes.into_iter().min_by_key(order).into_iter().collect()
}

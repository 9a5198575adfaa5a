//! which value a ballot may propose, given exactly `P` valid promises for it. Pure, and used
//! both by the co-proposer that chooses and by every acceptor that checks the choice.
//!
//! | promises hold | epoch | value |
//! |---|---|---|
//! | a lock | any | (a) that of the lock with the highest ballot |
//! | no lock, `>= T` first votes for one op | any | (b) `Take(op)` |
//! | neither | `< 3` | (c) one of the allowed Takes in them, or `Release` |
//! | neither | `3` | (c) of the allowed Takes the least by `h(id, e, client key)`, then by op |
//!
//! Why it is safe: docs/protocol.md, R-5.2.

use std::collections::{BTreeMap, BTreeSet};

use super::certificate::Value;
use super::promise::ValidPromise;
use crate::codec;
use crate::content::TakePayload;
use crate::crypto::hash::{Digest, Domain, Hasher};
use crate::crypto::verified::Verified;
use crate::ids::{Ballot, EntryId, Epoch, OpId, PublicKey};
use crate::limits::EPOCH_MAX;
use crate::quorum::ClusterSize;

/// What a ballot may propose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This value and no other: it may have been decided. Policy is not asked again, as a correct
    /// replica allowed it already (A4).
    Forced(Value),
    /// Nothing can have been decided.
    Free {
        /// The Takes that may be chosen, least first.
        takes: Vec<Verified<TakePayload>>,
        /// Whether `Release` may be.
        release: bool,
    },
}

impl Choice {
    /// True if this value may be proposed.
    pub fn permits(&self, value: Value) -> bool {
        match (self, value) {
            (Self::Forced(forced), value) => *forced == value,
            (Self::Free { takes, .. }, Value::Take(op)) => takes.iter().any(|t| t.op() == op),
            (Self::Free { release, .. }, Value::Release) => *release,
            (Self::Free { .. }, Value::Expire) => false,
        }
    }

    /// The value that a correct co-proposer proposes: in a free choice the least Take whose client
    /// still waits, else `Release`.
    pub fn pick(&self, waits: impl Fn(&TakePayload) -> bool) -> Value {
        match self {
            Self::Forced(value) => *value,
            Self::Free { takes, release } => {
                let waiting = takes.iter().find(|take| waits(take));
                let least = takes.first().filter(|_| !release);
                let take = waiting.or(least).map(|take| Value::Take(take.op()));
                take.unwrap_or(Value::Release)
            }
        }
    }
}

/// Why a set of promises gives no choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPromises {
    /// Not exactly `P`: `T` belongs to exactly that many.
    WrongNumber(usize),
    /// Two of one replica, or not all for one ballot of one instance.
    Mixed,
}

/// What one replica, which votes no more in lower ballots, tells of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Ballot and value of the highest lock it accepted.
    pub lock: Option<(Ballot, Value)>,
    /// Its first vote.
    pub first: Option<OpId>,
}

impl Told {
    fn of(promise: &ValidPromise) -> Self {
        let lock = promise.lock().map(|lock| lock.statement());
        Self {
            lock: lock.map(|lock| (lock.ballot, lock.value)),
            first: promise.payload().first,
        }
    }
}

/// a and b: the value that may have been decided, told by exactly `P` replicas; `None` if
/// nothing was or will be.
pub fn forced(size: ClusterSize, told: &[Told]) -> Option<Value> {
    match mutant!(VotesBeforeLocks) {
        true => enough_first_votes(size, told).or_else(|| highest_lock(told)),
        false => highest_lock(told).or_else(|| enough_first_votes(size, told)),
    }
}

/// on promises for one `(id, e, b)`.
pub fn choose(size: ClusterSize, promises: &[ValidPromise]) -> Result<Choice, BadPromises> {
    let first = promises
        .first()
        .ok_or(BadPromises::WrongNumber(0))?
        .payload();
    if promises.len() != size.promise_quorum() {
        return Err(BadPromises::WrongNumber(promises.len()));
    }
    let instance = (&first.id, first.epoch, first.ballot);
    if !are_alike(promises, instance) {
        return Err(BadPromises::Mixed);
    }
    let told: Vec<_> = promises.iter().map(Told::of).collect();
    Ok(match forced(size, &told) {
        Some(Value::Take(_)) if mutant!(ReleaseThoughVotes) && highest_lock(&told).is_none() => {
            free(&first.id, first.epoch, promises)
        }
        Some(value) => Choice::Forced(value),
        None => free(&first.id, first.epoch, promises),
    })
}

/// The Takes that a choice on these promises rests on. A proposal carries them, and whoever checks
/// it looks at no others: a Take that a promise names and only the checker knows would make it
/// choose differently where the choice is a single value, and blame a correct owner (D3).
pub fn takes_behind(promises: &[ValidPromise]) -> BTreeMap<OpId, Verified<TakePayload>> {
    let takes = promises.iter().flat_map(|promise| {
        promise
            .first()
            .into_iter()
            .chain(promise.allowed().values())
    });
    takes.map(|take| (take.op(), take.clone())).collect()
}

/// The order of Takes in the last epoch, and of those named in a promise (B2, D3).
pub fn take_order(id: &EntryId, epoch: Epoch, client: &PublicKey, op: OpId) -> (u64, Digest) {
    let order = Hasher::new(Domain::TakeOrder)
        .part(&codec::encode(id))
        .number(u64::from(epoch.0))
        .part(&client.0)
        .finish();
    (order.head(), op.0)
}

fn are_alike(promises: &[ValidPromise], instance: (&EntryId, Epoch, Ballot)) -> bool {
    let mut replicas = BTreeSet::new();
    promises.iter().all(|promise| {
        let payload = promise.payload();
        let same = (&payload.id, payload.epoch, payload.ballot) == instance;
        same && (replicas.insert(promise.replica()) || mutant!(PromisesNotDistinct))
    })
}

/// (a)
fn highest_lock(told: &[Told]) -> Option<Value> {
    let locks = told.iter().filter_map(|told| told.lock);
    let highest = locks.max_by_key(|(ballot, _)| match mutant!(LowestLockChosen) {
        true => u32::MAX - ballot.0,
        false => ballot.0,
    });
    highest.map(|(_, value)| value)
}

/// (b) At most one op has `T` among `P` promises, as `2T > P`.
fn enough_first_votes(size: ClusterSize, told: &[Told]) -> Option<Value> {
    let mut votes = BTreeMap::<OpId, usize>::new();
    for op in told.iter().filter_map(|told| told.first) {
        *votes.entry(op).or_default() += 1;
    }
    let forced = votes
        .into_iter()
        .find(|(_, count)| *count >= size.forced_votes());
    forced.map(|(op, _)| Value::Take(op))
}

/// (c)
fn free(id: &EntryId, epoch: Epoch, promises: &[ValidPromise]) -> Choice {
    let all: BTreeMap<_, _> = promises
        .iter()
        .flat_map(|promise| promise.allowed())
        .map(|(op, take)| (take_order(id, epoch, &take.client, *op), take))
        .collect();
    let takes = all.into_values().cloned();
    match epoch.0 < EPOCH_MAX || mutant!(ReleaseInLastEpoch) {
        true => Choice::Free {
            takes: takes.collect(),
            release: true,
        },
        false => Choice::Free {
            takes: takes.take(1).collect(),
            release: false,
        },
    }
}

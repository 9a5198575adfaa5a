//! How fast replicas are, as far as waiting for them is worth it. Nothing here is safety: it decides
//! how long a client that holds a quorum waits for more.

use std::collections::{BTreeMap, BTreeSet};

use super::requests::Asked;
use crate::ids::ReplicaId;
use crate::time::{Estimate, Least, Span, Time};

/// Bounds of the wait for those that a quorum has outrun.
const GRACE_MIN: Span = Span::from_millis(1);
const GRACE_MAX: Span = Span::from_millis(250);
/// However slow replicas are, nothing is put off for longer because of that.
const PATIENCE_MAX: Span = Span::from_millis(500);
/// What a replica once took at least, it does not take for ever: the way to it may have become longer.
const LEAST_LASTS: Span = Span::from_millis(30_000);
/// A replica that was too late so many times, and never in time between them, is slow: to be late once
/// happens to everybody who is busy, and what a quorum decides without the others costs all of them more.
const LATE_MAX: u32 = 3;
/// What happens so shortly after one another to several operations is one and the same lateness.
const LATE_APART: Span = Span::from_millis(10);
/// How long a slow replica is not waited for. Then it has one chance.
const SLOW_FOR: Span = Span::from_millis(1000);

/// What is known of the replicas' speed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    connected: BTreeSet<ReplicaId>,
    /// How often each was late since it was in time, and when it was counted.
    late: BTreeMap<ReplicaId, (u32, Time)>,
    slow_until: BTreeMap<ReplicaId, Time>,
    /// How long each takes to answer.
    answering: BTreeMap<ReplicaId, Answering>,
    turn: u16,
    /// How many times somebody was to be spared.
    spares: usize,
}

/// How long a replica takes to answer.
#[derive(Debug, Default)]
struct Answering {
    takes: Estimate,
    /// What it answers at once, and what it stores first.
    kinds: [Kind; 2],
    /// How much longer than it could it took of late.
    queueing: Span,
}

/// How long one kind of answer takes, and how long at least.
#[derive(Debug, Default)]
struct Kind {
    takes: Estimate,
    least: Least,
}

/// So many reads at most spare the same replicas: what one client asks of one replica goes together.
const SPARES_ALIKE: usize = 256;

/// Who is spared, and in which turn.
#[derive(Debug, Default)]
pub(super) struct Spare {
    pub(super) replicas: Vec<ReplicaId>,
    turn: usize,
}

impl Pace {
    /// A connection is up: the replica gets a new chance.
    pub(super) fn on_connected(&mut self, replica: ReplicaId) {
        self.connected.insert(replica);
        self.on_timely(replica);
    }

    /// A connection ended.
    pub(super) fn on_disconnected(&mut self, replica: ReplicaId) {
        self.connected.remove(&replica);
    }

    /// A quorum answered, and a grace later the replica still had not.
    pub(super) fn on_late(&mut self, replica: ReplicaId, now: Time) {
        let (count, counted_at) = self.late.entry(replica).or_default();
        if *count == 0 || now.since(*counted_at) >= LATE_APART {
            (*count, *counted_at) = (count.saturating_add(1), now);
        }
        if *count >= LATE_MAX {
            self.slow_until.insert(replica, now + SLOW_FOR);
        }
    }

    /// It answered while it was waited for.
    pub(super) fn on_timely(&mut self, replica: ReplicaId) {
        self.late.remove(&replica);
        self.slow_until.remove(&replica);
    }

    /// A replica answered.
    pub(super) fn on_answer(&mut self, replica: ReplicaId, asked: Asked, now: Time) {
        let took = now.since(asked.at);
        let answering = self.answering.entry(replica).or_default();
        // One that took longer says no more than that.
        answering.takes.note(took.min(PATIENCE_MAX));
        // And nothing of a queue: it was away, or had something to prepare.
        if took < PATIENCE_MAX {
            let [at_once, stored] = &mut answering.kinds;
            let kind = if asked.is_logged { stored } else { at_once };
            kind.takes.note(took);
            kind.least.note(took, now, LEAST_LASTS);
            answering.queueing = kind.takes.mean().less(kind.least.get());
        }
    }

    /// How long `count` replicas may be expected to take to answer. Whoever asks again sooner asks a busy
    /// cluster for work that it is doing anyway.
    pub(super) fn patience(&self, count: usize) -> Span {
        let bound = self.nth(count, |answering| answering.takes.bound());
        bound.min(PATIENCE_MAX)
    }

    /// How much longer than they could `count` replicas take: what is asked queues there.
    pub(super) fn queueing(&self, count: usize) -> Span {
        self.nth(count, |answering| answering.queueing)
    }

    /// The longest that `count` replicas take of what each takes.
    fn nth(&self, count: usize, takes: impl Fn(&Answering) -> Span) -> Span {
        let mut all: Vec<_> = self.answering.values().map(takes).collect();
        all.sort_unstable();
        let last = count.checked_sub(1).and_then(|last| all.get(last));
        last.copied().unwrap_or_default()
    }

    /// True if the replica is not worth waiting for.
    pub(super) fn is_slow(&self, replica: ReplicaId, now: Time) -> bool {
        !self.connected.contains(&replica)
            || self
                .slow_until
                .get(&replica)
                .is_some_and(|until| *until > now)
    }

    /// Who of these need not be asked, if so many are enough: the slow ones, else each in turn; nobody, if too few
    /// are fast.
    pub(super) fn spare(&mut self, all: Vec<ReplicaId>, enough: usize, now: Time) -> Spare {
        let (mut fast, mut spared): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|replica| !self.is_slow(*replica, now));
        let Some(more) = fast.len().checked_sub(enough) else {
            return Spare::default();
        };
        let turn = self.spares / SPARES_ALIKE;
        self.spares = self.spares.wrapping_add(1);
        let first = turn.checked_rem(fast.len()).unwrap_or_default();
        fast.rotate_left(first);
        spared.extend(fast.drain(..more));
        Spare {
            replicas: spared,
            turn,
        }
    }

    /// Those who were not spared did not suffice: somebody else has the next turn.
    pub(super) fn on_short(&mut self, spare: &Spare) {
        if self.spares / SPARES_ALIKE == spare.turn {
            self.spares = (spare.turn + 1).saturating_mul(SPARES_ALIKE);
        }
    }

    /// One of these replicas, the fast ones in turn.
    pub(super) fn pick(
        &mut self,
        among: impl IntoIterator<Item = ReplicaId>,
        now: Time,
    ) -> Option<ReplicaId> {
        let all: Vec<_> = among.into_iter().collect();
        let fast = all.iter().filter(|replica| !self.is_slow(**replica, now));
        let fast: Vec<_> = fast.copied().collect();
        let choice = if fast.is_empty() { all } else { fast };
        self.turn = self.turn.wrapping_add(1);
        let place = usize::from(self.turn).checked_rem(choice.len())?;
        choice.get(place).copied()
    }
}

/// How much longer to wait for the others when a quorum took so long.
pub(super) fn grace(took: Span) -> Span {
    Span::from_micros(took.as_micros() / 2).clamp(GRACE_MIN, GRACE_MAX)
}

/// How much longer to wait for the last first votes, when a quorum of them took so long: without them it
/// takes another round, and so no less.
pub(super) fn grace_of_votes(took: Span) -> Span {
    took.clamp(GRACE_MIN, GRACE_MAX)
}

/// Waits that double.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    base: Span,
    doublings: u32,
    not_before: Time,
}

/// So that no wait grows beyond 1024 times the first.
const BACKOFF_DOUBLINGS_MAX: u32 = 10;

impl Backoff {
    /// Due at once, then after `base`, twice that, and so on.
    pub(super) fn new(base: Span) -> Self {
        Self {
            base,
            doublings: 0,
            not_before: Time::ZERO,
        }
    }

    /// Due at `first` for the first time.
    pub(super) fn starting(first: Time, base: Span) -> Self {
        Self {
            base,
            doublings: 0,
            not_before: first,
        }
    }

    /// When it is due.
    pub(super) fn due_at(&self) -> Time {
        self.not_before
    }

    /// True once if it is due; the next time is later, by `least` at the least.
    pub(super) fn strike(&mut self, now: Time, least: Span) -> bool {
        if now < self.not_before {
            return false;
        }
        self.not_before = now + self.base.doubled(self.doublings).max(least);
        self.doublings = (self.doublings + 1).min(BACKOFF_DOUBLINGS_MAX);
        true
    }
}

/// The next time at which something is due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wake(Option<Time>);

impl Wake {
    /// Notes that something is due then.
    pub(super) fn at(&mut self, time: Time) {
        self.0 = Some(self.0.map_or(time, |earlier| earlier.min(time)));
    }

    /// The earliest time noted.
    pub(super) fn time(self) -> Option<Time> {
        self.0
    }
}

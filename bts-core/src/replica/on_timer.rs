//! Deadlines: what is due when. A timer that fires too early or twice does no harm, since whoever
//! armed it looks at its own state.

use std::collections::{BTreeMap, BTreeSet};

use super::id_map::MarkedId;
use super::{Outputs, Replica};
use crate::ids::ReplicaId;
use crate::message::FetchKey;
use crate::time::Time;

/// What may be due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next slice is compared in the background.
    Compare,
    /// Windows and repetitions of an open instance.
    Contest(MarkedId),
    /// A peer is asked whether entries were removed that it did not list.
    Doubts(ReplicaId),
    /// Repetition of a fetch.
    Fetch(FetchKey),
    /// Decisions that may be forgotten.
    Forget,
    /// Further blocked `in`s are told of an entry.
    Hint(MarkedId),
    /// The position in the own stream is told.
    Position,
    /// Comparing with a peer goes on.
    Sweep(ReplicaId),
    /// Peers are told what was applied.
    Tell,
}

impl Timer {
    fn reason(&self) -> &'static str {
        match self {
            Self::Compare => "comparing in the background",
            Self::Contest(_) => "window of an instance",
            Self::Doubts(_) => "doubts whether entries were removed",
            Self::Fetch(_) => "repetition of a fetch",
            Self::Forget => "decisions to forget",
            Self::Hint(_) => "hint to a waiter",
            Self::Position => "position in the stream",
            Self::Sweep(_) => "comparing with a peer",
            Self::Tell => "applied decisions",
        }
    }
}

/// All timers, each armed at most once.
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Time>,
    order: BTreeSet<(Time, Timer)>,
}

impl Timers {
    /// Arms a timer, or makes it earlier.
    pub(super) fn arm(&mut self, timer: Timer, at: Time) {
        match self.at.get(&timer).copied() {
            Some(armed) if armed <= at => return,
            Some(armed) => {
                self.order.remove(&(armed, timer.clone()));
            }
            None => {}
        }
        self.order.insert((at, timer.clone()));
        self.at.insert(timer, at);
    }

    pub(super) fn next(&self) -> Option<(Time, &'static str)> {
        self.order.first().map(|(at, timer)| (*at, timer.reason()))
    }

    fn pop_due(&mut self, now: Time) -> Option<Timer> {
        if self.order.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }
}

impl Replica {
    /// Runs all that is due. What re-arms itself for now waits for the next input.
    pub(super) fn on_timers(&mut self, out: &mut Outputs) {
        let mut due = Vec::new();
        while let Some(timer) = self.timers.pop_due(self.now) {
            due.push(timer);
        }
        for timer in due {
            match timer {
                Timer::Compare => self.on_compare_timer(out),
                Timer::Contest(id) => self.on_contest_timer(id.id(), out),
                Timer::Doubts(peer) => self.on_doubts_timer(peer, out),
                Timer::Fetch(key) => self.on_fetch_timer(&key, out),
                Timer::Forget => self.on_forget_timer(out),
                Timer::Hint(id) => self.on_hint_timer(id.id(), out),
                Timer::Position => self.on_position_timer(),
                Timer::Sweep(peer) => self.on_sweep_timer(peer, out),
                Timer::Tell => self.on_tell_timer(out),
            }
        }
    }
}

//! When a machine acts: its clock, the tick it waits for, and whether it is stopped.

use bts_core::time::Time;

use super::clock::Clock;

/// Ticks that one machine may take without time passing, before it is called stuck.
const TICKS_AT_ONCE_MAX: u32 = 100;

/// The tempo of one machine. All times but the machine's own are the world's.
#[derive(Debug)]
pub(super) struct Tempo {
    clock: Clock,
    armed_us: Option<u64>,
    stopped_until_us: u64,
    last_tick_us: u64,
    ticks_at_once: u32,
}

/// What becomes of a tick whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// The machine gets it.
    Due,
    /// The machine wants another one by now.
    Stale,
    /// The machine asks for ticks without end.
    Stuck,
}

impl Tempo {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            armed_us: None,
            stopped_until_us: 0,
            last_tick_us: 0,
            ticks_at_once: 0,
        }
    }

    /// What its clock shows.
    pub(super) fn local(&self, now_us: u64) -> Time {
        self.clock.at(now_us)
    }

    /// The machine begins anew: no tick is wanted. What its clock shows.
    pub(super) fn restart(&mut self, now_us: u64) -> Time {
        *self = Self::new(self.clock);
        self.local(now_us)
    }

    pub(super) fn stop_until(&mut self, until_us: u64) {
        // A second pause within the first does not end it.
        self.stopped_until_us = self.stopped_until_us.max(until_us);
    }

    /// Until when what happens now has to wait.
    pub(super) fn postponed(&self, now_us: u64) -> Option<u64> {
        (self.stopped_until_us > now_us).then_some(self.stopped_until_us)
    }

    /// The tick that was due now is postponed.
    pub(super) fn postpone_tick(&mut self, now_us: u64, until_us: u64) {
        if self.armed_us == Some(now_us) {
            self.armed_us = Some(until_us);
        }
    }

    /// The machine wants a tick at this time. When to plan it, if it is not planned already.
    pub(super) fn arm(&mut self, now_us: u64, deadline: Option<Time>) -> Option<u64> {
        let wanted = deadline
            .and_then(|at| self.clock.when(at))
            .map(|at| at.max(now_us));
        let is_new = wanted != self.armed_us;
        self.armed_us = wanted;
        wanted.filter(|_| is_new)
    }

    /// A tick that was planned for now.
    pub(super) fn tick(&mut self, now_us: u64) -> Tick {
        if self.armed_us != Some(now_us) {
            return Tick::Stale;
        }
        self.armed_us = None;
        let again = self.last_tick_us == now_us;
        self.ticks_at_once = if again { self.ticks_at_once + 1 } else { 0 };
        self.last_tick_us = now_us;
        match self.ticks_at_once > TICKS_AT_ONCE_MAX {
            true => Tick::Stuck,
            false => Tick::Due,
        }
    }
}

//! What waits a little for more, to be signed and sent with it: by one signature, and in one piece to
//! each replica. Operations that run side by side fall into step by that, and share both from then on.
//!
//! Nothing here is safety: whatever waits could have been sent at once, or as late by the network.

use std::collections::BTreeSet;

use super::requests::Key;
use crate::crypto::sign::Kind;
use crate::ids::RequestId;
use crate::time::{Span, Time};

/// Which part of the time that requests queue at replicas may be spent on waiting for more, which then queues less.
const GATHER_FRACTION: u64 = 2;
/// Less than this is no time in which a program could wait.
const GATHER_MIN: Span = Span::from_millis(1);
/// However long they queue, no more than this is.
const GATHER_MAX: Span = Span::from_millis(20);

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    unsigned: Vec<(Key, Kind, Vec<u8>)>,
    /// Operations that have something to be signed or sent.
    of: BTreeSet<Key>,
    /// What they asked meanwhile.
    asked: Vec<RequestId>,
    /// When the first of it came.
    since: Time,
    /// How many operations were under way lately: so many may have something soon.
    busy: usize,
}

impl Gathering {
    /// An operation has something to send.
    pub(super) fn on_sent(&mut self, key: Key, now: Time) {
        if self.of.is_empty() {
            self.since = now;
        }
        self.of.insert(key);
    }

    /// It asks something new: the time that replicas take counts from when it is sent.
    pub(super) fn on_asked(&mut self, request: RequestId) {
        self.asked.push(request);
    }

    pub(super) fn take_asked(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.asked)
    }

    /// An operation has something to be signed.
    pub(super) fn sign(&mut self, key: Key, now: Time, kind: Kind, payload: Vec<u8>) {
        self.on_sent(key, now);
        self.unsigned.push((key, kind, payload));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(super) fn has_unsigned(&self) -> bool {
        !self.unsigned.is_empty()
    }

    pub(super) fn take_unsigned(&mut self) -> Vec<(Key, Kind, Vec<u8>)> {
        std::mem::take(&mut self.unsigned)
    }

    /// Nothing waits any more, and so many operations are under way. Fewer than before may soon be as many again: one
    /// has ended, and the next is not there yet.
    pub(super) fn on_over(&mut self, busy: usize) {
        self.of.clear();
        self.busy = busy.max(usize::midpoint(self.busy, busy));
    }

    /// Until when it had better wait for what others may soon have, if what is asked queues for so long.
    pub(super) fn until(&self, queueing: Span) -> Option<Time> {
        let is_worth_it = !self.of.is_empty() && self.of.len() < self.busy;
        span(queueing)
            .filter(|_| is_worth_it)
            .map(|span| self.since + span)
    }
}

/// How long to wait for more, if it is worth it.
pub(super) fn span(queueing: Span) -> Option<Span> {
    let span = Span::from_micros(queueing.as_micros() / GATHER_FRACTION).min(GATHER_MAX);
    (span >= GATHER_MIN).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Span = Span::from_millis(8);

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn gathering_lasts_from_the_first_for_a_part_of_what_queues() {
        let mut gathering = Gathering::default();
        gathering.on_over(3);
        assert_eq!(gathering.until(LONG), None, "there is nothing");
        gathering.on_sent(Key(1), at(100));
        gathering.sign(Key(1), at(200), Kind::Take, Vec::new());
        gathering.on_sent(Key(2), at(300));
        assert_eq!(gathering.until(LONG), Some(at(4_100)));
        assert_eq!(gathering.until(Span::from_millis(500)), Some(at(20_100)));
        assert_eq!(gathering.until(Span::from_micros(1_900)), None, "too short");
        gathering.on_over(3);
        assert_eq!(gathering.until(LONG), None, "it was sent");
        gathering.on_sent(Key(3), at(5_000));
        assert_eq!(gathering.until(LONG), Some(at(9_000)));
    }

    #[test]
    fn gathering_ends_when_nobody_is_left_to_wait_for() {
        let mut gathering = Gathering::default();
        gathering.on_sent(Key(1), at(100));
        assert_eq!(
            gathering.until(LONG),
            None,
            "a lone operation does not wait"
        );
        gathering.on_over(2);
        gathering.on_sent(Key(1), at(200));
        assert_eq!(gathering.until(LONG), Some(at(4_200)));
        gathering.on_sent(Key(2), at(300));
        assert_eq!(gathering.until(LONG), None, "all are there");
    }

    #[test]
    fn gathering_waits_for_those_who_have_just_ended_but_not_for_long() {
        let mut gathering = Gathering::default();
        gathering.on_over(8);
        gathering.on_over(1);
        let mut rounds = 0;
        loop {
            gathering.on_sent(Key(1), at(0));
            if gathering.until(LONG).is_none() {
                break;
            }
            gathering.on_over(1);
            rounds += 1;
        }
        assert_eq!(rounds, 2, "after 8 come 4, 2, and 1");
    }
}

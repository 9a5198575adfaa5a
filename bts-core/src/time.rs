//! Time as the state machines see it: microseconds that somebody else counted.

use std::fmt;
use std::ops::Add;

/// A point in time, in microseconds since the owner of the machine started it. The core never asks
/// for the time; each input brings it, and it never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// A span of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Time {
    /// The start.
    pub const ZERO: Self = Self(0);

    /// The point `micros` microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; nothing if it is in the future.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// A span of `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A span of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// The span in microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The span `times` times over, saturating.
    pub const fn times(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }

    /// The span without `other`; nothing if that is longer.
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The span doubled `doublings` times, saturating: the windows of section 5.
    pub const fn doubled(self, doublings: u32) -> Self {
        if doublings >= 40 {
            return Self(u64::MAX);
        }
        Self(self.0.saturating_mul(1 << doublings))
    }
}

impl Add<Span> for Time {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// How long something takes, estimated as TCP estimates a round trip (RFC 6298).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Estimate(Option<(u64, u64)>);

impl Estimate {
    /// It took so long once more.
    pub(crate) fn note(&mut self, took: Span) {
        let took = took.as_micros();
        let Some((mean, deviation)) = self.0 else {
            self.0 = Some((took, took / 2));
            return;
        };
        let off = mean.abs_diff(took);
        let blend = |old: u64, new: u64, of: u64| (old - old / of).saturating_add(new / of);
        self.0 = Some((blend(mean, took, 8), blend(deviation, off, 4)));
    }

    /// What it takes on the average; nothing before it was seen.
    pub(crate) fn mean(&self) -> Span {
        Span(self.0.map_or(0, |(mean, _)| mean))
    }

    /// What it seldom exceeds; nothing before it was seen.
    pub(crate) fn bound(&self) -> Span {
        let bound =
            |(mean, deviation): (u64, u64)| mean.saturating_add(deviation.saturating_mul(4));
        Span(self.0.map_or(0, bound))
    }
}

/// The least of what something took lately.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Least(Option<(Span, Time)>);

impl Least {
    /// It took so long once more. What was less counts no more after it has lasted for `lasts`.
    pub(crate) fn note(&mut self, took: Span, now: Time, lasts: Span) {
        let stands = |(least, at): &(Span, Time)| *least < took && now.since(*at) < lasts;
        if !self.0.as_ref().is_some_and(stands) {
            self.0 = Some((took, now));
        }
    }

    /// The least; nothing before it was seen.
    pub(crate) fn get(&self) -> Span {
        self.0.map(|(least, _)| least).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimate_is_above_most_of_what_was_seen_and_follows() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.bound(), Span::default());
        estimate.note(Span::from_millis(10));
        assert_eq!(estimate.bound(), Span::from_millis(30));
        let took = |round: u64| Span::from_millis(8 + round % 5);
        (0..100).for_each(|round| estimate.note(took(round)));
        assert!((12..20).contains(&(estimate.bound().as_micros() / 1000)));
        (0..100).for_each(|_| estimate.note(Span::from_millis(1)));
        assert!(estimate.bound() < Span::from_millis(2));
        estimate.note(Span::from_micros(u64::MAX));
        estimate.note(Span::from_micros(u64::MAX));
        assert!(
            estimate.bound() > Span::from_millis(1),
            "and does not overflow"
        );
    }

    #[test]
    fn least_stands_for_a_while() {
        let (mut least, lasts) = (Least::default(), Span::from_millis(10));
        let mut note = |took, now| {
            least.note(Span::from_micros(took), Time::from_micros(now), lasts);
            least.get().as_micros()
        };
        assert_eq!(note(70, 0), 70);
        assert_eq!(note(50, 1_000), 50);
        assert_eq!(note(90, 10_999), 50);
        assert_eq!(note(80, 11_000), 80, "the 50 are forgotten");
        assert_eq!(note(60, 12_000), 60);
    }
}

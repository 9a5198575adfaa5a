//! Clocks: each machine has its own, which started at its own time and runs a little fast or slow.

use bts_core::time::Time;

/// A machine's clock, as a function of the world's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset_us: u64,
    /// Its microseconds in a thousand of the world's.
    rate: u64,
}

impl Clock {
    /// A clock that shows `offset_us` at the beginning of the world and advances `rate` in a
    /// thousand microseconds.
    pub fn new(offset_us: u64, rate: u64) -> Self {
        assert!(rate > 0, "a clock that stands still");
        Self { offset_us, rate }
    }

    /// What it shows.
    pub fn at(&self, world_us: u64) -> Time {
        let passed = u128::from(world_us) * u128::from(self.rate) / 1000;
        Time::from_micros(self.offset_us + passed as u64)
    }

    /// The first moment of the world at which it shows `local` or more; `None` if that is so far
    /// away that no run gets there.
    pub fn when(&self, local: Time) -> Option<u64> {
        let passed = u128::from(local.as_micros().saturating_sub(self.offset_us));
        u64::try_from((passed * 1000).div_ceil(u128::from(self.rate))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_alarm_rings_at_the_first_moment_that_shows_it() {
        for rate in [900, 999, 1000, 1001, 1100] {
            let clock = Clock::new(77, rate);
            for local in (0..20_000).step_by(7) {
                let local = Time::from_micros(local);
                let when = clock.when(local).expect("near");
                assert!(clock.at(when) >= local);
                assert!(
                    when == 0 || clock.at(when - 1) < local,
                    "rate {rate}, {local}"
                );
            }
        }
    }
}

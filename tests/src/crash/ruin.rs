//! What happens to the replicas in one cycle, and when.

use std::time::Duration;

use crate::sim::rng::Rng;

/// Operations that may end before replicas are killed, at most.
const OPERATIONS_MAX: u64 = 12;
/// How long a cycle may wait instead, in milliseconds: replicas are killed while they start, too.
const WAIT_MAX_MS: u64 = 120;
/// A moment that falls anywhere in an operation, in microseconds.
const MOMENT_MAX_US: u64 = 8_000;
/// How long replicas may stay down, in milliseconds.
const DOWN_MAX_MS: u64 = 30;

/// When replicas are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// When so many operations more have ended.
    Operations(u64),
    /// So long after the last cycle, whatever was achieved.
    Time(Duration),
}

/// One cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruin {
    /// When.
    pub(super) when: When,
    /// And then so much later.
    pub(super) moment: Duration,
    /// Who is killed, in one moment.
    pub(super) killed: Vec<u16>,
    /// How long they are down.
    pub(super) down: Duration,
    /// The order in which they start, and how long each waits for the one before it.
    pub(super) order: Vec<u16>,
    pub(super) stagger: Duration,
}

impl Ruin {
    /// The next cycle of a cluster of so many replicas.
    pub(super) fn draw(rng: &mut Rng, replicas: u16) -> Self {
        let when = match rng.chance(750) {
            true => When::Operations(rng.between(1, OPERATIONS_MAX)),
            false => When::Time(Duration::from_millis(rng.below(WAIT_MAX_MS))),
        };
        let mut order: Vec<u16> = (0..replicas).collect();
        rng.shuffle(&mut order);
        let killed = match rng.below(10) {
            0 => 1,
            1 => 2,
            _ => order.len(),
        };
        order.truncate(killed);
        let mut up_to = |per_mille, most| match rng.chance(per_mille) {
            true => Duration::from_micros(rng.below(most)),
            false => Duration::ZERO,
        };
        Self {
            when,
            moment: up_to(1000, MOMENT_MAX_US),
            killed: order.clone(),
            down: up_to(300, DOWN_MAX_MS * 1000),
            stagger: up_to(300, DOWN_MAX_MS * 1000),
            order,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ruin_of_a_seed_is_the_same_each_time_and_all_kinds_are_drawn() {
        let draw = || {
            let mut rng = Rng::new(5);
            (0..200).map(move |_| Ruin::draw(&mut rng, 4))
        };
        assert!(draw().eq(draw()));
        for killed in [1, 2, 4] {
            assert!(draw().any(|ruin| ruin.killed.len() == killed), "{killed}");
        }
        assert!(draw().any(|ruin| matches!(ruin.when, When::Time(_))));
    }
}

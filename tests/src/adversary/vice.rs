//! What a hostile replica is like, drawn from the seed of a run.

use bts_core::replica::Options;

use super::gang::Gang;
use super::habit::Habit;
use super::liar::Liar;
use super::puppet::Puppet;
use super::two_faced::TwoFaced;
use crate::sim::machine::ReplicaMachine;
use crate::sim::rng::Rng;

/// A hostile replica's character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vice {
    /// It says nothing at all.
    Mute,
    /// It is two replicas; both hear so many of a thousand messages.
    TwoFaced(u64),
    /// It has habits, each on so many of a thousand occasions.
    Liar(Vec<(Habit, u64)>),
}

impl Vice {
    /// Draws a character.
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(12) {
            0 => Self::Mute,
            1 | 2 => Self::TwoFaced(rng.below(300)),
            _ => {
                let count = 1 + rng.index(4);
                let habits = (0..count).map(|_| {
                    let often = *rng.pick(&[50, 300, 1000]).expect("a choice");
                    (Habit::draw(rng), often)
                });
                Self::Liar(habits.collect())
            }
        }
    }

    /// Draws one that helps whatever a client wants to believe: it votes for everything, has
    /// stored and applied everything, and finds nothing, or what was long removed.
    pub fn accomplice(rng: &mut Rng) -> Self {
        let mut habits = vec![(Habit::Agree, 1000), (Habit::Boast, 1000)];
        match rng.below(4) {
            0 => habits.push((Habit::Full, 300)),
            1 => habits.push((Habit::FalseStatus, 500)),
            2 => habits.push((Habit::Empty, 500)),
            _ => habits.push((Habit::Empty, 1000)),
        }
        Self::Liar(habits)
    }

    /// A replica of this character.
    pub fn machine(&self, options: Options, gang: Gang, rng: Rng) -> Box<dyn ReplicaMachine> {
        match self {
            Self::Mute => Box::new(Puppet::mute().0),
            Self::TwoFaced(both) => Box::new(TwoFaced::new(options, gang, *both, rng)),
            Self::Liar(habits) => Box::new(Liar::new(options, gang, habits.clone(), rng)),
        }
    }
}

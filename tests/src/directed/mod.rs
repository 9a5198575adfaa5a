//! Directed schedules: short worlds in which one attack or one accident happens step by step. They
//! are part of the library so that the tests run them against the protocol as it is, and the
//! command `mutants` against each broken rule.

pub mod ally;
mod instance;
mod progress;
mod reads;
pub mod restarts;
mod rights;
mod sessions;
pub mod stage;
mod steps;

/// A schedule; it panics if something is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Its name: the attack that it is about.
    pub name: &'static str,
    /// What happens.
    pub run: fn(),
}

impl Schedule {
    const fn new(name: &'static str, run: fn()) -> Self {
        Self { name, run }
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Schedule> {
    let all = [
        instance::ALL,
        rights::ALL,
        reads::ALL,
        restarts::ALL,
        progress::ALL,
        sessions::ALL,
    ];
    all.into_iter().flatten()
}

//! One correct replica, and the row of all of them, as numbers.

use std::collections::HashMap;

use super::choice::Code;
use super::seen::BuildFx;
use super::{BALLOTS_MAX, Bounds, CORRECT_MAX, EPOCHS_MAX, Picks};

/// What a replica signed in one epoch, and may still matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Said {
    /// First votes.
    pub(super) firsts: Picks,
    /// Prepare votes per ballot.
    pub(super) prepared: [Picks; BALLOTS_MAX],
    /// Commit votes per ballot.
    pub(super) commits: [Picks; BALLOTS_MAX],
    /// Its promise per ballot.
    pub(super) told: [Code; BALLOTS_MAX],
}

/// A correct replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Local {
    pub(super) epoch: u8,
    /// Its acceptor in that epoch.
    pub(super) acceptor: u16,
    /// What it has shown to readers since a Take was decided: votes by bit, or
    /// [`super::reader::PLAIN`].
    pub(super) shown: u8,
    pub(super) said: [Said; EPOCHS_MAX],
}

/// What exists as soon as enough votes do, in one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// The value decided, plus one.
    pub(super) decided: u8,
    /// The value locked per ballot, plus one.
    pub(super) locks: [u8; BALLOTS_MAX],
    /// Ballots in which nothing further can be locked, by bit.
    pub(super) closed: u8,
}

/// A state of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) correct: usize,
    pub(super) locals: [Local; CORRECT_MAX],
    pub(super) made: [Made; EPOCHS_MAX],
}

impl State {
    pub(super) fn locals(&self) -> &[Local] {
        &self.locals[..self.correct]
    }

    pub(super) fn locals_mut(&mut self) -> &mut [Local] {
        &mut self.locals[..self.correct]
    }
}

/// Numbers local states and packs whole ones.
pub(super) struct Packing {
    correct: usize,
    epochs: usize,
    ballots: usize,
    value_bits: u32,
    id_bits: u32,
    locals: Vec<Local>,
    numbers: HashMap<Local, u32, BuildFx>,
}

impl Packing {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let value_bits = u8::BITS - (bounds.takes + 1).leading_zeros();
        let (epochs, ballots) = (usize::from(bounds.epochs), usize::from(bounds.ballots) + 1);
        let made_bits = (value_bits + (value_bits + 1) * ballots as u32) * epochs as u32;
        let id_bits = ((u128::BITS - made_bits) / bounds.correct() as u32).min(u32::BITS);
        Self {
            correct: bounds.correct(),
            epochs,
            ballots,
            value_bits,
            id_bits,
            locals: Vec::new(),
            numbers: HashMap::default(),
        }
    }

    /// The state as one number. Correct replicas are alike: it is known by what they are, not by who
    /// is which.
    pub(super) fn pack(&mut self, state: &State) -> u128 {
        let mut ids = [0; CORRECT_MAX];
        for (id, local) in ids.iter_mut().zip(state.locals()) {
            *id = self.number(local);
        }
        let ids = &mut ids[..self.correct];
        ids.sort_unstable();
        let mut packed = 0u128;
        for id in ids {
            packed = packed << self.id_bits | u128::from(*id);
        }
        for made in &state.made[..self.epochs] {
            for value in made.locks[..self.ballots].iter().chain([&made.decided]) {
                packed = packed << self.value_bits | u128::from(*value);
            }
            packed = packed << self.ballots | u128::from(made.closed);
        }
        packed
    }

    pub(super) fn unpack(&self, mut packed: u128) -> State {
        let mut take = |bits: u32| {
            let low = packed & ((1 << bits) - 1);
            packed >>= bits;
            low
        };
        let mut state = State {
            correct: self.correct,
            locals: Default::default(),
            made: Default::default(),
        };
        for made in state.made[..self.epochs].iter_mut().rev() {
            made.closed = take(self.ballots as u32) as u8;
            made.decided = take(self.value_bits) as u8;
            for lock in made.locks[..self.ballots].iter_mut().rev() {
                *lock = take(self.value_bits) as u8;
            }
        }
        for local in state.locals_mut().iter_mut().rev() {
            *local = self.locals[take(self.id_bits) as usize];
        }
        state
    }

    fn number(&mut self, local: &Local) -> u32 {
        if let Some(number) = self.numbers.get(local) {
            return *number;
        }
        let number = self.locals.len() as u32;
        assert!(
            self.id_bits == u32::BITS || number < 1 << self.id_bits,
            "more local states than a packed state has room for"
        );
        self.locals.push(*local);
        self.numbers.insert(*local, number);
        number
    }
}

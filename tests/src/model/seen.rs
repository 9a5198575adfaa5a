//! The states that were reached, in the order in which they were, each with the one before it; a
//! table of places finds them again.

use std::hash::{BuildHasherDefault, Hasher};

/// A fast hash for numbers that nobody chooses to our harm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fx(u64);

/// Builds [`Fx`].
pub(super) type BuildFx = BuildHasherDefault<Fx>;

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Fx {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for Fx {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.add(word);
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.add(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.add(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.add(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// States by number of arrival.
pub(super) struct Seen {
    states: Vec<u128>,
    parents: Vec<u32>,
    /// Places, plus one; open addressing.
    table: Vec<u32>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            states: Vec::new(),
            parents: Vec::new(),
            table: vec![0; 1 << 16],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn get(&self, index: usize) -> u128 {
        self.states[index]
    }

    /// Adds a state unless it was seen before.
    pub(super) fn insert(&mut self, state: u128, parent: u32) -> bool {
        if self.states.len() * 4 > self.table.len() * 3 {
            self.grow();
        }
        let place = self.place(state);
        if self.table[place] != 0 {
            return false;
        }
        self.states.push(state);
        self.parents.push(parent);
        self.table[place] = u32::try_from(self.states.len()).expect("below 4 billion states");
        true
    }

    /// The way to a state, from the first one on.
    pub(super) fn path(&self, index: usize) -> Vec<u128> {
        let mut path = vec![self.states[index]];
        let mut at = index;
        while at != 0 {
            at = self.parents[at] as usize;
            path.push(self.states[at]);
        }
        path.reverse();
        path
    }

    fn place(&self, state: u128) -> usize {
        let mut hasher = Fx::default();
        hasher.add(state as u64);
        hasher.add((state >> 64) as u64);
        let mask = self.table.len() - 1;
        let mut place = (hasher.finish() as usize) & mask;
        while self.table[place] != 0 && self.states[self.table[place] as usize - 1] != state {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        self.table = vec![0; self.table.len() * 2];
        for index in 0..self.states.len() {
            let place = self.place(self.states[index]);
            self.table[place] = index as u32 + 1;
        }
    }
}

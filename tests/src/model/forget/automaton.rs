//! Replicas by number: each state that a real one gets into is kept as the shortest sequence of acts
//! that was found to lead there, known by what it prints, and driven once per act.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::act::Act;
use super::machine::{Facts, RealReplica};

/// All states that a replica was found in.
pub(super) struct Automaton {
    make: Box<dyn Fn() -> RealReplica>,
    with_log: bool,
    acts: usize,
    ways: Vec<Vec<Act>>,
    facts: Vec<Facts>,
    numbers: HashMap<(u64, u64), u32>,
    /// The state after each act in each state; `NOWHERE` if it was not tried.
    arrows: Vec<u32>,
}

const NOWHERE: u32 = u32::MAX;

impl Automaton {
    /// The replica as it is made, which is state 0; there are so many acts.
    pub(super) fn new(
        acts: usize,
        with_log: bool,
        make: impl Fn() -> RealReplica + 'static,
    ) -> Self {
        let mut new = Self {
            make: Box::new(make),
            with_log,
            acts,
            ways: Vec::new(),
            facts: Vec::new(),
            numbers: HashMap::new(),
            arrows: Vec::new(),
        };
        new.add(Vec::new());
        new
    }

    /// How many states were found.
    pub(super) fn len(&self) -> usize {
        self.ways.len()
    }

    pub(super) fn facts(&self, state: u32) -> &Facts {
        &self.facts[state as usize]
    }

    /// The replica itself in this state.
    pub(super) fn replica(&self, state: u32) -> RealReplica {
        self.drive(&self.ways[state as usize])
    }

    /// The state after an act, which has this number.
    pub(super) fn step(&mut self, state: u32, number: usize, act: Act) -> u32 {
        let at = state as usize * self.acts + number;
        if self.arrows[at] == NOWHERE {
            let way = [self.ways[state as usize].as_slice(), &[act]].concat();
            self.arrows[at] = self.add(way);
        }
        self.arrows[at]
    }

    /// The state after an act, if it was tried.
    pub(super) fn known(&self, state: u32, number: usize) -> Option<u32> {
        let next = self.arrows[state as usize * self.acts + number];
        (next != NOWHERE).then_some(next)
    }

    fn add(&mut self, way: Vec<Act>) -> u32 {
        let mut replica = self.drive(&way);
        let print = replica.print(self.with_log);
        let sip = BuildHasherDefault::<DefaultHasher>::default();
        let digest = (sip.hash_one(&print), sip.hash_one((1, &print)));
        let new = u32::try_from(self.ways.len()).expect("few states");
        let number = *self.numbers.entry(digest).or_insert(new);
        if number == new {
            self.facts.push(replica.facts());
            self.ways.push(way);
            self.arrows.extend(std::iter::repeat_n(NOWHERE, self.acts));
        }
        number
    }

    fn drive(&self, way: &[Act]) -> RealReplica {
        let mut replica = (self.make)();
        way.iter().for_each(|act| replica.take(*act));
        replica
    }
}

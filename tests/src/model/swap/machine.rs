//! Machines by number: each state that a real replica or client gets into is kept as the shortest
//! sequence of inputs that was found to lead there, known by what it prints, and driven once per
//! input.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// Something that can be driven from its beginning again and again.
pub(super) trait Machine: Debug {
    /// What happens to it.
    type Input: PartialEq;
    /// What it does.
    type Output;
    /// Takes one input to its end.
    fn take(&mut self, input: &Self::Input) -> Vec<Self::Output>;
}

/// All states that a machine was found in. What it does is kept as `E`.
pub(super) struct Automaton<M: Machine, E> {
    make: Box<dyn Fn() -> M>,
    inputs: Vec<M::Input>,
    ways: Vec<Vec<u16>>,
    numbers: HashMap<u64, u32>,
    arrows: BTreeMap<(u32, u16), (u32, Vec<E>)>,
}

impl<M: Machine, E: Clone> Automaton<M, E> {
    /// The machine as it is made, which is state 0.
    pub(super) fn new(make: impl Fn() -> M + 'static) -> Self {
        let first = print_of(&make());
        Self {
            make: Box::new(make),
            inputs: Vec::new(),
            ways: vec![Vec::new()],
            numbers: HashMap::from_iter([(first, 0)]),
            arrows: BTreeMap::new(),
        }
    }

    /// How many states were found.
    pub(super) fn len(&self) -> usize {
        self.ways.len()
    }

    /// The number of an input.
    pub(super) fn number(&mut self, input: M::Input) -> u16 {
        let known = self.inputs.iter().position(|known| *known == input);
        let number = known.unwrap_or(self.inputs.len());
        if known.is_none() {
            self.inputs.push(input);
        }
        u16::try_from(number).expect("few distinct inputs")
    }

    /// The input of this number.
    pub(super) fn input(&self, number: u16) -> &M::Input {
        &self.inputs[usize::from(number)]
    }

    /// The state after this input, and what the machine does.
    pub(super) fn step(
        &mut self,
        state: u32,
        input: u16,
        effects: impl FnMut(M::Output) -> Vec<E>,
    ) -> (u32, Vec<E>) {
        if let Some(arrow) = self.arrows.get(&(state, input)) {
            return arrow.clone();
        }
        let mut machine = (self.make)();
        let way = [self.ways[state as usize].as_slice(), &[input]].concat();
        let mut outputs = Vec::new();
        for input in &way {
            outputs = machine.take(&self.inputs[usize::from(*input)]);
        }
        let new = self.ways.len() as u32;
        let next = *self.numbers.entry(print_of(&machine)).or_insert(new);
        if next == new {
            self.ways.push(way);
        }
        let arrow = (next, outputs.into_iter().flat_map(effects).collect());
        self.arrows.insert((state, input), arrow.clone());
        arrow
    }
}

fn print_of(machine: &impl Debug) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(format!("{machine:?}"))
}

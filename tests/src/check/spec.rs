//! The specification: a tuple space is a bag of entries, and each operation is one step of it. It
//! knows nothing of replicas; it shares types with the code under test, and no logic but matching.
//!
//! A `Step` says which entries must be there, which must not, which go and which come. An
//! operation whose answer nobody saw has several possible steps and need not take any.

use std::collections::{BTreeMap, BTreeSet};

use bts_core::ids::EntryId;
use bts_core::message::Found;
use bts_core::template::Template;
use bts_core::tuple::Tuple;

use super::bits::Bits;
use super::history::{Answer, Call, Effect, Operation};

/// One way in which an operation may take effect; numbers are those of [`Contents`].
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) present: Bits,
    pub(super) absent: Bits,
    pub(super) gone: Bits,
    pub(super) new: Bits,
}

impl Step {
    /// True if the step is possible in this state.
    pub(super) fn is_enabled(&self, state: &Bits) -> bool {
        state.holds(&self.present) && !state.meets(&self.absent)
    }

    /// True if it changes nothing.
    pub(super) fn is_pure(&self) -> bool {
        self.gone.is_empty() && self.new.is_empty()
    }

    /// The state after it.
    pub(super) fn apply(&self, state: &Bits) -> Bits {
        state.change(&self.gone, &self.new)
    }

    /// All entries that it depends on or touches.
    pub(super) fn touched(&self) -> impl Iterator<Item = usize> + '_ {
        [&self.present, &self.absent, &self.gone, &self.new]
            .into_iter()
            .flat_map(Bits::members)
    }
}

/// What an operation must have done, or may have: one of these steps.
#[derive(Clone, Debug)]
pub(super) struct Duty {
    pub(super) steps: Vec<Step>,
    pub(super) required: bool,
}

/// All contents of a history, numbered. A faulty writer may have given one id several, and two
/// operations without answer may both have written one: such an id has a number of its own as
/// well, which is in the state once the id was taken, because from then on none of its contents can
/// be written any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    all: Vec<Found>,
    numbers: BTreeMap<(EntryId, Tuple), usize>,
    graves: BTreeMap<EntryId, usize>,
}

impl Contents {
    /// Numbers whatever occurs in these operations.
    pub(super) fn of(operations: &[Operation]) -> Self {
        let mut contents = Self::default();
        for operation in operations {
            operation.written().iter().for_each(|c| contents.add(c));
            operation.seen().iter().for_each(|c| contents.add(c));
            for effect in operation.possible() {
                match effect {
                    Effect::Write(found) => contents.add(found),
                    Effect::Replace(taken, puts) => {
                        contents.add(taken);
                        puts.iter().for_each(|put| contents.add(put));
                    }
                }
            }
        }
        contents.dig_graves(operations);
        contents
    }

    /// Numbers that may be in a state.
    pub(super) fn len(&self) -> usize {
        self.all.len() + self.graves.len()
    }

    pub(super) fn content(&self, number: usize) -> Option<&Found> {
        self.all.get(number)
    }

    /// What the operation does, as far as its answer tells. Most are one step; a listing is many,
    /// since it is no snapshot: each entry that it lists was there at some time while it lasted,
    /// and each other one that matches was not. An entry is listed with one of its contents.
    pub(super) fn duties(&self, operation: &Operation) -> Vec<Duty> {
        let template = operation.template();
        let must = |step: Step| Duty {
            steps: vec![step],
            required: true,
        };
        match &operation.answer {
            Answer::Written(_) => vec![must(self.write(&operation.written()[0]))],
            Answer::Found(found) if matches!(operation.call, Call::Take(_)) => {
                vec![must(self.replace(found, &[]))]
            }
            Answer::Swapped(taken, puts) => vec![must(self.replace(taken, puts))],
            Answer::Found(found) | Answer::Declined(found) => vec![must(self.read(found))],
            Answer::None => {
                let none = template.map(|t| self.absent(self.matching(operation, t)));
                none.map(must).into_iter().collect()
            }
            Answer::Open(effects) => vec![Duty {
                steps: effects.iter().map(|e| self.effect(e)).collect(),
                required: false,
            }],
            Answer::Listed(all) => {
                let there = all.iter().map(|listed| self.read(listed));
                let matching = template.map_or_else(Vec::new, |t| self.matching(operation, t));
                let others = matching
                    .into_iter()
                    .filter(|number| !operation.saw(&self.all[*number].id))
                    .map(|number| self.absent([number]));
                there.chain(others).map(must).collect()
            }
            Answer::Nothing => Vec::new(),
        }
    }

    fn add(&mut self, content: &Found) {
        let key = (content.id.clone(), content.tuple.clone());
        let next = self.all.len();
        if *self.numbers.entry(key).or_insert(next) == next {
            self.all.push(content.clone());
        }
    }

    /// An id is written once, so one that several operations may write needs a grave as well; a
    /// put does not, since its origin cannot be taken again.
    fn dig_graves(&mut self, operations: &[Operation]) {
        let mut ways = BTreeMap::<&EntryId, usize>::new();
        let mut contents = BTreeMap::<&EntryId, usize>::new();
        for content in &self.all {
            *contents.entry(&content.id).or_default() += 1;
        }
        for operation in operations {
            let possible = operation
                .possible()
                .iter()
                .filter_map(|effect| match effect {
                    Effect::Write(found) => Some(&found.id),
                    Effect::Replace(..) => None,
                });
            let written = match &operation.answer {
                Answer::Written(id) => Some(id),
                _ => None,
            };
            for id in possible.chain(written) {
                *ways.entry(id).or_default() += 1;
            }
        }
        let several = contents
            .into_iter()
            .chain(ways)
            .filter(|(_, count)| *count > 1);
        let ids: BTreeSet<_> = several.map(|(id, _)| id.clone()).collect();
        self.graves = ids.into_iter().zip(self.all.len()..).collect();
    }

    fn number(&self, content: &Found) -> usize {
        self.numbers[&(content.id.clone(), content.tuple.clone())]
    }

    fn nothing(&self) -> Bits {
        Bits::new(self.len())
    }

    fn only(&self, content: &Found) -> Bits {
        Bits::of(self.len(), [self.number(content)])
    }

    fn write(&self, content: &Found) -> Step {
        let grave = self.graves.get(&content.id).copied();
        Step {
            present: self.nothing(),
            absent: Bits::of(self.len(), grave),
            gone: self.nothing(),
            new: self.only(content),
        }
    }

    fn read(&self, content: &Found) -> Step {
        Step {
            present: self.only(content),
            absent: self.nothing(),
            gone: self.nothing(),
            new: self.nothing(),
        }
    }

    fn matching(&self, operation: &Operation, template: &Template) -> Vec<usize> {
        let matching = |content: &Found| {
            content.id.space() == &operation.space && template.matches(&content.tuple)
        };
        let numbers = (0..self.all.len()).filter(|number| matching(&self.all[*number]));
        numbers.collect()
    }

    fn absent(&self, numbers: impl IntoIterator<Item = usize>) -> Step {
        Step {
            present: self.nothing(),
            absent: Bits::of(self.len(), numbers),
            gone: self.nothing(),
            new: self.nothing(),
        }
    }

    /// Taking an id removes it with all its contents.
    fn replace(&self, taken: &Found, puts: &[Found]) -> Step {
        let of_id = (0..self.all.len()).filter(|number| self.all[*number].id == taken.id);
        let grave = self.graves.get(&taken.id).copied();
        let puts = puts.iter().map(|put| self.number(put));
        Step {
            present: self.only(taken),
            absent: self.nothing(),
            gone: Bits::of(self.len(), of_id),
            new: Bits::of(self.len(), puts.chain(grave)),
        }
    }

    fn effect(&self, effect: &Effect) -> Step {
        match effect {
            Effect::Write(found) => self.write(found),
            Effect::Replace(taken, puts) => self.replace(taken, puts),
        }
    }
}

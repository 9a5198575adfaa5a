//! The specification: a tuple space is a bag of entries, and each operation is one step of it. It
//! knows nothing of replicas; it shares types with the code under test, and no logic but matching.
//!
//! A `Step` says which entries must be there, which must not, which go and which come. An
//! operation whose answer nobody saw has several possible steps and need not take any.

use std::collections::BTreeMap;

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

/// All contents of a history, numbered. A faulty writer may have given one id several: such an id
/// has a number of its own as well, which is in the state once the id was taken, because from then
/// on none of its contents can be written any more.
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
        contents.dig_graves();
        contents
    }

    /// Numbers that may be in a state.
    pub(super) fn len(&self) -> usize {
        self.all.len() + self.graves.len()
    }

    pub(super) fn content(&self, number: usize) -> Option<&Found> {
        self.all.get(number)
    }

    /// All steps that the operation may be, and whether it must be one of them.
    pub(super) fn steps(&self, operation: &Operation) -> (Vec<Step>, bool) {
        let template = operation.template();
        match &operation.answer {
            Answer::Written(_) => (vec![self.write(&operation.written()[0])], true),
            Answer::Found(found) if matches!(operation.call, Call::Take(_)) => {
                (vec![self.replace(found, &[])], true)
            }
            Answer::Swapped(taken, puts) => (vec![self.replace(taken, puts)], true),
            Answer::Found(found) | Answer::Declined(found) => (vec![self.read(found)], true),
            Answer::None => (
                template
                    .map(|t| self.none(operation, t))
                    .into_iter()
                    .collect(),
                true,
            ),
            Answer::Open(effects) => (effects.iter().map(|e| self.effect(e)).collect(), false),
            Answer::Listed(_) | Answer::Nothing => (Vec::new(), false),
        }
    }

    fn add(&mut self, content: &Found) {
        let key = (content.id.clone(), content.tuple.clone());
        let next = self.all.len();
        if *self.numbers.entry(key).or_insert(next) == next {
            self.all.push(content.clone());
        }
    }

    fn dig_graves(&mut self) {
        let mut contents = BTreeMap::<&EntryId, usize>::new();
        self.all
            .iter()
            .for_each(|c| *contents.entry(&c.id).or_default() += 1);
        let several = contents.into_iter().filter(|(_, count)| *count > 1);
        let ids = several.map(|(id, _)| id.clone());
        self.graves = ids.zip(self.all.len()..).collect();
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

    fn none(&self, operation: &Operation, template: &Template) -> Step {
        let matching = |content: &Found| {
            content.id.space() == &operation.space && template.matches(&content.tuple)
        };
        let numbers = (0..self.all.len()).filter(|number| matching(&self.all[*number]));
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

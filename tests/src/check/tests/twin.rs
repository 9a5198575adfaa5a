//! The dumb twin of the exact judge: it tries every order of a short history, with a plain bag. A
//! listing is as many operations as there are contents that it might have listed.

use std::collections::BTreeSet;

use bts_core::ids::EntryId;
use bts_core::message::Found;

use super::super::history::{Answer, Call, Effect, Operation};

/// What is there, and what was taken and never comes back.
#[derive(Clone, Default)]
struct Bag {
    there: Vec<Found>,
    gone: BTreeSet<EntryId>,
}

#[derive(Clone, Copy)]
enum Item<'a> {
    All(&'a Operation),
    /// This content was there at some time while it lasted, or was not.
    Listed(&'a Operation, &'a Found, bool),
}

/// True if some order explains all answers.
pub(super) fn any_order(history: &[Operation]) -> bool {
    let mut contents: Vec<Found> = Vec::new();
    for operation in history {
        let effects = operation.possible().iter().flat_map(|effect| match effect {
            Effect::Write(new) => vec![new.clone()],
            Effect::Replace(taken, puts) => [std::slice::from_ref(taken), puts].concat(),
        });
        let seen = operation.seen().iter().cloned();
        contents.extend(operation.written().into_iter().chain(seen).chain(effects));
    }
    let unique = |(i, c): (usize, &Found)| (!contents[..i].contains(c)).then(|| c.clone());
    let contents: Vec<_> = contents.iter().enumerate().filter_map(unique).collect();
    let items: Vec<_> = history.iter().flat_map(|o| items(o, &contents)).collect();
    extend(&items, &mut vec![false; items.len()], &Bag::default())
}

fn items<'a>(operation: &'a Operation, contents: &'a [Found]) -> Vec<Item<'a>> {
    let Answer::Listed(all) = &operation.answer else {
        return vec![Item::All(operation)];
    };
    let template = operation.template().expect("listings have one");
    let matching = contents
        .iter()
        .filter(|c| template.matches(&c.tuple) || all.contains(c));
    let item = |content: &'a Found| Item::Listed(operation, content, all.contains(content));
    matching.map(item).collect()
}

impl Item<'_> {
    fn operation(&self) -> &Operation {
        match self {
            Self::All(operation) | Self::Listed(operation, ..) => operation,
        }
    }
}

fn extend(items: &[Item<'_>], done: &mut Vec<bool>, bag: &Bag) -> bool {
    let left: Vec<_> = (0..items.len()).filter(|i| !done[*i]).collect();
    if left.iter().all(|i| items[*i].operation().ended.is_none()) {
        return true;
    }
    for next in left.iter().copied() {
        let operation = items[next].operation();
        if left
            .iter()
            .any(|other| items[*other].operation().precedes(operation))
        {
            continue;
        }
        done[next] = true;
        let outcomes = outcomes(items[next], bag);
        let found = outcomes.iter().any(|bag| extend(items, done, bag));
        done[next] = false;
        if found {
            return true;
        }
    }
    false
}

/// The bags that may follow.
fn outcomes(item: Item<'_>, bag: &Bag) -> Vec<Bag> {
    let same = |holds: bool| holds.then(|| bag.clone()).into_iter().collect();
    let operation = match item {
        Item::All(operation) => operation,
        Item::Listed(operation, content, listed) => {
            let template = operation.template().expect("listings have one");
            let fits = !listed || template.matches(&content.tuple);
            return same(fits && bag.there.contains(content) == listed);
        }
    };
    let template = operation.template();
    let matches = |content: &Found| template.is_none_or(|t| t.matches(&content.tuple));
    match (&operation.call, &operation.answer) {
        (_, Answer::Written(_)) => bag.write(&operation.written()[0]),
        (Call::Take(_), Answer::Found(taken)) if matches(taken) => bag.replace(taken, &[]),
        (_, Answer::Swapped(taken, puts)) if matches(taken) => bag.replace(taken, puts),
        (Call::Read(_), Answer::Found(seen)) | (_, Answer::Declined(seen)) if matches(seen) => {
            same(bag.there.contains(seen))
        }
        (_, Answer::None) => same(!operation.waits && !bag.there.iter().any(matches)),
        (_, Answer::Open(effects)) => {
            let effect = |effect: &Effect| match effect {
                Effect::Write(new) => bag.write(new),
                Effect::Replace(taken, puts) => bag.replace(taken, puts),
            };
            let effects = effects.iter().flat_map(effect);
            effects.chain([bag.clone()]).collect()
        }
        _ => Vec::new(),
    }
}

impl Bag {
    fn write(&self, new: &Found) -> Vec<Self> {
        let mut after = self.clone();
        if self.gone.contains(&new.id) {
            return Vec::new();
        }
        if !self.there.contains(new) {
            after.there.push(new.clone());
        }
        vec![after]
    }

    fn replace(&self, taken: &Found, puts: &[Found]) -> Vec<Self> {
        if !self.there.contains(taken) {
            return Vec::new();
        }
        let mut after = self.clone();
        after.there.retain(|content| content.id != taken.id);
        after.gone.insert(taken.id.clone());
        after.there.extend(puts.iter().cloned());
        vec![after]
    }
}

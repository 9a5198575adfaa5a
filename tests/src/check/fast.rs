//! The fast judge: rules about single entries, each a reason why *no* order can explain the
//! answers. It looks at pairs of operations, not at orders, so it suits long histories; what it
//! passes may still be wrong, what it objects to is wrong.

use std::collections::{BTreeMap, BTreeSet};

use bts_core::ids::EntryId;
use bts_core::message::Found;

use super::history::{Answer, Effect, Operation, Shown};

/// What a history did wrong, in words that name the operations.
pub fn violations(history: &[Operation]) -> Vec<String> {
    let entries = Entries::of(history);
    let mut found = Vec::new();
    for operation in history {
        found.extend(wrong_match(operation));
        for content in operation.seen() {
            found.extend(entries.never_written(operation, content));
            found.extend(entries.seen_too_early(operation, content));
            found.extend(entries.seen_too_late(operation, content));
            found.extend(entries.half_a_swap(operation, content));
        }
        found.extend(entries.overlooked(operation));
    }
    found.extend(entries.taken_twice());
    found
}

/// Who did, or may have done, what to each entry.
#[derive(Debug, Default)]
struct Entries<'a> {
    by_id: BTreeMap<EntryId, Entry<'a>>,
    puts: BTreeMap<EntryId, BTreeSet<EntryId>>,
}

#[derive(Debug, Default)]
struct Entry<'a> {
    writers: Vec<(&'a Operation, Found)>,
    takers: Vec<&'a Operation>,
    possible_takers: Vec<&'a Operation>,
    observers: Vec<&'a Operation>,
}

impl<'a> Entries<'a> {
    fn of(history: &'a [Operation]) -> Self {
        let mut entries = Self::default();
        for operation in history {
            for content in operation.written() {
                entries.at(&content.id).writers.push((operation, content));
            }
            for content in operation.seen() {
                entries.at(&content.id).observers.push(operation);
            }
            if let Some(content) = operation.taken() {
                entries.at(&content.id).takers.push(operation);
            }
            for effect in operation.possible() {
                entries.add_possible(operation, effect);
            }
        }
        entries
    }

    fn at(&mut self, id: &EntryId) -> &mut Entry<'a> {
        if let Some((origin, _)) = id.origin() {
            self.puts.entry(origin).or_default().insert(id.clone());
        }
        self.by_id.entry(id.clone()).or_default()
    }

    fn add_possible(&mut self, operation: &'a Operation, effect: &Effect) {
        match effect {
            Effect::Write(content) => {
                self.at(&content.id)
                    .writers
                    .push((operation, content.clone()));
            }
            Effect::Replace(taken, puts) => {
                self.at(&taken.id).possible_takers.push(operation);
                for put in puts {
                    self.at(&put.id).writers.push((operation, put.clone()));
                }
            }
        }
    }

    /// An entry exists because somebody wrote it, with this very tuple.
    fn never_written(&self, seen: &Operation, content: &Found) -> Option<String> {
        let writers = &self.by_id[&content.id].writers;
        let wrote = writers.iter().any(|(_, written)| written == content);
        (!wrote).then(|| format!("never written: {} in {seen}", Shown(content)))
    }

    /// Whoever sees it comes after the step that wrote it.
    fn seen_too_early(&self, seen: &Operation, content: &Found) -> Option<String> {
        let writers = &self.by_id[&content.id].writers;
        let early = !writers.is_empty() && writers.iter().all(|(writer, _)| seen.precedes(writer));
        early.then(|| format!("seen before it was written: {seen}"))
    }

    /// Once taken an entry never comes back: ids are written once.
    fn seen_too_late(&self, seen: &Operation, content: &Found) -> Option<String> {
        let takers = &self.by_id[&content.id].takers;
        let taker = takers.iter().find(|taker| taker.precedes(seen))?;
        Some(format!(
            "seen after it was taken: {seen}\n  taken by {taker}"
        ))
    }

    /// A put appears in the step in which its origin goes, so whoever comes after somebody who saw
    /// the put does not see the origin.
    fn half_a_swap(&self, seen: &Operation, content: &Found) -> Option<String> {
        let entries = self
            .puts
            .get(&content.id)?
            .iter()
            .map(|put| &self.by_id[put]);
        let mut observers = entries.flat_map(|entry| &entry.observers);
        let earlier = observers.find(|observer| observer.precedes(seen))?;
        Some(format!(
            "seen after what replaced it was seen: {seen}\n  replaced for {earlier}"
        ))
    }

    /// An entry has one taker.
    fn taken_twice(&self) -> Vec<String> {
        let twice = self.by_id.values().filter(|entry| entry.takers.len() > 1);
        let tell = |entry: &Entry<'_>| {
            let takers: Vec<_> = entry.takers.iter().map(ToString::to_string).collect();
            format!("taken twice:\n  {}", takers.join("\n  "))
        };
        twice.map(tell).collect()
    }

    /// "None" and listings must not overlook an entry that was there from before they started
    /// until after they ended: its writing ended before, and whoever took it, or may have, started
    /// after.
    fn overlooked(&self, operation: &Operation) -> Vec<String> {
        let is_none = operation.answer == Answer::None;
        let listed = matches!(operation.answer, Answer::Listed(_));
        let Some(template) = operation.template().filter(|_| is_none || listed) else {
            return Vec::new();
        };
        let there = self.by_id.iter().filter(|(id, entry)| {
            *id.space() == operation.space && entry.is_there_throughout(operation)
        });
        there
            .flat_map(|(_, entry)| &entry.writers)
            .map(|(_, content)| content)
            .filter(|content| template.matches(&content.tuple))
            .filter(|content| !operation.seen().contains(content))
            .map(|content| format!("overlooked {}: {operation}", Shown(content)))
            .collect()
    }
}

impl Entry<'_> {
    fn is_there_throughout(&self, operation: &Operation) -> bool {
        let written = self.writers.iter().any(|(writer, content)| {
            writer.written().contains(content) && writer.precedes(operation)
        });
        let mut takers = self.takers.iter().chain(&self.possible_takers);
        let one_content = self.writers.iter().all(|(_, c)| c == &self.writers[0].1);
        written && one_content && takers.all(|taker| operation.precedes(taker))
    }
}

/// What is returned matches what was asked for, in the space it was asked of.
fn wrong_match(operation: &Operation) -> Option<String> {
    let template = operation.template()?;
    let wrong = operation.seen().iter().find(|content| {
        !template.matches(&content.tuple) || *content.id.space() != operation.space
    })?;
    Some(format!("does not match: {} in {operation}", Shown(wrong)))
}

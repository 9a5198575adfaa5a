//! What a history proves about each entry, whatever the order was: by when it was surely written,
//! by when it was surely gone, and who can have taken it.
//!
//! A *way* is a step that changes the space: one that an answer proves, or one of those that an
//! operation without answer may have taken. Every content has been written by some way, and every
//! id that is gone was taken by one.

use std::collections::{BTreeMap, BTreeSet};

use bts_core::ids::EntryId;
use bts_core::message::Found;
use bts_core::tuple::Tuple;

use super::super::history::{Answer, Effect, Moment, Operation};

/// Never, or not known.
pub(super) const NEVER: Moment = Moment::MAX;

/// A step that changes the space.
#[derive(Debug)]
pub(super) struct Way<'a> {
    /// The place of its operation in the history.
    pub(super) number: usize,
    pub(super) operation: &'a Operation,
    /// True if the answer proves it.
    pub(super) sure: bool,
    pub(super) taken: Option<Found>,
    pub(super) puts: Vec<Found>,
}

/// A content and what is known of it.
#[derive(Debug)]
pub(super) struct Content<'a> {
    pub(super) found: Found,
    /// The ways that write it.
    pub(super) writers: BTreeSet<usize>,
    /// Who saw it.
    pub(super) observers: Vec<&'a Operation>,
    /// It is written at every moment after this one.
    pub(super) written_by: Moment,
    /// It is not written before this.
    pub(super) written_after: Moment,
}

/// An id and what is known of it.
#[derive(Debug, Default)]
pub(super) struct Taking<'a> {
    /// The ways that may have taken it: one of these has if it is gone.
    pub(super) ways: BTreeSet<usize>,
    /// False if answers contradict each other about who took it.
    pub(super) is_possible: bool,
    /// It is gone at every moment after this one.
    pub(super) gone_by: Moment,
    /// Who proves that.
    pub(super) gone_for: Option<&'a Operation>,
}

/// All that is known.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) history: &'a [Operation],
    pub(super) ways: Vec<Way<'a>>,
    /// In the order of their ids, so that an entry comes before those that replaced it.
    pub(super) contents: BTreeMap<(EntryId, Tuple), Content<'a>>,
    pub(super) takings: BTreeMap<EntryId, Taking<'a>>,
}

impl<'a> Evidence<'a> {
    pub(super) fn of(history: &'a [Operation]) -> Self {
        let mut evidence = Self {
            history,
            ways: history.iter().enumerate().flat_map(ways).collect(),
            contents: BTreeMap::new(),
            takings: BTreeMap::new(),
        };
        evidence.collect();
        evidence.date_births();
        evidence.look_back();
        evidence.name_takers();
        evidence.look_ahead();
        evidence
    }

    /// The content as the operation names it.
    pub(super) fn content(&self, found: &Found) -> &Content<'a> {
        &self.contents[&key(found)]
    }

    /// Contents that the operation should have seen if they were there.
    pub(super) fn matching(&self, operation: &Operation) -> Vec<&Content<'a>> {
        let Some(template) = operation.template() else {
            return Vec::new();
        };
        let fits =
            |found: &Found| *found.id.space() == operation.space && template.matches(&found.tuple);
        let all = self.contents.values();
        all.filter(|content| fits(&content.found)).collect()
    }

    /// It is there at every moment before this one that is later than `written_by`: somebody saw
    /// it later, or everybody who can have taken it began later.
    pub(super) fn there_until(&self, content: &Content<'_>) -> Moment {
        let seen = content.observers.iter().map(|seen| seen.started).max();
        let takers = self.takings[&content.found.id].ways.iter();
        let taken = takers.map(|way| self.ways[*way].operation.started).min();
        seen.unwrap_or(0).max(taken.unwrap_or(NEVER))
    }

    fn collect(&mut self) {
        let mentioned = self
            .ways
            .iter()
            .flat_map(|way| way.taken.iter().chain(&way.puts));
        let seen = self.history.iter().flat_map(Operation::seen);
        for found in mentioned.chain(seen) {
            self.contents.entry(key(found)).or_insert_with(|| Content {
                found: found.clone(),
                writers: BTreeSet::new(),
                observers: Vec::new(),
                written_by: NEVER,
                written_after: 0,
            });
            self.takings.entry(found.id.clone()).or_insert(Taking {
                is_possible: true,
                gone_by: NEVER,
                ..Taking::default()
            });
        }
        for (number, way) in self.ways.iter().enumerate() {
            for put in &way.puts {
                let content = self.contents.get_mut(&key(put)).expect("mentioned");
                content.writers.insert(number);
                if let (true, Some(ended)) = (way.sure, way.operation.ended) {
                    content.written_by = content.written_by.min(ended);
                }
            }
            if let Some(taken) = &way.taken {
                let taking = self.takings.get_mut(&taken.id).expect("mentioned");
                taking.ways.insert(number);
            }
        }
        for operation in self.history {
            for found in operation.seen() {
                let content = self.contents.get_mut(&key(found)).expect("seen");
                content.observers.push(operation);
                let ended = operation.ended.unwrap_or(NEVER);
                content.written_by = content.written_by.min(ended);
            }
        }
    }

    /// Nothing is written before a way that writes it began, nor before what that way takes.
    fn date_births(&mut self) {
        let mut born = BTreeMap::new();
        for (name, content) in &self.contents {
            let after = content.writers.iter().map(|way| {
                let way = &self.ways[*way];
                let taken = way.taken.as_ref().and_then(|taken| born.get(&key(taken)));
                way.operation.started.max(taken.copied().unwrap_or(0))
            });
            born.insert(name.clone(), after.min().unwrap_or(0));
        }
        for (name, after) in born {
            let content = self.contents.get_mut(&name).expect("named");
            content.written_after = after;
        }
    }

    /// Where a put is, its origin was, and is gone: latest descendants first.
    fn look_back(&mut self) {
        let names: Vec<_> = self.contents.keys().rev().cloned().collect();
        for name in names {
            let put = &self.contents[&name];
            let (by, first) = (put.written_by, put.observers.first().copied());
            let origins = put.writers.iter().map(|way| self.ways[*way].taken.clone());
            let origins: BTreeSet<_> = origins.map(|taken| taken.as_ref().map(key)).collect();
            let mut origins = origins.into_iter();
            if let (Some(Some(origin)), None) = (origins.next(), origins.next()) {
                let shown_by = first.or_else(|| self.sure_writer(&name));
                let content = self.contents.get_mut(&origin).expect("taken");
                content.written_by = content.written_by.min(by);
                self.note_gone(&origin.0, by, shown_by);
            }
        }
        for way in 0..self.ways.len() {
            let Way {
                operation, sure, ..
            } = self.ways[way];
            let taken = self.ways[way].taken.as_ref().filter(|_| sure);
            if let (Some(id), Some(ended)) = (taken.map(|taken| taken.id.clone()), operation.ended)
            {
                self.note_gone(&id, ended, Some(operation));
            }
        }
    }

    fn sure_writer(&self, name: &(EntryId, Tuple)) -> Option<&'a Operation> {
        let mut writers = self.contents[name]
            .writers
            .iter()
            .map(|way| &self.ways[*way]);
        writers.find(|way| way.sure).map(|way| way.operation)
    }

    /// Every answer that proves a taking narrows who did it: an id is taken once. What was put in
    /// its place and seen proves that one of its writers did.
    fn name_takers(&mut self) {
        let mut proofs: Vec<(EntryId, BTreeSet<usize>)> = Vec::new();
        for (number, way) in self.ways.iter().enumerate().filter(|(_, way)| way.sure) {
            let taken = way.taken.iter().map(|taken| taken.id.clone());
            proofs.extend(taken.map(|id| (id, BTreeSet::from([number]))));
        }
        for content in self.contents.values().filter(|c| c.written_by != NEVER) {
            let taken = |way: &usize| self.ways[*way].taken.as_ref().map(|taken| &taken.id);
            let ids: BTreeSet<_> = content.writers.iter().map(taken).collect();
            if let (1, Some(Some(id))) = (ids.len(), ids.first()) {
                proofs.push(((*id).clone(), content.writers.clone()));
            }
        }
        for (id, by) in proofs {
            let taking = self.takings.get_mut(&id).expect("taken");
            taking.ways.retain(|way| by.contains(way));
            taking.is_possible = !taking.ways.is_empty();
        }
    }

    /// Whoever finds nothing where an entry surely was written proves that it is gone, and so that
    /// what everybody who can have taken it puts there is written: origins first.
    fn look_ahead(&mut self) {
        let names: Vec<_> = self.contents.keys().cloned().collect();
        let blind: Vec<_> = self.history.iter().filter(|o| is_blind(o)).collect();
        for name in names {
            let content = &self.contents[&name];
            let by = content.written_by;
            let missed = blind.iter().filter(|operation| {
                let fits = operation.template().is_some_and(|t| t.matches(&name.1));
                let seen = operation.saw(&content.found.id);
                fits && !seen && operation.started > by && operation.space == *name.0.space()
            });
            let first = missed.min_by_key(|operation| operation.ended).copied();
            if let Some(ended) = first.and_then(|operation| operation.ended) {
                self.note_gone(&name.0, ended, first);
            }
            self.date_puts(&name.0);
        }
    }

    fn date_puts(&mut self, id: &EntryId) {
        let taking = &self.takings[id];
        let ways = || taking.ways.iter().map(|way| &self.ways[*way]);
        let Some(first) = ways().next() else {
            return;
        };
        let by = taking.gone_by;
        let common = first
            .puts
            .iter()
            .filter(|put| ways().all(|way| way.puts.contains(put)));
        let common: Vec<_> = common.map(key).collect();
        for put in common {
            let content = self.contents.get_mut(&put).expect("mentioned");
            content.written_by = content.written_by.min(by);
        }
    }

    fn note_gone(&mut self, id: &EntryId, by: Moment, shown_by: Option<&'a Operation>) {
        let taking = self.takings.get_mut(id).expect("mentioned");
        if by < taking.gone_by {
            taking.gone_by = by;
            taking.gone_for = shown_by;
        }
    }
}

/// True for an answer that says what is not there.
pub(super) fn is_blind(operation: &Operation) -> bool {
    matches!(operation.answer, Answer::None | Answer::Listed(_))
}

fn key(found: &Found) -> (EntryId, Tuple) {
    (found.id.clone(), found.tuple.clone())
}

fn ways((number, operation): (usize, &Operation)) -> Vec<Way<'_>> {
    let way = |sure, taken: Option<&Found>, puts: &[Found]| Way {
        number,
        operation,
        sure,
        taken: taken.cloned(),
        puts: puts.to_vec(),
    };
    let surely = (operation.taken(), operation.written());
    if surely.0.is_some() || !surely.1.is_empty() {
        return vec![way(true, surely.0, &surely.1)];
    }
    let possible = operation.possible().iter();
    let possible = possible.map(|effect| match effect {
        Effect::Write(found) => way(false, None, std::slice::from_ref(found)),
        Effect::Replace(taken, puts) => way(false, Some(taken), puts),
    });
    possible.collect()
}

//! What the operations of one client tell each other, so that they keep out of each other's way: which
//! entries one of them is engaged in, and what they took lately. It saves work, and is no part of what
//! makes anything safe.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::requests::Key;
use crate::content::DecidedTake;
use crate::ids::EntryId;
use crate::time::{Span, Time};

/// Entries remembered as taken.
const TAKEN_MAX: usize = 1024;
/// Until a replica that still reports what we took is told again: the decision is on its way.
const TELL_AGAIN_AFTER: Span = Span::from_millis(100);

/// What the operations of a client know of one another.
#[derive(Debug, Default)]
pub(super) struct Siblings {
    engaged: BTreeMap<EntryId, Key>,
    /// Operations that leave an entry to the one that is engaged in it.
    waiting: BTreeMap<EntryId, BTreeSet<Key>>,
    /// Operations for which such a wait is over.
    freed: BTreeSet<Key>,
    taken: BTreeMap<EntryId, (Arc<DecidedTake>, Time)>,
    order: VecDeque<EntryId>,
}

/// What is to be done about a report of what we took.
#[derive(Debug)]
pub(super) enum Taken {
    /// Nothing.
    Told,
    /// The decision seems to have been lost on its way to who reports the entry.
    TellAgain(Arc<DecidedTake>),
}

impl Siblings {
    /// This operation begins to take the entry.
    pub(super) fn engage(&mut self, id: &EntryId, by: Key) {
        self.engaged.insert(id.clone(), by);
    }

    /// It has come to its end with it.
    pub(super) fn disengage(&mut self, id: &EntryId) {
        self.engaged.remove(id);
        self.freed
            .extend(self.waiting.remove(id).into_iter().flatten());
    }

    /// One of them took the entry, and told all replicas.
    pub(super) fn on_taken(&mut self, decided: &Arc<DecidedTake>, now: Time) {
        let id = decided.id();
        if self
            .taken
            .insert(id.clone(), (Arc::clone(decided), now))
            .is_none()
        {
            self.order.push_back(id.clone());
        }
        if self.order.len() > TAKEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.taken.remove(&oldest);
        }
    }

    /// True if another operation is engaged in the entry; this one is woken when that is over.
    pub(super) fn leave_to_other(&mut self, id: &EntryId, asker: Key) -> bool {
        let is_other = self.engaged.get(id).is_some_and(|by| *by != asker);
        if is_other {
            self.waiting.entry(id.clone()).or_default().insert(asker);
        }
        is_other
    }

    /// True if an operation of this client is engaged in the entry, or took it.
    pub(super) fn is_spent(&self, id: &EntryId) -> bool {
        self.engaged.contains_key(id) || self.taken.contains_key(id)
    }

    /// True if one of them took the entry.
    pub(super) fn has_taken(&self, id: &EntryId) -> bool {
        self.taken.contains_key(id)
    }

    /// What to make of a report of this entry, if one of them took it.
    pub(super) fn on_report(&mut self, id: &EntryId, now: Time) -> Option<Taken> {
        let (decided, told_at) = self.taken.get_mut(id)?;
        if now < *told_at + TELL_AGAIN_AFTER {
            return Some(Taken::Told);
        }
        Some(Taken::TellAgain(Arc::clone(decided)))
    }

    /// An operation whose wait for another is over.
    pub(super) fn next_freed(&mut self) -> Option<Key> {
        self.freed.pop_first()
    }
}

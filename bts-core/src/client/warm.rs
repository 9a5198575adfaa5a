//! Candidates for the next takes of workers that loop (R-4.3c): while an entry is taken, the replicas
//! are asked which they would name next, so that the next take of the same template begins with its
//! Take; and what a swap put in place is there for the next swap. All operations of the client that have this template draw from one shelf, an entry each. One
//! reading fills it for as many takes as lately succeeded with what lay there; where others take from
//! the same entries it is one, and what lies there spoils sooner. The candidates serve Takes only, never a
//! read or a proof of None: what they say is older than the operation.

use std::collections::{BTreeMap, VecDeque};

use super::candidates::Candidates;
use super::case::Case;
use super::siblings::Siblings;
use crate::ids::{EntryId, SpaceName};
use crate::limits::CANDIDATES_MAX;
use crate::template::Template;
use crate::time::{Span, Time};

/// For how long candidates are worth trying: less than replicas reserve them, unless answers take longer.
const FRESH_FOR: Span = Span::from_millis(40);
/// The same where nobody else seems to take from these entries; longer if what was asked for takes longer to
/// be used up.
const FRESH_FOR_LONG: Span = Span::from_millis(500);
/// Templates for which a client keeps candidates.
const TEMPLATES_MAX: usize = 512;
/// Candidates kept for one template.
const READY_MAX: usize = 4 * CANDIDATES_MAX;

type Query = (SpaceName, Template);

/// Where candidates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Replicas named them.
    Named,
    /// A swap of this client put them there.
    Put,
}

/// What is kept per space and template.
#[derive(Debug, Default)]
pub(super) struct Warm {
    shelves: BTreeMap<Query, Shelf>,
}

#[derive(Debug)]
struct Shelf {
    /// When the last take was won.
    won_at: Time,
    /// Candidates, and since when they are known, the oldest first.
    ready: VecDeque<(Time, Case)>,
    /// For how many takes one reading is to suffice.
    depth: usize,
    /// Until then nobody else asks for more.
    asking_until: Time,
    /// Replicas had nothing more to name the last time: it is not worth asking ahead.
    is_dry: bool,
}

impl Shelf {
    fn fresh_for(&self, patience: Span) -> Span {
        match self.depth {
            0 | 1 => FRESH_FOR.max(patience),
            depth => FRESH_FOR_LONG.max(patience.times(depth as u64)),
        }
    }

    fn is_looping(&self, now: Time, patience: Span) -> bool {
        now.since(self.won_at) <= FRESH_FOR.max(patience)
    }
}

impl Warm {
    /// How many candidates it is time to ask for, if takes of this template follow one another so closely that
    /// those for the next ones will still be good, and what is there does not suffice.
    pub(super) fn wants(
        &mut self,
        space: &SpaceName,
        template: &Template,
        now: Time,
        patience: Span,
    ) -> Option<usize> {
        let shelf = self.shelves.get_mut(&(space.clone(), template.clone()))?;
        let is_low = shelf.ready.len() <= shelf.depth / 4;
        let waits = shelf.is_dry || now < shelf.asking_until;
        if !shelf.is_looping(now, patience) || !is_low || waits {
            return None;
        }
        shelf.asking_until = now + FRESH_FOR.max(patience);
        Some(shelf.depth)
    }

    /// A candidate for a take of this template.
    pub(super) fn pick(
        &mut self,
        space: &SpaceName,
        template: &Template,
        now: Time,
        patience: Span,
        siblings: &Siblings,
    ) -> Option<Case> {
        let shelf = self.shelves.get_mut(&(space.clone(), template.clone()))?;
        let fresh_for = shelf.fresh_for(patience);
        while let Some((known_at, case)) = shelf.ready.pop_front() {
            if now.since(known_at) <= fresh_for && !siblings.is_spent(&case.id) {
                return Some(case);
            }
        }
        None
    }

    /// A take of this template was won, maybe of what lay on the shelf.
    pub(super) fn on_won(
        &mut self,
        space: &SpaceName,
        template: &Template,
        now: Time,
        lay_ready: bool,
    ) {
        let new = || Shelf {
            won_at: now,
            ready: VecDeque::new(),
            depth: 1,
            asking_until: Time::ZERO,
            is_dry: true,
        };
        let query = (space.clone(), template.clone());
        let shelf = self.shelves.entry(query).or_insert_with(new);
        shelf.won_at = now;
        shelf.is_dry = shelf.ready.is_empty();
        if lay_ready {
            shelf.depth = (shelf.depth * 2).min(CANDIDATES_MAX);
        }
        if self.shelves.len() > TEMPLATES_MAX {
            let oldest = self.shelves.iter().min_by_key(|(_, shelf)| shelf.won_at);
            let oldest = oldest.map(|(query, _)| query.clone());
            oldest.and_then(|query| self.shelves.remove(&query));
        }
    }

    /// What lay on the shelf had been taken by somebody else.
    pub(super) fn on_lost(&mut self, space: &SpaceName, template: &Template) {
        let shelf = self.shelves.get_mut(&(space.clone(), template.clone()));
        if let Some(shelf) = shelf {
            shelf.depth = 1;
            shelf.ready.clear();
        }
    }

    /// Puts candidates on the shelf that are known since this time, as far as nobody has them already. They
    /// are good enough to be taken at once, and at rest.
    pub(super) fn stock(
        &mut self,
        known_at: Time,
        candidates: Candidates,
        origin: Origin,
        siblings: &Siblings,
    ) {
        let Candidates {
            space,
            template,
            cases,
            ..
        } = candidates;
        let Some(shelf) = self.shelves.get_mut(&(space, template)) else {
            return;
        };
        if origin == Origin::Named {
            shelf.asking_until = Time::ZERO;
            shelf.is_dry &= cases.is_empty();
        }
        let lies_there = |ready: &VecDeque<(Time, Case)>, id: &EntryId| {
            ready.iter().any(|(_, case)| case.id == *id)
        };
        for (id, case) in cases {
            let is_new = !siblings.is_spent(&id) && !lies_there(&shelf.ready, &id);
            if is_new && shelf.ready.len() < READY_MAX {
                shelf.ready.push_back((known_at, case));
            }
        }
    }
}

//! Candidates for the next take of a worker that loops (R-4.3c): while it takes one entry, the
//! replicas are asked which they would name and reserve next, so that the next take of the same
//! template begins with its Take. Kept for no longer than a reservation lasts. They serve Takes
//! only, never a read or a proof of None: what they say is older than the operation.

use std::collections::BTreeMap;

use super::candidates::Candidates;
use crate::ids::SpaceName;
use crate::template::Template;
use crate::time::{Span, Time};

/// For how long candidates are worth trying: less than replicas reserve them, unless answers take longer.
const FRESH_FOR: Span = Span::from_millis(40);
/// Templates for which a client keeps candidates.
const TEMPLATES_MAX: usize = 64;

type Query = (SpaceName, Template);

/// What is kept per space and template.
#[derive(Debug, Default)]
pub(super) struct Warm {
    shelves: BTreeMap<Query, Shelf>,
}

#[derive(Debug)]
struct Shelf {
    /// When the last take was won.
    won_at: Time,
    /// Candidates, and when they were asked for.
    next: Option<(Time, Candidates)>,
}

impl Warm {
    /// True if takes of this template follow one another so closely that candidates for the next
    /// one will still be good.
    pub(super) fn is_looping(
        &self,
        space: &SpaceName,
        template: &Template,
        now: Time,
        patience: Span,
    ) -> bool {
        let shelf = self.shelves.get(&(space.clone(), template.clone()));
        shelf.is_some_and(|shelf| now.since(shelf.won_at) <= FRESH_FOR.max(patience))
    }

    /// The candidates kept for such a take.
    pub(super) fn pick(
        &mut self,
        space: &SpaceName,
        template: &Template,
        now: Time,
        patience: Span,
    ) -> Option<Candidates> {
        let shelf = self.shelves.get_mut(&(space.clone(), template.clone()))?;
        let (asked_at, candidates) = shelf.next.take()?;
        (now.since(asked_at) <= FRESH_FOR.max(patience)).then_some(candidates)
    }

    /// A take of this template was won; perhaps with candidates for the next.
    pub(super) fn on_won(
        &mut self,
        space: &SpaceName,
        template: &Template,
        now: Time,
        next: Option<(Time, Candidates)>,
    ) {
        let shelf = Shelf { won_at: now, next };
        self.shelves
            .insert((space.clone(), template.clone()), shelf);
        if self.shelves.len() > TEMPLATES_MAX {
            let oldest = self.shelves.iter().min_by_key(|(_, shelf)| shelf.won_at);
            let oldest = oldest.map(|(query, _)| query.clone());
            oldest.and_then(|query| self.shelves.remove(&query));
        }
    }
}

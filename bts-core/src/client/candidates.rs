//! The entries that an operation may return or take: who reports them, which of them are gone, and
//! in which order they are tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::case::{Case, Standing};
use super::contents::Fitted;
use super::pace::Wake;
use super::step::Step;
use crate::codec;
use crate::content::{Access, DecidedTake};
use crate::crypto::hash::{Domain, Hasher};
use crate::crypto::verified::ValidCertificate;
use crate::ids::{ContentHash, EntryId, Epoch, SpaceName};
use crate::message::{ClientBody, Found, Refused};
use crate::template::Template;
use crate::time::Span;
use crate::tuple::Tuple;

/// Entries remembered as gone.
const DROPPED_MAX: usize = 1024;
/// How long an entry that is reserved for another client is left to it.
const RESERVED_WAIT: Span = Span::from_millis(250);

/// An entry's place in the ring that reads walk along.
pub(super) fn ring(id: &EntryId) -> u64 {
    let hasher = Hasher::new(Domain::Ring).part(&codec::encode(id));
    hasher.finish().head()
}

/// The candidates of one operation.
#[derive(Debug)]
pub(super) struct Candidates {
    pub(super) space: SpaceName,
    pub(super) template: Template,
    pub(super) cases: BTreeMap<EntryId, Case>,
    pub(super) dropped: BTreeMap<EntryId, Dropped>,
    /// Where on the ring the operation starts.
    start: u64,
}

/// Why an entry is no candidate any more.
#[derive(Debug)]
pub(super) enum Dropped {
    /// A verified decision says who took it.
    Decided(Arc<DecidedTake>),
    /// `f+1` replicas say that it was removed.
    Removed,
    /// `f+1` replicas refuse to store it, or to let us take it.
    Refused,
}

/// An entry to be taken.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) id: EntryId,
    pub(super) hash: ContentHash,
    pub(super) epoch: Epoch,
    pub(super) tuple: Tuple,
    pub(super) access: Option<Access>,
    pub(super) released: Option<ValidCertificate>,
}

impl Choice {
    /// The entry as operations return it.
    pub(super) fn found(&self) -> Found {
        Found {
            id: self.id.clone(),
            tuple: self.tuple.clone(),
        }
    }
}

impl Candidates {
    pub(super) fn new(space: SpaceName, template: Template, start: u64) -> Self {
        Self {
            space,
            template,
            start,
            cases: BTreeMap::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// Where on the ring the operation starts.
    pub(super) fn start_at(&mut self, start: u64) {
        self.start = start;
    }

    /// Leaves out whatever is not good enough to be taken at once.
    pub(super) fn keep_ready(&mut self, step: &mut Step<'_>) {
        let size = step.size();
        for (id, case) in std::mem::take(&mut self.cases) {
            let hash = case
                .leading()
                .filter(|hash| case.contents.contains_key(hash));
            let is_ready = hash.is_some_and(|hash| {
                case.standing(size, hash) == Standing::Present
                    && !case.is_touched()
                    && !case.is_reserved(size)
            });
            match is_ready && !step.shared.siblings.is_spent(&id) {
                true => {
                    let case = case.put_at_rest(step);
                    self.cases.insert(id, case);
                }
                false => close(step, case),
            }
        }
    }

    /// Takes in what lay on a shelf.
    pub(super) fn with(mut self, case: Case) -> Self {
        self.cases.insert(case.id.clone(), case);
        self
    }

    /// Leaves out what other operations of this client took.
    fn drop_spent(&mut self, step: &mut Step<'_>) {
        let siblings = &step.shared.siblings;
        let taken = self.cases.keys().filter(|id| siblings.has_taken(id));
        for id in taken.cloned().collect::<Vec<_>>() {
            if let Some(case) = self.cases.remove(&id) {
                close(step, case);
            }
        }
    }

    /// True if no entry is under examination.
    pub(super) fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// An entry that may be read by rule 2, the first on the ring.
    pub(super) fn present(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> Option<Found> {
        self.standing_present(step, wake)
            .into_iter()
            .min_by_key(|(_, place, _)| *place)
            .map(|(choice, _, _)| choice.found())
    }

    /// All entries that may be read by rule 2.
    pub(super) fn all_present(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> Vec<Found> {
        self.standing_present(step, wake)
            .into_iter()
            .map(|(choice, _, _)| choice.found())
            .collect()
    }

    /// The entry to be taken next: one that we were not refused, that nobody else has reserved or
    /// has votes for, the first on the ring, as far as there is such a one.
    pub(super) fn choose(
        &mut self,
        step: &mut Step<'_>,
        refused: &BTreeMap<EntryId, Refused>,
        wake: &mut Wake,
    ) -> Option<Choice> {
        self.drop_spent(step);
        let mut choices = Vec::new();
        for (choice, place, is_touched) in self.standing_present(step, wake) {
            if step.shared.siblings.leave_to_other(&choice.id, step.key) {
                continue;
            }
            let Some(case) = self.cases.get(&choice.id) else {
                continue;
            };
            let is_refused = refused.contains_key(&choice.id);
            let is_reserved = case.is_reserved(step.size());
            let free_at = case.first_seen + RESERVED_WAIT;
            if is_reserved && step.now < free_at {
                wake.at(free_at);
            } else {
                choices.push(((is_refused, is_reserved, is_touched, place), choice));
            }
        }
        let best = choices.into_iter().min_by_key(|(order, _)| *order);
        best.map(|(_, choice)| choice)
    }

    /// Puts work into the entries that cannot be returned as they are: write-back and help.
    pub(super) fn settle(&mut self, step: &mut Step<'_>, wake: &mut Wake) {
        self.drop_spent(step);
        let size = step.size();
        for case in self.cases.values_mut() {
            // Who is engaged in it brings it to its end.
            if step.shared.siblings.leave_to_other(&case.id, step.key) {
                continue;
            }
            if case.ripe_at > step.now {
                wake.at(case.ripe_at);
                continue;
            }
            let Some(hash) = case.leading() else {
                continue;
            };
            let is_known = case.contents.contains_key(&hash);
            match case.standing(size, hash) {
                Standing::Contested => case.help(step, hash, wake),
                Standing::Few if is_known => case.write_back(step, hash, wake),
                Standing::Few | Standing::Present if !is_known => {
                    case.fetch_content(step, hash, wake);
                }
                Standing::Few | Standing::Present => {}
            }
        }
    }

    /// True if some entry may yet prove to be present, with a content that is looked for: one that a
    /// correct replica reports, or whose content is known.
    pub(super) fn are_open(&self, step: &Step<'_>) -> bool {
        let size = step.size();
        self.cases.values().any(|case| {
            let Some(hash) = case.leading() else {
                return false;
            };
            let is_known = case.contents.contains_key(&hash);
            let is_present = case.standing(size, hash) == Standing::Present;
            let is_plausible = is_known || case.holders(hash).count() >= size.fact_quorum();
            is_plausible && !(is_known && is_present)
        })
    }

    /// The requests of a Take for each replica.
    pub(super) fn case(&mut self, id: &EntryId) -> Option<&mut Case> {
        self.cases.get_mut(id)
    }

    /// Somebody took the entry: who reports it is told.
    pub(super) fn on_decided(&mut self, step: &mut Step<'_>, decided: &Arc<DecidedTake>) {
        if let Some(case) = self.cases.remove(decided.id()) {
            if !mutant!(MissedDecideNotAsked) {
                step.spread(case.sightings.keys().copied(), decided.to_wire());
            }
            close(step, case);
        }
        self.remember(decided.id(), Dropped::Decided(Arc::clone(decided)));
    }

    /// An epoch of the entry is over.
    pub(super) fn on_released(&mut self, certificate: &ValidCertificate) {
        if let Some(case) = self.cases.get_mut(&certificate.statement().id) {
            case.on_released(certificate.clone());
        }
    }

    /// `f+1` replicas say that the entry was removed: those that report it are told to ask (G5).
    pub(super) fn drop_removed(&mut self, step: &mut Step<'_>, id: &EntryId) {
        if let Some(case) = self.cases.remove(id) {
            let removed = ClientBody::Dropped { id: id.clone() };
            step.tell(case.sightings.keys().copied(), removed);
            close(step, case);
        }
        self.remember(id, Dropped::Removed);
    }

    /// `f+1` replicas refuse the entry (G6).
    pub(super) fn drop_refused(&mut self, step: &mut Step<'_>, id: &EntryId) {
        if let Some(case) = self.cases.remove(id) {
            close(step, case);
        }
        self.remember(id, Dropped::Refused);
    }

    fn remember(&mut self, id: &EntryId, why: Dropped) {
        self.dropped.insert(id.clone(), why);
        if self.dropped.len() > DROPPED_MAX {
            self.dropped.pop_first();
        }
    }

    /// Those with rule 2, with their place on the ring and whether anybody has votes for them.
    fn standing_present(
        &mut self,
        step: &mut Step<'_>,
        wake: &mut Wake,
    ) -> Vec<(Choice, u64, bool)> {
        let size = step.size();
        let mut present = Vec::new();
        for case in self.cases.values_mut() {
            let Some(hash) = case.leading() else {
                continue;
            };
            if case.standing(size, hash) != Standing::Present {
                continue;
            }
            let Some(Fitted { tuple, access, .. }) = case.contents.get(&hash) else {
                case.fetch_content(step, hash, wake);
                continue;
            };
            let choice = Choice {
                id: case.id.clone(),
                hash,
                epoch: case.epoch(),
                tuple: tuple.clone(),
                access: access.clone(),
                released: case.released().cloned(),
            };
            let place = ring(&case.id).wrapping_sub(self.start);
            present.push((choice, place, case.is_touched()));
        }
        present
    }
}

pub(super) fn close(step: &mut Step<'_>, case: Case) {
    case.put_at_rest(step);
}

//! Asking for the content of an entry when the full answer is missing or does not fit: first one of
//! those that report it, then all of them (R-4.2 (D5)).

use super::case::Case;
use super::pace::{Backoff, Wake};
use super::step::Step;
use crate::ids::{ContentHash, ReplicaId, RequestId};
use crate::message::{ClientBody, FetchKey};
use crate::time::{Span, Time};

/// How long one replica is waited for before the others are asked.
const PATIENCE: Span = Span::from_millis(20);

/// The state of the search.
#[derive(Debug)]
pub(super) struct Fetch {
    wanted: Option<ContentHash>,
    open: Vec<(RequestId, Vec<ReplicaId>)>,
    again: Backoff,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            wanted: None,
            open: Vec::new(),
            again: Backoff::new(PATIENCE),
        }
    }
}

impl Fetch {
    /// The content that was asked for last.
    pub(super) fn wanted(&self) -> Option<ContentHash> {
        self.wanted
    }

    /// Whoever was asked does not have it: the next attempt need not wait.
    pub(super) fn on_failure(&mut self, now: Time) {
        let due = self.again.due_at().min(now);
        self.again = Backoff::starting(due, PATIENCE);
    }

    /// Ends the search.
    pub(super) fn close(&mut self, step: &mut Step<'_>) {
        for (request, _) in std::mem::take(self).open {
            step.close(request);
        }
    }

    /// Who is asked by requests that are not answered.
    fn asked(&self, step: &Step<'_>) -> Vec<ReplicaId> {
        let open = self.open.iter();
        let waiting = open.filter(|(request, _)| !step.shared.requests.is_complete(*request));
        waiting.flat_map(|(_, asked)| asked).copied().collect()
    }
}

impl Case {
    /// Asks for this content those of whom no answer is expected: whoever comes to hold it while an
    /// earlier holder is silent is asked as well.
    pub(super) fn fetch_content(
        &mut self,
        step: &mut Step<'_>,
        hash: ContentHash,
        wake: &mut Wake,
    ) {
        if self.fetch.wanted != Some(hash) {
            self.fetch.close(step);
            self.fetch.wanted = Some(hash);
        }
        let asked = self.fetch.asked(step);
        let holders = self.holders(hash).filter(|holder| !asked.contains(holder));
        let holders: Vec<_> = holders.collect();
        if holders.is_empty() {
            return;
        }
        if self.fetch.again.strike(step.now, step.patience()) {
            let one = step.shared.pace.pick(holders.iter().copied(), step.now);
            let to: Vec<_> = match self.fetch.open.is_empty() {
                true => one.into_iter().collect(),
                false => holders,
            };
            let key = FetchKey::Content(self.id.clone(), hash);
            let request = step.ask(to.iter().copied(), ClientBody::Fetch(key));
            self.fetch.open.push((request, to));
        }
        wake.at(self.fetch.again.due_at());
    }
}

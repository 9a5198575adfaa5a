//! Asking for the content of an entry when the full answer is missing or does not fit: first one of
//! those that report it, then all of them (R-4.2 (D5)).

use super::case::Case;
use super::pace::{Backoff, Wake};
use super::step::Step;
use crate::ids::{ContentHash, RequestId};
use crate::message::{ClientBody, FetchKey};
use crate::time::{Span, Time};

/// How long one replica is waited for before the others are asked.
const PATIENCE: Span = Span::from_millis(20);

/// The state of the search.
#[derive(Debug)]
pub(super) struct Fetch {
    wanted: Option<ContentHash>,
    open: Vec<RequestId>,
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
        for request in std::mem::take(self).open {
            step.close(request);
        }
    }
}

impl Case {
    /// Asks for this content.
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
        let is_asked_of_all = self.fetch.open.len() > 1;
        let is_complete = |request: &RequestId| step.shared.requests.is_complete(*request);
        if is_asked_of_all && !self.fetch.open.iter().all(is_complete) {
            return;
        }
        if self.fetch.again.strike(step.now) {
            let holders: Vec<_> = self.holders(hash).collect();
            let one = step.shared.pace.pick(holders.iter().copied(), step.now);
            let to = match self.fetch.open.is_empty() {
                true => one.into_iter().collect(),
                false => holders,
            };
            let key = FetchKey::Content(self.id.clone(), hash);
            let request = step.ask(to, ClientBody::Fetch(key));
            self.fetch.open.push(request);
        }
        wake.at(self.fetch.again.due_at());
    }
}

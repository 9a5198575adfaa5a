//! Asking for the content of an entry when the full answer is missing or does not fit: first one of
//! those that report it, then all of them (R-4.2 [D5]).

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
    open: Option<(ContentHash, RequestId)>,
    again: Backoff,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            open: None,
            again: Backoff::new(PATIENCE),
        }
    }
}

impl Fetch {
    /// The content that was asked for last.
    pub(super) fn wanted(&self) -> Option<ContentHash> {
        self.open.map(|(hash, _)| hash)
    }

    /// Whoever was asked does not have it: the next attempt need not wait.
    pub(super) fn on_failure(&mut self, now: Time) {
        let due = self.again.due_at().min(now);
        self.again = Backoff::starting(due, PATIENCE);
    }

    /// Ends the search.
    pub(super) fn close(&mut self, step: &mut Step<'_>) {
        if let Some((_, request)) = self.open.take() {
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
        let is_new = self.fetch.open.is_none_or(|(searched, _)| searched != hash);
        if is_new {
            self.fetch.close(step);
            self.fetch.again = Backoff::new(PATIENCE);
        }
        if self.fetch.again.strike(step.now) {
            self.fetch.close(step);
            let holders: Vec<_> = self.holders(hash).collect();
            let one = step.shared.pace.pick(holders.iter().copied(), step.now);
            let to = if is_new {
                one.into_iter().collect()
            } else {
                holders
            };
            let key = FetchKey::Content(self.id.clone(), hash);
            self.fetch.open = Some((hash, step.ask(to, ClientBody::Fetch(key))));
        }
        wake.at(self.fetch.again.due_at());
    }
}

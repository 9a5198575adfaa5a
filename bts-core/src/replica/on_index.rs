//! Reads with a shape of template that came for the first time, in a space too large to be looked through at once:
//! its index is made in slices, between which everything else goes on, and such reads wait for it. Whoever answers
//! later answers what is so then, which is always allowed.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use super::{Outputs, Replica};
use crate::ids::{ClientRef, PublicKey, RequestId, Session, SpaceName};
use crate::limits::STASHED_PER_SENDER_MAX;
use crate::message::{ClientBody, ClientRequest};
use crate::template::Template;
use crate::time::{Span, Time};

/// Between two slices there is time for others.
const PAUSE: Span = Span::from_millis(1);

/// What waits for indices.
#[derive(Debug, Default)]
pub(super) struct Indexing {
    waiting: BTreeMap<ClientRef, VecDeque<ClientRequest>>,
    /// The index that is made now, and when it goes on.
    under_way: Option<(SpaceName, Template, Time)>,
    /// Whose turn it was: one key does not keep all others waiting.
    turn: Option<PublicKey>,
}

impl Indexing {
    /// Keeps a request, once. The oldest of the session makes room.
    fn keep(&mut self, from: ClientRef, message: ClientRequest) {
        let kept = self.waiting.entry(from).or_default();
        kept.retain(|other| other.request != message.request);
        if kept.len() >= STASHED_PER_SENDER_MAX {
            kept.pop_front();
        }
        kept.push_back(message);
    }

    /// Drops a request that its client does not want answered any more.
    pub(super) fn cancel(&mut self, from: ClientRef, request: RequestId) {
        if let Some(kept) = self.waiting.get_mut(&from) {
            kept.retain(|other| other.request != request);
        }
    }

    /// Drops what a session waits for.
    pub(super) fn forget(&mut self, from: ClientRef) {
        self.waiting.remove(&from);
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<(Time, &'static str)> {
        let (_, _, due) = self.under_way.as_ref()?;
        Some((*due, "an index that is being made"))
    }

    /// All that waits, the keys after that one first whose turn it was.
    fn take_all(&mut self) -> Vec<(ClientRef, ClientRequest)> {
        let waiting = std::mem::take(&mut self.waiting);
        let last = self.turn.map_or(Unbounded, |key| {
            let session = Session(u64::MAX);
            Excluded(ClientRef { key, session })
        });
        let after = waiting.range((last, Unbounded));
        let before = waiting.iter().take(waiting.len() - after.clone().count());
        let each = |(from, kept): (&ClientRef, &VecDeque<ClientRequest>)| {
            let from = *from;
            kept.clone()
                .into_iter()
                .map(move |message| (from, message))
                .collect::<Vec<_>>()
        };
        after.chain(before).flat_map(each).collect()
    }
}

impl Replica {
    /// Keeps a read until its shape has an index, if that takes a while. True if that was done.
    pub(super) fn waits_for_index(&mut self, from: ClientRef, message: &ClientRequest) -> bool {
        let (space, template) = match &message.body {
            ClientBody::Read(read) => (&read.space, &read.template),
            ClientBody::List {
                space, template, ..
            } => (space, template),
            _ => return false,
        };
        // For what is refused anyway no index is made.
        let is_refused = match &message.body {
            ClientBody::Read(read) => self.refuses_read(&from, message.request, read).is_some(),
            _ => template.check().is_err(),
        };
        let slice = self.options.limits.index_slice;
        let is_busy = self.indexing.under_way.is_some();
        if is_refused || self.store.is_indexed(space, template, slice, !is_busy) {
            return false;
        }
        if !is_busy {
            let (space, template) = (space.clone(), template.clone());
            self.indexing.under_way = Some((space, template, self.now + PAUSE));
            self.indexing.turn = Some(from.key);
        }
        self.indexing.keep(from, message.clone());
        true
    }

    /// Goes on with the index that is being made, and when it is there, with what waited.
    pub(super) fn on_index_due(&mut self, out: &mut Outputs) {
        let now = self.now;
        let under_way = self.indexing.under_way.as_mut();
        let Some((space, template, due)) = under_way.filter(|(_, _, due)| *due <= now) else {
            return;
        };
        let slice = self.options.limits.index_slice;
        if !self.store.index_more(space, template, slice) {
            *due = now + PAUSE;
            return;
        }
        self.indexing.under_way = None;
        for (from, message) in self.indexing.take_all() {
            self.on_client(from, message, out);
        }
    }
}

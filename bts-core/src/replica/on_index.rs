//! Reads with a shape of template that came for the first time, in a space too large to be looked through at once:
//! its index is made in slices, between which everything else goes on, and such reads wait for it. Whoever answers
//! later answers what is so then, which is always allowed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use super::index::Shape;
use super::{Outputs, Replica};
use crate::ids::{ClientRef, PublicKey, RequestId, Session, SpaceName};
use crate::limits::READS_KEPT_PER_CLIENT_MAX;
use crate::message::{ClientBody, ClientRequest, Refused};
use crate::template::Template;
use crate::time::{Span, Time};

/// Between two slices there is time for others, and between two parts of the answers.
const PAUSE: Span = Span::from_millis(1);
/// Reads answered in one go: answers are large, and the shell has to send them before there are more.
const ANSWERS_AT_ONCE: usize = 16;

/// An index that is wanted.
type Wanted = (SpaceName, Shape);
/// A read that waits.
type Reader = (ClientRef, RequestId);

/// What waits for indices.
#[derive(Debug, Default)]
pub(super) struct Indexing {
    /// What is kept of each read, and what it waits for.
    kept: BTreeMap<Reader, (Wanted, ClientRequest)>,
    readers: BTreeMap<Wanted, BTreeSet<Reader>>,
    /// The index that is made now.
    under_way: Option<Wanted>,
    /// Readers whose index is there.
    ready: VecDeque<Reader>,
    /// When it goes on with either.
    due: Time,
    /// Whose turn it was: one key does not keep all others waiting.
    turn: Option<PublicKey>,
}

impl Indexing {
    /// True if what is wanted next has to wait: nothing may take the place of an index whose readers have not
    /// been answered.
    fn is_busy(&self) -> bool {
        self.under_way.is_some() || !self.ready.is_empty()
    }

    /// Whether one more of this key may wait.
    fn has_room(&self, from: &ClientRef, request: RequestId) -> bool {
        let (first, last) = (of(from.key, Session(0)), of(from.key, Session(u64::MAX)));
        let range = (first, RequestId(0))..=(last, RequestId(u64::MAX));
        let is_kept = self.kept.contains_key(&(*from, request));
        is_kept || self.kept.range(range).count() < READS_KEPT_PER_CLIENT_MAX
    }

    fn keep(&mut self, from: ClientRef, wanted: Wanted, message: ClientRequest) {
        let reader = (from, message.request);
        self.drop_one(&reader);
        self.readers
            .entry(wanted.clone())
            .or_default()
            .insert(reader);
        self.kept.insert(reader, (wanted, message));
    }

    /// Drops a request that its client does not want answered any more.
    pub(super) fn cancel(&mut self, from: ClientRef, request: RequestId) {
        self.drop_one(&(from, request));
    }

    /// Drops what a session waits for.
    pub(super) fn forget(&mut self, from: ClientRef) {
        let range = (from, RequestId(0))..=(from, RequestId(u64::MAX));
        let gone: Vec<_> = self.kept.range(range).map(|(reader, _)| *reader).collect();
        gone.iter().for_each(|reader| drop(self.drop_one(reader)));
    }

    fn drop_one(&mut self, reader: &Reader) -> Option<ClientRequest> {
        let (wanted, message) = self.kept.remove(reader)?;
        if let Some(readers) = self.readers.get_mut(&wanted) {
            readers.remove(reader);
            if readers.is_empty() {
                self.readers.remove(&wanted);
            }
        }
        Some(message)
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<(Time, &'static str)> {
        self.is_busy()
            .then_some((self.due, "an index that is being made"))
    }

    /// The index is there.
    fn on_made(&mut self) {
        let made = self.under_way.take();
        let readers = made.and_then(|made| self.readers.remove(&made));
        self.ready.extend(readers.unwrap_or_default());
    }

    /// A read that can be answered now.
    fn next_ready(&mut self) -> Option<(ClientRef, ClientRequest)> {
        loop {
            let reader = self.ready.pop_front()?;
            if let Some(message) = self.drop_one(&reader) {
                return Some((reader.0, message));
            }
        }
    }

    /// Begins with what the next key wants, if nothing else is to be done.
    fn begin_next(&mut self) {
        if self.is_busy() {
            return;
        }
        let last = self.turn.map_or(Unbounded, |key| {
            Excluded((of(key, Session(u64::MAX)), RequestId(u64::MAX)))
        });
        let after = self.kept.range((last, Unbounded)).next();
        if let Some(((from, _), (wanted, _))) = after.or_else(|| self.kept.first_key_value()) {
            (self.under_way, self.turn) = (Some(wanted.clone()), Some(from.key));
        }
    }
}

fn of(key: PublicKey, session: Session) -> ClientRef {
    ClientRef { key, session }
}

impl Replica {
    /// Keeps a read until its shape has an index, if that takes a while. True if that was done.
    pub(super) fn waits_for_index(
        &mut self,
        from: ClientRef,
        message: &ClientRequest,
        out: &mut Outputs,
    ) -> bool {
        let Some((space, template)) = looks_for(&message.body) else {
            return false;
        };
        // For what is refused anyway no index is made.
        let is_refused = match &message.body {
            ClientBody::Read(read) => self.refuses_read(&from, message.request, read).is_some(),
            _ => template.check().is_err(),
        };
        let slice = self.options.limits.index_slice;
        if is_refused || self.store.is_indexed(space, template, slice) {
            return false;
        }
        if !self.indexing.has_room(&from, message.request) {
            let why = format!(
                "{READS_KEPT_PER_CLIENT_MAX} reads that wait until new shapes of templates are indexed"
            );
            self.refuse(from, message.request, Refused::Limit(why), out);
            return true;
        }
        let wanted = (space.clone(), Shape::of(template));
        if !self.indexing.is_busy() {
            self.indexing.due = self.now;
        }
        self.indexing.keep(from, wanted, message.clone());
        self.indexing.begin_next();
        true
    }

    /// Goes on with the index that is being made, or with what waited for the last one.
    pub(super) fn on_index_due(&mut self, out: &mut Outputs) {
        if self.indexing.due().is_none_or(|(due, _)| due > self.now) {
            return;
        }
        self.indexing.due = self.now + PAUSE;
        let slice = self.options.limits.index_slice;
        if let Some((space, shape)) = &self.indexing.under_way
            && self.store.index_more(space, shape, slice)
        {
            self.indexing.on_made();
        }
        for _ in 0..ANSWERS_AT_ONCE {
            let Some((from, message)) = self.indexing.next_ready() else {
                break;
            };
            self.on_client(from, message, out);
        }
        self.indexing.begin_next();
    }
}

/// What a request looks for, if it has to be found.
fn looks_for(body: &ClientBody) -> Option<(&SpaceName, &Template)> {
    match body {
        ClientBody::Read(read) => Some((&read.space, &read.template)),
        ClientBody::List {
            space, template, ..
        } => Some((space, template)),
        _ => None,
    }
}

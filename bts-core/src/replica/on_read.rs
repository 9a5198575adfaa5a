//! Reads: what matches, and the two rounds of the proof that nothing does (R-4.2 to R-4.2e,
//! "Empty" is told with a watch; "empty but for D" with the decision (A1, C4).

use std::ops::ControlFlow;

use super::sessions::{Waiter, Watch};
use super::{Outputs, Replica};
use crate::codec;
use crate::content::{Decision, HeldContent};
use crate::crypto::hash::Digest;
use crate::ids::{ClientRef, ContentHash, EntryId, OpId, RequestId, SpaceName, WatchId};
use crate::limits::{CANDIDATES_MAX, MOVED_MAX, PAGE_ENTRIES_MAX, REPLY_BYTES_MAX};
use crate::message::{Candidate, ReadRequest, Refused, ReplyBody, Since};
use crate::template::Template;

/// How willingly an entry is named: uncontested first, reserved for others last, never left out
/// (B8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Preference {
    Free,
    Contested,
    Reserved,
}

impl Replica {
    /// present entries that match, or "empty".
    pub(super) fn on_read(
        &mut self,
        from: ClientRef,
        request: RequestId,
        read: ReadRequest,
        out: &mut Outputs,
    ) {
        if let Some(refusal) = self.refuses_read(&from, request, &read) {
            return self.refuse(from, request, refusal, out);
        }
        let named = self.candidates(&from, &read);
        if read.mode.takes() {
            self.reserve_first(&from, &named);
        }
        let full = read.full == self.options.id;
        let is_empty = named.is_empty();
        let candidates = self.describe(&from, named.into_iter().map(|(_, c)| c), full);
        let (watch, moved) = match is_empty && !read.mode.waits() {
            true => self.watch(&from, &read),
            false => (None, Vec::new()),
        };
        // To a blocked `in` "nothing yet" promises nothing; kept back it would be overtaken by the hint
        // that comes after it, and the client would believe the later word.
        let hint = read.mode.takes() && (!is_empty || read.mode.waits());
        if read.mode.waits() {
            let ReadRequest {
                space,
                template,
                mode,
                ..
            } = read;
            self.sessions.wait(
                (from, request),
                Waiter {
                    space,
                    template,
                    mode,
                    full,
                },
            );
        }
        let body = ReplyBody::Found {
            candidates,
            watch,
            moved,
        };
        match hint {
            true => self.reply(from, request, body, out),
            false => self.promise(from, request, body),
        }
    }

    /// R-4.2d, round 2: whether it was empty ever since the watch began.
    pub(super) fn on_still_empty(
        &mut self,
        from: ClientRef,
        request: RequestId,
        watch: WatchId,
        nonce: u64,
        stable: &[OpId],
        out: &mut Outputs,
    ) {
        let known = self.sessions.watch_of(&from, watch).cloned();
        let (since, moved) = match known {
            None => (Since::NoSuchWatch, Vec::new()),
            Some(watch) if watch.broken && !mutant!(WatchNotBroken) => (Since::No, Vec::new()),
            Some(watch) => {
                let (space, takes) = (&watch.space, watch.mode.takes());
                match self.moved(&from, space, &watch.template, takes, stable) {
                    Some(moved) => (Since::Yes, moved),
                    None => (Since::No, Vec::new()),
                }
            }
        };
        let depends = !moved.is_empty();
        let body = ReplyBody::EmptySince {
            nonce,
            watch,
            since,
            moved,
        };
        match depends {
            true => self.promise(from, request, body),
            false => self.reply(from, request, body, out),
        }
    }

    /// one page of all entries that match.
    pub(super) fn on_list(
        &mut self,
        from: ClientRef,
        request: RequestId,
        space: &SpaceName,
        template: &Template,
        after: Option<Digest>,
        out: &mut Outputs,
    ) {
        if let Err(error) = template.check() {
            return self.refuse(from, request, Refused::IllFormed(error.to_string()), out);
        }
        let page = self.store.page(space, template, after, PAGE_ENTRIES_MAX);
        let is_last = page.len() < PAGE_ENTRIES_MAX;
        let mut next = None;
        let mut bytes = 0;
        let mut candidates = Vec::new();
        for (ring, id, hash) in page {
            if bytes > REPLY_BYTES_MAX {
                break;
            }
            next = Some(ring);
            let visible = self
                .store
                .content(&id, &hash)
                .filter(|content| self.may(&from, content, false));
            if visible.is_some() {
                let described = self.describe(&from, [(id, hash)].into_iter(), true);
                bytes += described.iter().map(codec::encoded_len).sum::<usize>();
                candidates.extend(described);
            }
        }
        let next = next.filter(|_| !is_last || bytes > REPLY_BYTES_MAX);
        self.promise(from, request, ReplyBody::Page { candidates, next });
    }

    /// An entry as it is told to this client.
    pub(super) fn describe(
        &self,
        client: &ClientRef,
        named: impl Iterator<Item = (EntryId, ContentHash)>,
        full: bool,
    ) -> Vec<Candidate> {
        let mut bytes = 0;
        let mut candidate = |(id, hash): (EntryId, ContentHash)| {
            let is_told = full && bytes < REPLY_BYTES_MAX;
            let content = is_told.then(|| self.store.content(&id, &hash)).flatten();
            let content = content.map(|content| content.to_wire());
            bytes += content.as_ref().map_or(0, codec::encoded_len);
            let status = self.status(&id, &hash, *client);
            Candidate {
                id,
                hash,
                full: content,
                status,
            }
        };
        named.map(&mut candidate).collect()
    }

    pub(super) fn refuses_read(
        &self,
        from: &ClientRef,
        request: RequestId,
        read: &ReadRequest,
    ) -> Option<Refused> {
        if let Err(error) = read.template.check() {
            return Some(Refused::IllFormed(error.to_string()));
        }
        let policy = self.options.configuration.policy();
        if policy.forbids_space(&from.key, &read.space, read.mode.takes()) {
            let what = if read.mode.takes() {
                "take from"
            } else {
                "read"
            };
            return Some(Refused::Forbidden(format!(
                "no right to {what} space {}",
                read.space
            )));
        }
        let limit = self.options.limits.waiters_per_session;
        let is_new = self.sessions.waiter(&(*from, request)).is_none();
        let full = read.mode.waits() && is_new && self.sessions.waiters_of(from) >= limit;
        full.then(|| Refused::Limit(format!("{limit} blocked operations of one session")))
    }

    /// Names free entries as far as there are enough of them, then others.
    fn candidates(
        &mut self,
        from: &ClientRef,
        read: &ReadRequest,
    ) -> Vec<(Preference, (EntryId, ContentHash))> {
        let mut start = Digest([0; 32]);
        start.0[..8].copy_from_slice(&read.start.to_be_bytes());
        let limit = usize::from(read.candidates).clamp(1, CANDIDATES_MAX);
        let (policy, takes) = (self.options.configuration.policy(), read.mode.takes());
        let (sessions, now) = (&self.sessions, self.now);
        let (mut named, mut free) = (Vec::new(), 0);
        self.store
            .visit_matches(&read.space, &read.template, start, |found| {
                let reserved = match takes {
                    true => sessions.reserved_for(&found.id, now),
                    false => None,
                };
                let elsewhere = reserved.is_some_and(|(client, _)| client != *from);
                let access = found.access.as_ref();
                let is_hidden = elsewhere && mutant!(ReservationHides);
                if policy.may(&from.key, &read.space, access, takes) && !is_hidden {
                    let preference = match found.is_contested {
                        _ if elsewhere => Preference::Reserved,
                        true => Preference::Contested,
                        false => Preference::Free,
                    };
                    free += usize::from(preference == Preference::Free);
                    named.push((preference, (found.id, found.held.hash())));
                }
                match free < limit {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
        named.sort_by_key(|(preference, _)| *preference);
        named.truncate(limit);
        named
    }

    /// reserves the first free entry; of those reserved for others the client hears again when
    /// the reservation ends, if it waits.
    fn reserve_first(&mut self, from: &ClientRef, named: &[(Preference, (EntryId, ContentHash))]) {
        let until = self.now + self.options.reservation;
        if let Some((Preference::Free, (id, _))) = named.first() {
            self.sessions.reserve(id, *from, self.now, until);
        }
        let reserved = named.iter().filter(|(p, _)| *p == Preference::Reserved);
        for (_, (id, _)) in reserved {
            let ends = self
                .sessions
                .reserved_for(id, self.now)
                .map_or(until, |(_, end)| end);
            self.sessions.want(id);
            self.hint_at(id, ends);
        }
    }

    /// Begins a watch. More moved entries than fit are told as "not empty", without one.
    fn watch(&mut self, from: &ClientRef, read: &ReadRequest) -> (Option<WatchId>, Vec<Decision>) {
        let takes = read.mode.takes();
        let Some(moved) = self.moved(from, &read.space, &read.template, takes, &[]) else {
            return (None, Vec::new());
        };
        let watch = Watch {
            client: *from,
            space: read.space.clone(),
            template: read.template.clone(),
            mode: read.mode,
            broken: false,
        };
        (self.sessions.watch(watch), moved)
    }

    /// R-4.2e: decisions that removed entries this client would have seen, and are not known to be
    /// stable; `None` if they are more than one reply can hold.
    fn moved(
        &self,
        from: &ClientRef,
        space: &SpaceName,
        template: &Template,
        takes: bool,
        stable: &[OpId],
    ) -> Option<Vec<Decision>> {
        let sees = |content: &HeldContent| {
            template.matches(&content.tuple) && self.may(from, content, takes)
        };
        if mutant!(PlainEmpty) {
            return Some(Vec::new());
        }
        let matching = self
            .unstable(space)
            .filter(|unstable| unstable.contents.iter().any(sees))
            .filter(|unstable| !stable.contains(&unstable.decided.op()));
        let mut moved = Vec::new();
        let mut bytes = 0;
        for unstable in matching {
            let decision = unstable.decided.to_wire();
            bytes += codec::encoded_len(&decision);
            moved.push(decision);
            if moved.len() > MOVED_MAX || bytes > REPLY_BYTES_MAX {
                return None;
            }
        }
        Some(moved)
    }
}

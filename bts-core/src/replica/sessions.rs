//! What replicas keep for connected clients: blocked operations, watches and reservations. It ends
//! with the connection, and none of it matters for safety but the watches, which only ever say
//! less than they know.

use std::collections::{BTreeMap, BTreeSet};

use super::id_map::IdMap;
use super::index::TemplateIndex;
use crate::crypto::hash::{Domain, Hasher};
use crate::ids::{ClientRef, EntryId, PublicKey, RequestId, Session, SpaceName, WatchId};
use crate::limits::{
    RESERVATIONS_PER_SESSION_MAX, SESSIONS_PER_CLIENT_MAX, WATCHES_PER_SESSION_MAX,
};
use crate::message::ReadMode;
use crate::template::Template;
use crate::time::{Span, Time};

/// A blocked operation is named by its client and the request that registered it.
pub(super) type WaiterKey = (ClientRef, RequestId);

/// A blocked `rd` or `in`.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) space: SpaceName,
    pub(super) template: Template,
    pub(super) mode: ReadMode,
    /// Whether this replica was to answer in full.
    pub(super) full: bool,
}

/// "It was empty when this began, and has been since."
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) client: ClientRef,
    pub(super) space: SpaceName,
    pub(super) template: Template,
    pub(super) mode: ReadMode,
    pub(super) broken: bool,
}

#[derive(Debug)]
struct Reservation {
    client: ClientRef,
    until: Time,
    /// Whether another client asked for the entry meanwhile.
    wanted: bool,
}

#[derive(Debug, Default)]
struct SessionState {
    waiters: BTreeSet<RequestId>,
    watches: BTreeSet<WatchId>,
    reservations: BTreeSet<EntryId>,
}

/// All connected client sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<ClientRef, SessionState>,
    /// Sessions that left a moment ago, by key.
    left: BTreeMap<PublicKey, BTreeMap<Session, Time>>,
    waiters: BTreeMap<WaiterKey, Waiter>,
    waiters_of: BTreeMap<SpaceName, TemplateIndex<WaiterKey>>,
    watches: BTreeMap<WatchId, Watch>,
    watches_of: BTreeMap<SpaceName, TemplateIndex<WatchId>>,
    reservations: IdMap<Reservation>,
    next_watch: u64,
}

impl Sessions {
    /// No session; the first watch gets the number after this.
    pub(super) fn new(next_watch: u64) -> Self {
        Self {
            next_watch,
            ..Self::default()
        }
    }

    pub(super) fn connect(&mut self, client: ClientRef) {
        self.disconnect(client);
        self.sessions.insert(client, SessionState::default());
        if let Some(left) = self.left.get_mut(&client.key) {
            left.remove(&client.session);
        }
    }

    /// The last connection of a session ended; for so long it counts as present.
    pub(super) fn leave(&mut self, client: ClientRef, now: Time, lingers: Span) {
        self.disconnect(client);
        let left = self.left.entry(client.key).or_default();
        left.retain(|_, at| now.since(*at) < lingers);
        left.insert(client.session, now);
        if left.len() > SESSIONS_PER_CLIENT_MAX {
            let first = left.iter().min_by_key(|(_, at)| **at);
            let first = first.map(|(session, _)| *session);
            first.map(|first| left.remove(&first));
        }
    }

    /// Sessions of this key that are connected, or were a moment ago.
    pub(super) fn present(&self, key: &PublicKey, now: Time, lingers: Span) -> BTreeSet<Session> {
        let of = |session| ClientRef { key: *key, session };
        let all = of(Session(0))..=of(Session(u64::MAX));
        let connected = self.sessions.range(all);
        let connected = connected.map(|(client, _)| client.session);
        let left = self.left.get(key).into_iter().flatten();
        let left = left.filter(|(_, at)| now.since(**at) < lingers);
        connected.chain(left.map(|(session, _)| *session)).collect()
    }

    pub(super) fn disconnect(&mut self, client: ClientRef) {
        let Some(state) = self.sessions.remove(&client) else {
            return;
        };
        state
            .waiters
            .into_iter()
            .for_each(|request| self.unlist_waiter((client, request)));
        state
            .watches
            .into_iter()
            .for_each(|watch| self.unlist_watch(watch));
        for id in state.reservations {
            self.reservations.remove(&id);
        }
    }

    pub(super) fn is_connected(&self, client: &ClientRef) -> bool {
        self.sessions.contains_key(client)
    }

    pub(super) fn connected(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn waiters_of(&self, client: &ClientRef) -> usize {
        self.sessions
            .get(client)
            .map_or(0, |state| state.waiters.len())
    }

    /// Registers a blocked operation.
    pub(super) fn wait(&mut self, key: WaiterKey, waiter: Waiter) {
        let Some(state) = self.sessions.get_mut(&key.0) else {
            return;
        };
        if !state.waiters.insert(key.1) {
            self.unlist_waiter(key);
        }
        let index = self.waiters_of.entry(waiter.space.clone()).or_default();
        index.insert(&waiter.template, key);
        self.waiters.insert(key, waiter);
    }

    pub(super) fn cancel(&mut self, key: WaiterKey) {
        if let Some(state) = self.sessions.get_mut(&key.0) {
            state.waiters.remove(&key.1);
        }
        self.unlist_waiter(key);
    }

    pub(super) fn waiter(&self, key: &WaiterKey) -> Option<&Waiter> {
        self.waiters.get(key)
    }

    /// The blocked operations whose template matches.
    pub(super) fn waiters_for(
        &self,
        space: &SpaceName,
        tuple: &crate::tuple::Tuple,
    ) -> Vec<WaiterKey> {
        self.waiters_of
            .get(space)
            .map_or_else(Vec::new, |index| index.matching(tuple))
    }

    /// Begins a watch; the oldest of the session makes room.
    pub(super) fn watch(&mut self, watch: Watch) -> Option<WatchId> {
        let state = self.sessions.get_mut(&watch.client)?;
        self.next_watch = self.next_watch.wrapping_add(1);
        let id = WatchId(self.next_watch);
        state.watches.insert(id);
        let oldest =
            (state.watches.len() > WATCHES_PER_SESSION_MAX).then(|| state.watches.pop_first());
        let index = self.watches_of.entry(watch.space.clone()).or_default();
        index.insert(&watch.template, id);
        self.watches.insert(id, watch);
        oldest
            .flatten()
            .into_iter()
            .for_each(|oldest| self.unlist_watch(oldest));
        Some(id)
    }

    /// A watch, if it is this client's.
    pub(super) fn watch_of(&self, client: &ClientRef, id: WatchId) -> Option<&Watch> {
        self.watches
            .get(&id)
            .filter(|watch| watch.client == *client)
    }

    /// Breaks the watches that match an inserted tuple and that `sees` it.
    pub(super) fn break_watches(
        &mut self,
        space: &SpaceName,
        tuple: &crate::tuple::Tuple,
        sees: impl Fn(&Watch) -> bool,
    ) {
        let Some(index) = self.watches_of.get_mut(space) else {
            return;
        };
        for id in index.matching(tuple) {
            let Some(watch) = self.watches.get_mut(&id).filter(|watch| sees(watch)) else {
                continue;
            };
            watch.broken = true;
            index.remove(&watch.template, &id);
        }
        if index.is_empty() {
            self.watches_of.remove(space);
        }
    }

    /// For whom an entry is reserved.
    pub(super) fn reserved_for(&self, id: &EntryId, now: Time) -> Option<(ClientRef, Time)> {
        self.reservations
            .get(id)
            .filter(|held| held.until > now)
            .map(|held| (held.client, held.until))
    }

    /// Another client than the one that an entry is reserved for asked for it.
    pub(super) fn want(&mut self, id: &EntryId) {
        if let Some(held) = self.reservations.get_mut(id) {
            held.wanted = true;
        }
    }

    /// Reserves an entry until then. One reservation per client and entry; while others ask it is
    /// not renewable before they had as much time.
    pub(super) fn reserve(&mut self, id: &EntryId, client: ClientRef, now: Time, until: Time) {
        let Some(state) = self.sessions.get_mut(&client) else {
            return;
        };
        if let Some(held) = self.reservations.get(id) {
            let again = held.client == client && held.wanted;
            if held.until > now || (again && held.until + until.since(now) > now) {
                return;
            }
        }
        if state.reservations.len() >= RESERVATIONS_PER_SESSION_MAX {
            let is_over = |id: &&EntryId| {
                let held = self.reservations.get(id);
                held.is_none_or(|held| held.until <= now)
            };
            let over: Vec<_> = state.reservations.iter().filter(is_over).cloned().collect();
            for id in over {
                state.reservations.remove(&id);
                self.reservations.remove(&id);
            }
        }
        if state.reservations.len() >= RESERVATIONS_PER_SESSION_MAX {
            return;
        }
        self.unreserve(id);
        if let Some(state) = self.sessions.get_mut(&client) {
            state.reservations.insert(id.clone());
        }
        let reservation = Reservation {
            client,
            until,
            wanted: false,
        };
        self.reservations.insert(id.clone(), reservation);
    }

    /// Ends the reservation of an entry.
    pub(super) fn unreserve(&mut self, id: &EntryId) {
        if let Some(held) = self.reservations.remove(id)
            && let Some(state) = self.sessions.get_mut(&held.client)
        {
            state.reservations.remove(id);
        }
    }

    fn unlist_waiter(&mut self, key: WaiterKey) {
        let Some(waiter) = self.waiters.remove(&key) else {
            return;
        };
        if let Some(index) = self.waiters_of.get_mut(&waiter.space) {
            index.remove(&waiter.template, &key);
            if index.is_empty() {
                self.waiters_of.remove(&waiter.space);
            }
        }
    }

    fn unlist_watch(&mut self, id: WatchId) {
        let Some(watch) = self.watches.remove(&id) else {
            return;
        };
        if let Some(index) = self.watches_of.get_mut(&watch.space) {
            index.remove(&watch.template, &id);
            if index.is_empty() {
                self.watches_of.remove(&watch.space);
            }
        }
    }
}

/// In which order blocked `in`s are told of an entry: one of each key first, keys by `h(id, key)`,
/// then the second of each, and so on (B6, D4). Equal at all replicas, so that one waiter hears of
/// it from a quorum.
pub(super) fn telling_order(id: &EntryId, waiters: Vec<WaiterKey>) -> Vec<WaiterKey> {
    let encoded = crate::codec::encode(id);
    let hash = |part: &[u8], more: &[u64]| {
        let hasher = Hasher::new(Domain::WaiterOrder).part(&encoded).part(part);
        more.iter()
            .fold(hasher, |hasher, number| hasher.number(*number))
            .finish()
    };
    let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (client, request) in waiters {
        let of_key = by_key.entry(hash(&client.key.0, &[])).or_default();
        let turn = hash(&client.key.0, &[client.session.0, request.0]);
        of_key.push((turn, (client, request)));
    }
    let mut order: Vec<_> = Vec::new();
    for (key, mut of_key) in by_key {
        of_key.sort_unstable();
        order.extend(
            of_key
                .into_iter()
                .enumerate()
                .map(|(turn, (_, waiter))| (turn, key, waiter)),
        );
    }
    order.sort_unstable();
    order.into_iter().map(|(_, _, waiter)| waiter).collect()
}

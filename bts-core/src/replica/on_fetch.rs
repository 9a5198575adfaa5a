//! Asking for what is lacking, and giving what is held. Messages that
//! cannot be judged without it are kept, a bounded number per sender, and handled when it comes.

use std::collections::BTreeMap;

use super::on_timer::Timer;
use super::{Outgoing, Outputs, Principal, Replica};
use crate::ids::{ClientRef, EntryId, ReplicaId, RequestId};
use crate::limits::{FETCHES_MAX, STASHED_PER_PEER_MAX};
use crate::message::{ClientRequest, FetchKey, Given, PeerMessage, Removal, ReplyBody};
use crate::time::{Span, Time};

/// The first repetition of a fetch; each further one waits twice as long.
const FETCH_AGAIN: Span = Span::from_millis(100);
/// After so many repetitions the fetch is given up, until something asks for it again.
const FETCH_TRIES: u32 = 9;

/// A message kept until what it lacks is there.
#[derive(Clone, Debug)]
pub(super) enum Stashed {
    Peer(ReplicaId, PeerMessage),
    Client(ClientRef, ClientRequest),
}

impl Stashed {
    fn sender(&self) -> Principal {
        match self {
            Self::Peer(replica, _) => Principal::Replica(*replica),
            Self::Client(client, _) => Principal::Client(*client),
        }
    }
}

#[derive(Debug)]
struct Fetch {
    tries: u32,
    again_at: Time,
}

/// What is being asked for, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    open: BTreeMap<FetchKey, Fetch>,
    stashed: BTreeMap<EntryId, Vec<Stashed>>,
    stashed_of: BTreeMap<Principal, usize>,
}

impl Replica {
    /// Asks `from` at once, and all peers a while later.
    pub(super) fn want(&mut self, key: FetchKey, from: Option<ReplicaId>, out: &mut Outputs) {
        if !self.want_later(key.clone(), FETCH_AGAIN) {
            return;
        }
        match from {
            Some(peer) if peer != self.options.id => {
                self.send_peer(peer, PeerMessage::Fetch(key), out);
            }
            _ => self.send_peers(&PeerMessage::Fetch(key), out),
        }
    }

    /// Asks all peers after `delay`, should it still be lacking; true if it was not asked for yet.
    pub(super) fn want_later(&mut self, key: FetchKey, delay: Span) -> bool {
        let open = &mut self.fetches.open;
        if open.len() >= FETCHES_MAX || open.contains_key(&key) {
            return false;
        }
        let again_at = self.now + delay;
        open.insert(key.clone(), Fetch { tries: 0, again_at });
        self.timers.arm(Timer::Fetch(key), again_at);
        true
    }

    /// A fetch is due again.
    pub(super) fn on_fetch_timer(&mut self, key: &FetchKey, out: &mut Outputs) {
        let done = self.is_there(key);
        let Some(fetch) = self.fetches.open.get_mut(key) else {
            return;
        };
        if fetch.again_at > self.now {
            let at = fetch.again_at;
            return self.timers.arm(Timer::Fetch(key.clone()), at);
        }
        fetch.tries += 1;
        if done || fetch.tries > FETCH_TRIES {
            self.fetches.open.remove(key);
            return;
        }
        fetch.again_at = self.now + FETCH_AGAIN.doubled(fetch.tries);
        let at = fetch.again_at;
        self.timers.arm(Timer::Fetch(key.clone()), at);
        self.count("fetch");
        self.send_peers(&PeerMessage::Fetch(key.clone()), out);
    }

    pub(super) fn on_client_fetch(
        &mut self,
        from: ClientRef,
        request: RequestId,
        key: FetchKey,
        out: &mut Outputs,
    ) {
        let id = entry_of(&key);
        if self.store.is_removed(id) {
            return self.reply_over(from, request, id);
        }
        let readable = |slot: &super::store::Slot| {
            slot.contents
                .iter()
                .any(|content| self.may(&from, content, false))
        };
        let may = self.store.slot(id).is_some_and(readable);
        match self.given(&key).filter(|_| may) {
            Some(given) => self.promise(from, request, ReplyBody::Given(given)),
            None => self.reply(from, request, ReplyBody::NotHeld(key), out),
        }
    }

    pub(super) fn on_peer_fetch(&mut self, from: ReplicaId, key: FetchKey, out: &mut Outputs) {
        let id = entry_of(&key).clone();
        let message = match (self.store.decision(&id), self.given(&key)) {
            (Some(decided), _) => {
                let removal = Removal::Decision(decided.to_wire());
                PeerMessage::Removed { id, removal }
            }
            (None, Some(given)) => PeerMessage::Given(given),
            (None, None) => return self.send_peer(from, PeerMessage::NotHeld(key), out),
        };
        self.gate.promise(Outgoing::Peer(from, message));
    }

    /// What was asked for; what was not is ignored, or a peer could fill the store.
    pub(super) fn on_given(&mut self, from: ReplicaId, given: Given, out: &mut Outputs) {
        let by = Principal::Replica(from);
        match given {
            Given::Content(id, content) => {
                let asked = |key: &FetchKey| matches!(key, FetchKey::Content(of, _) if *of == id);
                if self.fetches.open.keys().any(asked) {
                    self.take_in(by, content, &id, out);
                }
            }
            Given::Release(id, _, certificate) => self.on_released(from, &id, certificate, out),
            Given::Take(_) => {}
        }
    }

    /// A client says that an entry reported here is gone [G5].
    pub(super) fn on_dropped(&mut self, id: &EntryId, out: &mut Outputs) {
        if self.store.slot(id).is_some() {
            self.want(FetchKey::Decision(id.clone()), None, out);
        }
    }

    /// Keeps a message until the entry `id` arrives or is removed.
    pub(super) fn stash(&mut self, id: &EntryId, message: Stashed) {
        let kept = self.fetches.stashed_of.entry(message.sender()).or_default();
        if *kept < STASHED_PER_PEER_MAX {
            *kept += 1;
            self.fetches
                .stashed
                .entry(id.clone())
                .or_default()
                .push(message);
        }
    }

    /// Handles what waited for this entry.
    pub(super) fn unstash(&mut self, id: &EntryId, out: &mut Outputs) {
        for message in self.fetches.stashed.remove(id).unwrap_or_default() {
            let sender = message.sender();
            if let Some(kept) = self.fetches.stashed_of.get_mut(&sender) {
                *kept -= 1;
                if *kept == 0 {
                    self.fetches.stashed_of.remove(&sender);
                }
            }
            match message {
                Stashed::Peer(from, message) => self.on_peer(from, message, out),
                Stashed::Client(from, message) => self.on_client(from, message, out),
            }
        }
    }

    fn is_there(&self, key: &FetchKey) -> bool {
        match key {
            FetchKey::Content(id, hash) => {
                self.store.is_removed(id) || self.store.content(id, hash).is_some()
            }
            FetchKey::Take(id, op) => {
                self.store.is_removed(id) || self.known_take(id, op).is_some()
            }
            FetchKey::Decision(id) => self.store.is_removed(id),
            FetchKey::Release(id, epoch) => {
                self.store.is_removed(id) || self.store.epoch(id) > *epoch
            }
        }
    }

    fn given(&self, key: &FetchKey) -> Option<Given> {
        match key {
            FetchKey::Content(id, hash) => {
                let content = self.store.content(id, hash)?;
                Some(Given::Content(id.clone(), content.to_wire()))
            }
            FetchKey::Take(id, op) => Some(Given::Take(self.known_take(id, op)?.signed().clone())),
            FetchKey::Decision(_) => None,
            FetchKey::Release(id, _) => {
                let bound = self.store.bound(id)?;
                let released = bound.released.as_ref()?;
                let epoch = released.statement().epoch;
                Some(Given::Release(
                    id.clone(),
                    epoch,
                    released.certificate().clone(),
                ))
            }
        }
    }
}

fn entry_of(key: &FetchKey) -> &EntryId {
    match key {
        FetchKey::Content(id, _)
        | FetchKey::Take(id, _)
        | FetchKey::Decision(id)
        | FetchKey::Release(id, _) => id,
    }
}

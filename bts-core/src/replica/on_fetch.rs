//! Asking for what is lacking, and giving what is held.

use std::collections::BTreeMap;

use super::on_timer::Timer;
use super::stash::Stashed;
use super::store::ReplicaSet;
use super::{Outgoing, Outputs, Principal, Replica};
use crate::content::HeldContent;
use crate::crypto::hash::Digest;
use crate::ids::{ClientRef, ContentHash, EntryId, Epoch, PublicKey, ReplicaId, RequestId};
use crate::limits::FETCHES_PER_SENDER_MAX;
use crate::message::{FetchKey, Given, PeerMessage, Removal, ReplyBody};
use crate::time::{Span, Time};

/// The first repetition of a fetch; each further one waits twice as long.
const FETCH_AGAIN: Span = Span::from_millis(100);
/// After so many repetitions a fetch is given up until something asks for it again, or goes on at
/// this pace.
const FETCH_TRIES: u32 = 9;

#[derive(Debug)]
struct Fetch {
    /// On whose account.
    by: Principal,
    tries: u32,
    again_at: Time,
    /// Of a decision: peers that have forgotten it.
    forgot: ReplicaSet,
}

/// What is being asked for.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    open: BTreeMap<FetchKey, Fetch>,
    /// How many on account of each peer or client key: none of them can use up the room of others.
    open_of: BTreeMap<PublicKey, usize>,
}

impl Fetches {
    /// A peer says of what is asked for that it has forgotten it; how many have said so.
    pub(super) fn claim(&mut self, key: &FetchKey, peer: ReplicaId) -> usize {
        let Some(fetch) = self.open.get_mut(key) else {
            return 0;
        };
        fetch.forgot.insert(peer);
        fetch.forgot.len()
    }
}

/// What became of the wish to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is planned now.
    New,
    /// It was asked for already.
    Before,
    /// There is no room on this account.
    NoRoom,
}

impl Replica {
    /// Asks the peer who made it necessary at once, and all a while later.
    pub(super) fn want(&mut self, key: FetchKey, by: Principal, out: &mut Outputs) {
        if self.want_later(key.clone(), by, FETCH_AGAIN) != Asked::New {
            return;
        }
        match by {
            Principal::Replica(peer) if peer != self.options.id => {
                self.send_peer(peer, PeerMessage::Fetch(key), out);
            }
            Principal::Replica(_) | Principal::Client(_) => {
                self.send_peers(&PeerMessage::Fetch(key), out);
            }
        }
    }

    /// Asks all peers after `delay`, should it still be lacking.
    pub(super) fn want_later(&mut self, key: FetchKey, by: Principal, delay: Span) -> Asked {
        if let Some(open) = self.fetches.open.get(&key) {
            let is_for_a_client = matches!(open.by, Principal::Client(_));
            if !is_for_a_client || matches!(by, Principal::Client(_)) {
                return Asked::Before;
            }
            self.close_fetch(&key);
        }
        let Some(account) = self.key_of(by) else {
            return Asked::NoRoom;
        };
        let count = self.fetches.open_of.entry(account).or_default();
        if *count >= FETCHES_PER_SENDER_MAX {
            return Asked::NoRoom;
        }
        *count += 1;
        let again_at = self.now + delay;
        let fetch = Fetch {
            by,
            tries: 0,
            again_at,
            forgot: ReplicaSet::default(),
        };
        self.fetches.open.insert(key.clone(), fetch);
        self.timers.arm(Timer::Fetch(key), again_at);
        Asked::New
    }

    /// Asks no more for this.
    pub(super) fn close_fetch(&mut self, key: &FetchKey) {
        let Some(fetch) = self.fetches.open.remove(key) else {
            return;
        };
        let Some(account) = self.key_of(fetch.by) else {
            return;
        };
        if let Some(count) = self.fetches.open_of.get_mut(&account) {
            *count -= 1;
            if *count == 0 {
                self.fetches.open_of.remove(&account);
            }
        }
        self.on_room();
    }

    /// Asks for the proof that this epoch has begun: that the one before it was released.
    pub(super) fn want_epoch(
        &mut self,
        by: Principal,
        id: &EntryId,
        epoch: Epoch,
        out: &mut Outputs,
    ) {
        if let Some(before) = epoch.0.checked_sub(1) {
            self.want(FetchKey::Release(id.clone(), Epoch(before)), by, out);
        }
    }

    /// True if more can be asked for on account of this peer.
    pub(super) fn has_room_for(&self, peer: ReplicaId) -> bool {
        let key = self.options.configuration.key_of(peer);
        let open = key.and_then(|key| self.fetches.open_of.get(&key));
        open.is_none_or(|count| *count < FETCHES_PER_SENDER_MAX)
    }

    /// Asks a peer that was out of reach for all that is lacking.
    pub(super) fn ask_anew(&mut self, peer: ReplicaId, out: &mut Outputs) {
        for key in self.fetches.open.keys() {
            out.send
                .push(Outgoing::Peer(peer, PeerMessage::Fetch(key.clone())));
        }
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
        fetch.tries = (fetch.tries + 1).min(FETCH_TRIES);
        // A peer that spoke of a decision does not do so again, so that is asked for until it
        // comes [G5]. Whoever needs anything else repeats what made it necessary.
        let by_peer = matches!(fetch.by, Principal::Replica(_));
        let for_good = by_peer && matches!(key, FetchKey::Decision(_));
        if done || (fetch.tries == FETCH_TRIES && !for_good) {
            return self.close_fetch(key);
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
        let readable = |content: HeldContent| self.may(&from, &content, false);
        let may = self.store.contents(id).any(readable);
        match self.given(&key).filter(|_| may) {
            Some(given) => self.promise(from, request, ReplyBody::Given(given)),
            None => self.reply(from, request, ReplyBody::NotHeld(key), out),
        }
    }

    pub(super) fn on_peer_fetch(&mut self, from: ReplicaId, key: FetchKey, out: &mut Outputs) {
        let id = entry_of(&key).clone();
        let message = match (self.removal(&id), self.given(&key)) {
            (Removal::Unknown, Some(given)) => PeerMessage::Given(given),
            (Removal::Unknown, None) => {
                return self.send_peer(from, PeerMessage::NotHeld(key), out);
            }
            (removal, _) => PeerMessage::Removed { id, removal },
        };
        self.gate.promise(Outgoing::Peer(from, message));
    }

    /// What was asked for; what was not is ignored, or a peer could fill the store.
    pub(super) fn on_given(&mut self, from: ReplicaId, given: Given, out: &mut Outputs) {
        let by = Principal::Replica(from);
        match given {
            Given::Content(id, content) => {
                let least = FetchKey::Content(id.clone(), ContentHash(Digest([0; 32])));
                let asked = self.fetches.open.range(least..).next();
                let is_asked = asked
                    .is_some_and(|(key, _)| matches!(key, FetchKey::Content(of, _) if *of == id));
                if is_asked || self.is_compared(from, &id) {
                    self.take_in(by, content, &id, out);
                    self.note_answer(from);
                }
            }
            Given::Release(id, _, certificate) => self.on_released(from, &id, certificate, out),
            Given::Take(_) => {}
        }
    }

    /// A client says that an entry reported here is gone (G5).
    pub(super) fn on_dropped(&mut self, from: ClientRef, id: &EntryId, out: &mut Outputs) {
        if self.store.is_known(id) && !mutant!(MissedDecideNotAsked) {
            let key = FetchKey::Decision(id.clone());
            self.want(key, Principal::Client(from), out);
        }
    }

    /// Keeps a message about a put until its origin was applied, and asks for how it was (C6).
    pub(super) fn stash_below(&mut self, origin: EntryId, message: Stashed, out: &mut Outputs) {
        let by = message.sender();
        self.stash.keep(&origin, message);
        self.want(FetchKey::Decision(origin), by, out);
    }

    /// Handles what waited for entries that came or ended.
    pub(super) fn on_stashed(&mut self, out: &mut Outputs) {
        while let Some(message) = self.stash.next() {
            match message {
                Stashed::Peer(from, message) => self.on_peer(from, message, out),
                Stashed::Client(from, message) => self.on_client(from, message, out),
            }
        }
    }

    fn is_there(&self, key: &FetchKey) -> bool {
        match key {
            FetchKey::Content(id, hash) => self.store.is_removed(id) || self.store.holds(id, hash),
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

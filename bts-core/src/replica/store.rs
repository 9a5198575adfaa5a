//! The durable state of a replica: present entries (the paper's `T_s`), removed ones (`R_s`), what
//! it bound itself to in their instances, and decisions. [`Store::apply`] is its only writer, live
//! and in replay; it also knows which records it makes obsolete.

mod admits;
mod forget;
mod removed;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::index::{Indexed, Place, SpaceIndex};
use super::outputs::Obsolete;
use super::record::Change;
use crate::codec;
use crate::consensus::instance::Instance;
use crate::consensus::promise::SignedPromise;
use crate::content::{DecidedTake, HeldContent, Source, TakePayload};
use crate::crypto::hash::{Digest, Domain, Hasher};
use crate::crypto::verified::{ValidCertificate, Verified};
use crate::ids::{
    Ballot, ClientRef, ContentHash, EntryId, Epoch, Lsn, OpId, PublicKey, SpaceName, TakeNumber,
};
use crate::limits::SCAN_MAX;
use crate::template::Template;

pub(super) use admits::Admitted;
use removed::Removed;
pub(super) use removed::{Kept, ReplicaSet};

/// A present entry, or one of which only an instance is known.
#[derive(Debug)]
pub(super) struct Slot {
    /// Place on the ring.
    pub(super) ring: Digest,
    /// Its contents; more than one convict its writer.
    pub(super) contents: Vec<HeldContent>,
    /// What the replica bound itself to; `None` as long as that is nothing.
    pub(super) bound: Option<Box<BoundTo>>,
    /// The records of the contents that were written; puts stand in that of their decision.
    logged: Vec<Lsn>,
}

/// What a replica bound itself to in the current epoch of an entry.
#[derive(Debug, Default)]
pub(super) struct BoundTo {
    /// The epoch.
    pub(super) epoch: Epoch,
    /// The certificate that the epoch before was released.
    pub(super) released: Option<ValidCertificate>,
    /// The acceptor.
    pub(super) instance: Instance,
    /// The Take of the first vote.
    pub(super) first: Option<Verified<TakePayload>>,
    /// The Take that came with the lock.
    pub(super) locked: Option<Verified<TakePayload>>,
    /// The latest promise, repeated as it is, with the Takes it was sent with.
    pub(super) promise: Option<(SignedPromise, Vec<Verified<TakePayload>>)>,
    /// The records of all this.
    logged: Vec<Lsn>,
}

impl Slot {
    pub(super) fn epoch(&self) -> Epoch {
        self.bound.as_ref().map_or(Epoch(0), |bound| bound.epoch)
    }

    pub(super) fn content(&self, hash: &ContentHash) -> Option<&HeldContent> {
        self.contents.iter().find(|content| content.hash == *hash)
    }

    /// True if somebody may be about to take it.
    pub(super) fn is_contested(&self) -> bool {
        self.bound
            .as_ref()
            .is_some_and(|bound| !bound.instance.is_untouched())
    }

    fn bound_mut(&mut self) -> &mut BoundTo {
        self.bound.get_or_insert_default()
    }
}

/// The durable state.
#[derive(Debug, Default)]
pub(super) struct Store {
    slots: BTreeMap<EntryId, Slot>,
    spaces: BTreeMap<SpaceName, SpaceIndex>,
    removed: Removed,
    /// Present entries that are puts.
    live_puts: BTreeSet<EntryId>,
    /// Below which number the Takes of a session are settled, and the record that says so.
    settled: BTreeMap<ClientRef, (TakeNumber, Lsn)>,
    /// Contents present per writer key, and undecided first votes per client key.
    written: BTreeMap<PublicKey, usize>,
    open_votes: BTreeMap<PublicKey, usize>,
    live: u64,
    obsolete: Vec<Obsolete>,
    /// What the replica stopped for, for good.
    stopped: Option<Digest>,
}

impl Store {
    /// Applies one step, which has this number in the log. The caller has checked that it is
    /// allowed; what is asserted here would break agreement.
    pub(super) fn apply(&mut self, lsn: Lsn, change: &Change) {
        match change {
            Change::Entry(content) => self.insert(content.clone(), Some(lsn)),
            Change::FirstVote(take) => self.first_vote(lsn, take),
            Change::Entered(promise, takes) => {
                let payload = &promise.promise;
                let bound = self.slot_mut(&payload.id).bound_mut();
                assert_eq!(bound.epoch, payload.epoch, "a promise for another epoch");
                bound.logged.push(lsn);
                bound.instance.enter(payload.ballot);
                bound.promise = Some((promise.clone(), takes.clone()));
            }
            Change::Prepared(id, epoch, ballot, value) => {
                let bound = self.slot_mut(id).bound_mut();
                assert_eq!(bound.epoch, *epoch, "a prepare vote for another epoch");
                bound.logged.push(lsn);
                bound.instance.prepare_vote(*ballot, *value);
            }
            Change::Locked(lock, take) => {
                let bound = self.slot_mut(&lock.statement().id).bound_mut();
                assert_eq!(
                    bound.epoch,
                    lock.statement().epoch,
                    "a lock of another epoch"
                );
                bound.logged.push(lsn);
                bound.instance.lock(lock.clone());
                bound.locked = Some(take.clone());
            }
            Change::Decided(decided) => self.decide(lsn, decided),
            Change::Released(certificate) => self.release(lsn, certificate),
            Change::ForgotRoots(session, ranges) => self.forget_roots(lsn, session, ranges),
            Change::ForgotPut(id) => self.forget_put(lsn, id),
            Change::Skipped(id) => self.skip(id),
            Change::Settled(client, number) => self.settle(lsn, client, *number),
            Change::Stopped(purpose) => self.stopped = Some(*purpose),
        }
    }

    /// The records that became obsolete since this was asked last.
    pub(super) fn take_obsolete(&mut self) -> Vec<Obsolete> {
        std::mem::take(&mut self.obsolete)
    }

    /// Entries in whose current epoch the replica bound itself to something.
    pub(super) fn bound_ids(&self) -> impl Iterator<Item = &EntryId> {
        let contested = self.slots.iter().filter(|(_, slot)| slot.is_contested());
        contested.map(|(id, _)| id)
    }

    /// What the replica stopped for, if it did.
    pub(super) fn stopped(&self) -> Option<Digest> {
        self.stopped
    }

    /// Entries in which the replica bound itself, or of which it knows a release.
    pub(super) fn instances(&self) -> impl Iterator<Item = &EntryId> {
        let bound = self.slots.iter().filter(|(_, slot)| slot.bound.is_some());
        bound.map(|(id, _)| id)
    }

    /// The slot of an entry, if anything is known of it.
    pub(super) fn slot(&self, id: &EntryId) -> Option<&Slot> {
        self.slots.get(id)
    }

    /// The content, if the entry is present with it.
    pub(super) fn content(&self, id: &EntryId, hash: &ContentHash) -> Option<&HeldContent> {
        self.slots.get(id).and_then(|slot| slot.content(hash))
    }

    /// The acceptor's state in the current epoch of an entry.
    pub(super) fn bound(&self, id: &EntryId) -> Option<&BoundTo> {
        self.slots.get(id).and_then(|slot| slot.bound.as_deref())
    }

    /// The current epoch of an entry.
    pub(super) fn epoch(&self, id: &EntryId) -> Epoch {
        self.slots.get(id).map_or(Epoch(0), Slot::epoch)
    }

    /// The highest ballot promised in the current epoch.
    pub(super) fn promised(&self, id: &EntryId) -> Ballot {
        self.bound(id)
            .map_or(Ballot::ZERO, |bound| bound.instance.promised())
    }

    /// How an entry was removed, as long as that is kept.
    pub(super) fn decision(&self, id: &EntryId) -> Option<&Arc<DecidedTake>> {
        self.removed.kept(id).map(|kept| &kept.decided)
    }

    /// True if the entry was present, or would have been, and is gone for good.
    pub(super) fn is_removed(&self, id: &EntryId) -> bool {
        self.removed.contains(id, &self.live_puts)
    }

    /// Visits contents that match, along the ring from `start`, until the visitor has enough or a
    /// bounded number of them was seen.
    pub(super) fn visit_matches(
        &mut self,
        space: &SpaceName,
        template: &Template,
        start: Digest,
        mut visit: impl FnMut(&Slot, &HeldContent) -> ControlFlow<()>,
    ) {
        let Some(index) = self.spaces.get_mut(space) else {
            return;
        };
        for ((_, hash), indexed) in index.matches(template, start).take(SCAN_MAX) {
            let slot = self
                .slots
                .get(&indexed.id)
                .expect("what is indexed is present");
            let content = slot.content(&hash).expect("what is indexed is held");
            if visit(slot, content).is_break() {
                return;
            }
        }
    }

    /// One page of what matches, in ring order, after the place where the last page ended.
    pub(super) fn page(
        &mut self,
        space: &SpaceName,
        template: &Template,
        after: Option<Digest>,
        limit: usize,
    ) -> Vec<(Digest, EntryId, ContentHash)> {
        let Some(index) = self.spaces.get_mut(space) else {
            return Vec::new();
        };
        let start = after.unwrap_or(Digest([0; 32]));
        index
            .matches(template, start)
            .take_while(|((ring, _), _)| *ring >= start)
            .filter(|((ring, _), _)| after.is_none_or(|after| *ring > after))
            .map(|((ring, hash), indexed)| (ring, indexed.id.clone(), hash))
            .take(limit)
            .collect()
    }

    /// True if the entry is present.
    pub(super) fn is_live(&self, id: &EntryId) -> bool {
        self.slots
            .get(id)
            .is_some_and(|slot| !slot.contents.is_empty())
    }

    /// What is present of the entries after this one, in order.
    pub(super) fn live_after(
        &self,
        after: Option<&EntryId>,
    ) -> impl Iterator<Item = (&EntryId, &[HeldContent])> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = self.slots.range::<EntryId, _>((from, Bound::Unbounded));
        let contents = slots.map(|(id, slot)| (id, slot.contents.as_slice()));
        contents.filter(|(_, contents)| !contents.is_empty())
    }

    pub(super) fn written_by(&self, writer: &PublicKey) -> usize {
        self.written.get(writer).copied().unwrap_or(0)
    }

    pub(super) fn open_votes_of(&self, client: &PublicKey) -> usize {
        self.open_votes.get(client).copied().unwrap_or(0)
    }

    pub(super) fn entries(&self) -> u64 {
        self.live
    }

    pub(super) fn removed(&self) -> u64 {
        self.removed.kept_len() as u64
    }

    pub(super) fn space_sizes(&self) -> impl Iterator<Item = (&SpaceName, usize)> {
        self.spaces
            .iter()
            .map(|(name, index)| (name, index.len()))
            .filter(|(_, len)| *len > 0)
    }

    fn slot_mut(&mut self, id: &EntryId) -> &mut Slot {
        let new = || Slot {
            ring: ring_of(id),
            contents: Vec::new(),
            bound: None,
            logged: Vec::new(),
        };
        self.slots.entry(id.clone()).or_insert_with(new)
    }

    /// Makes a content present. A put comes without a record of its own, in the step that removes
    /// its origin: it cannot have been there before.
    fn insert(&mut self, content: HeldContent, logged: Option<Lsn>) {
        assert!(
            logged.is_none()
                || !self.is_removed(&content.id)
                || mutant!(RemovedNotKept)
                || mutant!(PutAlone),
            "a removed entry is never inserted: {content:?}"
        );
        if !content.id.is_root() {
            self.live_puts.insert(content.id.clone());
        }
        let owner = owner_of(&content);
        let place = self.place(&content.id, content.hash);
        let indexed = Indexed {
            id: content.id.clone(),
            tuple: content.tuple.clone(),
        };
        let slot = self.slot_mut(&content.id);
        if slot.content(&content.hash).is_some() {
            return;
        }
        let is_new = slot.contents.is_empty();
        slot.logged.extend(logged);
        let space = content.id.space().clone();
        slot.contents.push(content);
        self.live += u64::from(is_new);
        self.spaces.entry(space).or_default().insert(place, indexed);
        *self.written.entry(owner).or_default() += 1;
    }

    fn first_vote(&mut self, lsn: Lsn, take: &Verified<TakePayload>) {
        let bound = self.slot_mut(&take.id).bound_mut();
        assert_eq!(bound.epoch, take.epoch, "a first vote in another epoch");
        bound.logged.push(lsn);
        bound.instance.first_vote(take.op());
        bound.first = Some(take.clone());
        *self.open_votes.entry(take.client).or_default() += 1;
    }

    fn decide(&mut self, lsn: Lsn, decided: &Arc<DecidedTake>) {
        let id = decided.id();
        assert!(
            self.removed.kept(id).is_none(),
            "an entry is decided once: {id}"
        );
        if mutant!(OneContentRemoved) || mutant!(RemovalDropped) {
            return self.decide_but_keep(lsn, decided);
        }
        let mut contents = self.remove_slot(id);
        let puts = decided.puts();
        // Who asks for what it removed is told of the decision, until it is stable: after a restart
        // too (A1). A Take without puts is stable from the start.
        if puts.is_empty() {
            self.discard(std::mem::take(&mut contents));
        }
        self.removed.keep(decided, lsn, contents);
        for put in puts {
            // One that was skipped before its origin came stays away.
            if !self.removed.is_skipped(&put.id) {
                self.insert(put, None);
            }
        }
    }

    /// Decides and leaves something of the entry: its other contents, or all of them if others
    /// come in its place.
    fn decide_but_keep(&mut self, lsn: Lsn, decided: &Arc<DecidedTake>) {
        let (id, taken) = (decided.id(), decided.take().content);
        let all = mutant!(RemovalDropped) && !decided.take().puts.is_empty();
        if let Some(slot) = self.slots.get_mut(id) {
            let bound = slot.bound.take();
            let gone =
                |content: &HeldContent| !all && (content.hash == taken || mutant!(RemovalDropped));
            let place = slot.ring;
            let gone: Vec<_> = slot
                .contents
                .extract_if(.., |content| gone(content))
                .collect();
            let index = self.spaces.entry(id.space().clone()).or_default();
            gone.iter()
                .for_each(|content| index.remove((place, content.hash)));
            self.close_vote(bound.as_deref());
        }
        self.removed.keep(decided, lsn, Vec::new());
        let puts = decided.puts();
        puts.into_iter().for_each(|put| self.insert(put, None));
    }

    fn release(&mut self, lsn: Lsn, certificate: &ValidCertificate) {
        let statement = certificate.statement();
        let slot = self.slot_mut(&statement.id);
        assert!(statement.epoch >= slot.epoch(), "an epoch is released once");
        let before = slot.bound.take();
        slot.bound = Some(Box::new(BoundTo {
            epoch: Epoch(statement.epoch.0 + 1),
            released: Some(certificate.clone()),
            logged: vec![lsn],
            ..BoundTo::default()
        }));
        self.close_vote(before.as_deref());
        self.discard(before.map_or_else(Vec::new, |bound| bound.logged));
    }

    /// These records are not needed any more.
    pub(super) fn discard(&mut self, records: Vec<Lsn>) {
        let obsolete = records.into_iter().map(Obsolete::now);
        self.obsolete.extend(obsolete);
    }

    /// Removes what is present of an entry, and what the replica bound itself to; the records of its
    /// contents.
    fn remove_slot(&mut self, id: &EntryId) -> Vec<Lsn> {
        self.live_puts.remove(id);
        let Some(slot) = self.slots.remove(id) else {
            return Vec::new();
        };
        self.close_vote(slot.bound.as_deref());
        self.live -= u64::from(!slot.contents.is_empty());
        for content in &slot.contents {
            let index = self.spaces.get_mut(id.space());
            let index = index.expect("a content is indexed");
            index.remove((slot.ring, content.hash));
            lower(&mut self.written, &owner_of(content));
        }
        self.discard(slot.bound.map_or_else(Vec::new, |bound| bound.logged));
        slot.logged
    }

    fn close_vote(&mut self, bound: Option<&BoundTo>) {
        if let Some(first) = bound.and_then(|bound| bound.first.as_ref()) {
            lower(&mut self.open_votes, &first.client);
        }
    }

    fn place(&self, id: &EntryId, hash: ContentHash) -> Place {
        (
            self.slots
                .get(id)
                .map_or_else(|| ring_of(id), |slot| slot.ring),
            hash,
        )
    }
}

impl BoundTo {
    /// The Takes this replica bound itself to, by op.
    pub(super) fn take(&self, op: &OpId) -> Option<&Verified<TakePayload>> {
        self.first
            .iter()
            .chain(&self.locked)
            .find(|take| take.op() == *op)
    }
}

/// Whom a content is charged to: its writer, or the taker whose Take put it.
fn owner_of(content: &HeldContent) -> PublicKey {
    match &content.source {
        Source::Entry(entry) => entry.signer(),
        Source::Put(decided) => decided.take().client,
    }
}

fn lower(counts: &mut BTreeMap<PublicKey, usize>, key: &PublicKey) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn ring_of(id: &EntryId) -> Digest {
    Hasher::new(Domain::Ring).part(&codec::encode(id)).finish()
}

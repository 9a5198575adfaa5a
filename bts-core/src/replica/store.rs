//! The durable state of a replica: present entries (the paper's `T_s`), removed ones (`R_s`), what
//! it bound itself to in their instances, and decisions. [`Store::apply`] is its only writer, live
//! and in replay; it also knows which records it makes obsolete.

mod admits;
mod ended;
mod forget;
mod held;
mod present;
mod removed;
mod skipped;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::id_map::IdMap;
use super::index::{Placed, Shape};
use super::outputs::Obsolete;
use super::record::Change;
use crate::consensus::instance::Instance;
use crate::consensus::promise::SignedPromise;
use crate::content::{Access, DecidedTake, HeldContent, TakePayload};
use crate::crypto::hash::{Digest, Domain, Hasher};
use crate::crypto::verified::{ValidCertificate, Verified};
use crate::ids::{
    Ballot, ClientRef, ContentHash, EntryId, Epoch, Lsn, OpId, PublicKey, SpaceName, TakeNumber,
};
use crate::limits::SCAN_MAX;
use crate::template::Template;

pub(super) use admits::Admitted;
use ended::Ends;
pub(super) use held::{Held, PackedRoot};
use present::Present;
use removed::Removed;
pub(super) use removed::{Kept, ReplicaSet};

/// A present content that matches a template.
pub(super) struct Match<'a> {
    pub(super) id: EntryId,
    pub(super) held: &'a Held,
    pub(super) access: Option<Access>,
    /// Whether somebody may be about to take its entry.
    pub(super) is_contested: bool,
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

/// The durable state.
#[derive(Debug, Default)]
pub(super) struct Store {
    present: Present,
    /// Entries in which the replica bound itself, or of which it knows a release.
    bound: IdMap<Box<BoundTo>>,
    removed: Removed,
    /// Present entries that are puts.
    live_puts: BTreeSet<EntryId>,
    /// Below which number the Takes of a session are settled, and the record that says so.
    settled: BTreeMap<ClientRef, (TakeNumber, Lsn)>,
    ends: Ends,
    /// Contents present per writer key, and undecided first votes per client key.
    written: BTreeMap<PublicKey, usize>,
    open_votes: BTreeMap<PublicKey, usize>,
    obsolete: Vec<Obsolete>,
    /// What the replica stopped for, for good.
    stopped: Option<Digest>,
}

impl Store {
    /// Applies one step, which has this number in the log. The caller has checked that it is
    /// allowed; what is asserted here would break agreement.
    pub(super) fn apply(&mut self, lsn: Lsn, change: &Change) {
        match change {
            Change::Entry(content) => self.insert(content, Some(lsn)),
            Change::FirstVote(take) => self.first_vote(lsn, take),
            Change::Entered(promise, takes) => {
                let payload = &promise.promise;
                let bound = self.bound_mut(&payload.id);
                assert_eq!(bound.epoch, payload.epoch, "a promise for another epoch");
                bound.logged.push(lsn);
                bound.instance.enter(payload.ballot);
                bound.promise = Some((promise.clone(), takes.clone()));
            }
            Change::Prepared(id, epoch, ballot, value) => {
                let bound = self.bound_mut(id);
                assert_eq!(bound.epoch, *epoch, "a prepare vote for another epoch");
                bound.logged.push(lsn);
                bound.instance.prepare_vote(*ballot, *value);
            }
            Change::Locked(lock, take) => {
                let bound = self.bound_mut(&lock.statement().id);
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
            Change::Ended(end) => self.end_session(lsn, end.session()),
            Change::Stopped(purpose) => self.stopped = Some(*purpose),
        }
    }

    /// Records of a log are applied from here on, until [`Store::end_replay`]; nothing is looked up by
    /// template meanwhile.
    pub(super) fn begin_replay(&mut self) {
        self.present.begin_loading();
    }

    /// Makes an entry of the log present, which [`Store::admits_entry`] admitted.
    pub(super) fn load(&mut self, lsn: Lsn, entry: PackedRoot) {
        if let Some(held) = self.present.load(entry, lsn) {
            *self.written.entry(held.owner()).or_default() += 1;
        }
    }

    /// The log was applied.
    pub(super) fn end_replay(&mut self) {
        self.present.end_loading();
    }

    /// The records that became obsolete since this was asked last.
    pub(super) fn take_obsolete(&mut self) -> Vec<Obsolete> {
        std::mem::take(&mut self.obsolete)
    }

    /// Entries in whose current epoch the replica bound itself to something.
    pub(super) fn bound_ids(&self) -> impl Iterator<Item = &EntryId> {
        let contested = |bound: &BoundTo| !bound.instance.is_untouched();
        let bound = self.bound.iter().filter(move |(_, bound)| contested(bound));
        bound.map(|(id, _)| id)
    }

    /// What the replica stopped for, if it did.
    pub(super) fn stopped(&self) -> Option<Digest> {
        self.stopped
    }

    /// Entries in which the replica bound itself, or of which it knows a release.
    pub(super) fn instances(&self) -> impl Iterator<Item = &EntryId> {
        self.bound.keys()
    }

    /// True if the entry is present, or something is known of an instance of it.
    pub(super) fn is_known(&self, id: &EntryId) -> bool {
        self.bound.contains_key(id) || self.present.has(id)
    }

    /// True if somebody may be about to take the entry.
    pub(super) fn is_contested(&self, id: &EntryId) -> bool {
        self.bound(id)
            .is_some_and(|bound| !bound.instance.is_untouched())
    }

    /// The contents of an entry, in the order in which they came; more than one convict its writer.
    pub(super) fn contents(&self, id: &EntryId) -> impl Iterator<Item = HeldContent> {
        self.present.of(id).map(Held::content)
    }

    /// Their hashes.
    pub(super) fn hashes(&self, id: &EntryId) -> impl DoubleEndedIterator<Item = ContentHash> {
        self.present.of(id).map(Held::hash)
    }

    /// True if the entry is present with this content.
    pub(super) fn holds(&self, id: &EntryId, hash: &ContentHash) -> bool {
        self.present.find(id, hash).is_some()
    }

    /// The content, if the entry is present with it.
    pub(super) fn content(&self, id: &EntryId, hash: &ContentHash) -> Option<HeldContent> {
        self.present.find(id, hash).map(Held::content)
    }

    /// Who may read and take the entry with this content, if it is present with it.
    pub(super) fn access(&self, id: &EntryId, hash: &ContentHash) -> Option<Option<Access>> {
        self.present.find(id, hash).map(|held| held.body().1)
    }

    /// The acceptor's state in the current epoch of an entry.
    pub(super) fn bound(&self, id: &EntryId) -> Option<&BoundTo> {
        self.bound.get(id).map(|bound| &**bound)
    }

    /// The current epoch of an entry.
    pub(super) fn epoch(&self, id: &EntryId) -> Epoch {
        self.bound(id).map_or(Epoch(0), |bound| bound.epoch)
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

    /// True if there is an index of what matches, or one look at `slice` entries makes it.
    pub(super) fn is_indexed(
        &mut self,
        space: &SpaceName,
        template: &Template,
        slice: usize,
    ) -> bool {
        let index = self.present.index_of(space);
        index.is_none_or(|index| index.is_made(template, slice))
    }

    /// Goes on with an index; true if it is there.
    pub(super) fn index_more(&mut self, space: &SpaceName, shape: &Shape, slice: usize) -> bool {
        let index = self.present.index_of(space);
        index.is_none_or(|index| index.make(shape, slice))
    }

    /// Visits contents that match, along the ring from `start`, until the visitor has enough or a
    /// bounded number of them was seen.
    pub(super) fn visit_matches(
        &mut self,
        space: &SpaceName,
        template: &Template,
        start: Digest,
        mut visit: impl FnMut(Match<'_>) -> ControlFlow<()>,
    ) {
        let Some(index) = self.present.index_of(space) else {
            return;
        };
        for held in index.matches(template, start).take(SCAN_MAX) {
            let (tuple, access) = held.body();
            if !template.matches(&tuple) {
                continue;
            }
            let id = held.id();
            let bound = self.bound.get(&id);
            let found = Match {
                is_contested: bound.is_some_and(|bound| !bound.instance.is_untouched()),
                id,
                held,
                access,
            };
            if visit(found).is_break() {
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
        let Some(index) = self.present.index_of(space) else {
            return Vec::new();
        };
        let start = after.unwrap_or(Digest([0; 32]));
        index
            .matches(template, start)
            .map(|held| (held.place(), held))
            .take_while(|((ring, _), _)| *ring >= start)
            .filter(|((ring, _), _)| after.is_none_or(|after| *ring > after))
            .filter(|(_, held)| template.matches(&held.tuple()))
            .map(|((ring, hash), held)| (ring, held.id(), hash))
            .take(limit)
            .collect()
    }

    /// True if the entry is present.
    pub(super) fn is_live(&self, id: &EntryId) -> bool {
        self.present.has(id)
    }

    /// What is present of the entries after this one, in order.
    pub(super) fn live_after(
        &self,
        after: Option<&EntryId>,
    ) -> impl Iterator<Item = (EntryId, Vec<&Held>)> {
        self.present.after(after)
    }

    pub(super) fn written_by(&self, writer: &PublicKey) -> usize {
        self.written.get(writer).copied().unwrap_or(0)
    }

    pub(super) fn open_votes_of(&self, client: &PublicKey) -> usize {
        self.open_votes.get(client).copied().unwrap_or(0)
    }

    pub(super) fn entries(&self) -> u64 {
        self.present.entries()
    }

    pub(super) fn removed(&self) -> u64 {
        self.removed.kept_len() as u64
    }

    pub(super) fn space_sizes(&self) -> impl Iterator<Item = (&SpaceName, usize)> {
        self.present.space_sizes()
    }

    fn bound_mut(&mut self, id: &EntryId) -> &mut BoundTo {
        self.bound.get_or_insert_with(id, Box::default)
    }

    /// Makes a content present. A put comes without a record of its own, in the step that removes
    /// its origin: it cannot have been there before.
    fn insert(&mut self, content: &HeldContent, logged: Option<Lsn>) {
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
        if let Some(held) = self.present.insert(content, logged) {
            *self.written.entry(held.owner()).or_default() += 1;
        }
    }

    fn first_vote(&mut self, lsn: Lsn, take: &Verified<TakePayload>) {
        let bound = self.bound_mut(&take.id);
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
        self.ends.on_kept(decided.take().taker());
        for put in puts {
            // One that was skipped before its origin came stays away.
            if !self.removed.is_skipped(&put.id) {
                self.insert(&put, None);
            }
        }
    }

    /// Decides and leaves something of the entry: its other contents, or all of them if others
    /// come in its place.
    fn decide_but_keep(&mut self, lsn: Lsn, decided: &Arc<DecidedTake>) {
        let (id, taken) = (decided.id(), decided.take().content);
        let all = mutant!(RemovalDropped) && !decided.take().puts.is_empty();
        let bound = self.bound.remove(id);
        self.close_vote(bound.as_deref());
        self.present.remove_if(id, |held| {
            !all && (held.hash() == taken || mutant!(RemovalDropped))
        });
        self.removed.keep(decided, lsn, Vec::new());
        self.ends.on_kept(decided.take().taker());
        let puts = decided.puts();
        puts.iter().for_each(|put| self.insert(put, None));
    }

    fn release(&mut self, lsn: Lsn, certificate: &ValidCertificate) {
        let statement = certificate.statement();
        assert!(
            statement.epoch >= self.epoch(&statement.id),
            "an epoch is released once"
        );
        let bound = Box::new(BoundTo {
            epoch: Epoch(statement.epoch.0 + 1),
            released: Some(certificate.clone()),
            logged: vec![lsn],
            ..BoundTo::default()
        });
        let before = self.bound.insert(statement.id.clone(), bound);
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
        if let Some(bound) = self.bound.remove(id) {
            self.close_vote(Some(&bound));
            self.discard(bound.logged);
        }
        let gone = self.present.remove(id);
        for held in &gone {
            lower(&mut self.written, &held.owner());
        }
        gone.iter().filter_map(|held| held.logged).collect()
    }

    fn close_vote(&mut self, bound: Option<&BoundTo>) {
        if let Some(first) = bound.and_then(|bound| bound.first.as_ref()) {
            lower(&mut self.open_votes, &first.client);
        }
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

fn lower(counts: &mut BTreeMap<PublicKey, usize>, key: &PublicKey) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn ring_of(encoded_id: &[u8]) -> Digest {
    Hasher::new(Domain::Ring).part(encoded_id).finish()
}

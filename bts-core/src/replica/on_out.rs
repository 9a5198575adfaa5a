//! Entries come in: by their writer's `out`, by a reader's write-back, relayed by a peer, fetched,
//! or along with a Take (R-4.1, R-4.2b). To hold is to have inserted (G9g).

use std::sync::Arc;

use super::record::Change;
use super::{Outputs, Principal, Replica};
use crate::content::{Content, EntryPayload, HeldContent, Outcome, Source};
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::{Verified, Verifier};
use crate::ids::{ClientRef, ContentHash, EntryId, ReplicaId, RequestId};
use crate::limits::CONTENTS_PER_ID_MAX;
use crate::message::{PeerMessage, Refused, ReplyBody};
use crate::misbehavior::Evidence;

impl Replica {
    /// verify, log, insert, acknowledge. A removed id is acknowledged all the same, or a
    /// writer whose entry was taken early would never return.
    pub(super) fn on_out(
        &mut self,
        from: ClientRef,
        request: RequestId,
        entry: SignedBytes,
        out: &mut Outputs,
    ) {
        let entry = match self.verifier.entry(entry) {
            Ok(entry) => entry,
            Err(forgery) => return self.blame_client(from, request, forgery, out),
        };
        if entry.signer() != from.key {
            let why = "an out is sent by the writer of its entry".to_owned();
            return self.refuse(from, request, Refused::IllFormed(why), out);
        }
        if !self.may_insert(&entry) {
            let why = format!("no right to write into space {}", entry.id.space());
            return self.refuse(from, request, Refused::Forbidden(why), out);
        }
        let limit = self.options.limits.live_contents_per_writer;
        if !self.is_settled(&entry) && self.store.written_by(&from.key) >= limit {
            let why = format!("{limit} entries of this writer are present");
            return self.refuse(from, request, Refused::Limit(why), out);
        }
        let contents = self.store.hashes(&entry.id).count();
        if !self.is_settled(&entry) && contents >= CONTENTS_PER_ID_MAX {
            let why = format!("{CONTENTS_PER_ID_MAX} contents signed for {}", entry.id);
            return self.refuse(from, request, Refused::Limit(why), out);
        }
        self.insert(HeldContent::from_entry(entry), out);
        self.promise(from, request, ReplyBody::Ack);
    }

    /// R-4.2b: what a reader found at fewer than `q` replicas. Not refused for any limit in
    /// this version (G8); what it stores it sends on.
    pub(super) fn on_write_back(
        &mut self,
        from: ClientRef,
        request: RequestId,
        entry: SignedBytes,
        out: &mut Outputs,
    ) {
        let entry = match self.verifier.entry(entry) {
            Ok(entry) => entry,
            Err(forgery) => return self.blame_client(from, request, forgery, out),
        };
        if !self.may_insert(&entry) {
            let why = format!("its writer may not write into space {}", entry.id.space());
            return self.refuse(from, request, Refused::Forbidden(why), out);
        }
        let (id, hash) = (entry.id.clone(), ContentHash(entry.leaf()));
        if !self.is_settled(&entry) {
            self.count("write-back stored");
            let signed = entry.signed().clone();
            self.insert(HeldContent::from_entry(entry), out);
            self.promise_peers(&PeerMessage::Relay { entry: signed });
        }
        self.reply_status(from, request, &id, hash);
    }

    /// An entry that a peer got by a write-back.
    pub(super) fn on_relay(&mut self, from: ReplicaId, entry: SignedBytes, out: &mut Outputs) {
        match self.verifier.entry(entry) {
            Ok(entry) if self.may_insert(&entry) => {
                self.insert(HeldContent::from_entry(entry), out);
            }
            Ok(_) => {}
            Err(forgery) => self.blame(Principal::Replica(from), forgery, out),
        }
    }

    /// A content that came with something else: true if it is held afterwards, or its entry gone.
    pub(super) fn take_in(
        &mut self,
        by: Principal,
        content: Content,
        id: &EntryId,
        out: &mut Outputs,
    ) -> bool {
        let unchecked = || Verifier::of_own_log(self.options.configuration.clone());
        let verified = match mutant!(GivenUnverified) {
            true => unchecked().content(content, id),
            false => self.verifier.content(content, id),
        };
        let held = match verified {
            Ok(held) => held,
            Err(forgery) => {
                self.blame(by, forgery, out);
                return false;
            }
        };
        match &held.source {
            Source::Put(decided) => {
                self.decide_or_wait(by, Outcome::Taken(Arc::clone(decided)), out);
                self.store.is_removed(decided.id())
            }
            Source::Entry(entry) if self.may_insert(entry) => {
                self.insert(held, out);
                true
            }
            Source::Entry(_) => false,
        }
    }

    /// Status of a present entry with a content that is held, or how it was removed.
    pub(super) fn reply_status(
        &mut self,
        to: ClientRef,
        request: RequestId,
        id: &EntryId,
        content: ContentHash,
    ) {
        if self.store.is_removed(id) {
            return self.reply_over(to, request, id);
        }
        let status = self.status(id, &content, to);
        self.promise(
            to,
            request,
            ReplyBody::Status {
                id: id.clone(),
                status,
            },
        );
    }

    /// Inserts the content of a written entry, unless it is held or removed. A second content of one
    /// id convicts its writer and is stored all the same.
    pub(super) fn insert(&mut self, content: HeldContent, out: &mut Outputs) {
        let id = &content.id;
        let is_removed = self.store.is_removed(id) && !mutant!(RemovedNotKept);
        if is_removed || self.store.holds(id, &content.hash) {
            return;
        }
        let first = self.store.contents(id).next();
        if let Some(other) = first
            && let (Source::Entry(one), Source::Entry(two)) = (&other.source, &content.source)
        {
            let (one, other) = (one.signed().clone(), two.signed().clone());
            let writer = two.signer();
            self.convict(Evidence::TwoContents { writer, one, other }, out);
        }
        self.log(Change::Entry(content.clone()), out);
        self.wake(&content, out);
        self.stash.wake(&content.id);
    }

    fn may_insert(&self, entry: &Verified<EntryPayload>) -> bool {
        self.options
            .configuration
            .policy()
            .may_insert(&entry.signer(), entry.id.space())
    }

    /// True if the entry is held or removed: storing it changes nothing.
    fn is_settled(&self, entry: &Verified<EntryPayload>) -> bool {
        let hash = ContentHash(entry.leaf());
        let is_removed = self.store.is_removed(&entry.id) && !mutant!(RemovedNotKept);
        is_removed || self.store.holds(&entry.id, &hash)
    }
}

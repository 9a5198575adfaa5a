//! What every handler needs: logging a change, sending and promising, refusing, blaming, and the
//! status of an entry.

use super::outputs::VoteTo;
use super::record::Change;
use super::{Event, Outgoing, Outputs, Principal, Replica};
use crate::consensus::certificate::{Certificate, Statement, VoteKind};
use crate::content::HeldContent;
use crate::crypto::verified::ValidCertificate;
use crate::ids::{ClientRef, ContentHash, EntryId, Epoch, PublicKey, ReplicaId, RequestId};
use crate::limits::{CONTENTS_PER_STATUS_MAX, EVIDENCE_MAX};
use crate::message::{PeerMessage, Refused, Removal, Reply, ReplyBody, Status};
use crate::misbehavior::{Evidence, Forgery};

/// What a message about `(id, epoch)` meets.
pub(super) enum Standing {
    /// The entry was removed.
    Removed,
    /// The epoch was released.
    Over,
    /// The epoch is the current one.
    Current,
    /// The epoch has not begun here, and the message does not prove that it has.
    Ahead,
}

impl Replica {
    /// Applies a change and hands it to the log: the only way durable state changes.
    pub(super) fn log(&mut self, change: Change, out: &mut Outputs) {
        let lsn = self.gate.log();
        self.store.apply(lsn, &change);
        out.records.push((lsn, change.to_record()));
        out.obsolete.append(&mut self.store.take_obsolete());
    }

    /// Sends what depends on nothing.
    pub(super) fn reply(
        &mut self,
        to: ClientRef,
        request: RequestId,
        body: ReplyBody,
        out: &mut Outputs,
    ) {
        out.send.push(Outgoing::Client(to, Reply { request, body }));
    }

    /// Sends what depends on everything logged so far.
    pub(super) fn promise(&mut self, to: ClientRef, request: RequestId, body: ReplyBody) {
        self.gate
            .promise(Outgoing::Client(to, Reply { request, body }));
    }

    pub(super) fn send_peer(&mut self, to: ReplicaId, message: PeerMessage, out: &mut Outputs) {
        out.send.push(Outgoing::Peer(to, message));
    }

    /// Promises something to every other replica.
    pub(super) fn promise_peers(&mut self, message: &PeerMessage) {
        for peer in self.peers() {
            self.gate.promise(Outgoing::Peer(peer, message.clone()));
        }
    }

    /// Sends something to every other replica.
    pub(super) fn send_peers(&mut self, message: &PeerMessage, out: &mut Outputs) {
        for peer in self.peers() {
            out.send.push(Outgoing::Peer(peer, message.clone()));
        }
    }

    pub(super) fn vote(&mut self, to: VoteTo, kind: VoteKind, statement: Statement) {
        self.gate.vote(to, kind, statement);
    }

    /// Lets go what is durable; votes for own ballots are counted at once.
    pub(super) fn release(&mut self, out: &mut Outputs) {
        loop {
            let votes = self.gate.release(self.options.id, &self.signer, out);
            if votes.is_empty() {
                return;
            }
            let me = self.options.id;
            for vote in votes {
                match vote.message(me) {
                    Ok(message) => out.send.push(message),
                    // It would be counted, and what follows from that be logged.
                    Err(_) if self.stopped().is_some() => {}
                    Err(own) if own.kind == VoteKind::Commit => self.on_commit_vote(me, own, out),
                    Err(own) => self.on_prepare_vote(me, own, out),
                }
            }
        }
    }

    /// All other replicas.
    pub(super) fn peers(&self) -> Vec<ReplicaId> {
        let me = self.options.id;
        self.options
            .configuration
            .replicas()
            .filter(|replica| *replica != me)
            .collect()
    }

    pub(super) fn refuse(
        &mut self,
        to: ClientRef,
        request: RequestId,
        why: Refused,
        out: &mut Outputs,
    ) {
        self.refused += 1;
        out.events.push(Event::Refused {
            by: Principal::Client(to),
            why: format!("{why:?}"),
        });
        self.reply(to, request, ReplyBody::Refused(why), out);
    }

    /// The key that whatever somebody causes is charged to (C3).
    pub(super) fn key_of(&self, by: Principal) -> Option<PublicKey> {
        match by {
            Principal::Client(client) => Some(client.key),
            Principal::Replica(replica) => self.options.configuration.key_of(replica),
        }
    }

    /// Counts and tells of something forged, and who relayed it.
    pub(super) fn blame(&mut self, by: Principal, what: Forgery, out: &mut Outputs) {
        if let Some(key) = self.key_of(by) {
            *self.forged.entry(key).or_default() += 1;
        }
        out.events.push(Event::Forged { by, what });
    }

    /// The same, and tells the client.
    pub(super) fn blame_client(
        &mut self,
        client: ClientRef,
        request: RequestId,
        what: Forgery,
        out: &mut Outputs,
    ) {
        let refused = match &what {
            Forgery::IllFormed(why) => Refused::IllFormed(why.to_string()),
            other => Refused::Forged(other.to_string()),
        };
        self.blame(Principal::Client(client), what, out);
        self.reply(client, request, ReplyBody::Refused(refused), out);
    }

    /// Keeps proof against somebody, one pair per accused.
    pub(super) fn convict(&mut self, evidence: Evidence, out: &mut Outputs) {
        let accused = match &evidence {
            Evidence::ContradictingPromises { replica, .. }
            | Evidence::ContradictingVotes { replica, .. } => {
                self.options.configuration.key_of(*replica)
            }
            Evidence::TwoContents { writer, .. } => Some(*writer),
        };
        let Some(accused) = accused else { return };
        let count = self.convicted.entry(accused).or_default();
        *count += 1;
        if *count == 1 && self.evidence.len() < EVIDENCE_MAX {
            self.evidence.push(evidence.clone());
        }
        out.events.push(Event::Convicted(Box::new(evidence)));
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }

    /// Whether a message about `(id, epoch)` is about the present. A valid `released` moves this
    /// replica on to that epoch first.
    pub(super) fn standing(
        &mut self,
        by: Principal,
        id: &EntryId,
        epoch: Epoch,
        released: Option<Certificate>,
        out: &mut Outputs,
    ) -> Standing {
        if self.store.is_removed(id) {
            return Standing::Removed;
        }
        let current = self.store.epoch(id);
        if epoch < current {
            return Standing::Over;
        }
        if epoch == current {
            return Standing::Current;
        }
        let Some(certificate) = released else {
            return Standing::Ahead;
        };
        match self.verifier.release(certificate, id, Epoch(epoch.0 - 1)) {
            Ok(valid) => {
                self.apply_release(valid, out);
                Standing::Current
            }
            Err(forgery) => {
                self.blame(by, forgery, out);
                Standing::Ahead
            }
        }
    }

    /// What is known of a removed entry.
    pub(super) fn removal(&self, id: &EntryId) -> Removal {
        match self.store.decision(id) {
            Some(decided) => Removal::Decision(Box::new(decided.to_wire())),
            None if self.has_forgotten(id) => Removal::Forgotten,
            None => Removal::Unknown,
        }
    }

    /// True if the decision was applied here and is not kept any more: what was only skipped is
    /// unknown (C1).
    pub(super) fn has_forgotten(&self, id: &EntryId) -> bool {
        let is_kept = self.store.decision(id).is_some();
        let is_skipped = self.store.is_skipped(id);
        self.store.is_removed(id) && !is_kept && !is_skipped
    }

    /// The certificate that the epoch before the current one was released.
    pub(super) fn released(&self, id: &EntryId) -> Option<Certificate> {
        let bound = self.store.bound(id)?;
        bound
            .released
            .as_ref()
            .map(|valid| valid.certificate().clone())
    }

    /// Tells a client that the instance it speaks of is over.
    pub(super) fn reply_over(&mut self, to: ClientRef, request: RequestId, id: &EntryId) {
        // The decision holds what was put in place: nothing for whom the space is closed.
        let policy = self.options.configuration.policy();
        let body = match self.released(id) {
            Some(certificate) if !self.store.is_removed(id) => ReplyBody::Released {
                id: id.clone(),
                certificate,
            },
            _ if policy.forbids_space(&to.key, id.space(), false) => {
                let why = format!("no right to read space {}", id.space());
                ReplyBody::Refused(Refused::Forbidden(why))
            }
            _ => ReplyBody::Removed {
                id: id.clone(),
                removal: self.removal(id),
            },
        };
        self.promise(to, request, body);
    }

    /// R-5.1d: tells a peer the same.
    pub(super) fn tell_over(&mut self, to: ReplicaId, id: &EntryId) {
        let message = match (self.store.decision(id), self.released(id)) {
            (Some(decided), _) => PeerMessage::Decide(decided.to_wire()),
            (None, _) if self.has_forgotten(id) => PeerMessage::Removed {
                id: id.clone(),
                removal: Removal::Forgotten,
            },
            (None, Some(certificate)) => PeerMessage::Released {
                id: id.clone(),
                certificate,
            },
            (None, None) => return,
        };
        if to != self.options.id {
            self.gate.promise(Outgoing::Peer(to, message));
        }
    }

    /// How an entry stands here; `content` is among the contents named, if it is held.
    pub(super) fn status(&self, id: &EntryId, content: &ContentHash, asker: ClientRef) -> Status {
        let mut contents: Vec<_> = self.store.hashes(id).rev().collect();
        // The one asked for comes first, then the newest.
        if let Some(place) = contents.iter().position(|hash| hash == content) {
            contents[..=place].rotate_right(1);
        }
        contents.truncate(CONTENTS_PER_STATUS_MAX);
        let mut status = Status {
            contents,
            ..Status::default()
        };
        if let Some(bound) = self.store.bound(id) {
            let wire = |valid: &ValidCertificate| valid.certificate().clone();
            status.epoch = bound.epoch;
            status.released = bound.released.as_ref().map(wire);
            status.first = bound.instance.first();
            status.lock = bound.instance.locked().map(wire);
            status.promised = bound.instance.promised();
        }
        if !status.contents.is_empty() {
            let reserved = self.sessions.reserved_for(id, self.now);
            status.reserved = reserved.is_some_and(|(client, _)| client != asker);
        }
        status
    }

    /// True if the client may do with this content what its read is for.
    pub(super) fn may(&self, client: &ClientRef, content: &HeldContent, to_take: bool) -> bool {
        let policy = self.options.configuration.policy();
        policy.may(
            &client.key,
            content.id.space(),
            content.access.as_ref(),
            to_take,
        )
    }
}

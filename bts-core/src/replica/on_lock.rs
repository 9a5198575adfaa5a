//! Locks (R-4.3b, R-5.4): whoever holds `q` votes of one ballot may ask for commit votes. Accepted
//! iff nothing higher was promised.

use super::answer::Standing;
use super::outputs::VoteTo;
use super::record::Change;
use super::{Outputs, Principal, Replica};
use crate::consensus::certificate::{CertificateKind, Value, VoteKind};
use crate::content::{Decision, TakePayload};
use crate::crypto::verified::{ValidCertificate, Verified};
use crate::ids::{ClientRef, ReplicaId, RequestId};
use crate::message::{FetchKey, LockRequest, PeerMessage, ReplyBody};
use crate::misbehavior::Forgery;

use super::stash::Stashed;

/// What became of a lock.
enum Locked {
    /// A commit vote is on its way.
    Voted,
    /// The instance is over.
    Over,
    /// A higher ballot was promised, or the epoch has not begun here.
    Refused,
    /// The content is lacking, and asked for.
    Lacking,
}

impl Replica {
    pub(super) fn on_client_lock(
        &mut self,
        from: ClientRef,
        request: RequestId,
        lock: LockRequest,
        out: &mut Outputs,
    ) {
        let (valid, take) = match self.verify_lock(lock.clone()) {
            Ok(verified) => verified,
            Err(forgery) => return self.blame_client(from, request, forgery, out),
        };
        let by = Principal::Client(from);
        let id = take.id.clone();
        match self.accept_lock(
            by,
            VoteTo::Client(from, request),
            valid,
            take,
            lock.released,
            out,
        ) {
            Locked::Voted => {}
            Locked::Over => return self.reply_over(from, request, &id),
            Locked::Refused => {
                let status = self.status(&id, from);
                let body = ReplyBody::Contended {
                    id: id.clone(),
                    status,
                };
                self.promise(from, request, body);
            }
            Locked::Lacking => return,
        }
        if let Some(contest) = self.contests.get_mut(&id) {
            contest.concern(from, request);
        }
    }

    pub(super) fn on_peer_lock(&mut self, from: ReplicaId, lock: LockRequest, out: &mut Outputs) {
        let by = Principal::Replica(from);
        let (valid, take) = match self.verify_lock(lock.clone()) {
            Ok(verified) => verified,
            Err(forgery) => return self.blame(by, forgery, out),
        };
        let id = take.id.clone();
        let hash = take.content;
        let to = VoteTo::Replica(from);
        match self.accept_lock(by, to, valid, take, lock.released.clone(), out) {
            Locked::Voted => {}
            Locked::Over => self.tell_over(from, &id),
            Locked::Refused => self.repeat_promise(&id, &[from]),
            Locked::Lacking => {
                let lacks = FetchKey::Content(id.clone(), hash);
                self.stash
                    .keep(&id, Stashed::Peer(from, PeerMessage::Lock(lock)));
                self.want(lacks, by, out);
            }
        }
    }

    fn verify_lock(
        &self,
        lock: LockRequest,
    ) -> Result<(ValidCertificate, Verified<TakePayload>), Forgery> {
        let valid = self.verifier.certificate(lock.certificate)?;
        if valid.kind() == VoteKind::Commit {
            return Err(Forgery::NotALock);
        }
        let take = self.verifier.take(lock.take)?;
        let said = valid.statement();
        let same_op = !matches!(said.value, Value::Take(op) if op != take.op());
        match same_op && said.id == take.id && said.epoch == take.epoch {
            true => Ok((valid, take)),
            false => Err(Forgery::TakeMismatch),
        }
    }

    /// The ballot is entered before it is locked in, so that a promise for it exists [G3].
    fn accept_lock(
        &mut self,
        by: Principal,
        to: VoteTo,
        valid: ValidCertificate,
        take: Verified<TakePayload>,
        released: Option<crate::consensus::certificate::Certificate>,
        out: &mut Outputs,
    ) -> Locked {
        let statement = valid.statement().clone();
        match self.standing(by, &statement.id, statement.epoch, released, out) {
            Standing::Current => {}
            Standing::Removed | Standing::Over => return Locked::Over,
            Standing::Ahead => return Locked::Refused,
        }
        if valid.certificate().meaning(self.size) == CertificateKind::Decision {
            let certificate = valid.certificate().clone();
            let decision = Decision {
                certificate,
                take: Some(take.signed().clone()),
            };
            if let Ok(outcome) = self.verifier.decision(decision) {
                self.decide_or_wait(by, outcome, out);
            }
            return Locked::Over;
        }
        if !self.holds(&take) {
            return Locked::Lacking;
        }
        if self.allows(&take) {
            self.learn(take.clone());
        }
        if statement.ballot < self.store.promised(&statement.id) {
            self.count("lock refused");
            return Locked::Refused;
        }
        if statement.ballot > self.store.promised(&statement.id) {
            self.enter(&statement.id, statement.ballot, out);
        }
        let bound = self.store.bound(&statement.id);
        let held = bound
            .and_then(|bound| bound.instance.locked())
            .map(|l| l.statement().clone());
        if held.is_none_or(|held| held.ballot < statement.ballot) {
            self.count("locked");
            self.log(Change::Locked(valid, take), out);
        }
        self.vote(to, VoteKind::Commit, statement);
        Locked::Voted
    }
}

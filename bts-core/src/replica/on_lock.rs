//! Locks (R-4.3b, R-5.4): whoever holds `q` votes of one ballot may ask for commit votes. Accepted
//! iff nothing higher was promised.

use super::answer::Standing;
use super::contest::Contest;
use super::outputs::VoteTo;
use super::record::Change;
use super::{Outputs, Principal, Replica};
use crate::consensus::certificate::{CertificateKind, Value, VoteKind};
use crate::content::{Decision, TakePayload};
use crate::crypto::verified::{ValidCertificate, Verified};
use crate::ids::{ClientRef, ReplicaId, RequestId, TakeNumber};
use crate::message::{ClientBody, ClientRequest, FetchKey, LockRequest, PeerMessage, ReplyBody};
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
    /// No allowed Take came with it, and none is known.
    Unfounded,
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
        let (id, hash) = (take.id.clone(), take.content);
        let to = VoteTo::Client(from, request);
        match self.accept_lock(by, to, valid, take, lock.released.clone(), out) {
            Locked::Voted => {}
            Locked::Over => return self.reply_over(from, request, &id),
            Locked::Refused => {
                let status = self.status(&id, &hash, from);
                let body = ReplyBody::Contended {
                    id: id.clone(),
                    status,
                };
                self.promise(from, request, body);
            }
            Locked::Lacking => {
                let message = ClientRequest {
                    request,
                    settled_below: TakeNumber(0),
                    body: ClientBody::Lock(lock),
                };
                self.stash.keep(&id, Stashed::Client(from, message));
                self.want(FetchKey::Content(id.clone(), hash), by, out);
            }
            Locked::Unfounded => {
                return self.blame_client(from, request, Forgery::TakeMissing, out);
            }
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
            Locked::Unfounded => self.blame(by, Forgery::TakeMissing, out),
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

    /// The ballot is entered before it is locked in, so that a promise for it exists (G3).
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
        let knows_a_take = |contest: &Contest| !contest.takes.is_empty();
        let informed = self.contests.get(&statement.id).is_some_and(knows_a_take);
        let names_it = statement.value == Value::Take(take.op());
        if !self.holds(&take) && (names_it || !informed) {
            return Locked::Lacking;
        }
        if self.allows(&take) {
            self.learn(take.clone(), None);
        } else if !informed {
            // Any Take can come with a lock of Release, and without an allowed one the promise
            // that entering its ballot takes would be none for anybody [B2].
            return Locked::Unfounded;
        }
        let promised = self.store.promised(&statement.id);
        if statement.ballot > promised && !mutant!(LockReplacedByLower) {
            self.join(&statement.id, statement.ballot, out);
        }
        if statement.ballot < promised && !mutant!(LockIgnoresPromised) {
            self.count("lock refused");
            return Locked::Refused;
        }
        let bound = self.store.bound(&statement.id);
        let held = bound
            .and_then(|bound| bound.instance.locked())
            .map(|l| l.statement().clone());
        match held.filter(|held| held.ballot == statement.ballot) {
            Some(held) if held.value != statement.value => {
                self.count("two locks of one ballot: over f replicas are faulty");
                return Locked::Refused;
            }
            Some(_) => {}
            None => {
                self.count("locked");
                self.log(Change::Locked(valid, take), out);
            }
        }
        self.vote(to, VoteKind::Commit, statement);
        Locked::Voted
    }
}

//! The end of an instance (PROTOCOL sections 2, 4, 5.5): a Take removes the entry and puts others
//! in its place in one logged step, in order of descent; a Release begins the next epoch.

use std::sync::Arc;

use super::on_timer::Timer;
use super::record::Change;
use super::stash::Stashed;
use super::{Outgoing, Outputs, Principal, Replica};
use crate::consensus::certificate::Certificate;
use crate::content::{DecidedTake, Decision, HeldContent, Outcome};
use crate::crypto::verified::ValidCertificate;
use crate::ids::{ClientRef, EntryId, ReplicaId, RequestId, TakeNumber};
use crate::message::{ClientBody, ClientRequest, FetchKey, PeerMessage, Removal, Reply, ReplyBody};
use crate::time::Span;

/// How long applied decisions are collected before peers are told: others may wait for what was put to be stable.
const TELL_AFTER: Span = Span::from_millis(2);
/// The same for those that put nothing. Peers want to know in case they missed them, and they seldom do.
const TELL_PLAIN_AFTER: Span = Span::from_millis(20);

/// What became of a decision.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is applied, or was before.
    Done,
    /// It is about a put whose origin must be applied first (C6).
    Lacks(EntryId),
}

impl Replica {
    pub(super) fn on_client_decide(
        &mut self,
        from: ClientRef,
        request: RequestId,
        decision: Decision,
        applied: bool,
        out: &mut Outputs,
    ) {
        let outcome = match self.verifier.decision(decision) {
            Ok(outcome) => outcome,
            Err(forgery) => return self.blame_client(from, request, forgery, out),
        };
        let result = match &outcome {
            Outcome::Taken(decided) if mutant!(PutAlone) && decided.take().client != from.key => {
                let puts = decided.puts();
                puts.into_iter()
                    .take(1)
                    .for_each(|put| self.insert(put, out));
                Applied::Done
            }
            _ => self.on_outcome(Principal::Client(from), outcome.clone(), out),
        };
        match (result, outcome) {
            (Applied::Lacks(origin), outcome) => {
                if mutant!(AppliedUnapplied)
                    && let Outcome::Taken(decided) = &outcome
                {
                    let (id, op) = (decided.id().clone(), decided.op());
                    self.promise(from, request, ReplyBody::Applied { id, op });
                }
                let decision = outcome.to_wire();
                let again = ClientRequest {
                    request,
                    settled_below: TakeNumber(0),
                    body: ClientBody::Decide { decision, applied },
                };
                self.stash_below(origin, Stashed::Client(from, again), out);
            }
            (Applied::Done, Outcome::Taken(decided)) if applied => {
                let body = ReplyBody::Applied {
                    id: decided.id().clone(),
                    op: decided.op(),
                };
                self.promise(from, request, body);
            }
            (Applied::Done, Outcome::Released(certificate)) if applied => {
                self.reply_over(from, request, &certificate.statement().id);
            }
            (Applied::Done, _) => {}
        }
    }

    pub(super) fn on_peer_decide(
        &mut self,
        from: ReplicaId,
        decision: Decision,
        out: &mut Outputs,
    ) {
        let by = Principal::Replica(from);
        match self.verifier.decision(decision) {
            Ok(outcome) => self.decide_or_wait(by, outcome, out),
            Err(forgery) => self.blame(by, forgery, out),
        }
    }

    /// a peer says how an entry was removed. A replica asks on until it has the decision, or
    /// `f + 1` peers have forgotten it (C1). Who tells the decision so has logged it.
    pub(super) fn on_removed(
        &mut self,
        from: ReplicaId,
        id: &EntryId,
        removal: Removal,
        out: &mut Outputs,
    ) {
        self.note_answer(from);
        match removal {
            Removal::Decision(decision) => {
                self.on_peer_decide(from, *decision, out);
                self.heard_of_kept(id, from);
            }
            Removal::Forgotten => self.hear_forgotten(from, id, out),
            Removal::Unknown => {}
        }
    }

    pub(super) fn on_released(
        &mut self,
        from: ReplicaId,
        id: &EntryId,
        certificate: Certificate,
        out: &mut Outputs,
    ) {
        let by = Principal::Replica(from);
        match self.verifier.decision(Decision {
            certificate,
            take: None,
        }) {
            Ok(Outcome::Released(valid)) if valid.statement().id == *id => {
                self.on_outcome(by, Outcome::Released(valid), out);
            }
            Ok(_) => {}
            Err(forgery) => self.blame(by, forgery, out),
        }
    }

    /// Applies a verified end of an instance that came along with something else, or keeps it until
    /// what it descends from has come (C6).
    pub(super) fn decide_or_wait(&mut self, by: Principal, outcome: Outcome, out: &mut Outputs) {
        let Applied::Lacks(origin) = self.on_outcome(by, outcome.clone(), out) else {
            return;
        };
        let decision = outcome.to_wire();
        let message = match by {
            Principal::Replica(peer) => Stashed::Peer(peer, PeerMessage::Decide(decision)),
            Principal::Client(client) => Stashed::Client(client, silent_decide(decision)),
        };
        self.stash_below(origin, message, out);
    }

    /// Applies a verified end of an instance, once.
    pub(super) fn on_outcome(
        &mut self,
        by: Principal,
        outcome: Outcome,
        out: &mut Outputs,
    ) -> Applied {
        match outcome {
            Outcome::Taken(decided) => self.apply_decision(by, &decided, out),
            Outcome::Released(certificate) => {
                let statement = certificate.statement();
                let id = &statement.id;
                if !self.store.is_removed(id) && statement.epoch >= self.store.epoch(id) {
                    self.apply_release(certificate, out);
                }
                Applied::Done
            }
        }
    }

    /// the entry goes, its puts come, in one logged step; a put's decision after its
    /// origin's (R-4.5a).
    fn apply_decision(
        &mut self,
        by: Principal,
        decided: &Arc<DecidedTake>,
        out: &mut Outputs,
    ) -> Applied {
        let id = decided.id();
        if let Some(known) = self.store.decision(id) {
            assert_eq!(
                known.op(),
                decided.op(),
                "two decisions for {id}: over f replicas are faulty"
            );
            return Applied::Done;
        }
        if self.store.is_removed(id) {
            return Applied::Done;
        }
        let origin = id.origin().map(|(origin, _)| origin);
        let is_missing =
            |origin: &EntryId| !self.store.is_removed(origin) && !mutant!(DescentIgnored);
        if let Some(origin) = origin.filter(is_missing) {
            return Applied::Lacks(origin);
        }
        // Without puts it is stable from the start, and nobody asks what it removed.
        let (held, tell_after) = match decided.take().puts.is_empty() {
            true => (Vec::new(), TELL_PLAIN_AFTER),
            false => (self.contents_of(id), TELL_AFTER),
        };
        self.log(Change::Decided(Arc::clone(decided)), out);
        self.count("decided");
        self.applied(decided, held);
        self.timers.arm(Timer::Tell, self.now + tell_after);
        self.hints.remove(id);
        self.sessions.unreserve(id);
        self.note_pace(decided);
        self.tell_concerned(by, id, || ReplyBody::Removed {
            id: id.clone(),
            removal: Removal::Decision(Box::new(decided.to_wire())),
        });
        for put in decided.puts() {
            let is_here = self.store.is_known(&put.id);
            if is_here && !mutant!(PutWakesNobody) {
                self.wake(&put, out);
            }
            self.stash.wake(&put.id);
        }
        self.stash.wake(id);
        self.close_fetch(&FetchKey::Decision(id.clone()));
        Applied::Done
    }

    /// A decision was applied, now or before a restart, and removed these contents.
    pub(super) fn applied(&mut self, decided: &Arc<DecidedTake>, held: Vec<HeldContent>) {
        self.stream(decided, held);
        self.will_be_ripe(decided.id().clone());
        if let Some((origin, _)) = decided.id().origin() {
            self.known_stable(&origin);
            self.may_be_ripe(origin);
        }
    }

    /// What is held of an entry.
    pub(super) fn contents_of(&self, id: &EntryId) -> Vec<HeldContent> {
        self.store.contents(id).collect()
    }

    /// the entry stays, the next epoch begins, and whoever waits for it is told.
    pub(super) fn apply_release(&mut self, certificate: ValidCertificate, out: &mut Outputs) {
        let statement = certificate.statement().clone();
        let id = &statement.id;
        self.log(Change::Released(certificate.clone()), out);
        self.count("released");
        self.sessions.unreserve(id);
        self.tell_concerned(Principal::Replica(self.options.id), id, || {
            ReplyBody::Released {
                id: id.clone(),
                certificate: certificate.certificate().clone(),
            }
        });
        if !mutant!(ReleaseWakesNobody) {
            self.wake_again(id, out);
        }
        self.stash.wake(id);
    }

    /// Ends the contest, and tells the clients in it but the one whom it is known from.
    pub(super) fn tell_concerned(
        &mut self,
        by: Principal,
        id: &EntryId,
        body: impl Fn() -> ReplyBody,
    ) {
        let Some(contest) = self.close_contest(id) else {
            return;
        };
        for (client, request) in contest.concerned() {
            if by != Principal::Client(client) {
                self.gate.promise(Outgoing::Client(
                    client,
                    Reply {
                        request,
                        body: body(),
                    },
                ));
            }
        }
    }
}

/// A decision that nobody asked to have answered.
fn silent_decide(decision: Decision) -> ClientRequest {
    ClientRequest {
        request: RequestId(0),
        settled_below: TakeNumber(0),
        body: ClientBody::Decide {
            decision,
            applied: false,
        },
    }
}

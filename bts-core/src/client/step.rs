//! What an operation has at hand while it takes one step: the time, the outputs, and what all
//! operations of a client share. Everything that a replica relays is checked here, and what was
//! forged is held against the replica that sent it, whoever it names.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use super::gathering::{self, Gathering};
use super::pace::Pace;
use super::requests::{Key, Letter, Requests};
use super::siblings::Siblings;
use super::takes::TakeNumbers;
use super::warm::Warm;
use super::{Op, Options, Outputs};
use crate::codec;
use crate::consensus::certificate::{Certificate, SealedVote, Value};
use crate::content::{
    DecidedTake, Decision, EndPayload, EntryPayload, IllFormed, Outcome, Put, TakePayload,
};
use crate::crypto::sign::{Kind, SignedBytes, Signer};
use crate::crypto::verified::{ValidCertificate, Verified, VerifiedVote, Verifier};
use crate::ids::{ClientRef, EntryId, OpId, ReplicaId, RequestId, Seq, Session, SpaceName};
use crate::message::{ClientBody, ClientRequest};
use crate::misbehavior::Forgery;
use crate::quorum::ClusterSize;
use crate::time::{Span, Time};

/// What all operations of a client share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) me: ClientRef,
    pub(super) signer: Signer,
    pub(super) verifier: Verifier,
    pub(super) requests: Requests,
    pub(super) takes: TakeNumbers,
    pub(super) pace: Pace,
    pub(super) warm: Warm,
    pub(super) siblings: Siblings,
    /// Operations to be begun in the background.
    pub(super) background: Vec<Op>,
    /// Whether sessions are being ended.
    pub(super) is_ending: bool,
    pub(super) gathering: Gathering,
    written: u64,
}

impl Shared {
    pub(super) fn new(options: Options) -> Self {
        let context = *options.configuration.signing_context();
        let signer = Signer::new(options.key.clone(), context).remembering(options.roots.clone());
        let me = ClientRef {
            key: signer.public(),
            session: options.session,
        };
        Self {
            me,
            signer,
            verifier: Verifier::sharing(Arc::clone(&options.configuration), options.roots.clone()),
            options,
            requests: Requests::default(),
            takes: TakeNumbers::default(),
            pace: Pace::default(),
            warm: Warm::default(),
            siblings: Siblings::default(),
            background: Vec::new(),
            is_ending: false,
            gathering: Gathering::default(),
            written: 0,
        }
    }

    /// How long a quorum may be expected to take to answer.
    pub(super) fn patience(&self) -> Span {
        let quorum = self.options.configuration.size().ack_quorum();
        self.pace.patience(quorum)
    }

    /// How much longer than it could a quorum takes, because it is busy.
    pub(super) fn queueing(&self) -> Span {
        let quorum = self.options.configuration.size().ack_quorum();
        self.pace.queueing(quorum)
    }

    /// All is signed and sent.
    pub(super) fn on_sent(&mut self, now: Time) {
        if self.gathering.is_empty() {
            return;
        }
        for request in self.gathering.take_asked() {
            self.requests.on_sent(request, now);
        }
        let queues = gathering::span(self.queueing()).is_some();
        let quorum = self.options.configuration.size().ack_quorum();
        let busy = queues.then(|| self.requests.owners_waiting(quorum));
        self.gathering.on_over(busy.unwrap_or_default());
    }

    /// Signs all that waits for it, with one signature.
    pub(super) fn sign_waiting(&mut self) -> Vec<(Key, SignedBytes)> {
        let waiting = self.gathering.take_unsigned();
        let messages: Vec<_> = waiting
            .iter()
            .map(|(_, kind, payload)| (*kind, payload.as_slice()))
            .collect();
        let seals = self.signer.seal(&messages);
        let signed = waiting.into_iter().zip(seals);
        let signer = self.signer.public();
        signed
            .map(|((key, _, payload), seal)| {
                let signed = SignedBytes {
                    payload,
                    signer,
                    seal,
                };
                (key, signed)
            })
            .collect()
    }

    /// Sends letters; the header is that of now, also on a repetition.
    pub(super) fn post(&self, letters: Vec<Letter>, out: &mut Outputs) {
        let settled_below = self.takes.settled_below();
        let mut letters = letters.into_iter().peekable();
        while let Some((first, request, body)) = letters.next() {
            let is_same = |(_, other, same): &Letter| *other == request && Arc::ptr_eq(same, &body);
            let mut to = vec![first];
            while let Some((next, _, _)) = letters.next_if(is_same) {
                to.push(next);
            }
            let request = Arc::new(ClientRequest {
                request,
                settled_below,
                body: Arc::unwrap_or_clone(body),
            });
            let all = to.into_iter().map(|to| (to, Arc::clone(&request)));
            out.send.extend(all);
        }
    }
}

/// One step of one operation.
pub(super) struct Step<'a> {
    pub(super) now: Time,
    pub(super) key: Key,
    pub(super) shared: &'a mut Shared,
    pub(super) out: &'a mut Outputs,
}

impl Step<'_> {
    /// Quorum sizes.
    pub(super) fn size(&self) -> ClusterSize {
        self.shared.options.configuration.size()
    }

    /// How long a quorum may be expected to take to answer.
    pub(super) fn patience(&self) -> Span {
        self.shared.patience()
    }

    /// All replicas.
    pub(super) fn everyone(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        self.shared.options.configuration.replicas()
    }

    /// Asks all replicas.
    pub(super) fn ask_all(&mut self, body: ClientBody) -> RequestId {
        self.ask(self.everyone(), body)
    }

    /// Asks these replicas the same.
    pub(super) fn ask(
        &mut self,
        to: impl IntoIterator<Item = ReplicaId>,
        body: ClientBody,
    ) -> RequestId {
        let request = self.shared.requests.draw();
        self.ask_as(request, to, body);
        request
    }

    /// Asks under a request id that was drawn before.
    pub(super) fn ask_as(
        &mut self,
        request: RequestId,
        to: impl IntoIterator<Item = ReplicaId>,
        body: ClientBody,
    ) {
        let body = Arc::new(body);
        let bodies = to.into_iter().map(|to| (to, Arc::clone(&body))).collect();
        self.open(request, bodies);
    }

    /// Asks each replica its own question; some may be asked the same.
    pub(super) fn ask_each(
        &mut self,
        bodies: impl IntoIterator<Item = (ReplicaId, Arc<ClientBody>)>,
    ) -> RequestId {
        let request = self.shared.requests.draw();
        self.ask_each_as(request, bodies);
        request
    }

    /// Asks each replica its own question, under a request id that was drawn before.
    pub(super) fn ask_each_as(
        &mut self,
        request: RequestId,
        bodies: impl IntoIterator<Item = (ReplicaId, Arc<ClientBody>)>,
    ) {
        self.open(request, bodies.into_iter().collect());
    }

    /// Asks one replica again, under the same request.
    pub(super) fn ask_again(&mut self, request: RequestId, replica: ReplicaId) {
        let letter = self
            .shared
            .requests
            .ask_again(request, replica, self.now)
            .into_iter()
            .collect();
        self.post(letter);
    }

    /// Asks these replicas as well, under the same request.
    pub(super) fn ask_also(&mut self, request: RequestId, replicas: &[ReplicaId]) {
        let requests = &mut self.shared.requests;
        let letters = requests.ask_also(request, replicas, self.now);
        self.post(letters);
    }

    /// Asks one replica something else, under the same request; false if it was asked just that.
    pub(super) fn ask_instead(
        &mut self,
        request: RequestId,
        replica: ReplicaId,
        body: ClientBody,
    ) -> bool {
        let requests = &mut self.shared.requests;
        let letter = requests.ask_instead(request, replica, body, self.now);
        let is_new = letter.is_some();
        self.post(letter.into_iter().collect());
        is_new
    }

    /// Asks all again, under the same request: what a replica tells later goes there.
    pub(super) fn ask_all_again(&mut self, request: RequestId) {
        for replica in self.everyone() {
            self.ask_again(request, replica);
        }
    }

    /// Says something that is not answered.
    pub(super) fn tell(&mut self, to: impl IntoIterator<Item = ReplicaId>, body: ClientBody) {
        let request = self.shared.requests.draw();
        let body = Arc::new(body);
        let letters = to.into_iter().map(|to| (to, request, Arc::clone(&body)));
        self.post(letters.collect());
    }

    /// Spreads a decision; nobody answers.
    pub(super) fn spread(&mut self, to: impl IntoIterator<Item = ReplicaId>, decision: Decision) {
        let applied = false;
        self.tell(to, ClientBody::Decide { decision, applied });
    }

    /// Ends a request.
    pub(super) fn close(&mut self, request: RequestId) {
        self.shared.requests.close(request);
    }

    /// Notes a fault of a replica, for people.
    pub(super) fn accuse(&mut self, replica: ReplicaId, what: impl Display) {
        self.out.events.push((replica, what.to_string()));
    }

    /// What was checked, or nothing and the replica is accused.
    pub(super) fn checked<T>(&mut self, from: ReplicaId, result: Result<T, Forgery>) -> Option<T> {
        match result {
            Ok(valid) => Some(valid),
            Err(forgery) => {
                self.accuse(from, forgery);
                None
            }
        }
    }

    /// A vote that the replica gave itself.
    pub(super) fn vote(&mut self, from: ReplicaId, vote: SealedVote) -> Option<VerifiedVote> {
        if vote.replica != from {
            self.accuse(from, format_args!("sent a vote of {}", vote.replica));
            return None;
        }
        let verified = self.shared.verifier.vote(vote);
        self.checked(from, verified)
    }

    /// A decision that some Take won.
    pub(super) fn decided(
        &mut self,
        from: ReplicaId,
        decision: Decision,
    ) -> Option<Arc<DecidedTake>> {
        let verified = self.shared.verifier.decision(decision);
        match self.checked(from, verified)? {
            Outcome::Taken(decided) => Some(decided),
            Outcome::Released(_) => {
                self.accuse(from, "called a release the removal of an entry");
                None
            }
        }
    }

    /// A certificate that some epoch of the entry was released.
    pub(super) fn release(
        &mut self,
        from: ReplicaId,
        certificate: Certificate,
        id: &EntryId,
    ) -> Option<ValidCertificate> {
        let verified = self.shared.verifier.decision_certificate(certificate);
        let valid = self.checked(from, verified)?;
        let said = valid.statement();
        if said.value == Value::Release && said.id == *id {
            return Some(valid);
        }
        self.accuse(from, format_args!("sent {said} as a release of {id}"));
        None
    }

    /// A Take that was asked for.
    pub(super) fn take(
        &mut self,
        from: ReplicaId,
        signed: SignedBytes,
        op: OpId,
    ) -> Option<Verified<TakePayload>> {
        let verified = self.shared.verifier.take(signed);
        let take = self.checked(from, verified)?;
        (take.op() == op).then_some(take)
    }

    /// Has a new entry of ours signed, for this operation; its id.
    pub(super) fn sign_entry(&mut self, space: SpaceName, put: Put) -> Result<EntryId, IllFormed> {
        let me = self.shared.me;
        let payload = EntryPayload {
            id: EntryId::written(space, me.key, me.session, Seq(self.shared.written)),
            tuple: put.tuple,
            expiry: put.expiry,
            access: put.access,
        };
        payload.well_formed(&me.key)?;
        self.shared.written += 1;
        self.sign(Kind::Entry, codec::encode(&payload));
        Ok(payload.id)
    }

    /// Has a Take of ours signed, for this operation.
    pub(super) fn sign_take(&mut self, payload: &TakePayload) -> Result<(), IllFormed> {
        payload.well_formed(&self.shared.me.key)?;
        self.sign(Kind::Take, codec::encode(payload));
        Ok(())
    }

    /// Has the end of a session of our key signed, for this operation.
    pub(super) fn sign_end(&mut self, session: Session) {
        let key = self.shared.me.key;
        self.sign(
            Kind::EndSession,
            codec::encode(&EndPayload { key, session }),
        );
    }

    /// Ends the sessions of our key that are gone, beside what else is done.
    pub(super) fn end_the_gone(&mut self) {
        if !std::mem::replace(&mut self.shared.is_ending, true) {
            self.shared.background.push(Op::End { own: false });
        }
    }

    fn sign(&mut self, kind: Kind, payload: Vec<u8>) {
        self.shared
            .gathering
            .sign(self.key, self.now, kind, payload);
    }

    /// Replicas other than these.
    pub(super) fn others<V>(&self, known: &BTreeMap<ReplicaId, V>) -> Vec<ReplicaId> {
        let missing = self.everyone().filter(|r| !known.contains_key(r));
        missing.collect()
    }

    fn post(&mut self, letters: Vec<Letter>) {
        if letters.is_empty() {
            return;
        }
        self.shared.gathering.on_sent(self.key, self.now);
        self.shared.post(letters, self.out);
    }

    fn open(&mut self, request: RequestId, bodies: BTreeMap<ReplicaId, Arc<ClientBody>>) {
        let every = self.shared.options.resend.max(self.patience());
        let letters = self
            .shared
            .requests
            .open(self.key, request, bodies, every, self.now);
        self.shared.gathering.on_asked(request);
        self.post(letters);
    }
}

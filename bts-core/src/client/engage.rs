//! One Take in one instance (R-4.3b): first votes decide, or make the lock whose commit votes
//! decide. An engaged client leaves on a verified decision, on a release of this epoch or a later
//! one, or when `f+1` replicas forgot or refuse; never because time passed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::candidates::Choice;
use super::case;
use super::contents::Fitted;
use super::help::{LockRound, is_above};
use super::pace::{Backoff, Wake, grace_of_votes};
use super::replies::Refusals;
use super::step::Step;
use crate::consensus::certificate::{Statement, Value, VoteKind};
use crate::consensus::tally::Tally;
use crate::content::{DecidedTake, HeldContent, Outcome, TakePayload};
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::{ValidCertificate, Verified, VerifiedVote};
use crate::ids::{Ballot, EntryId, OpId, ReplicaId, RequestId};
use crate::message::{
    ClientBody, FetchKey, Given, Refused, Removal, ReplyBody, Status, TakeRequest,
};
use crate::time::{Span, Time};

/// When all are shown what holds us up; each further time it takes twice as long.
const PATIENCE: Span = Span::from_millis(50);
/// So many times as long, while nobody has said that anything does: what is only slow is not made faster by
/// asking it for more.
const UNDISPUTED: u64 = 4;

/// An engagement.
#[derive(Debug)]
pub(super) struct Engagement {
    pub(super) choice: Choice,
    content: Option<Fitted>,
    take: Verified<TakePayload>,
    began: Time,
    request: RequestId,
    firsts: Tally,
    /// Who answered otherwise than with a vote for us.
    declined: BTreeSet<ReplicaId>,
    /// When a quorum of first votes was there, and how long it took.
    quorum: Option<(Time, Span)>,
    round: Option<LockRound>,
    /// The highest lock that was seen, while the Take it names is being fetched.
    seen: Option<(ValidCertificate, RequestId)>,
    /// What each replica was asked, until it is shown to them as evidence.
    shown: Vec<(ReplicaId, Arc<ClientBody>)>,
    evidence: Option<RequestId>,
    again: Backoff,
    forgotten: BTreeSet<ReplicaId>,
    refusals: Refusals,
}

/// How an engagement ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// Our Take is decided.
    Won(Arc<DecidedTake>),
    /// Another one is.
    Lost(Arc<DecidedTake>),
    /// Nobody's is: the entry is in a later epoch.
    Released(ValidCertificate),
    /// The entry is gone, and nobody knows any more how; not by us, as we have not settled.
    Forgotten,
    /// No correct replica will vote for it.
    Refused(Refused),
}

/// A Take that asks for no vote.
fn as_evidence(asked: Arc<ClientBody>) -> Arc<ClientBody> {
    match Arc::unwrap_or_clone(asked) {
        ClientBody::Take(take) => Arc::new(ClientBody::Evidence(take)),
        other => Arc::new(other),
    }
}

/// How long a Take of which nobody else is in the way takes at most.
fn patience(step: &Step<'_>) -> Span {
    step.patience().max(PATIENCE)
}

impl Engagement {
    /// Sends the Take; `requests` holds what each replica may lack, and `content` what those may that
    /// named the entry.
    pub(super) fn begin(
        step: &mut Step<'_>,
        choice: Choice,
        content: Option<Fitted>,
        take: Verified<TakePayload>,
        requests: Vec<(ReplicaId, Arc<ClientBody>)>,
    ) -> Self {
        let patience = patience(step).times(UNDISPUTED);
        Self {
            request: step.ask_each(requests.iter().cloned()),
            choice,
            content,
            take,
            began: step.now,
            firsts: Tally::new(VoteKind::First),
            declined: BTreeSet::new(),
            quorum: None,
            round: None,
            seen: None,
            shown: requests,
            evidence: None,
            again: Backoff::starting(step.now + patience, PATIENCE.doubled(1)),
            forgotten: BTreeSet::new(),
            refusals: Refusals::default(),
        }
    }

    /// True if an answer to this request is for this engagement.
    pub(super) fn owns(&self, request: RequestId) -> bool {
        let round = self.round.as_ref().map(|round| round.request);
        let fetch = self.seen.as_ref().map(|(_, request)| *request);
        let others = [round, fetch, self.evidence];
        request == self.request || others.contains(&Some(request))
    }

    /// Takes a reply in; the end, if this is it.
    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        body: ReplyBody,
    ) -> Option<End> {
        match body {
            ReplyBody::FirstVote(vote) => {
                let vote = step.vote(from, vote)?;
                self.on_first_vote(step, vote)
            }
            ReplyBody::CommitVote(vote) => {
                let vote = step.vote(from, vote)?;
                let end = self.round.as_mut()?.on_vote(step, vote)?;
                self.on_helped(step, &end);
                self.end_of(end)
            }
            ReplyBody::Contended { id, status } => {
                self.on_declined(step, from, request);
                if mutant!(LeavesWithoutProof) && self.declined.len() >= step.size().fact_quorum() {
                    return Some(End::Forgotten);
                }
                self.on_status(step, from, &id, status)
            }
            ReplyBody::Status { id, status } => self.on_status(step, from, &id, status),
            ReplyBody::Removed { id, removal } => {
                self.on_declined(step, from, request);
                self.on_removed(step, from, &id, removal)
            }
            ReplyBody::Released { id, certificate } if id == self.take.id => {
                self.on_declined(step, from, request);
                let valid = step.release(from, certificate, &id)?;
                self.end_of(Outcome::Released(valid))
            }
            ReplyBody::Refused(Refused::TooManySessions) => {
                step.end_the_gone();
                None
            }
            ReplyBody::Refused(refused) => {
                let fact = self.refusals.count(from, refused, step.size());
                fact.map(End::Refused)
            }
            ReplyBody::Given(Given::Take(take)) => {
                self.on_take(step, from, take);
                None
            }
            ReplyBody::NotHeld(lacks) => {
                if !self.supply(step, from, request, &lacks) {
                    self.on_declined(step, from, request);
                }
                None
            }
            _ => None,
        }
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, step: &mut Step<'_>, wake: &mut Wake) {
        self.lock_own(step, wake);
        if self.again.strike(step.now, step.patience()) {
            match self.evidence {
                Some(evidence) => step.ask_all_again(evidence),
                None => {
                    let shown = self.shown.drain(..);
                    let evidence = shown.map(|(to, asked)| (to, as_evidence(asked)));
                    self.evidence = Some(step.ask_each(evidence));
                }
            }
        }
        wake.at(self.again.due_at());
    }

    /// Ends it.
    pub(super) fn close(&mut self, step: &mut Step<'_>) {
        let round = self.round.as_ref().map(|round| round.request);
        let fetch = self.seen.as_ref().map(|(_, request)| *request);
        let all = [Some(self.request), round, fetch, self.evidence];
        all.into_iter()
            .flatten()
            .for_each(|request| step.close(request));
    }

    /// Sends the content to a replica that named the entry and lacks it all the same: an answer to
    /// *Enter* is no promise (A9), and after a crash nobody may have what was not stored. True if it
    /// was sent.
    fn supply(
        &mut self,
        step: &mut Step<'_>,
        to: ReplicaId,
        request: RequestId,
        lacks: &FetchKey,
    ) -> bool {
        let FetchKey::Content(id, hash) = lacks else {
            return false;
        };
        if (id, *hash) != (&self.take.id, self.take.content) {
            return false;
        }
        let Some(mut content) = self.content.take() else {
            return false;
        };
        let verified = content.verified(&step.shared.verifier, id);
        let verified = verified.map(HeldContent::to_wire);
        let Some(whole) = step.checked(content.from, verified) else {
            return false;
        };
        self.content = Some(content);
        let released = self.choice.released.as_ref();
        let take = TakeRequest {
            take: self.take.signed().clone(),
            content: Some(whole),
            released: released.map(|valid| valid.certificate().clone()),
        };
        let body = match request == self.request {
            true => ClientBody::Take(take),
            false if self.evidence == Some(request) => ClientBody::Evidence(take),
            false => return false,
        };
        step.ask_instead(request, to, body)
    }

    fn on_first_vote(&mut self, step: &mut Step<'_>, vote: VerifiedVote) -> Option<End> {
        let ours = self.statement();
        if *vote.statement() != ours {
            step.accuse(vote.replica(), "answered a Take with a vote for another");
            return None;
        }
        if self.round.is_none() {
            step.shared.pace.on_timely(vote.replica());
        }
        self.firsts.count(vote);
        let fast = step.size().fast_quorum();
        if let Some(certificate) = self.firsts.certificate(&ours, fast) {
            let verifier = &step.shared.verifier;
            let valid = verifier
                .decision_certificate(certificate)
                .expect("every vote in it was verified, and F first votes decide");
            let decided = DecidedTake::new(valid, self.take.clone());
            let decided = decided.expect("the votes name this Take");
            return Some(End::Won(Arc::new(decided)));
        }
        if self.firsts.voters() >= step.size().ack_quorum() && self.quorum.is_none() {
            self.quorum = Some((step.now, step.now.since(self.began)));
        }
        None
    }

    /// What we decided for others is told to all; our own decision is the operation's to spread.
    fn on_helped(&self, step: &mut Step<'_>, end: &Outcome) {
        match end {
            Outcome::Taken(decided) if decided.op() == self.take.op() => {}
            other => step.spread(step.everyone(), other.to_wire()),
        }
    }

    fn on_declined(&mut self, step: &Step<'_>, from: ReplicaId, request: RequestId) {
        if request != self.request || self.firsts.has_voted(from) {
            return;
        }
        if self.declined.is_empty() {
            let due_at = self.again.due_at().min(self.began + patience(step));
            self.again = Backoff::starting(due_at, PATIENCE.doubled(1));
        }
        self.declined.insert(from);
    }

    /// With `q` votes: waits for `F` while they can come in time, else makes them a lock.
    fn lock_own(&mut self, step: &mut Step<'_>, wake: &mut Wake) {
        let Some((since, took)) = self.quorum.filter(|_| self.round.is_none()) else {
            return;
        };
        let open = |replica: &ReplicaId| {
            !self.firsts.has_voted(*replica) && !self.declined.contains(replica)
        };
        let open: Vec<_> = step.everyone().filter(open).collect();
        let pace = &mut step.shared.pace;
        let prompt = open.iter().filter(|r| !pace.is_slow(**r, step.now)).count();
        let can_be_fast = self.firsts.voters() + prompt >= step.size().fast_quorum();
        let until = since + grace_of_votes(took);
        if can_be_fast && step.now < until {
            return wake.at(until);
        }
        if can_be_fast {
            let pace = &mut step.shared.pace;
            open.iter().for_each(|late| pace.on_late(*late, step.now));
        }
        let votes = self
            .firsts
            .certificate(&self.statement(), step.size().ack_quorum());
        let votes = votes.expect("a quorum voted");
        let lock = step
            .shared
            .verifier
            .certificate(votes)
            .expect("every vote in it was verified");
        let released = self.choice.released.as_ref();
        self.round = Some(LockRound::begin(step, lock, self.take.clone(), released));
    }

    /// How the entry stands elsewhere: a lock that somebody accepted is helped, whose ever it is.
    fn on_status(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        id: &EntryId,
        status: Status,
    ) -> Option<End> {
        if *id != self.take.id {
            return None;
        }
        let (sighting, released) = case::check(step, from, id, status)?;
        if let Some(end) = released.and_then(|valid| self.end_of(Outcome::Released(valid))) {
            return Some(end);
        }
        let lock = sighting.lock?;
        let statement = lock.statement();
        let current = self.round.as_ref().map(LockRound::statement);
        let seen = self.seen.as_ref().map(|(seen, _)| seen.statement());
        let is_higher = current
            .max(seen)
            .is_none_or(|held| is_above(statement, held));
        if statement.epoch != self.take.epoch || !is_higher {
            return None;
        }
        match statement.value {
            Value::Take(op) if op != self.take.op() => self.fetch(step, from, lock, op),
            Value::Take(_) | Value::Release | Value::Expire => {
                self.begin_round(step, lock, self.take.clone());
            }
        }
        None
    }

    fn fetch(&mut self, step: &mut Step<'_>, from: ReplicaId, lock: ValidCertificate, op: OpId) {
        if let Some((_, earlier)) = self.seen.take() {
            step.close(earlier);
        }
        let key = FetchKey::Take(self.take.id.clone(), op);
        let request = step.ask([from], ClientBody::Fetch(key));
        self.seen = Some((lock, request));
    }

    fn on_take(&mut self, step: &mut Step<'_>, from: ReplicaId, signed: SignedBytes) {
        let Some((lock, request)) = self.seen.take() else {
            return;
        };
        let take = match lock.statement().value {
            Value::Take(op) => step.take(from, signed, op),
            Value::Release | Value::Expire => None,
        };
        match take {
            Some(take) => {
                step.close(request);
                self.begin_round(step, lock, take);
            }
            None => self.seen = Some((lock, request)),
        }
    }

    fn begin_round(
        &mut self,
        step: &mut Step<'_>,
        lock: ValidCertificate,
        take: Verified<TakePayload>,
    ) {
        if let Some(lower) = self.round.take() {
            step.close(lower.request);
        }
        let released = self.choice.released.as_ref();
        self.round = Some(LockRound::begin(step, lock, take, released));
    }

    fn on_removed(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        id: &EntryId,
        removal: Removal,
    ) -> Option<End> {
        if *id != self.take.id {
            return None;
        }
        match removal {
            Removal::Decision(decision) => {
                let decided = step.decided(from, *decision)?;
                self.end_of(Outcome::Taken(decided))
            }
            Removal::Forgotten => {
                self.forgotten.insert(from);
                let is_fact = self.forgotten.len() >= step.size().fact_quorum();
                is_fact.then_some(End::Forgotten)
            }
            Removal::Unknown => None,
        }
    }

    fn end_of(&self, outcome: Outcome) -> Option<End> {
        match outcome {
            Outcome::Taken(decided) if *decided.id() != self.take.id => None,
            Outcome::Taken(decided) if decided.op() == self.take.op() => Some(End::Won(decided)),
            Outcome::Taken(decided) => Some(End::Lost(decided)),
            Outcome::Released(valid) => {
                let said = valid.statement();
                let is_ours = said.id == self.take.id && said.epoch >= self.take.epoch;
                is_ours.then_some(End::Released(valid))
            }
        }
    }

    /// What our first votes say.
    fn statement(&self) -> Statement {
        Statement {
            id: self.take.id.clone(),
            epoch: self.take.epoch,
            ballot: Ballot::ZERO,
            value: Value::Take(self.take.op()),
        }
    }

    /// The Take.
    pub(super) fn take(&self) -> &TakePayload {
        &self.take
    }
}

//! Helping: who sees a lock collects commit votes and decides, who sees first votes makes
//! the contesting Take known to all, which starts their timers. Nothing waits for one particular
//! client.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::case::{Case, Sighting};
use super::pace::{Backoff, Wake};
use super::step::Step;
use crate::consensus::certificate::{Statement, Value, VoteKind};
use crate::consensus::tally::{Counted, Tally};
use crate::content::{DecidedTake, Outcome, TakePayload};
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::{ValidCertificate, Verified, VerifiedVote};
use crate::ids::{ContentHash, OpId, ReplicaId, RequestId};
use crate::message::{ClientBody, FetchKey, LockRequest, TakeRequest};
use crate::time::Span;

/// How soon evidence is sent again.
const AGAIN: Span = Span::from_millis(20);

/// The collection of commit votes for one lock.
#[derive(Debug)]
pub(super) struct LockRound {
    lock: ValidCertificate,
    take: Verified<TakePayload>,
    commits: Tally,
    pub(super) request: RequestId,
}

impl LockRound {
    /// Sends the lock to all. For a lock of `Release` the Take is one of the same instance.
    pub(super) fn begin(
        step: &mut Step<'_>,
        lock: ValidCertificate,
        take: Verified<TakePayload>,
        released: Option<&ValidCertificate>,
    ) -> Self {
        let request = step.ask_all(ClientBody::Lock(LockRequest {
            certificate: lock.certificate().clone(),
            take: take.signed().clone(),
            released: released.map(|valid| valid.certificate().clone()),
        }));
        Self {
            lock,
            take,
            commits: Tally::new(VoteKind::Commit),
            request,
        }
    }

    /// What the commit votes say.
    pub(super) fn statement(&self) -> &Statement {
        self.lock.statement()
    }

    /// Counts a vote; the decision, when a quorum voted.
    pub(super) fn on_vote(&mut self, step: &mut Step<'_>, vote: VerifiedVote) -> Option<Outcome> {
        if vote.statement() != self.lock.statement() || self.commits.count(vote) != Counted::New {
            return None;
        }
        let enough = step.size().ack_quorum();
        let certificate = self.commits.certificate(self.lock.statement(), enough)?;
        let valid = step
            .shared
            .verifier
            .decision_certificate(certificate)
            .expect("every vote in it was verified, and a quorum of commit votes decides");
        Some(match valid.statement().value {
            Value::Take(_) => Outcome::Taken(Arc::new(
                DecidedTake::new(valid, self.take.clone())
                    .expect("a round for a Take holds the Take that its lock names"),
            )),
            Value::Release | Value::Expire => Outcome::Released(valid),
        })
    }
}

/// Help for one contested entry.
#[derive(Debug)]
pub(super) struct Help {
    takes: BTreeMap<OpId, Verified<TakePayload>>,
    fetch: Option<(OpId, RequestId)>,
    round: Option<LockRound>,
    evidence: Option<(OpId, RequestId)>,
    again: Backoff,
    /// The question whether the entry is gone, and when it is asked again.
    gone: Option<RequestId>,
    doubt: Backoff,
}

impl Help {
    fn new() -> Self {
        Self {
            takes: BTreeMap::new(),
            fetch: None,
            round: None,
            evidence: None,
            again: Backoff::new(AGAIN),
            gone: None,
            doubt: Backoff::new(AGAIN),
        }
    }

    /// Ends it.
    pub(super) fn close(self, step: &mut Step<'_>) {
        let fetch = self.fetch.map(|(_, request)| request);
        let round = self.round.map(|round| round.request);
        let evidence = self.evidence.map(|(_, request)| request);
        let requests = fetch.into_iter().chain(round).chain(evidence);
        for request in requests.chain(self.gone) {
            step.close(request);
        }
    }
}

impl Case {
    /// Does what brings the instance of this epoch to its end.
    pub(super) fn help(&mut self, step: &mut Step<'_>, hash: ContentHash, wake: &mut Wake) {
        let lock = self.highest_lock();
        let locked = lock.as_ref().and_then(|lock| match lock.statement().value {
            Value::Take(op) => Some(op),
            Value::Release | Value::Expire => None,
        });
        let Some(op) = locked.or_else(|| self.most_voted()) else {
            return;
        };
        let mut help = self.help.take().unwrap_or_else(Help::new);
        self.ask_whether_gone(step, &mut help, wake);
        match (help.takes.get(&op).cloned(), lock) {
            (None, _) => self.fetch_take(step, &mut help, op),
            (Some(take), Some(lock)) => {
                self.lock_anew(step, &mut help, lock, take.clone());
                self.show(step, &mut help, &take, hash);
            }
            (Some(take), None) => self.show(step, &mut help, &take, hash),
        }
        if help.again.due_at() > step.now {
            wake.at(help.again.due_at());
        }
        self.help = Some(help);
    }

    /// Some say that the entry is gone, but too few to be believed. The reports of the others may be old
    /// (C1), and nobody else may know the Take any more.
    fn ask_whether_gone(&self, step: &mut Step<'_>, help: &mut Help, wake: &mut Wake) {
        if self.removed_by.is_empty() {
            return;
        }
        let faults = step.size().faults();
        let is_awaited = |request| step.shared.requests.is_awaited(request, faults);
        if help.gone.is_some_and(is_awaited) {
            return;
        }
        if !help.doubt.strike(step.now, step.patience()) {
            return wake.at(help.doubt.due_at());
        }
        if let Some(earlier) = help.gone.take() {
            step.close(earlier);
        }
        let others: Vec<_> = step.everyone().collect();
        let others = others.into_iter().filter(|r| !self.removed_by.contains(r));
        let key = FetchKey::Decision(self.id.clone());
        help.gone = Some(step.ask(others, ClientBody::Fetch(key)));
        wake.at(help.doubt.due_at());
    }

    /// Takes over a Take that was fetched.
    pub(super) fn on_take_given(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        signed: SignedBytes,
    ) {
        let Some(wanted) = self.help.as_ref().and_then(|help| help.fetch) else {
            return;
        };
        let Some(take) = step.take(from, signed, wanted.0) else {
            return;
        };
        if take.id == self.id
            && let Some(help) = &mut self.help
        {
            help.takes.insert(wanted.0, take);
            help.again = Backoff::new(AGAIN);
        }
    }

    /// Counts a commit vote for the lock that is being helped.
    pub(super) fn on_commit_vote(
        &mut self,
        step: &mut Step<'_>,
        vote: VerifiedVote,
    ) -> Option<Outcome> {
        let round = self.help.as_mut()?.round.as_mut()?;
        round.on_vote(step, vote)
    }

    fn highest_lock(&self) -> Option<ValidCertificate> {
        let current = self.sightings.values().filter(|s| !self.is_over(s.epoch));
        let locks = current.filter_map(|sighting| sighting.lock.as_ref());
        let instance = |lock: &&ValidCertificate| (lock.statement().epoch, lock.statement().ballot);
        locks.max_by_key(instance).cloned()
    }

    fn most_voted(&self) -> Option<OpId> {
        let mut votes = BTreeMap::<OpId, usize>::new();
        let current = self.sightings.values().filter(|s| !self.is_over(s.epoch));
        for op in current.filter_map(|sighting| sighting.first) {
            *votes.entry(op).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(op, _)| op)
    }

    /// Asks those that speak of the Take for it: whoever comes to speak of it while an earlier one is
    /// silent is asked as well.
    fn fetch_take(&self, step: &mut Step<'_>, help: &mut Help, op: OpId) {
        let locks = |lock: &ValidCertificate| lock.statement().value == Value::Take(op);
        let speaks = |(replica, sighting): (&ReplicaId, &Sighting)| {
            let speaks = sighting.first == Some(op) || sighting.lock.as_ref().is_some_and(locks);
            speaks.then_some(*replica)
        };
        let who: Vec<_> = self.sightings.iter().filter_map(speaks).collect();
        // As many as may be faulty may be silent for ever, while others come to know the Take.
        let faults = step.size().faults();
        let requests = &step.shared.requests;
        let is_open = |(asked, request): (OpId, RequestId)| {
            let has_all = who.iter().all(|one| requests.was_asked(request, *one));
            asked == op && has_all && requests.is_awaited(request, faults)
        };
        if help.fetch.is_some_and(is_open) || !help.again.strike(step.now, step.patience()) {
            return;
        }
        if let Some((_, earlier)) = help.fetch.take() {
            step.close(earlier);
        }
        let key = FetchKey::Take(self.id.clone(), op);
        help.fetch = Some((op, step.ask(who, ClientBody::Fetch(key))));
    }

    /// Makes the lock known, unless that is being done.
    fn lock_anew(
        &self,
        step: &mut Step<'_>,
        help: &mut Help,
        lock: ValidCertificate,
        take: Verified<TakePayload>,
    ) {
        let is_higher = help
            .round
            .as_ref()
            .is_none_or(|round| is_above(lock.statement(), round.statement()));
        if !is_higher {
            return;
        }
        if let Some(lower) = help.round.take() {
            step.close(lower.request);
        }
        let released = self.proof_of(lock.statement().epoch);
        help.round = Some(LockRound::begin(step, lock, take, released.as_ref()));
    }

    /// Makes the Take known to all, now and again.
    fn show(
        &mut self,
        step: &mut Step<'_>,
        help: &mut Help,
        take: &Verified<TakePayload>,
        hash: ContentHash,
    ) {
        if !help.again.strike(step.now, step.patience()) {
            return;
        }
        match help.evidence {
            Some((op, evidence)) if op == take.op() => step.ask_all_again(evidence),
            _ => {
                let evidence = self.take_requests(step, take, hash, ClientBody::Evidence);
                let evidence = (take.op(), step.ask_each(evidence));
                if let Some((_, other)) = help.evidence.replace(evidence) {
                    step.close(other);
                }
            }
        }
    }

    /// The Take for each replica, with the content for those that do not report it; `ask` says what for.
    pub(super) fn take_requests(
        &mut self,
        step: &mut Step<'_>,
        take: &Verified<TakePayload>,
        hash: ContentHash,
        ask: fn(TakeRequest) -> ClientBody,
    ) -> Vec<(ReplicaId, Arc<ClientBody>)> {
        let holders: Vec<_> = self.holders(hash).collect();
        let is_lacking = step.everyone().count() > holders.len();
        let held = is_lacking.then(|| self.verified_content(step, hash));
        let content = held.flatten().map(|held| held.to_wire());
        let released = self.proof_of(take.epoch);
        let request = |content| {
            Arc::new(ask(TakeRequest {
                take: take.signed().clone(),
                content,
                released: released.as_ref().map(|valid| valid.certificate().clone()),
            }))
        };
        let bare = request(None);
        let whole = match content {
            Some(content) => request(Some(content)),
            None => Arc::clone(&bare),
        };
        let body = |to: ReplicaId| match holders.contains(&to) {
            true => (to, Arc::clone(&bare)),
            false => (to, Arc::clone(&whole)),
        };
        step.everyone().map(body).collect()
    }
}

/// True if a lock is of a later instance or ballot.
pub(super) fn is_above(one: &Statement, other: &Statement) -> bool {
    (one.epoch, one.ballot) > (other.epoch, other.ballot)
}

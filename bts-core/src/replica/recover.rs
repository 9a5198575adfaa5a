//! Recovery inside one instance (PROTOCOL section 5): replicas climb ballots on their own timers, as
//! in a PBFT view change, so that nobody can exhaust, inflate or pre-empt them (B1); the owner of a
//! ballot proposes once it holds `P` promises for it.

use std::collections::BTreeMap;

use super::contest::{Account, Contest, Heard, OwnBallot};
use super::on_timer::Timer;
use super::record::Change;
use super::{Outgoing, Outputs, Principal, Replica};
use crate::codec;
use crate::consensus::ballot::owner;
use crate::consensus::certificate::Value;
use crate::consensus::choose::{choose, takes_behind};
use crate::consensus::promise::{PromiseFault, PromisePayload, SignedPromise, ValidPromise};
use crate::content::{DecidedTake, TakePayload};
use crate::crypto::sign::Kind;
use crate::crypto::verified::Verified;
use crate::ids::{Ballot, EntryId, Epoch, OpId, ReplicaId};
use crate::limits::TAKES_PER_PROMISE_MAX;
use crate::message::{PeerMessage, Proposal};
use crate::time::Span;

/// Two Takes are left to fight for a fraction of Δ, about a round trip, before ballot 1.
const RIVALS_FRACTION: u64 = 8;
/// However long clients need, or pretend to need, the window is no longer than so many times Δ.
const WINDOW_STRETCH_MAX: u64 = 8;
/// Times what they seldom needed: those that were slower and so were helped taught nothing.
const WINDOW_SLACK: u64 = 2;

impl Replica {
    /// a valid Take is known, its content held, the policy allows it: the timer runs. False if
    /// that would open one instance too many on this account; what a replica is bound by anyway is
    /// on nobody's (C7).
    pub(super) fn learn(&mut self, take: Verified<TakePayload>, account: Option<Account>) -> bool {
        let (id, epoch) = (take.id.clone(), take.epoch);
        let bound = self.store.bound(&id);
        let keep = bound.and_then(|bound| bound.instance.first());
        let untouched = bound.is_none_or(|bound| bound.instance.promised() == Ballot::ZERO);
        let unlocked = bound.is_none_or(|bound| bound.instance.locked().is_none());
        let window_ends = self.now + self.window_of(Ballot::ZERO);
        let rivals_since = self.now + self.rival_span();
        if !self.open_contest(&id, epoch, account) {
            self.count("evidence over the limit");
            return false;
        }
        let Some(contest) = self.contests.get_mut(&id) else {
            return false;
        };
        contest.learn(take, keep);
        if untouched && !mutant!(TimerNotStarted) {
            contest.window_ends.get_or_insert(window_ends);
            if contest.takes.len() > 1 && unlocked {
                contest.rivals_since.get_or_insert(rivals_since);
            }
        }
        self.arm_contest(&id);
        true
    }

    pub(super) fn open_contest(
        &mut self,
        id: &EntryId,
        epoch: Epoch,
        account: Option<Account>,
    ) -> bool {
        if self.contests.contains_key(id) {
            return true;
        }
        if let Some(account) = account {
            let open = self.opened.entry(account).or_default();
            if *open >= self.options.limits.open_votes_per_client {
                return false;
            }
            *open += 1;
        }
        self.contests
            .insert(id.clone(), Contest::new(epoch, self.now, account));
        true
    }

    /// The instance is over.
    pub(super) fn close_contest(&mut self, id: &EntryId) -> Option<Contest> {
        let contest = self.contests.remove(id)?;
        if let Some(account) = contest.account
            && let Some(open) = self.opened.get_mut(&account)
        {
            *open -= 1;
            if *open == 0 {
                self.opened.remove(&account);
            }
        }
        Some(contest)
    }

    /// R-5.1a: the timer of an open instance.
    pub(super) fn on_contest_timer(&mut self, id: &EntryId, out: &mut Outputs) {
        let now = self.now;
        let promised = self.store.promised(id);
        let bound = self.store.bound(id);
        let locked = bound.is_some_and(|bound| bound.instance.locked().is_some());
        let Some(contest) = self.contests.get_mut(id) else {
            return;
        };
        let is_due = |at: Option<crate::time::Time>| at.is_some_and(|at| at <= now);
        let rivals = is_due(contest.rivals_since) && promised == Ballot::ZERO && !locked;
        if is_due(contest.rivals_since) {
            contest.rivals_since = None;
        }
        if rivals || is_due(contest.window_ends) {
            contest.window_ends = None;
            self.count(if rivals {
                "ballot: two takes"
            } else {
                "ballot: window over"
            });
            self.enter(id, Ballot(promised.0 + 1), out);
        } else if is_due(contest.repeat_at) {
            let peers = self.peers();
            if !mutant!(PromiseNotRepeated) {
                self.repeat_promise(id, &peers);
            }
            self.repeat_own(id, &peers);
            let again = self.now + self.window_of(promised);
            if let Some(contest) = self.contests.get_mut(id) {
                contest.repeat_at = Some(again);
            }
        }
        self.arm_contest(id);
    }

    /// R-5.1b: enters or joins a higher ballot. The promise, with the first vote and the lock held
    /// before, is logged and sent in the same step (G3).
    pub(super) fn enter(&mut self, id: &EntryId, ballot: Ballot, out: &mut Outputs) {
        let (signed, takes) = self.log_promise(id, ballot, out);
        let again = self.now + self.window_of(ballot);
        if let Some(contest) = self.contests.get_mut(id) {
            contest.repeat_at = Some(again);
        }
        let peers = self.peers();
        self.repeat_promise(id, &peers);
        self.arm_contest(id);
        self.hear(signed, takes, out);
    }

    fn log_promise(
        &mut self,
        id: &EntryId,
        ballot: Ballot,
        out: &mut Outputs,
    ) -> (SignedPromise, Vec<Verified<TakePayload>>) {
        let epoch = self.store.epoch(id);
        let takes = self.takes_to_name(id);
        let bound = self.store.bound(id);
        let payload = PromisePayload {
            id: id.clone(),
            epoch,
            ballot,
            first: bound
                .and_then(|bound| bound.instance.first())
                .filter(|_| !mutant!(PromiseWithoutFirst)),
            lock: bound
                .and_then(|bound| bound.instance.locked())
                .filter(|_| !mutant!(PromiseWithoutLock))
                .map(|lock| lock.certificate().clone()),
            takes: takes
                .iter()
                .map(|take| take.op())
                .take(TAKES_PER_PROMISE_MAX)
                .collect(),
        };
        let locked = bound.and_then(|bound| bound.locked.clone());
        let takes: Vec<_> = takes.into_iter().chain(locked).collect();
        let signed = self.signer.sign(Kind::Promise, codec::encode(&payload));
        let signed = self
            .verifier
            .signed_promise(signed)
            .expect("our own promise is well-formed");
        self.log(Change::Entered(signed.clone(), takes.clone()), out);
        self.count("ballot entered");
        let now = self.now;
        let new = || Contest::new(epoch, now, None);
        let contest = self.contests.get_or_insert_with(id, new);
        contest.window_ends = None;
        contest.rivals_since = None;
        contest.repeat_at = None;
        contest.own = None;
        (signed, takes)
    }

    /// Joins a ballot that others vote or lock in: enters it (G3).
    pub(super) fn join(&mut self, id: &EntryId, ballot: Ballot, out: &mut Outputs) {
        match mutant!(JoinsSilently) {
            true => drop(self.log_promise(id, ballot, out)),
            false => self.enter(id, ballot, out),
        }
    }

    /// Takes a promise into account, if it is valid (G9c).
    pub(super) fn hear(
        &mut self,
        signed: SignedPromise,
        takes: Vec<Verified<TakePayload>>,
        out: &mut Outputs,
    ) -> bool {
        let replica = signed.replica;
        let id = signed.promise.id.clone();
        let known = |op: &OpId| {
            takes
                .iter()
                .find(|take| take.op() == *op)
                .cloned()
                .or_else(|| self.known_take(&id, op))
        };
        let allows = |take: &TakePayload| self.allows(take) || mutant!(PolicyNotAsked);
        let valid = ValidPromise::new(&self.verifier, signed, known, allows);
        let promise = match valid {
            Ok(promise) => promise,
            Err(fault) => {
                self.count("promise not valid");
                if let PromiseFault::BadLock(forgery) = fault {
                    self.blame(Principal::Replica(replica), forgery, out);
                }
                return false;
            }
        };
        for take in promise.allowed().values().cloned().collect::<Vec<_>>() {
            let account = (take.client, Some(replica));
            self.learn(take, Some(account));
        }
        let Some(contest) = self.contests.get_mut(&id) else {
            return false;
        };
        let heard = contest.heard.get(&replica).map(|heard| &heard.promise);
        let before = heard.map(ValidPromise::payload);
        if before.is_none_or(|before| before.ballot < promise.payload().ballot) {
            contest.heard.insert(replica, Heard { promise, takes });
        } else if let Some(evidence) = heard.and_then(|heard| heard.contradicts(&promise)) {
            self.convict(evidence, out);
        }
        self.climb(&id, out);
        true
    }

    /// Sends the latest promise again, as it was.
    pub(super) fn repeat_promise(&mut self, id: &EntryId, to: &[ReplicaId]) {
        let Some(bound) = self.store.bound(id) else {
            return;
        };
        let Some((promise, takes)) = &bound.promise else {
            return;
        };
        let message = PeerMessage::Promise {
            promise: promise.promise.signed().clone(),
            takes: takes.iter().map(|take| take.signed().clone()).collect(),
            released: self.released(id),
        };
        for peer in to.iter().filter(|peer| **peer != self.options.id) {
            self.gate.promise(Outgoing::Peer(*peer, message.clone()));
        }
    }

    /// Sends the latest proposal or lock of an own ballot again.
    pub(super) fn repeat_own(&mut self, id: &EntryId, to: &[ReplicaId]) {
        let Some(own) = self
            .contests
            .get(id)
            .and_then(|contest| contest.own.as_ref())
        else {
            return;
        };
        let message = match &own.lock {
            Some(lock) => PeerMessage::Lock(lock.clone()),
            None => PeerMessage::Propose(own.proposal.clone()),
        };
        for peer in to {
            self.gate.promise(Outgoing::Peer(*peer, message.clone()));
        }
    }

    /// R-5.1a, after a promise: follow `f+1` that are higher, open the window, or propose.
    fn climb(&mut self, id: &EntryId, out: &mut Outputs) {
        let promised = self.store.promised(id);
        let window_ends = self.now + self.window_of(promised);
        let Some(contest) = self.contests.get_mut(id) else {
            return;
        };
        let followed = match mutant!(FollowsOne) {
            true => contest.nth_highest(1),
            false => contest.nth_highest(self.size.fact_quorum()),
        };
        if let Some(ballot) = followed.filter(|ballot| *ballot > promised) {
            self.count("ballot: followed f+1");
            return self.enter(id, ballot, out);
        }
        if promised == Ballot::ZERO {
            return;
        }
        let company = contest.promised_at_least(promised);
        let in_company = company >= self.size.promise_quorum() || mutant!(WindowWithoutCompany);
        if in_company && contest.window_ends.is_none() {
            contest.window_ends = Some(window_ends);
        }
        self.arm_contest(id);
        let epoch = self.store.epoch(id);
        if owner(self.size, id, epoch, promised) == self.options.id {
            self.propose(id, epoch, promised, out);
        }
    }

    /// the owner of a ballot with exactly `P` promises for it proposes, once.
    fn propose(&mut self, id: &EntryId, epoch: Epoch, ballot: Ballot, out: &mut Outputs) {
        let Some(contest) = self.contests.get(id) else {
            return;
        };
        if contest.own.as_ref().is_some_and(|own| own.ballot >= ballot) {
            return;
        }
        // A promise whose lock names a Take that did not come with it is of no use: whoever is
        // correct sends the Take along, and a faulty one must not hold up the ballot.
        let usable = |promise: &&ValidPromise| {
            let value = promise.lock().map(|lock| lock.statement().value);
            promise.payload().ballot == ballot
                && !matches!(value, Some(Value::Take(op)) if self.known_take(id, &op).is_none())
        };
        let promises: Vec<_> = contest
            .heard
            .values()
            .map(|heard| &heard.promise)
            .filter(usable)
            .take(self.size.promise_quorum())
            .cloned()
            .collect();
        let Ok(choice) = choose(self.size, &promises) else {
            return;
        };
        let waits = |take: &TakePayload| self.sessions.is_connected(&take.taker());
        let value = choice.pick(waits);
        let takes = self.takes_named(id, &promises, value);
        let evidence = match value {
            Value::Take(op) => takes.get(&op),
            Value::Release | Value::Expire => takes.values().find(|take| self.allows(take)),
        };
        let Some(evidence) = evidence.map(|take| take.signed().clone()) else {
            return self.count("proposal lacks its take");
        };
        self.count(match choice {
            crate::consensus::choose::Choice::Forced(_) => "proposed forced",
            crate::consensus::choose::Choice::Free { .. } => "proposed free",
        });
        let proposal = Proposal {
            id: id.clone(),
            epoch,
            ballot,
            value,
            promises: promises
                .iter()
                .map(|promise| promise.signed().clone())
                .collect(),
            takes: takes.values().map(|take| take.signed().clone()).collect(),
            released: self.released(id),
        };
        if let Some(contest) = self.contests.get_mut(id) {
            contest.own = Some(OwnBallot::new(proposal.clone(), evidence));
        }
        self.promise_peers(&PeerMessage::Propose(proposal.clone()));
        self.on_propose(self.options.id, proposal, out);
    }

    /// Every Take that a checker of the proposal will want in full, and none that the choice did not
    /// rest on.
    fn takes_named(
        &self,
        id: &EntryId,
        promises: &[ValidPromise],
        value: Value,
    ) -> BTreeMap<OpId, Verified<TakePayload>> {
        let mut takes = takes_behind(promises);
        if let Value::Take(op) = value {
            takes.extend(self.known_take(id, &op).map(|take| (op, take)));
        }
        takes
    }

    /// The Takes a promise names: that of the first vote, and the least (D3).
    fn takes_to_name(&self, id: &EntryId) -> Vec<Verified<TakePayload>> {
        let first = self.store.bound(id).and_then(|bound| bound.first.as_ref());
        let least = self.contests.get(id).and_then(Contest::least);
        let other = least.filter(|least| first.is_none_or(|first| first.op() != least.op()));
        first.into_iter().chain(other).cloned().collect()
    }

    pub(super) fn arm_contest(&mut self, id: &EntryId) {
        if let Some(due) = self.contests.get(id).and_then(Contest::due) {
            self.timers.arm(Timer::Contest(id.clone().into()), due);
        }
    }

    /// Δ, doubled in each ballot: as it was set, or longer where clients need longer to decide without
    /// anybody's help. Climbing while they do is work for everybody, which makes them slower still.
    pub(super) fn window_of(&self, ballot: Ballot) -> Span {
        let set = self.options.window;
        let needed = self.deciding.bound().times(WINDOW_SLACK);
        let needed = needed.min(set.times(WINDOW_STRETCH_MAX));
        set.max(needed).doubled(ballot.0)
    }

    /// A Take was decided. How long clients need is learnt from those who needed nobody's help.
    pub(super) fn note_pace(&mut self, decided: &DecidedTake) {
        let is_fast = decided.certificate().statement().ballot == Ballot::ZERO;
        if let Some(contest) = self.contests.get(decided.id()).filter(|_| is_fast) {
            let longest = self.options.window.times(WINDOW_STRETCH_MAX);
            let took = self.now.since(contest.opened_at);
            self.deciding.note(took.min(longest));
        }
    }

    fn rival_span(&self) -> Span {
        Span::from_micros(self.window_of(Ballot::ZERO).as_micros() / RIVALS_FRACTION)
    }
}

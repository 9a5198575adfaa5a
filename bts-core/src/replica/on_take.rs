//! Takes (R-4.3a): the first vote of ballot 0, and Takes told as evidence.

use super::answer::Standing;
use super::outputs::VoteTo;
use super::record::Change;
use super::{Outputs, Principal, Replica};
use crate::consensus::certificate::{Statement, Value, VoteKind};
use crate::content::TakePayload;
use crate::crypto::verified::Verified;
use crate::ids::{Ballot, ClientRef, Epoch, OpId, RequestId, TakeNumber};
use crate::limits::UNSETTLED_TAKES_MAX;
use crate::message::{FetchKey, Refused, ReplyBody, TakeRequest};

impl Replica {
    /// R-4.3a: a replica that holds the content in this epoch and has promised and voted nothing,
    /// votes, if the policy and the client's limits allow.
    pub(super) fn on_take(
        &mut self,
        from: ClientRef,
        request: RequestId,
        message: TakeRequest,
        settled_below: TakeNumber,
        out: &mut Outputs,
    ) {
        let Some(take) = self.admit_take(from, request, message, out) else {
            return;
        };
        let own = take.client == from.key && take.session == from.session;
        if !own {
            let why = "a vote is given to the client that signed the Take".to_owned();
            return self.refuse(from, request, Refused::IllFormed(why), out);
        }
        if let Some(refusal) = self.over_limit(&take, settled_below) {
            return self.refuse(from, request, refusal, out);
        }
        self.learn(take.clone(), None);
        self.concern(&take, from, request);
        let instance = self
            .store
            .bound(&take.id)
            .map(|bound| bound.instance.clone());
        let instance = instance.unwrap_or_default();
        if instance.may_first_vote(take.op()).is_err() {
            self.count("take contended");
            let (id, status) = (take.id.clone(), self.status(&take.id, &take.content, from));
            return self.promise(from, request, ReplyBody::Contended { id, status });
        }
        if instance.first().is_none() {
            self.log(Change::FirstVote(take.clone()), out);
        }
        let statement = Statement {
            id: take.id.clone(),
            epoch: take.epoch,
            ballot: Ballot::ZERO,
            value: Value::Take(take.op()),
        };
        self.vote(VoteTo::Client(from, request), VoteKind::First, statement);
    }

    /// a Take told by anybody. It starts timers and asks for no vote.
    pub(super) fn on_evidence(
        &mut self,
        from: ClientRef,
        request: RequestId,
        message: TakeRequest,
        out: &mut Outputs,
    ) {
        let Some(take) = self.admit_take(from, request, message, out) else {
            return;
        };
        if !self.learn(take.clone(), Some((from.key, None))) {
            let why = "too many open instances that this client told of".to_owned();
            return self.refuse(from, request, Refused::Limit(why), out);
        }
        self.concern(&take, from, request);
        self.reply_status(from, request, &take.id, take.content);
    }

    /// Verifies a Take, takes in what came with it, and makes it known; `None` if the client has
    /// been answered.
    fn admit_take(
        &mut self,
        from: ClientRef,
        request: RequestId,
        message: TakeRequest,
        out: &mut Outputs,
    ) -> Option<Verified<TakePayload>> {
        let take = match self.verifier.take(message.take) {
            Ok(take) => take,
            Err(forgery) => {
                self.blame_client(from, request, forgery, out);
                return None;
            }
        };
        let by = Principal::Client(from);
        if let Some(content) = message.content
            && !self.holds(&take)
            && !self.store.is_removed(&take.id)
        {
            self.take_in(by, content, &take.id, out);
        }
        match self.standing(by, &take.id, take.epoch, message.released, out) {
            Standing::Current => {}
            Standing::Removed | Standing::Over => {
                self.reply_over(from, request, &take.id);
                return None;
            }
            Standing::Ahead => {
                let before = Epoch(take.epoch.0.saturating_sub(1));
                let lacks = FetchKey::Release(take.id.clone(), before);
                self.reply(from, request, ReplyBody::NotHeld(lacks), out);
                return None;
            }
        }
        if !self.holds(&take) {
            let lacks = FetchKey::Content(take.id.clone(), take.content);
            self.reply(from, request, ReplyBody::NotHeld(lacks), out);
            return None;
        }
        if !self.allows(&take) {
            let why = format!("no right to take {} or to put these", take.id);
            self.refuse(from, request, Refused::Forbidden(why), out);
            return None;
        }
        Some(take)
    }

    /// True if the content that the Take names is held (A2).
    pub(super) fn holds(&self, take: &TakePayload) -> bool {
        if mutant!(VoteWithoutContent) {
            return true;
        }
        self.store.holds(&take.id, &take.content)
    }

    /// True if the content is held and the policy allows the Take (A4, C7).
    pub(super) fn allows(&self, take: &TakePayload) -> bool {
        let policy = self.options.configuration.policy();
        let access = self.store.access(&take.id, &take.content);
        if mutant!(VoteWithoutContent) && access.is_none() {
            return policy.allows(take, None);
        }
        access.is_some_and(|access| policy.allows(take, access.as_ref()))
    }

    /// Refusing a first vote is always safe, so limits apply here and nowhere later (C7);
    /// the number of unsettled Takes among them.
    fn over_limit(&self, take: &Verified<TakePayload>, settled: TakeNumber) -> Option<Refused> {
        let voted = self
            .store
            .bound(&take.id)
            .and_then(|bound| bound.instance.first());
        if voted == Some(take.op()) {
            return None;
        }
        if let Some(refusal) = self.refuses_session(take.taker()) {
            return Some(refusal);
        }
        let limits = &self.options.limits;
        if take.number.0 >= settled.0.saturating_add(UNSETTLED_TAKES_MAX) {
            let why = format!("{UNSETTLED_TAKES_MAX} unsettled Takes of one session");
            return Some(Refused::Limit(why));
        }
        if self.store.open_votes_of(&take.client) >= limits.open_votes_per_client {
            let why = format!(
                "{} undecided Takes of one client",
                limits.open_votes_per_client
            );
            return Some(Refused::Limit(why));
        }
        let present = self.store.written_by(&take.client);
        if !take.puts.is_empty() && present + take.puts.len() > limits.live_contents_per_writer {
            let why = format!("{} entries of this writer", limits.live_contents_per_writer);
            return Some(Refused::Limit(why));
        }
        None
    }

    fn concern(&mut self, take: &TakePayload, client: ClientRef, request: RequestId) {
        if let Some(contest) = self.contests.get_mut(&take.id) {
            contest.concern(client, request);
        }
    }

    /// A Take of this instance in full, from wherever it is known.
    pub(super) fn known_take(
        &self,
        id: &crate::ids::EntryId,
        op: &OpId,
    ) -> Option<Verified<TakePayload>> {
        let contest = self.contests.get(id).and_then(|contest| contest.take(op));
        let bound = || self.store.bound(id).and_then(|bound| bound.take(op));
        contest.or_else(bound).cloned()
    }
}

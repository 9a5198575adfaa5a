//! `rdp` and `rd`, and the reading that `inp`, `in` and swaps begin with: one question to
//! all, judged by to R-4.2e with every reply. A replica that waits for us pushes what
//! arrives; nothing is polled.

use super::Outcome;
use super::absent::{Absence, EmptySince, Round1};
use super::candidates::Candidates;
use super::pace::{Backoff, Wake, grace};
use super::replies::{Answer, Refusals, Replies};
use super::spared::Spared;
use super::step::Step;
use crate::content::Decision;
use crate::crypto::hash::{Domain, Hasher};
use crate::ids::{ReplicaId, RequestId, SpaceName, WatchId};
use crate::limits::CANDIDATES_MAX;
use crate::message::{Candidate, ClientBody, ReadMode, ReadRequest, Refused, ReplyBody};
use crate::template::Template;
use crate::time::{Span, Time};

/// A read under way.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) candidates: Candidates,
    request: RequestId,
    is_asked: bool,
    spared: Spared,
    mode: ReadMode,
    /// How many entries each replica is to name, at most.
    count: usize,
    replies: Replies,
    absence: Absence,
    refusals: Refusals,
    refused: Option<Refused>,
    began: Time,
    quorum: Option<Quorum>,
}

/// What follows from a quorum having answered.
#[derive(Debug)]
struct Quorum {
    /// Until when the others are waited for.
    settle_at: Time,
    has_settled: bool,
    grace: Span,
    /// When replicas that named something are asked anew.
    again: Backoff,
    /// The same if nothing is left of what they named.
    at_loss: Backoff,
}

/// What a reading has come to, besides the candidates it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing yet.
    Pending,
    /// At one instant nothing matched.
    Absent,
    /// `f+1` replicas refuse.
    Refused(Refused),
}

impl Reading {
    /// Asks all replicas.
    pub(super) fn begin(
        step: &mut Step<'_>,
        space: SpaceName,
        template: Template,
        mode: ReadMode,
    ) -> Self {
        let count = usize::from(step.shared.options.candidates);
        Self::begin_with(step, space, template, mode, count)
    }

    /// Asks all replicas for so many entries.
    pub(super) fn begin_with(
        step: &mut Step<'_>,
        space: SpaceName,
        template: Template,
        mode: ReadMode,
        count: usize,
    ) -> Self {
        let mut reading = Self::of(step, Candidates::new(space, template, 0), mode);
        reading.count = count;
        reading.ask(step);
        reading
    }

    /// A reading that has candidates from before, and asks nobody as long as they suffice.
    pub(super) fn warm(step: &mut Step<'_>, candidates: Candidates, mode: ReadMode) -> Self {
        Self::of(step, candidates, mode)
    }

    fn of(step: &mut Step<'_>, candidates: Candidates, mode: ReadMode) -> Self {
        Self {
            candidates,
            request: step.shared.requests.draw(),
            is_asked: false,
            spared: Spared::default(),
            mode,
            count: usize::from(step.shared.options.candidates),
            replies: Replies::default(),
            absence: Absence::new(),
            refusals: Refusals::default(),
            refused: None,
            began: step.now,
            quorum: None,
        }
    }

    fn ask(&mut self, step: &mut Step<'_>) {
        self.is_asked = true;
        self.began = step.now;
        let start = ring_start(step, self.request);
        self.candidates.start_at(start);
        self.spared = Spared::choose(step, self.mode);
        let asked = step.everyone();
        let asked: Vec<_> = asked.filter(|to| !self.spared.contains(*to)).collect();
        let full = step.shared.pace.pick(asked.iter().copied(), step.now);
        let body = ClientBody::Read(ReadRequest {
            space: self.candidates.space.clone(),
            template: self.candidates.template.clone(),
            mode: self.mode,
            start,
            candidates: self.count.min(CANDIDATES_MAX) as u8,
            full: full.unwrap_or_default(),
        });
        step.ask_as(self.request, asked, body);
    }

    /// Asks those that were spared, if who was asked does not suffice (R-4.2g): it named what cannot be returned as
    /// it is, or takes too long.
    fn ask_spared(&mut self, step: &mut Step<'_>, wake: &mut Wake) {
        let Some(due_at) = self.spared.due_at() else {
            return;
        };
        let is_open = self.replies.all().values().any(|answer| answer.is_open);
        let falls_short = self.quorum.is_some() && is_open;
        if !falls_short && step.now < due_at {
            return wake.at(due_at);
        }
        if self.quorum.is_none() {
            for late in self.spared.missing(step, &self.replies) {
                step.shared.pace.on_late(late, step.now);
            }
        }
        if mutant!(SparedNotAsked) {
            return;
        }
        let spared = self.spared.take(step);
        step.ask_also(self.request, &spared);
        // They have as much time as the others had.
        if let Some(quorum) = &mut self.quorum {
            quorum.settle_at = step.now + step.now.since(self.began) + quorum.grace;
        }
    }

    /// True if this is an answer to the question itself.
    pub(super) fn asked(&self, request: RequestId) -> bool {
        request == self.request
    }

    /// Hands over what it found and has not used, with the time when it was asked.
    pub(super) fn rest(&mut self) -> (Time, Candidates) {
        let Candidates {
            space, template, ..
        } = &self.candidates;
        let new = Candidates::new(space.clone(), template.clone(), 0);
        (self.began, std::mem::replace(&mut self.candidates, new))
    }

    /// Ends it for good and hands over what it found, with the time when it was asked.
    pub(super) fn into_candidates(self, step: &mut Step<'_>) -> (Time, Candidates) {
        step.close(self.request);
        (self.began, self.candidates)
    }

    /// True if all replicas have answered.
    pub(super) fn is_answered(&self, step: &Step<'_>) -> bool {
        step.others(self.replies.all()).is_empty()
    }

    /// True if an answer to this request is for this reading.
    pub(super) fn owns(&self, request: RequestId) -> bool {
        request >= self.request
    }

    /// Takes a reply in. What it means is asked afterwards.
    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        body: ReplyBody,
    ) {
        let is_round_1 = request == self.request;
        match body {
            ReplyBody::Found {
                candidates,
                watch,
                moved,
            } if is_round_1 => self.on_found(step, from, candidates, watch, moved),
            ReplyBody::Push(candidate) if is_round_1 => self.on_push(step, from, *candidate),
            ReplyBody::Refused(refused) if is_round_1 => {
                let fact = self.refusals.count(from, refused, step.size());
                self.refused = self.refused.take().or(fact);
            }
            ReplyBody::EmptySince {
                nonce,
                watch,
                since,
                moved,
            } => {
                let answer = EmptySince {
                    nonce,
                    watch,
                    since,
                    moved,
                };
                let round_1 = self
                    .absence
                    .on_empty_since(step, from, answer, &mut self.replies);
                if round_1 == Round1::Over {
                    self.replies.forget(from);
                    step.ask_again(self.request, from);
                }
            }
            body => {
                self.absence.on_reply(step, from, &body);
                self.candidates.on_reply(step, from, request, body);
            }
        }
    }

    /// Does what is due, once the candidates that are there do not suffice.
    pub(super) fn advance(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> Verdict {
        if !self.is_asked {
            self.candidates.clear(step);
            self.ask(step);
        }
        if let Some(refused) = &self.refused {
            return Verdict::Refused(refused.clone());
        }
        if !self.mode.waits() && self.absence.advance(step, &self.replies, wake) {
            return Verdict::Absent;
        }
        self.ask_spared(step, wake);
        if self.is_settled(step, wake) {
            self.candidates.settle(step, wake);
            self.ask_anew(step, wake);
        }
        Verdict::Pending
    }

    /// Begins anew: what was reported counts no more, nor who was asked because of it. Answers to that went to
    /// the reading that was looked at meanwhile.
    pub(super) fn renew(&mut self, step: &mut Step<'_>) {
        self.replies.clear();
        self.candidates.clear(step);
        self.absence.close(step);
        self.absence = Absence::new();
        self.quorum = None;
        self.began = step.now;
        match self.is_asked {
            // Only takes look anew, and these spare nobody.
            true => step.ask_all_again(self.request),
            false => self.ask(step),
        }
    }

    /// Somebody made progress, so that it is worth asking soon.
    pub(super) fn hasten(&mut self, now: Time) {
        if let Some(quorum) = &mut self.quorum {
            quorum.again = Backoff::starting(now + quorum.grace, quorum.grace);
            quorum.at_loss = Backoff::new(quorum.grace);
        }
    }

    /// Ends it; replicas that keep a waiter for it are told to forget it.
    pub(super) fn close(&mut self, step: &mut Step<'_>) {
        if self.mode.waits() && self.is_asked {
            let waiter = self.request;
            step.tell(step.everyone(), ClientBody::Cancel { waiter });
        }
        step.close(self.request);
        self.absence.close(step);
        self.candidates.clear(step);
    }

    fn on_found(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        candidates: Vec<Candidate>,
        watch: Option<WatchId>,
        moved: Vec<Decision>,
    ) {
        if candidates.len() > CANDIDATES_MAX {
            return step.accuse(from, "named more entries than one answer may");
        }
        let Some(moved) = self.absence.check_moved(step, from, moved) else {
            return;
        };
        let has_named = !candidates.is_empty();
        let empty = watch.filter(|_| !has_named);
        if self.candidates.on_report(step, from, candidates).is_none() {
            return;
        }
        let ops = moved.iter().map(|decided| decided.op()).collect();
        for decided in moved {
            self.candidates.on_decided(step, &decided);
            self.absence.stabilise(step, decided);
        }
        let answer = Answer {
            is_open: has_named || (empty.is_none() && !self.mode.waits()),
            empty,
            moved: ops,
        };
        if self
            .quorum
            .as_ref()
            .is_none_or(|quorum| !quorum.has_settled)
        {
            step.shared.pace.on_timely(from);
        }
        self.replies.record(from, answer);
        self.on_quorum(step);
    }

    /// The newest that this replica says of the entry.
    fn on_push(&mut self, step: &mut Step<'_>, from: ReplicaId, candidate: Candidate) {
        if self.candidates.has_too_many_of(from) {
            return;
        }
        let grace = self.quorum.as_ref().map(|quorum| quorum.grace);
        let grace = grace.unwrap_or_else(|| pace_of(step.now, self.began));
        // Its writer is on the way to the others.
        let ripe_at = step.now + grace.max(step.patience());
        let pushed = self
            .candidates
            .on_more(step, from, vec![candidate], ripe_at);
        if pushed.is_some() {
            self.replies.on_push(from);
        }
    }

    fn on_quorum(&mut self, step: &Step<'_>) {
        if self.quorum.is_some() || !self.replies.are_enough(step.size()) {
            return;
        }
        let grace = pace_of(step.now, self.began);
        let settle_at = step.now + grace;
        self.quorum = Some(Quorum {
            settle_at,
            has_settled: false,
            grace,
            again: Backoff::starting(settle_at + grace, grace),
            at_loss: Backoff::new(grace),
        });
        self.spared.on_quorum(step);
        self.absence.pace(grace, step.now.since(self.began));
    }

    /// True if nothing is gained by waiting for more replies.
    fn is_settled(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> bool {
        let Some(quorum) = &mut self.quorum else {
            return false;
        };
        if let Some(until) = self.absence.expected_until().filter(|u| step.now < *u) {
            wake.at(until);
            return false;
        }
        if quorum.has_settled {
            return true;
        }
        let missing = self.spared.missing(step, &self.replies);
        let pace = &mut step.shared.pace;
        let is_over = step.now >= quorum.settle_at;
        if is_over {
            let late = missing.iter();
            late.for_each(|replica| pace.on_late(*replica, step.now));
        }
        quorum.has_settled = is_over || missing.iter().all(|r| pace.is_slow(*r, step.now));
        if !quorum.has_settled {
            wake.at(quorum.settle_at);
        }
        quorum.has_settled
    }

    /// Asks those that may say something else again, at growing intervals.
    fn ask_anew(&mut self, step: &mut Step<'_>, wake: &mut Wake) {
        let Some(quorum) = &mut self.quorum else {
            return;
        };
        let open = self.replies.all().iter().filter(|(_, a)| a.is_open);
        let open: Vec<_> = open.map(|(replica, _)| *replica).collect();
        if open.is_empty() {
            return;
        }
        let due = match self.candidates.is_empty() {
            true => &mut quorum.at_loss,
            false => &mut quorum.again,
        };
        if due.strike(step.now, step.patience()) {
            for replica in open {
                step.ask_again(self.request, replica);
            }
        }
        wake.at(due.due_at());
    }
}

fn pace_of(now: Time, began: Time) -> Span {
    grace(now.since(began))
}

/// `h(client, request number)`: different clients begin at different places.
fn ring_start(step: &Step<'_>, request: RequestId) -> u64 {
    Hasher::new(Domain::RingStart)
        .part(&step.shared.me.key.0)
        .number(step.shared.me.session.0)
        .number(request.0)
        .finish()
        .head()
}

/// `rdp` and `rd`.
#[derive(Debug)]
pub(super) struct Read {
    reading: Reading,
}

impl Read {
    pub(super) fn begin(
        step: &mut Step<'_>,
        space: SpaceName,
        template: Template,
        wait: bool,
    ) -> Self {
        let mode = if wait { ReadMode::Rd } else { ReadMode::Rdp };
        let reading = Reading::begin(step, space, template, mode);
        Self { reading }
    }

    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        body: ReplyBody,
    ) {
        self.reading.on_reply(step, from, request, body);
    }

    pub(super) fn advance(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> Option<Outcome> {
        let outcome = match self.reading.candidates.present(step, wake) {
            Some(found) => Outcome::Found(found),
            None => match self.reading.advance(step, wake) {
                Verdict::Pending => return None,
                Verdict::Absent => Outcome::None,
                Verdict::Refused(refused) => Outcome::Refused(refused),
            },
        };
        self.reading.close(step);
        Some(outcome)
    }

    pub(super) fn cancel(&mut self, step: &mut Step<'_>) {
        self.reading.close(step);
    }
}

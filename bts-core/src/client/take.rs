//! `inp`, `in` and swaps (PROTOCOL section 4): a reading names candidates, one of them at a time is
//! engaged, a lost one makes room for the next. A crashed client costs at most one tuple, since it
//! is engaged in one instance at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::candidates::{Candidates, Choice};
use super::case::Case;
use super::engage::{End, Engagement};
use super::pace::Wake;
use super::read::{Reading, Verdict};
use super::step::Step;
use super::warm::Origin;
use super::{Op, Outcome, SwapWith};
use crate::consensus::certificate::VoteKind;
use crate::content::{Access, DecidedTake, Put, TakePayload};
use crate::crypto::sign::{Kind, SignedBytes};
use crate::ids::{EntryId, ReplicaId, RequestId, SpaceName};
use crate::message::{ClientBody, Found, ReadMode, Refused, Removal, ReplyBody};
use crate::template::Template;
use crate::time::Time;

/// A take under way.
pub(super) struct Take {
    reading: Reading,
    /// The entry that lay ready for it.
    warm: Option<EntryId>,
    with: Option<SwapWith>,
    stage: Stage,
    refused: BTreeMap<EntryId, Refused>,
    /// Nobody waits for the result any more: what is engaged is finished, nothing new begins.
    is_abandoned: bool,
    /// The access lists of what was won.
    won_access: Option<Access>,
    /// Candidates for the next take of a worker that loops.
    next: Option<Reading>,
}

#[derive(Debug)]
enum Stage {
    /// No entry is engaged.
    Choosing,
    /// A Take of one was chosen, and is being signed.
    Signing(Box<(Choice, TakePayload)>),
    /// One entry is.
    Engaged(Box<Engagement>),
    /// A swap is decided and becomes stable.
    Spreading(Spreading),
    /// The swap's function does not want the tuple: it must have been there all the same.
    Declining(Box<Reading>),
}

/// A decided swap on its way to `q` replicas.
#[derive(Debug)]
struct Spreading {
    decided: Arc<DecidedTake>,
    taken: Found,
    applied: BTreeSet<ReplicaId>,
}

impl fmt::Debug for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Take")
            .field("swap", &self.with.is_some())
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl Take {
    pub(super) fn begin(
        step: &mut Step<'_>,
        space: SpaceName,
        template: Template,
        wait: bool,
        with: Option<SwapWith>,
    ) -> Self {
        let mode = if wait { ReadMode::In } else { ReadMode::Enter };
        let patience = step.patience();
        let warm = &mut step.shared.warm;
        let siblings = &step.shared.siblings;
        let ready = warm.pick(&space, &template, step.now, patience, siblings);
        let warm = ready.as_ref().map(|case| case.id.clone());
        let reading = match ready {
            Some(case) => {
                let candidates = Candidates::new(space, template, 0).with(case);
                Reading::warm(step, candidates, mode)
            }
            None => Reading::begin(step, space, template, mode),
        };
        Self {
            reading,
            warm,
            with,
            stage: Stage::Choosing,
            refused: BTreeMap::new(),
            is_abandoned: false,
            won_access: None,
            next: None,
        }
    }

    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        body: ReplyBody,
    ) -> Option<Outcome> {
        if let Some(next) = self.next.as_mut().filter(|next| next.asked(request)) {
            next.on_reply(step, from, request, body);
            if next.is_answered(step) {
                self.stock_next(step);
            }
            return None;
        }
        match &mut self.stage {
            Stage::Engaged(engagement) if engagement.owns(request) => {
                let end = engagement.on_reply(step, from, request, body)?;
                return self.on_end(step, end);
            }
            Stage::Spreading(spreading) => {
                spreading.on_reply(from, &body);
                let is_done = spreading.applied.len() >= step.size().ack_quorum();
                if is_done {
                    let outcome = spreading.outcome();
                    return self.finish(step, outcome);
                }
            }
            Stage::Declining(reading) if reading.owns(request) => {
                reading.on_reply(step, from, request, body);
            }
            Stage::Choosing | Stage::Signing(_) | Stage::Engaged(_) | Stage::Declining(_) => {
                self.reading.on_reply(step, from, request, body);
            }
        }
        None
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> Option<Outcome> {
        loop {
            match &mut self.stage {
                Stage::Engaged(engagement) => {
                    engagement.advance(step, wake);
                    return None;
                }
                Stage::Signing(_) | Stage::Spreading(_) => return None,
                Stage::Declining(reading) => {
                    if let Some(found) = reading.candidates.present(step, wake) {
                        return self.finish(step, Outcome::Declined(found));
                    }
                    match reading.advance(step, wake) {
                        Verdict::Pending => return None,
                        Verdict::Refused(refused) => {
                            return self.finish(step, Outcome::Refused(refused));
                        }
                        Verdict::Absent => {}
                    }
                    reading.close(step);
                    self.stage = Stage::Choosing;
                    self.reading.renew(step);
                }
                Stage::Choosing => match self.choose(step, wake) {
                    Some(choice) => {
                        if let Some(outcome) = self.try_take(step, choice) {
                            return self.finish(step, outcome);
                        }
                    }
                    None => return self.look_further(step, wake),
                },
            }
        }
    }

    /// Gives up, as far as possible: what is engaged goes on in the background, and the result is
    /// then unknown. True if there is such a rest.
    pub(super) fn cancel(&mut self, step: &mut Step<'_>) -> bool {
        self.reading.close(step);
        self.is_abandoned = true;
        match &mut self.stage {
            Stage::Choosing => false,
            Stage::Signing(signing) => {
                step.shared.takes.settle(signing.1.number);
                step.shared.siblings.disengage(&signing.1.id);
                false
            }
            Stage::Declining(reading) => {
                reading.close(step);
                false
            }
            Stage::Engaged(_) | Stage::Spreading(_) => true,
        }
    }

    /// The access lists of what was won, if it has any.
    pub(super) fn won_access(&self) -> Option<&Access> {
        self.won_access.as_ref()
    }

    fn choose(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> Option<Choice> {
        self.reading.candidates.choose(step, &self.refused, wake)
    }

    /// No candidate: perhaps there is none, or work must be put into those that are there.
    fn look_further(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> Option<Outcome> {
        let outcome = match self.reading.advance(step, wake) {
            Verdict::Refused(refused) => Outcome::Refused(refused),
            Verdict::Absent => Outcome::None,
            Verdict::Pending => return None,
        };
        self.finish(step, outcome)
    }

    /// Engages an entry; an outcome if there is nothing to engage for.
    fn try_take(&mut self, step: &mut Step<'_>, choice: Choice) -> Option<Outcome> {
        if let Some(refused) = self.refused.get(&choice.id) {
            return Some(Outcome::Refused(refused.clone()));
        }
        let puts = match &mut self.with {
            None => Vec::new(),
            Some(with) => match with(&choice.tuple) {
                Some(puts) => puts,
                None => {
                    self.decline(step, &choice);
                    return None;
                }
            },
        };
        self.engage(step, choice, puts)
    }

    fn engage(&mut self, step: &mut Step<'_>, choice: Choice, puts: Vec<Put>) -> Option<Outcome> {
        let number = step.shared.takes.draw();
        let me = step.shared.me;
        let payload = TakePayload {
            client: me.key,
            session: me.session,
            number,
            id: choice.id.clone(),
            content: choice.hash,
            epoch: choice.epoch,
            puts,
        };
        if let Err(malformed) = step.sign_take(&payload) {
            step.shared.takes.settle(number);
            return Some(Outcome::Malformed(malformed.to_string()));
        }
        step.shared.siblings.engage(&choice.id, step.key);
        self.stage = Stage::Signing(Box::new((choice, payload)));
        None
    }

    /// Sends the Take that was signed, unless the entry is gone meanwhile.
    pub(super) fn on_signed(&mut self, step: &mut Step<'_>, signed: SignedBytes) {
        let Stage::Signing(signing) = std::mem::replace(&mut self.stage, Stage::Choosing) else {
            return;
        };
        let (choice, payload) = *signing;
        let Some(case) = self.reading.candidates.case(&choice.id) else {
            step.shared.siblings.disengage(&payload.id);
            return step.shared.takes.settle(payload.number);
        };
        let take = step.shared.verifier.own(Kind::Take, payload, signed);
        let requests = case.take_requests(step, &take, choice.hash, ClientBody::Take);
        let content = case.contents.get(&choice.hash).cloned();
        let engagement = Engagement::begin(step, choice, content, take, requests);
        self.stage = Stage::Engaged(Box::new(engagement));
        self.look_ahead(step);
    }

    /// R-4.3c: behind the Take, so that its entry is not named again.
    fn look_ahead(&mut self, step: &mut Step<'_>) {
        let (space, template) = (
            &self.reading.candidates.space,
            &self.reading.candidates.template,
        );
        if self.next.is_some() {
            return;
        }
        let (patience, warm) = (step.patience(), &mut step.shared.warm);
        if let Some(count) = warm.wants(space, template, step.now, patience) {
            let (space, template) = (space.clone(), template.clone());
            let mode = ReadMode::Enter;
            self.next = Some(Reading::begin_with(step, space, template, mode, count));
        }
    }

    /// What was found for the next takes is there for all operations of this client.
    fn stock_next(&mut self, step: &mut Step<'_>) {
        if let Some(next) = self.next.take() {
            let (asked_at, candidates) = next.into_candidates(step);
            stock(step, asked_at, candidates, Origin::Named);
        }
    }

    /// What was found besides is for the next takes of the same template.
    fn keep_warm(&mut self, step: &mut Step<'_>) {
        let reading = &mut self.reading;
        let (space, template) = (&reading.candidates.space, &reading.candidates.template);
        let (space, template) = (&space.clone(), &template.clone());
        let lay_ready = self.warm.is_some();
        step.shared
            .warm
            .on_won(space, template, step.now, lay_ready);
        let rest = reading.rest();
        let next = self.next.take().map(|next| next.into_candidates(step));
        for (asked_at, candidates) in next.into_iter().chain([rest]) {
            stock(step, asked_at, candidates, Origin::Named);
        }
        if let Stage::Spreading(spreading) = &self.stage {
            let (space, template) = (space.clone(), template.clone());
            if let Some(puts) = spreading.candidates(step, Candidates::new(space, template, 0)) {
                stock(step, step.now, puts, Origin::Put);
            }
        }
    }

    /// An `rdp` for equal tuples: rule 2 on replies that are synced, unlike those of Enter (A9).
    fn decline(&mut self, step: &mut Step<'_>, choice: &Choice) {
        let space = choice.id.space().clone();
        let template = Template::from(choice.tuple.clone());
        let reading = Reading::begin(step, space, template, ReadMode::Rdp);
        self.stage = Stage::Declining(Box::new(reading));
    }

    fn on_end(&mut self, step: &mut Step<'_>, end: End) -> Option<Outcome> {
        let Stage::Engaged(mut engagement) = std::mem::replace(&mut self.stage, Stage::Choosing)
        else {
            return None;
        };
        engagement.close(step);
        step.shared.takes.settle(engagement.take().number);
        step.shared.siblings.disengage(&engagement.take().id);
        let choice = engagement.choice;
        let is_won = matches!(end, End::Won(_));
        if !is_won && self.warm.take().is_some_and(|warm| warm == choice.id) {
            let candidates = &self.reading.candidates;
            let (space, template) = (&candidates.space, &candidates.template);
            step.shared.warm.on_lost(space, template);
        }
        match end {
            End::Won(decided) => return self.on_won(step, &choice, decided),
            End::Lost(decided) => {
                step.shared.siblings.on_taken(&decided, step.now);
                self.reading.candidates.on_decided(step, &decided);
            }
            End::Released(certificate) => {
                self.reading.candidates.on_released(&certificate);
            }
            End::Forgotten => self.reading.candidates.drop_removed(step, &choice.id),
            End::Refused(Refused::SessionEnded) if !self.is_abandoned => {
                return self.finish(step, Outcome::Refused(Refused::SessionEnded));
            }
            End::Refused(refused) => {
                self.refused.insert(choice.id.clone(), refused);
            }
        }
        if self.is_abandoned {
            return Some(Outcome::Unknown);
        }
        self.reading.hasten(step.now);
        None
    }

    fn on_won(
        &mut self,
        step: &mut Step<'_>,
        choice: &Choice,
        decided: Arc<DecidedTake>,
    ) -> Option<Outcome> {
        step.shared.siblings.on_taken(&decided, step.now);
        let decision = decided.to_wire();
        if self.with.is_some() {
            let applied = true;
            step.ask_all(ClientBody::Decide { decision, applied });
            self.stage = Stage::Spreading(Spreading {
                decided,
                taken: choice.found(),
                applied: BTreeSet::new(),
            });
            if let (true, Stage::Spreading(spreading)) =
                (mutant!(SwapReturnsAtDecision), &self.stage)
            {
                let outcome = spreading.outcome();
                return self.finish(step, outcome);
            }
            return None;
        }
        step.spread(step.everyone(), decision);
        if self.is_abandoned {
            put_back(step, choice);
        }
        self.won_access.clone_from(&choice.access);
        self.finish(step, Outcome::Found(choice.found()))
    }

    fn finish(&mut self, step: &mut Step<'_>, outcome: Outcome) -> Option<Outcome> {
        if !self.is_abandoned {
            match &outcome {
                Outcome::Found(_) | Outcome::Swapped { .. } => {
                    self.keep_warm(step);
                }
                _ => {}
            }
            self.reading.close(step);
        }
        if let Some(mut next) = self.next.take() {
            next.close(step);
        }
        Some(outcome)
    }
}

impl Spreading {
    /// Counts an answer; "forgotten" counts as "applied" (G9a).
    fn on_reply(&mut self, from: ReplicaId, body: &ReplyBody) {
        let is_applied = match body {
            ReplyBody::Applied { id, op } => id == self.decided.id() && *op == self.decided.op(),
            ReplyBody::Removed {
                id,
                removal: Removal::Forgotten,
            } => id == self.decided.id(),
            _ => false,
        };
        if is_applied {
            self.applied.insert(from);
        }
    }

    /// What it put in place, as far as it matches: who applied it holds that, so it may be taken as if they had
    /// reported it. Nothing, if others were after what it took: they are to have their turn.
    fn candidates(&self, step: &Step<'_>, mut candidates: Candidates) -> Option<Candidates> {
        if self.decided.certificate().kind() != VoteKind::First {
            return None;
        }
        for put in self.decided.puts() {
            if candidates.template.matches(&put.tuple) {
                let case = Case::of_put(step, &put, self.applied.iter().copied());
                candidates = candidates.with(case);
            }
        }
        Some(candidates)
    }

    fn outcome(&self) -> Outcome {
        let puts = self.decided.puts();
        Outcome::Swapped {
            taken: self.taken.clone(),
            put: puts.into_iter().map(|put| put.id).collect(),
        }
    }
}

/// Puts what is good enough on the shelf.
fn stock(step: &mut Step<'_>, known_at: Time, mut candidates: Candidates, origin: Origin) {
    candidates.keep_ready(step);
    let shared = &mut *step.shared;
    let siblings = &shared.siblings;
    shared.warm.stock(known_at, candidates, origin, siblings);
}

/// Nobody waits for the tuple any more: it is written again, as it was.
fn put_back(step: &mut Step<'_>, choice: &Choice) {
    let put = Put {
        tuple: choice.tuple.clone(),
        expiry: None,
        access: choice.access.clone(),
    };
    let space = choice.id.space().clone();
    step.shared.background.push(Op::Out { space, put });
}

//! The proof that nothing matches (R-4.2d, R-4.2e). It rests on one instant, the sending of a round
//! 2: `q` replicas, each of whose round-1 "empty" had been received before it, answer that very
//! sending with "empty ever since" (B4). Decisions on which their emptiness rests are stable before
//! that instant, so that nobody sees a swap half done (A1, C4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pace::{Backoff, Wake};
use super::replies::{Answer, Replies};
use super::step::Step;
use crate::content::{DecidedTake, Decision};
use crate::ids::{EntryId, OpId, ReplicaId, RequestId, WatchId};
use crate::limits::MOVED_MAX;
use crate::message::{ClientBody, Removal, ReplyBody, Since};
use crate::time::{Span, Time};

/// Sendings of round 2 that may still be answered; older ones are given up.
const SENDINGS_MAX: usize = 4;

/// The state of the proof.
#[derive(Debug)]
pub(super) struct Absence {
    moved: BTreeMap<OpId, Moved>,
    sendings: Vec<Sending>,
    again: Backoff,
    /// How long an answer to round 2 may take before other ways are tried as well.
    patience: Span,
}

/// A decision that removed matching entries and may not be stable yet.
#[derive(Debug)]
struct Moved {
    decided: Arc<DecidedTake>,
    request: RequestId,
    applied: BTreeSet<ReplicaId>,
    is_stable: bool,
}

impl Moved {
    /// True if a sending of round 2 may rest on it.
    fn may_be_named(&self) -> bool {
        self.is_stable || mutant!(StableUnasked) || mutant!(StableAfterRound2)
    }
}

/// One sending of round 2.
#[derive(Debug)]
struct Sending {
    nonce: u64,
    request: RequestId,
    at: Time,
    /// Whose "empty" had been received, under which watch.
    asked: BTreeMap<ReplicaId, WatchId>,
    confirmed: BTreeSet<ReplicaId>,
}

/// What an answer to round 2 means for round 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round1 {
    /// The replica's answer stands.
    Stands,
    /// The replica is to be asked anew.
    Over,
}

impl Absence {
    pub(super) fn new() -> Self {
        Self {
            moved: BTreeMap::new(),
            sendings: Vec::new(),
            again: Backoff::new(Span::from_millis(1)),
            patience: Span::from_millis(1),
        }
    }

    /// Verifies decisions that a replica's "empty" depends on; `None` if one of them is none.
    pub(super) fn check_moved(
        &self,
        step: &mut Step<'_>,
        from: ReplicaId,
        moved: Vec<Decision>,
    ) -> Option<Vec<Arc<DecidedTake>>> {
        if moved.len() > MOVED_MAX {
            step.accuse(from, "named more decisions than one answer may");
            return None;
        }
        let decided = moved
            .into_iter()
            .map(|decision| match self.known(&decision) {
                Some(known) => Some(known),
                None => step.decided(from, decision),
            });
        decided.collect()
    }

    /// Sends a decision to all, to learn when a quorum has applied it.
    pub(super) fn stabilise(&mut self, step: &mut Step<'_>, decided: Arc<DecidedTake>) {
        if self.moved.contains_key(&decided.op()) {
            return;
        }
        let decision = decided.to_wire();
        let applied = true;
        let request = step.ask_all(ClientBody::Decide { decision, applied });
        let op = decided.op();
        let moved = Moved {
            decided,
            request,
            applied: BTreeSet::new(),
            is_stable: false,
        };
        self.moved.insert(op, moved);
    }

    /// Sends round 2 if it can count, and says whether the proof is complete.
    pub(super) fn advance(
        &mut self,
        step: &mut Step<'_>,
        replies: &Replies,
        wake: &mut Wake,
    ) -> bool {
        let enough = step.size().ack_quorum();
        if self.is_proven(enough, replies) {
            return true;
        }
        let empty = |(replica, answer): (&ReplicaId, &Answer)| {
            let is_stable = |op| self.moved.get(op).is_some_and(Moved::may_be_named);
            let watch = answer.empty?;
            answer
                .moved
                .iter()
                .all(is_stable)
                .then_some((*replica, watch))
        };
        let empty: BTreeMap<_, _> = replies.all().iter().filter_map(empty).collect();
        if mutant!(NoneAfterRound1) && empty.len() >= enough {
            return true;
        }
        if empty.len() < enough || !self.has_news(&empty) {
            return false;
        }
        if self.again.strike(step.now, step.patience()) {
            self.send(step, empty);
        } else {
            wake.at(self.again.due_at());
        }
        false
    }

    /// Until when a sending may be answered; before, nothing else needs to be tried.
    pub(super) fn expected_until(&self) -> Option<Time> {
        self.sendings
            .last()
            .map(|sending| sending.at + self.patience)
    }

    /// Learns how long answers take.
    pub(super) fn pace(&mut self, grace: Span, round_trip: Span) {
        if self.sendings.is_empty() {
            self.again = Backoff::new(grace);
        }
        self.patience = Span::from_micros(round_trip.as_micros() + grace.as_micros());
    }

    /// Ends the proof.
    pub(super) fn close(&mut self, step: &mut Step<'_>) {
        let moved = self.moved.values().map(|moved| moved.request);
        let sent = self.sendings.iter().map(|sending| sending.request);
        moved.chain(sent).for_each(|request| step.close(request));
    }

    /// An answer to round 2.
    pub(super) fn on_empty_since(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        answer: EmptySince,
        replies: &mut Replies,
    ) -> Round1 {
        let fits = |sending: &&mut Sending| {
            sending.nonce == answer.nonce && sending.asked.get(&from) == Some(&answer.watch)
        };
        let Some(sending) = self.sendings.iter_mut().find(fits) else {
            return Round1::Stands;
        };
        if answer.since == Since::Yes && answer.moved.is_empty() {
            sending.confirmed.insert(from);
            return Round1::Stands;
        }
        // Whatever it depends on must be stable before the sending that counts.
        sending.asked.remove(&from);
        if answer.since != Since::Yes {
            return Round1::Over;
        }
        let Some(moved) = self.check_moved(step, from, answer.moved) else {
            return Round1::Over;
        };
        replies.add_moved(from, moved.iter().map(|decided| decided.op()));
        moved
            .into_iter()
            .for_each(|decided| self.stabilise(step, decided));
        Round1::Stands
    }

    /// Counts who applied a decision; "forgotten" counts as "applied" (G9a).
    pub(super) fn on_reply(&mut self, step: &mut Step<'_>, from: ReplicaId, body: &ReplyBody) {
        let is_about = |moved: &Moved, id: &EntryId| moved.decided.id() == id;
        let moved = match body {
            ReplyBody::Applied { id, op } => self.moved.get_mut(op).filter(|m| is_about(m, id)),
            ReplyBody::Removed {
                id,
                removal: Removal::Forgotten,
            } => self.moved.values_mut().find(|moved| is_about(moved, id)),
            _ => None,
        };
        let Some(moved) = moved else {
            return;
        };
        moved.applied.insert(from);
        if moved.applied.len() >= step.size().ack_quorum() {
            moved.is_stable = true;
            step.close(moved.request);
        }
    }

    /// True if `q` replicas confirmed one sending.
    fn is_proven(&self, enough: usize, replies: &Replies) -> bool {
        let late = |sending: &Sending| {
            let answers = replies.all().iter();
            answers
                .filter(|(replica, answer)| {
                    answer.empty.is_some() && !sending.asked.contains_key(replica)
                })
                .count()
        };
        let confirmed = |sending: &Sending| match mutant!(NoneCountsLateEmpty) {
            true => sending.confirmed.len() + late(sending),
            false => sending.confirmed.len(),
        };
        let is_open = mutant!(StableAfterRound2) && self.moved.values().any(|m| !m.is_stable);
        !is_open && self.sendings.iter().any(|s| confirmed(s) >= enough)
    }

    /// The same decision, if it was verified before.
    fn known(&self, decision: &Decision) -> Option<Arc<DecidedTake>> {
        let same = |moved: &&Moved| moved.decided.to_wire() == *decision;
        let moved = self.moved.values().find(same);
        moved.map(|moved| Arc::clone(&moved.decided))
    }

    /// True if somebody is empty whom the last sending did not ask about this watch.
    fn has_news(&self, empty: &BTreeMap<ReplicaId, WatchId>) -> bool {
        self.sendings.last().is_none_or(|last| {
            empty
                .iter()
                .any(|(replica, watch)| last.asked.get(replica) != Some(watch))
        })
    }

    fn send(&mut self, step: &mut Step<'_>, asked: BTreeMap<ReplicaId, WatchId>) {
        let stable = self.moved.iter().filter(|(_, moved)| moved.may_be_named());
        let stable: Vec<_> = stable.map(|(op, _)| *op).collect();
        let request = step.shared.requests.draw();
        let nonce = request.0;
        let body = |(replica, watch): (&ReplicaId, &WatchId)| {
            let body = ClientBody::StillEmpty {
                watch: *watch,
                nonce,
                stable: stable.clone(),
            };
            (*replica, Arc::new(body))
        };
        step.ask_each_as(request, asked.iter().map(body));
        self.sendings.push(Sending {
            nonce,
            request,
            at: step.now,
            asked,
            confirmed: BTreeSet::new(),
        });
        if self.sendings.len() > SENDINGS_MAX {
            let given_up = self.sendings.remove(0);
            step.close(given_up.request);
        }
    }
}

/// The answer to round 2, as it came.
#[derive(Debug)]
pub(super) struct EmptySince {
    pub(super) nonce: u64,
    pub(super) watch: WatchId,
    pub(super) since: Since,
    pub(super) moved: Vec<Decision>,
}

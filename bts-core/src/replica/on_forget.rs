//! Forgetting: a decision is dropped when `n - f` replicas logged it, it is stable, its
//! winner knows of it, and none of its puts is there; and a late replica drops an entry when `f + 1`
//! others have forgotten it (PROTOCOL section 7; A5, A6, C1, G2).

use std::collections::{BTreeMap, BTreeSet};

use super::id_map::{IdMap, MarkedId};
use super::on_timer::Timer;
use super::ranges::{RemovedRanges, WriterSession};
use super::record::Change;
use super::store::Kept;
use super::{Outgoing, Outputs, Principal, Replica};
use crate::ids::{ClientRef, EntryId, ReplicaId, TakeNumber};
use crate::message::{FetchKey, PeerMessage, ReplyBody};
use crate::time::{Span, Time};

/// Decisions that may be forgotten are collected for so long.
const FORGET_AFTER: Span = Span::from_millis(100);
/// How many are looked at together.
const FORGET_BATCH_MAX: usize = 4096;
/// When a decision cannot be forgotten for so long, peers are asked about it; then each time after
/// twice as long.
const ASK_AFTER: Span = Span::from_millis(5_000);
/// The longest time between two questions about one decision.
const ASK_AFTER_MAX: Span = Span::from_millis(600_000);
/// Questions asked at a time.
const ASK_BATCH_MAX: usize = 64;

/// What is to be forgotten, and what stands in the way.
#[derive(Debug, Default)]
pub(super) struct Forgetting {
    /// Decisions about which something changed.
    ripe: BTreeSet<MarkedId>,
    /// Below which number the Takes of a session are settled, as its client says.
    told: BTreeMap<ClientRef, TakeNumber>,
    /// Decisions that wait for others to log or to settle them.
    asked: IdMap<(Time, Span)>,
    due: BTreeSet<(Time, MarkedId)>,
}

/// What a kept decision waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ripeness {
    /// Nothing.
    Ripe,
    /// The own disk.
    Unsynced,
    /// What others know of it.
    Others,
    /// The end of its puts, which will be heard of.
    Puts,
}

impl Replica {
    /// what a client says of its Takes.
    pub(super) fn on_settled(&mut self, client: ClientRef, below: TakeNumber) {
        let told = self.forgetting.told.entry(client).or_default();
        if below <= *told {
            return;
        }
        // Of those below what was told before, whoever applied the decision has looked.
        let before = std::mem::replace(told, below);
        let won: Vec<_> = self
            .store
            .won_between(&client, before..below)
            .cloned()
            .collect();
        won.into_iter().for_each(|id| self.may_be_ripe(id));
    }

    fn has_won_below(&self, client: &ClientRef, below: TakeNumber) -> bool {
        let all = TakeNumber(0)..below;
        self.store.won_between(client, all).next().is_some()
    }

    /// What a client that left said is remembered as long as one of its Takes is.
    pub(super) fn forget_session(&mut self, client: &ClientRef) {
        if !self.store.has_won(client) {
            self.forgetting.told.remove(client);
        }
    }

    /// A new decision: it is looked at when most of what it waits for will have come.
    pub(super) fn will_be_ripe(&mut self, id: EntryId) {
        self.forgetting.ripe.insert(id.into());
        self.timers.arm(Timer::Forget, self.now + FORGET_AFTER);
    }

    /// Something changed about this decision, or about a put of it.
    pub(super) fn may_be_ripe(&mut self, id: EntryId) {
        let Some(kept) = self.store.kept(&id) else {
            return;
        };
        match self.ripeness(&id, kept) {
            Ripeness::Ripe | Ripeness::Unsynced => self.will_be_ripe(id),
            Ripeness::Others => {
                let id = MarkedId::from(id);
                if !self.forgetting.ripe.contains(&id) {
                    self.ask_later(id);
                }
            }
            Ripeness::Puts => {}
        }
    }

    /// Forgets what may be, and asks about what should be long since.
    pub(super) fn on_forget_timer(&mut self, out: &mut Outputs) {
        let mut roots = RemovedRanges::default();
        let mut sessions = BTreeSet::new();
        for _ in 0..FORGET_BATCH_MAX {
            let Some(id) = self.forgetting.ripe.pop_first() else {
                break;
            };
            let Some(kept) = self.store.kept(id.id()) else {
                continue;
            };
            sessions.insert(kept.decided.take().taker());
            match self.ripeness(id.id(), kept) {
                Ripeness::Ripe => self.forget(id.into(), &mut roots, out),
                Ripeness::Unsynced => self.will_be_ripe(id.into()),
                Ripeness::Others => self.ask_later(id),
                Ripeness::Puts => {}
            }
        }
        for (session, ranges) in roots.into_ranges() {
            self.log(Change::ForgotRoots(session.clone(), ranges), out);
            if let Some(all) = self.store.scattered(&session) {
                self.log(Change::ForgotRoots(session, all), out);
            }
        }
        self.log_settled(&sessions, out);
        self.ask_due(out);
        let next = self.forgetting.due.first().map(|(at, _)| *at);
        let more = (!self.forgetting.ripe.is_empty()).then(|| self.now + FORGET_AFTER);
        if let Some(at) = next.into_iter().chain(more).min() {
            self.timers.arm(Timer::Forget, at);
        }
    }

    /// A peer forgot this entry: it had the decision, and all that demands was so.
    pub(super) fn hear_forgotten(&mut self, from: ReplicaId, id: &EntryId, out: &mut Outputs) {
        if let Some(kept) = self.store.kept_mut(id) {
            kept.forgot.insert(from);
            return self.heard_of_kept(id, from);
        }
        if self.store.is_removed(id) {
            return;
        }
        let key = FetchKey::Decision(id.clone());
        if self.store.is_known(id) {
            self.want(key.clone(), Principal::Replica(from), out);
        }
        let needed = self.size.fact_quorum();
        let claims = self.fetches.claim(&key, from);
        if claims >= needed || (mutant!(SkippedTooEasily) && claims > 0) {
            self.skip(id, from, out);
        }
    }

    /// A peer logged this decision, which matters if it is kept.
    pub(super) fn heard_of_kept(&mut self, id: &EntryId, from: ReplicaId) {
        let Some(kept) = self.store.kept_mut(id) else {
            return;
        };
        kept.applied.insert(from);
        self.settle_stable(id);
        self.may_be_ripe(id.clone());
    }

    /// `f + 1` replicas, so a correct one, have forgotten it.
    fn skip(&mut self, id: &EntryId, by: ReplicaId, out: &mut Outputs) {
        self.log(Change::Skipped(id.clone()), out);
        self.count("skipped");
        self.hints.remove(id);
        self.sessions.unreserve(id);
        let removal = self.removal(id);
        self.tell_concerned(Principal::Replica(by), id, || ReplyBody::Removed {
            id: id.clone(),
            removal: removal.clone(),
        });
        self.close_fetch(&FetchKey::Decision(id.clone()));
        self.stash.wake(id);
        // What it was put by may have waited for its end.
        if let Some((origin, _)) = id.origin() {
            self.may_be_ripe(origin);
        }
        // Whatever this descends from is removed as well.
        let root = id.root_id();
        let root = (!id.is_root() && self.store.is_known(&root)).then_some(root);
        let above = self.store.live_above(id).cloned();
        for above in above.into_iter().chain(root) {
            self.want(FetchKey::Decision(above), Principal::Replica(by), out);
        }
    }

    fn forget(&mut self, id: EntryId, roots: &mut RemovedRanges, out: &mut Outputs) {
        self.count("forgotten");
        self.ask_no_more(&id);
        self.stable_as_forgotten(&id);
        match WriterSession::of(&id) {
            Some((session, seq)) => {
                roots.insert_range(&session, seq.0, seq.0);
            }
            None => self.log(Change::ForgotPut(id), out),
        }
    }

    fn ripeness(&self, id: &EntryId, kept: &Kept) -> Ripeness {
        if kept.lsn > self.gate.is_synced_to() {
            return Ripeness::Unsynced;
        }
        if !self.store.puts_are_gone(kept) && !mutant!(ForgottenWithPuts) {
            return Ripeness::Puts;
        }
        // What removed a put was told with what the put was, until that is stable (A1).
        let take = kept.decided.take();
        if take.put_ids().any(|put| self.is_unstable(&put)) {
            return Ripeness::Puts;
        }
        let winner = take.taker();
        let told = self.forgetting.told.get(&winner).copied();
        let settled = told.unwrap_or_default().max(self.store.settled(&winner));
        let has_ended = self.store.has_ended(&winner);
        let is_settled = take.number < settled || has_ended || mutant!(ForgottenUnsettled);
        let logged = kept.applied.len() + 1;
        let is_logged =
            logged >= self.size.replicas() - self.size.faults() || mutant!(ForgottenTooEarly);
        let is_stable = !self.is_unstable(id);
        let by_others = kept.forgot.len() >= self.size.fact_quorum();
        match by_others || (is_settled && is_logged && is_stable) {
            true => Ripeness::Ripe,
            false => Ripeness::Others,
        }
    }

    /// What clients settled is logged if a decision is kept that it concerns: they may not come back.
    fn log_settled(&mut self, sessions: &BTreeSet<ClientRef>, out: &mut Outputs) {
        for session in sessions {
            let told = self.forgetting.told.get(session).copied();
            let told = told.unwrap_or_default();
            let is_news = told > self.store.settled(session);
            if is_news && self.has_won_below(session, told) {
                self.log(Change::Settled(*session, told), out);
            }
            if !self.sessions.is_connected(session) {
                self.forget_session(session);
            }
        }
        self.store.unsettle_idle();
        out.obsolete.extend(self.store.take_obsolete());
    }

    fn ask_later(&mut self, id: MarkedId) {
        if !self.forgetting.asked.contains_key(id.id()) {
            self.ask_at(id, ASK_AFTER);
        }
    }

    fn ask_at(&mut self, id: MarkedId, after: Span) {
        let at = self.now + after;
        self.forgetting.due.insert((at, id.clone()));
        self.forgetting.asked.insert(id.into(), (at, after));
        self.timers.arm(Timer::Forget, at);
    }

    fn ask_no_more(&mut self, id: &EntryId) {
        if let Some((at, _)) = self.forgetting.asked.remove(id) {
            self.forgetting.due.remove(&(at, id.clone().into()));
        }
    }

    /// Asks peers how they stand to decisions that are kept for long: those that have one logged it, and those
    /// that forgot it knew that they might.
    fn ask_due(&mut self, out: &mut Outputs) {
        for _ in 0..ASK_BATCH_MAX {
            let due = self
                .forgetting
                .due
                .first()
                .filter(|(at, _)| *at <= self.now);
            let Some((_, id)) = due.cloned() else {
                return;
            };
            let after = self
                .forgetting
                .asked
                .get(id.id())
                .map_or(ASK_AFTER, |(_, a)| *a);
            self.ask_no_more(id.id());
            let Some(kept) = self.store.kept(id.id()) else {
                continue;
            };
            if self.ripeness(id.id(), kept) != Ripeness::Others {
                self.will_be_ripe(id.into());
                continue;
            }
            let known = kept.forgot;
            for peer in self.connected.clone() {
                if !known.contains(peer) {
                    let question = PeerMessage::Fetch(FetchKey::Decision(id.id().clone()));
                    out.send.push(Outgoing::Peer(peer, question));
                }
            }
            self.count("asked to forget");
            self.ask_at(id, after.doubled(1).min(ASK_AFTER_MAX));
        }
    }
}

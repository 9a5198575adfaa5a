//! Streams of applied decisions, and stability (R-4.2f, R-7.2). Replicas tell one another what they
//! applied, numbered and in batches; whoever hears of a decision that it missed asks for it (G5); a
//! decision with puts is stable when `q` replicas applied it (A1, C4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::on_fetch::Asked;
use super::on_timer::Timer;
use super::store::Kept;
use super::{Outgoing, Outputs, Principal, Replica};
use crate::content::{DecidedTake, HeldContent};
use crate::ids::{EntryId, Lsn, OpId, ReplicaId, SpaceName};
use crate::limits::APPLIED_BATCH_MAX;
use crate::message::{FetchKey, PeerMessage};
use crate::time::Span;

/// How long a decision that a peer applied may be on its way here before it is asked for.
const EXPECT_WITHIN: Span = Span::from_millis(50);
/// After the last news the position in the stream is told again, so that a lost tail is noticed:
/// after this span, and twice more, each time later.
const POSITION_AFTER: Span = Span::from_millis(500);
const POSITION_TIMES: u32 = 3;
/// Between two full batches: no faster than a peer that missed all of it can ask for it.
const TELL_MORE_AFTER: Span = Span::from_millis(10);
/// How long after a fetch ended the streams that had to wait go on, so that several may end.
const RESUME_AFTER: Span = Span::from_millis(10);
/// Decisions heard of before they were applied here, per peer.
const EARLY_MAX: usize = 64 * 1024;

/// A decision with puts that may not be applied at `q` replicas yet.
#[derive(Debug)]
pub(super) struct Unstable {
    /// The decision.
    pub(super) decided: Arc<DecidedTake>,
    /// What it removed here.
    pub(super) contents: Vec<HeldContent>,
}

/// The own stream, and what was heard of the others'.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Number of the last decision applied here.
    last: Lsn,
    /// The last that each peer was told.
    sent: BTreeMap<ReplicaId, Lsn>,
    /// Number after the last that was heard of each peer.
    heard: BTreeMap<ReplicaId, u64>,
    unstable: BTreeMap<EntryId, Unstable>,
    early: BTreeMap<EntryId, BTreeMap<ReplicaId, OpId>>,
    early_of: BTreeMap<ReplicaId, usize>,
    positions_left: u32,
    /// Peers whose streams are heard no further until there is room for what they tell.
    paused: BTreeSet<ReplicaId>,
}

impl Streams {
    /// Number after the last that was heard of this peer's stream.
    pub(super) fn heard_next(&self, peer: ReplicaId) -> u64 {
        self.heard.get(&peer).copied().unwrap_or(0)
    }

    fn take_early(&mut self, id: &EntryId) -> BTreeMap<ReplicaId, OpId> {
        let early = self.early.remove(id).unwrap_or_default();
        for peer in early.keys() {
            if let Some(count) = self.early_of.get_mut(peer) {
                *count -= 1;
            }
        }
        early
    }

    fn note_early(&mut self, peer: ReplicaId, id: &EntryId, op: OpId) {
        let count = self.early_of.entry(peer).or_default();
        if *count < EARLY_MAX
            && self
                .early
                .entry(id.clone())
                .or_default()
                .insert(peer, op)
                .is_none()
        {
            *count += 1;
        }
    }
}

impl Replica {
    /// A decision was applied here: it joins the own stream.
    pub(super) fn stream(&mut self, decided: &Arc<DecidedTake>, contents: Vec<HeldContent>) {
        let (id, op) = (decided.id().clone(), decided.op());
        self.streams.positions_left = POSITION_TIMES;
        let early = self.streams.take_early(&id);
        if let Some(kept) = self.store.kept_mut(&id) {
            self.streams.last = kept.lsn;
            let same_op = early.into_iter().filter(|(_, said)| *said == op);
            same_op.for_each(|(peer, _)| kept.applied.insert(peer));
        }
        if decided.take().puts.is_empty() || contents.is_empty() {
            return;
        }
        let unstable = Unstable {
            decided: Arc::clone(decided),
            contents,
        };
        self.streams.unstable.insert(id.clone(), unstable);
        self.settle_stable(&id);
    }

    /// True if the decision is not known to be stable, and removed something here.
    pub(super) fn is_unstable(&self, id: &EntryId) -> bool {
        self.streams.unstable.contains_key(id)
    }

    /// Decisions of a space that are not known to be stable, and removed something here.
    pub(super) fn unstable<'a>(
        &'a self,
        space: &'a SpaceName,
    ) -> impl Iterator<Item = &'a Unstable> + 'a {
        let of_space = self
            .streams
            .unstable
            .iter()
            .filter(move |(id, _)| id.space() == space);
        of_space.map(|(_, unstable)| unstable)
    }

    /// R-4.2f: the voters of a decided Take on a put held it, so its origin is stable.
    pub(super) fn known_stable(&mut self, origin: &EntryId) {
        if self.streams.unstable.remove(origin).is_some() {
            self.count("stable by descent");
            self.became_stable(origin);
        }
    }

    /// a decision that may be forgotten is stable, by what was heard here or because `f + 1` replicas, so a
    /// correct one, have forgotten it.
    pub(super) fn stable_as_forgotten(&mut self, id: &EntryId) {
        if self.streams.unstable.remove(id).is_some() {
            self.count("stable as forgotten");
            self.removed_for_good(id);
        }
    }

    /// of what was read from the log, decisions that it says were forgotten later were stable.
    pub(super) fn settle_forgotten(&mut self) {
        let ids = self.streams.unstable.keys();
        let gone = ids.filter(|id| self.store.kept(id).is_none());
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|id| self.stable_as_forgotten(id));
    }

    fn became_stable(&mut self, id: &EntryId) {
        self.may_be_ripe(id.clone());
        self.removed_for_good(id);
    }

    /// What a decision removed need not be told with it any more, nor the proof of what that was.
    fn removed_for_good(&mut self, id: &EntryId) {
        self.store.forget_contents(id);
        if let Some((origin, _)) = id.origin() {
            self.may_be_ripe(origin);
        }
    }

    /// a peer's news.
    pub(super) fn on_applied(
        &mut self,
        from: ReplicaId,
        after: u64,
        items: Vec<(u64, EntryId, OpId)>,
        out: &mut Outputs,
    ) {
        let mut next = self.streams.heard_next(from);
        if after >= next.max(1) {
            self.count("stream gap");
            if !self.streams.paused.contains(&from) {
                self.send_peer(from, PeerMessage::Resume { next }, out);
            }
            return;
        }
        for (number, id, op) in items.into_iter().take(APPLIED_BATCH_MAX) {
            if number < next {
                continue;
            }
            if !self.hear_applied(from, &id, op) {
                self.count("stream paused");
                self.streams.paused.insert(from);
                break;
            }
            next = number.saturating_add(1);
        }
        self.streams.heard.insert(from, next);
    }

    /// There is room for another fetch.
    pub(super) fn on_room(&mut self) {
        if !self.streams.paused.is_empty() {
            self.timers.arm(Timer::Tell, self.now + RESUME_AFTER);
        }
    }

    /// Has the streams go on for whose news there is room again.
    fn resume_paused(&mut self, out: &mut Outputs) {
        for peer in self.streams.paused.clone() {
            if self.has_room_for(peer) {
                self.streams.paused.remove(&peer);
                let next = self.streams.heard_next(peer);
                self.send_peer(peer, PeerMessage::Resume { next }, out);
            }
        }
    }

    /// False if the decision is unknown here and there is no room to ask for it: it must be told
    /// again, or it would be missed for good (G5).
    fn hear_applied(&mut self, from: ReplicaId, id: &EntryId, op: OpId) -> bool {
        if let Some(known) = self.store.decision(id).map(|decided| decided.op()) {
            match known == op {
                true => self.heard_of_kept(id, from),
                false => self.count("peer applied another decision"),
            }
            return true;
        }
        match self.store.is_removed(id) {
            true => {}
            false if mutant!(MissedDecideNotAsked) => {}
            false => {
                let key = FetchKey::Decision(id.clone());
                let by = Principal::Replica(from);
                if self.want_later(key, by, EXPECT_WITHIN) == Asked::NoRoom {
                    return false;
                }
                self.streams.note_early(from, id, op);
            }
        }
        true
    }

    /// A peer misses a part of the own stream.
    pub(super) fn on_resume(&mut self, from: ReplicaId, next: u64) {
        let heard = Lsn(next.saturating_sub(1)).min(self.streams.last);
        self.streams.sent.insert(from, heard);
        self.timers.arm(Timer::Tell, self.now);
    }

    pub(super) fn on_peer_connected(&mut self, peer: ReplicaId, next: u64, out: &mut Outputs) {
        self.connected.insert(peer);
        self.on_resume(peer, next);
        self.compare_soon(peer);
        self.ask_anew(peer, out);
        let open: Vec<_> = self.contests.keys().cloned().collect();
        for id in open {
            if !mutant!(PromiseNotRepeated) {
                self.repeat_promise(&id, &[peer]);
            }
            self.repeat_own(&id, &[peer]);
        }
    }

    /// Tells connected peers the news.
    pub(super) fn on_tell_timer(&mut self, out: &mut Outputs) {
        self.resume_paused(out);
        let mut more = false;
        for peer in self.connected.clone() {
            let sent = self.streams.sent.get(&peer).copied().unwrap_or_default();
            let item = |(number, kept): (Lsn, &Kept)| {
                (number.0, kept.decided.id().clone(), kept.decided.op())
            };
            let news = self.store.numbered(Lsn(sent.0 + 1)).map(item);
            let items: Vec<_> = news.take(APPLIED_BATCH_MAX).collect();
            let Some((last, _, _)) = items.last() else {
                continue;
            };
            more |= items.len() == APPLIED_BATCH_MAX;
            self.streams.sent.insert(peer, Lsn(*last));
            let after = sent.0;
            let message = PeerMessage::Applied { after, items };
            self.gate.promise(Outgoing::Peer(peer, message));
        }
        if more {
            self.timers.arm(Timer::Tell, self.now + TELL_MORE_AFTER);
        }
        if self.streams.positions_left > 0 {
            self.timers.arm(Timer::Position, self.now + POSITION_AFTER);
        }
    }

    /// Tells connected peers how long the own stream is.
    pub(super) fn on_position_timer(&mut self) {
        let Some(left) = self.streams.positions_left.checked_sub(1) else {
            return;
        };
        self.streams.positions_left = left;
        let message = PeerMessage::Applied {
            after: self.streams.last.0,
            items: Vec::new(),
        };
        for peer in self.connected.clone() {
            self.gate.promise(Outgoing::Peer(peer, message.clone()));
        }
        if left > 0 {
            let after = POSITION_AFTER.doubled(POSITION_TIMES - left);
            self.timers.arm(Timer::Position, self.now + after);
        }
    }

    /// What this replica logged became durable: it counts among those that applied.
    pub(super) fn settle_all_stable(&mut self) {
        // Few are unstable at any time: those of the last round trips.
        let ids: Vec<_> = self.streams.unstable.keys().cloned().collect();
        ids.iter().for_each(|id| self.settle_stable(id));
    }

    pub(super) fn settle_stable(&mut self, id: &EntryId) {
        let quorum = self.size.ack_quorum();
        let synced = self.gate.is_synced_to();
        let is_stable = |kept: &Kept| {
            let applied = kept.applied.len() + 1 >= quorum || mutant!(StableAssumed);
            kept.lsn <= synced && applied
        };
        let is_stable = self.store.kept(id).is_some_and(is_stable);
        if is_stable && self.streams.unstable.remove(id).is_some() {
            self.count("stable by applied");
            self.became_stable(id);
        }
    }
}

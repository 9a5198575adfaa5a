//! Comparing: a replica goes over all that it holds, slice by slice, and compares it with what
//! each peer holds: at full speed with a peer that has just come into reach, else slowly, with one peer
//! after the other, for ever. So a lost message leaves no hole for good, and a replica that was away, or
//! begins with nothing, gets what it lacks and nothing else. It sweeps for itself alone: what a peer
//! lacks the peer finds. Nothing a peer says here is believed: contents and decisions prove themselves.

use super::on_timer::Timer;
use super::sweep::{DOUBTS_MAX, Fetching, Item, SLICE_EVERY, Slice, Stage, answers, in_turns};
use super::{Outgoing, Outputs, Replica};
use crate::ids::{ContentHash, EntryId, ReplicaId};
use crate::message::{Compare, Compared, Comparing, FetchKey, PeerMessage};
use crate::time::{Span, Time};

/// How long after a peer came into reach: the streams begin first.
const CATCH_UP_AFTER: Span = Span::from_millis(50);
/// In the background a slice is compared so often.
const BACKGROUND_EVERY: Span = Span::from_millis(1000);
/// How long a difference may last before anything is made of it: most of them are messages on their
/// way.
const MOMENT: Span = Span::from_millis(300);
/// How long to wait for an answer before asking again, then twice as long, and so on.
const ANSWER_WITHIN: Span = Span::from_millis(1000);
const ANSWER_DOUBLINGS_MAX: u32 = 5;
/// Contents asked of a peer at once, how long to wait for the next, and how often.
const FETCHES_AT_ONCE: usize = 32;
const FETCH_WITHIN: Span = Span::from_millis(1000);
const FETCH_TRIES: u32 = 2;
/// Slices in a row of which a peer gives nothing that it lists, before it is left to the background.
const BARREN_MAX: u32 = 4;
/// Hurried sweeps that may follow each other because the last one brought something, but not all.
const REPEATS_MAX: u32 = 64;

impl Replica {
    /// A peer came into reach: what either missed meanwhile shows in one sweep.
    pub(super) fn compare_soon(&mut self, peer: ReplicaId) {
        let sweep = self.sweeps.of.entry(peer).or_default();
        sweep.interrupt();
        sweep.complete_at = None;
        sweep.is_caught_up = false;
        sweep.repeats = 0;
        sweep.again = sweep.hurried && sweep.after.is_some();
        if !sweep.hurried {
            sweep.rewind();
        }
        sweep.hurried = true;
        self.look_again(peer, self.now + CATCH_UP_AFTER);
        self.timers.arm(Timer::Compare, self.now + BACKGROUND_EVERY);
    }

    /// A peer is out of reach.
    pub(super) fn interrupt_comparing(&mut self, peer: ReplicaId) {
        if let Some(sweep) = self.sweeps.of.get_mut(&peer) {
            sweep.interrupt();
        }
    }

    /// The next slice in the background, of the next peer.
    pub(super) fn on_compare_timer(&mut self, out: &mut Outputs) {
        let after = |peer: &&ReplicaId| self.sweeps.last.is_none_or(|last| **peer > last);
        let next = self.connected.iter().find(after);
        let Some(peer) = next.or(self.connected.first()).copied() else {
            return;
        };
        self.sweeps.last = Some(peer);
        let sweep = self.sweeps.of.entry(peer).or_default();
        if !sweep.hurried && matches!(sweep.stage, Stage::Nothing) {
            self.ask_slice(peer, 0, out);
        }
        self.timers.arm(Timer::Compare, self.now + BACKGROUND_EVERY);
    }

    /// The sweep with a peer is to be looked at.
    pub(super) fn on_sweep_timer(&mut self, peer: ReplicaId, out: &mut Outputs) {
        let is_connected = self.connected.contains(&peer);
        let Some(sweep) = self.sweeps.of.get_mut(&peer).filter(|_| is_connected) else {
            return;
        };
        if sweep.due > self.now {
            let at = sweep.due;
            return self.timers.arm(Timer::Sweep(peer), at);
        }
        match &mut sweep.stage {
            Stage::Nothing if !sweep.hurried => {}
            Stage::Nothing if !sweep.doubts.is_empty() => self.look_again(peer, self.now + MOMENT),
            Stage::Nothing => self.ask_slice(peer, 0, out),
            Stage::Answer { tries, .. } => {
                let tries = (*tries + 1).min(ANSWER_DOUBLINGS_MAX);
                self.ask_slice(peer, tries, out);
            }
            Stage::Contents(fetching) if fetching.asked.is_empty() => self.fetch_lacking(peer, out),
            Stage::Contents(fetching) => {
                fetching.tries += 1;
                let asked: Vec<_> = fetching.asked.iter().cloned().collect();
                if fetching.tries >= FETCH_TRIES {
                    fetching.lacked += asked.len() as u64;
                    fetching.asked.clear();
                    return self.fetch_lacking(peer, out);
                }
                self.send_fetches(peer, asked, out);
            }
        }
    }

    /// Asks a peer about the next slice.
    fn ask_slice(&mut self, peer: ReplicaId, tries: u32, out: &mut Outputs) {
        let Some(sweep) = self.sweeps.of.get_mut(&peer) else {
            return;
        };
        let slice = Slice::of(&self.store, sweep.after.as_ref(), None);
        let question = Compare {
            from: sweep.after.clone(),
            to: slice.upto.clone(),
            count: slice.items.len() as u64,
            digest: slice.digest(),
        };
        let to = slice.upto;
        if sweep.after.is_none() {
            sweep.began_with = self.store.entries();
        }
        sweep.stage = Stage::Answer { to, tries };
        sweep.asked_at = self.now;
        self.look_again(peer, self.now + ANSWER_WITHIN.doubled(tries));
        self.send_peer(peer, PeerMessage::Compare(question), out);
    }

    /// A peer compares: the same, or what is held here. What an answer costs is bounded, and how many
    /// a peer gets (C7).
    pub(super) fn on_compare(&mut self, from: ReplicaId, question: Compare) {
        if !self.sweeps.of.entry(from).or_default().may_ask(self.now) {
            return self.count("comparing: asked too often");
        }
        let slice = Slice::of(&self.store, question.from.as_ref(), question.to.as_ref());
        let ends_there = slice.upto == question.to;
        let count = slice.items.len() as u64;
        let is_same = ends_there && count == question.count && slice.digest() == question.digest;
        let list = || slice.items.iter().cloned();
        let items = (!is_same && !mutant!(ComparedSameAlways)).then(|| list().collect());
        let upto = match &items {
            Some(_) => slice.upto,
            None => question.to,
        };
        let answer = Compared {
            from: question.from,
            upto,
            items,
        };
        let answer = PeerMessage::Compared(answer);
        self.gate.promise(Outgoing::Peer(from, answer));
    }

    /// A peer's answer. Whatever is none is as good as silence.
    pub(super) fn on_compared(&mut self, from: ReplicaId, answer: Compared, out: &mut Outputs) {
        let (turn, turns) = self.turn_of(from);
        let Some(sweep) = self.sweeps.of.get_mut(&from) else {
            return;
        };
        let after = sweep.after.clone();
        let is_answer = match &sweep.stage {
            Stage::Answer { to, .. } => answers(&answer, after.as_ref(), to.as_ref()),
            Stage::Nothing | Stage::Contents(_) => false,
        };
        if !is_answer {
            return self.count("comparing: not what was asked");
        }
        let (upto, items) = (answer.upto, answer.items);
        let is_same = items.is_none();
        let is_within = |id: &EntryId| upto.as_ref().is_none_or(|upto| id <= upto);
        let live = self.store.live_after(after.as_ref());
        let mine: Vec<_> = live
            .map(|(id, _)| id)
            .take_while(|id| is_within(id))
            .collect();
        sweep.passed += mine.len() as u64;
        let items = items.unwrap_or_default();
        let is_listed = |id: &EntryId| items.binary_search_by(|(of, _)| of.cmp(id)).is_ok();
        let unlisted = mine.into_iter().filter(|id| !is_same && !is_listed(id));
        let unlisted: Vec<EntryId> = unlisted.take(DOUBTS_MAX).collect();
        let asks = !mutant!(MissedDecideNotAsked) && !mutant!(UnlistedNotAsked);
        if asks && !unlisted.is_empty() {
            sweep.doubts.add(unlisted);
            self.timers.arm(Timer::Doubts(from), self.now + MOMENT);
        }
        let lacking = items.into_iter().filter(|i| !is_settled(&self.store, i));
        let fetching = Fetching {
            upto,
            waiting: in_turns(lacking, turn, turns),
            ..Fetching::default()
        };
        self.count("compared slices");
        if !is_same {
            self.count("compared slices that differed");
        }
        let delay = match self.is_hurried(from) || fetching.waiting.is_empty() {
            true => Span::default(),
            false => MOMENT,
        };
        self.set_stage(from, Stage::Contents(fetching));
        match delay == Span::default() {
            true => self.fetch_lacking(from, out),
            false => self.look_again(from, self.now + delay),
        }
    }

    /// Fetches more of what is lacking; if nothing is left to wait for, the next slice is due.
    fn fetch_lacking(&mut self, peer: ReplicaId, out: &mut Outputs) {
        let store = &self.store;
        let Some(sweep) = self.sweeps.of.get_mut(&peer) else {
            return;
        };
        let Stage::Contents(fetching) = &mut sweep.stage else {
            return;
        };
        let before = fetching.asked.len();
        fetching.asked.retain(|item| !is_settled(store, item));
        let got = before - fetching.asked.len();
        if got > 0 {
            fetching.got += got as u64;
            fetching.tries = 0;
            sweep.due = self.now + FETCH_WITHIN;
        }
        if fetching.got == 0 && fetching.lacked >= FETCHES_AT_ONCE as u64 {
            fetching.lacked += fetching.waiting.len() as u64;
            fetching.waiting.clear();
        }
        self.count_many("fetched by comparing", got as u64);
        let asks = self.choose_fetches(peer);
        let Some(Stage::Contents(fetching)) = self.sweeps.of.get_mut(&peer).map(|s| &mut s.stage)
        else {
            return;
        };
        if !asks.is_empty() {
            self.send_fetches(peer, asks, out);
        } else if fetching.asked.is_empty() && fetching.waiting.is_empty() {
            self.end_slice(peer);
        } else if fetching.asked.is_empty() {
            let since = *fetching.waits_since.get_or_insert(self.now);
            self.look_again(peer, since + MOMENT);
        }
    }

    /// What to ask a peer for next. What another peer is asked for is left to that one for a moment.
    fn choose_fetches(&mut self, peer: ReplicaId) -> Vec<Item> {
        let store = &self.store;
        let Some(sweep) = self.sweeps.of.get_mut(&peer) else {
            return Vec::new();
        };
        let mut stage = std::mem::take(&mut sweep.stage);
        let (mut asks, mut elsewhere) = (Vec::new(), Vec::new());
        if let Stage::Contents(fetching) = &mut stage {
            let waited = fetching.waits_since.map(|since| since + MOMENT);
            let has_waited = waited.is_some_and(|until| until <= self.now);
            let tried = match fetching.got {
                0 => usize::try_from(fetching.lacked).unwrap_or(usize::MAX),
                _ => 0,
            };
            while tried.saturating_add(fetching.asked.len()) < FETCHES_AT_ONCE
                && elsewhere.len() < FETCHES_AT_ONCE
            {
                let Some(item) = fetching.waiting.pop_front() else {
                    break;
                };
                let mut others = self.sweeps.of.values();
                if is_settled(store, &item) {
                    continue;
                }
                if !has_waited && others.any(|other| other.asks_for(&item)) {
                    elsewhere.push(item);
                    continue;
                }
                fetching.asked.insert(item.clone());
                asks.push(item);
            }
            fetching.waiting.extend(elsewhere);
        }
        if let Some(sweep) = self.sweeps.of.get_mut(&peer) {
            sweep.stage = stage;
        }
        asks
    }

    fn send_fetches(&mut self, peer: ReplicaId, items: Vec<Item>, out: &mut Outputs) {
        for (id, hash) in items {
            let key = FetchKey::Content(id, hash);
            self.send_peer(peer, PeerMessage::Fetch(key), out);
        }
        self.look_again(peer, self.now + FETCH_WITHIN);
    }

    /// The slice is compared, and what the peer gave of it is here.
    fn end_slice(&mut self, peer: ReplicaId) {
        let now = self.now;
        let Some(sweep) = self.sweeps.of.get_mut(&peer) else {
            return;
        };
        let Stage::Contents(fetching) = std::mem::take(&mut sweep.stage) else {
            return;
        };
        sweep.got += fetching.got;
        sweep.lacked += fetching.lacked;
        sweep.barren = match fetching.got == 0 && fetching.lacked > 0 {
            true => sweep.barren + 1,
            false => 0,
        };
        sweep.after = fetching.upto;
        if sweep.barren >= BARREN_MAX {
            sweep.hurried = false;
        }
        let mut next_at = now.max(sweep.asked_at + SLICE_EVERY);
        if sweep.after.is_none() {
            let is_complete = sweep.lacked == 0;
            if is_complete {
                sweep.complete_at = Some(now);
            }
            let repeat = !is_complete && sweep.got > 0 && sweep.repeats < REPEATS_MAX;
            sweep.repeats += u32::from(repeat);
            sweep.hurried &= repeat || sweep.again;
            sweep.again = false;
            sweep.rewind();
            next_at = now + MOMENT;
        }
        sweep.note_caught_up();
        if sweep.hurried {
            self.look_again(peer, next_at);
        }
        // What this peer has given others need not be asked for.
        let sweeps = self.sweeps.of.iter();
        let waits = sweeps.filter(|(_, sweep)| sweep.waits_for_others());
        self.sweeps.answered.extend(waits.map(|(peer, _)| *peer));
    }

    /// A peer does not hold what it was asked for.
    pub(super) fn on_not_held(&mut self, from: ReplicaId, key: FetchKey) {
        let FetchKey::Content(id, hash) = key else {
            return;
        };
        let Some(sweep) = self.sweeps.of.get_mut(&from) else {
            return;
        };
        if let Stage::Contents(fetching) = &mut sweep.stage
            && fetching.asked.remove(&(id, hash))
        {
            fetching.lacked += 1;
            self.sweeps.answered.insert(from);
        }
    }

    /// True if comparing with this peer made it necessary to ask for a content of the entry.
    pub(super) fn is_compared(&self, peer: ReplicaId, id: &EntryId) -> bool {
        let sweep = self.sweeps.of.get(&peer);
        sweep.is_some_and(|sweep| sweep.expects(id))
    }

    /// A peer gave something; it counts when the input is handled to its end.
    pub(super) fn note_answer(&mut self, peer: ReplicaId) {
        self.sweeps.answered.insert(peer);
    }

    /// Goes on where peers gave something.
    pub(super) fn on_answered(&mut self, out: &mut Outputs) {
        while let Some(peer) = self.sweeps.answered.pop_first() {
            self.fetch_lacking(peer, out);
        }
    }

    /// Asks whether entries were removed that a peer did not list, if they still stand.
    pub(super) fn on_doubts_timer(&mut self, peer: ReplicaId, out: &mut Outputs) {
        let store = &self.store;
        let is_held = |id: &EntryId| store.is_live(id);
        let Some(sweep) = self.sweeps.of.get_mut(&peer) else {
            return;
        };
        let ids = sweep.doubts.next(is_held);
        sweep.note_caught_up();
        if !sweep.doubts.is_empty() {
            self.timers.arm(Timer::Doubts(peer), self.now + MOMENT);
        }
        self.count_many("comparing: asked whether removed", ids.len() as u64);
        for id in ids {
            self.send_peer(peer, PeerMessage::Fetch(FetchKey::Decision(id)), out);
        }
    }

    /// All contents that are held, in the order in which they are compared.
    pub fn live(&self) -> impl Iterator<Item = (EntryId, ContentHash)> {
        let contents = self
            .store
            .live_after(None)
            .flat_map(|(_, contents)| contents);
        contents.map(|held| (held.id(), held.hash()))
    }

    /// How far comparing with each peer has got, for operators.
    pub(super) fn report_comparing(&self) -> Vec<Comparing> {
        let connected = |peer: &ReplicaId| self.connected.contains(peer);
        let sweeps = self.sweeps.of.iter().filter(|(peer, _)| connected(peer));
        sweeps.map(|(peer, sweep)| sweep.report(*peer)).collect()
    }

    /// Which of the peers with which it sweeps in a hurry this is, and how many there are.
    fn turn_of(&self, peer: ReplicaId) -> (usize, usize) {
        let connected = |peer: &ReplicaId| self.connected.contains(peer);
        let hurried = self.sweeps.of.iter().filter(|(_, sweep)| sweep.hurried);
        let hurried: Vec<_> = hurried.map(|(peer, _)| *peer).filter(connected).collect();
        let turn = hurried.iter().position(|of| *of == peer);
        (turn.unwrap_or(0), hurried.len())
    }

    fn is_hurried(&self, peer: ReplicaId) -> bool {
        let sweep = self.sweeps.of.get(&peer);
        sweep.is_some_and(|sweep| sweep.hurried)
    }

    fn set_stage(&mut self, peer: ReplicaId, stage: Stage) {
        if let Some(sweep) = self.sweeps.of.get_mut(&peer) {
            sweep.stage = stage;
        }
    }

    fn look_again(&mut self, peer: ReplicaId, at: Time) {
        if let Some(sweep) = self.sweeps.of.get_mut(&peer) {
            sweep.due = at;
            self.timers.arm(Timer::Sweep(peer), at);
        }
    }

    fn count_many(&mut self, what: &'static str, many: u64) {
        if many > 0 {
            *self.counters.entry(what).or_default() += many;
        }
    }
}

/// True if a content is held, or its entry removed.
fn is_settled(store: &super::store::Store, (id, hash): &Item) -> bool {
    store.is_removed(id) || store.holds(id, hash)
}

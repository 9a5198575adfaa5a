//! What comes of a state when all that was on its way is lost, nobody brings anything any more, and
//! correct replicas reach each other: they come to hold the same, and if the winner does not know, one
//! of them can still tell it. First with what each can say, in every state; then, from one state of each kind, with
//! the replicas themselves, their timers and their own questions.

use std::collections::VecDeque;

use bts_core::ids::ReplicaId;
use bts_core::replica::Input;
use bts_core::time::Span;

use super::act::Act;
use super::cast::{CORRECT, Entry};
use super::judge::ForgetViolation;
use super::machine::{RealReplica, Standing};
use super::{Search, State, Step};

/// Longer than the longest pause between two questions.
const LONG_ENOUGH: Span = Span::from_millis(180_000);
const EVENTS_MAX: usize = 100_000;

impl Search {
    /// From any state.
    pub(super) fn finish(&mut self, state: &State) -> Option<ForgetViolation> {
        let mut way = Vec::new();
        let mut state = *state;
        if state.around.taken {
            // Who took the put tells it.
            let decided = self.number(Act::Decided(Entry::Y));
            state = self.after(&state, Step::At(0, decided));
        }
        state.network = 0;
        loop {
            if self.good.contains(&state.pack()) {
                break;
            }
            way.push(state.pack());
            let before = state;
            for to in 0..CORRECT as u8 {
                for step in self.answers(&state, to) {
                    state = self.after(&state, step);
                }
            }
            state.network = 0;
            if state == before {
                let facts = self.facts(&state);
                let live = facts.map(|facts| facts.live);
                let removed = facts.iter().any(|facts| facts.removed(Entry::Y));
                if let Some(violation) = differ(live, removed, self.with_put()) {
                    return Some(violation);
                }
                let tells = |i: usize| facts[i].standing(Entry::X) == Standing::Kept;
                if !state.around.knows && !(0..CORRECT).any(tells) {
                    return Some(ForgetViolation::WinnerLost);
                }
                break;
            }
        }
        self.good.extend(way);
        None
    }

    fn with_put(&self) -> bool {
        self.bounds.in_place != super::InPlace::Nothing
    }

    /// From this state, with real replicas that ask and compare by themselves.
    pub(super) fn finish_for_real(&self, state: &State) -> Result<(), ForgetViolation> {
        let replica = |i: usize| self.replicas[i].replica(state.replicas[i]);
        let mut cluster: Vec<_> = (0..CORRECT).map(replica).collect();
        let latest = cluster.iter().map(RealReplica::now).max();
        let mut now = latest.unwrap_or_default();
        let end = now + LONG_ENOUGH;
        let mut wire = VecDeque::new();
        let pairs = (0..CORRECT).flat_map(|i| (0..CORRECT).map(move |j| (i, j)));
        for (one, other) in pairs.filter(|(i, j)| i != j) {
            let next = cluster[other].stream_next(one as u8);
            cluster[one].wait_until(now);
            cluster[one].feed(Input::PeerConnected(ReplicaId(other as u16), next));
        }
        if state.around.taken
            && let Some(input) = self.cast.input(Act::Decided(Entry::Y))
        {
            cluster[0].feed(input);
        }
        for _ in 0..EVENTS_MAX {
            for (i, replica) in cluster.iter_mut().enumerate() {
                let sent = replica.take_sent().into_iter();
                wire.extend(sent.map(|(to, message)| (i, to, message)));
            }
            if let Some((from, to, message)) = wire.pop_front() {
                if let Some(replica) = cluster.get_mut(usize::from(to.0)) {
                    replica.feed(Input::Peer(ReplicaId(from as u16), message));
                }
                continue;
            }
            let next = cluster.iter().filter_map(RealReplica::deadline).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                let live = |replica: &RealReplica| Entry::ALL.map(|entry| replica.holds(entry));
                let live = [&cluster[0], &cluster[1], &cluster[2]].map(live);
                let removed = cluster
                    .iter()
                    .any(|replica| replica.said().decided[1] || replica.said().skipped[1]);
                return differ(live, removed, self.with_put()).map_or(Ok(()), Err);
            };
            now = now.max(next);
            for replica in &mut cluster {
                replica.wait_until(now);
                replica.feed(Input::Tick);
            }
        }
        Err(ForgetViolation::NeverAlike)
    }
}

/// x is nowhere, and y everywhere unless somebody knows that it was taken, and then nowhere.
fn differ(live: [[bool; 2]; CORRECT], y_removed: bool, with_put: bool) -> Option<ForgetViolation> {
    let wanted = [false, with_put && !y_removed];
    let alike = live.iter().all(|live| *live == wanted);
    (!alike).then_some(ForgetViolation::NeverAlike)
}

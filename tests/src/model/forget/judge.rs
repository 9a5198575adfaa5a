//! What must not be, in any state.

use std::fmt;

use super::act::Act;
use super::cast::{CORRECT, Entry};
use super::machine::{Facts, Standing};
use super::{Around, ForgetVerdict, InPlace, Search, State, Step};

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgetViolation {
    /// A decision was forgotten before its winner knew.
    Unsettled,
    /// A decision was forgotten before `n - f` replicas, the faulty one counted, had logged it.
    Unlogged,
    /// A decision was forgotten while its put was there, or before it was taken.
    PutLives,
    /// An entry was dropped though no correct replica has forgotten it.
    Unfounded,
    /// An entry is there again that was removed.
    Resurrected,
    /// Who wanted a removed entry got a vote for it, or two of correct replicas, which is a quorum.
    TakenTwice,
    /// A quorum shows the entry, and a correct replica has forgotten it.
    Returned,
    /// Readers may find neither the entry nor what was put in its place.
    NeitherSeen,
    /// Left to themselves, correct replicas do not come to hold the same.
    NeverAlike,
    /// No correct replica can ever tell the winner that it won.
    WinnerLost,
    /// A replica says something else of an entry after a restart.
    OtherAfterRestart,
    /// A replica stops at an assertion of its own, or does not understand its log.
    Stopped,
}

impl fmt::Display for ForgetViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsettled => "a decision is forgotten before its winner knows",
            Self::Unlogged => "a decision is forgotten that too few have logged",
            Self::PutLives => "a decision is forgotten while its put is there",
            Self::Unfounded => "an entry is dropped that no correct replica has forgotten",
            Self::Resurrected => "a removed entry is there again",
            Self::TakenTwice => "a removed entry is taken again",
            Self::Returned => "a quorum shows an entry that was forgotten",
            Self::NeitherSeen => "readers find neither the entry nor what was put in its place",
            Self::NeverAlike => "correct replicas never come to hold the same",
            Self::WinnerLost => "nobody can tell the winner any more",
            Self::OtherAfterRestart => "a replica says something else after a restart",
            Self::Stopped => "a replica stops at an assertion of its own",
        })
    }
}

impl Search {
    /// What is wrong in this state; the verdict counts what was met.
    pub(super) fn judge(
        &mut self,
        state: &State,
        verdict: &mut ForgetVerdict,
    ) -> Option<ForgetViolation> {
        let facts = self.facts(state);
        let stands = |standing| move |facts: &&Facts| facts.standing(Entry::X) == standing;
        let forgot = facts.iter().filter(stands(Standing::Forgotten)).count();
        let skipped = facts.iter().filter(stands(Standing::Skipped)).count();
        verdict.forgotten += u64::from(forgot + skipped == CORRECT);
        verdict.skipped += u64::from(skipped > 0);
        let strict = match self.bounds.strict {
            true => self
                .entries()
                .find_map(|e| self.forgot_too_early(state, &facts, e)),
            false => None,
        };
        strict
            .or_else(|| self.entries().find_map(|entry| came_back(&facts, entry)))
            .or_else(|| self.half_seen(state, &facts))
            .or_else(|| self.finish(state))
    }

    ///
    fn forgot_too_early(
        &self,
        state: &State,
        facts: &[Facts; CORRECT],
        entry: Entry,
    ) -> Option<ForgetViolation> {
        let stands = |standing| facts.iter().any(|facts| facts.standing(entry) == standing);
        if stands(Standing::Skipped) && !stands(Standing::Forgotten) {
            return Some(ForgetViolation::Unfounded);
        }
        if !stands(Standing::Forgotten) {
            return None;
        }
        let Around { knows, taken, .. } = state.around;
        let is_settled = match entry {
            Entry::X => knows,
            Entry::Y => taken,
        };
        if !is_settled {
            return Some(ForgetViolation::Unsettled);
        }
        let logged = facts
            .iter()
            .filter(|facts| facts.said.decided[entry as usize]);
        if logged.count() < CORRECT - 1 {
            return Some(ForgetViolation::Unlogged);
        }
        let with_put = self.bounds.in_place != InPlace::Nothing && entry == Entry::X;
        let forgetful = facts
            .iter()
            .filter(|facts| facts.standing(entry) == Standing::Forgotten);
        let holds_put = forgetful.clone().any(|facts| facts.live[Entry::Y as usize]);
        (with_put && (holds_put || !taken)).then_some(ForgetViolation::PutLives)
    }

    /// Two of three correct replicas may be what a reader hears, besides the faulty one.
    fn half_seen(&self, state: &State, facts: &[Facts; CORRECT]) -> Option<ForgetViolation> {
        if self.bounds.in_place == InPlace::Nothing || state.around.taken {
            return None;
        }
        let is_none = |entry: Entry| {
            let empty = facts.iter().filter(|facts| facts.empty[entry as usize]);
            empty.count() >= CORRECT - 1
        };
        let neither = Entry::ALL.into_iter().all(is_none);
        neither.then_some(ForgetViolation::NeitherSeen)
    }
}

fn came_back(facts: &[Facts; CORRECT], entry: Entry) -> Option<ForgetViolation> {
    let at = entry as usize;
    if facts.iter().any(|facts| facts.stopped) {
        return Some(ForgetViolation::Stopped);
    }
    if facts
        .iter()
        .any(|facts| facts.live[at] && facts.removed(entry))
    {
        return Some(ForgetViolation::Resurrected);
    }
    let voted = facts.iter().filter(|facts| facts.said.voted).count();
    if voted >= CORRECT - 1 || facts.iter().any(|facts| facts.said.voted_late) {
        return Some(ForgetViolation::TakenTwice);
    }
    let shown = facts.iter().filter(|facts| facts.live[at]).count();
    let forgot = facts
        .iter()
        .any(|facts| facts.standing(entry) == Standing::Forgotten);
    (forgot && shown >= CORRECT - 1).then_some(ForgetViolation::Returned)
}

impl Search {
    /// What a replica does when it is left to itself and the others answer what they can say now.
    pub(super) fn answers(&self, state: &State, to: u8) -> Vec<Step> {
        let mut steps = Vec::new();
        for by in (0..CORRECT as u8).filter(|by| *by != to) {
            let says = self.says(state, by);
            let said = (0..self.acts.len()).filter(|number| {
                let act = self.acts[*number];
                let place = act.place().filter(|_| act.by() == Some(by));
                place.is_some_and(|place| says >> place & 1 == 1)
            });
            steps.extend(said.map(|number| Step::At(to, number)));
        }
        steps.push(Step::At(to, self.number(Act::Time)));
        steps
    }
}

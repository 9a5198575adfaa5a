//! The way to what is wrong, in words.

use super::act::Act;
use super::cast::CORRECT;
use super::{Search, State, Step};

impl Search {
    /// The steps from the beginning through these states, one more if there is, and how it ends.
    pub(super) fn explain(&self, path: &[u128], last: Option<Step>) -> Vec<String> {
        let states: Vec<_> = path.iter().map(|state| State::unpack(*state)).collect();
        let pairs = states
            .windows(2)
            .map(|pair| self.difference(&pair[0], &pair[1]));
        let last = last.map(|step| self.word(step));
        let first = "s0 applied the decision of X".to_owned();
        let after = states.last().map(|state| {
            let standing = self.facts(state).map(|facts| facts.standing);
            format!("X and Y: {standing:?}, {:?}", state.around)
        });
        [first]
            .into_iter()
            .chain(pairs)
            .chain(last)
            .chain(after)
            .collect()
    }

    fn word(&self, step: Step) -> String {
        match step {
            Step::Knows => "the winner of X comes to know".to_owned(),
            Step::Taken => "Y is taken".to_owned(),
            Step::At(to, number) => format!("s{to}: {}", self.acts[number]),
        }
    }

    /// A step that leads from one state to the next.
    fn difference(&self, state: &State, next: &State) -> String {
        if !state.around.knows && next.around.knows {
            return self.word(Step::Knows);
        }
        if !state.around.taken && next.around.taken {
            return self.word(Step::Taken);
        }
        let restarted = state.around.restarts != next.around.restarts;
        for to in 0..CORRECT as u8 {
            let at = usize::from(to);
            let (from, goal) = (state.replicas[at], next.replicas[at]);
            let leads = |number: &usize| {
                let is_restart = matches!(self.acts[*number], Act::Restarted { .. });
                is_restart == restarted
                    && self.replicas[at].known(from, *number) == Some(goal)
                    && self.may(state, &self.facts(state), to, self.acts[*number])
            };
            let others = (0..CORRECT).all(|i| i == at || state.replicas[i] == next.replicas[i]);
            if others && let Some(number) = (0..self.acts.len()).find(leads) {
                return self.word(Step::At(to, number));
            }
        }
        "something".to_owned()
    }
}

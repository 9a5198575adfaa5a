//! Model check of forgetting (PROTOCOL section 7; A5, A6, C1, G2, G5): a decision is known to one of
//! three correct replicas, the others may come to know it in any way at any time; its winner settles;
//! replicas forget, and a late one asks, or does not; a faulty replica says what it likes, and hostile
//! clients bring the entry back and take it again. Real replicas, and every order of all that.
//!
//! The network holds every answer that a correct replica could ever have given, and delivers any of
//! them to anybody at any time, any number of times, or never. What a replica could answer it is
//! asked, by messages, in each state that it gets into.
//!
//! Left out: comparing and repeated questions, which only make answers come, but in the runs to the
//! end (`finish.rs`), where replicas are left to themselves; votes on what is taken; ballots.

mod act;
mod automaton;
mod bounds;
mod cast;
mod finish;
mod judge;
mod machine;
mod trace;
mod twist;

pub use bounds::{ForgetBounds, ForgetVerdict, InPlace};
pub use judge::ForgetViolation;
pub use twist::ForgetTwist;

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use act::{Act, Batch};
use automaton::Automaton;
use cast::{CORRECT, Cast, Entry, LIAR};
use machine::{Facts, RealReplica, Standing};

use super::seen::Seen;

/// What is true of the world, besides its replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Around {
    /// The winner of x knows.
    knows: bool,
    /// The put is taken, and its winner knows.
    taken: bool,
    restarts: u8,
}

/// A state of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    replicas: [u32; CORRECT],
    /// What correct replicas could ever say.
    network: u32,
    around: Around,
}

const MACHINE_BITS: u32 = 24;

impl State {
    fn pack(&self) -> u128 {
        let Around {
            knows,
            taken,
            restarts,
        } = self.around;
        let around = u32::from(restarts) << 2 | u32::from(knows) << 1 | u32::from(taken);
        let numbers = self.replicas.iter();
        let packed = u128::from(around) << 32 | u128::from(self.network);
        numbers.fold(packed, |packed, number| {
            packed << MACHINE_BITS | u128::from(*number)
        })
    }

    fn unpack(packed: u128) -> Self {
        let mask = (1 << MACHINE_BITS) - 1;
        let number = |place: u32| (packed >> (MACHINE_BITS * place)) as u32 & mask;
        let rest = packed >> (MACHINE_BITS * CORRECT as u32);
        let around = (rest >> 32) as u32;
        Self {
            replicas: [number(2), number(1), number(0)],
            network: rest as u32,
            around: Around {
                knows: around >> 1 & 1 == 1,
                taken: around & 1 == 1,
                restarts: (around >> 2) as u8,
            },
        }
    }
}

/// Something that may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    At(u8, usize),
    /// The winner of x comes to know.
    Knows,
    /// The put is taken.
    Taken,
}

struct Search {
    bounds: ForgetBounds,
    cast: Rc<Cast>,
    acts: Vec<Act>,
    replicas: Vec<Automaton>,
    /// States from which replicas that are left to themselves come to the same.
    good: HashSet<u128>,
}

/// Visits every state within the bounds, or stops at the first that is wrong.
pub fn run(bounds: &ForgetBounds) -> ForgetVerdict {
    let mut search = Search::new(bounds);
    let mut verdict = ForgetVerdict::default();
    let mut seen = Seen::new();
    seen.insert(search.start().pack(), 0);
    let mut kinds = BTreeMap::new();
    let mut depths = vec![0_u16];
    let mut at = 0;
    while at < seen.len() && seen.len() < bounds.states_max {
        let state = State::unpack(seen.get(at));
        let violation = search.judge(&state, &mut verdict);
        if let Some(violation) = violation {
            verdict.violation = Some((violation, search.explain(&seen.path(at), None)));
            break;
        }
        kinds
            .entry((search.facts(&state), state.around))
            .or_insert(at);
        let depth = depths[at] + 1;
        let mut wrong = None;
        search.each_step(&state, |search, step| {
            verdict.transitions += 1;
            let next = search.after(&state, step);
            let changes = search.changed_by_restart(&state, &next, step);
            if changes && wrong.is_none() {
                wrong = Some(step);
            }
            if seen.insert(next.pack(), at as u32) {
                depths.push(depth);
            }
        });
        if wrong.is_some() {
            let trace = search.explain(&seen.path(at), wrong);
            verdict.violation = Some((ForgetViolation::OtherAfterRestart, trace));
            break;
        }
        at += 1;
    }
    verdict.states = seen.len();
    verdict.depth = depths.last().copied().unwrap_or(0).into();
    verdict.is_complete = at == seen.len();
    if bounds.finish && verdict.violation.is_none() {
        for at in kinds.into_values() {
            let state = State::unpack(seen.get(at));
            verdict.finished += 1;
            if let Err(violation) = search.finish_for_real(&state) {
                verdict.violation = Some((violation, search.explain(&seen.path(at), None)));
                break;
            }
        }
    }
    for (len, replica) in verdict.machines.iter_mut().zip(&search.replicas) {
        *len = replica.len();
    }
    verdict
}

impl Search {
    fn new(bounds: &ForgetBounds) -> Self {
        let with_put = bounds.in_place != InPlace::Nothing;
        let forgets = bounds.twist.is_some_and(ForgetTwist::forgets);
        let loses = bounds.twist == Some(ForgetTwist::RangeNotStored);
        let restarts = bounds.restarts > 0 || loses;
        let acts = Act::all(with_put, restarts, forgets);
        let cast = Rc::new(Cast::new(with_put));
        let replica = |number: usize| {
            let cast = Rc::clone(&cast);
            let has_x = bounds.late_holds || number + 1 < CORRECT;
            let make = move || {
                let cast = Rc::clone(&cast);
                RealReplica::new(cast, number as u8, has_x, with_put, loses)
            };
            Automaton::new(acts.len(), restarts, make)
        };
        Self {
            replicas: (0..CORRECT).map(replica).collect(),
            bounds: *bounds,
            good: HashSet::new(),
            cast,
            acts,
        }
    }

    /// One replica has applied the decision, or two.
    fn start(&mut self) -> State {
        let mut state = State {
            replicas: [0; CORRECT],
            network: 0,
            around: Around::default(),
        };
        let mut acts = vec![(0, Act::Decided(Entry::X))];
        if self.bounds.ahead {
            state.around.knows = true;
            acts.push((1, Act::Decided(Entry::X)));
            for to in 0..2 {
                acts.extend([
                    (to, Act::Told(1 - to, Batch::X)),
                    (to, Act::Settled(Entry::X)),
                ]);
                if self.bounds.in_place == InPlace::Taken {
                    state.around.taken = true;
                    acts.push((to, Act::Decided(Entry::Y)));
                }
            }
        }
        if self.bounds.liar_at_once {
            let batch = match self.bounds.in_place {
                InPlace::Nothing | InPlace::Put => Batch::X,
                InPlace::Taken => Batch::Both,
            };
            acts.extend((0..LIAR).map(|to| (to, Act::Told(LIAR, batch))));
        }
        for (to, act) in acts {
            let number = self.number(act);
            state = self.after(&state, Step::At(to, number));
        }
        state
    }

    fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        let count = match self.bounds.in_place {
            InPlace::Nothing => 1,
            InPlace::Put | InPlace::Taken => 2,
        };
        Entry::ALL.into_iter().take(count)
    }

    fn number(&self, act: Act) -> usize {
        let place = self.acts.iter().position(|known| *known == act);
        place.expect("an act of this model")
    }

    fn facts(&self, state: &State) -> [Facts; CORRECT] {
        let of = |i: usize| *self.replicas[i].facts(state.replicas[i]);
        [of(0), of(1), of(2)]
    }

    fn each_step(&mut self, state: &State, mut each: impl FnMut(&mut Self, Step)) {
        if !state.around.knows {
            each(self, Step::Knows);
        }
        let facts = self.facts(state);
        // Who voted for the decision on the put held it.
        let holders = facts
            .iter()
            .take(2)
            .all(|facts| facts.live[Entry::Y as usize]);
        if self.bounds.in_place == InPlace::Taken && !state.around.taken && holders {
            each(self, Step::Taken);
        }
        for to in 0..CORRECT as u8 {
            for number in 0..self.acts.len() {
                if self.may(state, &facts, to, self.acts[number]) {
                    each(self, Step::At(to, number));
                }
            }
        }
    }

    fn may(&self, state: &State, facts: &[Facts; CORRECT], to: u8, act: Act) -> bool {
        let own = &facts[usize::from(to)];
        if act.by() == Some(to) {
            return false;
        }
        let is_believed = self.bounds.twist == Some(ForgetTwist::OneBelieved);
        // As if the faulty one spoke for another as well.
        if is_believed && matches!(act, Act::Forgotten(by, _) if by == (to + 1) % LIAR) {
            return true;
        }
        if let Some(place) = act.place() {
            return state.network >> place & 1 == 1;
        }
        match act {
            Act::Decided(Entry::Y) | Act::Settled(Entry::Y) => state.around.taken,
            Act::Settled(Entry::X) => state.around.knows,
            Act::Dropped(_) => self.bounds.dropped,
            // A vote for it before is the business of the other models.
            Act::TakenAgain => own.removed(Entry::X),
            // What one applied, and what was decided, is said by those who say the truth.
            Act::Given(..) => false,
            Act::Restarted { .. } => state.around.restarts < self.restarts(),
            Act::Forgets(entry) => self.may_forget(state, facts, to, entry),
            Act::Told(..) => !self.bounds.liar_at_once,
            Act::Decided(Entry::X)
            | Act::Forgotten(..)
            | Act::Unknown(..)
            | Act::Relayed(_)
            | Act::WrittenBack
            | Act::Time => true,
        }
    }

    fn restarts(&self) -> u8 {
        let loses = self.bounds.twist == Some(ForgetTwist::RangeNotStored);
        self.bounds.restarts.max(u8::from(loses))
    }

    /// as it is written, but for what the broken rule leaves out.
    fn may_forget(&self, state: &State, facts: &[Facts; CORRECT], to: u8, entry: Entry) -> bool {
        let own = &facts[usize::from(to)];
        let left_out = |twist| self.bounds.twist == Some(twist);
        let settled = match entry {
            Entry::X => state.around.knows,
            Entry::Y => state.around.taken,
        };
        let logged = facts
            .iter()
            .filter(|facts| facts.said.decided[entry as usize]);
        let is_logged = logged.count() >= CORRECT - 1;
        let put_is_gone = entry == Entry::Y || !own.live[Entry::Y as usize];
        own.standing(entry) == Standing::Kept
            && (settled || left_out(ForgetTwist::Unsettled))
            && (is_logged || left_out(ForgetTwist::Unlogged))
            && (put_is_gone || left_out(ForgetTwist::PutLives))
    }

    fn after(&mut self, state: &State, step: Step) -> State {
        let mut next = *state;
        match step {
            Step::Knows => next.around.knows = true,
            Step::Taken => next.around.taken = true,
            Step::At(to, number) => {
                let act = self.acts[number];
                let at = usize::from(to);
                next.replicas[at] = self.replicas[at].step(state.replicas[at], number, act);
                next.around.restarts += u8::from(matches!(act, Act::Restarted { .. }));
                next.network |= self.says(&next, to);
            }
        }
        next
    }

    /// What a replica can say, as places of the network.
    fn says(&self, state: &State, by: u8) -> u32 {
        let facts = self.replicas[usize::from(by)].facts(state.replicas[usize::from(by)]);
        let twist = self.bounds.twist;
        let mut says = 0;
        let mut say = |act: Act| says |= act.place().map_or(0, |place| 1 << place);
        for entry in self.entries() {
            match facts.standing(entry) {
                Standing::Kept => say(Act::Given(by, entry)),
                Standing::Forgotten => say(Act::Forgotten(by, entry)),
                Standing::Unknown | Standing::Present | Standing::Skipped => {
                    if twist == Some(ForgetTwist::UnknownForgotten) && !facts.live[entry as usize] {
                        say(Act::Forgotten(by, entry));
                    }
                }
            }
        }
        let kept = Entry::ALL.map(|entry| facts.standing(entry) == Standing::Kept);
        match kept {
            [true, true] => say(Act::Told(by, Batch::Both)),
            [true, false] => say(Act::Told(by, Batch::X)),
            [false, true] => say(Act::Told(by, Batch::Y)),
            [false, false] => {}
        }
        says
    }

    /// True if a replica says something else of an entry after a restart.
    fn changed_by_restart(&self, state: &State, next: &State, step: Step) -> bool {
        let Step::At(to, number) = step else {
            return false;
        };
        if !matches!(self.acts[number], Act::Restarted { .. }) || !self.bounds.strict {
            return false;
        }
        let at = usize::from(to);
        let [before, after] = [state, next].map(|s| self.replicas[at].facts(s.replicas[at]));
        !after.stopped && (before.standing, before.live) != (after.standing, after.live)
    }
}

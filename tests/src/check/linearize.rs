//! The exact judge: a search for one order of the operations that the specification allows and that
//! keeps every "ended before the other started" (Wing and Gong 1993, with the visited set of Lowe
//! 2017).
//!
//! Entries that no operation links to each other are checked apart: a history is linearizable if
//! and only if its part on each object is (Herlihy and Wing 1990, theorem 1), and an object here is
//! a set of entries such that every operation touches entries of one set only.
//!
//! The search may give up after a number of states; that is told apart from both answers.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::bits::Bits;
use super::history::{Operation, Shown};
use super::spec::{Contents, Duty, Step};

/// Bytes of the states visited in one part of a history before the search gives up. Short
/// histories get many states out of it, long ones few, and a program with eight searches at once
/// stays below a gigabyte.
pub const VISITED_BYTES_MAX: usize = 32 << 20;

/// What a state costs beside its words: its place in the table, its length, the allocation.
const STATE_BYTES: usize = 48;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some legal order explains all answers.
    Linearizable,
    /// None does.
    Violation(Explanation),
    /// Too many orders to try; the workload asks too much of the judge.
    Undecided,
}

/// Why a history is not linearizable: the longest order that works, and what cannot follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Operations in an order that is legal so far.
    pub order: Vec<String>,
    /// Entries that are then present.
    pub state: Vec<String>,
    /// Operations of which one would have to come next.
    pub blocked: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "no order explains these answers; the longest that does for a while:"
        )?;
        self.order
            .iter()
            .try_for_each(|line| writeln!(f, "  {line}"))?;
        writeln!(f, "then present: {}", self.state.join(" "))?;
        writeln!(f, "and none of these can come next:")?;
        self.blocked
            .iter()
            .try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Judges a history.
pub fn check(history: &[Operation]) -> Verdict {
    if let Some(nonsense) = history.iter().find(|operation| operation.is_nonsense()) {
        return Verdict::Violation(Explanation {
            blocked: vec![nonsense.to_string()],
            ..Explanation::default()
        });
    }
    let contents = Contents::of(history);
    let mut undecided = false;
    for part in parts(history, &contents) {
        match Search::new(&contents, part).run() {
            Verdict::Linearizable => {}
            Verdict::Undecided => undecided = true,
            violation @ Verdict::Violation(_) => return violation,
        }
    }
    match undecided {
        true => Verdict::Undecided,
        false => Verdict::Linearizable,
    }
}

/// An operation with its possible steps.
#[derive(Clone, Debug)]
struct Candidate<'a> {
    operation: &'a Operation,
    steps: Vec<Step>,
    required: bool,
}

impl Candidate<'_> {
    /// Without answer the end is never.
    fn end(&self) -> u64 {
        self.operation.ended.unwrap_or(u64::MAX)
    }
}

/// The operations of each set of linked entries, in order of their start.
fn parts<'a>(history: &'a [Operation], contents: &Contents) -> Vec<Vec<Candidate<'a>>> {
    let candidates = history.iter().flat_map(|operation| {
        let duties = contents.duties(operation).into_iter();
        duties.map(move |Duty { steps, required }| Candidate {
            operation,
            steps,
            required,
        })
    });
    let candidates: Vec<_> = candidates.filter(|c| !c.steps.is_empty()).collect();
    let mut groups = Groups::new(contents.len());
    for candidate in &candidates {
        groups.join_all(candidate.steps.iter().flat_map(Step::touched));
    }
    let mut parts = BTreeMap::<usize, Vec<Candidate<'a>>>::new();
    for candidate in candidates {
        let touched = candidate.steps.iter().flat_map(Step::touched).next();
        if let Some(entry) = touched {
            parts.entry(groups.of(entry)).or_default().push(candidate);
        }
    }
    let mut parts: Vec<_> = parts.into_values().collect();
    parts
        .iter_mut()
        .for_each(|part| part.sort_by_key(|c| c.operation.started));
    parts
}

/// Disjoint sets of numbers.
#[derive(Debug)]
struct Groups(Vec<usize>);

impl Groups {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn of(&mut self, member: usize) -> usize {
        let mut top = member;
        while self.0[top] != top {
            self.0[top] = self.0[self.0[top]];
            top = self.0[top];
        }
        top
    }

    fn join_all(&mut self, members: impl Iterator<Item = usize>) {
        let mut first = None;
        for member in members {
            let group = self.of(member);
            let joined = *first.get_or_insert(group);
            let top = self.of(joined);
            self.0[group] = top;
        }
    }
}

/// The search in one part.
#[derive(Debug)]
struct Search<'a> {
    contents: &'a Contents,
    candidates: Vec<Candidate<'a>>,
    /// Entries that some "none" of this part must not see.
    dangerous: Bits,
    visited: HashSet<Box<[u64]>>,
    states_max: usize,
    order: Vec<usize>,
    longest: Vec<usize>,
    longest_state: Bits,
    longest_done: Bits,
}

impl<'a> Search<'a> {
    fn new(contents: &'a Contents, candidates: Vec<Candidate<'a>>) -> Self {
        let steps = candidates.iter().flat_map(|c| &c.steps);
        let seen_absent = steps.flat_map(|step| step.absent.members());
        let dangerous = Bits::of(contents.len(), seen_absent);
        let done = Bits::new(candidates.len());
        let words = (candidates.len().div_ceil(64)) + contents.len().div_ceil(64);
        let state_bytes = STATE_BYTES + 8 * words;
        Self {
            contents,
            dangerous,
            candidates,
            visited: HashSet::new(),
            states_max: VISITED_BYTES_MAX / state_bytes,
            order: Vec::new(),
            longest: Vec::new(),
            longest_state: Bits::new(contents.len()),
            longest_done: done,
        }
    }

    fn run(mut self) -> Verdict {
        let done = Bits::new(self.candidates.len());
        let state = Bits::new(self.contents.len());
        match self.extend(done, state) {
            Some(true) => Verdict::Linearizable,
            Some(false) => Verdict::Violation(self.explain()),
            None => Verdict::Undecided,
        }
    }

    /// Tries to order all that is not done; `None` if it gave up.
    fn extend(&mut self, mut done: Bits, mut state: Bits) -> Option<bool> {
        let depth = self.order.len();
        while let Some((next, step)) = self.harmless(&done, &state) {
            state = self.candidates[next].steps[step].apply(&state);
            done.add(next);
            self.order.push(next);
        }
        self.note(&done, &state);
        let found = self.branch(&done, &state);
        if found != Some(true) {
            self.order.truncate(depth);
        }
        found
    }

    fn branch(&mut self, done: &Bits, state: &Bits) -> Option<bool> {
        if self.is_complete(done) {
            return Some(true);
        }
        if !self.visited.insert(done.joined(state)) {
            return Some(false);
        }
        if self.visited.len() > self.states_max {
            return None;
        }
        for next in self.next(done) {
            for step in 0..self.candidates[next].steps.len() {
                let step = &self.candidates[next].steps[step];
                if !step.is_enabled(state) {
                    continue;
                }
                let after = step.apply(state);
                let mut with = done.clone();
                with.add(next);
                self.order.push(next);
                if self.extend(with, after)? {
                    return Some(true);
                }
                self.order.pop();
            }
        }
        Some(false)
    }

    /// A step that can come at once if it can come at all, because it hinders nothing: it changes
    /// nothing, or it only adds entries that nobody ever found absent.
    fn harmless(&self, done: &Bits, state: &Bits) -> Option<(usize, usize)> {
        let is_harmless = |step: &Step| {
            let adds_safely = step.gone.is_empty() && !step.new.meets(&self.dangerous);
            step.is_enabled(state) && (step.is_pure() || adds_safely)
        };
        self.next(done).into_iter().find_map(|next| {
            let [only] = self.candidates[next].steps.as_slice() else {
                return None;
            };
            is_harmless(only).then_some((next, 0))
        })
    }

    /// Operations that no other unfinished one must precede.
    fn next(&self, done: &Bits) -> Vec<usize> {
        let open = (0..self.candidates.len()).filter(|next| !done.has(*next));
        let horizon = open.clone().map(|next| self.candidates[next].end()).min();
        let horizon = horizon.unwrap_or(u64::MAX);
        open.filter(|next| self.candidates[*next].operation.started <= horizon)
            .collect()
    }

    fn is_complete(&self, done: &Bits) -> bool {
        let all = self.candidates.iter().enumerate();
        all.filter(|(_, candidate)| candidate.required)
            .all(|(i, _)| done.has(i))
    }

    fn note(&mut self, done: &Bits, state: &Bits) {
        if self.order.len() > self.longest.len() {
            self.longest = self.order.clone();
            self.longest_state = state.clone();
            self.longest_done = done.clone();
        }
    }

    fn explain(&self) -> Explanation {
        let show = |i: &usize| self.candidates[*i].operation.to_string();
        let next = self.next(&self.longest_done);
        let required = next.iter().filter(|i| self.candidates[**i].required);
        let present = self.longest_state.members();
        Explanation {
            order: self.longest.iter().map(show).collect(),
            state: present
                .filter_map(|number| self.contents.content(number))
                .map(|content| Shown(content).to_string())
                .collect(),
            blocked: required.map(show).collect(),
        }
    }
}

//! Breadth-first search, so that the first violation found is one of the shortest.

use super::local::{Packing, State};
use super::seen::Seen;
use super::trace;
use super::world::{Next, World};
use super::{Bounds, Met, Verdict, Violation};

/// Visits every state within the bounds, or stops at the first that is wrong.
///
/// # Panics
///
/// If the bounds are none of a cluster, or more than the model has room for.
pub fn run(bounds: &Bounds) -> Verdict {
    assert!(bounds.is_legal(), "no such model: {bounds}");
    let mut search = Search::new(bounds);
    let violation = search.explore();
    let is_complete = violation.is_none() && search.at == search.seen.len();
    search.met.asked = search.world.asked();
    let violation = violation.map(|(violation, last)| {
        let path = search.seen.path(search.at - 1);
        let path: Vec<_> = path
            .iter()
            .map(|state| search.packing.unpack(*state))
            .collect();
        let trace = trace::explain(&mut search.world, &mut search.packing, &path, last);
        (violation, trace)
    });
    Verdict {
        states: search.seen.len(),
        transitions: search.transitions,
        depth: search.depth,
        is_complete,
        met: search.met,
        violation,
    }
}

struct Search {
    world: World,
    packing: Packing,
    seen: Seen,
    /// The next state to be visited.
    at: usize,
    transitions: u64,
    depth: usize,
    met: Met,
    states_max: usize,
}

impl Search {
    fn new(bounds: &Bounds) -> Self {
        let mut search = Self {
            world: World::new(bounds),
            packing: Packing::new(bounds),
            seen: Seen::new(),
            at: 0,
            transitions: 0,
            depth: 0,
            met: Met::default(),
            states_max: bounds.states_max,
        };
        let start = search.packing.pack(&search.world.start());
        search.seen.insert(start, 0);
        search
    }

    /// The violation, and the step that led to it if it is not in a state of its own.
    fn explore(&mut self) -> Option<(Violation, Option<Next>)> {
        let mut level_ends = self.seen.len();
        let mut successors = Vec::new();
        while self.at < self.seen.len() && self.seen.len() < self.states_max {
            if self.at == level_ends {
                self.depth += 1;
                level_ends = self.seen.len();
            }
            let state = self.packing.unpack(self.seen.get(self.at));
            self.at += 1;
            self.world.note(&state, &mut self.met);
            if let Err(violation) = self.world.look(&state) {
                return Some((violation, None));
            }
            successors.clear();
            self.world.successors(&state, &mut successors);
            self.transitions += successors.len() as u64;
            for next in &successors {
                match &next.2 {
                    Err(violation) => return Some((*violation, Some(*next))),
                    Ok(after) => self.add(after),
                }
            }
        }
        None
    }

    fn add(&mut self, state: &State) {
        let packed = self.packing.pack(state);
        self.seen.insert(packed, (self.at - 1) as u32);
    }
}

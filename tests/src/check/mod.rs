//! Judges of histories: was what correct clients saw possible in a tuple space that is one thing,
//! not many replicas? [`linearize`] is exact, [`fast`] is a set of plain rules for long histories;
//! what either calls a violation is one. [`judge`] asks both. [`lines`] keeps histories in files.

pub mod fast;
pub mod history;
pub mod linearize;
pub mod lines;
pub mod spec;

mod bits;
#[cfg(test)]
mod tests;

use history::Operation;
use linearize::Verdict;

/// What both judges say of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What is wrong, in words; empty if nothing is.
    pub violations: Vec<String>,
    /// True if the exact judge gave up, so that nothing but the rules of the fast one were asked.
    pub undecided: bool,
}

/// Asks both judges.
pub fn judge(history: &[Operation]) -> Judgement {
    let mut judgement = Judgement {
        violations: fast::violations(history),
        undecided: false,
    };
    match linearize::check(history) {
        Verdict::Linearizable => {}
        Verdict::Undecided => judgement.undecided = true,
        Verdict::Violation(why) => judgement.violations.push(why.to_string()),
    }
    judgement
}

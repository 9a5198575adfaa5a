//! Checks that can fail: each rule of the protocol broken on purpose, one at a time, and what
//! notices it (docs/verification.md, "Mutants"). The command `mutants` has two halves: the one that
//! people call builds the other with `--cfg bts_mutants`, in a folder of its own, and runs it once
//! for each mutant.

#[cfg(bts_mutants)]
pub mod child;
#[cfg(not(bts_mutants))]
pub mod driver;
mod findings;

pub use findings::{Findings, Known};

/// The name of the run in which no rule is broken, and nobody may notice anything.
pub const NOBODY: &str = "nobody";

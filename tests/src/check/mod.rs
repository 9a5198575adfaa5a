//! Judges of histories: was what correct clients saw possible in a tuple space that is one thing,
//! not many replicas? [`linearize`] is exact, [`fast`] is a set of plain rules for long histories;
//! what either calls a violation is one.

pub mod fast;
pub mod history;
pub mod linearize;
pub mod spec;

mod bits;
#[cfg(test)]
mod tests;

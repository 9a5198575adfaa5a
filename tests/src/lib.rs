//! The machinery that earns trust: a deterministic simulator that drives the very state machines
//! the programs run ([`sim`]), replicas and clients that lie ([`adversary`]), and judges of what
//! correct clients saw ([`check`]).

pub mod adversary;
pub mod check;
pub mod sim;

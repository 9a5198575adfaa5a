//! The machinery that earns trust: a deterministic simulator that drives the very state machines
//! the programs run ([`sim`]), replicas and clients that lie ([`adversary`]), judges of what
//! correct clients saw ([`check`]); the same with real processes ([`process`], [`hostile`]); and what
//! a fuzzer does to every way in ([`fuzz`]).

pub mod adversary;
pub mod check;
pub mod fuzz;
pub mod hostile;
pub mod model;
pub mod process;
pub mod sim;

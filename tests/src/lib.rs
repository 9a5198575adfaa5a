//! The machinery that earns trust: a deterministic simulator that drives the very state machines
//! the programs run ([`sim`]), replicas and clients that lie ([`adversary`]), judges of what
//! correct clients saw ([`check`]); and the same with real processes ([`process`], [`hostile`]).

pub mod adversary;
pub mod check;
pub mod hostile;
pub mod process;
pub mod sim;

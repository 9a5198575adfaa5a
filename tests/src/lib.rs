//! The machinery that earns trust: a deterministic simulator that drives the very state machines
//! the programs run ([`sim`]), replicas and clients that lie ([`adversary`]), judges of what
//! correct clients saw ([`check`]); attacks step by step ([`directed`]); a search through all
//! states of an instance ([`model`]); rules broken on purpose, to see that somebody notices
//! ([`mutants`]); the same with real processes ([`process`], [`hostile`]), killed over and over
//! ([`crash`]), busy for long ([`flow`]), full of entries ([`live`]), or back from where they missed much
//! ([`away`]); and what a fuzzer does to every way in ([`fuzz`]).

pub mod adversary;
pub mod away;
pub mod check;
pub mod crash;
pub mod directed;
pub mod flow;
pub mod fuzz;
pub mod hostile;
pub mod live;
pub mod model;
pub mod mutants;
pub mod process;
pub mod sim;

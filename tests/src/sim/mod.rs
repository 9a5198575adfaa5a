//! The deterministic simulator: the very state machines that the programs run, in a world with a
//! clock that jumps, a network that delays, loses, doubles, reorders and cuts, disks that take
//! their time, and crashes.
//!
//! * [`world`]: the world and its events; `links`, `power`, `newborn`, `shell` and `operations` are parts of it.
//! * [`network`], [`disk`], [`clock`], [`rng`]: what surrounds the machines.
//! * [`cluster`]: the language of directed tests; start there.
//! * [`run`], [`swarm`], [`workload`]: whole runs, drawn from a seed.
//! * [`observer`], [`coverage`]: who sees every message.

mod alike;
pub mod batch;
pub mod clock;
pub mod cluster;
pub mod coverage;
pub mod disk;
pub mod gathering;
pub mod machine;
pub mod network;
pub mod node;
pub mod observer;
pub mod parts;
pub mod rng;
pub mod run;
pub mod setup;
pub mod swarm;
pub mod trace;
pub mod workload;
pub mod world;

mod brief;
mod faults;
mod handover;
mod heirs;
mod links;
mod newborn;
mod operations;
mod operator;
mod phases;
mod power;
mod schedule;
mod shell;
mod tempo;

pub use links::Interception;
pub use operations::Invocation;
pub use phases::Phases;

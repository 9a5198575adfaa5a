//! Clusters of real processes that talk QUIC on loopback, or in network namespaces, with faults:
//! correct clients work through them, and what they were told is judged.

mod away;
mod clients;
mod crash;
mod durable;
mod hostile;
mod killed;
mod logged;
mod lost_work;
mod namespaces;
mod network;
mod replace;
mod villains;

/// The program that every replica here is a process of.
const NODE: &str = env!("CARGO_BIN_EXE_bts-node");

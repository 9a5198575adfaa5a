//! Clusters of real processes that talk QUIC on loopback, with faults: correct clients work through
//! them, and what they were told is judged.

mod clients;
mod crash;
mod hostile;
mod logged;
mod network;
mod villains;

/// The program that every replica here is a process of.
const NODE: &str = env!("CARGO_BIN_EXE_bts-node");

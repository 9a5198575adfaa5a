//! BTS as deterministic state machines: a Byzantine fault-tolerant tuple space.

#![warn(missing_docs)]

pub mod client;
pub mod codec;
pub mod configuration;
pub mod consensus;
pub mod content;
pub mod crypto;
pub mod ids;
pub mod limits;
pub mod message;
pub mod misbehavior;
pub mod quorum;
pub mod replica;
pub mod template;
pub mod time;
pub mod tuple;

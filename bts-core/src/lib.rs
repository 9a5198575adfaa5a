//! BTS as deterministic state machines: a Byzantine fault-tolerant tuple space.

#![warn(missing_docs)]

/// False: in a build that anybody uses no rule is broken on purpose.
#[cfg(not(bts_mutants))]
macro_rules! mutant {
    ($name:ident) => {
        $crate::is_broken(stringify!($name))
    };
}

#[cfg(not(bts_mutants))]
const fn is_broken(_rule: &str) -> bool {
    false
}

/// True if this rule is broken on purpose.
#[cfg(bts_mutants)]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutant::Mutant::$name.is_active()
    };
}

pub mod client;
pub mod codec;
pub mod configuration;
pub mod consensus;
pub mod content;
pub mod crypto;
pub mod ids;
pub mod limits;
pub mod memory;
pub mod message;
pub mod misbehavior;
#[cfg(bts_mutants)]
pub mod mutant;
pub mod quorum;
pub mod replica;
pub mod template;
pub mod time;
pub mod tuple;

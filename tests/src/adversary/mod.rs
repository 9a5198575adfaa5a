//! Replicas and clients that lie. A hostile replica has the shape of the real one
//! ([`ReplicaMachine`](crate::sim::machine::ReplicaMachine)), so the simulator runs it in place of
//! a correct one, and so can a real process.
//!
//! * [`forge`] signs with keys in hostile hands, [`gang`] is what all hostile ones know together.
//! * [`vice`] draws what a replica is like: mute, [two-faced](two_faced), or a [`liar`] with some
//!   [habits](habit). [`puppet`] is led by a test.
//! * [`client`] is a client that does its worst, with a budget.
//!   A [`revenant`] is one that tells of what a configuration before has ended.
//! * Both can also say anything at all that the gang can sign: `babble`, the random adversary.

mod babble;
pub mod client;
mod counterfeit;
pub mod edit;
pub mod forge;
pub mod gang;
pub mod habit;
pub mod legacy;
pub mod liar;
pub mod outburst;
mod pieces;
pub mod puppet;
pub mod revenant;
pub mod two_faced;
pub mod vice;

pub use gang::Gang;
pub use vice::Vice;

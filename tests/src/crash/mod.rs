//! Replicas that store what they promise, killed over and over while clients work: is all that was
//! acknowledged there afterwards, exactly once?
//!
//! A run is a row of *chapters*. In each, clients write, read, take and swap in a space of its own,
//! while in a few *cycles* replicas are killed, mostly all in one moment, and started again. Clients
//! are not told: an operation under way when its replicas die ends when they are back, under the
//! same id. Clients come and go as well, so that some are welcomed by replicas that are starting.
//! Then everybody finishes, what is left is listed and counted against what was acknowledged
//! ([`Accounts`]), and what the clients were told is judged. What a chapter left is looked for again
//! when the run ends.

mod accounts;
mod crowd;
mod ruin;
mod run;

pub use accounts::Accounts;
pub use run::{Plan, Tally, run};

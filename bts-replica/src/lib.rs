//! The BTS server: the replica of [`bts_core`], driven over authenticated QUIC connections.
//!
//! All protocol is in the core. This package gives it what it must not have itself: time, the
//! network, a store. [`run`] is the whole of it: one task owns the core ([`Machine`]), every
//! connection has a task that reads and decodes, and every peer one that dials. Invariants:
//!
//! 1. Nothing leaves before what it promises is synced; the core sees to it, and the driver tells it
//!    what is synced.
//! 2. Nobody waits for anybody else: what a connection sends too fast waits in that connection, and
//!    what it reads too slowly ends it.
//! 3. Whoever is connected has proved a key, and key and role were compared with the configuration.
//!
//! A replica in a process of its own:
//!
//! ```no_run
//! use bts_replica::{Settings, replica, serve};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::load("replica-0.toml".as_ref())?;
//! serve(settings, replica)?;
//! # Ok(()) }
//! ```

#![warn(missing_docs)]

mod check;
mod driver;
mod endpoint;
mod handover;
mod hello;
mod home;
mod inbox;
mod journal;
mod machine;
mod peers;
mod recover;
mod roster;
mod run;
mod session;
mod settings;
mod shell;
mod store;
mod writer;

pub use check::{Checked, check};
pub use machine::{Machine, Start, replica};
pub use run::{RunError, run, serve};
pub use settings::{ConnectionLimits, Durability, MemberError, Settings};
pub use store::StoreError;

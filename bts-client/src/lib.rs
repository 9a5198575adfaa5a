//! The library that distributed workers link: a client of a BTS tuple space.
//!
//! ```no_run
//! use bts_client::{Client, Config, template};
//!
//! # async fn hello() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(Config::load("client.toml")?).await?;
//! let jobs = client.space("jobs")?;
//!
//! jobs.out(("task", 17u64, "count the words")).await?;
//!
//! let (_, number, what) = jobs.take(template!["task", ?u64, ?String]).await?;
//! println!("task {number}: {what}");
//!
//! client.close().await;
//! # Ok(()) }
//! ```
//!
//! * [`Config`] says which cluster, who we are, and how long to wait; [`Client::connect`] proves
//!   that a quorum of the replicas accepts us.
//! * [`Space`] has the operations. They survive the loss and return of connections.
//! * [`mod@tuple`] makes tuples of Rust values and back; [`mod@template`] says what to look for.
//! * [`text`] reads and writes tuples as people type them; the `bts` command uses it.
//! * [`admin`] replaces members of a cluster, for operators.
//! * [`history`] writes down what clients saw, for judges.
//! * [`Error`] tells who answered and who did not, what was refused and why, and whether the
//!   operation may have had an effect.
//!
//! The protocol itself is `bts_core::client`, a state machine; this library is its shell.

#![warn(missing_docs)]

pub mod admin;
mod call;
mod client;
mod config;
mod connection;
mod driver;
mod error;
pub mod history;
mod network;
mod puts;
mod replicas;
mod space;
pub mod template;
pub mod text;
pub mod tuple;

pub use bts_certs::Traffic;
pub use bts_core::content::Access;
pub use bts_core::ids::{BadSpaceName, EntryId, PublicKey, ReplicaId, SpaceName};
pub use bts_core::message::{Comparing, Report};
pub use client::{Client, ReplicaStatus};
pub use config::{Config, ConfigError};
pub use error::{ConnectError, Effect, Error, RollCall, Silent};
pub use puts::{IntoPuts, Puts};
pub use replicas::LinkState;
pub use space::{Space, Swapped};
pub use template::{Query, Template, TypedTemplate};
pub use tuple::{Field, Tuple, from_tuple, to_tuple};

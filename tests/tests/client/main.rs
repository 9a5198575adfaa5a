//! The client's state machine, driven by hand: each test plays the replicas of one schedule and
//! looks at what the client sends and returns. Marks in names are those of docs/attacks.md.

mod absent;
mod batch;
mod cancel;
mod desk;
mod ends;
mod help;
mod late;
mod list;
mod out;
mod read;
mod spared;
mod swap;
mod take;
mod wait;
mod warm;
mod writeback;

//! The attacks of docs/attacks.md as whole runs: a cluster, clients, a liar, and the schedule that
//! broke a draft of the protocol. Each test is named by its mark, tells its schedule in numbered
//! steps, and ends with the judgement of what the clients saw.

mod hands;
mod progress;
mod safety;
mod strangers;

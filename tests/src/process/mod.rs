//! Tests with real processes: throw-away deployments on loopback or in namespaces, replicas that are killed, stopped
//! and replaced by liars, a network that loses and delays, and clients that do their worst.
//!
//! * [`Deployment`] makes authority, certificates and settings in a temporary folder.
//! * [`Cluster`] runs one process per replica, and ends them all whatever happens to the test.
//! * [`Proxy`] stands between a client and a replica and harms their datagrams.
//! * [`Lab`] gives each process a network of its own, whose links can be cut.
//! * [`Workers`] are correct clients, whose [`Diary`] is judged in the end.
//! * [`Hand`] is a client by hand: it says exactly what a test wants, also what no client says.

mod cluster;
mod deployment;
mod diary;
mod hand;
mod lab;
mod moves;
mod node;
mod ports;
mod program;
mod proxy;
mod workers;

pub use cluster::Cluster;
pub use deployment::Deployment;
pub(crate) use diary::number_of;
pub use diary::{Diary, Judged, Told};
pub use hand::{Hand, Heard};
pub use lab::{Lab, Within};
pub use moves::{Target, Votes};
pub use node::{Node, Role};
pub use program::{Guise, be_replica};
pub use proxy::{Proxy, Weather};
pub use workers::{KEYS, SPACE, Workers, of_key, space_name};

use std::time::{Duration, Instant};

/// How long anything may take that should take a moment, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer; panics when none comes within [`PATIENCE`].
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

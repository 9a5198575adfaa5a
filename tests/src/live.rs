//! A store of very many entries: what a replica needs to come back with it, in time and in memory.
//! The store is made by a replica in this process, which is given the signed entries without a network
//! in between; then a process of its own starts from it.

mod fill;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bts_client::{Client, Config, template};
use bts_core::ids::ReplicaId;
use bts_replica::Settings;
use tokio::time::{sleep, timeout};

use crate::flow::{Memory, disk_kib, memory};
use crate::process::{Deployment, Hand, Node, Role};

pub use fill::Share;

/// Encoded bytes of each tuple.
pub const TUPLE_BYTES: usize = 64;
/// Name of the space.
pub const SPACE: &str = "live";
/// Clients that write the entries.
const WRITERS: usize = 4;
/// The one replica.
const REPLICA: ReplicaId = ReplicaId(0);
/// How long a start may take until it is given up.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long one attempt to reach a replica may take. One that starts does not answer, and what was
/// sent meanwhile is sent again later and later.
const ATTEMPT: Duration = Duration::from_millis(100);

/// A replica that came back.
#[derive(Clone, Copy, Debug)]
struct Start {
    took: Duration,
    /// Of all its threads, as far as the system tells.
    busy: Duration,
    memory: Memory,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Figures {
    entries: u64,
    filled: Duration,
    disk_kib: u64,
    empty: Start,
    full: Start,
    first_read: Duration,
    read: Memory,
}

impl Figures {
    /// Bytes per entry above those of its tuple, and above what a replica without entries takes.
    fn above(&self, kib: u64) -> f64 {
        let bytes = kib.saturating_sub(self.empty.memory.resident_kib) * 1024;
        bytes as f64 / self.entries.max(1) as f64 - TUPLE_BYTES as f64
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let Self { empty, full, .. } = self;
        writeln!(
            f,
            "{} entries of {TUPLE_BYTES} bytes, written in {:.1} s; on disk {:.0} MiB",
            self.entries,
            self.filled.as_secs_f64(),
            mib(self.disk_kib)
        )?;
        writeln!(
            f,
            "without entries: serves after {:.2} s, memory {:.1} MiB",
            empty.took.as_secs_f64(),
            mib(empty.memory.resident_kib)
        )?;
        writeln!(
            f,
            "with them: serves after {:.2} s, {:.2} s of them computing; memory {:.1} MiB, at most {:.1} MiB",
            full.took.as_secs_f64(),
            full.busy.as_secs_f64(),
            mib(full.memory.resident_kib),
            mib(full.memory.peak_kib)
        )?;
        writeln!(
            f,
            "after the first read, which took {:.2} s: memory {:.1} MiB",
            self.first_read.as_secs_f64(),
            mib(self.read.resident_kib)
        )?;
        write!(
            f,
            "bytes per entry above its tuple: {:.0}, at most {:.0} while it starts, {:.0} after the read",
            self.above(full.memory.resident_kib),
            self.above(full.memory.peak_kib),
            self.above(self.read.resident_kib)
        )
    }
}

/// Measures it with `program`, which is a replica if it is told so as `bts-node` is.
pub async fn run(program: &Path, entries: u64) -> Result<Figures, String> {
    let empty = deployment();
    fill::fill(settings(&empty)?, Vec::new()).await?;
    let (node, none) = start(program, &empty).await?;
    drop(node);
    let full = deployment();
    let writers: Vec<_> = (0..WRITERS).map(|writer| full.client(writer)).collect();
    let began = Instant::now();
    fill::fill(
        settings(&full)?,
        fill::shares(full.cluster(), writers, entries),
    )
    .await?;
    let filled = began.elapsed();
    let (mut node, all) = start(program, &full).await?;
    let first_read = read(&full).await?;
    let read = memory(node.pid());
    let was_well = node.stop();
    let figures = Figures {
        entries,
        filled,
        disk_kib: disk_kib(&full.data_of(REPLICA)),
        empty: none,
        full: all,
        first_read,
        read,
    };
    match was_well {
        true => Ok(figures),
        false => Err(format!("it did not end well:\n{}", node.last_words())),
    }
}

fn deployment() -> Deployment {
    Deployment::new(1, 0, WRITERS).durable()
}

fn settings(deployment: &Deployment) -> Result<Settings, String> {
    Settings::load(&deployment.settings_of(REPLICA)).map_err(|error| error.to_string())
}

/// Starts the replica, and waits until it welcomes a client.
async fn start(program: &Path, deployment: &Deployment) -> Result<(Node, Start), String> {
    let settings = deployment.settings_of(REPLICA);
    let began = Instant::now();
    let mut node = Node::start(Command::new(program), Role::Replica, &settings);
    loop {
        let mut hand = Hand::new(deployment, 0);
        let attempt = timeout(ATTEMPT, hand.connect(REPLICA)).await;
        let took = began.elapsed();
        if let Ok(Ok(())) = attempt {
            let pid = node.pid();
            let (busy, memory) = (busy(pid), memory(pid));
            return Ok((node, Start { took, busy, memory }));
        }
        if !node.is_alive() || took > START_PATIENCE {
            return Err(format!("it does not serve:\n{}", node.last_words()));
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// How long all threads of a process have computed so far; in hundredths of a second, as Linux tells.
fn busy(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let (_, after_name) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = |field: usize| -> u64 {
        let field = after_name.split_whitespace().nth(field);
        field
            .and_then(|field| field.parse().ok())
            .unwrap_or_default()
    };
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Reads one tuple of a shape that nobody asked for before, and says how long that took.
async fn read(deployment: &Deployment) -> Result<Duration, String> {
    let config = Config::new(deployment.cluster().clone(), deployment.client(0));
    let config = config.map_err(|error| error.to_string())?;
    let client = Client::connect(config).await.map_err(|e| e.to_string())?;
    let space = client.space(SPACE).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let read = space.rdp(template![fill::NAME, ?u64, ?Vec<u8>]).await;
    let took = began.elapsed();
    match read.map_err(|error| error.to_string())? {
        Some(_) => Ok(took),
        None => Err("nothing is there".into()),
    }
}

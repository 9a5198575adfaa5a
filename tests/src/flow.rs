//! A steady flow: tuples are written and taken, millions of them, and what replicas keep must not
//! grow with it, neither in memory nor on disk. Samples say how much that is, and how long operations took
//! meanwhile.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bts_client::{Client, Config, Space, template};
use bts_core::ids::ReplicaId;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::process::{Cluster, Deployment};

/// Replicas of the cluster.
const REPLICAS: u16 = 4;
/// What each tuple carries besides its name and number, in bytes.
const PAYLOAD_BYTES: usize = 64;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For how long.
    pub duration: Duration,
    /// Time between two samples.
    pub interval: Duration,
    /// Clients.
    pub clients: usize,
    /// Pairs of `out` and `inp` that each client has under way.
    pub at_once: usize,
}

/// How it stood at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Since the beginning.
    pub after: Duration,
    /// Operations since the beginning.
    pub operations: u64,
    /// How long those since the sample before took: median, 99.9 of a hundred, longest.
    pub latency: [Duration; 3],
    /// Memory that each replica has, in KiB.
    pub memory_kib: Vec<u64>,
    /// What each replica has on disk, in KiB.
    pub disk_kib: Vec<u64>,
}

impl Sample {
    /// The head of a table of samples.
    pub const HEAD: &str =
        "| s | operations | p50 ms | p99.9 ms | max ms | memory MiB | disk MiB |";
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p999, max] = self.latency.map(|took| took.as_secs_f64() * 1e3);
        let mib = |all: &[u64]| {
            let all = all.iter().map(|kib| format!("{:.1}", *kib as f64 / 1024.0));
            all.collect::<Vec<_>>().join(" ")
        };
        write!(
            f,
            "| {:.0} | {} | {p50:.1} | {p999:.1} | {max:.1} | {} | {} |",
            self.after.as_secs_f64(),
            self.operations,
            mib(&self.memory_kib),
            mib(&self.disk_kib)
        )
    }
}

/// How long operations took, in the order in which they ended.
type Took = Arc<Mutex<Vec<Duration>>>;

/// Runs it with `program`, which is a replica if it is told so as `bts-node` is. `told` hears of
/// each sample. Returns the last, with the latency of all operations; the error is what failed.
pub async fn run(
    program: &Path,
    plan: &Plan,
    mut told: impl FnMut(&Sample),
) -> Result<Sample, String> {
    let deployment = Deployment::new(u32::from(REPLICAS), 1, plan.clients).durable();
    let mut cluster = Cluster::start(program, deployment, &[]).await;
    let took = Took::default();
    let mut work = JoinSet::new();
    let began = Instant::now();
    let end = began + plan.duration;
    for number in 0..plan.clients {
        let deployment = cluster.deployment();
        let config = Config::new(deployment.cluster().clone(), deployment.client(number));
        let config = config.map_err(|error| error.to_string())?;
        let client = Client::connect(config).await.map_err(|e| e.to_string())?;
        let space = client.space("flow").map_err(|error| error.to_string())?;
        for worker in 0..plan.at_once {
            let name = (number * plan.at_once + worker) as u64;
            work.spawn(pairs(
                client.clone(),
                space.clone(),
                name,
                end,
                took.clone(),
            ));
        }
    }
    let (mut all, mut last) = (Vec::new(), Sample::default());
    while !work.is_empty() {
        sleep(
            plan.interval
                .min(end.saturating_duration_since(Instant::now())),
        )
        .await;
        if Instant::now() >= end {
            while let Some(ended) = work.join_next().await {
                ended.map_err(|error| error.to_string())??;
            }
        }
        while let Some(ended) = work.try_join_next() {
            ended.map_err(|error| error.to_string())??;
        }
        let mut new = std::mem::take(&mut *took.lock().unwrap_or_else(PoisonError::into_inner));
        last = sample(&mut cluster, began.elapsed(), last.operations, &mut new);
        all.append(&mut new);
        told(&last);
    }
    last.latency = latency(&mut all);
    Ok(last)
}

async fn pairs(
    _alive: Client,
    space: Space,
    worker: u64,
    end: Instant,
    took: Took,
) -> Result<(), String> {
    let payload = vec![7_u8; PAYLOAD_BYTES];
    for number in 0_u64.. {
        let began = Instant::now();
        if began >= end {
            break;
        }
        let out = space.out((worker, number, payload.clone())).await;
        out.map_err(|error| format!("out failed: {error}"))?;
        let between = Instant::now();
        let taken = space.inp(template![worker, number, ?Vec<u8>]).await;
        match taken.map_err(|error| format!("inp failed: {error}"))? {
            Some(_) => {}
            None => return Err(format!("tuple {number} of {worker} is gone")),
        }
        let mut took = took.lock().unwrap_or_else(PoisonError::into_inner);
        took.extend([between - began, between.elapsed()]);
    }
    Ok(())
}

fn sample(cluster: &mut Cluster, after: Duration, before: u64, new: &mut [Duration]) -> Sample {
    let memory_kib = (0..REPLICAS).map(|replica| memory(cluster.node(replica).pid()).resident_kib);
    let memory_kib = memory_kib.collect();
    let data = |replica| cluster.deployment().data_of(ReplicaId(replica));
    Sample {
        after,
        operations: before + new.len() as u64,
        latency: latency(new),
        memory_kib,
        disk_kib: (0..REPLICAS)
            .map(|replica| disk_kib(&data(replica)))
            .collect(),
    }
}

pub(crate) fn latency(all: &mut [Duration]) -> [Duration; 3] {
    all.sort_unstable();
    let at = |per_mille: usize| {
        let place = (all.len() * per_mille / 1000).min(all.len().saturating_sub(1));
        all.get(place).copied().unwrap_or_default()
    };
    [at(500), at(999), at(1000)]
}

/// What a process has in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) resident_kib: u64,
    /// The most that it had so far.
    pub(crate) peak_kib: u64,
}

/// What a process has in memory; nothing where the system does not tell.
pub(crate) fn memory(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.and_then(|kib| kib.parse().ok()).unwrap_or_default()
    };
    Memory {
        resident_kib: kib("VmRSS:"),
        peak_kib: kib("VmHWM:"),
    }
}

/// What the files of a folder take.
pub(crate) fn disk_kib(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = files
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len());
    bytes.sum::<u64>() / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_latency_is_of_the_right_places() {
        let mut all: Vec<Duration> = (1..=1000).rev().map(Duration::from_millis).collect();
        let [p50, p999, max] = latency(&mut all).map(|took| took.as_millis());
        assert_eq!([p50, p999, max], [501, 1000, 1000]);
        assert_eq!(latency(&mut []), [Duration::ZERO; 3]);
    }
}

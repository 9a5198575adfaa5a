//! What operations must at least cost here: a question to all servers and the answers of a quorum, a
//! signature made, one checked, and a write that is on the disk. Measured with the same libraries, on the
//! same machine and in the same run as the operations, one at a time; and what the messages alone cost when
//! there are as many clients as these operations have.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bts_certs::LocalIdentity;
use bts_certs::folder::load_member;
use bts_core::quorum::ClusterSize;
use ed25519_dalek::Signer as _;

use super::echo::{Echo, Echoed};
use super::histogram::Histogram;
use super::options::{Durability, Load};
use super::workload::Workload;
use crate::exit::{Exit, Failure};

/// How long each is measured, and how often at least.
const MEASURED: Duration = Duration::from_millis(300);
const TIMES_MIN: u64 = 200;
/// Bytes that are written at once, and the file they are written into again and again.
const BLOCK_BYTES: usize = 4096;
const BLOCKS: u64 = 256;

/// The floors: medians.
#[derive(Clone, Debug)]
pub(super) struct Floors {
    /// From a question to `n` servers until `q` have answered.
    pub(super) echo: Duration,
    pub(super) sign: Duration,
    pub(super) verify: Duration,
    /// `None` if nothing is stored.
    pub(super) sync: Option<Duration>,
    /// The same questions under each load.
    pub(super) loaded: Vec<Echoed>,
    size: ClusterSize,
}

/// One question at a time.
const ALONE: Load = Load {
    clients: 1,
    in_flight: 1,
};

impl Floors {
    /// Measures them with the identities in this folder, and in its file system.
    pub(super) async fn measure(
        folder: &Path,
        client: &str,
        size: ClusterSize,
        durability: Durability,
        loads: &[Load],
    ) -> Result<Self, Failure> {
        let client = identity(folder, client)?;
        let (sign, verify) = signatures(&client);
        let sync = match durability {
            Durability::Sync => Some(sync(folder).map_err(|error| failed(&error))?),
            Durability::Memory => None,
        };
        let echo = Echo::start(folder, client, size)?;
        let mut loaded = Vec::new();
        for load in loads {
            loaded.push(echo.measure(*load).await?);
        }
        Ok(Self {
            echo: echo.measure(ALONE).await?.took,
            sign,
            verify,
            sync,
            loaded,
            size,
        })
    }

    /// What one operation of a workload must at least take, if nobody else is there.
    pub(super) fn of(&self, workload: Workload) -> Option<Duration> {
        let sync = self.sync.unwrap_or_default();
        // The writer signs, a replica checks that, and stores it.
        let out = self.echo + self.sign + self.verify + sync;
        // A Take is written like an entry; the replicas sign votes, and the client checks F of them.
        let votes = u32::try_from(self.size.fast_quorum()).unwrap_or(u32::MAX);
        let take = out + self.sign + self.verify * votes;
        match workload {
            Workload::RdpHit | Workload::RdpMiss => Some(self.echo),
            Workload::Out => Some(out),
            Workload::Inp | Workload::Swap => Some(take),
            // One after the other: the tuple is there before it is taken, or the lock taken before it is back.
            Workload::HandOff | Workload::Hot => Some(out + take),
            // What is timed here is waiting for others, or something else each time.
            Workload::Queue | Workload::Queues | Workload::Mixed | Workload::Connect => None,
        }
    }

    /// What the messages of an operation cost all processes at least, under this load: a question to `q` and their
    /// answers, a Take to `n` with their votes and the decision to `n`, and what of it a workload consists of.
    pub(super) fn cpu_of(&self, workload: Workload, load: Load) -> Option<Duration> {
        let echoed = self.loaded.iter().find(|echoed| echoed.load == load)?;
        let (n, q) = (self.size.replicas(), self.size.ack_quorum());
        let messages = match workload {
            Workload::RdpHit | Workload::RdpMiss => 2 * q,
            Workload::Out => 2 * n,
            Workload::Inp => 3 * n,
            // The decision is acknowledged, as the put is there then.
            Workload::Swap => 4 * n,
            Workload::HandOff | Workload::Hot => 5 * n,
            Workload::Queue | Workload::Queues | Workload::Mixed | Workload::Connect => {
                return None;
            }
        };
        Some(echoed.cpu? * u32::try_from(messages).unwrap_or(u32::MAX))
    }

    pub(super) fn as_text(&self) -> String {
        let us = |floor: Duration| format!("{:.0} us", floor.as_secs_f64() * 1e6);
        let sync = self.sync.map(|sync| format!("; fdatasync {}", us(sync)));
        let loaded = self.loaded.iter().map(|echoed| {
            let Load { clients, in_flight } = echoed.load;
            let cpu = echoed.cpu.map_or(0.0, |cpu| cpu.as_secs_f64() * 1e6);
            format!("; a message of {clients} x {in_flight} costs {cpu:.1} us of CPU")
        });
        format!(
            "floors: echo to {} servers, {} answers {}; sign {}; verify {}{}{}",
            self.size.replicas(),
            self.size.ack_quorum(),
            us(self.echo),
            us(self.sign),
            us(self.verify),
            sync.unwrap_or_default(),
            loaded.collect::<String>(),
        )
    }
}

pub(super) fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("cannot measure the floors: {error}"))
}

pub(super) fn identity(folder: &Path, name: &str) -> Result<LocalIdentity, Failure> {
    load_member(folder, name).map_err(|error| failed(&error))
}

/// The median of doing something again and again.
fn median_of(mut work: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    let (mut took, end) = (Histogram::default(), Instant::now() + MEASURED);
    while Instant::now() < end || took.total() < TIMES_MIN {
        let began = Instant::now();
        work()?;
        took.add(began.elapsed());
    }
    Ok(took.per_mille(500).unwrap_or_default())
}

fn signatures(local: &LocalIdentity) -> (Duration, Duration) {
    let key = local.signing_key();
    let (public, mut message) = (key.verifying_key(), [0_u8; 48]);
    let signature = key.sign(&message);
    let verify = median_of(|| {
        let checked = public.verify_strict(std::hint::black_box(&message), &signature);
        checked.map_err(io::Error::other)
    });
    let sign = median_of(|| {
        message[0] = message[0].wrapping_add(1);
        std::hint::black_box(key.sign(&message));
        Ok(())
    });
    // Neither does anything that could fail.
    (sign.unwrap_or_default(), verify.unwrap_or_default())
}

/// Overwrites a part of a file that is there already: no file system needs less.
fn sync(folder: &Path) -> io::Result<Duration> {
    let path = folder.join("floor");
    let (mut file, mut next) = (File::create(&path)?, 0);
    for _ in 0..BLOCKS {
        file.write_all(&[1; BLOCK_BYTES])?;
    }
    file.sync_all()?;
    let median = median_of(|| {
        file.seek(SeekFrom::Start(next % BLOCKS * BLOCK_BYTES as u64))?;
        file.write_all(&[next as u8; BLOCK_BYTES])?;
        next += 1;
        file.sync_data()
    })?;
    std::fs::remove_file(path)?;
    Ok(median)
}

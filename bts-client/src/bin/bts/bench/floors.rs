//! What operations must at least cost here: a question to all servers and the answers of a quorum, a
//! signature made, one checked, and a write that is on the disk. Measured with the same libraries, on the
//! same machine and in the same run as the operations, one at a time.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bts_certs::folder::load_member;
use bts_certs::{Dialer, FrameWriter, Link, LinkLimits, Listener, LocalIdentity, replica_name};
use bts_core::quorum::ClusterSize;
use ed25519_dalek::Signer as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::histogram::Histogram;
use super::options::Durability;
use super::workload::Workload;
use crate::exit::{Exit, Failure};

/// How long each is measured, and how often at least.
const MEASURED: Duration = Duration::from_millis(300);
const TIMES_MIN: u64 = 200;
/// Bytes of a question and of its answers.
const ECHO_BYTES: usize = 256;
/// How long an answer may take.
const ECHO_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that are written at once, and the file they are written into again and again.
const BLOCK_BYTES: usize = 4096;
const BLOCKS: u64 = 256;

/// The floors: medians.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floors {
    /// From a question to `n` servers until `q` have answered.
    pub(super) echo: Duration,
    pub(super) sign: Duration,
    pub(super) verify: Duration,
    /// `None` if nothing is stored.
    pub(super) sync: Option<Duration>,
    size: ClusterSize,
}

impl Floors {
    /// Measures them with the identities in this folder, and in its file system.
    pub(super) async fn measure(
        folder: &Path,
        client: &str,
        size: ClusterSize,
        durability: Durability,
    ) -> Result<Self, Failure> {
        let client = identity(folder, client)?;
        let (sign, verify) = signatures(&client);
        let sync = match durability {
            Durability::Sync => Some(sync(folder).map_err(|error| failed(&error))?),
            Durability::Memory => None,
        };
        Ok(Self {
            echo: echo(folder, &client, size).await?,
            sign,
            verify,
            sync,
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

    pub(super) fn as_text(&self) -> String {
        let us = |floor: Duration| format!("{:.0} us", floor.as_secs_f64() * 1e6);
        let sync = self.sync.map(|sync| format!("; fdatasync {}", us(sync)));
        format!(
            "floors: echo to {} servers, {} answers {}; sign {}; verify {}{}",
            self.size.replicas(),
            self.size.ack_quorum(),
            us(self.echo),
            us(self.sign),
            us(self.verify),
            sync.unwrap_or_default(),
        )
    }
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("cannot measure the floors: {error}"))
}

fn identity(folder: &Path, name: &str) -> Result<LocalIdentity, Failure> {
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

/// Servers on threads of their own, and a client of all of them.
async fn echo(
    folder: &Path,
    client: &LocalIdentity,
    size: ClusterSize,
) -> Result<Duration, Failure> {
    let mut servers = Vec::new();
    for index in 0..size.replicas() as u32 {
        let server = Server::start(identity(folder, &replica_name(index))?);
        servers.push(server.map_err(|error| failed(&error))?);
    }
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let dialer =
        Dialer::bind(any, client, LinkLimits::default()).map_err(|error| failed(&error))?;
    let (heard, mut answers) = mpsc::unbounded_channel();
    let (mut writers, mut readers): (Vec<FrameWriter>, _) = (Vec::new(), JoinSet::new());
    for (index, server) in (0..).zip(&servers) {
        let peer = dialer.connect(server.address, &replica_name(index)).await;
        let (mut reader, writer, closer) = peer.map_err(|error| failed(&error))?.link.split();
        writers.push(writer);
        let heard = heard.clone();
        readers.spawn(async move {
            let _open = closer;
            while let Ok(Some(frame)) = reader.next().await {
                // It fails when the measuring is over.
                let _ = heard.send(frame.first_chunk::<8>().copied());
            }
        });
    }
    let (mut took, end) = (Histogram::default(), Instant::now() + MEASURED);
    for question in 0_u64.. {
        let began = Instant::now();
        if began >= end {
            break;
        }
        let mut frame = vec![0; ECHO_BYTES];
        frame[..8].copy_from_slice(&question.to_le_bytes());
        for writer in &writers {
            writer
                .try_send(frame.clone())
                .map_err(|error| failed(&error))?;
        }
        let mut answered = 0;
        while answered < size.ack_quorum() {
            let answer = timeout(ECHO_PATIENCE, answers.recv()).await;
            let answer = answer.map_err(|_| failed(&"an echo did not come back"))?;
            answered += usize::from(answer == Some(Some(question.to_le_bytes())));
        }
        took.add(began.elapsed());
    }
    drop(readers);
    dialer.shutdown("that was all").await;
    took.per_mille(500)
        .ok_or_else(|| failed(&"no echo came back"))
}

/// A server that says what it hears. It ends with its handle.
struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(local: LocalIdentity) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, address) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new().name("bts-echo".into());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let bound = Listener::bind(any, &local, LinkLimits::default())
                    .and_then(|listener| Ok((listener.local_addr()?, listener)));
                // Sending fails only if the starter is gone.
                let listener = match bound {
                    Ok((address, listener)) => {
                        let _ = told.send(Ok(address));
                        listener
                    }
                    Err(error) => return drop(told.send(Err(io::Error::other(error)))),
                };
                tokio::select! {
                    () = serve(listener) => {}
                    _ = stopped => {}
                }
            });
        })?;
        let gone = |_| io::Error::other("the thread of an echo server ended");
        Ok(Self {
            address: address.recv().map_err(gone)??,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

async fn serve(mut listener: Listener) {
    let mut links = JoinSet::new();
    while let Some(peer) = listener.accept().await {
        links.spawn(answer(peer.link));
    }
}

async fn answer(link: Link) {
    let (mut reader, writer, _closer) = link.split();
    while let Ok(Some(frame)) = reader.next().await {
        if writer.try_send(frame).is_err() {
            break;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

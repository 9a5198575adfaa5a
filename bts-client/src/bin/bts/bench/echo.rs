//! Questions and answers over the same QUIC and TLS as everything else, and nothing but these: how long they
//! take, and what a message costs, when so many clients have so many under way.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bts_certs::{
    Authenticated, Dialer, FrameWriter, Link, LinkLimits, Listener, LocalIdentity, replica_name,
};
use bts_core::quorum::ClusterSize;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::floors::{failed, identity};
use super::histogram::Histogram;
use super::options::Load;
use super::process::cpu_of_this;
use crate::exit::Failure;

/// Bytes of a question and of its answers.
const BYTES: usize = 256;
/// How long is measured, and how long is not before that.
const MEASURED: Duration = Duration::from_millis(400);
const WARM_UP: Duration = Duration::from_millis(100);
/// How long all clients may take to connect.
const PATIENCE: Duration = Duration::from_secs(20);

/// Servers that say what they hear, and one who may ask them.
pub(super) struct Echo {
    servers: Vec<Server>,
    client: LocalIdentity,
    size: ClusterSize,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echoed {
    pub(super) load: Load,
    /// From a question to `n` servers until `q` have answered, as a median.
    pub(super) took: Duration,
    /// What sending and receiving one message costs both sides together, if the system tells.
    pub(super) cpu: Option<Duration>,
}

/// What the clients count.
#[derive(Default)]
struct Counts {
    ready: AtomicU64,
    answers: AtomicU64,
    took: Mutex<Histogram>,
}

impl Echo {
    /// Servers with the identities in this folder.
    pub(super) fn start(
        folder: &Path,
        client: LocalIdentity,
        size: ClusterSize,
    ) -> Result<Self, Failure> {
        let server = |index: usize| {
            let name = replica_name(u32::try_from(index).unwrap_or(u32::MAX));
            Server::start(identity(folder, &name)?).map_err(|error| failed(&error))
        };
        let servers = (0..size.replicas()).map(server).collect::<Result<_, _>>()?;
        Ok(Self {
            servers,
            client,
            size,
        })
    }

    /// Asks and answers. All clients are on one thread, as those of the library are.
    pub(super) async fn measure(&self, load: Load) -> Result<Echoed, Failure> {
        let counts = Arc::new(Counts::default());
        let addresses: Vec<_> = self.servers.iter().map(|server| server.address).collect();
        let clients = (0..load.clients).map(|_| Asker {
            local: self.client.clone(),
            addresses: addresses.clone(),
            quorum: self.size.ack_quorum(),
            in_flight: load.in_flight,
            counts: Arc::clone(&counts),
        });
        let clients: Vec<_> = clients.collect();
        let asking = Worker::start("bts-ask", async move {
            let mut asking = JoinSet::new();
            clients.into_iter().for_each(|client| {
                asking.spawn(client.ask());
            });
            match asking.join_next().await {
                Some(Ok(Err(failure))) => failure.message,
                _ => "a client ended".into(),
            }
        });
        let mut asking = asking.map_err(|error| failed(&error))?;
        let all = u64::try_from(load.clients).unwrap_or(u64::MAX);
        let ready = async {
            while counts.ready.load(Ordering::Relaxed) < all {
                sleep(Duration::from_millis(5)).await;
            }
            sleep(WARM_UP).await;
            counts.take();
            let cpu = cpu_of_this();
            sleep(MEASURED).await;
            let spent = cpu_of_this()
                .zip(cpu)
                .map(|(after, before)| after.saturating_sub(before));
            (spent, counts.take())
        };
        let (spent, (answers, took)) = tokio::select! {
            measured = timeout(PATIENCE, ready) => {
                measured.map_err(|_| failed(&"the clients do not connect"))?
            }
            why = asking.ended() => return Err(failed(&why)),
        };
        let messages = u32::try_from(2 * answers).unwrap_or(u32::MAX);
        let took = took.per_mille(500);
        Ok(Echoed {
            load,
            took: took.ok_or_else(|| failed(&"no echo came back"))?,
            cpu: spent.and_then(|spent| spent.checked_div(messages)),
        })
    }
}

impl Counts {
    /// How many answers came since the last call, and how long questions took.
    fn take(&self) -> (u64, Histogram) {
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        let took = std::mem::take(&mut *took);
        (self.answers.swap(0, Ordering::Relaxed), took)
    }
}

/// One client.
struct Asker {
    local: LocalIdentity,
    addresses: Vec<SocketAddr>,
    quorum: usize,
    in_flight: usize,
    counts: Arc<Counts>,
}

impl Asker {
    /// Asks on and on.
    async fn ask(self) -> Result<(), Failure> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let dialer = Dialer::bind(any, &self.local, LinkLimits::default());
        let dialer = dialer.map_err(|error| failed(&error))?;
        let (heard, mut answers) = mpsc::unbounded_channel();
        let (mut writers, mut readers) = (Vec::new(), JoinSet::new());
        for (index, address) in (0..).zip(&self.addresses) {
            let peer = dialer.connect(*address, &replica_name(index)).await;
            let Authenticated { link, .. } = peer.map_err(|error| failed(&error))?;
            let (mut reader, writer, closer) = link.split();
            writers.push(writer);
            let heard = heard.clone();
            readers.spawn(async move {
                let _open = closer;
                while let Ok(true) = reader.more().await {
                    while let Ok(Some(frame)) = reader.arrived() {
                        // It fails when the measuring is over.
                        let _ = heard.send(frame.first_chunk::<8>().copied().unwrap_or_default());
                    }
                }
            });
        }
        self.counts.ready.fetch_add(1, Ordering::Relaxed);
        let (mut open, mut next) = (BTreeMap::new(), 0_u64..);
        let mut ask = |open: &mut BTreeMap<_, _>| {
            let question = next.next().unwrap_or_default().to_le_bytes();
            open.insert(question, (Instant::now(), 0));
            to_all(&writers, question)
        };
        loop {
            while open.len() < self.in_flight {
                ask(&mut open)?;
            }
            let Some(first) = answers.recv().await else {
                return Ok(());
            };
            let mut answer = Some(first);
            while let Some(question) = answer {
                self.counts.answers.fetch_add(1, Ordering::Relaxed);
                answer = answers.try_recv().ok();
                let Some((began, answered)) = open.get_mut(&question) else {
                    continue;
                };
                *answered += 1;
                if *answered == self.quorum {
                    let took = self.counts.took.lock();
                    took.unwrap_or_else(PoisonError::into_inner)
                        .add(began.elapsed());
                    open.remove(&question);
                }
            }
        }
    }
}

fn to_all(writers: &[FrameWriter], question: [u8; 8]) -> Result<(), Failure> {
    let mut frame = [0; BYTES];
    frame[..question.len()].copy_from_slice(&question);
    writers
        .iter()
        .try_for_each(|writer| writer.try_send(frame))
        .map_err(|error| failed(&error))
}

/// Something that goes on, on a thread of its own; it stops with its handle.
struct Worker {
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// The work says why it ended, if it does.
    fn start(name: &str, work: impl Future<Output = String> + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (say, ended) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(name.into());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    // It fails only if nobody asks any more.
                    why = work => drop(say.send(why)),
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self {
            stop: Some(stop),
            ended,
            thread: Some(thread),
        })
    }

    async fn ended(&mut self) -> String {
        let why = (&mut self.ended).await;
        why.unwrap_or_else(|_| "a thread of the echo ended".into())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// A server that says what it hears.
struct Server {
    address: SocketAddr,
    _serving: Worker,
}

impl Server {
    fn start(local: LocalIdentity) -> io::Result<Self> {
        let (told, address) = std::sync::mpsc::channel();
        let serving = Worker::start("bts-echo", async move {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let bound = Listener::bind(any, &local, LinkLimits::default())
                .and_then(|listener| Ok((listener.local_addr()?, listener)));
            // Sending fails only if the starter is gone.
            match bound {
                Ok((address, listener)) => {
                    let _ = told.send(Ok(address));
                    serve(listener).await;
                }
                Err(error) => drop(told.send(Err(io::Error::other(error)))),
            }
            "an echo server ended".into()
        })?;
        let gone = |_| io::Error::other("the thread of an echo server ended");
        Ok(Self {
            address: address.recv().map_err(gone)??,
            _serving: serving,
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
    while let Ok(true) = reader.more().await {
        while let Ok(Some(frame)) = reader.arrived() {
            if writer.try_send(frame).is_err() {
                return;
            }
        }
    }
}

//! Replicas with a tiny core, each on a thread of its own, and strangers that dial them.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bts_certs::cluster::Cluster;
use bts_certs::deployment::{DeploymentPlan, create_deployment, settings_path};
use bts_certs::folder::{ClusterPlan, Existing, load_member};
use bts_certs::{Authenticated, Dialer, Link, LinkError, LinkLimits, LocalIdentity, Validity};
use bts_core::codec;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::PROTOCOL_VERSION;
use bts_core::ids::{Incarnation, Lsn, ReplicaId, RequestId, Session, TakeNumber};
use bts_core::limits::PEER_FRAME_BYTES_MAX;
use bts_core::message::{
    ClientBody, ClientRequest, Hello, HelloReply, HelloRole, Reply, ReplyBody, Report,
};
use bts_core::misbehavior::Forgery;
use bts_core::replica::{Event, Input, Options, Outgoing, Outputs, Principal};
use bts_core::time::Time;
use bts_replica::{Machine, RunError, Settings, Start, run};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// Nothing here takes so long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster of which the test starts what it likes.
pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    pub(crate) cluster: Cluster,
}

/// A running replica.
pub(crate) struct Running {
    pub(crate) seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

/// What a core was told, in short.
#[derive(Default)]
pub(crate) struct Seen {
    inputs: watch::Sender<Vec<String>>,
}

/// The tiny core takes this nonce for a forgery.
pub(crate) const FORGED: u64 = 666;

/// A core that acknowledges everything, and answers `Cancel{n}` with n long reports.
struct Echo {
    seen: Arc<Seen>,
}

impl Machine for Echo {
    fn handle(&mut self, _now: Time, input: Input, out: &mut Outputs) {
        self.seen.add(match &input {
            Input::ClientConnected(client) => format!("+client {}", client.session),
            Input::ClientGone(client) => format!("-client {}", client.session),
            Input::Client(client, request) => format!("{} {}", client.session, request.request),
            Input::PeerConnected(peer, stream_next) => format!("+peer {peer} {stream_next}"),
            Input::PeerGone(peer) => format!("-peer {peer}"),
            Input::Peer(peer, _) => format!("peer {peer}"),
            Input::Synced(_) | Input::Tick | Input::Frozen(_) | Input::Stop(_) => return,
        });
        if let Input::Client(client, ClientRequest { request, body, .. }) = input {
            let (times, body) = match body {
                ClientBody::Cancel { waiter } => (waiter.0, long_report()),
                ClientBody::Inspect => (1, ReplyBody::Report(Box::default())),
                ClientBody::StillEmpty { nonce: FORGED, .. } => {
                    let by = Principal::Client(client);
                    let what = Forgery::PathTooLong;
                    out.events.push(Event::Forged { by, what });
                    (1, ReplyBody::Ack)
                }
                _ => (1, ReplyBody::Ack),
            };
            for _ in 0..times {
                let body = body.clone();
                out.send
                    .push(Outgoing::Client(client, Reply { request, body }));
            }
        }
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        None
    }

    fn stream_next(&self, peer: ReplicaId) -> u64 {
        100 + u64::from(peer.0)
    }

    fn stopped(&self) -> Option<Digest> {
        None
    }
}

/// Replicas of tests store nothing unless a test is about that.
fn keep_in_memory(settings: &Path) {
    let text = std::fs::read_to_string(settings).expect("every replica has settings");
    let text = text.replace("durability = \"sync\"", "durability = \"memory\"");
    std::fs::write(settings, text).expect("the folder is ours");
}

fn long_report() -> ReplyBody {
    ReplyBody::Report(Box::new(Report {
        version: "x".repeat(1 << 20),
        ..Report::default()
    }))
}

impl Rig {
    /// A cluster on free ports of this host, with the clients `w1` and `w2`.
    pub(crate) fn new(replicas: u32, faults: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = DeploymentPlan {
            members: ClusterPlan {
                replicas,
                hosts: Vec::new(),
                clients: vec!["w1".into(), "w2".into()],
                authority_validity: Validity::days(2),
                validity: Validity::days(1),
            },
            faults,
            addresses: free_addresses(replicas),
            operators: Vec::new(),
        };
        create_deployment(folder.path(), &plan, Existing::Keep).expect("a deployment");
        let cluster = Cluster::load(&settings_path(folder.path(), "cluster")).expect("a cluster");
        for index in 0..replicas {
            keep_in_memory(&settings_path(folder.path(), &format!("replica-{index}")));
        }
        Self { folder, cluster }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn member(&self, name: &str) -> LocalIdentity {
        load_member(self.path(), name).expect("a member")
    }

    pub(crate) fn settings(&self, index: u16) -> Settings {
        let path = settings_path(self.path(), &format!("replica-{index}"));
        Settings::load(&path).expect("good settings")
    }

    pub(crate) fn start(&self, index: u16) -> Running {
        Running::start(self.settings(index))
    }

    pub(crate) fn address(&self, index: u16) -> SocketAddr {
        let member = self.cluster.member(ReplicaId(index)).expect("a member");
        member.address.parse().expect("a socket address")
    }

    pub(crate) async fn dial(
        &self,
        local: &LocalIdentity,
        index: u16,
    ) -> Result<Authenticated, LinkError> {
        let any = "127.0.0.1:0".parse().expect("an address");
        let limits = LinkLimits {
            frame_bytes_max: PEER_FRAME_BYTES_MAX,
            queue_bytes_max: 2 * PEER_FRAME_BYTES_MAX,
        };
        let dialer = Dialer::bind(any, local, limits)?;
        dialer
            .connect(self.address(index), &format!("replica-{index}"))
            .await
    }

    pub(crate) fn hello(&self, role: HelloRole) -> Hello {
        let context = self.cluster.configuration().signing_context();
        Hello {
            version: PROTOCOL_VERSION,
            cluster: context.cluster,
            configuration: context.configuration,
            role,
        }
    }

    pub(crate) fn client_hello(&self, session: u64) -> Hello {
        let session = Session(session);
        self.hello(HelloRole::Client { session })
    }

    pub(crate) fn replica_hello(&self, replica: u16, incarnation: u64) -> Hello {
        self.hello(HelloRole::Replica {
            replica: ReplicaId(replica),
            incarnation: Incarnation(incarnation),
            policy: self.cluster.configuration().policy().hash(),
            stream_next: 0,
            position: Lsn(0),
            run: 5,
        })
    }

    /// Dials a replica and says this Hello.
    pub(crate) async fn greet(&self, name: &str, index: u16, hello: &Hello) -> (Link, HelloReply) {
        let local = self.member(name);
        let mut link = self.dial(&local, index).await.expect("a link").link;
        let reply = say(&mut link, hello).await;
        (link, reply)
    }

    /// A welcome client session.
    pub(crate) async fn client(&self, name: &str, index: u16, session: u64) -> Link {
        let (link, reply) = self.greet(name, index, &self.client_hello(session)).await;
        assert!(matches!(reply, HelloReply::Ack { .. }), "{reply:?}");
        link
    }
}

impl Running {
    pub(crate) fn start(settings: Settings) -> Self {
        let seen = Arc::new(Seen::default());
        let echo = Echo { seen: seen.clone() };
        Self::start_with(settings, seen, |_options| echo)
    }

    pub(crate) fn start_with<M: Machine>(
        settings: Settings,
        seen: Arc<Seen>,
        machine: impl FnOnce(Options) -> M + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let stopped = async { drop(stopped.await) };
            let mut machine = Some(machine);
            let make = |start: Start<'_>| {
                let machine = machine.take().expect("a store in memory does not fail");
                Ok(machine(start.options))
            };
            runtime.block_on(run(settings, make, stopped))
        });
        Self {
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Stops it and returns how it ended.
    pub(crate) fn stop(mut self) -> Result<(), RunError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), RunError> {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.join().expect("the replica does not panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = self.join();
        if !std::thread::panicking() {
            ended.expect("the replica ends well");
        }
    }
}

impl Seen {
    fn add(&self, input: String) {
        self.inputs.send_modify(|inputs| inputs.push(input));
    }

    pub(crate) fn count(&self, input: &str) -> usize {
        let inputs = self.inputs.borrow();
        inputs.iter().filter(|seen| *seen == input).count()
    }

    /// Waits until the core was told this.
    pub(crate) async fn wait(&self, input: &str) {
        let mut inputs = self.inputs.subscribe();
        let told = inputs.wait_for(|inputs| inputs.iter().any(|seen| seen == input));
        let told = timeout(PATIENCE, told).await.is_ok();
        assert!(told, "no {input:?} among {:?}", self.inputs.borrow());
    }
}

pub(crate) async fn say(link: &mut Link, hello: &Hello) -> HelloReply {
    link.writer
        .try_send(codec::encode(hello))
        .expect("a Hello fits");
    let frame = next(link).await.expect("the link holds");
    codec::decode_client(&frame.expect("an answer")).expect("a HelloReply")
}

pub(crate) async fn next(link: &mut Link) -> Result<Option<Vec<u8>>, LinkError> {
    let next = timeout(PATIENCE, link.reader.next()).await;
    next.expect("something happens in time")
}

pub(crate) async fn end_of(link: &Link) -> String {
    let closed = timeout(PATIENCE, link.closer.closed()).await;
    closed.expect("the link ends in time").to_string()
}

pub(crate) fn request(number: u64, body: ClientBody) -> Vec<u8> {
    codec::encode(&ClientRequest {
        request: RequestId(number),
        settled_below: TakeNumber(0),
        body,
    })
}

/// Asks, and returns the answer.
pub(crate) async fn ask(link: &mut Link, number: u64, body: ClientBody) -> Reply {
    let frame = request(number, body);
    link.writer.try_send(frame).expect("a request fits");
    let frame = next(link).await.expect("the link holds");
    codec::decode_client(&frame.expect("an answer")).expect("a Reply")
}

/// A request that the tiny core acknowledges.
pub(crate) fn ping() -> ClientBody {
    ping_with(0)
}

/// The same with this nonce.
pub(crate) fn ping_with(nonce: u64) -> ClientBody {
    ClientBody::StillEmpty {
        watch: bts_core::ids::WatchId(0),
        nonce,
        stable: Vec::new(),
    }
}

fn free_addresses(replicas: u32) -> Vec<String> {
    let sockets: Vec<UdpSocket> = (0..replicas)
        .map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    sockets
        .iter()
        .map(|socket| socket.local_addr().expect("a bound socket").to_string())
        .collect()
}

/// Dials by QUIC alone and says this Hello; what follows is the test's affair.
pub(crate) async fn raw_hello(
    rig: &Rig,
    name: &str,
    index: u16,
    hello: &Hello,
    then: &[u8],
) -> (quinn::Connection, quinn::SendStream) {
    let config = bts_certs::client_config(&rig.member(name)).expect("settings of TLS");
    let connection = raw_dial(rig, config, index).await.expect("a connection");
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all(b"BTS\x01").await.expect("greeted");
    recv.read_exact(&mut [0; 4]).await.expect("greeted back");
    let hello = codec::encode(hello);
    let length = u32::try_from(hello.len()).expect("a Hello is short");
    let bytes = [&length.to_le_bytes(), hello.as_slice(), then].concat();
    send.write_all(&bytes).await.expect("written");
    recv.read_exact(&mut [0; 8]).await.expect("an answer");
    // The stream is kept open, or else the replica could not answer.
    tokio::spawn(async move { while let Ok(Some(_)) = recv.read_chunk(1 << 16, true).await {} });
    (connection, send)
}

/// How dialing without a certificate ends.
pub(crate) async fn dial_without_certificate(rig: &Rig, index: u16) -> String {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let authority = std::fs::read(rig.path().join("ca.crt")).expect("a file");
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(&authority).expect("a certificate");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"bts/1".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("settings of QUIC");
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    match raw_dial(rig, config, index).await {
        Ok(connection) => connection.closed().await.to_string(),
        Err(error) => error.to_string(),
    }
}

async fn raw_dial(
    rig: &Rig,
    config: quinn::ClientConfig,
    index: u16,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let any = "127.0.0.1:0".parse().expect("an address");
    let endpoint = quinn::Endpoint::client(any).expect("an endpoint");
    let name = format!("replica-{index}");
    endpoint
        .connect_with(config, rig.address(index), &name)
        .expect("it can be dialed")
        .await
}

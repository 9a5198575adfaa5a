//! Below all messages: a replica that is welcomed by its certificate and then sends bytes. It
//! listens as a replica does, dials its peers as a replica does, and says Hello to both; what
//! follows is a frame without end, or frames of anything.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bts_certs::{client_config, server_config};
use bts_core::codec;
use bts_core::crypto::sign::PROTOCOL_VERSION;
use bts_core::ids::{Incarnation, Lsn};
use bts_core::limits::CLIENT_FRAME_BYTES_MAX;
use bts_core::message::{Hello, HelloReply, HelloRole};
use bts_replica::{RunError, Settings};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rand::RngExt;
use tokio::time::{sleep, timeout};

use super::behaviour::Behaviour;

/// What a link begins with in both directions.
const GREETING: [u8; 4] = *b"BTS\x01";
/// Between two attempts to reach a peer that had enough.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two portions of noise.
const BEAT: Duration = Duration::from_millis(20);
/// How long anybody may take to say Hello.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sorts of noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noise {
    /// A frame that never ends, as long as frames may be, and one that may not be so long.
    Endless,
    /// Frames of random bytes.
    Garbage,
}

impl Noise {
    /// The noise of a behaviour, if it is one.
    pub(super) fn of(behaviour: Behaviour) -> Option<Self> {
        match behaviour {
            Behaviour::Endless => Some(Self::Endless),
            Behaviour::Garbage => Some(Self::Garbage),
            Behaviour::Altered
            | Behaviour::Forger
            | Behaviour::Inventor
            | Behaviour::Liar
            | Behaviour::Silent
            | Behaviour::Slow
            | Behaviour::Stale
            | Behaviour::TwoFaced
            | Behaviour::TwoVotes
            | Behaviour::WrongCertificates => None,
        }
    }
}

/// Makes noise until `shutdown` is over.
pub(super) async fn run(
    settings: Settings,
    noise: Noise,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let source = Arc::new(Source {
        noise,
        incarnation: Incarnation(rand::random()),
        settings,
        sounded: AtomicU64::new(0),
    });
    let endpoint = source.endpoint().map_err(RunError::Process)?;
    let mut tasks = tokio::task::JoinSet::new();
    for (replica, member) in source.settings.cluster.members() {
        if replica != source.settings.id
            && let Ok(address) = member.address.parse()
        {
            let (source, endpoint) = (source.clone(), endpoint.clone());
            let name = member.name.clone();
            tasks.spawn(async move { source.molest(&endpoint, address, &name).await });
        }
    }
    let accepting = source.clone();
    tasks.spawn(async move { accepting.accept(&endpoint).await });
    shutdown.await;
    Ok(())
}

/// Where the noise comes from.
struct Source {
    noise: Noise,
    incarnation: Incarnation,
    settings: Settings,
    /// How often it began to make noise.
    sounded: AtomicU64,
}

impl Source {
    fn endpoint(&self) -> std::io::Result<Endpoint> {
        let identity = &self.settings.identity;
        let server = server_config(identity).map_err(std::io::Error::other)?;
        let client = client_config(identity).map_err(std::io::Error::other)?;
        let mut endpoint = Endpoint::server(server, self.settings.listen)?;
        endpoint.set_default_client_config(client);
        Ok(endpoint)
    }

    /// Whoever comes is welcomed.
    async fn accept(self: Arc<Self>, endpoint: &Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let source = self.clone();
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else {
                    return;
                };
                let welcomed = timeout(PATIENCE, source.welcome(&connection)).await;
                if let Ok(Some((send, _receive))) = welcomed {
                    source.sound(send).await;
                }
            });
        }
    }

    async fn welcome(&self, connection: &Connection) -> Option<(SendStream, RecvStream)> {
        let (mut send, mut receive) = connection.accept_bi().await.ok()?;
        receive.read_exact(&mut GREETING.clone()).await.ok()?;
        send.write_all(&GREETING).await.ok()?;
        let mut length = [0; 4];
        receive.read_exact(&mut length).await.ok()?;
        let mut hello = vec![0; (u32::from_le_bytes(length) as usize).min(4096)];
        receive.read_exact(&mut hello).await.ok()?;
        let welcome = HelloReply::Ack {
            version: PROTOCOL_VERSION,
            replica: self.settings.id,
            incarnation: self.incarnation,
            stream_next: 0,
            position: Lsn(u64::MAX),
            run: 5,
        };
        send.write_all(&framed(&codec::encode(&welcome)))
            .await
            .ok()?;
        Some((send, receive))
    }

    /// Dials a peer again and again.
    async fn molest(&self, endpoint: &Endpoint, address: SocketAddr, name: &str) {
        loop {
            let greeted = timeout(PATIENCE, self.greet(endpoint, address, name)).await;
            if let Ok(Some((_connection, send, _receive))) = greeted {
                self.sound(send).await;
            }
            sleep(PAUSE).await;
        }
    }

    async fn greet(
        &self,
        endpoint: &Endpoint,
        address: SocketAddr,
        name: &str,
    ) -> Option<(Connection, SendStream, RecvStream)> {
        let connection = endpoint.connect(address, name).ok()?.await.ok()?;
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        send.write_all(&GREETING).await.ok()?;
        receive.read_exact(&mut GREETING.clone()).await.ok()?;
        let configuration = self.settings.cluster.configuration();
        let context = configuration.signing_context();
        let hello = Hello {
            version: PROTOCOL_VERSION,
            cluster: context.cluster,
            configuration: context.configuration,
            role: HelloRole::Replica {
                replica: self.settings.id,
                incarnation: self.incarnation,
                policy: configuration.policy().hash(),
                stream_next: 0,
                position: Lsn(u64::MAX),
                run: 5,
            },
        };
        send.write_all(&framed(&codec::encode(&hello))).await.ok()?;
        Some((connection, send, receive))
    }

    /// Sends noise until nobody takes it any more.
    async fn sound(&self, mut send: SendStream) {
        // By turns more than anybody takes, and as much as anybody does.
        let announced = match self.sounded.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => u32::MAX,
            _ => CLIENT_FRAME_BYTES_MAX as u32,
        };
        let mut next = match self.noise {
            Noise::Endless => announced.to_le_bytes().to_vec(),
            Noise::Garbage => Vec::new(),
        };
        loop {
            let mut bytes = vec![0; rand::rng().random_range(1..300)];
            rand::rng().fill(bytes.as_mut_slice());
            match self.noise {
                // Less than a portion in so long a time that the frame outlasts every test.
                Noise::Endless => next.extend(&bytes[..1]),
                Noise::Garbage => next.extend(framed(&bytes)),
            }
            if send.write_all(&next).await.is_err() {
                return;
            }
            next.clear();
            sleep(BEAT).await;
        }
    }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), bytes].concat()
}

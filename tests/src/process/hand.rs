//! A client by hand: authenticated like any other, and then it says what a test wants, in any
//! order, to any replica, true or not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bts_certs::cluster::Cluster;
use bts_certs::{Closer, Dialer, FrameReader, FrameWriter, LinkLimits, LocalIdentity};
use bts_core::codec;
use bts_core::configuration::Configuration;
use bts_core::content::{EntryPayload, Put, TakePayload};
use bts_core::crypto::sign::{Kind, PROTOCOL_VERSION, SignedBytes, Signer};
use bts_core::ids::{
    ClientRef, ContentHash, EntryId, Epoch, OpId, ReplicaId, RequestId, Seq, Session, SpaceName,
    TakeNumber,
};
use bts_core::limits::CLIENT_FRAME_BYTES_MAX;
use bts_core::message::{
    ClientBody, ClientRequest, Hello, HelloReply, HelloRole, Reply, ReplyBody,
};
use bts_core::tuple::Tuple;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::PATIENCE;
use super::deployment::Deployment;

/// How long a replica may take to answer a Hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(6);
/// Answers that may wait to be looked at.
const HEARD_MAX: usize = 65_536;

/// An answer, and whose it is.
pub type Heard = (ReplicaId, Reply);

/// The client. It dies with its handle: its connections end in the middle of whatever it does.
#[derive(Debug)]
pub struct Hand {
    local: LocalIdentity,
    cluster: Cluster,
    signer: Signer,
    session: Session,
    links: BTreeMap<ReplicaId, (Dialer, FrameWriter, Closer)>,
    hearing: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    requests: u64,
    entries: u64,
    takes: u64,
}

impl Hand {
    /// The client of this number in a deployment, in a new session, without connections.
    pub fn new(deployment: &Deployment, number: usize) -> Self {
        let (local, cluster) = (deployment.client(number), deployment.cluster().clone());
        let context = *cluster.configuration().signing_context();
        let signer = Signer::new(local.signing_key().clone(), context);
        let (hearing, heard) = mpsc::channel(HEARD_MAX);
        Self {
            local,
            cluster,
            signer,
            session: new_session(),
            links: BTreeMap::new(),
            hearing,
            heard,
            requests: 0,
            entries: 0,
            takes: 0,
        }
    }

    /// Dials a replica and says Hello; the error is the refusal, or why there is no link.
    pub async fn connect(&mut self, replica: ReplicaId) -> Result<(), String> {
        let member = self
            .cluster
            .member(replica)
            .ok_or("no such replica")?
            .clone();
        let limits = LinkLimits {
            frame_bytes_max: CLIENT_FRAME_BYTES_MAX,
            ..LinkLimits::default()
        };
        let said = |error: bts_certs::LinkError| error.to_string();
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let dialer = Dialer::bind(any, &self.local, limits).map_err(said)?;
        let address = member.address.parse().map_err(|_| "no address")?;
        let link = dialer
            .connect(address, &member.name)
            .await
            .map_err(said)?
            .link;
        let (mut reader, writer, closer) = link.split();
        let hello = codec::encode(&self.hello());
        writer.try_send(hello).map_err(|error| error.to_string())?;
        let answer = timeout(HELLO_PATIENCE, reader.next()).await;
        let answer = answer.map_err(|_| "no answer to Hello")?.map_err(said)?;
        match codec::decode_client(&answer.ok_or("it hung up")?) {
            Ok(HelloReply::Ack { .. }) => {}
            Ok(HelloReply::Refused(reason) | HelloReply::LostMemory(reason)) => return Err(reason),
            Err(error) => return Err(error.to_string()),
        }
        tokio::spawn(listen(replica, reader, self.hearing.clone()));
        self.links.insert(replica, (dialer, writer, closer));
        Ok(())
    }

    /// Connects to all of these; each of them must welcome it.
    pub async fn connect_to(mut self, replicas: &[ReplicaId]) -> Self {
        for replica in replicas {
            let welcomed = self.connect(*replica).await;
            welcomed.unwrap_or_else(|reason| panic!("{replica} refuses: {reason}"));
        }
        self
    }

    /// Who it is.
    pub fn client(&self) -> ClientRef {
        ClientRef {
            key: self.signer.public(),
            session: self.session,
        }
    }

    /// The cluster.
    pub fn configuration(&self) -> &Configuration {
        self.cluster.configuration()
    }

    /// Whom it is connected to.
    pub fn replicas(&self) -> Vec<ReplicaId> {
        self.links.keys().copied().collect()
    }

    /// Sends one request to each of these replicas.
    pub fn send(&mut self, to: &[ReplicaId], body: ClientBody) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        let settled_below = TakeNumber(0);
        let frame = codec::encode(&ClientRequest {
            request,
            settled_below,
            body,
        });
        for replica in to {
            self.send_bytes(*replica, frame.clone());
        }
        request
    }

    /// Sends a frame of any bytes. What a dead link loses is lost.
    pub fn send_bytes(&self, to: ReplicaId, frame: Vec<u8>) {
        if let Some((_, writer, _)) = self.links.get(&to) {
            let _ = writer.try_send(frame);
        }
    }

    /// Sends a frame again and again, as fast as the replica takes it, until the link ends.
    pub fn flood(&self, to: ReplicaId, frame: Vec<u8>) -> impl Future<Output = ()> + use<> {
        let writer = self.links.get(&to).map(|(_, writer, _)| writer.clone());
        async move {
            while let Some(Ok(())) = match &writer {
                Some(writer) => Some(writer.send(frame.clone()).await),
                None => None,
            } {}
        }
    }

    /// Why the link to a replica ended, if it did.
    pub fn ended(&self, replica: ReplicaId) -> Option<String> {
        let (_, _, closer) = self.links.get(&replica)?;
        closer.ended().map(|error| error.to_string())
    }

    /// The next answer, whatever it is to.
    pub async fn next(&mut self) -> Heard {
        let next = timeout(PATIENCE, self.heard.recv()).await;
        next.expect("somebody answers")
            .expect("it holds the other end itself")
    }

    /// The next answer, if there is one already.
    pub fn try_next(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }

    /// Waits for answers to a request, until `count` replicas gave one that `wanted` accepts.
    pub async fn answers<T>(
        &mut self,
        to: RequestId,
        count: usize,
        mut wanted: impl FnMut(ReplyBody) -> Option<T>,
    ) -> BTreeMap<ReplicaId, T> {
        let mut answers = BTreeMap::new();
        while answers.len() < count {
            let (from, reply) = self.next().await;
            if reply.request == to {
                answers.extend(wanted(reply.body).map(|answer| (from, answer)));
            }
        }
        answers
    }

    /// The id of its next entry.
    pub fn new_id(&mut self, space: &SpaceName) -> EntryId {
        self.entries += 1;
        let writer = self.signer.public();
        EntryId::written(space.clone(), writer, self.session, Seq(self.entries))
    }

    /// Signs an entry with a new id.
    pub fn new_entry(&mut self, space: &SpaceName, tuple: Tuple) -> SignedBytes {
        let id = self.new_id(space);
        self.entry(id, tuple)
    }

    /// Signs an entry; nothing keeps it from signing two of one id.
    pub fn entry(&self, id: EntryId, tuple: Tuple) -> SignedBytes {
        let payload = EntryPayload {
            id,
            tuple,
            expiry: None,
            access: None,
        };
        self.signer.sign(Kind::Entry, codec::encode(&payload))
    }

    /// Signs a Take with a number of its own.
    pub fn take(
        &mut self,
        id: &EntryId,
        content: ContentHash,
        epoch: Epoch,
        puts: Vec<Put>,
    ) -> SignedBytes {
        self.takes += 1;
        let payload = TakePayload {
            client: self.signer.public(),
            session: self.session,
            number: TakeNumber(self.takes),
            id: id.clone(),
            content,
            epoch,
            puts,
        };
        self.signer.sign(Kind::Take, codec::encode(&payload))
    }

    /// The hash of a signed entry.
    pub fn content_hash(&self, entry: &SignedBytes) -> ContentHash {
        let context = self.configuration().signing_context();
        ContentHash(context.leaf(Kind::Entry, &entry.signer, &entry.payload))
    }

    /// The hash of a signed Take.
    pub fn op(&self, take: &SignedBytes) -> OpId {
        let context = self.configuration().signing_context();
        OpId(context.leaf(Kind::Take, &take.signer, &take.payload))
    }

    /// Its key, for signing what no client signs.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// How a replica reports itself.
    pub async fn report(&mut self, replica: ReplicaId) -> Box<bts_core::message::Report> {
        let request = self.send(&[replica], ClientBody::Inspect);
        let report = |body| match body {
            ReplyBody::Report(report) => Some(report),
            _ => None,
        };
        let mut answers = self.answers(request, 1, report).await;
        answers.remove(&replica).expect("nobody else was asked")
    }

    fn hello(&self) -> Hello {
        let context = self.configuration().signing_context();
        Hello {
            version: PROTOCOL_VERSION,
            cluster: context.cluster,
            configuration: context.configuration,
            role: HelloRole::Client {
                session: self.session,
            },
        }
    }
}

async fn listen(from: ReplicaId, mut reader: FrameReader, hearing: mpsc::Sender<Heard>) {
    while let Ok(Some(frame)) = reader.next().await {
        let Ok(reply) = codec::decode_client(&frame) else {
            return;
        };
        if hearing.send((from, reply)).await.is_err() {
            return;
        }
    }
}

fn new_session() -> Session {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let micros = u64::try_from(now.as_micros()).unwrap_or_default();
    Session((micros << 12) | rand::random_range(0..1 << 12))
}

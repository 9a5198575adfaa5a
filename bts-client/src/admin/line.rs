//! A connection of an operator to one replica.

use std::time::Duration;

use bts_certs::Link;
use bts_certs::cluster::Member;
use bts_core::codec;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::PROTOCOL_VERSION;
use bts_core::ids::{ClusterId, PublicKey, ReplicaId};
use bts_core::limits::PEER_FRAME_BYTES_MAX;
use bts_core::message::{AdminReply, AdminRequest, Hello, HelloReply, HelloRole, Standing};
use tokio::time::timeout;

use crate::connection::{Dialers, printable};

/// How long a replica may take to welcome an operator.
const WELCOME_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to answer: to hash, or to store, all that it holds.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// One question after the other. Errors are in words.
pub(super) struct Line(Link);

/// Why there is no line.
pub(super) enum NoLine {
    /// It may be there later.
    Unreachable(String),
    /// It does not speak to us.
    Refused(String),
}

impl Line {
    /// Dials a member, and says that we are an operator.
    pub(super) async fn open(
        dialers: &Dialers,
        cluster: ClusterId,
        seat: ReplicaId,
        member: &Member,
    ) -> Result<Self, NoLine> {
        let unreachable = NoLine::Unreachable;
        let dialed = dialers.dial(member).await;
        let peer = dialed.map_err(|state| unreachable(state.to_string()))?;
        if PublicKey(peer.identity.key) != member.key {
            peer.link
                .closer
                .close("you have another key than the cluster file says");
            let why = format!("{} answers with another key", peer.identity);
            return Err(NoLine::Refused(why));
        }
        let mut link = peer.link;
        link.reader.set_frame_bytes_max(PEER_FRAME_BYTES_MAX);
        let mut line = Self(link);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            cluster,
            // An operator finds replicas in whichever configuration they are.
            configuration: Digest([0; 32]),
            role: HelloRole::Operator,
        };
        let answer = line
            .exchange(codec::encode(&hello), WELCOME_PATIENCE)
            .await
            .map_err(unreachable)?;
        match codec::decode_client(&answer) {
            Ok(HelloReply::Ack { replica, .. }) if replica == seat => Ok(line),
            Ok(HelloReply::Ack { replica, .. }) => {
                Err(NoLine::Refused(format!("it says that it is {replica}")))
            }
            Ok(HelloReply::Refused(why) | HelloReply::LostMemory(why)) => {
                Err(NoLine::Refused(printable(&why)))
            }
            Err(error) => {
                let why = format!("its answer to our hello is unreadable: {error}");
                Err(NoLine::Refused(why))
            }
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, request: &AdminRequest) -> Result<AdminReply, String> {
        let answer = self
            .exchange(codec::encode(request), ANSWER_PATIENCE)
            .await?;
        match codec::decode_peer(&answer) {
            Ok(AdminReply::Refused(why)) => Ok(AdminReply::Refused(printable(&why))),
            Ok(reply) => Ok(reply),
            Err(error) => Err(format!("its answer is unreadable: {error}")),
        }
    }

    /// Where it stands.
    pub(super) async fn standing(&mut self) -> Result<Standing, String> {
        match self.ask(&AdminRequest::Standing).await? {
            AdminReply::Standing(standing) => Ok(standing),
            other => Err(format!("asked where it stands it said {other:?}")),
        }
    }

    async fn exchange(&mut self, frame: Vec<u8>, patience: Duration) -> Result<Vec<u8>, String> {
        let sent = self.0.writer.try_send(frame);
        sent.map_err(|error| error.to_string())?;
        match timeout(patience, self.0.reader.next()).await {
            Ok(Ok(Some(frame))) => Ok(frame),
            Ok(Ok(None)) => Err("it ended the link".into()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not answer".into()),
        }
    }
}

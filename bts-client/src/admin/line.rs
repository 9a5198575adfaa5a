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

use super::ReplaceError;
use crate::connection::{Dialers, printable};
use crate::replicas::LinkState;

/// How long a replica may take to welcome an operator.
const WELCOME_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to answer: to hash, or to store, all that it holds.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// One question after the other.
pub(super) struct Line {
    seat: ReplicaId,
    link: Link,
}

impl Line {
    /// Dials a member, and says that we are an operator.
    pub(super) async fn open(
        dialers: &Dialers,
        cluster: ClusterId,
        seat: ReplicaId,
        member: &Member,
    ) -> Result<Self, ReplaceError> {
        let dialed = dialers.dial(member).await;
        let unreachable = |state: LinkState| unreachable(seat, state.to_string());
        let mut peer = dialed.map_err(unreachable)?;
        if PublicKey(peer.identity.key) != member.key {
            let closer = peer.link.closer;
            closer.close("you have another key than the cluster file says");
            let why = format!("{} answers with another key", peer.identity);
            return Err(ReplaceError::Refused { seat, why });
        }
        peer.link.reader.set_frame_bytes_max(PEER_FRAME_BYTES_MAX);
        let link = peer.link;
        let mut line = Self { seat, link };
        let hello = Hello {
            version: PROTOCOL_VERSION,
            cluster,
            // An operator finds replicas in whichever configuration they are.
            configuration: Digest([0; 32]),
            role: HelloRole::Operator,
        };
        let hello = codec::encode(&hello);
        let answer = line.exchange(hello, WELCOME_PATIENCE).await?;
        let why = match codec::decode_client(&answer) {
            Ok(HelloReply::Ack { replica, .. }) if replica == seat => return Ok(line),
            Ok(HelloReply::Ack { replica, .. }) => format!("it says that it is {replica}"),
            Ok(HelloReply::Refused(why) | HelloReply::LostMemory(why)) => printable(&why),
            Err(error) => format!("its answer to our hello is unreadable: {error}"),
        };
        Err(ReplaceError::Refused { seat, why })
    }

    /// Asks, and waits for the answer, which is not "no".
    pub(super) async fn ask(&mut self, request: &AdminRequest) -> Result<AdminReply, ReplaceError> {
        let request = codec::encode(request);
        let answer = self.exchange(request, ANSWER_PATIENCE).await?;
        match codec::decode_peer(&answer) {
            Ok(AdminReply::Refused(why)) => {
                let (seat, why) = (self.seat, printable(&why));
                Err(ReplaceError::Refused { seat, why })
            }
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.unreachable(format!("its answer is unreadable: {error}"))),
        }
    }

    /// Where it stands.
    pub(super) async fn standing(&mut self) -> Result<Standing, ReplaceError> {
        match self.ask(&AdminRequest::Standing).await {
            Ok(AdminReply::Standing(standing)) => Ok(standing),
            Ok(_) | Err(ReplaceError::Refused { .. }) => {
                Err(self.unreachable("it does not say where it stands".into()))
            }
            Err(error) => Err(error),
        }
    }

    /// It gave an answer that is none to what was asked.
    pub(super) fn strange(&self) -> ReplaceError {
        let (seat, why) = (self.seat, "its answer is to something else".into());
        ReplaceError::Refused { seat, why }
    }

    async fn exchange(
        &mut self,
        frame: Vec<u8>,
        patience: Duration,
    ) -> Result<Vec<u8>, ReplaceError> {
        let sent = self.link.writer.try_send(frame);
        sent.map_err(|error| self.unreachable(error.to_string()))?;
        match timeout(patience, self.link.reader.next()).await {
            Ok(Ok(Some(frame))) => Ok(frame),
            Ok(Ok(None)) => Err(self.unreachable("it ended the link".into())),
            Ok(Err(error)) => Err(self.unreachable(error.to_string())),
            Err(_) => Err(self.unreachable("it does not answer".into())),
        }
    }

    fn unreachable(&self, why: String) -> ReplaceError {
        unreachable(self.seat, why)
    }
}

/// It may be there later.
fn unreachable(seat: ReplicaId, why: String) -> ReplaceError {
    ReplaceError::Unreachable { seat, why }
}

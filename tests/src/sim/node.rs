//! Whoever takes part in a simulation, and what travels between them.

use std::fmt;

use bts_core::codec::{self, DecodeError};
use bts_core::ids::ReplicaId;
use bts_core::message::{ClientBody, ClientRequest, PeerMessage, Reply, ReplyBody};

/// A replica or a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// A replica, by its place in the configuration.
    Replica(ReplicaId),
    /// A client, by the order in which it joined.
    Client(usize),
}

/// The replica of this number.
pub const fn replica(number: u16) -> Node {
    Node::Replica(ReplicaId(number))
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(id) => write!(f, "{id}"),
            Self::Client(number) => write!(f, "c{number}"),
        }
    }
}

/// A message of any of the three conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Client to replica.
    Request(ClientRequest),
    /// Replica to client.
    Reply(Reply),
    /// Replica to replica.
    Peer(PeerMessage),
}

impl Message {
    /// The message as the receiver decodes it.
    pub fn over_the_wire(&self) -> Result<Self, DecodeError> {
        Ok(match self {
            Self::Request(request) => Self::Request(codec::decode_client(&codec::encode(request))?),
            Self::Reply(reply) => Self::Reply(codec::decode_client(&codec::encode(reply))?),
            Self::Peer(message) => Self::Peer(codec::decode_peer(&codec::encode(message))?),
        })
    }
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// From whom.
    pub from: Node,
    /// To whom.
    pub to: Node,
    /// What.
    pub message: Message,
}

impl Flight {
    /// True for a message of this kind, by the name that [`Message::kind`] gives.
    pub fn is(&self, kind: &str) -> bool {
        self.message.kind() == kind
    }
}

impl Message {
    /// What kind of message it is. Names are unique across the conversations but where both sides
    /// or both sorts of senders say the same.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Request(request) => kind_of_request(&request.body),
            Self::Reply(reply) => kind_of_reply(&reply.body),
            Self::Peer(message) => kind_of_peer(message),
        }
    }
}

fn kind_of_request(body: &ClientBody) -> &'static str {
    match body {
        ClientBody::Out { .. } => "out",
        ClientBody::Read(_) => "read",
        ClientBody::StillEmpty { .. } => "still empty",
        ClientBody::WriteBack { .. } => "write-back",
        ClientBody::Take(_) => "take",
        ClientBody::Evidence(_) => "evidence",
        ClientBody::Lock(_) => "lock",
        ClientBody::Decide { .. } => "decide",
        ClientBody::Fetch(_) => "fetch",
        ClientBody::Dropped { .. } => "dropped",
        ClientBody::Cancel { .. } => "cancel",
        ClientBody::Inspect => "inspect",
        ClientBody::List { .. } => "list",
        ClientBody::EndSession(_) => "end session",
        ClientBody::Sessions => "sessions",
    }
}

fn kind_of_reply(body: &ReplyBody) -> &'static str {
    match body {
        ReplyBody::Ack => "ack",
        ReplyBody::Found { .. } => "found",
        ReplyBody::Status { .. } => "status",
        ReplyBody::EmptySince { .. } => "empty since",
        ReplyBody::FirstVote(_) => "first vote",
        ReplyBody::CommitVote(_) => "commit vote",
        ReplyBody::Contended { .. } => "contended",
        ReplyBody::Applied { .. } => "applied",
        ReplyBody::Push(_) => "push",
        ReplyBody::Removed { .. } => "removed",
        ReplyBody::Released { .. } => "released",
        ReplyBody::Given(_) => "given",
        ReplyBody::NotHeld(_) => "not held",
        ReplyBody::Refused(_) => "refused",
        ReplyBody::Report(_) => "report",
        ReplyBody::Page { .. } => "page",
        ReplyBody::Sessions { .. } => "sessions told",
    }
}

fn kind_of_peer(message: &PeerMessage) -> &'static str {
    match message {
        PeerMessage::Promise { .. } => "promise",
        PeerMessage::Propose(_) => "propose",
        PeerMessage::PrepareVote(_) => "prepare vote",
        PeerMessage::Lock(_) => "lock",
        PeerMessage::CommitVote(_) => "commit vote",
        PeerMessage::Decide(_) => "decide",
        PeerMessage::Applied { .. } => "applied",
        PeerMessage::Relay { .. } => "relay",
        PeerMessage::Fetch(_) => "fetch",
        PeerMessage::Given(_) => "given",
        PeerMessage::NotHeld(_) => "not held",
        PeerMessage::Removed { .. } => "removed",
        PeerMessage::Released { .. } => "released",
        PeerMessage::Resume { .. } => "resume",
        PeerMessage::Compare(_) => "compare",
        PeerMessage::Compared(_) => "compared",
        PeerMessage::EndSession(_) => "end session",
    }
}

//! Every message, as it travels: the three conversations client -> replica, replica -> client and
//! replica -> replica. Enums are append-only: a variant's position is its tag on the wire
//! (docs/wire.md). "Synced" beside a message: it leaves only when what it names is on disk.

mod admin;
mod change;
mod compare;
mod hello;

use serde::{Deserialize, Serialize};

use crate::consensus::certificate::{Certificate, SealedVote, Value};
use crate::content::{Content, Decision};
use crate::crypto::hash::Digest;
use crate::crypto::sign::SignedBytes;
use crate::ids::{
    Ballot, ContentHash, EntryId, Epoch, OpId, PublicKey, ReplicaId, RequestId, Session, SpaceName,
    TakeNumber, WatchId,
};
use crate::template::Template;
use crate::tuple::Tuple;

pub use admin::{AdminReply, AdminRequest, Standing};
pub use compare::{Compare, Compared, Comparing};
pub use hello::{Hello, HelloReply, HelloRole};

/// A request of a client. The session is that of the connection's Hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRequest {
    /// Echoed by every answer; may be repeated at any time.
    pub request: RequestId,
    /// All Takes of the session below this number are settled. Kept, for forgetting.
    pub settled_below: TakeNumber,
    /// What is asked.
    pub body: ClientBody,
}

/// What a client asks. Every request may be answered by `Refused`; one about an instance by
/// `Removed` or `Released`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientBody {
    /// Store this entry. Answer: `Ack`.
    Out {
        /// The signed entry.
        entry: SignedBytes,
    },
    /// Which entries match? Answer: `Found`; for `Rd` and `In` also `Push` until cancelled.
    Read(ReadRequest),
    /// Round 2 of the proof of None. Answer: `EmptySince`.
    StillEmpty {
        /// The watch that began with this replica's "empty".
        watch: WatchId,
        /// Names this very sending (B4).
        nonce: u64,
        /// Decisions that the client saw become stable (C4).
        stable: Vec<OpId>,
    },
    /// Store what fewer than a quorum reported (an entry; a put travels by `Decide`). Answer:
    /// `Status`, synced.
    WriteBack {
        /// The signed entry.
        entry: SignedBytes,
    },
    /// Vote for this Take. Answer: `FirstVote`, synced, else `Contended`.
    Take(TakeRequest),
    /// Know of this Take: starts timers, asks for no vote. Answer: `Status`.
    Evidence(TakeRequest),
    /// Lock this certificate. Answer: `CommitVote`, synced, else `Contended`.
    Lock(LockRequest),
    /// Know of this decision. Answer, if asked for: `Applied`, synced.
    Decide {
        /// The decision.
        decision: Decision,
        /// Whether to answer.
        applied: bool,
    },
    /// Give me what I lack. Answer: `Given` or `NotHeld`.
    Fetch(FetchKey),
    /// You report an entry that is gone: ask your peers (G5). No answer.
    Dropped {
        /// The entry.
        id: EntryId,
    },
    /// Forget the waiter of this request. No answer.
    Cancel {
        /// The `Read` that registered it.
        waiter: RequestId,
    },
    /// How are you? Answer: `Report`.
    Inspect,
    /// One page of all entries that match. Answer: `Page`, synced.
    List {
        /// The space.
        space: SpaceName,
        /// What to list.
        template: Template,
        /// Where the last page ended.
        after: Option<Digest>,
    },
    /// End this session of your key: the signed [`crate::content::EndPayload`]. Answer: `Ack`, synced.
    EndSession(SignedBytes),
    /// Which sessions of my key are there? Answer: `Sessions`.
    Sessions,
}

/// A read of round 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRequest {
    /// The space.
    pub space: SpaceName,
    /// What to look for.
    pub template: Template,
    /// What for.
    pub mode: ReadMode,
    /// Where on the ring to start: `h(client, request number)`.
    pub start: u64,
    /// How many candidates at most.
    pub candidates: u8,
    /// Which replica answers in full; the others send hashes.
    pub full: ReplicaId,
}

/// What a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadMode {
    /// `rdp`: what may be read.
    Rdp,
    /// `inp`, `swapp`: what may be taken; reserves what it names.
    Enter,
    /// `rd`: as `Rdp`, and registers a waiter.
    Rd,
    /// `in`, `swap`: as `Enter`, and registers a waiter.
    In,
}

impl ReadMode {
    /// True if the reader wants to take what it finds.
    pub fn takes(self) -> bool {
        matches!(self, Self::Enter | Self::In)
    }

    /// True if the reader waits for what is not there yet.
    pub fn waits(self) -> bool {
        matches!(self, Self::Rd | Self::In)
    }
}

/// A Take with what a replica may lack to vote for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeRequest {
    /// The signed Take.
    pub take: SignedBytes,
    /// The content it names.
    pub content: Option<Content>,
    /// For an epoch above 0: the certificate that the one before was released.
    pub released: Option<Certificate>,
}

/// A lock with what a replica may lack to accept it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRequest {
    /// `q` first votes of ballot 0, or `q` prepare votes of a higher one.
    pub certificate: Certificate,
    /// The Take it names; for `Release` some Take of the instance, as evidence.
    pub take: SignedBytes,
    /// For an epoch above 0: the certificate that the one before was released.
    pub released: Option<Certificate>,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FetchKey {
    /// A content of an entry.
    Content(EntryId, ContentHash),
    /// A Take.
    Take(EntryId, OpId),
    /// How the entry was removed.
    Decision(EntryId),
    /// The release of this epoch.
    Release(EntryId, Epoch),
}

/// An answer to a [`FetchKey`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Given {
    /// A content of this entry.
    Content(EntryId, Content),
    /// A Take.
    Take(SignedBytes),
    /// The release of an epoch of this entry.
    Release(EntryId, Epoch, Certificate),
}

/// An answer to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The request it answers; for `Push` the one that registered the waiter.
    pub request: RequestId,
    /// The answer.
    pub body: ReplyBody,
}

/// What a replica answers a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplyBody {
    /// The entry is stored, or was removed already. Synced.
    Ack,
    /// What matches. Synced, but for mode `Enter` and `In`.
    Found {
        /// Present entries, uncontested ones first, those reserved for others last (B8).
        candidates: Vec<Candidate>,
        /// If there is none ("empty", or "empty but for" `moved`): the watch that begins now.
        watch: Option<WatchId>,
        /// Decisions not known to be stable that removed matching entries (A1, C4).
        moved: Vec<Decision>,
    },
    /// How an entry stands. Synced.
    Status {
        /// The entry.
        id: EntryId,
        /// Its state.
        status: Status,
    },
    /// The answer to round 2.
    EmptySince {
        /// The sending it answers.
        nonce: u64,
        /// The watch asked about.
        watch: WatchId,
        /// Whether the replica was empty ever since the watch began.
        since: Since,
        /// Decisions not known stable, and not named stable, that removed matching entries.
        moved: Vec<Decision>,
    },
    /// A vote for a Take. Synced.
    FirstVote(SealedVote),
    /// A vote for a lock. Synced.
    CommitVote(SealedVote),
    /// No vote: another Take has it, or a higher ballot was entered. Synced.
    Contended {
        /// The entry.
        id: EntryId,
        /// Its state.
        status: Status,
    },
    /// The decision is applied here. Synced.
    Applied {
        /// The entry that was taken.
        id: EntryId,
        /// The decision.
        op: OpId,
    },
    /// An entry that a blocked `rd` or `in` may want. Synced for `rd`, a hint for `in`.
    Push(Box<Candidate>),
    /// The entry is gone.
    Removed {
        /// The entry.
        id: EntryId,
        /// How.
        removal: Removal,
    },
    /// The epoch asked about was released, or a later one.
    Released {
        /// The entry.
        id: EntryId,
        /// The certificate of the highest epoch released here.
        certificate: Certificate,
    },
    /// What was fetched.
    Given(Given),
    /// What was fetched is not here.
    NotHeld(FetchKey),
    /// No.
    Refused(Refused),
    /// How this replica is.
    Report(Box<Report>),
    /// One page of a listing, in ring order.
    Page {
        /// Entries.
        candidates: Vec<Candidate>,
        /// Where the next page starts; `None` after the last.
        next: Option<Digest>,
    },
    /// Sessions of the asker's key.
    Sessions {
        /// Those that are connected here, or were a moment ago.
        present: Vec<Session>,
        /// Of the others those that won what is kept here, the oldest first, as many as fit.
        gone: Vec<Session>,
    },
}

/// An entry in a read reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The entry.
    pub id: EntryId,
    /// Hash of the content that matches.
    pub hash: ContentHash,
    /// The content, from the replica that was to answer in full.
    pub full: Option<Content>,
    /// How the entry stands.
    pub status: Status,
}

/// How an entry stands at one replica: what rule 2 of `rdp` looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The contents held.
    pub contents: Vec<ContentHash>,
    /// The epoch.
    pub epoch: Epoch,
    /// For an epoch above 0: the certificate that the one before was released.
    pub released: Option<Certificate>,
    /// The first vote given in the epoch.
    pub first: Option<OpId>,
    /// The highest lock accepted in the epoch, always in full.
    pub lock: Option<Certificate>,
    /// The ballot promised.
    pub promised: Ballot,
    /// Whether it is reserved for another client. A hint.
    pub reserved: bool,
}

/// An answer to "empty ever since?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Since {
    /// Nothing matched from then until now, but for what `moved` removed.
    Yes,
    /// Something matched in between.
    No,
    /// The watch is unknown: too old, or of another connection.
    NoSuchWatch,
}

/// What a replica knows of a removed entry (A5, C1, C3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// The decision.
    Decision(Box<Decision>),
    /// It had the decision and was allowed to forget it.
    Forgotten,
    /// It does not know the entry.
    Unknown,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// A bound of `limits` is reached; the request may be repeated later.
    Limit(String),
    /// The policy, equal at all correct replicas, never allows this.
    Forbidden(String),
    /// No legal message.
    IllFormed(String),
    /// The session was ended.
    SessionEnded,
    /// The replica is not ready yet.
    Starting,
    /// Something in the request was not signed by whom it names.
    Forged(String),
    /// The replica cannot store anything at present; the request may be repeated later.
    NoRoom(String),
    /// The configuration has ended, for good: the next one is in a new cluster file.
    Ended,
    /// Too many sessions of the key are gone and have not ended: end some, then repeat the Take.
    TooManySessions,
}

/// How a replica is, for operators. Numbers count since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the program.
    pub version: String,
    /// Microseconds since its start.
    pub uptime_us: u64,
    /// Present entries.
    pub entries: u64,
    /// Present entries per space.
    pub spaces: Vec<(SpaceName, u64)>,
    /// Removed entries that are remembered.
    pub removed: u64,
    /// Blocked `rd` and `in`.
    pub waiters: u64,
    /// Client sessions connected.
    pub sessions: u64,
    /// Peers connected.
    pub peers: Vec<ReplicaId>,
    /// Requests refused.
    pub refused: u64,
    /// Forged or altered things relayed, by who relayed them.
    pub forged: Vec<(PublicKey, u64)>,
    /// Pairs of contradicting signed statements, by who signed them.
    pub convicted: Vec<(PublicKey, u64)>,
    /// Ed25519 signatures checked.
    pub signatures_checked: u64,
    /// Named counters, for curious operators.
    pub counters: Vec<(String, u64)>,
    /// What keeps it from doing its part, in words.
    pub trouble: Option<String>,
    /// How far it has got in catching up with each peer in reach.
    pub comparing: Vec<Comparing>,
}

/// What replicas tell one another, each on the connection that it dialled itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// I entered this ballot. Synced. Nothing is answered; `Removed` or `Released` if it is over.
    Promise {
        /// The signed [`crate::consensus::promise::PromisePayload`].
        promise: SignedBytes,
        /// The Takes it names, in full.
        takes: Vec<SignedBytes>,
        /// For an epoch above 0: the certificate that the one before was released.
        released: Option<Certificate>,
    },
    /// The owner of a ballot proposes. Answer: `PrepareVote`, else own `Promise`.
    Propose(Proposal),
    /// A vote for a proposal, to the owner of its ballot. Synced.
    PrepareVote(SealedVote),
    /// Lock this. Answer: `CommitVote`, else own `Promise`.
    Lock(LockRequest),
    /// A vote for a lock, to who sent the lock. Synced.
    CommitVote(SealedVote),
    /// Know of this decision.
    Decide(Decision),
    /// I applied these, in order. Numbers are those of records of the sender's log. Synced.
    Applied {
        /// After this number, which was told before: of those in between none is kept.
        after: u64,
        /// Number, entry and decision; numbers rise.
        items: Vec<(u64, EntryId, OpId)>,
    },
    /// An entry that came by a write-back (G8).
    Relay {
        /// The signed entry.
        entry: SignedBytes,
    },
    /// Give me what I lack.
    Fetch(FetchKey),
    /// What was fetched.
    Given(Given),
    /// What was fetched is not here.
    NotHeld(FetchKey),
    /// The entry you speak of is gone.
    Removed {
        /// The entry.
        id: EntryId,
        /// How.
        removal: Removal,
    },
    /// The epoch you speak of was released, or a later one.
    Released {
        /// The entry.
        id: EntryId,
        /// The certificate of the highest epoch released here.
        certificate: Certificate,
    },
    /// Go on with the stream of your decisions from this number; some were lost.
    Resume {
        /// The number.
        next: u64,
    },
    /// I hold this; what do you hold? Answer: `Compared`.
    Compare(Compare),
    /// I hold the same, or this. Synced.
    Compared(Compared),
    /// A client ended this session. Synced.
    EndSession(SignedBytes),
}

/// A proposal with the promises that justify it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The entry.
    pub id: EntryId,
    /// The epoch.
    pub epoch: Epoch,
    /// The ballot, owned by the sender.
    pub ballot: Ballot,
    /// The value.
    pub value: Value,
    /// Exactly `P` promises of distinct replicas for this very ballot.
    pub promises: Vec<SignedBytes>,
    /// The Takes they name, in full.
    pub takes: Vec<SignedBytes>,
    /// For an epoch above 0: the certificate that the one before was released.
    pub released: Option<Certificate>,
}

/// A tuple with its identity, as operations return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The entry.
    pub id: EntryId,
    /// Its tuple.
    pub tuple: Tuple,
}

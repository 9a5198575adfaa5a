//! What the log says, apart from how it is sealed (`frame.rs`): whose it is, how it stands, which
//! files it consists of, and records as bytes.

use std::fmt;

use bts_core::codec;
use bts_core::crypto::hash::Digest;
use bts_core::ids::{ClusterId, Incarnation, Lsn, PublicKey, ReplicaId};
use bts_core::memory::Peers;
use bts_core::replica::Record;
use serde::{Deserialize, Serialize};

use super::frame::{Seal, Tail};

/// What the files of a log begin with. A change of anything here or in `frame.rs`, or of the meaning
/// of a record, is a new one.
pub(super) const FORMAT: &str = "bts log 1";
/// What the files of any version begin with.
pub(super) const ANY_FORMAT: &str = "bts log ";

/// A file with this many bytes takes no more commits.
pub(super) const SEGMENT_BYTES: u64 = if cfg!(test) { 32 << 10 } else { 8 << 20 };

/// Whose store it is. Written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    /// Hash of the configuration.
    pub(crate) configuration: Digest,
    pub(crate) replica: ReplicaId,
    pub(crate) key: PublicKey,
}

/// The identity with the random number of this very store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) identity: Identity,
    pub(super) incarnation: Incarnation,
}

/// What a file of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A segment: written commit by commit.
    Log,
    /// What lived of some segments.
    Kept,
}

/// A file of the log. Its number is drawn by chance whenever it begins anew, so that what it held before
/// cannot be taken for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct FileId {
    pub(super) kind: Kind,
    pub(super) number: u64,
}

/// A file that takes no more commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) file: FileId,
    /// Where it ends, and the seal of its last frame, on which all before depend.
    pub(super) end: u64,
    pub(super) seal: Seal,
    pub(super) records: u64,
    pub(super) first: Lsn,
    pub(super) last: Lsn,
}

/// How the store stands: what all commits together say.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) owner: Owner,
    /// Commits so far, and the seal of the last, on which all before depend.
    pub(super) commits: u64,
    pub(super) seal: Seal,
    /// The last record.
    pub(super) last: Lsn,
    /// Whether enough peers remember this store.
    pub(super) confirmed: bool,
    pub(super) peers: Peers,
    /// The files that the log consists of, in the order of their records, before the one that is written.
    pub(super) parts: Vec<Part>,
    /// The one that is written.
    pub(super) tail: Tail,
}

/// What a commit says besides its records. `None`: as before. The first commit in a file says all, so
/// that no file is needed to understand a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changes {
    pub(super) last: Lsn,
    pub(super) confirmed: bool,
    pub(super) owner: Option<Owner>,
    pub(super) parts: Option<Vec<Part>>,
    pub(super) peers: Option<Peers>,
    /// This is the last commit of its file; the next is in this one.
    pub(super) turn: Option<FileId>,
}

impl FileId {
    /// A file that was not there before.
    pub(super) fn draw(kind: Kind) -> Self {
        let number = rand::random();
        Self { kind, number }
    }

    /// The file of this name, if it is one of the log.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let (kind, number) = match name.strip_prefix("log-") {
            Some(number) => (Kind::Log, number),
            None => (Kind::Kept, name.strip_prefix("kept-")?),
        };
        let number = u64::from_str_radix(number, 16).ok()?;
        let file = Self { kind, number };
        (file.to_string() == name).then_some(file)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Log => "log",
            Kind::Kept => "kept",
        };
        write!(f, "{kind}-{:016x}", self.number)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            configuration,
            replica,
            key,
        } = self;
        write!(
            f,
            "replica {replica} (key {key}) of cluster {cluster}, configuration {configuration}"
        )
    }
}

/// Adds a record to the body of a frame.
pub(super) fn push_record(body: &mut Vec<u8>, lsn: u64, record: &[u8]) {
    let length = u32::try_from(record.len()).expect("a record is shorter than 4 GiB");
    body.extend(lsn.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(record);
}

/// Takes the next record from the records of a frame. `None`: they are cut off.
pub(super) fn split_record(rest: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (lsn, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (record, rest) = rest.split_at_checked(length)?;
    Some((u64::from_le_bytes(*lsn), record, rest))
}

/// The body of a frame as its records and what else it says.
pub(super) fn split_body(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// A record.
pub(super) fn decode_record(bytes: &[u8]) -> Result<Record, codec::DecodeError> {
    codec::decode_peer(bytes)
}

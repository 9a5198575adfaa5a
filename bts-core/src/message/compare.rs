//! Comparing what two replicas hold, slice by slice.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::crypto::hash::Digest;
use crate::ids::{ContentHash, EntryId, ReplicaId};
use crate::limits::COMPARED_ITEMS_MAX;

/// I hold this in a slice of all ids: after `from`, up to and including `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// After which entry; `None` from the first one.
    pub from: Option<EntryId>,
    /// Up to which entry; `None` to the last one.
    pub to: Option<EntryId>,
    /// How many contents.
    pub count: u64,
    /// Hash of them all.
    pub digest: Digest,
}

/// The answer to a [`Compare`]. Synced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The slice asked about.
    pub from: Option<EntryId>,
    /// Where the answer ends: where the slice does, or earlier if that would be too much.
    pub upto: Option<EntryId>,
    /// What is held here in order, entries and then contents of one entry; `None` if it is the same.
    #[serde(deserialize_with = "codec::at_most_if_any::<COMPARED_ITEMS_MAX, _, _>")]
    pub items: Option<Vec<(EntryId, ContentHash)>>,
}

/// How far a replica has got in comparing what it holds with a peer in reach, as operators are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparing {
    /// The peer.
    pub peer: ReplicaId,
    /// Whether it has had all that the peer has since the peer came into reach, and asked about all that the
    /// peer has not.
    pub is_caught_up: bool,
    /// Own contents when the sweep under way began.
    pub began_with: u64,
    /// Own contents that it has gone over.
    pub passed: u64,
    /// Contents that this sweep has brought.
    pub fetched: u64,
    /// Contents that are being fetched from the peer.
    pub fetching: u64,
    /// Own entries that the peer did not list, and will be asked about.
    pub doubted: u64,
    /// When a sweep with this peer last ended that left nothing out, in microseconds since the start.
    pub complete_at_us: Option<u64>,
}

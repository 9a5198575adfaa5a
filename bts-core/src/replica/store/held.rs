//! A present content. It is kept once, packed, and shared by the order of ids and the indices of its
//! space, which hold nothing but pointers: the memory of a replica that is full of entries is here.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::ring_of;
use crate::codec;
use crate::content::{Access, EntryPayload, HeldContent, Source};
use crate::crypto::packed::PackedEntry;
use crate::crypto::verified::Verified;
use crate::ids::{ContentHash, EntryId, IdParts, Lsn, PublicKey, SpaceName};
use crate::replica::index::{Place, Placed};
use crate::replica::ranges::WriterSession;
use crate::tuple::Tuple;

/// A present content.
#[derive(Debug)]
pub(in crate::replica) struct Held {
    /// The first bytes of the place of its entry on the ring; the others are wanted seldom.
    pub(super) ring_head: u64,
    /// Place among the contents of its entry, in the order in which they came.
    pub(super) nth: u32,
    /// Its record; a put stands in that of the decision.
    pub(super) logged: Option<Lsn>,
    pub(super) packed: Packed,
}

#[derive(Debug)]
pub(super) enum Packed {
    Entry(PackedEntry),
    /// The decision that proves it is far larger.
    Put(Box<HeldContent>),
}

/// An entry that was packed before it comes into a store: for a replay others can do that.
#[derive(Debug)]
pub(in crate::replica) struct PackedRoot {
    pub(super) entry: PackedEntry,
    pub(super) ring_head: u64,
}

impl PackedRoot {
    /// Packs an entry of this session.
    pub(in crate::replica) fn pack(
        entry: &Verified<EntryPayload>,
        session: Arc<WriterSession>,
    ) -> Self {
        let encoded = codec::encode(&entry.id);
        Self {
            ring_head: ring_of(&encoded).head(),
            entry: PackedEntry::pack(entry, session, &encoded),
        }
    }

    pub(in crate::replica) fn id(&self) -> EntryId {
        self.entry.id()
    }
}

impl Held {
    /// The content as handlers work with it.
    pub(in crate::replica) fn content(&self) -> HeldContent {
        match &self.packed {
            Packed::Entry(entry) => HeldContent::from_entry(entry.unpack()),
            Packed::Put(content) => HeldContent::clone(content),
        }
    }

    pub(in crate::replica) fn id(&self) -> EntryId {
        match &self.packed {
            Packed::Entry(entry) => entry.id(),
            Packed::Put(content) => content.id.clone(),
        }
    }

    pub(in crate::replica) fn hash(&self) -> ContentHash {
        match &self.packed {
            Packed::Entry(entry) => entry.hash(),
            Packed::Put(content) => content.hash,
        }
    }

    /// Whom it is charged to: its writer, or the taker whose Take put it.
    pub(super) fn owner(&self) -> PublicKey {
        match &self.packed {
            Packed::Entry(entry) => entry.session().writer,
            Packed::Put(content) => match &content.source {
                Source::Entry(entry) => entry.signer(),
                Source::Put(decided) => decided.take().client,
            },
        }
    }

    /// Its tuple, and who may read and take it: what readers ask of most that they come across.
    pub(in crate::replica) fn body(&self) -> (Tuple, Option<Access>) {
        match &self.packed {
            Packed::Entry(entry) => entry.body(),
            Packed::Put(content) => (content.tuple.clone(), content.access.clone()),
        }
    }

    pub(super) fn space(&self) -> &SpaceName {
        match &self.packed {
            Packed::Entry(entry) => &entry.session().space,
            Packed::Put(content) => content.id.space(),
        }
    }

    pub(super) fn is_of(&self, id: &EntryId) -> bool {
        self.id_parts() == id.parts()
    }
}

impl Placed for Held {
    fn place(&self) -> Place {
        (ring_of(&codec::encode(&self.id())), self.hash())
    }

    fn head(&self) -> u64 {
        self.ring_head
    }

    fn tuple(&self) -> Tuple {
        self.body().0
    }
}

/// Where a content stands among all.
pub(super) trait IdKey {
    fn id_parts(&self) -> IdParts<'_>;
    fn nth(&self) -> u32;
}

impl IdKey for Held {
    fn id_parts(&self) -> IdParts<'_> {
        match &self.packed {
            Packed::Entry(entry) => entry.id_parts(),
            Packed::Put(content) => content.id.parts(),
        }
    }

    fn nth(&self) -> u32 {
        self.nth
    }
}

/// A place to look for.
pub(super) struct At<'a>(pub(super) IdParts<'a>, pub(super) u32);

impl IdKey for At<'_> {
    fn id_parts(&self) -> IdParts<'_> {
        self.0
    }

    fn nth(&self) -> u32 {
        self.1
    }
}

impl Ord for dyn IdKey + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_id = self.id_parts().cmp(&other.id_parts());
        by_id.then_with(|| self.nth().cmp(&other.nth()))
    }
}

impl PartialOrd for dyn IdKey + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn IdKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn IdKey + '_ {}

/// A content in the order of ids.
#[derive(Debug)]
pub(super) struct ById(pub(super) Arc<Held>);

impl<'a> Borrow<dyn IdKey + 'a> for ById {
    fn borrow(&self) -> &(dyn IdKey + 'a) {
        &*self.0
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, other): (&dyn IdKey, &dyn IdKey) = (&*self.0, &*other.0);
        one.cmp(other)
    }
}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ById {}

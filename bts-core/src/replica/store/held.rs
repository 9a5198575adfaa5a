//! Present contents. Each is kept once, packed, and shared by the order of ids and the indices of its
//! space, which hold nothing but pointers: the memory of a replica that is full of entries is here.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::ring_of;
use crate::codec;
use crate::content::{HeldContent, Source};
use crate::crypto::hash::Digest;
use crate::crypto::packed::PackedEntry;
use crate::ids::{ContentHash, EntryId, IdParts, Lsn, PublicKey, SpaceName};
use crate::replica::index::{Place, Placed, SpaceIndex};
use crate::replica::ranges::WriterSession;
use crate::tuple::Tuple;

/// A present content.
#[derive(Debug)]
pub(in crate::replica) struct Held {
    /// Place of its entry on the ring.
    ring: Digest,
    /// Place among the contents of its entry, in the order in which they came.
    nth: u32,
    /// Its record; a put stands in that of the decision.
    pub(super) logged: Option<Lsn>,
    packed: Packed,
}

#[derive(Debug)]
enum Packed {
    Entry(PackedEntry),
    /// The decision that proves it is far larger.
    Put(Box<HeldContent>),
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

    fn space(&self) -> &SpaceName {
        match &self.packed {
            Packed::Entry(entry) => &entry.session().space,
            Packed::Put(content) => content.id.space(),
        }
    }

    fn is_of(&self, id: &EntryId) -> bool {
        self.id_parts() == id.parts()
    }
}

impl Placed for Held {
    fn place(&self) -> Place {
        (self.ring, self.hash())
    }

    fn tuple(&self) -> Tuple {
        match &self.packed {
            Packed::Entry(entry) => entry.tuple(),
            Packed::Put(content) => content.tuple.clone(),
        }
    }
}

/// Where a content stands among all.
trait IdKey {
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
struct At<'a>(&'a EntryId, u32);

impl IdKey for At<'_> {
    fn id_parts(&self) -> IdParts<'_> {
        self.0.parts()
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
struct ById(Arc<Held>);

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

/// All present contents.
#[derive(Debug, Default)]
pub(super) struct Present {
    by_id: BTreeSet<ById>,
    spaces: BTreeMap<SpaceName, SpaceIndex<Held>>,
    entries: u64,
    /// While a log is replayed nobody looks for anything: the indices are made at its end, from all
    /// contents at once, which takes a fraction of the time.
    is_loading: bool,
}

impl Present {
    /// Adds a content, and returns it, unless it was there.
    pub(super) fn insert(
        &mut self,
        content: &HeldContent,
        logged: Option<Lsn>,
    ) -> Option<Arc<Held>> {
        let id = &content.id;
        let at = At(id, u32::MAX);
        let at: &dyn IdKey = &at;
        let upto = (Bound::Unbounded, Bound::Included(at));
        let before = self.by_id.range::<dyn IdKey, _>(upto).next_back();
        let before = before.map(|ById(held)| &**held);
        let last = before.filter(|held| held.is_of(id));
        if last.is_some() && self.find(id, &content.hash).is_some() {
            return None;
        }
        let encoded = codec::encode(id);
        let held = Arc::new(Held {
            ring: last.map_or_else(|| ring_of(&encoded), |held| held.ring),
            nth: last.map_or(0, |held| held.nth + 1),
            logged,
            packed: match &content.source {
                Source::Entry(entry) => {
                    let session = self.session_of(id, before);
                    Packed::Entry(PackedEntry::pack(entry, session, &encoded))
                }
                Source::Put(_) => Packed::Put(Box::new(content.clone())),
            },
        });
        self.entries += u64::from(last.is_none());
        if !self.spaces.contains_key(id.space()) {
            self.spaces
                .insert(id.space().clone(), SpaceIndex::default());
        }
        if !self.is_loading {
            let index = self.spaces.get_mut(id.space());
            index.expect("made above").insert(&held, &content.tuple);
        }
        self.by_id.insert(ById(Arc::clone(&held)));
        Some(held)
    }

    /// A log is replayed from here on.
    pub(super) fn begin_loading(&mut self) {
        self.is_loading = true;
    }

    /// It was replayed.
    pub(super) fn end_loading(&mut self) {
        self.is_loading = false;
        let all: Vec<_> = self.by_id.iter().map(|ById(held)| held).collect();
        // Ids are ordered by their space first.
        for of_space in all.chunk_by(|one, next| one.space() == next.space()) {
            let index = of_space
                .first()
                .and_then(|held| self.spaces.get_mut(held.space()));
            index.expect("made when the content came").fill(of_space);
        }
    }

    /// The session of a root, after the entry that is before it in order. Entries of one session stand
    /// side by side, and share it.
    fn session_of(&self, id: &EntryId, before: Option<&Held>) -> Arc<WriterSession> {
        let shared = |held: &Held| match &held.packed {
            Packed::Entry(entry) if entry.session().seq_of(id).is_some() => {
                Some(Arc::clone(entry.session()))
            }
            Packed::Entry(_) | Packed::Put(_) => None,
        };
        let at = At(id, u32::MAX);
        let at: &dyn IdKey = &at;
        let from = (Bound::Excluded(at), Bound::Unbounded);
        let after = || self.by_id.range::<dyn IdKey, _>(from).next();
        let found = before.and_then(shared);
        let found = found.or_else(|| after().and_then(|ById(held)| shared(held)));
        found.unwrap_or_else(|| {
            let (mut session, _) = WriterSession::of(id).expect("what is signed is a root");
            if let Some((space, _)) = self.spaces.get_key_value(&session.space) {
                session.space = space.clone();
            }
            Arc::new(session)
        })
    }

    /// Removes all contents of an entry, and returns them in the order in which they came.
    pub(super) fn remove(&mut self, id: &EntryId) -> Vec<Arc<Held>> {
        self.remove_if(id, |_| true)
    }

    /// Removes some contents of an entry.
    pub(super) fn remove_if(
        &mut self,
        id: &EntryId,
        goes: impl Fn(&Held) -> bool,
    ) -> Vec<Arc<Held>> {
        let gone: Vec<_> = self.shared(id).filter(|held| goes(held)).cloned().collect();
        for held in &gone {
            let at: &dyn IdKey = &**held;
            self.by_id.remove(at);
            if !self.is_loading {
                let index = self.spaces.get_mut(id.space());
                index.expect("a content is indexed").remove(held);
            }
        }
        if !gone.is_empty() && !self.has(id) {
            self.entries -= 1;
        }
        gone
    }

    /// The contents of an entry, in the order in which they came.
    pub(super) fn of(&self, id: &EntryId) -> impl DoubleEndedIterator<Item = &Held> {
        self.shared(id).map(|held| &**held)
    }

    fn shared(&self, id: &EntryId) -> impl DoubleEndedIterator<Item = &Arc<Held>> {
        let (first, last) = (At(id, 0), At(id, u32::MAX));
        let (first, last): (&dyn IdKey, &dyn IdKey) = (&first, &last);
        let range = (Bound::Included(first), Bound::Included(last));
        self.by_id
            .range::<dyn IdKey, _>(range)
            .map(|ById(held)| held)
    }

    pub(super) fn find(&self, id: &EntryId, hash: &ContentHash) -> Option<&Held> {
        self.of(id).find(|held| held.hash() == *hash)
    }

    pub(super) fn has(&self, id: &EntryId) -> bool {
        self.of(id).next().is_some()
    }

    /// The entries after this one, in order, each with its contents.
    pub(super) fn after(
        &self,
        after: Option<&EntryId>,
    ) -> impl Iterator<Item = (EntryId, Vec<&Held>)> {
        let at = after.map(|id| At(id, u32::MAX));
        let from = at.as_ref().map_or(Bound::Unbounded, |at| {
            let at: &dyn IdKey = at;
            Bound::Excluded(at)
        });
        let all = self.by_id.range::<dyn IdKey, _>((from, Bound::Unbounded));
        let mut all = all.map(|ById(held)| &**held).peekable();
        std::iter::from_fn(move || {
            let first = all.next()?;
            let id = first.id();
            let mut contents = vec![first];
            while let Some(next) = all.next_if(|next| next.is_of(&id)) {
                contents.push(next);
            }
            Some((id, contents))
        })
    }

    /// The entries from one to another.
    pub(super) fn within(&self, first: &EntryId, last: &EntryId) -> impl Iterator<Item = EntryId> {
        let (first, last) = (At(first, 0), At(last, u32::MAX));
        let (first, last): (&dyn IdKey, &dyn IdKey) = (&first, &last);
        let range = (Bound::Included(first), Bound::Included(last));
        self.by_id
            .range::<dyn IdKey, _>(range)
            .map(|ById(held)| held.id())
    }

    /// Entries with a content.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// What matches in a space.
    pub(super) fn index_of(&mut self, space: &SpaceName) -> Option<&mut SpaceIndex<Held>> {
        self.spaces.get_mut(space)
    }

    /// Contents in each space.
    pub(super) fn space_sizes(&self) -> impl Iterator<Item = (&SpaceName, usize)> {
        let sizes = self.spaces.iter().map(|(name, index)| (name, index.len()));
        sizes.filter(|(_, len)| *len > 0)
    }
}

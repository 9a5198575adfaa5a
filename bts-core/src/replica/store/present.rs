//! All present contents, found by the id of their entry and in the order of ids; and, per space, by what
//! matches a template.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use super::held::{At, ById, Held, IdKey, Packed, PackedRoot};
use super::ring_of;
use crate::codec;
use crate::content::{HeldContent, Source};
use crate::ids::{ContentHash, EntryId, IdParts, Lsn, Seq, SpaceName};
use crate::replica::index::SpaceIndex;
use crate::replica::ranges::WriterSession;

/// All present contents.
#[derive(Debug, Default)]
pub(super) struct Present {
    /// The first content of each entry that was written, by session and counter: to find one it takes no
    /// look at others.
    sessions: BTreeMap<Arc<WriterSession>, Roots>,
    /// Everything else: puts, and further contents, which convict their writers.
    others: BTreeSet<ById>,
    spaces: BTreeMap<SpaceName, SpaceIndex<Held>>,
    entries: u64,
    /// While a log is replayed nobody looks for anything: the indices are made at its end, from all
    /// contents at once, which takes a fraction of the time.
    is_loading: bool,
}

/// The entries of one session. Many a program writes one and ends.
#[derive(Debug)]
enum Roots {
    One(Seq, Arc<Held>),
    Many(BTreeMap<Seq, Arc<Held>>),
}

impl Roots {
    fn get(&self, seq: Seq) -> Option<&Arc<Held>> {
        match self {
            Self::One(one, held) => (*one == seq).then_some(held),
            Self::Many(all) => all.get(&seq),
        }
    }

    fn insert(&mut self, seq: Seq, held: Arc<Held>) {
        if let Self::One(one, first) = self {
            *self = Self::Many(BTreeMap::from([(*one, Arc::clone(first))]));
        }
        if let Self::Many(all) = self {
            all.insert(seq, held);
        }
    }

    /// Removes one; true if none is left.
    fn remove(&mut self, seq: Seq) -> bool {
        match self {
            Self::One(one, _) => *one == seq,
            Self::Many(all) => {
                all.remove(&seq);
                all.is_empty()
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Held>> {
        self.range(Seq(0)..=Seq(u64::MAX))
    }

    /// Those with these counters, in order.
    fn range(&self, seqs: RangeInclusive<Seq>) -> impl Iterator<Item = &Arc<Held>> {
        let (one, many) = match self {
            Self::One(seq, held) => (seqs.contains(seq).then_some(held), None),
            Self::Many(all) => (None, (!seqs.is_empty()).then(|| all.range(seqs))),
        };
        let many = many.into_iter().flatten().map(|(_, held)| held);
        one.into_iter().chain(many)
    }
}

impl Present {
    /// Adds a content, and returns it, unless it was there.
    pub(super) fn insert(
        &mut self,
        content: &HeldContent,
        logged: Option<Lsn>,
    ) -> Option<Arc<Held>> {
        let id = &content.id;
        let nth = next_of(self.shared(id), content.hash)?;
        let (ring_head, packed) = match &content.source {
            Source::Entry(entry) => {
                let root = PackedRoot::pack(entry, self.session_of(id));
                (root.ring_head, Packed::Entry(root.entry))
            }
            Source::Put(_) => {
                let ring = ring_of(&codec::encode(id));
                (ring.head(), Packed::Put(Box::new(content.clone())))
            }
        };
        let held = Arc::new(Held {
            ring_head,
            nth,
            logged,
            packed,
        });
        self.place(Arc::clone(&held));
        if !self.is_loading {
            let index = self.spaces.get_mut(id.space());
            index.expect("it is placed").insert(&held, &content.tuple);
        }
        Some(held)
    }

    /// Adds an entry that was packed, while a log is replayed; and returns it, unless it was there.
    pub(super) fn load(&mut self, root: PackedRoot, logged: Lsn) -> Option<Arc<Held>> {
        assert!(self.is_loading, "nobody made an index of its tuple");
        let PackedRoot {
            mut entry,
            ring_head,
        } = root;
        let all = self.all_of(entry.id_parts(), Some((entry.session(), entry.seq())));
        let nth = next_of(all, entry.hash())?;
        let session = match self.sessions.get_key_value(entry.session()) {
            Some((known, _)) => Arc::clone(known),
            None => self.session_of(&entry.id()),
        };
        entry.share_session(session);
        let held = Arc::new(Held {
            ring_head,
            nth,
            logged: Some(logged),
            packed: Packed::Entry(entry),
        });
        self.place(Arc::clone(&held));
        Some(held)
    }

    fn place(&mut self, held: Arc<Held>) {
        self.entries += u64::from(held.nth == 0);
        if !self.spaces.contains_key(held.space()) {
            self.spaces
                .insert(held.space().clone(), SpaceIndex::default());
        }
        let (Packed::Entry(entry), 0) = (&held.packed, held.nth) else {
            self.others.insert(ById(held));
            return;
        };
        let seq = entry.seq();
        match self.sessions.get_mut(entry.session()) {
            Some(roots) => roots.insert(seq, held),
            None => {
                let session = Arc::clone(entry.session());
                self.sessions.insert(session, Roots::One(seq, held));
            }
        }
    }

    /// A log is replayed from here on.
    pub(super) fn begin_loading(&mut self) {
        self.is_loading = true;
    }

    /// It was replayed.
    pub(super) fn end_loading(&mut self) {
        self.is_loading = false;
        let roots = self.sessions.values().flat_map(Roots::all);
        let all: Vec<_> = ordered(roots, self.others.iter()).collect();
        // Ids are ordered by their space first.
        for of_space in all.chunk_by(|one, next| one.space() == next.space()) {
            let first = of_space.first();
            let index = first.and_then(|held| self.spaces.get_mut(held.space()));
            index.expect("made when the content came").fill(of_space);
        }
    }

    /// The session of a root, shared by all that is held of it, and its space by all of that.
    fn session_of(&self, id: &EntryId) -> Arc<WriterSession> {
        let (mut session, _) = WriterSession::of(id).expect("what is signed is a root");
        if let Some((known, _)) = self.sessions.get_key_value(&session) {
            return Arc::clone(known);
        }
        if let Some((space, _)) = self.spaces.get_key_value(&session.space) {
            session.space = space.clone();
        }
        Arc::new(session)
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
        let (gone, stays): (Vec<_>, Vec<_>) = self.shared(id).cloned().partition(|held| goes(held));
        for held in &gone {
            self.unplace(held);
            if !self.is_loading {
                let index = self.spaces.get_mut(id.space());
                index.expect("a content is indexed").remove(held);
            }
        }
        if !gone.is_empty() && stays.is_empty() {
            self.entries -= 1;
        }
        gone
    }

    fn unplace(&mut self, held: &Arc<Held>) {
        let (Packed::Entry(entry), 0) = (&held.packed, held.nth) else {
            let at: &dyn IdKey = &**held;
            self.others.remove(at);
            return;
        };
        let roots = self.sessions.get_mut(entry.session());
        if roots.is_some_and(|roots| roots.remove(entry.seq())) {
            self.sessions.remove(entry.session());
        }
    }

    /// The contents of an entry, in the order in which they came.
    pub(super) fn of(&self, id: &EntryId) -> impl DoubleEndedIterator<Item = &Held> {
        self.shared(id).map(|held| &**held)
    }

    fn shared(&self, id: &EntryId) -> impl DoubleEndedIterator<Item = &Arc<Held>> {
        let root = WriterSession::of(id);
        let root = root.as_ref().map(|(session, seq)| (session, *seq));
        self.all_of(id.parts(), root)
    }

    /// The contents of the entry whose id is made of these parts, which is this one of a session if it is a root.
    fn all_of(
        &self,
        id: IdParts<'_>,
        root: Option<(&WriterSession, Seq)>,
    ) -> impl DoubleEndedIterator<Item = &Arc<Held>> + use<'_> {
        let root = root.and_then(|(session, seq)| self.sessions.get(session)?.get(seq));
        let (first, last) = (At(id, 0), At(id, u32::MAX));
        let (first, last): (&dyn IdKey, &dyn IdKey) = (&first, &last);
        let range = (Bound::Included(first), Bound::Included(last));
        let others = self.others.range::<dyn IdKey, _>(range);
        root.into_iter().chain(others.map(|ById(held)| held))
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
        let at = after.map(|id| At(id.parts(), u32::MAX));
        let from = at.as_ref().map_or(Bound::Unbounded, |at| {
            let at: &dyn IdKey = at;
            Bound::Excluded(at)
        });
        let others = self.others.range::<dyn IdKey, _>((from, Bound::Unbounded));
        // What descends from a root comes before the next one.
        let root = after.and_then(|id| WriterSession::of(&id.root_id()));
        let rest = root.as_ref().and_then(|(session, seq)| {
            let next = Seq(seq.0.checked_add(1)?);
            Some(self.sessions.get(session)?.range(next..=Seq(u64::MAX)))
        });
        let sessions = match &root {
            Some((session, _)) => self
                .sessions
                .range::<WriterSession, _>((Bound::Excluded(session), Bound::Unbounded)),
            None => self.sessions.range::<WriterSession, _>(..),
        };
        let later = sessions.flat_map(|(_, roots)| roots.all());
        let roots = rest.into_iter().flatten().chain(later);
        let mut all = ordered(roots, others).map(|held| &**held).peekable();
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

    /// Which roots of a session are present, from one counter to another.
    pub(super) fn roots_within(
        &self,
        session: &WriterSession,
        seqs: RangeInclusive<Seq>,
    ) -> impl Iterator<Item = EntryId> {
        let roots = self.sessions.get(session).into_iter();
        let roots = roots.flat_map(move |roots| roots.range(seqs.clone()));
        roots.map(|held| held.id())
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

/// Which of the contents of an entry one with this hash will be; `None` if it is one of them.
fn next_of<'a>(contents: impl Iterator<Item = &'a Arc<Held>>, hash: ContentHash) -> Option<u32> {
    let mut next = 0;
    for held in contents {
        if held.hash() == hash {
            return None;
        }
        next = held.nth + 1;
    }
    Some(next)
}

/// Two parts of the contents, each in the order of ids, as one.
fn ordered<'a>(
    roots: impl Iterator<Item = &'a Arc<Held>>,
    others: impl Iterator<Item = &'a ById>,
) -> impl Iterator<Item = &'a Arc<Held>> {
    let mut roots = roots.peekable();
    let mut others = others.map(|ById(held)| held).peekable();
    std::iter::from_fn(move || {
        let is_other_first = match (roots.peek(), others.peek()) {
            (Some(root), Some(other)) => {
                let (root, other): (&dyn IdKey, &dyn IdKey) = (&***root, &***other);
                other < root
            }
            (None, Some(_)) => true,
            (_, None) => false,
        };
        match is_other_first {
            true => others.next(),
            false => roots.next(),
        }
    })
}

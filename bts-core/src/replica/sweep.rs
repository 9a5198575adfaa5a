//! How far comparing with each peer has got: plain state, moved on by `on_compare.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::store::Store;
use crate::codec;
use crate::crypto::hash::{Digest, Domain, Hasher};
use crate::ids::{ContentHash, EntryId, ReplicaId};
use crate::limits::{COMPARED_CONTENTS_MAX, COMPARED_ITEMS_MAX};
use crate::message::{Compared, Comparing};
use crate::time::{Span, Time};

/// Least time between two slices asked of a peer, and how fast it may spend what it may ask at once.
pub(super) const SLICE_EVERY: Span = Span::from_millis(5);
/// Slices that a peer may ask about at once.
const SLICES_AT_ONCE: u64 = 64;
/// What a peer is first asked whether it was removed, and at most at once.
const DOUBTS_FIRST: usize = 16;
pub(super) const DOUBTS_MAX: usize = COMPARED_ITEMS_MAX;

/// A content by its entry and hash.
pub(super) type Item = (EntryId, ContentHash);

/// Comparing with all peers.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    pub(super) of: BTreeMap<ReplicaId, Sweep>,
    /// Whose turn it was last in the background.
    pub(super) last: Option<ReplicaId>,
    /// Peers that just answered something.
    pub(super) answered: BTreeSet<ReplicaId>,
}

/// Comparing with one peer: from the first entry to the last, and again from the first.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Whether slices follow each other at once.
    pub(super) hurried: bool,
    /// Whether another hurried sweep is to follow.
    pub(super) again: bool,
    /// Hurried sweeps since the peer connected that brought something, but not all.
    pub(super) repeats: u32,
    /// Compared up to here; `None` before the first slice.
    pub(super) after: Option<EntryId>,
    /// Own contents when the sweep began.
    pub(super) began_with: u64,
    /// Own contents among what is compared.
    pub(super) passed: u64,
    /// Contents that the peer listed in this sweep and gave, and did not give.
    pub(super) got: u64,
    pub(super) lacked: u64,
    /// Slices in a row of which the peer gave nothing that it listed.
    pub(super) barren: u32,
    pub(super) stage: Stage,
    /// When the stage is to be looked at again.
    pub(super) due: Time,
    /// When the last slice was asked about.
    pub(super) asked_at: Time,
    pub(super) doubts: Doubts,
    /// When the last sweep since the peer connected ended that left nothing out.
    pub(super) complete_at: Option<Time>,
    /// Whether nothing is left of what the peer had, or lacked, when it connected.
    pub(super) is_caught_up: bool,
    /// Until when the peer has spent what it may ask.
    spent_until: Time,
}

/// What is awaited of the peer.
#[derive(Debug, Default)]
pub(super) enum Stage {
    #[default]
    Nothing,
    /// The answer about the slice up to `to`.
    Answer { to: Option<EntryId>, tries: u32 },
    /// Contents of the slice up to `upto` that are lacking here.
    Contents(Fetching),
}

/// Contents that are lacking.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    pub(super) upto: Option<EntryId>,
    pub(super) waiting: VecDeque<Item>,
    pub(super) asked: BTreeSet<Item>,
    pub(super) got: u64,
    /// Not given.
    pub(super) lacked: u64,
    pub(super) tries: u32,
    /// Since when all of it is left to other peers.
    pub(super) waits_since: Option<Time>,
}

/// Entries held here that the peer did not list: maybe they were removed.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    waiting: VecDeque<EntryId>,
    asked: Vec<EntryId>,
    at_once: usize,
}

impl Sweep {
    /// Begins at the first entry.
    pub(super) fn rewind(&mut self) {
        self.after = None;
        self.passed = 0;
        self.got = 0;
        self.lacked = 0;
        self.barren = 0;
    }

    /// The connection to the peer ended.
    pub(super) fn interrupt(&mut self) {
        self.stage = Stage::Nothing;
        self.doubts = Doubts::default();
    }

    /// True if this content is being fetched from the peer.
    pub(super) fn expects(&self, id: &EntryId) -> bool {
        let least = (id.clone(), ContentHash(Digest([0; 32])));
        match &self.stage {
            Stage::Contents(fetching) => {
                let next = fetching.asked.range(least..).next();
                next.is_some_and(|(of, _)| of == id)
            }
            Stage::Nothing | Stage::Answer { .. } => false,
        }
    }

    /// True if the peer is asked for this content.
    pub(super) fn asks_for(&self, item: &Item) -> bool {
        matches!(&self.stage, Stage::Contents(fetching) if fetching.asked.contains(item))
    }

    /// True if all that is lacking is being fetched from other peers.
    pub(super) fn waits_for_others(&self) -> bool {
        matches!(&self.stage, Stage::Contents(fetching)
            if fetching.asked.is_empty() && !fetching.waiting.is_empty())
    }

    /// Whether the peer may ask about one more slice.
    pub(super) fn may_ask(&mut self, now: Time) -> bool {
        let limit = now + SLICE_EVERY.times(SLICES_AT_ONCE);
        let may = self.spent_until <= limit;
        if may {
            self.spent_until = self.spent_until.max(now) + SLICE_EVERY;
        }
        may
    }

    /// A sweep ended, or what it left in doubt was asked about.
    pub(super) fn note_caught_up(&mut self) {
        let is_complete = !self.hurried && self.complete_at.is_some();
        self.is_caught_up |= is_complete && self.doubts.is_empty();
    }

    /// What operators are told.
    pub(super) fn report(&self, peer: ReplicaId) -> Comparing {
        let (got, fetching) = match &self.stage {
            Stage::Contents(now) => (now.got, now.waiting.len() + now.asked.len()),
            Stage::Nothing | Stage::Answer { .. } => (0, 0),
        };
        Comparing {
            peer,
            is_caught_up: self.is_caught_up,
            began_with: self.began_with,
            passed: self.passed,
            fetched: self.got + got,
            fetching: fetching as u64,
            doubted: self.doubts.len() as u64,
            complete_at_us: self.complete_at.map(Time::as_micros),
        }
    }
}

impl Doubts {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    fn len(&self) -> usize {
        self.waiting.len() + self.asked.len()
    }

    /// Adds entries, as many as there is room for.
    pub(super) fn add(&mut self, ids: Vec<EntryId>) {
        let room = DOUBTS_MAX.saturating_sub(self.waiting.len());
        self.waiting.extend(ids.into_iter().take(room));
    }

    /// What to ask about next. If nothing that was asked about last was removed, the peer may just
    /// lack much, and the rest is left to later sweeps; else more is asked about at once.
    pub(super) fn next(&mut self, is_held: impl Fn(&EntryId) -> bool) -> Vec<EntryId> {
        let asked = std::mem::take(&mut self.asked);
        match (asked.is_empty(), asked.iter().all(&is_held)) {
            (true, _) => self.at_once = self.at_once.max(DOUBTS_FIRST),
            (false, true) => {
                self.at_once = DOUBTS_FIRST;
                self.waiting.clear();
                return Vec::new();
            }
            (false, false) => self.at_once = (2 * self.at_once).min(DOUBTS_MAX),
        }
        self.waiting.retain(is_held);
        let count = self.at_once.min(self.waiting.len());
        self.asked = self.waiting.drain(..count).collect();
        self.asked.clone()
    }
}

/// In which order to ask a peer for what is lacking. All peers list the same to a replica that was away, so it
/// begins with another share at each, and goes on from the ends of the others' shares: these come
/// twice only as far as a peer is slow.
pub(super) fn in_turns(
    lacking: impl Iterator<Item = Item>,
    turn: usize,
    turns: usize,
) -> VecDeque<Item> {
    let is_own = |(_, hash): &Item| {
        let share = usize::from(hash.0.0[0]).checked_rem(turns);
        share.is_none_or(|share| share == turn)
    };
    let (mut own, others): (Vec<_>, Vec<_>) = lacking.partition(is_own);
    own.extend(others.into_iter().rev());
    own.into()
}

/// What is held of a part of all ids.
pub(super) struct Slice {
    pub(super) items: Vec<(EntryId, ContentHash)>,
    /// Where it ends.
    pub(super) upto: Option<EntryId>,
}

impl Slice {
    /// The slice after `after` and up to `to`, or shorter if that is too much.
    pub(super) fn of(store: &Store, after: Option<&EntryId>, to: Option<&EntryId>) -> Self {
        let mut items: Vec<(EntryId, ContentHash)> = Vec::new();
        for (id, contents) in store.live_after(after) {
            if to.is_some_and(|to| id > *to) {
                break;
            }
            let mut hashes: Vec<_> = contents.iter().map(|held| held.hash()).collect();
            hashes.sort_unstable();
            hashes.truncate(COMPARED_CONTENTS_MAX);
            if items.len() + hashes.len() > COMPARED_ITEMS_MAX {
                let upto = items.last().map(|(id, _)| id.clone());
                return Self { items, upto };
            }
            items.extend(hashes.into_iter().map(|hash| (id.clone(), hash)));
        }
        let upto = to.cloned();
        Self { items, upto }
    }

    pub(super) fn digest(&self) -> Digest {
        let hasher = Hasher::new(Domain::Slice);
        let items = self.items.iter();
        items
            .fold(hasher, |hasher, (id, hash)| {
                hasher.part(&codec::encode(id)).part(&hash.0.0)
            })
            .finish()
    }
}

/// True if this answers the question about `after` to `to`: in order, within it, and cut short only
/// where it is full, or a list could go on for ever.
pub(super) fn answers(answer: &Compared, after: Option<&EntryId>, to: Option<&EntryId>) -> bool {
    if answer.from.as_ref() != after {
        return false;
    }
    let Some(items) = &answer.items else {
        return answer.upto.as_ref() == to;
    };
    let is_within =
        |id: &EntryId| after.is_none_or(|after| id > after) && to.is_none_or(|to| id <= to);
    let is_full = items.len() + COMPARED_CONTENTS_MAX > COMPARED_ITEMS_MAX;
    let ends_there = items.last().map(|(id, _)| id) == answer.upto.as_ref();
    items.len() <= COMPARED_ITEMS_MAX
        && items.is_sorted_by(|one, other| one < other)
        && items.iter().all(|(id, _)| is_within(id))
        && (answer.upto.as_ref() == to || (is_full && ends_there))
}

//! Which records live, file by file, and which files are worth being written anew.
//!
//! A file without a living record is dropped. Old files of which little lives are written anew,
//! neighbours together, so that what lives long does not keep the dead on the disk.

use std::collections::BTreeMap;

use bts_core::ids::Lsn;
use bts_core::replica::Obsolete;

use super::format::{FileId, Part, SEGMENT_BYTES};
use super::frame::HEADER_BYTES;
use super::living::Living;

/// Files with less alive are written anew together with their neighbours.
const SMALL_BYTES: u64 = SEGMENT_BYTES / 16;
/// So many small neighbours become one, even if all in them lives.
const SMALL_MAX: usize = 8;

/// A file that takes no more commits, and what lives in it.
#[derive(Debug)]
struct Held {
    part: Part,
    living: Living,
}

/// All records, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Parts {
    held: Vec<Held>,
    /// Of the file that is written.
    active: Living,
    active_bytes: u64,
    /// Records that must stay until others, which are dead, are gone: by those others.
    waiting: BTreeMap<u64, Vec<u64>>,
    /// Files that are being written anew; they are dropped with that.
    busy: Vec<FileId>,
    /// Whether something died in a file that takes no more commits, since it was last looked at.
    has_news: bool,
}

/// What the whole log is together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) records: u64,
    pub(crate) living: u64,
    pub(crate) bytes: u64,
}

impl Held {
    fn living_bytes(&self) -> u64 {
        let bytes = self.part.end - HEADER_BYTES as u64;
        let share = u128::from(bytes) * u128::from(self.living.count());
        u64::try_from(share / u128::from(self.part.records.max(1))).unwrap_or(u64::MAX)
    }

    fn is_sparse(&self) -> bool {
        self.living.count() * 2 < self.part.records
    }
}

impl Parts {
    /// A record was added to the file that is written, alive. False if its number is too far from the
    /// others there, or not above all.
    pub(super) fn push(&mut self, lsn: u64) -> bool {
        self.active.push(lsn)
    }

    /// Whether a record can be added to the file that is written.
    pub(super) fn admits(&self, lsn: u64) -> bool {
        self.active.admits(lsn)
    }

    /// How long the file that is written is.
    pub(super) fn set_bytes(&mut self, bytes: u64) {
        self.active_bytes = bytes;
    }

    /// First, last and number of the records in the file that is written.
    pub(super) fn active(&self) -> Option<(Lsn, Lsn, u64)> {
        self.active.span().map(|(first, last)| {
            let records = self.active.records();
            (Lsn(first), Lsn(last), records)
        })
    }

    /// The file that was written takes no more commits. `None`: it has no records.
    pub(super) fn seal(&mut self, part: Option<Part>) {
        let mut living = std::mem::take(&mut self.active);
        living.shrink();
        self.active_bytes = 0;
        self.has_news = true;
        if let Some(part) = part {
            self.held.push(Held { part, living });
        }
    }

    /// The files, without the one that is written.
    pub(super) fn list(&self) -> Vec<Part> {
        self.held.iter().map(|held| held.part.clone()).collect()
    }

    /// A record is needed no more, or not when another one is gone.
    pub(super) fn retire(&mut self, obsolete: &Obsolete) {
        match obsolete.after {
            Some(after) if self.is_there(after) => {
                self.waiting
                    .entry(after.0)
                    .or_default()
                    .push(obsolete.lsn.0);
            }
            Some(_) | None => self.kill(obsolete.lsn.0),
        }
    }

    fn is_there(&self, lsn: Lsn) -> bool {
        match self.place_of(lsn.0) {
            Some(place) => self.held[place].living.has(lsn.0),
            None => self.active.has(lsn.0),
        }
    }

    /// Which file a record would be in; `None`: the one that is written.
    fn place_of(&self, lsn: u64) -> Option<usize> {
        if self.active.span().is_some_and(|(first, _)| lsn >= first) {
            return None;
        }
        let behind = self.held.partition_point(|held| held.part.first.0 <= lsn);
        behind.checked_sub(1)
    }

    /// A record is needed no more. What is not known is not there.
    fn kill(&mut self, lsn: u64) {
        match self.place_of(lsn) {
            Some(place) => self.has_news |= self.held[place].living.kill(lsn),
            None => drop(self.active.kill(lsn)),
        }
    }

    /// Whether a record lives.
    pub(super) fn lives(&self, lsn: u64) -> bool {
        match self.place_of(lsn) {
            Some(place) => self.held[place].living.lives(lsn),
            None => self.active.lives(lsn),
        }
    }

    /// Whether a look at all files is worth it: something died since the last one.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    /// Removes the files in which nothing lives, and returns them. That of the last record stays: the numbers of
    /// records rise over restarts too.
    pub(super) fn drop_dead(&mut self, last: Lsn) -> Vec<FileId> {
        let Self { held, busy, .. } = self;
        let is_dead = |held: &mut Held| {
            let Held { part, living } = held;
            living.count() == 0 && part.last != last && !busy.contains(&part.file)
        };
        let dead: Vec<Held> = held.extract_if(.., is_dead).collect();
        for held in &dead {
            self.free(&held.living);
        }
        dead.into_iter().map(|held| held.part.file).collect()
    }

    /// These records are gone, but for those that are elsewhere now: they do not stand in the way of others
    /// any more.
    fn free(&mut self, gone: &Living) {
        let Some((first, last)) = gone.span() else {
            return;
        };
        let keys = self.waiting.range(first..=last).map(|(lsn, _)| *lsn);
        let keys: Vec<u64> = keys
            .filter(|lsn| gone.has(*lsn) && !self.is_there(Lsn(*lsn)))
            .collect();
        for key in keys {
            let freed = self.waiting.remove(&key).unwrap_or_default();
            freed.into_iter().for_each(|lsn| self.kill(lsn));
        }
    }

    /// Neighbours that are to be written anew, oldest first; they are busy from now on. The newest is left
    /// alone: what is in it may die soon.
    pub(super) fn choose(&mut self) -> Vec<Part> {
        self.has_news = false;
        let mut run = Run::default();
        let old = self.held.split_last().map_or(&[][..], |(_, old)| old);
        for held in old {
            let living = held.living_bytes();
            let is_light = held.is_sparse() || living < SMALL_BYTES;
            if !is_light || run.bytes + living > SEGMENT_BYTES {
                if run.is_worth() {
                    break;
                }
                run = Run::default();
            }
            if is_light {
                run.parts.push(held.part.clone());
                run.bytes += living;
                run.has_sparse |= held.is_sparse();
            }
        }
        if !run.is_worth() {
            return Vec::new();
        }
        self.busy = run.parts.iter().map(|part| part.file).collect();
        run.parts
    }

    /// What was chosen is not written anew now.
    pub(super) fn give_up(&mut self) {
        self.busy.clear();
    }

    /// These files take the place of those that were chosen.
    pub(super) fn replace(&mut self, with: Vec<(Part, Living)>) -> Vec<FileId> {
        let busy = std::mem::take(&mut self.busy);
        let is_old = |held: &Held| busy.contains(&held.part.file);
        let Some(from) = self.held.iter().position(is_old) else {
            return Vec::new();
        };
        let mut new: Vec<Held> = with
            .into_iter()
            .map(|(part, living)| Held { part, living })
            .collect();
        // What died meanwhile is dead in the new files too.
        for held in &mut new {
            held.living.kill_all_but(|lsn| self.lives(lsn));
        }
        let old: Vec<Held> = self.held.splice(from..from + busy.len(), new).collect();
        for held in &old {
            self.free(&held.living);
        }
        self.has_news = true;
        old.into_iter().map(|held| held.part.file).collect()
    }

    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals {
            files: self.held.len() as u64 + 1,
            records: self.active.records(),
            living: self.active.count(),
            bytes: self.active_bytes,
        };
        for held in &self.held {
            totals.records += held.part.records;
            totals.living += held.living.count();
            totals.bytes += held.part.end;
        }
        totals
    }
}

/// Neighbours with little alive.
#[derive(Debug, Default)]
struct Run {
    parts: Vec<Part>,
    bytes: u64,
    has_sparse: bool,
}

impl Run {
    fn is_worth(&self) -> bool {
        self.has_sparse || self.parts.len() >= SMALL_MAX
    }
}

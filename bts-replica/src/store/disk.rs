//! The store on disk: an append-only log. One commit is one write and one sync.

use std::path::Path;
use std::sync::Arc;

use bts_core::codec;
use bts_core::ids::{Incarnation, Lsn};
use bts_core::memory::Peers;
use bts_core::replica::{Obsolete, Unreplayable};

use super::ballast::Ballast;
use super::compact::{Compaction, STEP_BYTES, set_records_length};
use super::files::{Closed, Dir, io_error};
use super::folder::{Directory, Folder};
use super::format::{self, Changes, FileId, Identity, Part, SEGMENT_BYTES, State};
use super::frame::{self, FRAME_BYTES, HEADER_BYTES, Salt};
use super::living::Living;
use super::open::{Examined, create, examine};
use super::parts::{Parts, Totals};
use super::replay::Replay;
use super::segments::{Place, Segments};
use super::{Batch, Log, Store, StoreError};

/// More bytes of records are divided into several commits.
const COMMIT_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// Memory for the next commit that is kept.
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// Where in the buffer of a commit the body of its frame begins.
const BODY: usize = HEADER_BYTES + FRAME_BYTES;

/// The store.
#[derive(Debug)]
pub(crate) struct DiskStore {
    dir: Dir,
    place: Place,
    ballast: Ballast,
    salt: Salt,
    state: State,
    parts: Parts,
    log: Writing,
    buffer: Vec<u8>,
    /// What is written anew, and then what takes the place of it with the next commit.
    compaction: Option<Compaction>,
    compacted: Option<Vec<(Part, Living)>>,
    /// Bytes committed since the last step of that.
    added: u64,
}

/// Whether the log can be added to.
#[derive(Debug)]
enum Writing {
    /// It is only looked at.
    Never,
    /// Not after a failure, until it is opened again.
    Failed,
    Open(Box<Segments>),
}

/// What was found in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing: the store is new.
    Nothing,
    /// A store that was closed.
    Closed,
    /// A store that was not closed: a crash, after which what was not durable yet is gone.
    Left,
}

impl DiskStore {
    /// Opens the store of this replica, or makes it where there is none.
    pub(crate) fn open(path: &Path, identity: &Identity) -> Result<(Self, Found), StoreError> {
        let dir = Dir::take(path)?;
        let folder = Arc::new(Directory(path.to_owned()));
        Self::open_in(dir, folder, identity)
    }

    /// The same with the files of the log in `folder`.
    pub(super) fn open_in(
        dir: Dir,
        folder: Arc<dyn Folder>,
        identity: &Identity,
    ) -> Result<(Self, Found), StoreError> {
        let place = Place::new(folder, dir.path());
        let closed = dir.closed()?;
        let (examined, is_new) = match examine(&place)? {
            Some(examined) => (examined, false),
            None if closed.is_some() => return Err(place.damaged("log-*", "the log is gone")),
            None => (Self::create(&place, identity)?, true),
        };
        if examined.state.owner.identity != *identity {
            return Err(StoreError::Foreign {
                path: place.path,
                theirs: examined.state.owner.identity.to_string(),
                ours: identity.to_string(),
            });
        }
        let mut store = Self::of_log(dir, place, &examined);
        store.compare(closed.as_ref())?;
        if let Err(error) = store.ballast.take() {
            let path = store.dir.path().display();
            tracing::warn!("{path}: no room can be kept back: {error}");
        }
        store.dir.set_closed(None)?;
        store.take_over(examined)?;
        let found = match (is_new, closed) {
            (true, _) => Found::Nothing,
            (false, Some(_)) => Found::Closed,
            (false, None) => Found::Left,
        };
        Ok((store, found))
    }

    /// Opens a store to look at it, whosever it is. Nothing of it is changed.
    pub(crate) fn inspect(path: &Path) -> Result<(Self, Found), StoreError> {
        let dir = Dir::hold(path)?;
        let place = Place::new(Arc::new(Directory(path.to_owned())), path);
        let closed = dir.closed()?;
        let examined = examine(&place)?.ok_or_else(|| place.damaged("", "there is no log"))?;
        let store = Self::of_log(dir, place, &examined);
        store.compare(closed.as_ref())?;
        let found = closed.map_or(Found::Left, |_| Found::Closed);
        Ok((store, found))
    }

    fn create(place: &Place, identity: &Identity) -> Result<Examined, StoreError> {
        create(place, identity)?;
        examine(place)?.ok_or_else(|| place.damaged("", "what was just made is gone"))
    }

    fn of_log(dir: Dir, place: Place, examined: &Examined) -> Self {
        Self {
            ballast: Ballast::new(dir.path()),
            dir,
            place,
            salt: examined.salt,
            state: examined.state.clone(),
            parts: Parts::default(),
            log: Writing::Never,
            buffer: new_buffer(),
            compaction: None,
            compacted: None,
            added: 0,
        }
    }

    /// From now on the log is added to.
    fn take_over(&mut self, examined: Examined) -> Result<(), StoreError> {
        if let Some(torn) = examined.torn {
            let path = self.place.path.join(torn.file.to_string());
            tracing::warn!(
                "{}: what stands at byte {} is no whole commit and is cut off: it was not durable \
                 when the replica ended, so nothing was promised that depends on it",
                path.display(),
                torn.end
            );
        }
        self.salt = examined.salt;
        self.state = examined.state;
        let place = self.place.clone();
        let mut log = Segments::take(place, self.salt, self.state.tail, examined.others)?;
        log.harden(examined.last, examined.last_begins, &self.state)?;
        self.log = Writing::Open(Box::new(log));
        Ok(())
    }

    /// A log that was closed stands as it stood then.
    fn compare(&self, closed: Option<&Closed>) -> Result<(), StoreError> {
        if closed.is_none_or(|closed| *closed == self.closed()) {
            return Ok(());
        }
        let what = "it is not as it was when it was closed: an older copy, or altered";
        Err(self.place.damaged(self.state.tail.file, what))
    }

    fn closed(&self) -> Closed {
        Closed {
            commits: self.state.commits,
            seal: self.state.seal,
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.state.owner.incarnation
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.state.owner.identity
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.state.confirmed
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.state.peers
    }

    /// Records no replay needs any more, as the machine says that was made from them.
    pub(crate) fn note_obsolete(&mut self, obsolete: &[Obsolete]) {
        obsolete.iter().for_each(|record| self.parts.retire(record));
    }

    pub(crate) fn totals(&self) -> Totals {
        self.parts.totals()
    }

    fn segments(&mut self) -> Result<&mut Segments, StoreError> {
        match &mut self.log {
            Writing::Open(log) => Ok(log),
            Writing::Failed | Writing::Never => Err(StoreError::Engine {
                path: self.place.path.clone(),
                what: "the log is not open for writing".into(),
            }),
        }
    }

    /// After a failure the log is of no use until it was opened again.
    fn failed(&mut self, error: StoreError) -> StoreError {
        self.log = Writing::Failed;
        if matches!(error, StoreError::Full { .. }) {
            self.ballast.drop_it();
        }
        error
    }

    fn try_commit(&mut self, mut batch: Batch) -> Result<(), StoreError> {
        let (obsolete, peers) = (std::mem::take(&mut batch.obsolete), batch.peers.take());
        let mut lsns = Vec::with_capacity(batch.records.len());
        for (lsn, record) in batch.records {
            format::push_record(&mut self.buffer, lsn.0, &codec::encode(&record));
            lsns.push(lsn.0);
            if self.buffer.len() > COMMIT_BYTES_MAX {
                self.write(&std::mem::take(&mut lsns), &[], Changes::default())?;
            }
        }
        let changes = Changes {
            confirmed: batch.confirmed,
            peers,
            ..Changes::default()
        };
        self.write(&lsns, &obsolete, changes)
    }

    /// Writes what is in the buffer: these records; and what else is to be said.
    fn write(
        &mut self,
        lsns: &[u64],
        obsolete: &[Obsolete],
        mut changes: Changes,
    ) -> Result<(), StoreError> {
        set_records_length(&mut self.buffer, BODY);
        let bytes = self.buffer.len();
        let fits = self.segments()?.fits(bytes);
        if !fits || !lsns.iter().all(|lsn| self.parts.admits(*lsn)) {
            self.turn()?;
        }
        for lsn in lsns {
            if !self.parts.push(*lsn) {
                let what = format!("record {lsn} does not follow what is there");
                let path = self.place.path.clone();
                return Err(StoreError::Engine { path, what });
            }
        }
        obsolete.iter().for_each(|record| self.parts.retire(record));
        changes.last = lsns.last().map_or(self.state.last, |last| Lsn(*last));
        changes.confirmed |= self.state.confirmed;
        let gone = self.forget(changes.last);
        let is_first = self.segments()?.is_fresh();
        if is_first || !gone.is_empty() {
            changes.parts = Some(self.parts.list());
        }
        if is_first {
            changes.owner = Some(self.state.owner.clone());
            changes
                .peers
                .get_or_insert_with(|| self.state.peers.clone());
        }
        let mut buffer = std::mem::replace(&mut self.buffer, new_buffer());
        self.append(&mut buffer, changes)?;
        self.added += bytes as u64;
        self.segments()?.retire(gone);
        buffer.truncate(BODY + 4);
        if buffer.capacity() <= BUFFER_BYTES_MAX {
            self.buffer = buffer;
        }
        Ok(())
    }

    /// Files that this commit makes superfluous.
    fn forget(&mut self, last: Lsn) -> Vec<FileId> {
        let mut gone = match self.compacted.take() {
            Some(new) => self.parts.replace(new),
            None => Vec::new(),
        };
        if self.parts.has_news() {
            gone.extend(self.parts.drop_dead(last));
        }
        gone
    }

    /// Makes a commit of what is in the buffer and of these changes.
    fn append(&mut self, buffer: &mut Vec<u8>, changes: Changes) -> Result<(), StoreError> {
        let Self { state, log, .. } = self;
        let Writing::Open(log) = log else {
            return Ok(());
        };
        buffer.extend(codec::encode(&changes));
        let number = (state.commits + 1, state.seal);
        let at = log.tail().end;
        let seal = frame::seal(buffer, HEADER_BYTES, &log.binding(), at, number);
        log.append(buffer, state)?;
        (state.commits, state.seal) = (number.0, seal);
        (state.last, state.confirmed) = (changes.last, changes.confirmed);
        if let Some(peers) = changes.peers {
            state.peers = peers;
        }
        if let Some(parts) = changes.parts {
            state.parts = parts;
        }
        state.tail = log.tail();
        self.parts.set_bytes(state.tail.end);
        Ok(())
    }

    /// The next commits go to another file, of which the last one of this file tells.
    fn turn(&mut self) -> Result<(), StoreError> {
        let state = self.state.clone();
        let next = self.segments()?.prepare_next(&state)?;
        let changes = Changes {
            last: state.last,
            confirmed: state.confirmed,
            turn: Some(next),
            ..Changes::default()
        };
        self.append(&mut new_buffer(), changes)?;
        let part = self.parts.active().map(|(first, last, records)| Part {
            file: self.state.tail.file,
            end: self.state.tail.end,
            seal: self.state.seal,
            records,
            first,
            last,
        });
        let log = self.segments()?;
        log.turn();
        self.state.tail = self.segments()?.tail();
        self.parts.seal(part.clone());
        self.state.parts.extend(part);
        Ok(())
    }

    /// Goes on writing anew what little lives of old files.
    fn compact(&mut self) -> Result<(), StoreError> {
        let Some(compaction) = &mut self.compaction else {
            let is_idle = self.compacted.is_none() && self.added >= SEGMENT_BYTES / 16;
            if is_idle && self.parts.has_news() {
                self.added = 0;
                let chosen = self.parts.choose();
                let new = Compaction::new(self.salt, chosen);
                self.compaction = (!new.is_empty()).then_some(new);
            }
            return Ok(());
        };
        let bytes = STEP_BYTES + 4 * std::mem::take(&mut self.added);
        match compaction.step(&self.place, &self.parts, &self.state, bytes) {
            Ok(false) => {}
            Ok(true) => self.compacted = self.compaction.take().map(Compaction::done),
            Err(error) => {
                let made = compaction.files();
                self.compaction = None;
                self.parts.give_up();
                if !matches!(error, StoreError::Full { .. }) {
                    return Err(error);
                }
                // It is tried again when there is more to win.
                self.segments()?.retire(made);
            }
        }
        Ok(())
    }

    /// What was written anew is not used.
    fn discard(&mut self) {
        let under_way = self.compaction.take().map(|compaction| compaction.files());
        let done = self.compacted.take().unwrap_or_default();
        if let Writing::Open(log) = &mut self.log {
            log.retire(under_way.into_iter().flatten());
            log.retire(done.into_iter().map(|(part, _)| part.file));
        }
    }

    fn try_tend(&mut self) -> Result<(), StoreError> {
        self.compact()?;
        match &mut self.log {
            Writing::Open(log) => log.tend(&self.state),
            Writing::Failed | Writing::Never => Ok(()),
        }
    }
}

/// Room for the beginning of a file, for the head of a frame, and for the length of its records.
fn new_buffer() -> Vec<u8> {
    vec![0; BODY + 4]
}

impl Store for DiskStore {
    fn replay(&mut self, read: &mut dyn FnMut(Log<'_>)) -> Result<u64, StoreError> {
        if matches!(self.log, Writing::Failed) {
            let found = examine(&self.place)?;
            let examined = found.ok_or_else(|| self.place.damaged("", "the log is gone"))?;
            self.take_over(examined)?;
        }
        self.buffer = new_buffer();
        self.discard();
        let mut parts = Parts::default();
        let mut replay = Replay::new(&self.place, self.salt, &self.state, &mut parts);
        read(&mut replay);
        let count = replay.finish()?;
        self.parts = parts;
        Ok(count)
    }

    fn commit(&mut self, batch: Batch) -> Result<Option<Lsn>, StoreError> {
        match self.try_commit(batch) {
            Ok(()) => Ok(Some(self.state.last).filter(|last| *last > Lsn(0))),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        self.try_tend().map_err(|error| self.failed(error))
    }

    fn has_room(&mut self) -> Result<(), StoreError> {
        let path = self.dir.path().to_owned();
        let room = self.ballast.take().and_then(|()| self.ballast.try_more());
        room.inspect_err(|_| self.ballast.drop_it())
            .map_err(io_error(&path, "keep room"))
    }

    fn unreplayable(&self, why: Unreplayable) -> StoreError {
        let path = self.place.path.clone();
        StoreError::Unreplayable { path, why }
    }

    fn close(mut self) -> Result<(), StoreError> {
        match std::mem::replace(&mut self.log, Writing::Never) {
            Writing::Open(_) => self.dir.set_closed(Some(&self.closed())),
            Writing::Failed | Writing::Never => Ok(()),
        }
    }
}

#[cfg(test)]
impl DiskStore {
    /// Where the last commit ends.
    pub(super) fn end(&self) -> usize {
        self.state.tail.end as usize
    }

    /// All files of the log.
    pub(super) fn names(&self) -> std::collections::BTreeSet<String> {
        let parts = self.state.parts.iter().map(|part| part.file.to_string());
        parts.chain([self.tail_name()]).collect()
    }

    /// The file that is written.
    pub(super) fn tail_name(&self) -> String {
        self.state.tail.file.to_string()
    }
}

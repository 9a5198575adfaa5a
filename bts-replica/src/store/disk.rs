//! The store on disk: one redb file with a table of chunks. One transaction is one commit.

use std::path::Path;

use bts_core::codec;
use bts_core::ids::{Incarnation, Lsn};
use bts_core::memory::Peers;
use bts_core::replica::{Obsolete, Record, Unreplayable};
use redb::{ReadableTable, Table, WriteTransaction};

use super::backend::Failure;
use super::ballast::Ballast;
use super::chunks::{CHUNK_BYTES, Chunks, Totals};
use super::files::{Closed, Dir, io_error};
use super::format::{self, Identity, Owner, State};
use super::open::{
    Broken, CHUNKS, HEAD, OpenLog, broken_error, create, guard, look_at_log, open_log, read_head,
};
use super::replay::{Bad, Replay};
use super::{Batch, Log, Store, StoreError};

/// The store.
#[derive(Debug)]
pub(crate) struct DiskStore {
    dir: Dir,
    ballast: Ballast,
    /// `None` after a failure, until it is opened again.
    log: Option<OpenLog>,
    owner: Owner,
    state: State,
    chunks: Chunks,
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
        let closed = dir.closed()?;
        let is_new = !dir.log().exists();
        if is_new {
            if closed.is_some() {
                let (path, what) = (dir.log(), "the file is gone".into());
                return Err(StoreError::Damaged { path, what });
            }
            create(&dir, identity)?;
        }
        let log = open_log(&dir, &Ballast::new(dir.path()))?;
        let store = Self::of_log(dir, log)?;
        if store.owner.identity != *identity {
            return Err(StoreError::Foreign {
                path: store.dir.log(),
                theirs: store.owner.identity.to_string(),
                ours: identity.to_string(),
            });
        }
        store.compare(closed.as_ref())?;
        if let Err(error) = store.ballast.take() {
            tracing::warn!("{}: no room can be kept back: {error}", path.display());
        }
        store.dir.set_closed(None)?;
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
        let closed = dir.closed()?;
        let log = look_at_log(&dir)?;
        let store = Self::of_log(dir, log)?;
        store.compare(closed.as_ref())?;
        let found = closed.map_or(Found::Left, |_| Found::Closed);
        Ok((store, found))
    }

    fn of_log(dir: Dir, log: OpenLog) -> Result<Self, StoreError> {
        let ballast = Ballast::new(dir.path());
        let (owner, state) = guard(&dir, || read_head(&dir, &log.database))?;
        Ok(Self {
            dir,
            ballast,
            log: Some(log),
            owner,
            state,
            chunks: Chunks::default(),
        })
    }

    /// A log that was closed stands as it stood then.
    fn compare(&self, closed: Option<&Closed>) -> Result<(), StoreError> {
        let same = |closed: &Closed| *closed == self.closed();
        if closed.is_none_or(same) {
            return Ok(());
        }
        Err(self
            .damaged("it is not as it was when it was closed: an older copy, or altered".into()))
    }

    fn closed(&self) -> Closed {
        Closed {
            commits: self.state.commits,
            sum: self.state.sum,
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.owner.incarnation
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.owner.identity
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.state.confirmed
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.state.peers
    }

    /// Records no replay needs any more, as the machine says that was made from them.
    pub(crate) fn note_obsolete(&mut self, obsolete: &[Obsolete]) {
        obsolete
            .iter()
            .for_each(|record| self.chunks.retire(record));
    }

    pub(crate) fn totals(&self) -> Totals {
        self.chunks.totals()
    }

    fn damaged(&self, what: String) -> StoreError {
        let path = self.dir.log();
        StoreError::Damaged { path, what }
    }

    /// What a failure of redb means. The file is of no use until it is opened again.
    fn failed(&mut self, broken: Broken) -> StoreError {
        let failure = self.log.take().and_then(|log| {
            let failure = log.watch.take();
            // It fails as well, or it does not: whatever it leaves is looked at again.
            drop(log);
            failure
        });
        let path = self.dir.log();
        match failure {
            Some(Failure::Sync(source)) => {
                let last = self.state.last;
                StoreError::Sync { path, source, last }
            }
            Some(Failure::Access(source)) => {
                let error = io_error(&path, "write")(source);
                if matches!(error, StoreError::Full { .. }) {
                    self.ballast.drop_it();
                }
                error
            }
            None => broken_error(&path, broken),
        }
    }

    fn try_commit(&mut self, batch: Batch) -> Result<(), Broken> {
        let Some(log) = &self.log else {
            return Err(redb::StorageError::PreviousIo.into());
        };
        let transaction = log.database.begin_write()?;
        let mut change = Change {
            state: State {
                commits: self.state.commits + 1,
                confirmed: self.state.confirmed || batch.confirmed,
                peers: batch.peers.unwrap_or_else(|| self.state.peers.clone()),
                ..self.state.clone()
            },
            chunks: &mut self.chunks,
        };
        change.apply(&transaction, &batch.records, &batch.obsolete)?;
        let state = change.state;
        {
            let mut head = transaction.open_table(HEAD)?;
            head.insert("state", &*format::encode_head("state", &state))?;
        }
        transaction.commit()?;
        self.state = state;
        Ok(())
    }
}

/// One commit under way.
struct Change<'a> {
    state: State,
    chunks: &'a mut Chunks,
}

impl Change<'_> {
    fn apply(
        &mut self,
        transaction: &WriteTransaction,
        records: &[(Lsn, Record)],
        obsolete: &[Obsolete],
    ) -> Result<(), Broken> {
        let mut table = transaction.open_table(CHUNKS)?;
        let mut draft = Draft::default();
        let (mut added, mut added_bytes) = (0, 0);
        for (lsn, record) in records {
            let bytes = codec::encode(record);
            if draft.body.len() + bytes.len() > CHUNK_BYTES && !draft.lsns.is_empty() {
                (added, added_bytes) = (added + 1, added_bytes + draft.body.len());
                self.add(&mut table, std::mem::take(&mut draft))?;
            }
            draft.push(lsn.0, &bytes);
            self.state.last = *lsn;
        }
        (added, added_bytes) = (added + 1, added_bytes + draft.body.len());
        self.add(&mut table, draft)?;
        obsolete
            .iter()
            .for_each(|record| self.chunks.retire(record));
        let plan = self.chunks.plan(added, added_bytes);
        for first in plan.remove {
            self.remove(&mut table, first)?;
        }
        for run in plan.merge {
            self.merge(&mut table, &run)?;
        }
        Ok(())
    }

    fn add(&mut self, table: &mut Table<'_, u64, &[u8]>, draft: Draft) -> Result<(), Broken> {
        let Some(first) = draft.lsns.first().copied() else {
            return Ok(());
        };
        let (seal, value) = format::seal(&format::chunk_key(first), &draft.body);
        table.insert(first, &*value)?;
        self.state.chunks += 1;
        self.state.sum = self.state.sum.wrapping_add(seal);
        self.chunks.add(&draft.lsns, seal, value.len());
        Ok(())
    }

    fn remove(&mut self, table: &mut Table<'_, u64, &[u8]>, first: u64) -> Result<(), Broken> {
        let Some(seal) = self.chunks.remove(first) else {
            return Ok(());
        };
        table.remove(first)?;
        self.state.chunks -= 1;
        self.state.sum = self.state.sum.wrapping_sub(seal);
        Ok(())
    }

    /// What lives of these chunks becomes one.
    fn merge(&mut self, table: &mut Table<'_, u64, &[u8]>, run: &[u64]) -> Result<(), Broken> {
        let mut draft = Draft::default();
        for first in run {
            let value = table.get(first)?;
            let body = value.as_ref().and_then(|value| {
                let (_, body) = format::unseal(&format::chunk_key(*first), value.value())?;
                Some(body.to_vec())
            });
            let broken = || redb::StorageError::Corrupted(format!("chunk {first} is not intact"));
            let body = body.ok_or_else(broken)?;
            for (lsn, record) in format::records(&body).ok_or_else(broken)? {
                if self.chunks.lives(*first, lsn) {
                    draft.push(lsn, record);
                }
            }
        }
        for first in run {
            self.remove(table, *first)?;
        }
        self.add(table, draft)
    }
}

/// A chunk being made.
#[derive(Debug, Default)]
struct Draft {
    lsns: Vec<u64>,
    body: Vec<u8>,
}

impl Draft {
    fn push(&mut self, lsn: u64, record: &[u8]) {
        self.lsns.push(lsn);
        format::push_record(&mut self.body, lsn, record);
    }
}

impl Store for DiskStore {
    fn replay(&mut self, read: &mut dyn FnMut(Log<'_>)) -> Result<u64, StoreError> {
        if self.log.is_none() {
            let log = open_log(&self.dir, &self.ballast)?;
            let (_, state) = guard(&self.dir, || read_head(&self.dir, &log.database))?;
            (self.log, self.state) = (Some(log), state);
        }
        let Some(log) = &self.log else {
            return Ok(0);
        };
        let mut chunks = Chunks::default();
        let mut replay = || {
            let mut replay = Replay::new(&log.database, &mut chunks)?;
            read(&mut replay);
            replay.finish(&self.state)
        };
        let count = guard(&self.dir, || {
            replay().map_err(|what| match what {
                Bad::Damaged(what) => self.damaged(what),
                Bad::Broken(broken) => broken_error(&self.dir.log(), broken),
            })
        })?;
        self.chunks = chunks;
        Ok(count)
    }

    fn commit(&mut self, batch: Batch) -> Result<Option<Lsn>, StoreError> {
        match self.try_commit(batch) {
            Ok(()) => Ok(Some(self.state.last).filter(|last| *last > Lsn(0))),
            Err(broken) => Err(self.failed(broken)),
        }
    }

    fn has_room(&mut self) -> Result<(), StoreError> {
        let path = self.dir.path().to_owned();
        let room = self.ballast.take().and_then(|()| self.ballast.try_more());
        room.inspect_err(|_| self.ballast.drop_it())
            .map_err(io_error(&path, "keep room"))
    }

    fn unreplayable(&self, why: Unreplayable) -> StoreError {
        let path = self.dir.log();
        StoreError::Unreplayable { path, why }
    }

    fn close(mut self) -> Result<(), StoreError> {
        let closed = self.closed();
        let Some(log) = self.log.take() else {
            return Ok(());
        };
        let OpenLog { database, watch } = log;
        database.close().map_err(|error| match watch.take() {
            Some(Failure::Access(source) | Failure::Sync(source)) => {
                io_error(&self.dir.log(), "close")(source)
            }
            None => broken_error(&self.dir.log(), error.into()),
        })?;
        self.dir.set_closed(Some(&closed))
    }
}

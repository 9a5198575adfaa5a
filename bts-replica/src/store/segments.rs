//! The files that commits go to: one that is written, the next one, which is ready before it is needed, and
//! some that were used and are used again.
//!
//! Files that are written for the first time are filled with zeros ahead of the commits, a piece at a time:
//! a sync of what only replaces bytes does not wait for the file system to note how long the file is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreError;
use super::files::io_error;
use super::folder::{Access, Blob, Folder};
use super::format::{FileId, Kind, SEGMENT_BYTES, State};
use super::frame::{Binding, HEADER_BYTES, Salt, Tail, header};

/// Bytes in which file systems and memory are divided. Writes end with a whole one, so that
/// what was there before need not be read.
pub(super) const PAGE_BYTES: u64 = 4096;
/// Zeros written at a time.
const FILL_BYTES: u64 = if cfg!(test) { 4 << 10 } else { 256 << 10 };
/// With fewer zeros ahead the next are written.
const AHEAD_BYTES: u64 = FILL_BYTES / 2;
/// What can wait and found no room is not tried again for so many turns.
const PAUSE: u32 = 64;
/// Files kept for being used again. More are removed.
const SPARES_MAX: usize = 2;

/// A directory and how to speak of what is in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) folder: Arc<dyn Folder>,
    pub(super) path: PathBuf,
}

/// A file that is being written.
#[derive(Debug)]
struct Segment {
    file: FileId,
    blob: Box<dyn Blob>,
    /// Where the next commit goes.
    end: u64,
    /// How long the file is.
    length: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Segments {
    place: Place,
    salt: Salt,
    active: Segment,
    next: Option<Segment>,
    /// Names of files that can be used again.
    spares: Vec<String>,
    /// Names of files that are part of the log no more, as is durable.
    retired: Vec<String>,
    pause: u32,
}

impl Place {
    pub(super) fn new(folder: Arc<dyn Folder>, path: &Path) -> Self {
        let path = path.to_owned();
        Self { folder, path }
    }

    /// An error about a file.
    pub(super) fn error<N: ToString>(
        &self,
        name: N,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> StoreError + Clone + use<N> {
        let path = self.path.join(name.to_string());
        move |source| io_error(&path, doing)(source)
    }

    /// A sync failed: nobody knows what is on the disk.
    pub(super) fn sync_error<N: ToString>(
        &self,
        name: N,
        state: &State,
    ) -> impl FnOnce(io::Error) -> StoreError + use<N> {
        let (path, last) = (self.path.join(name.to_string()), state.last);
        move |source| StoreError::Sync { path, source, last }
    }

    pub(super) fn damaged(&self, name: impl ToString, what: impl Into<String>) -> StoreError {
        let path = self.path.join(name.to_string());
        let what = what.into();
        StoreError::Damaged { path, what }
    }

    /// Makes names durable.
    pub(super) fn sync(&self, state: &State) -> Result<(), StoreError> {
        let failed = self.sync_error("", state);
        self.folder.sync().map_err(failed)
    }
}

impl Segment {
    fn open(place: &Place, file: FileId, end: u64) -> Result<Self, StoreError> {
        let opened = place.folder.open(&file.to_string(), Access::Write);
        let blob = opened.map_err(place.error(file, "open"))?;
        let length = blob.length().map_err(place.error(file, "open"))?;
        Ok(Self {
            file,
            blob,
            end,
            length,
        })
    }

    fn is_fresh(&self) -> bool {
        self.end == HEADER_BYTES as u64
    }

    /// Whether zeros are to be written.
    fn wants_fill(&self) -> bool {
        self.length < SEGMENT_BYTES && self.length.saturating_sub(self.end) < AHEAD_BYTES
    }

    fn fill(&mut self, place: &Place, state: &State) -> Result<(), StoreError> {
        let from = self.length.max(self.end).next_multiple_of(PAGE_BYTES);
        let count = FILL_BYTES.min(SEGMENT_BYTES.saturating_sub(from));
        let zeros = vec![0; usize::try_from(count).unwrap_or(0)];
        let written = self.blob.write(from, &zeros);
        written.map_err(place.error(self.file, "write"))?;
        let failed = place.sync_error(self.file, state);
        self.blob.sync().map_err(failed)?;
        self.length = from + count;
        Ok(())
    }
}

impl Segments {
    /// The files of a log that was found, or made, like this; and others that are not part of it.
    pub(super) fn take(
        place: Place,
        salt: Salt,
        tail: Tail,
        retired: Vec<String>,
    ) -> Result<Self, StoreError> {
        let active = Segment::open(&place, tail.file, tail.end)?;
        let (spares, retired) = retired
            .into_iter()
            .partition(|name| name.starts_with("spare-"));
        Ok(Self {
            place,
            salt,
            active,
            next: None,
            spares,
            retired,
            pause: 0,
        })
    }

    pub(super) fn binding(&self) -> Binding {
        self.binding_of(self.active.file)
    }

    pub(super) fn binding_of(&self, file: FileId) -> Binding {
        let salt = self.salt;
        Binding { salt, file }
    }

    pub(super) fn tail(&self) -> Tail {
        let Segment { file, end, .. } = self.active;
        Tail { file, end }
    }

    /// Whether nothing was written to this file yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.active.is_fresh()
    }

    /// Whether so many bytes more belong into this file.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.is_fresh() || self.active.end + bytes as u64 <= SEGMENT_BYTES - 2 * PAGE_BYTES
    }

    /// Writes a frame behind the last one, and makes it durable. `buffer` has room for the beginning of a
    /// file before the frame.
    pub(super) fn append(&mut self, buffer: &mut Vec<u8>, state: &State) -> Result<(), StoreError> {
        let active = &mut self.active;
        let frame_bytes = (buffer.len() - HEADER_BYTES) as u64;
        let skip = if active.is_fresh() { 0 } else { HEADER_BYTES };
        let begin = active.end - (HEADER_BYTES - skip) as u64;
        if let Some(place) = buffer.first_chunk_mut() {
            *place = header(&self.salt);
        }
        let end = active.end + frame_bytes;
        let page_end = end.next_multiple_of(PAGE_BYTES);
        buffer.resize(buffer.len() + (page_end - end) as usize, 0);
        let bytes = buffer.get(skip..).unwrap_or_default();
        let written = active.blob.write(begin, bytes);
        written.map_err(self.place.error(active.file, "write"))?;
        let failed = self.place.sync_error(active.file, state);
        active.blob.sync().map_err(failed)?;
        active.end = end;
        active.length = active.length.max(page_end);
        Ok(())
    }

    /// The file that follows, which is there for sure.
    pub(super) fn prepare_next(&mut self, state: &State) -> Result<FileId, StoreError> {
        if let Some(next) = &self.next {
            return Ok(next.file);
        }
        let file = FileId::draw(Kind::Log);
        let folder = &*self.place.folder;
        let made = match self.spares.last() {
            Some(spare) => folder.rename(spare, &file.to_string()),
            None => folder.create(&file.to_string()).map(drop),
        };
        made.map_err(self.place.error(file, "make"))?;
        self.spares.pop();
        self.place.sync(state)?;
        self.next = Some(Segment::open(&self.place, file, HEADER_BYTES as u64)?);
        Ok(file)
    }

    /// From now on commits go to the next file, of which the last commit told.
    pub(super) fn turn(&mut self) {
        if let Some(next) = self.next.take() {
            self.active = next;
        }
    }

    /// These files are part of the log no more, as is durable.
    pub(super) fn retire(&mut self, files: impl IntoIterator<Item = FileId>) {
        self.retired
            .extend(files.into_iter().map(|file| file.to_string()));
    }

    /// What need not be done while somebody waits: makes ready what the next commits need.
    pub(super) fn tend(&mut self, state: &State) -> Result<(), StoreError> {
        if self.pause > 0 {
            self.pause -= 1;
            return Ok(());
        }
        match self.make_ready(state) {
            // What this is for finds room perhaps, or says itself that there is none.
            Err(StoreError::Full { .. }) => self.pause = PAUSE,
            other => return other,
        }
        Ok(())
    }

    fn make_ready(&mut self, state: &State) -> Result<(), StoreError> {
        while let Some(name) = self.retired.last().cloned() {
            self.put_away(&name)?;
            self.retired.pop();
        }
        if self.active.wants_fill() {
            return self.active.fill(&self.place, state);
        }
        self.prepare_next(state)?;
        match &mut self.next {
            Some(next) if next.wants_fill() => next.fill(&self.place, state),
            Some(_) | None => Ok(()),
        }
    }

    fn put_away(&mut self, name: &str) -> Result<(), StoreError> {
        let folder = &*self.place.folder;
        let is_spare = name.starts_with("log-") && self.spares.len() < SPARES_MAX && {
            let length = folder
                .open(name, Access::Read)
                .and_then(|blob| blob.length());
            length.map_err(self.place.error(name, "open"))? <= SEGMENT_BYTES
        };
        if !is_spare {
            return folder
                .remove(name)
                .map_err(self.place.error(name, "remove"));
        }
        let spare = format!("spare-{:016x}", rand::random::<u64>());
        let renamed = folder.rename(name, &spare);
        renamed.map_err(self.place.error(name, "rename"))?;
        self.spares.push(spare);
        Ok(())
    }

    /// Writes the end of what was found once more, and makes all of it durable: after a crash of the
    /// process alone it may be in memory only, or be in no state that a failed sync left it in.
    pub(super) fn harden(
        &mut self,
        last: Tail,
        from: u64,
        state: &State,
    ) -> Result<(), StoreError> {
        let mut segment = Segment::open(&self.place, last.file, last.end)?;
        let begin = from - from % PAGE_BYTES;
        let mut bytes = vec![0; usize::try_from(last.end - begin).unwrap_or(0)];
        let read = segment.blob.read(begin, &mut bytes);
        let read = read.map_err(self.place.error(last.file, "read"))?;
        bytes.truncate(read);
        let written = segment.blob.write(begin, &bytes);
        written.map_err(self.place.error(last.file, "write"))?;
        let failed = self.place.sync_error(last.file, state);
        segment.blob.sync().map_err(failed)?;
        self.place.sync(state)
    }
}

//! Files of which little lives, written anew as one: a piece at a time, so that no commit waits for it.
//!
//! The new file is no part of the log before a commit says so, and then it takes the place of the old
//! ones; whatever happens before, the old ones are still there.

use super::StoreError;
use super::folder::{Access, Blob};
use super::format::{self, FileId, Kind, Part, SEGMENT_BYTES, State, split_record};
use super::frame::{self, Binding, FRAME_BYTES, FrameReader, HEADER_BYTES, Salt, Seal, header};
use super::living::Living;
use super::parts::Parts;
use super::segments::Place;

use bts_core::ids::Lsn;

/// Bytes read of old files at a time, besides what is asked for more.
pub(super) const STEP_BYTES: u64 = if cfg!(test) { 2 << 10 } else { 64 << 10 };
/// Bytes of records in one frame of a new file.
const PIECE_BYTES: usize = if cfg!(test) { 1 << 10 } else { 64 << 10 };
/// Bytes written before they are synced.
const SYNC_BYTES: u64 = if cfg!(test) { 4 << 10 } else { 512 << 10 };

/// Files being written anew.
#[derive(Debug)]
pub(super) struct Compaction {
    salt: Salt,
    sources: Vec<Part>,
    /// Which of them is read, and its reader.
    at: usize,
    reader: Option<FrameReader>,
    output: Option<Output>,
    done: Vec<(Part, Living)>,
}

/// A file being written.
#[derive(Debug)]
struct Output {
    file: FileId,
    blob: Box<dyn Blob>,
    /// The next frame: room for its head, and its records.
    piece: Vec<u8>,
    end: u64,
    synced: u64,
    frames: u64,
    seal: Seal,
    living: Living,
}

impl Compaction {
    pub(super) fn new(salt: Salt, sources: Vec<Part>) -> Self {
        Self {
            salt,
            sources,
            at: 0,
            reader: None,
            output: None,
            done: Vec::new(),
        }
    }

    /// Nothing is worth it.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Files that were made.
    pub(super) fn files(&self) -> Vec<FileId> {
        let done = self.done.iter().map(|(part, _)| part.file);
        done.chain(self.output.as_ref().map(|output| output.file))
            .collect()
    }

    /// Reads so many bytes, at least one frame, and writes what lives of them.
    pub(super) fn step(
        &mut self,
        place: &Place,
        parts: &Parts,
        state: &State,
        bytes: u64,
    ) -> Result<bool, StoreError> {
        let mut read = 0;
        while read < bytes {
            let Some(count) = self.read_frame(place, parts, state)? else {
                self.end_output(place, state)?;
                place.sync(state)?;
                return Ok(true);
            };
            read += count;
        }
        Ok(false)
    }

    /// The files that were written, when all was.
    pub(super) fn done(self) -> Vec<(Part, Living)> {
        self.done
    }

    /// `None`: there is no more.
    fn read_frame(
        &mut self,
        place: &Place,
        parts: &Parts,
        state: &State,
    ) -> Result<Option<u64>, StoreError> {
        let Some(Part { file, end, .. }) = self.sources.get(self.at) else {
            return Ok(None);
        };
        let (file, end) = (*file, *end);
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let blob = place.folder.open(&file.to_string(), Access::Read);
                let blob = blob.map_err(place.error(file, "open"))?;
                let salt = self.salt;
                FrameReader::new(blob, Binding { salt, file })
            }
        };
        let read = reader.read().map_err(place.error(file, "read"))?;
        let at = reader.at();
        let frame = read.ok_or_else(|| broken(place, file, at))?;
        if frame.end >= end {
            self.at += 1;
        }
        let records = format::split_body(reader.body(&frame));
        let (mut rest, _) = records.ok_or_else(|| broken(place, file, at))?;
        while !rest.is_empty() {
            let (lsn, record, after) = split_record(rest).ok_or_else(|| broken(place, file, at))?;
            rest = after;
            if parts.lives(lsn) {
                self.keep(place, state, lsn, record)?;
            }
        }
        if frame.end < end {
            self.reader = Some(reader);
        }
        Ok(Some(frame.end - frame.at))
    }

    fn keep(
        &mut self,
        place: &Place,
        state: &State,
        lsn: u64,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let fits = |output: &Output| {
            output.living.admits(lsn) && output.end + (output.piece.len() as u64) < SEGMENT_BYTES
        };
        if self.output.as_ref().is_some_and(|output| !fits(output)) {
            self.end_output(place, state)?;
        }
        let output = match &mut self.output {
            Some(output) => output,
            none => none.insert(Output::new(place, &self.salt)?),
        };
        output.living.push(lsn);
        format::push_record(&mut output.piece, lsn, record);
        if output.piece.len() >= PIECE_BYTES {
            output.write(place, self.salt, state)?;
        }
        Ok(())
    }

    fn end_output(&mut self, place: &Place, state: &State) -> Result<(), StoreError> {
        let Some(mut output) = self.output.take() else {
            return Ok(());
        };
        output.write(place, self.salt, state)?;
        output.sync(place, state)?;
        if let Some((first, last)) = output.living.span() {
            output.living.shrink();
            let part = Part {
                file: output.file,
                end: output.end,
                seal: output.seal,
                records: output.living.records(),
                first: Lsn(first),
                last: Lsn(last),
            };
            self.done.push((part, output.living));
        }
        Ok(())
    }
}

impl Output {
    fn new(place: &Place, salt: &Salt) -> Result<Self, StoreError> {
        let file = FileId::draw(Kind::Kept);
        let made = place.folder.create(&file.to_string());
        let mut blob = made.map_err(place.error(file, "make"))?;
        let written = blob.write(0, &header(salt));
        written.map_err(place.error(file, "write"))?;
        Ok(Self {
            file,
            blob,
            piece: new_body(),
            end: HEADER_BYTES as u64,
            synced: 0,
            frames: 0,
            seal: 0,
            living: Living::default(),
        })
    }

    fn write(&mut self, place: &Place, salt: Salt, state: &State) -> Result<(), StoreError> {
        if self.piece.len() == new_body().len() {
            return Ok(());
        }
        let mut piece = std::mem::replace(&mut self.piece, new_body());
        set_records_length(&mut piece, FRAME_BYTES);
        let file = self.file;
        let binding = Binding { salt, file };
        self.frames += 1;
        let number = (self.frames, self.seal);
        self.seal = frame::seal(&mut piece, 0, &binding, self.end, number);
        let written = self.blob.write(self.end, &piece);
        written.map_err(place.error(file, "write"))?;
        self.end += piece.len() as u64;
        match self.end - self.synced >= SYNC_BYTES {
            true => self.sync(place, state),
            false => Ok(()),
        }
    }

    fn sync(&mut self, place: &Place, state: &State) -> Result<(), StoreError> {
        let failed = place.sync_error(self.file, state);
        self.blob.sync().map_err(failed)?;
        self.synced = self.end;
        Ok(())
    }
}

/// Room for the head of a frame, and for the length of its records.
fn new_body() -> Vec<u8> {
    vec![0; FRAME_BYTES + 4]
}

/// Notes how long the records are that end the buffer; the body begins at `start`.
pub(super) fn set_records_length(buffer: &mut [u8], start: usize) {
    let length = buffer.len().saturating_sub(start + 4);
    let length = u32::try_from(length).expect("frames are shorter than 4 GiB");
    if let Some(place) = buffer.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

fn broken(place: &Place, file: FileId, at: u64) -> StoreError {
    place.damaged(
        file,
        format!("what was written at byte {at} is not there any more"),
    )
}

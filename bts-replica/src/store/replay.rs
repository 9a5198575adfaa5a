//! Reading a log from its first record to its last, with every check that can be made: each frame is
//! as it was written, none is missing or was added, numbers rise.

use std::collections::VecDeque;

use bts_core::ids::Lsn;
use bts_core::replica::Record;

use super::StoreError;
use super::folder::Access;
use super::format::{self, FileId, Kind, Part, State};
use super::frame::{Binding, Frame, FrameReader, HEADER_BYTES, Salt, Seal, header};
use super::parts::Parts;
use super::segments::Place;

/// Reads frame after frame of file after file.
pub(super) struct Replay<'a> {
    place: &'a Place,
    salt: Salt,
    state: &'a State,
    waiting: VecDeque<Source>,
    open: Option<Open>,
    parts: &'a mut Parts,
    last: u64,
    count: u64,
    bad: Option<StoreError>,
}

/// A file to be read.
struct Source {
    file: FileId,
    end: u64,
    /// The seal of its last frame.
    seal: Seal,
    /// `None`: it is the one that is written.
    part: Option<Part>,
}

/// A file that is being read.
struct Open {
    source: Source,
    reader: FrameReader,
    seen: Option<(u64, Seal)>,
    frame: Option<Frame>,
    /// Where in the body of the frame the next record begins, and where the last ends.
    records: std::ops::Range<usize>,
}

impl<'a> Replay<'a> {
    /// Of this log. What lives in it is noted in `parts`: all of it.
    pub(super) fn new(
        place: &'a Place,
        salt: Salt,
        state: &'a State,
        parts: &'a mut Parts,
    ) -> Self {
        let sealed = state.parts.iter().map(|part| Source {
            file: part.file,
            end: part.end,
            seal: part.seal,
            part: Some(part.clone()),
        });
        let tail = Source {
            file: state.tail.file,
            end: state.tail.end,
            seal: state.seal,
            part: None,
        };
        Self {
            place,
            salt,
            state,
            waiting: sealed.chain([tail]).collect(),
            open: None,
            parts,
            last: 0,
            count: 0,
            bad: None,
        }
    }

    /// After the last record: all that was written is there, and nothing else.
    pub(super) fn finish(mut self) -> Result<u64, StoreError> {
        // Whoever read may have stopped at a record that does not fit.
        while self.next().is_some() {}
        if let Some(bad) = self.bad {
            return Err(bad);
        }
        let (found, written) = (Lsn(self.last), self.state.last);
        if found != written {
            let what = format!("it ends with record {found}, record {written} was written");
            return Err(self.place.damaged(self.state.tail.file, what));
        }
        Ok(self.count)
    }

    fn read(&mut self) -> Result<Option<(Lsn, Record)>, StoreError> {
        loop {
            let Some(open) = &mut self.open else {
                match self.waiting.pop_front() {
                    Some(source) => self.open = Some(self.open(source)?),
                    None => return Ok(None),
                }
                continue;
            };
            if let Some((lsn, record)) = open.record(self.place)? {
                if lsn <= self.last || !self.parts.push(lsn) {
                    return Err(open.bad(self.place, "has a record out of order"));
                }
                self.last = lsn;
                self.count += 1;
                return Ok(Some((Lsn(lsn), record)));
            }
            if !open.next_frame(self.place)? {
                self.end_file()?;
            }
        }
    }

    fn open(&self, source: Source) -> Result<Open, StoreError> {
        let file = source.file;
        let opened = self.place.folder.open(&file.to_string(), Access::Read);
        let blob = opened.map_err(self.place.error(file, "open"))?;
        let salt = self.salt;
        let mut reader = FrameReader::new(blob, Binding { salt, file });
        let is_fresh = source.part.is_none() && source.end == HEADER_BYTES as u64;
        let found = reader.header().map_err(self.place.error(file, "read"))?;
        if !is_fresh && found != Some(header(&salt)) {
            let what = "it does not begin as it was written";
            return Err(self.place.damaged(file, what));
        }
        Ok(Open {
            source,
            reader,
            seen: None,
            frame: None,
            records: 0..0,
        })
    }

    fn end_file(&mut self) -> Result<(), StoreError> {
        let Some(Open { source, seen, .. }) = self.open.take() else {
            return Ok(());
        };
        let wrong = |what: &str| Err(self.place.damaged(source.file, what));
        if seen.is_some_and(|(_, seal)| seal != source.seal) {
            return wrong("it ends with another commit than the log says");
        }
        let Some(part) = source.part else {
            self.parts.set_bytes(source.end);
            return Ok(());
        };
        if self.parts.active() != Some((part.first, part.last, part.records)) {
            return wrong("it has other records than the log says");
        }
        self.parts.seal(Some(part));
        Ok(())
    }
}

impl Open {
    fn bad(&self, place: &Place, what: &str) -> StoreError {
        let at = self.frame.as_ref().map_or(0, |frame| frame.at);
        place.damaged(
            self.source.file,
            format!("what was written at byte {at} {what}"),
        )
    }

    /// The next record of the frame at hand.
    fn record(&mut self, place: &Place) -> Result<Option<(u64, Record)>, StoreError> {
        let Some(frame) = self.frame.as_ref().filter(|_| !self.records.is_empty()) else {
            return Ok(None);
        };
        let body = self.reader.body(frame);
        let rest = body.get(self.records.clone()).unwrap_or_default();
        let (lsn, bytes, after) =
            format::split_record(rest).ok_or_else(|| self.bad(place, "is cut off"))?;
        let record = format::decode_record(bytes)
            .map_err(|error| self.bad(place, &format!("has a record that is none: {error}")))?;
        self.records.start = self.records.end - after.len();
        Ok(Some((lsn, record)))
    }

    /// Reads the next frame. False at the end of the file.
    fn next_frame(&mut self, place: &Place) -> Result<bool, StoreError> {
        let (file, at) = (self.source.file, self.reader.at());
        if at >= self.source.end {
            return Ok(false);
        }
        let read = self.reader.read().map_err(place.error(file, "read"))?;
        let expected = match (self.seen, file.kind) {
            (Some((number, seal)), _) => Some((number + 1, seal)),
            (None, Kind::Kept) => Some((1, 0)),
            (None, Kind::Log) => None,
        };
        let fits = |frame: &Frame| {
            let found = (frame.number, frame.previous);
            frame.end <= self.source.end && expected.is_none_or(|expected| expected == found)
        };
        let Some(frame) = read.filter(fits) else {
            let what = format!("what was written at byte {at} is not as it was written");
            return Err(place.damaged(file, what));
        };
        self.seen = Some((frame.number, frame.seal));
        let records =
            format::split_body(self.reader.body(&frame)).map(|(records, _)| records.len());
        self.frame = Some(frame);
        let records = records.ok_or_else(|| self.bad(place, "is cut off"))?;
        self.records = 4..4 + records;
        Ok(true)
    }
}

impl Iterator for Replay<'_> {
    type Item = (Lsn, Record);

    fn next(&mut self) -> Option<Self::Item> {
        if self.bad.is_some() {
            return None;
        }
        self.read().unwrap_or_else(|bad| {
            self.bad = Some(bad);
            None
        })
    }
}

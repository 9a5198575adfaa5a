//! Frames: what is written at once, sealed so that nothing else can be taken for it.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `btsf` |
//! | 4 | length of the body |
//! | 8 | number: of the commit; in a file of survivors of the frame |
//! | 16 | seal of the frame before it: of the commit before; in a file of survivors 0 for the first |
//! | 16 | digest of the body |
//! | 16 | seal: digest of the store's salt, the file, the place in it, and all of the above |
//! | | body, and zeros up to a multiple of 8 |
//!
//! A frame of an earlier use of the file, or of another place, has another seal; and as nobody outside
//! knows the salt, no record can be made to look like a frame.

use std::io;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::folder::Blob;
use super::format::{FORMAT, FileId, Kind};

/// A digest, cut off.
pub(super) type Seal = u128;
/// A random number that all files of one store begin with, and nobody else knows.
pub(super) type Salt = [u8; 16];

/// Bytes before the first frame of a file: the format and the salt.
pub(super) const HEADER_BYTES: usize = 32;
/// Bytes of a frame before its body.
pub(super) const FRAME_BYTES: usize = 64;
/// Frames begin at multiples of this.
const ALIGNMENT: usize = 8;
/// Bytes read at once.
const WINDOW_BYTES: usize = if cfg!(test) { 8 << 10 } else { 512 << 10 };
const MAGIC: [u8; 4] = *b"btsf";

/// The file that is written, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) file: FileId,
    pub(super) end: u64,
}

/// What binds a frame to its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub(super) salt: Salt,
    pub(super) file: FileId,
}

/// A frame that is as it was written.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) number: u64,
    pub(super) previous: Seal,
    pub(super) seal: Seal,
    pub(super) at: u64,
    /// Where the next one begins.
    pub(super) end: u64,
    body: Range<usize>,
}

/// What a sealed frame says before its body.
#[derive(Debug)]
struct Said {
    length: u32,
    number: u64,
    previous: Seal,
    digest: [u8; 16],
    seal: Seal,
}

/// The first bytes of a file.
pub(super) fn header(salt: &Salt) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (text, own_salt) = header.split_at_mut(HEADER_BYTES - salt.len());
    let format = text.iter_mut().zip(FORMAT.as_bytes());
    format.for_each(|(byte, said)| *byte = *said);
    own_salt.copy_from_slice(salt);
    header
}

/// The salt that a file begins with, if it is of this format.
pub(super) fn salt_of(found: &[u8; HEADER_BYTES]) -> Option<Salt> {
    let salt: &Salt = found.last_chunk()?;
    (header(salt) == *found).then_some(*salt)
}

/// Seals what stands in `buffer` from `start` on: room for the head of a frame, and its body. It will
/// be written at `at`.
pub(super) fn seal(
    buffer: &mut Vec<u8>,
    start: usize,
    binding: &Binding,
    at: u64,
    (number, previous): (u64, Seal),
) -> Seal {
    let (_, frame) = buffer.split_at_mut(start);
    let (head, body) = frame.split_at_mut(FRAME_BYTES);
    let length = u32::try_from(body.len()).expect("frames are shorter than 4 GiB");
    let (said, place) = head.split_at_mut(FRAME_BYTES - 16);
    let parts: [&[u8]; 5] = [
        &MAGIC,
        &length.to_le_bytes(),
        &number.to_le_bytes(),
        &previous.to_le_bytes(),
        &digest(&[body]),
    ];
    said.copy_from_slice(&parts.concat());
    let seal = binding.seal(at, said);
    place.copy_from_slice(&seal);
    let padded = buffer.len().next_multiple_of(ALIGNMENT);
    buffer.resize(padded, 0);
    Seal::from_le_bytes(seal)
}

impl Binding {
    fn seal(&self, at: u64, said: &[u8]) -> [u8; 16] {
        let kind = match self.file.kind {
            Kind::Log => b'l',
            Kind::Kept => b'k',
        };
        let number = self.file.number.to_le_bytes();
        digest(&[&self.salt, &[kind], &number, &at.to_le_bytes(), said])
    }

    /// What the head of a frame says, if it was written here.
    fn said(&self, at: u64, head: &[u8; FRAME_BYTES]) -> Option<Said> {
        let (magic, rest) = head.split_first_chunk::<4>()?;
        if *magic != MAGIC {
            return None;
        }
        let (said, seal) = head.split_last_chunk::<16>()?;
        if self.seal(at, said) != *seal {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (previous, rest) = rest.split_first_chunk::<16>()?;
        Some(Said {
            length: u32::from_le_bytes(*length),
            number: u64::from_le_bytes(*number),
            previous: Seal::from_le_bytes(*previous),
            digest: *rest.first_chunk::<16>()?,
            seal: Seal::from_le_bytes(*seal),
        })
    }
}

/// SHA-256 of these, cut off.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    let digest: [u8; 32] = hasher.finalize().into();
    let mut head = [0; 16];
    let bytes = head.iter_mut().zip(digest);
    bytes.for_each(|(byte, said)| *byte = said);
    head
}

/// Reads the frames of a file one after the other.
#[derive(Debug)]
pub(super) struct FrameReader {
    blob: Box<dyn Blob>,
    binding: Binding,
    at: u64,
    /// A part of the file, and where it begins.
    window: Vec<u8>,
    start: u64,
}

impl FrameReader {
    /// A reader of this file, from its first frame on.
    pub(super) fn new(blob: Box<dyn Blob>, binding: Binding) -> Self {
        Self {
            blob,
            binding,
            at: HEADER_BYTES as u64,
            window: Vec::new(),
            start: 0,
        }
    }

    /// What the file begins with. `None`: it is shorter.
    pub(super) fn header(&mut self) -> io::Result<Option<[u8; HEADER_BYTES]>> {
        let range = self.load(0, HEADER_BYTES)?;
        Ok(range.and_then(|range| self.window[range].first_chunk().copied()))
    }

    pub(super) fn file(&self) -> FileId {
        self.binding.file
    }

    pub(super) fn bind(&mut self, salt: Salt) {
        self.binding.salt = salt;
    }

    /// Where the next frame begins, if there is one.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next frame. `None`: there is none that is as it was written.
    pub(super) fn read(&mut self) -> io::Result<Option<Frame>> {
        let Some(said) = self.said(self.at)? else {
            return Ok(None);
        };
        let length = said.length as usize;
        let at = self.at;
        let Some(body) = self.load(at + FRAME_BYTES as u64, length)? else {
            return Ok(None);
        };
        if digest(&[&self.window[body.clone()]]) != said.digest {
            return Ok(None);
        }
        let end = at + (FRAME_BYTES + length).next_multiple_of(ALIGNMENT) as u64;
        self.at = end;
        Ok(Some(Frame {
            number: said.number,
            previous: said.previous,
            seal: said.seal,
            at,
            end,
            body,
        }))
    }

    /// The body of the frame that was read last.
    pub(super) fn body(&self, frame: &Frame) -> &[u8] {
        self.window.get(frame.body.clone()).unwrap_or_default()
    }

    /// Whether a write that began here was not finished, as far as one can tell: bytes behind the last
    /// commit in its page are zeros, unless there is another.
    pub(super) fn is_torn(&mut self, page_bytes: u64) -> io::Result<bool> {
        let at = self.at;
        if self.said(at)?.is_some() {
            return Ok(true);
        }
        let length = self.blob.length()?;
        let end = at.next_multiple_of(page_bytes).min(length.max(at));
        let count = usize::try_from(end - at).unwrap_or(0);
        let range = self.load(at, count)?.unwrap_or_default();
        Ok(self.window[range].iter().any(|byte| *byte != 0))
    }

    /// Where a later commit than `number` was written, from here on: then what stands here was durable
    /// once, as no commit begins before the one before it is.
    pub(super) fn later(&mut self, number: u64) -> io::Result<Option<u64>> {
        let mut at = self.at.next_multiple_of(ALIGNMENT as u64);
        let length = self.blob.length()?;
        while at + FRAME_BYTES as u64 <= length {
            let later = self.said(at)?.is_some_and(|said| said.number > number);
            if later && at > self.at {
                return Ok(Some(at));
            }
            at += ALIGNMENT as u64;
        }
        Ok(None)
    }

    fn said(&mut self, at: u64) -> io::Result<Option<Said>> {
        let Some(range) = self.load(at, FRAME_BYTES)? else {
            return Ok(None);
        };
        let head = self.window[range].first_chunk();
        Ok(head.and_then(|head| self.binding.said(at, head)))
    }

    /// Where in the window these bytes of the file are. `None`: the file ends before them.
    fn load(&mut self, at: u64, count: usize) -> io::Result<Option<Range<usize>>> {
        let within = |start: u64| usize::try_from(at.checked_sub(start)?).ok();
        if let Some(from) = within(self.start).filter(|from| from + count <= self.window.len()) {
            return Ok(Some(from..from + count));
        }
        self.window.resize(count.max(WINDOW_BYTES), 0);
        self.start = at;
        let read = self.blob.read(at, &mut self.window)?;
        self.window.truncate(read);
        Ok((count <= read).then_some(0..count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::folder::{Access, Folder};
    use crate::store::tests::sim::Sim;

    /// What a file held before it was used again, what another store or another file holds, and what was
    /// written elsewhere: none of it can be taken for a frame that belongs here.
    #[test]
    fn frame_holds_in_its_place_alone() {
        let file = |number, kind| FileId { kind, number };
        let own = Binding {
            salt: [1; 16],
            file: file(2, Kind::Log),
        };
        let mut bytes = header(&own.salt).to_vec();
        bytes.resize(HEADER_BYTES + FRAME_BYTES, 0);
        bytes.extend(b"what it says");
        let at = HEADER_BYTES as u64;
        let seal = seal(&mut bytes, HEADER_BYTES, &own, at, (7, 3));
        let read = |bytes: &[u8], binding| {
            let sim = Sim::of([("file".to_owned(), bytes.to_vec())]);
            let blob = sim.open("file", Access::Read);
            let mut reader = FrameReader::new(blob.expect("it is there"), binding);
            let frame = reader.read().expect("it can be read")?;
            assert_eq!(reader.body(&frame), b"what it says");
            assert_eq!(frame.end as usize, bytes.len());
            Some((frame.number, frame.previous, frame.seal))
        };
        assert_eq!(read(&bytes, own), Some((7, 3, seal)));
        let others = [
            Binding {
                salt: [2; 16],
                ..own
            },
            Binding {
                file: file(3, Kind::Log),
                ..own
            },
            Binding {
                file: file(2, Kind::Kept),
                ..own
            },
        ];
        for other in others {
            assert_eq!(read(&bytes, other), None, "{other:?}");
        }
        let frame = bytes.split_off(HEADER_BYTES);
        bytes.extend([0; 8]);
        bytes.extend(frame);
        let sim = Sim::of([("file".to_owned(), bytes)]);
        let blob = sim.open("file", Access::Read);
        let mut reader = FrameReader::new(blob.expect("it is there"), own);
        assert_eq!(
            reader.later(0).expect("it can be read"),
            None,
            "it was moved"
        );
    }
}

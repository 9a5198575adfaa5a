//! Frames on a byte stream: the length as four bytes, little-endian, then so many bytes.
//!
//! The decoder is fed whatever arrived and trusts nothing: a length over the cap is refused when it
//! is read, and memory grows with the bytes that came, never with the bytes that were announced.
//! After an error it stays in error.

/// Bytes of the length that precedes each frame.
pub(crate) const HEADER_BYTES: usize = 4;
/// What is reserved at once for a frame, however long it says it will be.
const RESERVE_BYTES_MAX: usize = 16 << 10;

/// A peer broke the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame is longer than permitted.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// The announced length.
        length: usize,
        /// The permitted length.
        limit: usize,
    },
    /// A frame without content, which no message has.
    #[error("a frame is empty")]
    Empty,
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Truncated,
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct FrameDecoder {
    frame_bytes_max: usize,
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    /// A frame that did not arrive in one piece.
    body: Vec<u8>,
    /// The body was complete, and its reader has had its time.
    body_is_read: bool,
}

impl FrameDecoder {
    /// A decoder at the start of a stream, whose frames may have so many bytes.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            header: [0; HEADER_BYTES],
            header_filled: 0,
            body: Vec::new(),
            body_is_read: false,
        }
    }

    /// Takes bytes from the front of `input` until a frame is complete or nothing is left. A frame
    /// that lies there as a whole is not copied.
    pub fn decode<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<&'a [u8]>, FrameError> {
        if std::mem::take(&mut self.body_is_read) {
            self.body.clear();
            self.body.shrink_to(RESERVE_BYTES_MAX);
        }
        while self.header_filled < HEADER_BYTES {
            let Some((byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            self.header[self.header_filled] = *byte;
            self.header_filled += 1;
            *input = rest;
        }
        let length = self.checked_length()?;
        if self.body.is_empty() {
            if let Some((frame, rest)) = input.split_at_checked(length) {
                self.header_filled = 0;
                *input = rest;
                return Ok(Some(frame));
            }
            self.body
                .reserve(length.min(RESERVE_BYTES_MAX.max(input.len())));
        }
        let missing = length - self.body.len();
        let (now, rest) = input.split_at(missing.min(input.len()));
        self.body.extend_from_slice(now);
        *input = rest;
        if self.body.len() < length {
            return Ok(None);
        }
        self.header_filled = 0;
        self.body_is_read = true;
        Ok(Some(&self.body))
    }

    /// Permits frames of another length from now on.
    pub(crate) fn set_frame_bytes_max(&mut self, bytes: usize) {
        self.frame_bytes_max = bytes;
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_within_frame(&self) -> bool {
        self.header_filled > 0
    }

    /// To be asked at the end of the stream: it must be the end of a frame too.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.is_within_frame() {
            Err(FrameError::Truncated)
        } else {
            Ok(())
        }
    }

    fn checked_length(&self) -> Result<usize, FrameError> {
        let limit = self.frame_bytes_max;
        match usize::try_from(u32::from_le_bytes(self.header)).unwrap_or(usize::MAX) {
            0 => Err(FrameError::Empty),
            length if length > limit => Err(FrameError::TooLong { length, limit }),
            length => Ok(length),
        }
    }
}

/// Appends a frame to what is to be sent, whose content `write` appends; returns its length. Whoever
/// finds it too long, or empty, cuts it off again.
pub(crate) fn append(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    write(buffer);
    let length = buffer.len() - start - HEADER_BYTES;
    let header = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    buffer[start..start + HEADER_BYTES].copy_from_slice(&header);
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(frame: &[u8], buffer: &mut Vec<u8>) {
        append(buffer, |buffer| buffer.extend_from_slice(frame));
    }

    #[test]
    fn frame_length_over_the_cap_is_refused_before_any_body_and_stays_refused() {
        let mut decoder = FrameDecoder::new(1000);
        let mut bomb: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        let error = FrameError::TooLong {
            length: u32::MAX as usize,
            limit: 1000,
        };
        assert_eq!(decoder.decode(&mut bomb), Err(error));
        assert_eq!(decoder.body.capacity(), 0);
        assert_eq!(decoder.decode(&mut bomb), Err(error));
        assert_eq!(
            decoder.decode(&mut [1u8, 0, 0, 0, 9].as_slice()),
            Err(error)
        );
    }

    #[test]
    fn frame_announced_but_not_sent_takes_little_memory() {
        let mut decoder = FrameDecoder::new(1 << 30);
        let mut announced: &[u8] = &[0, 0, 0, 0x40, 7];
        assert_eq!(decoder.decode(&mut announced), Ok(None));
        assert!(decoder.body.capacity() <= 2 * RESERVE_BYTES_MAX);
    }

    #[test]
    fn frame_of_exactly_the_cap_passes_and_one_more_does_not() {
        for (length, passes) in [(10, true), (11, false)] {
            let mut bytes = Vec::new();
            encode(&vec![5; length], &mut bytes);
            let mut decoder = FrameDecoder::new(10);
            let decoded = decoder.decode(&mut bytes.as_slice());
            assert_eq!(decoded.is_ok(), passes);
        }
    }

    #[test]
    fn frame_without_content_is_refused() {
        let mut decoder = FrameDecoder::new(10);
        let decoded = decoder.decode(&mut [0u8; 4].as_slice());
        assert_eq!(decoded, Err(FrameError::Empty));
    }

    #[test]
    fn frame_cut_by_the_end_of_the_stream_is_an_error() {
        let mut bytes = Vec::new();
        encode(b"abc", &mut bytes);
        for cut in 1..bytes.len() {
            let mut decoder = FrameDecoder::new(10);
            assert_eq!(decoder.decode(&mut &bytes[..cut]), Ok(None));
            assert_eq!(decoder.finish(), Err(FrameError::Truncated));
        }
        let mut decoder = FrameDecoder::new(10);
        assert_eq!(decoder.decode(&mut bytes.as_slice()), Ok(Some(&b"abc"[..])));
        assert_eq!(decoder.finish(), Ok(()));
    }

    /// Wherever a chunk ends: within a header, within a body, between two frames.
    #[test]
    fn frame_split_over_two_chunks_is_whole_at_every_offset() {
        let frames: [&[u8]; 3] = [b"a", &[7; 300], b"bcd"];
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| encode(frame, &mut bytes));
        for cut in 0..=bytes.len() {
            let mut decoder = FrameDecoder::new(300);
            let mut decoded = Vec::new();
            for mut chunk in [&bytes[..cut], &bytes[cut..]] {
                while let Some(frame) = decoder.decode(&mut chunk).expect("well formed") {
                    decoded.push(frame.to_vec());
                }
                assert!(chunk.is_empty());
            }
            assert_eq!(
                (decoder.finish(), decoded),
                (Ok(()), frames.map(<[u8]>::to_vec).into())
            );
        }
    }

    #[test]
    fn frame_in_one_piece_is_not_copied() {
        let mut bytes = Vec::new();
        encode(b"abc", &mut bytes);
        let (mut decoder, mut rest) = (FrameDecoder::new(10), bytes.as_slice());
        let frame = decoder.decode(&mut rest).expect("well formed");
        assert_eq!(frame.map(<[u8]>::as_ptr), Some(bytes[4..].as_ptr()));
        assert_eq!(decoder.body.capacity(), 0);
    }

    #[test]
    fn frame_that_was_long_leaves_little_memory() {
        let mut bytes = Vec::new();
        encode(&vec![1; 1 << 20], &mut bytes);
        let mut decoder = FrameDecoder::new(1 << 20);
        for mut piece in bytes.chunks(1000) {
            decoder.decode(&mut piece).expect("well formed");
        }
        assert_eq!(decoder.decode(&mut [1u8].as_slice()), Ok(None));
        assert!(decoder.body.capacity() <= RESERVE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn frame_stream_is_the_same_however_it_was_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..20),
            pieces in prop::collection::vec(1usize..64, 1..20),
        ) {
            let mut bytes = Vec::new();
            frames.iter().for_each(|frame| encode(frame, &mut bytes));
            let mut decoder = FrameDecoder::new(200);
            let (mut decoded, mut rest) = (Vec::new(), bytes.as_slice());
            for size in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (mut piece, later) = rest.split_at((*size).min(rest.len()));
                while let Some(frame) = decoder.decode(&mut piece).expect("well formed") {
                    decoded.push(frame.to_vec());
                }
                rest = later;
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn frame_decoder_survives_garbage_and_never_exceeds_the_cap(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            limit in 1usize..300,
        ) {
            let mut decoder = FrameDecoder::new(limit);
            let mut rest = bytes.as_slice();
            while let Ok(Some(frame)) = decoder.decode(&mut rest) {
                prop_assert!((1..=limit).contains(&frame.len()));
            }
        }
    }
}

//! A link: one authenticated connection, one stream in each direction, frames on it.
//!
//! Reading is pulled: what nobody reads stays with the peer, by flow control. Writing goes through
//! a queue bounded in bytes; [`FrameWriter::try_send`] never waits, so a slow peer costs its sender at
//! most the queue. All frames that wait are written in one go. What the frames mean, and whether the
//! peer may have a link at all, is the caller's affair.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quinn::{Chunk, Connection, ReadError, RecvStream, SendStream, WriteError};

use crate::frame::{FrameDecoder, FrameError};
use crate::link_error::{CLOSE_CODE, LinkError};
use crate::outbox::{FrameWriter, WayOut, outbox};
use crate::traffic::Traffic;

/// Most that is taken from QUIC at once, in bytes.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// How long the rest of the queue may take once all writers are gone.
const LINGER: Duration = Duration::from_secs(5);

/// The bounds of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// Longest frame, in either direction, in bytes.
    pub frame_bytes_max: usize,
    /// Most bytes that may wait to be written. A frame of the longest kind always fits into an
    /// empty queue, whatever is set here.
    pub queue_bytes_max: usize,
}

/// A link to a peer whose identity is proved.
#[derive(Debug)]
pub struct Link {
    /// What the peer sends.
    pub reader: FrameReader,
    /// What goes to the peer.
    pub writer: FrameWriter,
    /// Ends the link and tells of its end.
    pub closer: Closer,
}

/// The frames that a peer sends, in its order. Dropping it before the end ends the link.
pub struct FrameReader {
    stream: RecvStream,
    decoder: FrameDecoder,
    /// What has arrived but is not decoded, from `chunk_read` on.
    chunk: Option<Chunk>,
    chunk_read: usize,
    closer: Closer,
}

/// A handle to end a link, and to learn that and why it ended.
#[derive(Clone)]
pub struct Closer {
    connection: Connection,
    reason: Arc<OnceLock<String>>,
}

impl Default for LinkLimits {
    /// Frames of 1 MiB, a queue of 8 MiB.
    fn default() -> Self {
        Self {
            frame_bytes_max: 1 << 20,
            queue_bytes_max: 8 << 20,
        }
    }
}

impl Link {
    /// Frames on a stream whose greeting is over. Starts the task that writes.
    pub(crate) fn new(
        connection: Connection,
        (send, recv): (SendStream, RecvStream),
        limits: LinkLimits,
    ) -> Self {
        let closer = Closer::new(connection);
        let frame_bytes_max = limits.frame_bytes_max.min(u32::MAX as usize >> 1);
        let (writer, way_out) = outbox(frame_bytes_max, limits.queue_bytes_max);
        tokio::spawn(write_until_end(send, way_out, closer.clone()));
        let reader = FrameReader {
            stream: recv,
            decoder: FrameDecoder::new(frame_bytes_max),
            chunk: None,
            chunk_read: 0,
            closer: closer.clone(),
        };
        Self {
            reader,
            writer,
            closer,
        }
    }

    /// The three parts, for three tasks.
    pub fn split(self) -> (FrameReader, FrameWriter, Closer) {
        (self.reader, self.writer, self.closer)
    }
}

impl FrameReader {
    /// The next frame, or `None` when the peer has ended its stream in good order. A peer that
    /// breaks the framing loses the link. Cancel-safe: no byte is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, LinkError> {
        loop {
            if let Some(frame) = self.arrived()? {
                return Ok(Some(frame.to_vec()));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// The next frame of what has arrived, as it lies there; `None`: there is no other without
    /// [`FrameReader::more`]. For those who read much: who calls this until there is no more, has all
    /// frames that came together.
    pub fn arrived(&mut self) -> Result<Option<&[u8]>, LinkError> {
        let arrived = self.chunk.as_ref().map_or(&[][..], |chunk| &chunk.bytes);
        let mut rest = arrived.get(self.chunk_read..).unwrap_or_default();
        let decoded = self.decoder.decode(&mut rest);
        self.chunk_read = arrived.len() - rest.len();
        decoded.map_err(|error| broken(&self.closer, error))
    }

    /// Waits until more has arrived; to be called when all of what has was read. False when the
    /// peer has ended its stream in good order. Cancel-safe.
    pub async fn more(&mut self) -> Result<bool, LinkError> {
        // Forgotten before the wait: a cancelled one must not leave it to be decoded again.
        (self.chunk, self.chunk_read) = (None, 0);
        let read = self.stream.read_chunk(CHUNK_BYTES_MAX, true).await;
        self.chunk = read.map_err(|error| self.failed(error))?;
        match (&self.chunk, self.decoder.finish()) {
            (Some(_), _) => Ok(true),
            (None, Ok(())) => Ok(false),
            (None, Err(error)) => Err(broken(&self.closer, error)),
        }
    }

    /// Permits the peer frames of another length from now on: little before it has said what it
    /// wants. What it sends in excess ends the link.
    pub fn set_frame_bytes_max(&mut self, bytes: usize) {
        self.decoder.set_frame_bytes_max(bytes);
    }

    /// Whether the peer has begun a frame and not ended it, as far as [`FrameReader::next`] has
    /// read. Whoever leaves it at that for long holds our memory on purpose.
    pub fn is_within_frame(&self) -> bool {
        self.decoder.is_within_frame()
    }

    /// Ends the link, as [`Closer::close`] does.
    pub fn close(&self, reason: &str) {
        self.closer.close(reason);
    }

    fn failed(&self, error: ReadError) -> LinkError {
        match error {
            ReadError::ConnectionLost(error) => self.closer.why(error),
            other => {
                self.closer.close("you reset the stream");
                LinkError::Transport(other.to_string())
            }
        }
    }
}

impl Closer {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            reason: Arc::new(OnceLock::new()),
        }
    }

    /// Ends the link at once; the peer is told the reason (a short sentence about it, in plain
    /// text). What still waits is dropped. The first reason stands.
    pub fn close(&self, reason: &str) {
        if self.connection.close_reason().is_none() {
            self.reason.get_or_init(|| reason.into());
            self.connection.close(CLOSE_CODE, reason.as_bytes());
        }
    }

    /// Waits for the end of the link and says why it came.
    pub async fn closed(&self) -> LinkError {
        let error = self.connection.closed().await;
        self.why(error)
    }

    /// Why the link ended, if it did.
    pub fn ended(&self) -> Option<LinkError> {
        self.connection.close_reason().map(|error| self.why(error))
    }

    /// Where the peer is.
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// The estimated round trip to the peer.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// What went over the link so far, in both directions.
    pub fn traffic(&self) -> Traffic {
        let stats = self.connection.stats();
        Traffic {
            sent_bytes: stats.udp_tx.bytes,
            sent_datagrams: stats.udp_tx.datagrams,
            received_bytes: stats.udp_rx.bytes,
            received_datagrams: stats.udp_rx.datagrams,
        }
    }

    pub(crate) fn why(&self, error: quinn::ConnectionError) -> LinkError {
        LinkError::of(error, self.reason.get().map(String::as_str))
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader")
            .field("closer", &self.closer)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer")
            .field("remote_address", &self.remote_address())
            .finish_non_exhaustive()
    }
}

fn broken(closer: &Closer, error: FrameError) -> LinkError {
    closer.close(&format!("you broke the framing: {error}"));
    error.into()
}

/// Writes until the queue is at its end or the link is; an ended link has no queue, so that a
/// sender notices. A peer that lets us keep the rest of the queue for ever, after everybody else has
/// left the link, is left too.
async fn write_until_end(stream: SendStream, queue: WayOut, closer: Closer) {
    let abandoned = async {
        queue.left().await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        biased;
        written = write_all(stream, &queue) => if written.is_err() {
            closer.close("you do not read any more");
        },
        _ended = closer.connection.closed() => {}
        () = abandoned => closer.close("you did not take what was left in time"),
    }
}

async fn write_all(mut stream: SendStream, queue: &WayOut) -> Result<(), WriteError> {
    let mut buffer = Vec::new();
    while queue.take(&mut buffer).await {
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let written = stream.write(rest).await?;
            rest = rest.get(written..).unwrap_or_default();
            queue.wrote(written);
        }
    }
    // Only the peer's acknowledgement allows the connection to be dropped.
    if stream.finish().is_ok() {
        let _ = stream.stopped().await;
    }
    Ok(())
}

//! What waits to be written on a link: frames one behind the other in one buffer, bounded in bytes.
//!
//! Whoever has a frame appends it in place; the task that writes takes the whole buffer at once, and
//! is woken only for the first frame of each. What it has taken counts as waiting until QUIC has it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::frame::{HEADER_BYTES, append};

/// What a buffer keeps when it is empty.
const KEEP_BYTES: usize = 16 << 10;

/// Why a frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The peer does not keep up: too many bytes wait for it.
    #[error("the peer does not keep up, its queue is full")]
    Full,
    /// The link has ended.
    #[error("the link has ended")]
    Ended,
    /// The frame is empty or longer than the link permits; no peer would take it.
    #[error("a frame of {0} bytes cannot be sent on this link")]
    Length(usize),
}

/// The way to a peer. When the last clone is dropped, what is queued is still written (for five
/// seconds at most), and the peer sees the end of the stream.
#[derive(Clone)]
pub struct FrameWriter {
    way_in: Arc<WayIn>,
}

/// All clones of a writer together.
struct WayIn {
    outbox: Arc<Outbox>,
}

/// The end at which frames are taken. When it is dropped, nothing is queued any more.
pub(crate) struct WayOut {
    outbox: Arc<Outbox>,
}

struct Outbox {
    state: Mutex<State>,
    frame_bytes_max: usize,
    bytes_max: usize,
    /// There is something to write, or there never will be.
    filled: Notify,
    /// There is room again, or there never will be.
    room: Notify,
    /// There are no writers any more.
    left: Notify,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that were taken, but not written.
    taken: usize,
    is_left: bool,
    is_ended: bool,
}

/// Both ends of an empty queue. A frame of the longest kind always fits into it.
pub(crate) fn outbox(frame_bytes_max: usize, bytes_max: usize) -> (FrameWriter, WayOut) {
    let outbox = Arc::new(Outbox {
        state: Mutex::default(),
        frame_bytes_max,
        bytes_max: bytes_max.max(frame_bytes_max.saturating_add(HEADER_BYTES)),
        filled: Notify::new(),
        room: Notify::new(),
        left: Notify::new(),
    });
    let way_in = Arc::new(WayIn {
        outbox: outbox.clone(),
    });
    (FrameWriter { way_in }, WayOut { outbox })
}

impl FrameWriter {
    /// Queues a frame, or fails at once.
    pub fn try_send(&self, frame: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.try_send_with(|buffer| buffer.extend_from_slice(frame.as_ref()))
    }

    /// The same with a frame that `write` appends to the bytes that wait, and does nothing else to
    /// them. It is not called if nothing more fits.
    pub fn try_send_with(&self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        self.way_in.outbox.push(write)
    }

    /// Queues a frame, waiting for room. Cancel-safe: the frame is queued or it is not.
    pub async fn send(&self, frame: impl AsRef<[u8]>) -> Result<(), SendError> {
        // Whoever sends on and on would never wait as long as there is room, and keep its thread from all others.
        tokio::task::coop::consume_budget().await;
        loop {
            // It hears of room from here on.
            let mut room = std::pin::pin!(self.way_in.outbox.room.notified());
            room.as_mut().enable();
            match self.try_send(frame.as_ref()) {
                Err(SendError::Full) => room.await,
                sent => return sent,
            }
        }
    }

    /// How many bytes wait in the queue, lengths included.
    pub fn queued_bytes(&self) -> usize {
        self.way_in.outbox.lock().bytes()
    }
}

impl WayOut {
    /// Waits for frames, and exchanges an empty buffer for them. False: there will be no more.
    pub(crate) async fn take(&self, buffer: &mut Vec<u8>) -> bool {
        loop {
            if let Some(taken) = self.outbox.take(buffer) {
                return taken;
            }
            self.outbox.filled.notified().await;
        }
    }

    /// So many bytes of what was taken are written.
    pub(crate) fn wrote(&self, bytes: usize) {
        let mut state = self.outbox.lock();
        state.taken = state.taken.saturating_sub(bytes);
        drop(state);
        self.outbox.room.notify_waiters();
    }

    /// Waits until the last writer is dropped.
    pub(crate) async fn left(&self) {
        while !self.outbox.lock().is_left {
            self.outbox.left.notified().await;
        }
    }
}

impl Outbox {
    fn push(&self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        let mut state = self.lock();
        if state.is_ended {
            return Err(SendError::Ended);
        }
        let (before, room) = (state.waiting.len(), self.bytes_max - state.bytes());
        if room <= HEADER_BYTES {
            return Err(SendError::Full);
        }
        let length = append(&mut state.waiting, write);
        let error = if length == 0 || length > self.frame_bytes_max {
            SendError::Length(length)
        } else if length + HEADER_BYTES > room {
            SendError::Full
        } else {
            if before == 0 {
                self.filled.notify_one();
            }
            return Ok(());
        };
        state.waiting.truncate(before);
        Err(error)
    }

    /// `None`: nothing yet.
    fn take(&self, buffer: &mut Vec<u8>) -> Option<bool> {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            return state.is_left.then_some(false);
        }
        buffer.clear();
        buffer.shrink_to(KEEP_BYTES);
        std::mem::swap(&mut state.waiting, buffer);
        state.taken = buffer.len();
        Some(true)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> usize {
        self.waiting.len() + self.taken
    }
}

impl Drop for WayIn {
    fn drop(&mut self) {
        self.outbox.lock().is_left = true;
        self.outbox.filled.notify_one();
        self.outbox.left.notify_one();
    }
}

impl Drop for WayOut {
    fn drop(&mut self) {
        let mut state = self.outbox.lock();
        state.is_ended = true;
        (state.waiting, state.taken) = (Vec::new(), 0);
        drop(state);
        self.outbox.room.notify_waiters();
    }
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter")
            .field("queued_bytes", &self.queued_bytes())
            .finish_non_exhaustive()
    }
}

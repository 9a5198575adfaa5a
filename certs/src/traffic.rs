//! How much went over links.

use std::iter::Sum;
use std::ops::Add;

/// What went over links: the payload of UDP datagrams, so with all that QUIC and TLS add, and with
/// what was sent again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Datagrams that were sent.
    pub sent_datagrams: u64,
    /// Bytes that were received.
    pub received_bytes: u64,
    /// Datagrams that were received.
    pub received_datagrams: u64,
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes + other.sent_bytes,
            sent_datagrams: self.sent_datagrams + other.sent_datagrams,
            received_bytes: self.received_bytes + other.received_bytes,
            received_datagrams: self.received_datagrams + other.received_datagrams,
        }
    }
}

impl Sum for Traffic {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum + one)
    }
}

//! Why a link was not made, or ended, in words a person can act on.
//!
//! In TLS 1.3 a client whose certificate is refused believes at first that it is connected and
//! learns the truth by an alert on first use. Such alerts become [`Refusal`] here.

use std::io;

use quinn::{ConnectError, ConnectionError, VarInt};

use crate::frame::FrameError;
use crate::identity::{CertificateError, Identity};
use crate::tls::TlsError;

/// The code with which a BTS peer closes; the text beside it says why.
pub(crate) const CLOSE_CODE: VarInt = VarInt::from_u32(1);
/// TLS alerts are transport errors from this number on (RFC 9001, section 4.8).
const ALERT_BASE: u64 = 0x100;
/// QUIC's "the server refuses to accept a new connection" (RFC 9000, section 20.1).
const CONNECTION_REFUSED: u64 = 0x2;
/// Most characters of a peer's text that are kept.
const REASON_CHARS_MAX: usize = 300;

/// Why there is no link, or no longer one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A socket could not be bound, or its address not be found out.
    #[error("cannot use the socket: {0}")]
    Socket(#[from] io::Error),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address or server name cannot be dialed.
    #[error("cannot dial: {0}")]
    Dial(#[from] ConnectError),
    /// No answer for too long.
    #[error("the peer does not answer")]
    TimedOut,
    /// The peer has no memory of the link, most likely because it restarted.
    #[error("the peer has forgotten the link; it may have restarted")]
    Reset,
    /// The peer does not take connections now.
    #[error("the peer takes no connections at the moment")]
    Busy,
    /// The peer refused our certificate, or what TLS offered.
    #[error("the peer refused us: {0}")]
    RefusedByPeer(Refusal),
    /// The peer's certificate or handshake did not pass TLS.
    #[error("the peer was refused: {0}")]
    RefusedPeer(String),
    /// The peer's certificate is of our authority, but not that of a member.
    #[error("the peer's certificate was refused: {0}")]
    Certificate(#[from] CertificateError),
    /// Someone else than a replica answered.
    #[error("dialed a replica, but {0} answered")]
    NotAReplica(Identity),
    /// A member opens connections faster than it greets on them.
    #[error("{0} has too many connections without a link")]
    TooMany(Identity),
    /// The peer speaks no link of this version.
    #[error("the peer does not speak this version of the link")]
    Greeting,
    /// The peer broke the framing; the link was closed.
    #[error("the peer broke the framing: {0}")]
    Frame(#[from] FrameError),
    /// The peer closed the link and said why.
    #[error("the peer closed the link: {0}")]
    ClosedByPeer(String),
    /// This side closed the link.
    #[error("this side closed the link: {0}")]
    Closed(String),
    /// The peer violated QUIC, or says that we did.
    #[error("the connection failed: {0}")]
    Transport(String),
}

/// What a peer's TLS alert says about our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// We sent no certificate.
    #[error("certificate required")]
    CertificateRequired,
    /// Our certificate is of an authority the peer does not trust.
    #[error("unknown authority: our certificate is not of the authority the peer trusts")]
    UnknownAuthority,
    /// Our certificate is outside its validity by the peer's clock.
    #[error("our certificate has expired, or is not valid yet by the peer's clock")]
    Expired,
    /// Our certificate was revoked.
    #[error("our certificate was revoked")]
    Revoked,
    /// Our certificate has a name, key or usage that does not fit.
    #[error("our certificate is not suitable (name, key or usage)")]
    Unsuitable,
    /// The peer speaks another protocol or version.
    #[error("no common protocol version")]
    NoCommonProtocol,
    /// Another TLS alert.
    #[error("TLS alert {0}")]
    Alert(u8),
}

impl LinkError {
    /// What a connection's end means. `own_reason`: what we said, if we closed it.
    pub(crate) fn of(error: ConnectionError, own_reason: Option<&str>) -> Self {
        match error {
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Reset,
            ConnectionError::LocallyClosed => {
                Self::Closed(own_reason.unwrap_or("it was dropped").into())
            }
            ConnectionError::ApplicationClosed(close) => {
                Self::ClosedByPeer(printable(&close.reason))
            }
            ConnectionError::ConnectionClosed(close) => {
                match (u64::from(close.error_code), alert(close.error_code.into())) {
                    (_, Some(alert)) => Self::RefusedByPeer(Refusal::of(alert)),
                    (CONNECTION_REFUSED, None) => Self::Busy,
                    (code, None) => Self::Transport(format!(
                        "the peer reports error {code:#x} {}",
                        printable(&close.reason)
                    )),
                }
            }
            ConnectionError::TransportError(error) if alert(error.code.into()).is_some() => {
                Self::RefusedPeer(error.reason)
            }
            ConnectionError::VersionMismatch => Self::RefusedByPeer(Refusal::NoCommonProtocol),
            other @ (ConnectionError::TransportError(_) | ConnectionError::CidsExhausted) => {
                Self::Transport(other.to_string())
            }
        }
    }
}

impl Refusal {
    /// The alerts of RFC 8446, section 6.2.
    fn of(alert: u8) -> Self {
        match alert {
            42 | 43 | 46 | 49 | 51 => Self::Unsuitable,
            44 => Self::Revoked,
            45 => Self::Expired,
            48 => Self::UnknownAuthority,
            70 | 120 => Self::NoCommonProtocol,
            116 => Self::CertificateRequired,
            other => Self::Alert(other),
        }
    }
}

fn alert(code: u64) -> Option<u8> {
    code.checked_sub(ALERT_BASE)
        .and_then(|alert| u8::try_from(alert).ok())
}

/// A peer's text, cut and without anything that could play tricks on a terminal or a log.
fn printable(reason: &[u8]) -> String {
    let text = String::from_utf8_lossy(reason);
    let clean = |c: char| {
        if c.is_control() || is_direction_mark(c) {
            '?'
        } else {
            c
        }
    };
    match text
        .chars()
        .take(REASON_CHARS_MAX)
        .map(clean)
        .collect::<String>()
    {
        empty if empty.is_empty() => "no reason given".into(),
        text => text,
    }
}

/// Characters that change the direction of the text around them.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_reason_of_a_peer_is_cut_and_cleaned() {
        assert_eq!(printable(b"bad\x1b[31m\nline"), "bad?[31m?line");
        assert_eq!(printable("\u{202e}evil".as_bytes()), "?evil");
        assert_eq!(printable(b"\xff"), "\u{fffd}");
        assert_eq!(printable(b""), "no reason given");
        assert_eq!(printable(&[b'x'; 5000]).len(), REASON_CHARS_MAX);
    }
}

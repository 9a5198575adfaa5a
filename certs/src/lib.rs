//! Who is who in a BTS deployment, and links on which that is certain.
//!
//! One certificate authority per deployment issues an Ed25519 certificate to every replica and every
//! client ([`Authority`], [`folder`]). The key of the certificate *is* the identity of its owner in
//! the protocol: the same key proves itself in TLS and signs protocol messages ([`LocalIdentity`]).
//! [`Listener`] and [`Dialer`] make QUIC connections on which both sides have proved their keys, and
//! turn each into one stream of bounded frames ([`Link`]).
//!
//! Being of the authority is not a right. Whoever accepts a [`Link`] compares the [`Identity`] it
//! came with against the configuration of the cluster. What the frames say is not known here either.
//!
//! A throw-away cluster in one process:
//!
//! ```
//! use bts_certs::{Authority, Dialer, LinkLimits, Listener, Subject, Validity};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let authority = Authority::create(Validity::days(1))?;
//! let replica = authority.member(&Subject::replica(0, &["127.0.0.1"])?, Validity::days(1))?;
//! let client = authority.member(&Subject::client("w1")?, Validity::days(1))?;
//!
//! let mut listener = Listener::bind("127.0.0.1:0".parse()?, &replica, LinkLimits::default())?;
//! let dialer = Dialer::bind("127.0.0.1:0".parse()?, &client, LinkLimits::default())?;
//! let (dialed, accepted) = tokio::join!(
//!     dialer.connect(listener.local_addr()?, "replica-0"),
//!     listener.accept(),
//! );
//! let (dialed, mut accepted) = (dialed?, accepted.ok_or("the listener was closed")?);
//! assert_eq!(dialed.identity.key, replica.identity().key);
//! assert_eq!(accepted.identity.name, "w1");
//!
//! dialed.link.writer.try_send(b"hello".to_vec())?;
//! assert_eq!(accepted.link.reader.next().await?, Some(b"hello".to_vec()));
//! # Ok(()) })
//! # }
//! ```

mod authority;
pub mod cluster;
pub mod deployment;
mod describe;
mod dial;
mod door;
pub mod folder;
mod founding;
mod frame;
mod identity;
mod link;
mod link_error;
mod listen;
mod local;
mod outbox;
mod policy_file;
mod reset;
mod subject;
mod tls;
pub mod toml_file;
mod traffic;

pub use authority::{Authority, IssueError, Issued, Request, Validity};
pub use describe::Description;
pub use dial::{Authenticated, Dialer};
pub use frame::{FrameDecoder, FrameError};
pub use identity::{CertificateError, Identity, Role};
pub use link::{Closer, FrameReader, Link, LinkLimits};
pub use link_error::{LinkError, Refusal};
pub use listen::Listener;
pub use local::{LoadError, LocalIdentity};
pub use outbox::{FrameWriter, SendError};
pub use subject::{Subject, SubjectError, replica_name};
pub use tls::{TlsError, client_config, server_config};
pub use traffic::Traffic;

//! Newtypes for every number and name of the protocol, and the identity of an entry (PROTOCOL
//! section 2). Ids print as a few hex digits: the one human format of logs, traces and tests.

mod entry;

use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::crypto::hash::Digest;
use crate::limits::SPACE_NAME_BYTES_MAX;

pub(crate) use entry::IdParts;
pub use entry::{BadId, EntryId, Root, Run};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $show:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $show, self.0)
            }
        }
    };
}

number!(
    /// Position of a replica in the configuration, from 0.
    ReplicaId(u16), "s{}"
);
number!(
    /// A ballot of one consensus instance. Ballot 0 belongs to the clients, each higher one to a
    /// co-proposer.
    Ballot(u32), "b{}"
);
number!(
    /// How often an entry has been released; each epoch has its own consensus instance.
    Epoch(u8), "e{}"
);
number!(
    /// Position of a record in a replica's log, from 1.
    Lsn(u64), "l{}"
);
number!(
    /// A request of a client session, chosen by the client and echoed by the answer.
    RequestId(u64), "r{}"
);
number!(
    /// One run of a client process. Sessions of a key are ordered: start time in microseconds with
    /// random low bits.
    Session(u64), "{:x}"
);
number!(
    /// Number of a Take within its session; each engagement draws a new one (G4).
    TakeNumber(u64), "#{}"
);
number!(
    /// A watch a replica keeps for a reader that was told "empty".
    WatchId(u64), "w{}"
);
number!(
    /// Counter of the entries a session wrote.
    Seq(u64), "{}"
);
number!(
    /// Random identity of a store, remembered by peers so that a lost disk is noticed (A8).
    Incarnation(u64), "{:x}"
);

impl Ballot {
    /// The ballot of the clients.
    pub const ZERO: Self = Self(0);
}

/// An Ed25519 public key: the identity of a client or of a replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublicKey(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {self}")
    }
}

/// Random identity of a cluster, fixed at its creation and bound by every signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {self}")
    }
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

digest!(
    /// The hash of a whole signed Take: `op` in the protocol. It names the value of a vote, and,
    /// since one Take at most is ever decided per entry, the decision as well.
    OpId
);
digest!(
    /// The hash of an entry's signed content, or of a put's place in its Take.
    ContentHash
);

/// A client process: its key and its session. Whatever is acknowledged, settled or reserved belongs
/// to this pair; rights and quotas belong to the key alone (C3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientRef {
    /// Who.
    pub key: PublicKey,
    /// Which of its processes.
    pub session: Session,
}

impl fmt::Display for ClientRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key, self.session)
    }
}

/// Name of a tuple space: 1 to [`SPACE_NAME_BYTES_MAX`] bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceName(Arc<str>);

/// Why a text is no name of a space.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a space: it has 1 to {SPACE_NAME_BYTES_MAX} bytes and no control characters"
)]
pub struct BadSpaceName(String);

impl SpaceName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, BadSpaceName> {
        let fits = (1..=SPACE_NAME_BYTES_MAX).contains(&name.len());
        if !fits || name.chars().any(char::is_control) {
            return Err(BadSpaceName(name.chars().take(80).collect()));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for SpaceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Every id begins with a name, which is not copied before it becomes one.
impl<'de> Deserialize<'de> for SpaceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = SpaceName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a space")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<SpaceName, E> {
                SpaceName::new(name).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Name)
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_name_bounds() {
        assert!(SpaceName::new("").is_err());
        assert!(SpaceName::new("a\nb").is_err());
        assert!(SpaceName::new(&"x".repeat(SPACE_NAME_BYTES_MAX + 1)).is_err());
        assert!(SpaceName::new(&"x".repeat(SPACE_NAME_BYTES_MAX)).is_ok());
    }
}

//! The one hash function (SHA-256), always with a domain, so that a hash made for one purpose is
//! worthless for any other.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl Digest {
    /// The first 8 bytes, big endian: `h(..)` of PROTOCOL.
    pub fn head(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a digest is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Domain {
    /// A leaf of a Merkle batch: one signed message.
    Leaf = 0,
    /// An inner node of a Merkle batch.
    Node = 1,
    /// The content of a put: the Take and the put's number in it.
    Put = 2,
    /// A cluster configuration.
    Configuration = 3,
    /// An entry's place in the ring that reads walk along.
    Ring = 4,
    /// Where on the ring a read starts.
    RingStart = 5,
    /// Which co-proposer owns which ballot.
    Owner = 6,
    /// Order of the Takes in a free choice of the last epoch.
    TakeOrder = 7,
    /// Order in which blocked `in`s are told of an entry.
    WaiterOrder = 8,
    /// A key of the index: the bound fields of a template.
    Projection = 9,
    /// What replicas hold in a slice of all ids, to be compared.
    Slice = 10,
    /// All that a replica holds when its configuration ends.
    Export = 11,
    /// What a configuration begins with.
    Founding = 12,
}

/// A hash under construction. Every part is preceded by its length, so that no two sequences of
/// parts give one input.
#[derive(Clone, Debug)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Starts a hash of this domain.
    pub fn new(domain: Domain) -> Self {
        let mut inner = Sha256::new();
        inner.update(b"BTS/1 ");
        inner.update([domain as u8]);
        Self(inner)
    }

    /// Adds one part.
    #[must_use]
    pub fn part(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.part(&number.to_be_bytes())
    }

    /// The digest.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_parts_and_domains_are_separated() {
        let one = Hasher::new(Domain::Leaf).part(b"ab").part(b"c").finish();
        let two = Hasher::new(Domain::Leaf).part(b"a").part(b"bc").finish();
        let three = Hasher::new(Domain::Node).part(b"ab").part(b"c").finish();
        assert_ne!(one, two);
        assert_ne!(one, three);
    }

    #[test]
    fn hash_golden_vector() {
        let digest = Hasher::new(Domain::Put).part(b"x").number(7).finish();
        let hex: String = digest.0.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "ac494639a719cb06742c8146918cc7c903e7bf86a2b0aea4590bd9b69af2d70c"
        );
    }
}

//! The part of the cluster file that later configurations have: which one it is, and what it begins with
//! . `bts admin replace` writes it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bts_core::crypto::hash::{Digest, Domain, Hasher};
use bts_core::ids::ReplicaId;
use serde::Deserialize;
use toml::Spanned;

use crate::cluster::{Cluster, Member, bytes_of_hex};
use crate::identity::hex;
use crate::toml_file::{FileError, TomlFile};

/// What a configuration begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundedOn {
    /// What proofs of earlier configurations lead to.
    pub proofs: Digest,
    /// Hash of the log that replicas begin with.
    pub state: Digest,
    /// Replicas that begin with nothing, and catch up: those whose memory was lost.
    pub empty: BTreeSet<ReplicaId>,
}

/// What the replicas of `ending` stop for, if these are to be the members of the next configuration: another
/// change has another purpose. It does not bind who begins with nothing, as it may turn out later that a
/// replica has nothing to hand over.
pub fn purpose_of<'a>(ending: &Cluster, members: impl IntoIterator<Item = &'a Member>) -> Digest {
    let context = ending.configuration().signing_context();
    let hasher = Hasher::new(Domain::Founding)
        .part(b"purpose")
        .part(&context.cluster.0)
        .part(&context.configuration.0);
    let members = members.into_iter().fold(hasher, |hasher, member| {
        hasher
            .part(member.name.as_bytes())
            .part(member.address.as_bytes())
            .part(&member.key.0)
    });
    members.finish()
}

/// The table `founding`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FoundingFile {
    proofs: Spanned<String>,
    state: Spanned<String>,
    empty: Spanned<Vec<u16>>,
}

impl FoundingFile {
    pub(crate) fn check(
        self,
        file: &TomlFile,
        replicas: usize,
        faults: usize,
    ) -> Result<FoundedOn, FileError> {
        let empty: BTreeSet<_> = self
            .empty
            .get_ref()
            .iter()
            .copied()
            .map(ReplicaId)
            .collect();
        let wrong = |reason: String| Err(file.wrong(self.empty.span(), reason));
        if let Some(seat) = empty.iter().find(|seat| usize::from(seat.0) >= replicas) {
            return wrong(format!("there is no replica {seat}"));
        }
        // What was acknowledged is held by all others: these are as many as may be faulty (A8).
        if empty.len() > faults {
            return wrong(format!(
                "{} replicas cannot begin with nothing where {faults} may be faulty",
                empty.len()
            ));
        }
        Ok(FoundedOn {
            proofs: Digest(bytes_of_hex(file, &self.proofs)?),
            state: Digest(bytes_of_hex(file, &self.state)?),
            empty,
        })
    }
}

impl FoundedOn {
    pub(crate) fn render(&self, number: u64) -> String {
        let mut text = String::new();
        let empty: Vec<_> = self.empty.iter().map(|seat| seat.0.to_string()).collect();
        write!(
            text,
            "\n# How many configurations this cluster had before, and what this one began with: which of\n\
             # its replicas with nothing. Written by bts admin replace.\n\
             number = {number}\n\n[founding]\nproofs = \"{}\"\nstate = \"{}\"\nempty = [{}]\n",
            hex(&self.proofs.0),
            hex(&self.state.0),
            empty.join(", "),
        )
        .expect("a string takes all that is written to it");
        text
    }
}

#[cfg(test)]
mod tests {
    use bts_core::configuration::Policy;
    use bts_core::ids::{ClusterId, PublicKey};
    use ed25519_dalek::SigningKey;

    use super::*;

    fn member(seed: u8) -> Member {
        let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
        Member {
            name: format!("replica-{}", seed % 10),
            address: format!("127.0.0.1:{}", 7400 + u16::from(seed)),
            key: PublicKey(key.to_bytes()),
        }
    }

    fn first() -> Cluster {
        let members: Vec<_> = (0..4).map(member).collect();
        let policy = Policy {
            operators: [member(9).key].into(),
            ..Policy::default()
        };
        Cluster::new(ClusterId([7; 32]), 1, &members, &policy).expect("a cluster")
    }

    fn founding() -> FoundedOn {
        FoundedOn {
            proofs: Digest([1; 32]),
            state: Digest([2; 32]),
            empty: [ReplicaId(2)].into(),
        }
    }

    #[test]
    fn founding_next_configuration_is_written_and_read() {
        let first = first();
        let members: Vec<_> = [0, 1, 12, 3].map(member).into();
        let next = first.next(&members, founding()).expect("a cluster");
        let again = Cluster::parse(&TomlFile::given("c.toml", next.to_toml())).expect("the same");
        assert_eq!(again.configuration(), next.configuration());
        assert_eq!(again.founding(), Some(&founding()));
        assert_eq!(again.configuration().number(), 1);
        assert_eq!(
            again.configuration().policy(),
            first.configuration().policy()
        );
        let contexts = [&first, &next].map(|c| *c.configuration().signing_context());
        assert_ne!(contexts[0], contexts[1]);
        let third = next.next(&members, founding()).expect("a cluster");
        assert_eq!(third.configuration().number(), 2);
        assert_ne!(third.configuration().signing_context(), &contexts[1]);
    }

    #[test]
    fn founding_purpose_binds_who_will_be_a_member() {
        let first = first();
        let members: Vec<_> = [0, 1, 12, 3].map(member).into();
        let next = first.next(&members, founding()).expect("a cluster");
        let purpose = purpose_of(&first, &members);
        let of_next = next.members().map(|(_, member)| member);
        assert_eq!(purpose_of(&first, of_next), purpose);
        assert_ne!(purpose_of(&next, &members), purpose, "of another one");
        let mut others = [members.clone(), members.clone(), members];
        others[0].swap(0, 1);
        others[1][2].address = "127.0.0.1:1".into();
        others[2][2].key = member(14).key;
        for other in others {
            assert_ne!(purpose_of(&first, &other), purpose);
        }
    }

    #[test]
    fn founding_contradictions_are_refused() {
        let members: Vec<_> = (0..4).map(member).collect();
        let next = first().next(&members, founding()).expect("a cluster");
        let text = next.to_toml();
        for (from, to, reason) in [
            ("empty = [2]", "empty = [2, 3]", "cannot begin with nothing"),
            ("empty = [2]", "empty = [4]", "there is no replica"),
            ("number = 1", "number = 0", "configuration 0 has no"),
            ("number = 1", "", "configuration 0 has no"),
            ("proofs = \"01", "proofs = \"0", "not 64 hexadecimal"),
            ("state", "stat", "unknown field"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from} is not in the file");
            let error = Cluster::parse(&TomlFile::given("c.toml", changed));
            let error = error.expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}

//! The cluster file: who the replicas are, where they are, how many may be faulty, who may do what.
//!
//! It is the same on every machine; that replicas and clients compare its hash when they meet keeps
//! it so. A file that contradicts itself is refused with line and reason. [`Cluster::new`] writes
//! the file and reads it, so what is written can be read, and there is one place that checks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bts_core::configuration::{Configuration, Policy};
use bts_core::ids::{ClusterId, PublicKey, ReplicaId};
use bts_core::quorum::ClusterSize;
use ed25519_dalek::VerifyingKey;
use rustls::pki_types::{DnsName, ServerName};
use serde::Deserialize;
use toml::Spanned;

use crate::founding::FoundingFile;
pub use crate::founding::{FoundedOn, purpose_of};
use crate::identity::{hex, strong};
use crate::policy_file::{PolicyFile, render_policy};
use crate::toml_file::{FileError, TomlFile};

/// A cluster, as its file describes it.
#[derive(Clone, Debug)]
pub struct Cluster {
    id: ClusterId,
    members: Vec<Member>,
    founding: Option<FoundedOn>,
    configuration: Arc<Configuration>,
}

/// A replica, as others find and recognize it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name in its certificate, under which it is dialed ([`crate::replica_name`]).
    pub name: String,
    /// Where it listens: `host:port`, the host being an IP address or a DNS name.
    pub address: String,
    /// The key of its certificate, which is its identity.
    pub key: PublicKey,
}

impl Cluster {
    /// The cluster of these replicas, in this order, `faults` of which may be Byzantine. The error
    /// tells the line of [`Cluster::to_toml`] that would be wrong.
    pub fn new(
        id: ClusterId,
        faults: usize,
        members: &[Member],
        policy: &Policy,
    ) -> Result<Self, FileError> {
        let text = render(&id, None, faults, members, policy);
        Self::parse(&TomlFile::given("cluster.toml", text))
    }

    /// The next configuration of this cluster, with these members and what it is founded on.
    pub fn next(&self, members: &[Member], founding: FoundedOn) -> Result<Self, FileError> {
        let faults = self.configuration.size().faults();
        let policy = self.configuration.policy();
        let said = Some((self.configuration.number() + 1, &founding));
        let text = render(&self.id, said, faults, members, policy);
        Self::parse(&TomlFile::given("cluster.toml", text))
    }

    /// Reads a cluster file.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::parse(&TomlFile::read(path)?)
    }

    /// What a cluster file says.
    pub fn parse(file: &TomlFile) -> Result<Self, FileError> {
        let said: ClusterFile = file.parse()?;
        let id = ClusterId(bytes_of_hex(file, &said.id)?);
        let members = members_of(file, &said.replicas)?;
        let faults = *said.faults.get_ref();
        let wrong_size = |reason: String| file.wrong(said.faults.span(), reason);
        ClusterSize::new(members.len(), faults).map_err(|error| wrong_size(error.to_string()))?;
        let keys: Vec<PublicKey> = members.iter().map(|member| member.key).collect();
        let policy = said.policy.unwrap_or_default().policy(file, &keys)?;
        let number = said.number.as_ref().map_or(0, |number| *number.get_ref());
        let founding = said
            .founding
            .map(|said| said.check(file, members.len(), faults));
        let founding = founding.transpose()?;
        if (number > 0) != founding.is_some() {
            let span = said.number.map_or(0..0, |number| number.span());
            let reason = "configuration 0 has no [founding], and every later one has";
            return Err(file.wrong(span, reason));
        }
        let proofs = founding.as_ref().map(|founding| founding.proofs);
        let configuration = Configuration::founded(id, number, keys, faults, policy, proofs)
            .map_err(|error| wrong_size(error.to_string()))?;
        Ok(Self {
            id,
            members,
            founding,
            configuration: Arc::new(configuration),
        })
    }

    /// The text of the cluster file.
    pub fn to_toml(&self) -> String {
        let faults = self.configuration.size().faults();
        let number = self.configuration.number();
        let founding = self.founding.as_ref().map(|founding| (number, founding));
        let policy = self.configuration.policy();
        render(&self.id, founding, faults, &self.members, policy)
    }

    /// What it is founded on; `None` for the first configuration of a cluster.
    pub fn founding(&self) -> Option<&FoundedOn> {
        self.founding.as_ref()
    }

    /// The cluster's identity.
    pub fn id(&self) -> ClusterId {
        self.id
    }

    /// What the protocol needs to know of the cluster.
    pub fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// All replicas in order.
    pub fn members(&self) -> impl Iterator<Item = (ReplicaId, &Member)> {
        self.configuration.replicas().zip(&self.members)
    }

    /// A replica.
    pub fn member(&self, replica: ReplicaId) -> Option<&Member> {
        self.members.get(usize::from(replica.0))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    id: Spanned<String>,
    number: Option<Spanned<u64>>,
    founding: Option<FoundingFile>,
    faults: Spanned<usize>,
    #[serde(rename = "replica")]
    replicas: Vec<ReplicaEntry>,
    policy: Option<PolicyFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaEntry {
    name: Spanned<String>,
    address: Spanned<String>,
    key: Spanned<String>,
}

fn members_of(file: &TomlFile, entries: &[ReplicaEntry]) -> Result<Vec<Member>, FileError> {
    let (mut names, mut addresses, mut keys) = (Taken::new(), Taken::new(), Taken::new());
    let mut members = Vec::new();
    for entry in entries {
        let name = entry.name.get_ref();
        if ServerName::try_from(name.as_str()).is_err() {
            let reason = format!("`{name}` cannot be the name in a certificate");
            return Err(file.wrong(entry.name.span(), reason));
        }
        let address = entry.address.get_ref();
        if let Err(reason) = check_address(address) {
            return Err(file.wrong(entry.address.span(), reason));
        }
        let key = key_of(file, &entry.key)?;
        take(file, &mut names, &entry.name, name.to_ascii_lowercase())?;
        take(
            file,
            &mut addresses,
            &entry.address,
            address.to_ascii_lowercase(),
        )?;
        take(file, &mut keys, &entry.key, hex(&key.0))?;
        members.push(Member {
            name: name.clone(),
            address: address.clone(),
            key,
        });
    }
    Ok(members)
}

/// What only one replica may have, and which has it.
type Taken = BTreeMap<String, usize>;

fn take(
    file: &TomlFile,
    taken: &mut Taken,
    said: &Spanned<String>,
    value: String,
) -> Result<(), FileError> {
    let next = taken.len();
    match taken.insert(value, next) {
        None => Ok(()),
        Some(first) => {
            let reason = format!(
                "replicas {first} and {next} have the same: {}",
                said.get_ref()
            );
            Err(file.wrong(said.span(), reason))
        }
    }
}

fn check_address(address: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("`{address}` is no address to dial: {what}"));
    let (host, port) = match address.parse::<SocketAddr>() {
        Ok(socket) if socket.ip().is_unspecified() => return wrong("it is that of no machine"),
        Ok(socket) => {
            return if socket.port() == 0 {
                wrong("port 0")
            } else {
                Ok(())
            };
        }
        Err(_) => address.rsplit_once(':').unwrap_or((address, "")),
    };
    match port.parse::<u16>() {
        Ok(0) | Err(_) => wrong("it is `host:port`, the port being 1 to 65535"),
        Ok(_) if DnsName::try_from(host).is_err() => {
            wrong("the host is neither an IP address nor a DNS name")
        }
        Ok(_) => Ok(()),
    }
}

/// A public key in hexadecimal under which signatures prove something.
pub(crate) fn key_of(file: &TomlFile, said: &Spanned<String>) -> Result<PublicKey, FileError> {
    let bytes = bytes_of_hex(file, said)?;
    match VerifyingKey::from_bytes(&bytes).map(|key| strong(&key)) {
        Ok(Ok(bytes)) => Ok(PublicKey(bytes)),
        Ok(Err(_)) | Err(_) => {
            let reason = format!("`{}` is no Ed25519 public key", said.get_ref());
            Err(file.wrong(said.span(), reason))
        }
    }
}

pub(crate) fn bytes_of_hex(file: &TomlFile, said: &Spanned<String>) -> Result<[u8; 32], FileError> {
    let text = said.get_ref();
    unhex(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        let reason = format!("`{shown}` is not 64 hexadecimal digits");
        file.wrong(said.span(), reason)
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Result<Vec<u8>, _> = pairs
        .iter()
        .map(|[a, b]| u8::try_from(a * 16 + b))
        .collect();
    let bytes: [u8; 32] = bytes.ok()?.try_into().ok()?;
    rest.is_empty().then_some(bytes)
}

fn render(
    id: &ClusterId,
    founding: Option<(u64, &FoundedOn)>,
    faults: usize,
    members: &[Member],
    policy: &Policy,
) -> String {
    let mut text = format!(
        "# A BTS cluster. This file is the same on every machine; it holds no secret.\n\n\
         # Random, fixed at the creation of the cluster.\n\
         id = \"{}\"\n\n\
         # How many replicas may be malicious. {} replicas survive at most {}.\n\
         faults = {faults}\n",
        hex(&id.0),
        members.len(),
        members.len().saturating_sub(1) / 3,
    );
    if let Some((number, founding)) = founding {
        text.push_str(&founding.render(number));
    }
    for member in members {
        write!(
            text,
            "\n[[replica]]\nname = {}\naddress = {}\nkey = \"{}\"\n",
            quoted(&member.name),
            quoted(&member.address),
            hex(&member.key.0),
        )
        .expect("a string takes all that is written to it");
    }
    text.push_str(&render_policy(policy));
    text
}

/// A text as TOML writes it, as a key or a value.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use bts_core::configuration::Allow;
    use bts_core::ids::SpaceName;
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn cluster_written_file_is_read_back() {
        let client = key(9);
        let mut policy = Policy {
            clients: Allow::Keys([client, key(8)].into()),
            ..Policy::default()
        };
        policy.others.insert = Allow::Keys([client].into());
        let jobs = SpaceName::new("jobs \"\u{e9}\".x").expect("a name");
        policy.spaces.entry(jobs).or_default().take = Allow::Keys([].into());
        let one = Cluster::new(ClusterId([7; 32]), 1, &members(4), &policy).expect("a cluster");
        let text = one.to_toml();
        let two = Cluster::parse(&TomlFile::given("c.toml", text)).expect("the same cluster");
        assert_eq!(one.configuration(), two.configuration());
        assert_eq!(one.id(), two.id());
        assert_eq!(two.configuration().policy(), &policy);
        assert!(one.members().eq(two.members()));
        assert_eq!(two.member(ReplicaId(3)), members(4).last());
        assert_eq!(two.member(ReplicaId(4)), None);
    }

    #[test]
    fn cluster_contradictions_are_refused_with_line_and_reason() {
        let good = text();
        let key_0 = hex(&key(0).0);
        let (key_1, key_3) = (hex(&key(1).0), hex(&key(3).0));
        let cases = [
            (
                "faults = 1",
                "faults = 2",
                7,
                "at least 3f+1 = 7 are needed",
            ),
            ("faults = 1", "faults = -1", 7, "invalid value"),
            ("faults = 1", "fault = 1", 7, "unknown field `fault`"),
            ("id = \"07", "id = \"0g", 4, "not 64 hexadecimal digits"),
            ("id = \"07", "id = \"0", 4, "not 64 hexadecimal digits"),
            (&key_1, &key_0, 17, "replicas 0 and 1 have the same"),
            (&key_3, &hex(&[0; 32]), 27, "is no Ed25519 public key"),
            (&key_3, "ab", 27, "not 64 hexadecimal digits"),
            ("127.0.0.1:7402", "127.0.0.1:7400", 21, "replicas 0 and 2"),
            ("127.0.0.1:7402", "0.0.0.0:7402", 21, "that of no machine"),
            ("127.0.0.1:7402", "127.0.0.1:0", 21, "port 0"),
            ("127.0.0.1:7402", "host", 21, "`host:port`"),
            ("127.0.0.1:7402", "a b:7402", 21, "neither an IP address"),
            ("replica-1", "Replica-0", 15, "replicas 0 and 1"),
            ("replica-1", "re plica", 15, "name in a certificate"),
            ("= \"all\"", "= \"nobody\"", 31, "\"all\" or a list"),
            ("= \"all\"", "= [\"zz\"]", 31, "not 64 hexadecimal digits"),
            (
                "= \"all\"",
                &format!("= [\"{key_3}\"]"),
                31,
                "that of replica 3",
            ),
            ("clients = ", "client = ", 31, "unknown field `client`"),
        ];
        for (from, to, line, reason) in cases {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good, "{from} is not in the file");
            expect_wrong(&changed, line, reason);
        }
    }

    #[test]
    fn cluster_right_without_admission_is_refused() {
        let (one, two) = (hex(&key(8).0), hex(&key(9).0));
        let text = text().replace("= \"all\"", &format!("= [\"{one}\"]"));
        let rights = format!("\n[policy.spaces.jobs]\ninsert = [\n\"{one}\",\n\"{two}\"]\n");
        expect_wrong(&format!("{text}{rights}"), 36, "not in `policy.clients`");
        let twice = format!("\n[policy.others]\nread = [\"{one}\", \"{one}\"]\n");
        expect_wrong(&format!("{text}{twice}"), 34, "listed twice");
        let unknown = "\n[policy.spaces.jobs]\nwrite = \"all\"\n";
        expect_wrong(&format!("{text}{unknown}"), 34, "unknown field `write`");
        let nameless = "\n[policy.spaces.\"\"]\nread = \"all\"\n";
        expect_wrong(&format!("{text}{nameless}"), 33, "no name of a space");
    }

    #[test]
    fn cluster_without_policy_allows_all() {
        let text = text();
        let end = text.find("# Who may").expect("the policy comes last");
        let file = TomlFile::given("c.toml", &text[..end]);
        let cluster = Cluster::parse(&file).expect("a cluster");
        assert_eq!(cluster.configuration().policy(), &Policy::default());
        assert_eq!(cluster.configuration().size().ack_quorum(), 3);
    }

    fn expect_wrong(text: &str, line: usize, reason: &str) {
        let file = TomlFile::given("c.toml", text);
        let error = Cluster::parse(&file).expect_err(reason).to_string();
        assert!(
            error.starts_with(&format!("c.toml:{line}: ")) && error.contains(reason),
            "expected line {line} and {reason:?}: {error}"
        );
    }

    fn text() -> String {
        render(
            &ClusterId([7; 32]),
            None,
            1,
            &members(4),
            &Policy::default(),
        )
    }

    fn members(n: u8) -> Vec<Member> {
        (0..n)
            .map(|i| Member {
                name: format!("replica-{i}"),
                address: format!("127.0.0.1:{}", 7400 + u16::from(i)),
                key: key(i),
            })
            .collect()
    }

    fn key(seed: u8) -> PublicKey {
        let key = SigningKey::from_bytes(&[seed; 32]);
        PublicKey(key.verifying_key().to_bytes())
    }
}

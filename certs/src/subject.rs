//! Whom a certificate is for: role, name, and the hosts it may be dialed under.
//!
//! Names become file names, log fields and certificate subjects, so they are a small alphabet. A
//! client cannot be named like a replica, or like the files of the authority or the cluster.

use std::net::IpAddr;

use crate::identity::Role;

/// Longest name of a member, in bytes; the limit of a common name in X.509.
pub(crate) const NAME_BYTES_MAX: usize = 64;
/// Most hosts one replica certificate may list.
const HOSTS_MAX: usize = 64;

/// The holder a certificate is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) hosts: Vec<Host>,
}

/// An address under which a replica may be dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Dns(String),
    Ip(IpAddr),
}

/// Why a subject was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The name is empty, too long, or has characters that do not belong in a file name.
    #[error(
        "`{0}` is not a usable name: take 1 to 64 of the characters a-z A-Z 0-9 . _ - and start \
         with a letter or digit"
    )]
    Name(String),
    /// The name belongs to the authority or to a replica.
    #[error("`{0}` is reserved: a client may not be named `ca`, `cluster` or `replica-...`")]
    Reserved(String),
    /// A host is neither an IP address nor a DNS name.
    #[error("`{0}` is neither an IP address nor a DNS name; give hosts without port")]
    Host(String),
    /// More hosts than a certificate should list.
    #[error("{0} hosts in one certificate are too many, at most {HOSTS_MAX} are possible")]
    TooManyHosts(usize),
}

/// The name of the replica with this index, `replica-<index>`: its common name, the DNS name in
/// its certificate, and so the server name to dial it with.
pub fn replica_name(index: u32) -> String {
    format!("replica-{index}")
}

impl Subject {
    /// The replica with this index, which may also be dialed under `hosts` (IP addresses or DNS
    /// names, without port).
    pub fn replica<H: AsRef<str>>(index: u32, hosts: &[H]) -> Result<Self, SubjectError> {
        if hosts.len() > HOSTS_MAX {
            return Err(SubjectError::TooManyHosts(hosts.len()));
        }
        let name = replica_name(index);
        let mut all = vec![Host::Dns(name.clone())];
        for host in hosts {
            let host = Host::parse(host.as_ref())?;
            if !all.contains(&host) {
                all.push(host);
            }
        }
        Ok(Self {
            role: Role::Replica,
            name,
            hosts: all,
        })
    }

    /// A client of this name.
    pub fn client(name: &str) -> Result<Self, SubjectError> {
        if !is_usable_name(name) {
            return Err(SubjectError::Name(name.into()));
        }
        let lower = name.to_ascii_lowercase();
        if lower == "ca" || lower == "cluster" || lower.starts_with("replica-") {
            return Err(SubjectError::Reserved(name.into()));
        }
        Ok(Self {
            role: Role::Client,
            name: name.into(),
            hosts: Vec::new(),
        })
    }

    /// What the holder is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How the holder is called; also the stem of its file names.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, SubjectError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        match rustls::pki_types::DnsName::try_from(text) {
            Ok(_) => Ok(Self::Dns(text.to_ascii_lowercase())),
            Err(_) => Err(SubjectError::Host(text.into())),
        }
    }
}

/// Whether a name is short and of the harmless alphabet.
pub(crate) fn is_usable_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_client_name_that_would_leave_the_folder_is_refused() {
        for name in [
            "",
            "../x",
            "a/b",
            ".hidden",
            "-x",
            "a b",
            "ä",
            "a\nb",
            &"x".repeat(65),
        ] {
            assert_eq!(Subject::client(name), Err(SubjectError::Name(name.into())));
        }
        assert!(Subject::client(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn subject_client_named_like_a_replica_or_the_authority_is_refused() {
        for name in ["ca", "CA", "cluster", "replica-0", "Replica-1"] {
            assert_eq!(
                Subject::client(name),
                Err(SubjectError::Reserved(name.into()))
            );
        }
    }

    #[test]
    fn subject_replica_hosts_are_addresses_or_names() {
        let subject = Subject::replica(2, &["10.0.0.2", "::1", "Node.example", "10.0.0.2"]);
        let hosts = subject.expect("all hosts are well formed").hosts;
        assert_eq!(
            hosts,
            [
                Host::Dns("replica-2".into()),
                Host::Ip("10.0.0.2".parse().expect("an address")),
                Host::Ip("::1".parse().expect("an address")),
                Host::Dns("node.example".into()),
            ]
        );
        for host in ["", "a b", "10.0.0.2:7000", "[::1]:1"] {
            assert_eq!(
                Subject::replica(0, &[host]),
                Err(SubjectError::Host(host.into()))
            );
        }
    }
}

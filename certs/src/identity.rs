//! What a certificate says about its holder: role, name and key.
//!
//! An [`Identity`] is read from a certificate whose chain TLS has verified already (or which came
//! from one's own files); it checks the content, not the signature of the authority. Invariant: an
//! identity's key is an Ed25519 key that is not weak, so "signed by this key" has one meaning.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::subject::is_usable_name;

/// What a member of a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A server that holds the tuples and votes.
    Replica,
    /// A user of the tuple space.
    Client,
}

impl Role {
    /// The organizational unit that stands for the role in a certificate.
    pub(crate) fn organizational_unit(self) -> &'static str {
        match self {
            Self::Replica => "bts-replica",
            Self::Client => "bts-client",
        }
    }

    fn from_organizational_unit(text: &str) -> Option<Self> {
        [Self::Replica, Self::Client]
            .into_iter()
            .find(|r| r.organizational_unit() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replica => "replica",
            Self::Client => "client",
        })
    }
}

/// The holder of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What the holder is.
    pub role: Role,
    /// How it is called; `replica-<index>` for a replica. Never longer than 64 bytes, and made of
    /// `a-z A-Z 0-9 . _ -` only, so it may be printed.
    pub name: String,
    /// Its Ed25519 public key, which is its identity in the protocol.
    pub key: [u8; 32],
    /// When the certificate ends. A link that was made before stays.
    pub not_after: SystemTime,
}

/// Why a certificate is not that of a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes are not one X.509 certificate.
    #[error("it is not a well-formed X.509 certificate")]
    Malformed,
    /// The certificate is that of an authority.
    #[error("it is the certificate of an authority, not of a member")]
    Authority,
    /// The key is of another kind.
    #[error("its key is not an Ed25519 key")]
    NotEd25519,
    /// The key has small order, so that signatures of it prove nothing.
    #[error("its key is weak")]
    WeakKey,
    /// The subject lacks exactly one usable common name.
    #[error("its subject has no usable common name")]
    Name,
    /// The subject lacks exactly one known role.
    #[error("its subject has no role: the organizational unit must be bts-replica or bts-client")]
    Role,
    /// The permitted usages are not those of the role.
    #[error("its extended key usages do not fit the role {0}")]
    Usage(Role),
}

impl Identity {
    /// Reads the holder from a certificate in DER. Does not check who signed the certificate, nor
    /// the time.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        if certificate.is_ca() {
            return Err(CertificateError::Authority);
        }
        let role = role_of(certificate.subject())?;
        if !usages_fit(&certificate, role) {
            return Err(CertificateError::Usage(role));
        }
        Ok(Self {
            role,
            name: name_of(certificate.subject())?,
            key: key_of(certificate.public_key().raw)?,
            not_after: time_of(certificate.validity().not_after.timestamp()),
        })
    }

    /// The key in lower-case hexadecimal, as configurations write it.
    pub fn key_hex(&self) -> String {
        hex(&self.key)
    }
}

impl fmt::Display for Identity {
    /// Role, name and the first four bytes of the key: `client w1 (3f2a9c01)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.key;
        write!(f, "{} {} ({})", self.role, self.name, hex(&[a, b, c, d]))
    }
}

/// The Ed25519 key in a subject public key info, if it is one and not weak.
pub(crate) fn key_of(spki_der: &[u8]) -> Result<[u8; 32], CertificateError> {
    let key =
        VerifyingKey::from_public_key_der(spki_der).map_err(|_| CertificateError::NotEd25519)?;
    strong(&key)
}

/// The bytes of a key, unless signatures under it prove nothing.
pub(crate) fn strong(key: &VerifyingKey) -> Result<[u8; 32], CertificateError> {
    if key.is_weak() {
        Err(CertificateError::WeakKey)
    } else {
        Ok(key.to_bytes())
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn role_of(subject: &X509Name<'_>) -> Result<Role, CertificateError> {
    let mut units = subject.iter_organizational_unit();
    let (Some(unit), None) = (units.next(), units.next()) else {
        return Err(CertificateError::Role);
    };
    unit.as_str()
        .ok()
        .and_then(Role::from_organizational_unit)
        .ok_or(CertificateError::Role)
}

fn name_of(subject: &X509Name<'_>) -> Result<String, CertificateError> {
    let mut names = subject.iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(CertificateError::Name);
    };
    match name.as_str() {
        Ok(name) if is_usable_name(name) => Ok(name.into()),
        _ => Err(CertificateError::Name),
    }
}

/// A replica serves and dials, a client only dials. That a client cannot serve is also checked by
/// TLS; here the role that is written and the usages that are granted must be one statement.
fn usages_fit(certificate: &X509Certificate<'_>, role: Role) -> bool {
    let Ok(Some(usages)) = certificate.extended_key_usage() else {
        return false;
    };
    let usages = usages.value;
    !usages.any && usages.client_auth && usages.server_auth == (role == Role::Replica)
}

fn time_of(unix_s: i64) -> SystemTime {
    let distance = Duration::from_secs(unix_s.unsigned_abs());
    if unix_s < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}

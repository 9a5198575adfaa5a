//! What is in a certificate, for people to read.

use std::fmt;

use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::identity::{CertificateError, Identity, hex, key_of};

/// Before so little time is left, the end of a certificate is not worth a warning.
const WARN_BEFORE: Duration = Duration::days(30);

/// A certificate in words.
#[derive(Clone, Debug)]
pub struct Description {
    holder: Holder,
    key: [u8; 32],
    issuer: String,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    alternative_names: Vec<String>,
}

#[derive(Clone, Debug)]
enum Holder {
    Authority(String),
    Member(Identity),
}

impl Description {
    /// Reads a member's or an authority's certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        let holder = if certificate.is_ca() {
            Holder::Authority(certificate.subject().to_string())
        } else {
            Holder::Member(Identity::from_der(der)?)
        };
        let time = |t: x509_parser::time::ASN1Time| {
            OffsetDateTime::from_unix_timestamp(t.timestamp())
                .map_err(|_| CertificateError::Malformed)
        };
        Ok(Self {
            holder,
            key: key_of(certificate.public_key().raw)?,
            issuer: certificate.issuer().to_string(),
            not_before: time(certificate.validity().not_before)?,
            not_after: time(certificate.validity().not_after)?,
            alternative_names: alternative_names(&certificate),
        })
    }

    /// What is wrong, or soon will be, with the time in which the certificate is valid.
    pub fn warning(&self, now: OffsetDateTime) -> Option<String> {
        let left = self.not_after - now;
        if left <= Duration::ZERO {
            Some(format!("expired at {}", self.not_after))
        } else if now < self.not_before {
            Some(format!("not valid before {}", self.not_before))
        } else if left < WARN_BEFORE {
            Some(format!(
                "expires in {} days, at {}",
                left.whole_days(),
                self.not_after
            ))
        } else {
            None
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Holder::Authority(subject) => {
                writeln!(f, "role:   authority\nname:   {}", clean(subject))?
            }
            Holder::Member(member) => {
                writeln!(f, "role:   {}\nname:   {}", member.role, member.name)?
            }
        }
        writeln!(f, "key:    {}", hex(&self.key))?;
        writeln!(f, "valid:  {} to {}", self.not_before, self.not_after)?;
        if !self.alternative_names.is_empty() {
            writeln!(f, "hosts:  {}", self.alternative_names.join(", "))?;
        }
        write!(f, "issuer: {}", clean(&self.issuer))
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names.value.general_names.iter().map(host).collect()
}

fn host(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => clean(name),
        GeneralName::IPAddress(bytes) => ip(bytes).unwrap_or_else(|| "malformed address".into()),
        other => clean(&other.to_string()),
    }
}

fn ip(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

/// Text of a certificate that anybody may have made, without control characters.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

//! One's own identity: certificate, private key, and the authorities one trusts.
//!
//! Invariant: the private key is that of the certificate, so what is signed by
//! [`LocalIdentity::signing_key`] verifies under the key that TLS proves to every peer.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use crate::identity::{CertificateError, Identity};

/// Largest file that is read as PEM, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// What a process needs to prove who it is and to check others.
#[derive(Clone)]
pub struct LocalIdentity {
    identity: Identity,
    chain: Vec<CertificateDer<'static>>,
    signing_key: SigningKey,
    roots: Arc<RootCertStore>,
}

/// Why an identity could not be loaded. Each names the file (or says which part was at fault).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file is far larger than any certificate.
    #[error("{file} is too large to be a certificate or key")]
    TooLarge {
        /// The file.
        file: String,
    },
    /// A file holds no certificate in PEM.
    #[error("{file} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate {
        /// The file.
        file: String,
    },
    /// A file holds no Ed25519 private key in PEM.
    #[error("{file} holds no Ed25519 private key in PEM (-----BEGIN PRIVATE KEY-----)")]
    NoKey {
        /// The file.
        file: String,
    },
    /// A certificate is not that of a member.
    #[error("{file} cannot be used: {source}")]
    Certificate {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// A certificate of an authority cannot be used as one.
    #[error("{file} is not the certificate of an authority")]
    NotAnAuthority {
        /// The file.
        file: String,
    },
    /// Key and certificate are of different holders.
    #[error("the key in {key} is not the key of the certificate in {certificate}")]
    Mismatch {
        /// The file of the certificate.
        certificate: String,
        /// The file of the key.
        key: String,
    },
    /// The certificate is not valid now, or not of the authority.
    #[error("the certificate in {certificate} {reason} (authority: {authority})")]
    Untrusted {
        /// The file of the certificate.
        certificate: String,
        /// The file of the authority's certificate.
        authority: String,
        /// What is wrong.
        reason: String,
    },
}

impl LocalIdentity {
    /// Loads certificate, private key and the certificates of the trusted authorities from PEM
    /// files, and checks that they fit together and that others will accept them now.
    pub fn load(certificate: &Path, key: &Path, authority: &Path) -> Result<Self, LoadError> {
        warn_if_readable_by_others(key);
        let [certificate, key, authority] = [
            Source::read(certificate)?,
            Source::read(key)?,
            Source::read(authority)?,
        ];
        let local = Self::assemble(&certificate, &key, &authority)?;
        local.check_trusted(&certificate, &authority)?;
        Ok(local)
    }

    /// Takes up an identity from PEM texts. That the certificate and the key belong together is
    /// checked; not the time, nor who issued the certificate: peers do that.
    pub fn from_pem(certificate: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, LoadError> {
        Self::assemble(
            &Source::given("the certificate", certificate),
            &Source::given("the key", key),
            &Source::given("the authority's certificate", authority),
        )
    }

    /// Who one is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The key that signs protocol messages: the same that TLS proves.
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing_key
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }

    pub(crate) fn tls_key(&self) -> PrivateKeyDer<'static> {
        let der = self
            .signing_key
            .to_pkcs8_der()
            .expect("an Ed25519 key always has a PKCS#8 form");
        PrivatePkcs8KeyDer::from(der.as_bytes().to_vec()).into()
    }

    fn assemble(certificate: &Source, key: &Source, authority: &Source) -> Result<Self, LoadError> {
        let (chain, identity) = certificate.holder()?;
        let signing_key = key.signing_key()?;
        if signing_key.verifying_key().to_bytes() != identity.key {
            return Err(LoadError::Mismatch {
                certificate: certificate.name.clone(),
                key: key.name.clone(),
            });
        }
        let roots = Arc::new(authority.roots()?);
        Ok(Self {
            identity,
            chain,
            signing_key,
            roots,
        })
    }

    /// Whether a peer with the same trusted authorities accepts this certificate now.
    fn check_trusted(&self, certificate: &Source, authority: &Source) -> Result<(), LoadError> {
        let untrusted = |error: webpki::Error| LoadError::Untrusted {
            certificate: certificate.name.clone(),
            authority: authority.name.clone(),
            reason: match error {
                webpki::Error::CertExpired { .. } => "has expired: issue a new one".into(),
                webpki::Error::CertNotValidYet { .. } => {
                    "is not valid yet: check the clock of this host".into()
                }
                webpki::Error::UnknownIssuer => "is of another authority".into(),
                other => format!("would be refused by every peer: {other}"),
            },
        };
        let Some((leaf, intermediates)) = self.chain.split_first() else {
            return Err(LoadError::NoCertificate {
                file: certificate.name.clone(),
            });
        };
        webpki::EndEntityCert::try_from(leaf)
            .and_then(|leaf| {
                leaf.verify_for_usage(
                    &[webpki::ring::ED25519],
                    &self.roots.roots,
                    intermediates,
                    UnixTime::now(),
                    webpki::KeyUsage::client_auth(),
                    None,
                    None,
                )
                .map(|_| ())
            })
            .map_err(untrusted)
    }
}

impl Identity {
    /// Whose certificate a PEM file holds. Nothing but its form is checked: peers do the rest.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Source::read(path)?.holder().map(|(_, identity)| identity)
    }
}

impl fmt::Debug for LocalIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalIdentity")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A PEM text and what to call it in errors.
struct Source {
    name: String,
    text: Vec<u8>,
}

impl Source {
    fn given(name: &str, text: &[u8]) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    fn read(path: &Path) -> Result<Self, LoadError> {
        let file = path.display().to_string();
        let failed = |source| LoadError::Read {
            file: path.display().to_string(),
            source,
        };
        if fs::metadata(path).map_err(failed)?.len() > PEM_BYTES_MAX {
            return Err(LoadError::TooLarge { file });
        }
        let text = fs::read(path).map_err(failed)?;
        Ok(Self { name: file, text })
    }

    /// The chain, and whose it is.
    fn holder(&self) -> Result<(Vec<CertificateDer<'static>>, Identity), LoadError> {
        let chain = self.certificates()?;
        let file = || self.name.clone();
        let leaf = chain
            .first()
            .ok_or_else(|| LoadError::NoCertificate { file: file() })?;
        let identity = Identity::from_der(leaf);
        let identity = identity.map_err(|source| LoadError::Certificate {
            file: file(),
            source,
        })?;
        Ok((chain, identity))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, LoadError> {
        let missing = || LoadError::NoCertificate {
            file: self.name.clone(),
        };
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<_, _>>()
            .map_err(|_| missing())?;
        if certificates.is_empty() {
            Err(missing())
        } else {
            Ok(certificates)
        }
    }

    fn signing_key(&self) -> Result<SigningKey, LoadError> {
        let missing = || LoadError::NoKey {
            file: self.name.clone(),
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(&self.text).map_err(|_| missing())?;
        SigningKey::from_pkcs8_der(der.secret_pkcs8_der()).map_err(|_| missing())
    }

    fn roots(&self) -> Result<RootCertStore, LoadError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            let is_authority = x509_parser::parse_x509_certificate(&certificate)
                .is_ok_and(|(_, certificate)| certificate.is_ca());
            if !is_authority || roots.add(certificate).is_err() {
                return Err(LoadError::NotAnAuthority {
                    file: self.name.clone(),
                });
            }
        }
        Ok(roots)
    }
}

/// A key that every user of the host can read is no secret, but secret stores of containers mount
/// files that way, so it is said and not refused.
fn warn_if_readable_by_others(key: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(key).map_or(0, |m| m.permissions().mode());
        if mode & 0o007 != 0 {
            tracing::warn!(file = %key.display(), "the private key is readable by every user of this host");
        }
    }
    #[cfg(not(unix))]
    let _ = key;
}

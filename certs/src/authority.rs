//! The certificate authority of a deployment and what it issues.
//!
//! Everything in a certificate comes from the authority's own policy; of a request only the public
//! key is used, after its signature proved that the requester has the private one. All keys are
//! Ed25519. The authority's certificate allows no further authority below it.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    PublicKeyData, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::identity::{CertificateError, Role, hex, strong};
use crate::local::{LoadError, LocalIdentity};
use crate::subject::{Host, Subject};

/// How far a certificate's start lies before its making, so that hosts whose clocks are a little
/// late accept it.
const BACKDATE: Duration = Duration::minutes(5);

/// A certificate authority: it can issue certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    not_after: OffsetDateTime,
}

/// The time in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// A certificate and its private key, both as PEM.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key (PKCS#8).
    pub key_pem: String,
}

/// A request for a certificate, made where the private key is to stay.
pub struct Request {
    /// The request (PKCS#10) as PEM, to be carried to the authority.
    pub request_pem: String,
    /// The private key (PKCS#8) as PEM, which stays.
    pub key_pem: String,
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The authority's certificate or key cannot be used.
    #[error("the authority cannot be used: {0}")]
    Authority(String),
    /// The authority's certificate ended.
    #[error("the authority's certificate ended at {0}: make a new authority")]
    AuthorityExpired(OffsetDateTime),
    /// The request is damaged, or its signature does not prove possession of its key.
    #[error("the request cannot be used: {0}")]
    Request(String),
    /// The key in the request is not one that a member may have.
    #[error("the request is refused, about {0}")]
    Key(CertificateError),
    /// A certificate could not be built.
    #[error("the certificate could not be made: {0}")]
    Build(#[from] rcgen::Error),
    /// What was issued cannot be read back as an identity.
    #[error("the issued certificate is of no use: {0}")]
    Unusable(#[from] LoadError),
}

impl Authority {
    /// Makes a new authority with a new key.
    pub fn create(validity: Validity) -> Result<Self, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        // Authorities differ in name, so that a certificate of another one is reported as of an
        // unknown issuer and not as badly signed.
        let tag = key.public_key_raw().get(..4).map(hex).unwrap_or_default();
        let mut params = params(validity, &format!("BTS authority {tag}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self {
            issuer,
            certificate_pem,
            not_after: validity.not_after,
        })
    }

    /// Takes up an authority from its certificate and private key.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(key_pem)
            .map_err(|e| IssueError::Authority(format!("its key is unreadable ({e})")))?;
        let not_after = check_authority(certificate_pem, &key)?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)
            .map_err(|e| IssueError::Authority(format!("its certificate is unreadable ({e})")))?;
        Ok(Self {
            issuer,
            certificate_pem: certificate_pem.into(),
            not_after,
        })
    }

    /// Makes a new key and a certificate for it. The certificate ends with the authority's at the
    /// latest.
    pub fn issue(&self, subject: &Subject, validity: Validity) -> Result<Issued, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate_pem = self.sign(&key, subject, validity)?;
        Ok(Issued {
            certificate_pem,
            key_pem: key.serialize_pem(),
        })
    }

    /// Issues and takes up an identity, for clusters within one process.
    pub fn member(
        &self,
        subject: &Subject,
        validity: Validity,
    ) -> Result<LocalIdentity, IssueError> {
        Ok(self.issue(subject, validity)?.local(self)?)
    }

    /// Issues a certificate for the public key in a request (PKCS#10, PEM). Nothing else in the
    /// request matters: subject, names and usages are those of `subject`.
    pub fn sign_request(
        &self,
        request_pem: &str,
        subject: &Subject,
        validity: Validity,
    ) -> Result<String, IssueError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(|e| IssueError::Request(e.to_string()))?;
        check_key(&request.public_key)?;
        self.sign(&request.public_key, subject, validity)
    }

    /// The authority's certificate, which every member needs.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key. Who has it can be anybody.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject,
        validity: Validity,
    ) -> Result<String, IssueError> {
        if self.not_after <= OffsetDateTime::now_utc() {
            return Err(IssueError::AuthorityExpired(self.not_after));
        }
        let not_after = validity.not_after.min(self.not_after);
        let mut params = params(
            Validity {
                not_after,
                ..validity
            },
            &subject.name,
        );
        params.distinguished_name.push(
            DnType::OrganizationalUnitName,
            subject.role.organizational_unit(),
        );
        params.subject_alt_names = alternative_names(subject)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match subject.role {
            Role::Replica => {
                vec![
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::ClientAuth,
                ]
            }
            Role::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}

impl Validity {
    /// From now (less five minutes, for late clocks) for so many days.
    pub fn days(days: u16) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            not_before: now - BACKDATE,
            not_after: now + Duration::days(days.into()),
        }
    }

    /// Between two given times.
    pub fn between(not_before: OffsetDateTime, not_after: OffsetDateTime) -> Self {
        Self {
            not_before,
            not_after,
        }
    }
}

impl Issued {
    /// The identity, with the authority that issued it as the only trusted one.
    pub fn local(&self, authority: &Authority) -> Result<LocalIdentity, LoadError> {
        let [certificate, key, ca] = [
            &self.certificate_pem,
            &self.key_pem,
            &authority.certificate_pem,
        ];
        LocalIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes())
    }
}

impl Request {
    /// Makes a new key and a request that proves its possession.
    pub fn create() -> Result<Self, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request_pem = params.serialize_request(&key)?.pem()?;
        Ok(Self {
            request_pem,
            key_pem: key.serialize_pem(),
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("request_pem", &self.request_pem)
            .finish_non_exhaustive()
    }
}

/// What all certificates have in common.
fn params(validity: Validity, common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.serial_number = Some(serial_number());
    params
}

/// 126 random bits: positive, never zero, and of the same length each time.
fn serial_number() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    SerialNumber::from_slice(&bytes)
}

fn alternative_names(subject: &Subject) -> Result<Vec<SanType>, rcgen::Error> {
    subject
        .hosts
        .iter()
        .map(|host| match host {
            Host::Ip(ip) => Ok(SanType::IpAddress(*ip)),
            Host::Dns(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
        })
        .collect()
}

/// Refuses a certificate that is not an authority's, or not that of the key, and says when it ends.
fn check_authority(certificate_pem: &str, key: &KeyPair) -> Result<OffsetDateTime, IssueError> {
    let unusable = |why: &str| IssueError::Authority(why.into());
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes())
        .map_err(|_| unusable("its certificate is not PEM"))?;
    let certificate = pem
        .parse_x509()
        .map_err(|_| unusable("its certificate is not X.509"))?;
    if !certificate.is_ca() {
        return Err(unusable("its certificate is that of a member"));
    }
    if certificate.public_key().subject_public_key.as_ref() != key.public_key_raw() {
        return Err(unusable(
            "its certificate and its key do not belong together",
        ));
    }
    OffsetDateTime::from_unix_timestamp(certificate.validity().not_after.timestamp())
        .map_err(|_| unusable("the end of its certificate is out of range"))
}

fn check_key(key: &rcgen::PublicKey) -> Result<(), IssueError> {
    let refused = || IssueError::Key(CertificateError::NotEd25519);
    if key.algorithm() != &PKCS_ED25519 {
        return Err(refused());
    }
    let bytes = key.der_bytes().try_into().map_err(|_| refused())?;
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| refused())?;
    strong(&key).map(|_| ()).map_err(IssueError::Key)
}

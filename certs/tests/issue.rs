//! What the authority issues: the right things, and nothing because somebody asked for it.

mod common;

use bts_certs::{
    Authority, CertificateError, Description, Identity, IssueError, LoadError, LocalIdentity,
    Request, Role, Subject, Validity,
};
use common::{authority, certificate, client, expired, replica};
use ed25519_dalek::{Signer, VerifyingKey};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

#[test]
fn issue_signing_key_is_the_key_of_the_certificate() {
    let local = replica(&authority());
    let key = VerifyingKey::from_bytes(&local.identity().key).expect("a key");
    let signature = local.signing_key().sign(b"a vote");
    key.verify_strict(b"a vote", &signature)
        .expect("it verifies under the certificate's key");
    assert!(key.verify_strict(b"another vote", &signature).is_err());
}

#[test]
fn issue_members_differ_in_key_and_serial_number() {
    let authority = authority();
    let issue = || {
        let subject = Subject::client("w1").expect("a subject");
        authority
            .issue(&subject, Validity::days(1))
            .expect("a certificate")
            .certificate_pem
    };
    let [one, two] = [certificate(&issue()), certificate(&issue())];
    let [one, two] = [parse(&one), parse(&two)];
    assert_ne!(one.public_key().raw, two.public_key().raw);
    assert_ne!(one.raw_serial(), two.raw_serial());
}

#[test]
fn issue_validity_is_backdated_and_ends_with_the_authority() {
    let authority = Authority::create(Validity::days(10)).expect("an authority");
    let subject = Subject::client("w1").expect("a subject");
    let issued = authority
        .issue(&subject, Validity::days(365))
        .expect("a certificate");
    let der = certificate(&issued.certificate_pem);
    let validity = parse(&der).validity().clone();
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let backdated = now - validity.not_before.timestamp();
    assert!((300..=330).contains(&backdated), "{backdated}");
    let ca = certificate(authority.certificate_pem());
    assert_eq!(validity.not_after, parse(&ca).validity().not_after);
}

#[test]
fn issue_expired_authority_issues_nothing() {
    let authority = Authority::create(expired()).expect("an authority");
    let subject = Subject::client("w1").expect("a subject");
    let issued = authority.issue(&subject, Validity::days(1));
    assert!(
        matches!(issued, Err(IssueError::AuthorityExpired(_))),
        "{issued:?}"
    );
}

#[test]
fn issue_authority_taken_up_from_its_files_is_the_same() {
    let first = authority();
    let again = Authority::from_pem(first.certificate_pem(), &first.key_pem()).expect("it loads");
    let issued = again
        .issue(
            &Subject::client("w1").expect("a subject"),
            Validity::days(1),
        )
        .expect("a certificate");
    let der = certificate(&issued.certificate_pem);
    let ca = certificate(first.certificate_pem());
    parse(&der)
        .verify_signature(Some(parse(&ca).public_key()))
        .expect("signed by the first");
}

#[test]
fn issue_authority_of_mixed_or_wrong_files_is_refused() {
    let (one, two) = (authority(), authority());
    let mixed = Authority::from_pem(one.certificate_pem(), &two.key_pem());
    assert!(matches!(mixed, Err(IssueError::Authority(_))), "{mixed:?}");
    let member = one
        .issue(
            &Subject::client("w1").expect("a subject"),
            Validity::days(1),
        )
        .expect("a certificate");
    let promoted = Authority::from_pem(&member.certificate_pem, &member.key_pem);
    assert!(
        matches!(promoted, Err(IssueError::Authority(_))),
        "{promoted:?}"
    );
    assert!(Authority::from_pem("", "").is_err());
}

#[test]
fn issue_request_gets_the_key_certified_and_the_rights_of_the_subject_only() {
    let authority = authority();
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let mut params = greedy_params();
    params
        .distinguished_name
        .push(DnType::CommonName, "replica-0");
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, "bts-replica");
    let request = params
        .serialize_request(&key)
        .and_then(|r| r.pem())
        .expect("a request");

    let subject = Subject::client("w1").expect("a subject");
    let signed = authority
        .sign_request(&request, &subject, Validity::days(1))
        .expect("signed");
    let der = certificate(&signed);
    let identity = Identity::from_der(&der).expect("a member's certificate");
    assert_eq!(
        (identity.role, identity.name.as_str()),
        (Role::Client, "w1")
    );
    assert_eq!(identity.key.as_slice(), key.public_key_raw());

    let parsed = parse(&der);
    assert!(!parsed.is_ca());
    assert!(
        parsed
            .subject_alternative_name()
            .expect("well formed")
            .is_none()
    );
    let usage = parsed
        .key_usage()
        .expect("well formed")
        .expect("there")
        .value;
    assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
    let usages = parsed
        .extended_key_usage()
        .expect("well formed")
        .expect("there")
        .value;
    assert!(usages.client_auth && !usages.server_auth && !usages.any && !usages.code_signing);
}

#[test]
fn issue_request_made_by_us_serves_with_the_key_that_stayed() {
    let authority = authority();
    let request = Request::create().expect("a request");
    let subject = Subject::replica(3, &["10.0.0.3"]).expect("a subject");
    let signed = authority
        .sign_request(&request.request_pem, &subject, Validity::days(1))
        .expect("signed");
    let local = LocalIdentity::from_pem(
        signed.as_bytes(),
        request.key_pem.as_bytes(),
        authority.certificate_pem().as_bytes(),
    );
    assert_eq!(local.expect("it fits").identity().name, "replica-3");
}

#[test]
fn issue_request_that_does_not_prove_its_key_is_refused() {
    let authority = authority();
    let subject = Subject::client("w1").expect("a subject");
    let forged = request_by(&Forger {
        public_key: client(&authority).identity().key,
    });
    let signed = authority.sign_request(&forged, &subject, Validity::days(1));
    assert!(matches!(signed, Err(IssueError::Request(_))), "{signed:?}");
    let garbage = authority.sign_request("-----BEGIN", &subject, Validity::days(1));
    assert!(
        matches!(garbage, Err(IssueError::Request(_))),
        "{garbage:?}"
    );
}

#[test]
fn issue_request_with_a_weak_key_is_refused() {
    // The neutral point as key: the signature (neutral point, 0) verifies for every message.
    let request = request_by(&Forger {
        public_key: NEUTRAL_POINT,
    });
    let subject = Subject::client("w1").expect("a subject");
    let signed = authority().sign_request(&request, &subject, Validity::days(1));
    let refused = matches!(signed, Err(IssueError::Key(CertificateError::WeakKey)));
    assert!(refused, "{signed:?}");
}

#[test]
fn issue_request_with_another_kind_of_key_is_refused() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let request = greedy_params()
        .serialize_request(&key)
        .and_then(|r| r.pem())
        .expect("a request");
    let subject = Subject::client("w1").expect("a subject");
    let signed = authority().sign_request(&request, &subject, Validity::days(1));
    let refused = matches!(signed, Err(IssueError::Key(CertificateError::NotEd25519)));
    assert!(refused, "{signed:?}");
}

#[test]
fn identity_weak_key_in_a_certificate_is_refused() {
    let authority = authority();
    let issuer_key = KeyPair::from_pem(&authority.key_pem()).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(authority.certificate_pem(), issuer_key).expect("a CA");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "w1");
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, "bts-client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let weak = params
        .signed_by(
            &Forger {
                public_key: NEUTRAL_POINT,
            },
            &issuer,
        )
        .expect("signed");
    assert_eq!(
        Identity::from_der(weak.der()),
        Err(CertificateError::WeakKey)
    );
}

#[test]
fn identity_of_an_authority_or_garbage_is_refused() {
    let ca = certificate(authority().certificate_pem());
    assert_eq!(Identity::from_der(&ca), Err(CertificateError::Authority));
    assert_eq!(Identity::from_der(b""), Err(CertificateError::Malformed));
    let member = authority()
        .issue(
            &Subject::client("w1").expect("a subject"),
            Validity::days(1),
        )
        .expect("a certificate");
    let mut der = certificate(&member.certificate_pem).to_vec();
    assert!(Identity::from_der(&der).is_ok());
    der.push(0);
    assert_eq!(Identity::from_der(&der), Err(CertificateError::Malformed));
}

#[test]
fn local_parts_that_do_not_belong_together_are_refused() {
    let authority = authority();
    let issue = |name: &str| {
        let subject = Subject::client(name).expect("a subject");
        authority
            .issue(&subject, Validity::days(1))
            .expect("a certificate")
    };
    let (one, two, ca) = (issue("w1"), issue("w2"), authority.certificate_pem());
    let load = |certificate: &str, key: &str, ca: &str| {
        LocalIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes())
    };
    assert!(load(&one.certificate_pem, &one.key_pem, ca).is_ok());
    let mixed = load(&one.certificate_pem, &two.key_pem, ca);
    assert!(
        matches!(mixed, Err(LoadError::Mismatch { .. })),
        "{mixed:?}"
    );
    let no_key = load(&one.certificate_pem, &one.certificate_pem, ca);
    assert!(matches!(no_key, Err(LoadError::NoKey { .. })), "{no_key:?}");
    let no_certificate = load(&one.key_pem, &one.key_pem, ca);
    assert!(
        matches!(no_certificate, Err(LoadError::NoCertificate { .. })),
        "{no_certificate:?}"
    );
    let no_authority = load(&one.certificate_pem, &one.key_pem, &two.certificate_pem);
    assert!(
        matches!(no_authority, Err(LoadError::NotAnAuthority { .. })),
        "{no_authority:?}"
    );
    let as_authority = load(ca, &authority.key_pem(), ca);
    assert!(
        matches!(as_authority, Err(LoadError::Certificate { .. })),
        "{as_authority:?}"
    );
}

#[test]
fn local_debug_shows_no_secret() {
    let authority = authority();
    let issued = authority
        .issue(
            &Subject::client("w1").expect("a subject"),
            Validity::days(1),
        )
        .expect("a certificate");
    let local = issued.local(&authority).expect("it fits");
    let shown = format!("{authority:?} {issued:?} {local:?}");
    assert!(!shown.contains("PRIVATE KEY"));
    let secret = local.signing_key().to_bytes();
    assert!(!shown.contains(&format!("{secret:?}")));
}

#[test]
fn describe_warns_about_the_end() {
    let authority = Authority::create(Validity::days(1000)).expect("an authority");
    let subject = Subject::client("w1").expect("a subject");
    let issued = authority
        .issue(&subject, Validity::days(365))
        .expect("a certificate");
    let der = certificate(&issued.certificate_pem);
    let description = Description::from_der(&der).expect("a certificate");
    let now = OffsetDateTime::now_utc();
    let warning = |days| description.warning(now + time::Duration::days(days));
    assert_eq!(warning(0), None);
    assert_eq!(warning(334), None);
    for (days, expected) in [
        (-1, "not valid before"),
        (336, "in 28 days"),
        (366, "expired at"),
    ] {
        let warning = warning(days).expect("a warning");
        assert!(warning.contains(expected), "{warning}");
    }
}

proptest! {
    #[test]
    fn identity_damaged_certificate_never_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let authority = authority();
        let subject = Subject::replica(0, &["10.0.0.1", "node"]).expect("a subject");
        let issued = authority.issue(&subject, Validity::days(1)).expect("a certificate");
        let mut der = certificate(&issued.certificate_pem).to_vec();
        let _ = Identity::from_der(&der[..cut.index(der.len())]);
        for (at, byte) in flips {
            let at = at.index(der.len());
            der[at] ^= byte;
        }
        let _ = Identity::from_der(&der);
        if let Ok(description) = Description::from_der(&der) {
            prop_assert!(!description.to_string().contains('\x1b'));
        }
    }
}

/// The encoding of the curve's neutral point, a key of order one.
const NEUTRAL_POINT: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};

/// Has a public key, but no private one: its signature is always (neutral point, 0).
struct Forger {
    public_key: [u8; 32],
}

impl PublicKeyData for Forger {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl SigningKey for Forger {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok([NEUTRAL_POINT, [0; 32]].concat())
    }
}

fn request_by(key: &impl SigningKey) -> String {
    let request = CertificateParams::default().serialize_request(key);
    request
        .and_then(|request| request.pem())
        .expect("a request")
}

/// Asks for everything.
fn greedy_params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["replica-0".to_string()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::Any,
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::CodeSigning,
    ];
    params
}

fn parse(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).expect("a certificate").1
}

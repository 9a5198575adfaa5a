//! Who gets a link and who does not, over real connections, and what each side is told.

mod common;

use bts_certs::{Authority, LinkError, LocalIdentity, Refusal, Role, Subject, Validity};
use common::{
    authority, client, dial, dialer, eventually, expired, listen, raw, raw_member, replica,
    stranger, within,
};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};

#[tokio::test]
async fn admission_member_both_sides_learn_role_name_and_key() {
    let authority = authority();
    let (replica, client) = (replica(&authority), client(&authority));
    let (mut listener, address) = listen(&replica);
    let dialer = dialer(&client);
    for server_name in ["replica-0", "127.0.0.1"] {
        let (dialed, accepted) =
            tokio::join!(dialer.connect(address, server_name), listener.accept());
        let dialed = dialed.expect("the replica is reached").identity;
        let accepted = accepted.expect("the client is accepted").identity;
        assert_eq!(&dialed, replica.identity());
        assert_eq!(&accepted, client.identity());
        assert_eq!((dialed.role, accepted.role), (Role::Replica, Role::Client));
        assert_eq!(
            accepted.key,
            client.signing_key().verifying_key().to_bytes()
        );
    }
    assert_eq!(listener.refused_total(), 0);
}

#[tokio::test]
async fn admission_replica_may_dial_and_is_known_as_replica() {
    let authority = authority();
    let (mut listener, address) = listen(&replica(&authority));
    let other = member(
        &authority,
        &Subject::replica(1, &[""; 0]).expect("a subject"),
    );
    let (dialed, accepted) = tokio::join!(dial(&other, address), listener.accept());
    assert!(dialed.is_ok());
    let identity = accepted.expect("the replica is accepted").identity;
    assert_eq!(
        (identity.role, identity.name.as_str()),
        (Role::Replica, "replica-1")
    );
}

#[tokio::test]
async fn admission_without_certificate_is_refused() {
    let authority = authority();
    let (listener, address) = listen(&replica(&authority));
    // TLS 1.3: the stranger may believe for a moment that it is in.
    let error = match raw(stranger(&authority, None, b"bts/1"), address).await {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    };
    assert!(
        error.to_string().contains("116") || error.to_string().contains("74"),
        "{error}"
    );
    eventually("the refusal is counted", || listener.refused_total() == 1).await;
}

#[tokio::test]
async fn admission_client_of_another_authority_is_refused_and_told() {
    let ours = authority();
    let theirs = Authority::create(Validity::days(1)).expect("an authority");
    let (listener, address) = listen(&replica(&ours));
    let issued = theirs
        .issue(
            &Subject::client("w1").expect("a subject"),
            Validity::days(1),
        )
        .expect("a certificate");
    let impostor = LocalIdentity::from_pem(
        issued.certificate_pem.as_bytes(),
        issued.key_pem.as_bytes(),
        ours.certificate_pem().as_bytes(),
    );
    let error = dial(&impostor.expect("key and certificate fit"), address).await;
    assert_refused_by_peer(error.err(), Refusal::UnknownAuthority);
    eventually("the refusal is counted", || listener.refused_total() == 1).await;
}

#[tokio::test]
async fn admission_expired_client_is_refused_and_told() {
    let authority = authority();
    let (_listener, address) = listen(&replica(&authority));
    let late = authority
        .member(&Subject::client("late").expect("a subject"), expired())
        .expect("a certificate");
    assert_refused_by_peer(dial(&late, address).await.err(), Refusal::Expired);
}

#[tokio::test]
async fn admission_expired_replica_is_refused_by_the_dialer() {
    let authority = authority();
    let subject = Subject::replica(0, &[""; 0]).expect("a subject");
    let late = authority
        .member(&subject, expired())
        .expect("a certificate");
    let (_listener, address) = listen(&late);
    assert_refused_peer(dial(&client(&authority), address).await.err(), "expired");
}

#[tokio::test]
async fn admission_replica_of_another_authority_is_refused_by_the_dialer() {
    let (_listener, address) = listen(&replica(&authority()));
    assert_refused_peer(
        dial(&client(&authority()), address).await.err(),
        "UnknownIssuer",
    );
}

#[tokio::test]
async fn admission_wrong_server_name_is_refused_by_the_dialer() {
    let authority = authority();
    let (_listener, address) = listen(&replica(&authority));
    let error = dialer(&client(&authority))
        .connect(address, "replica-1")
        .await
        .err();
    assert_refused_peer(error, "replica-1");
}

#[tokio::test]
async fn admission_client_certificate_cannot_serve() {
    let authority = authority();
    // The name is right, so that only the usage can be at fault.
    let pretender = forge(&authority, |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("replica-0".try_into()?)];
        Ok(())
    });
    let (_listener, address) = listen(&pretender);
    let error = dial(&client(&authority), address).await.err();
    assert_refused_peer(error, "extended key usage");
}

#[tokio::test]
async fn admission_role_that_usages_do_not_back_is_refused_and_told() {
    let authority = authority();
    let (listener, address) = listen(&replica(&authority));
    let pair = forged_pair(&authority, |params| {
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, "bts-replica");
        Ok(())
    });
    let error = closed_by(
        stranger(&authority, Some((&pair.0, &pair.1)), b"bts/1"),
        address,
    )
    .await;
    assert!(error.contains("do not fit the role replica"), "{error}");
    eventually("the refusal is counted", || listener.refused_total() == 1).await;
}

#[tokio::test]
async fn admission_certificate_without_role_is_refused_and_told() {
    let authority = authority();
    let (_listener, address) = listen(&replica(&authority));
    let pair = forged_pair(&authority, |params| {
        params
            .distinguished_name
            .remove(DnType::OrganizationalUnitName);
        Ok(())
    });
    let error = closed_by(
        stranger(&authority, Some((&pair.0, &pair.1)), b"bts/1"),
        address,
    )
    .await;
    assert!(error.contains("no role"), "{error}");
}

#[tokio::test]
async fn admission_key_other_than_ed25519_is_refused() {
    let authority = authority();
    let (listener, address) = listen(&replica(&authority));
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let pair = forged_with(&authority, key, |_| Ok(()));
    let config = stranger(&authority, Some((&pair.0, &pair.1)), b"bts/1");
    let error = match raw(config, address).await {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    };
    // The server asks for Ed25519 only, so the stranger has nothing to show.
    assert!(
        error.to_string().contains("116") || error.to_string().contains("74"),
        "{error}"
    );
    eventually("the refusal is counted", || listener.refused_total() == 1).await;
}

#[tokio::test]
async fn admission_other_protocol_is_refused() {
    let authority = authority();
    let (listener, address) = listen(&replica(&authority));
    let issued = authority
        .issue(
            &Subject::client("w1").expect("a subject"),
            Validity::days(1),
        )
        .expect("a certificate");
    let pair = Some((issued.certificate_pem.as_str(), issued.key_pem.as_str()));
    assert!(
        raw(stranger(&authority, pair, b"h3"), address)
            .await
            .is_err()
    );
    eventually("the refusal is counted", || listener.refused_total() == 1).await;
}

#[tokio::test]
async fn admission_other_greeting_is_refused_and_told() {
    let authority = authority();
    let (mut listener, address) = listen(&replica(&authority));
    let connection = raw_member(&client(&authority), address).await;
    let (mut send, _recv) = connection.open_bi().await.expect("one stream is allowed");
    send.write_all(b"GET ").await.expect("it is written");
    let error = within(connection.closed())
        .await
        .expect("it is cut")
        .to_string();
    assert!(error.contains("version of the link"), "{error}");
    eventually("the refusal is counted", || listener.refused_total() == 1).await;

    // A stranger's failure is nobody else's.
    let client = client(&authority);
    let (dialed, accepted) = tokio::join!(dial(&client, address), listener.accept());
    assert!(dialed.is_ok() && accepted.is_some());
}

#[tokio::test]
async fn admission_silent_member_does_not_hold_up_others_and_is_cut() {
    let authority = authority();
    let (mut listener, address) = listen(&replica(&authority));
    let silent = raw_member(&client(&authority), address).await;
    let client = client(&authority);
    let (dialed, accepted) = tokio::join!(dial(&client, address), listener.accept());
    assert!(dialed.is_ok() && accepted.is_some());
    let error = within(silent.closed())
        .await
        .expect("it is cut in the end")
        .to_string();
    assert!(error.contains("no link in time"), "{error}");
}

#[tokio::test]
async fn admission_member_with_many_silent_connections_stands_only_in_its_own_way() {
    let authority = authority();
    let (mut listener, address) = listen(&replica(&authority));
    let hoarder = client(&authority);
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(raw_member(&hoarder, address).await);
    }
    let refused = raw_member(&hoarder, address)
        .await
        .closed()
        .await
        .to_string();
    assert!(
        refused.contains("too many connections without a link"),
        "{refused}"
    );

    let other = client(&authority);
    let (dialed, accepted) = tokio::join!(dial(&other, address), listener.accept());
    assert_eq!(dialed.expect("the link is made").identity.name, "replica-0");
    assert_eq!(
        accepted.expect("the link is made").identity.key,
        other.identity().key
    );
}

#[tokio::test]
async fn admission_crowd_of_members_all_get_in() {
    let authority = authority();
    let (mut listener, address) = listen(&replica(&authority));
    let client = client(&authority);
    let crowd = 150;
    let mut dials = tokio::task::JoinSet::new();
    for _ in 0..crowd {
        let client = client.clone();
        dials.spawn(async move { dial(&client, address).await });
    }
    let accepting = async {
        let mut accepted = Vec::new();
        while accepted.len() < crowd {
            accepted.extend(listener.accept().await);
        }
        accepted
    };
    let accepted = within(accepting).await.expect("all are accepted");
    let mut dialed = Vec::new();
    while let Some(joined) = dials.join_next().await {
        dialed.push(joined.expect("no panic").expect("the link is made"));
    }
    assert_eq!((dialed.len(), accepted.len()), (crowd, crowd));
}

#[tokio::test]
async fn admission_nobody_at_the_address_is_an_error_in_time() {
    let socket = std::net::UdpSocket::bind(common::loopback()).expect("a socket");
    let address = socket.local_addr().expect("an address");
    let dialed = within(dial(&client(&authority()), address))
        .await
        .expect("it does not hang");
    assert!(matches!(dialed, Err(LinkError::TimedOut)), "{dialed:?}");
}

#[tokio::test]
async fn admission_new_identity_serves_without_a_new_socket() {
    let authority = authority();
    let (mut listener, address) = listen(&replica(&authority));
    let client = client(&authority);
    let (first, accepted) = tokio::join!(dial(&client, address), listener.accept());
    let renewed = replica(&authority);
    listener
        .set_identity(&renewed)
        .expect("the settings are made");
    let (second, _accepted) = tokio::join!(dial(&client, address), listener.accept());
    assert_eq!(
        second.expect("the replica is reached").identity.key,
        renewed.identity().key
    );
    // The link of before goes on.
    let (first, mut accepted) = (first.expect("a link"), accepted.expect("a link"));
    first
        .link
        .writer
        .try_send(b"still here")
        .expect("it is queued");
    let frame = accepted.link.reader.next().await.expect("the link lives");
    assert_eq!(frame, Some(b"still here".to_vec()));
}

fn assert_refused_by_peer(error: Option<LinkError>, expected: Refusal) {
    match error {
        Some(LinkError::RefusedByPeer(refusal)) => assert_eq!(refusal, expected),
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

fn assert_refused_peer(error: Option<LinkError>, expected: &str) {
    match error {
        Some(LinkError::RefusedPeer(reason)) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("expected a refused peer, got {other:?}"),
    }
}

async fn closed_by(config: quinn::ClientConfig, address: std::net::SocketAddr) -> String {
    match raw(config, address).await {
        Ok(connection) => connection.closed().await.to_string(),
        Err(error) => error.to_string(),
    }
}

fn member(authority: &Authority, subject: &Subject) -> LocalIdentity {
    authority
        .member(subject, Validity::days(1))
        .expect("a member is made")
}

type Edit = fn(&mut CertificateParams) -> Result<(), rcgen::Error>;

/// A client's certificate, signed by the authority's key, with something changed.
fn forge(authority: &Authority, edit: Edit) -> LocalIdentity {
    let (certificate, key) = forged_pair(authority, edit);
    let ca = authority.certificate_pem().as_bytes();
    LocalIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), ca).expect("it fits together")
}

fn forged_pair(authority: &Authority, edit: Edit) -> (String, String) {
    forged_with(
        authority,
        KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key"),
        edit,
    )
}

fn forged_with(authority: &Authority, key: KeyPair, edit: Edit) -> (String, String) {
    let authority_key = KeyPair::from_pem(&authority.key_pem()).expect("the authority's key");
    let issuer = Issuer::from_ca_cert_pem(authority.certificate_pem(), authority_key)
        .expect("the authority's certificate");
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "w1");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, "bts-client");
    edit(&mut params).expect("the change is possible");
    let certificate = params.signed_by(&key, &issuer).expect("it is signed");
    (certificate.pem(), key.serialize_pem())
}

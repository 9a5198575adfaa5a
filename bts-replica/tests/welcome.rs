//! Who is let in, and what the others are told.

mod common;

use std::sync::Arc;

use bts_certs::deployment::settings_path;
use bts_certs::folder::{self, Existing};
use bts_certs::{Authority, LinkLimits, Listener, Subject, Validity};
use bts_core::crypto::hash::Digest;
use bts_core::ids::{ClusterId, Incarnation, Lsn, ReplicaId};
use bts_core::message::{Hello, HelloReply, HelloRole, ReplyBody};
use common::{PATIENCE, Rig, Running, ask, end_of, ping};
use tokio::time::timeout;

#[tokio::test]
async fn welcome_replicas_find_one_another_and_clients_are_served() {
    let rig = Rig::new(4, 1);
    let replicas: Vec<Running> = (0..4).map(|index| rig.start(index)).collect();
    for (index, replica) in (0..4).zip(&replicas) {
        for peer in (0..4).filter(|peer| *peer != index) {
            // Each tells the other where the other's stream goes on.
            let stream_next = 100 + index;
            replica
                .seen
                .wait(&format!("+peer s{peer} {stream_next}"))
                .await;
        }
    }
    let mut client = rig.client("w1", 2, 7).await;
    let reply = ask(&mut client, 5, ping()).await;
    assert_eq!((reply.request.0, reply.body), (5, ReplyBody::Ack));
    replicas[2].seen.wait("+client 7").await;
    drop(client);
    replicas[2].seen.wait("-client 7").await;
}

#[tokio::test]
async fn welcome_refused_client_is_told_why() {
    let rig = Rig::new(4, 1);
    let _running: Vec<Running> = (0..3).map(|index| rig.start(index)).collect();
    let hello = rig.client_hello(1);
    let version = Hello {
        version: 99,
        ..hello.clone()
    };
    refused(&rig, "w1", &version, "version 99").await;
    let cluster = Hello {
        cluster: ClusterId([0; 32]),
        ..hello.clone()
    };
    refused(&rig, "w1", &cluster, "another cluster").await;
    let configuration = Hello {
        configuration: Digest([0; 32]),
        ..hello.clone()
    };
    refused(&rig, "w1", &configuration, "your configuration").await;
    let why = "your certificate is that of a client";
    refused(&rig, "w1", &rig.replica_hello(3, 1), why).await;
    let why = "your key is that of replica s3";
    refused(&rig, "replica-3", &hello, why).await;
    let authority = folder::open_authority(rig.path()).expect("the authority");
    let stray = Subject::replica(9, &["localhost"]).expect("a subject");
    let (days, keep) = (Validity::days(1), Existing::Keep);
    folder::add_member(rig.path(), &authority, &stray, days, keep).expect("a member");
    let why = "your certificate is that of a replica";
    refused(&rig, "replica-9", &hello, why).await;
}

#[tokio::test]
async fn welcome_refused_replica_is_told_why() {
    let rig = Rig::new(4, 1);
    let _running: Vec<Running> = (0..3).map(|index| rig.start(index)).collect();
    for said in [0, 2, 99] {
        let hello = rig.replica_hello(said, 1);
        refused(&rig, "replica-3", &hello, "not the configured one").await;
    }
    let why = "so does the one you speak to";
    refused(&rig, "replica-0", &rig.replica_hello(0, 1), why).await;
    let other_policy = rig.hello(HelloRole::Replica {
        replica: ReplicaId(3),
        incarnation: Incarnation(1),
        policy: Digest([1; 32]),
        stream_next: 0,
        position: Lsn(0),
        run: 5,
    });
    refused(&rig, "replica-3", &other_policy, "your policy is another").await;
    let hello = rig.replica_hello(3, 2);
    let (_link, reply) = rig.greet("replica-3", 0, &hello).await;
    let HelloReply::Ack {
        replica,
        stream_next,
        ..
    } = reply
    else {
        panic!("the true one was refused, or a refusal was remembered: {reply:?}");
    };
    assert_eq!((replica, stream_next), (ReplicaId(0), 103));
}

#[tokio::test]
async fn welcome_a8_second_incarnation_is_refused_on_both_ways() {
    let rig = Rig::new(4, 1);
    let running: Vec<Running> = (0..3).map(|index| rig.start(index)).collect();
    let (first, reply) = rig.greet("replica-3", 0, &rig.replica_hello(3, 1)).await;
    assert!(matches!(reply, HelloReply::Ack { .. }), "{reply:?}");
    drop(first);
    refused(
        &rig,
        "replica-3",
        &rig.replica_hello(3, 2),
        "lost its memory",
    )
    .await;
    // The same one may come again.
    let (_link, reply) = rig.greet("replica-3", 0, &rig.replica_hello(3, 1)).await;
    assert!(matches!(reply, HelloReply::Ack { .. }), "{reply:?}");
    // The real one has another incarnation: replica 0 dials it, and leaves it again; the others
    // have met nobody else, so they stay.
    let real = rig.start(3);
    running[1].seen.wait("+peer s3 101").await;
    running[2].seen.wait("+peer s3 102").await;
    real.seen.wait("+peer s1 103").await;
    real.seen.wait("+peer s2 103").await;
    assert_eq!(running[0].seen.count("+peer s3 100"), 0);
    assert_eq!(real.seen.count("+peer s0 103"), 0);
}

#[tokio::test]
async fn welcome_impostor_at_a_peers_address_hears_nothing() {
    let rig = Rig::new(4, 1);
    let authority = folder::open_authority(rig.path()).expect("the authority");
    let subject = Subject::replica(1, &["localhost"]).expect("a subject");
    let impostor = authority.member(&subject, Validity::days(1));
    let impostor = impostor.expect("another key under the same name");
    let mut listener = Listener::bind(rig.address(1), &impostor, LinkLimits::default())
        .expect("the address is free");
    let running = rig.start(0);
    let dialed = timeout(PATIENCE, listener.accept()).await;
    let mut link = dialed.expect("it dials").expect("a link").link;
    let end = common::next(&mut link).await.expect_err("no Hello");
    assert!(end.to_string().contains("not the configured one"), "{end}");
    assert_eq!(running.seen.count("+peer s1 100"), 0);
}

#[tokio::test]
async fn welcome_restarted_replica_serves_no_client() {
    let rig = Rig::new(4, 1);
    let running: Vec<Running> = (0..4).map(|index| rig.start(index)).collect();
    for replica in &running[..3] {
        let index = running
            .iter()
            .position(|other| Arc::ptr_eq(&other.seen, &replica.seen));
        let stream_next = 100 + index.expect("it is one of them");
        replica.seen.wait(&format!("+peer s3 {stream_next}")).await;
    }
    for peer in 0..3 {
        running[3].seen.wait(&format!("+peer s{peer} 103")).await;
    }
    let mut running = running;
    running
        .pop()
        .expect("the last one")
        .stop()
        .expect("it ends well");
    let again = rig.start(3);
    let (_link, reply) = rig.greet("w1", 3, &rig.client_hello(1)).await;
    let HelloReply::Refused(why) = reply else {
        panic!("a replica without memory was trusted: {reply:?}");
    };
    // Both are true: the first until its peers have all said so.
    assert!(
        why.contains("not ready") || why.contains("lost its memory"),
        "{why}"
    );
    assert_eq!(again.seen.count("+client 1"), 0);
}

#[tokio::test]
async fn welcome_of_too_few_peers_makes_no_replica_ready() {
    let rig = Rig::new(4, 1);
    let running = [rig.start(0), rig.start(1)];
    let (_link, reply) = rig.greet("w1", 0, &rig.client_hello(1)).await;
    let reply = format!("{reply:?}");
    assert!(reply.contains("not ready"), "{reply}");
    let told = running.iter().map(|one| one.seen.count("+peer s1 100"));
    assert_eq!(told.sum::<usize>(), 0, "a new store is not used");
    let _third = rig.start(2);
    let _client = rig.client("w1", 0, 1).await;
}

#[tokio::test]
async fn welcome_policy_names_the_clients() {
    let rig = Rig::new(1, 0);
    let path = settings_path(rig.path(), "cluster");
    let text = std::fs::read_to_string(&path).expect("a file");
    let w1 = rig.member("w1").identity().key_hex();
    let text = text.replace("clients = \"all\"", &format!("clients = [\"{w1}\"]"));
    std::fs::write(&path, text).expect("written");
    let _running = rig.start(0);
    let _welcome = rig.client("w1", 0, 1).await;
    refused(&rig, "w2", &rig.client_hello(1), "does not admit your key").await;
}

#[tokio::test]
async fn welcome_strangers_get_nothing() {
    let rig = Rig::new(1, 0);
    let _running = rig.start(0);
    let other = Authority::create(Validity::days(2)).expect("an authority");
    let subject = Subject::client("w1").expect("a subject");
    let key_pair = other
        .issue(&subject, Validity::days(1))
        .expect("a certificate");
    let ours = std::fs::read(rig.path().join("ca.crt")).expect("a file");
    let stranger = bts_certs::LocalIdentity::from_pem(
        key_pair.certificate_pem.as_bytes(),
        key_pair.key_pem.as_bytes(),
        &ours,
    );
    let stranger = stranger.expect("key and certificate fit");
    let error = rig.dial(&stranger, 0).await.expect_err("another authority");
    assert!(error.to_string().contains("unknown authority"), "{error}");
    let error = common::dial_without_certificate(&rig, 0).await;
    assert!(error.contains("certificate"), "{error}");
    let _welcome = rig.client("w1", 0, 1).await;
}

#[tokio::test]
async fn welcome_newest_connection_of_a_session_wins() {
    let rig = Rig::new(1, 0);
    let running = rig.start(0);
    let mut old = rig.client("w1", 0, 7).await;
    ask(&mut old, 1, ping()).await;
    let mut new = rig.client("w1", 0, 7).await;
    assert!(end_of(&old).await.contains("newer connection"));
    let reply = ask(&mut new, 2, ping()).await;
    assert_eq!(reply.request.0, 2);
    assert_eq!(running.seen.count("+client 7"), 2);
    assert_eq!(running.seen.count("-client 7"), 1);
}

#[tokio::test]
async fn welcome_shutdown_tells_everybody() {
    let rig = Rig::new(1, 0);
    let running = rig.start(0);
    let client = rig.client("w1", 0, 7).await;
    let stopped = tokio::task::spawn_blocking(move || running.stop());
    assert!(end_of(&client).await.contains("this replica stops"));
    let stopped = timeout(PATIENCE, stopped).await;
    let stopped = stopped.expect("it stops in time").expect("no panic");
    stopped.expect("it ends well");
}

async fn refused(rig: &Rig, name: &str, hello: &Hello, why: &str) {
    let (link, reply) = rig.greet(name, 0, hello).await;
    let (HelloReply::Refused(said) | HelloReply::LostMemory(said)) = &reply else {
        panic!("{name} was welcomed, expected {why:?}");
    };
    assert!(said.contains(why), "expected {why:?}: {said}");
    let end = end_of(&link).await;
    assert!(end.contains(why), "expected {why:?}: {end}");
}

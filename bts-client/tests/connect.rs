//! What `Client::connect` demands and tells, against listeners that answer a Hello as replicas do.
//! What comes after the welcome is tested with whole clusters.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bts_certs::cluster::{Cluster, Member};
use bts_certs::{Authority, LinkLimits, Listener, Subject, Validity, replica_name};
use bts_client::{Client, Config, ConnectError, Error, LinkState, RollCall, template};
use bts_core::codec;
use bts_core::configuration::Policy;
use bts_core::crypto::sign::PROTOCOL_VERSION;
use bts_core::ids::{ClusterId, Incarnation, Lsn, PublicKey, ReplicaId};
use bts_core::message::{Hello, HelloReply, HelloRole};

/// How a listener behaves.
#[derive(Clone, Copy, PartialEq)]
enum Door {
    Welcomes,
    /// Accepts the link and says nothing.
    Silent,
    Refuses,
    /// Says that it is another replica.
    Pretends,
    /// Has a certificate of another authority, and trusts that one.
    Foreign,
    /// Has a certificate of the authority and the name of the replica, but another key.
    Double,
    /// Listens nowhere.
    Absent,
}

/// Nothing here takes so long, but for what waits for the deadline.
const PATIENCE: Duration = Duration::from_secs(30);
/// The deadline of a connect that is to reach it.
const DEADLINE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn connect_needs_the_welcome_of_a_quorum() {
    let config = cluster([Door::Welcomes, Door::Silent, Door::Welcomes, Door::Welcomes]);
    let client = Client::connect(config)
        .await
        .expect("three of four welcome us");
    let connected = client
        .links()
        .into_iter()
        .filter(|(_, link)| *link == LinkState::Connected);
    let connected: Vec<u16> = connected.map(|(replica, _)| replica.0).collect();
    assert_eq!(connected, [0, 2, 3]);
    client.close().await;
    let jobs = client.space("jobs").expect("a good name");
    assert!(matches!(jobs.out(("task", 1)).await, Err(Error::Closed)));
    assert!(matches!(
        jobs.rdp(template!["task", _]).await,
        Err(Error::Closed)
    ));
}

#[tokio::test]
async fn connect_without_quorum_says_of_each_replica_why() {
    let doors = [Door::Welcomes, Door::Absent, Door::Silent, Door::Welcomes];
    let config = cluster(doors).with_connect_deadline(DEADLINE);
    let Err(ConnectError::NoQuorum(roll)) = Client::connect(config).await else {
        panic!("two of four are no quorum");
    };
    assert_eq!((roll.needed, roll.answered.len()), (3, 2));
    let told = roll.to_string();
    assert!(
        told.starts_with("3 replicas must answer, s0, s3 did; s1 (127.0.0.1:"),
        "{told}"
    );
    assert_eq!(link(&roll, 2), &LinkState::Connecting);
}

#[tokio::test]
async fn connect_refused_by_too_many_fails_at_once_with_their_reasons() {
    let doors = [Door::Foreign, Door::Refuses, Door::Pretends, Door::Welcomes];
    let began = Instant::now();
    let Err(ConnectError::Refused(roll)) = Client::connect(cluster(doors)).await else {
        panic!("three of four refuse");
    };
    assert!(
        began.elapsed() < PATIENCE,
        "nothing would change until the deadline"
    );
    let firm = [0, 1, 2].map(|index| link(&roll, index).to_string());
    let told = [
        "not the replica of the cluster file: the peer was refused: ",
        "refuses us: you are unwelcome",
        "not the replica of the cluster file: it says that it is s0",
    ];
    let known = told
        .iter()
        .zip(&firm)
        .filter(|(told, link)| link.starts_with(**told));
    assert!(known.count() >= 2, "{firm:?}");
}

#[tokio::test]
async fn connect_to_another_key_under_the_name_of_a_replica_is_no_connection() {
    let doors = [Door::Double, Door::Double, Door::Welcomes, Door::Welcomes];
    let Err(ConnectError::Refused(roll)) = Client::connect(cluster(doors)).await else {
        panic!("two of four are not the replicas of the cluster file");
    };
    let told = link(&roll, 1).to_string();
    assert!(told.ends_with("answers with another key"), "{told}");
}

#[tokio::test]
async fn connect_with_a_certificate_of_another_authority_says_so() {
    let strangers = Authority::create(Validity::days(1)).expect("an authority");
    let config = cluster_for([Door::Welcomes; 4], Some(&strangers));
    let Err(ConnectError::Refused(roll)) = Client::connect(config).await else {
        panic!("our certificate is of another authority");
    };
    let told = link(&roll, 0).to_string();
    assert!(
        told.contains("unknown authority") || told.contains("was refused"),
        "{told}"
    );
}

#[test]
fn connect_works_without_any_runtime_of_the_caller() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime for the replicas");
    let config = runtime.block_on(async { cluster([Door::Welcomes; 4]) });
    let client = bare_block_on(Client::connect(config)).expect("all welcome us");
    bare_block_on(client.close());
}

/// Polls a future on this thread, with nothing around it.
fn bare_block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker))
        {
            std::task::Poll::Ready(done) => return done,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

fn link(roll: &RollCall, index: u16) -> &LinkState {
    let mut silent = roll.silent.iter();
    let silent = silent.find(|silent| silent.replica == ReplicaId(index));
    &silent
        .unwrap_or_else(|| panic!("s{index} did not answer: {roll}"))
        .link
}

fn cluster(doors: [Door; 4]) -> Config {
    cluster_for(doors, None)
}

/// Starts the listeners. The client is of the replicas' authority, or of that of `strangers`.
fn cluster_for(doors: [Door; 4], strangers: Option<&Authority>) -> Config {
    let authority = Authority::create(Validity::days(1)).expect("an authority");
    let members: Vec<Member> = (0..)
        .zip(doors)
        .map(|(i, door)| listen(i, door, &authority))
        .collect();
    let cluster = Cluster::new(ClusterId([7; 32]), 1, &members, &Policy::default());
    let subject = Subject::client("alice").expect("a good name");
    let issuer = strangers.unwrap_or(&authority);
    let issued = issuer
        .issue(&subject, Validity::days(1))
        .expect("a certificate");
    let alice = bts_certs::LocalIdentity::from_pem(
        issued.certificate_pem.as_bytes(),
        issued.key_pem.as_bytes(),
        authority.certificate_pem().as_bytes(),
    );
    Config::new(cluster.expect("a cluster"), alice.expect("an identity"))
        .expect("a client")
        .with_connect_deadline(PATIENCE)
}

fn listen(index: u16, door: Door, authority: &Authority) -> Member {
    let subject = Subject::replica(index.into(), &["127.0.0.1"]).expect("a good name");
    let own = authority
        .member(&subject, Validity::days(1))
        .expect("a certificate");
    let other = Authority::create(Validity::days(1)).expect("an authority");
    let foreign = other
        .member(&subject, Validity::days(1))
        .expect("a certificate");
    let double = authority
        .member(&subject, Validity::days(1))
        .expect("a certificate");
    let local = match door {
        Door::Foreign => &foreign,
        Door::Double => &double,
        _ => &own,
    };
    let anywhere: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let mut listener = Listener::bind(anywhere, local, LinkLimits::default()).expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    if door == Door::Absent {
        drop(listener);
    } else {
        tokio::spawn(async move {
            while let Some(peer) = listener.accept().await {
                tokio::spawn(answer(ReplicaId(index), door, peer.link));
            }
        });
    }
    Member {
        name: replica_name(index.into()),
        address,
        key: PublicKey(own.identity().key),
    }
}

/// Answers the Hello, and ends when the client does.
async fn answer(replica: ReplicaId, door: Door, mut link: bts_certs::Link) {
    let Ok(Some(frame)) = link.reader.next().await else {
        return;
    };
    let hello: Hello = codec::decode_client(&frame).expect("the client says hello");
    assert_eq!(hello.cluster, ClusterId([7; 32]));
    assert!(matches!(hello.role, HelloRole::Client { .. }));
    let ack = |replica| HelloReply::Ack {
        version: PROTOCOL_VERSION,
        replica,
        incarnation: Incarnation(1),
        stream_next: 0,
        position: Lsn(0),
        run: 5,
    };
    let reply = match door {
        Door::Refuses => HelloReply::Refused("you are unwelcome".into()),
        Door::Pretends => ack(ReplicaId((replica.0 + 2) % 4)),
        _ => ack(replica),
    };
    if door != Door::Silent {
        link.writer
            .try_send(codec::encode(&reply))
            .expect("the queue is empty");
    }
    while let Ok(Some(_)) = link.reader.next().await {}
}

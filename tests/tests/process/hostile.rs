//! Replicas that misbehave: one of four in every way that has a name, two of seven together.

use std::time::{Duration, Instant};

use bts_core::ids::{PublicKey, ReplicaId};
use bts_tests::hostile::Behaviour;
use bts_tests::process::{Cluster, Deployment, Hand, Workers};

use crate::{NODE, logged};

/// Which replica misbehaves.
const VILLAIN: u16 = 1;

/// How long it may take until somebody notices; generous, as machines may be busy.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn hostile_forger_is_survived_and_named() {
    let cluster = survives(Behaviour::Forger).await;
    noticed(async || forgeries_of(&cluster, VILLAIN).await).await;
    let names_it = format!("peer s{VILLAIN} relayed a forgery");
    let mut cluster = cluster;
    assert!(
        cluster.node(0).log().contains(&names_it),
        "no line names it"
    );
}

#[tokio::test]
async fn hostile_inventor_is_survived_and_named() {
    let cluster = survives(Behaviour::Inventor).await;
    noticed(async || forgeries_of(&cluster, VILLAIN).await).await;
}

#[tokio::test]
async fn hostile_wrong_certificates_are_survived_and_named() {
    let cluster = survives(Behaviour::WrongCertificates).await;
    noticed(async || forgeries_of(&cluster, VILLAIN).await).await;
}

/// It is at another place than all others, so that the clients' common log tells them apart.
#[tokio::test]
async fn hostile_altered_entries_are_survived_and_named() {
    logged::start();
    survives_at(2, Behaviour::Altered).await;
    let lines = logged::lines_with(&["faulty replica", "replica=s2"]);
    assert!(!lines.is_empty(), "no client noticed");
}

#[tokio::test]
async fn hostile_two_votes_are_survived() {
    survives(Behaviour::TwoVotes).await;
}

#[tokio::test]
async fn hostile_two_faces_are_survived() {
    survives(Behaviour::TwoFaced).await;
}

#[tokio::test]
async fn hostile_stale_state_is_survived() {
    survives(Behaviour::Stale).await;
}

#[tokio::test]
async fn hostile_silence_to_some_clients_is_survived() {
    survives(Behaviour::Silent).await;
}

#[tokio::test]
async fn hostile_slowness_is_survived_and_not_waited_for() {
    let cluster = survives(Behaviour::Slow).await;
    let workers = Workers::connect(cluster.deployment(), [1]).await;
    let began = Instant::now();
    for number in 0..30u64 {
        workers
            .space()
            .out(("written", number))
            .await
            .expect("three of four are quick");
    }
    // Each answer of the slow one takes half a second on average.
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn hostile_garbage_is_survived_and_named() {
    let cluster = survives(Behaviour::Garbage).await;
    noticed(async || broken_by(&cluster, VILLAIN).await).await;
}

#[tokio::test]
async fn hostile_endless_frames_are_survived_and_named() {
    let cluster = survives(Behaviour::Endless).await;
    noticed(async || broken_by(&cluster, VILLAIN).await).await;
}

#[tokio::test]
async fn hostile_liar_is_survived_and_named() {
    let cluster = survives(Behaviour::Liar).await;
    noticed(async || forgeries_of(&cluster, VILLAIN).await).await;
}

#[tokio::test]
async fn hostile_two_of_seven_are_survived() {
    let hostile = [(1, Behaviour::Liar), (4, Behaviour::TwoVotes)];
    let cluster = Cluster::start(NODE, Deployment::new(7, 2, 4), &hostile).await;
    work(&cluster, 6).await;
    noticed(async || forgeries_of(&cluster, 1).await).await;
}

async fn survives(behaviour: Behaviour) -> Cluster {
    survives_at(VILLAIN, behaviour).await
}

async fn survives_at(villain: u16, behaviour: Behaviour) -> Cluster {
    let deployment = Deployment::new(4, 1, 4).without_reservations();
    let cluster = Cluster::start(NODE, deployment, &[(villain, behaviour)]).await;
    work(&cluster, 10).await;
    cluster
}

async fn work(cluster: &Cluster, rounds: usize) {
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(rounds);
    workers.finish().await;
}

/// Waits until this counts something. The work may be done before the noise has reached anybody.
async fn noticed(count: impl AsyncFn() -> u64) {
    let began = Instant::now();
    while count().await == 0 {
        assert!(began.elapsed() < NOTICED_WITHIN, "nobody noticed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Forgeries relayed by this replica, as the others count them.
async fn forgeries_of(cluster: &Cluster, villain: u16) -> u64 {
    let mut hand = Hand::new(cluster.deployment(), 0)
        .connect_to(&cluster.correct())
        .await;
    let key = key_of(&hand, villain);
    let mut sum = 0;
    for replica in cluster.correct() {
        let report = hand.report(replica).await;
        sum += report
            .forged
            .iter()
            .filter(|(who, _)| *who == key)
            .map(|(_, count)| count)
            .sum::<u64>();
    }
    sum
}

/// How often this replica sent what is no message, as the others count it.
async fn broken_by(cluster: &Cluster, villain: u16) -> u64 {
    let mut hand = Hand::new(cluster.deployment(), 0)
        .connect_to(&cluster.correct())
        .await;
    let name = format!("broke the protocol ({})", key_of(&hand, villain));
    let mut sum = 0;
    for replica in cluster.correct() {
        let report = hand.report(replica).await;
        sum += report
            .counters
            .iter()
            .filter(|(what, _)| *what == name)
            .map(|(_, count)| count)
            .sum::<u64>();
    }
    sum
}

fn key_of(hand: &Hand, replica: u16) -> PublicKey {
    let key = hand.configuration().key_of(ReplicaId(replica));
    key.expect("a replica of this cluster")
}

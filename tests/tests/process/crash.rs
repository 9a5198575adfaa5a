//! Replicas that crash, stand still, or come back without memory.

use bts_core::ids::ReplicaId;
use bts_tests::process::{Cluster, Deployment, Hand, Workers, of_key, until};
use tokio::time::{Duration, sleep};

use crate::NODE;

#[tokio::test]
async fn crash_of_one_replica_in_the_middle_is_survived() {
    let deployment = Deployment::new(4, 1, 4).without_reservations();
    let mut cluster = Cluster::start(NODE, deployment, &[]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(14);
    workers.operations(25).await;
    cluster.node(2).kill();
    workers.finish().await;
    assert!(
        cluster.node(0).stop(),
        "a correct replica ends well when it is told to"
    );
}

#[tokio::test]
async fn crash_and_return_without_memory_stays_out() {
    let mut cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(16);
    workers.operations(25).await;
    cluster.node(3).kill();
    cluster.restart(3);
    let refused = async || {
        cluster
            .node(3)
            .log()
            .contains("lost its memory")
            .then_some(())
    };
    until("its peers tell it why they refuse it", refused).await;
    workers.finish().await;
    let mut hand = Hand::new(cluster.deployment(), 0);
    let welcome = hand.connect(ReplicaId(3)).await;
    assert!(
        welcome.is_err(),
        "it serves clients though it has forgotten its promises"
    );
}

#[tokio::test]
async fn crash_pause_of_one_replica_is_survived() {
    let mut cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(30);
    for replica in 0..4 {
        cluster.node(replica).pause();
        workers.operations(12).await;
        cluster.node(replica).resume();
    }
    workers.finish().await;
}

#[tokio::test]
async fn crash_pause_of_a_majority_only_delays() {
    let mut cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(14);
    workers.operations(15).await;
    cluster.node(0).pause();
    cluster.node(1).pause();
    let space = workers.space().with_deadline(Duration::from_secs(1));
    let alone = space.rdp(of_key("nothing")).await;
    assert!(
        matches!(alone, Err(bts_client::Error::NoQuorum { .. })),
        "two of four are no quorum: {alone:?}"
    );
    // Long enough that every operation in flight has been repeated in vain.
    sleep(Duration::from_secs(2)).await;
    cluster.node(0).resume();
    cluster.node(1).resume();
    workers.finish().await;
}

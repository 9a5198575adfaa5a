//! Replicas that crash, stand still, or come back without memory.

use bts_tests::process::{Cluster, Deployment, Workers};

use crate::NODE;

#[tokio::test]
async fn crash_none_everything_works() {
    let cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(10);
    workers.finish().await;
}

#[tokio::test]
async fn crash_of_one_replica_in_the_middle_is_survived() {
    let mut cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(10);
    workers.operations(20).await;
    cluster.node(2).kill();
    workers.finish().await;
}

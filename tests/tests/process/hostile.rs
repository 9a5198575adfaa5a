//! Replicas that lie: one of four, in every way that has a name.

use bts_tests::hostile::Behaviour;
use bts_tests::process::{Cluster, Deployment, Workers};

use crate::NODE;

async fn survives(behaviour: Behaviour) -> Cluster {
    let cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[(1, behaviour)]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(8);
    workers.finish().await;
    cluster
}

#[tokio::test]
async fn hostile_forger_is_survived() {
    survives(Behaviour::Forger).await;
}

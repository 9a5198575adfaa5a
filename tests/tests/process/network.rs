//! A network that loses, delays and cuts, between one client and the replicas; the other clients
//! see none of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bts_core::ids::ReplicaId;
use bts_tests::process::{Cluster, Deployment, Proxy, Weather, Workers};
use tokio::time::sleep;

use crate::NODE;

#[tokio::test]
async fn network_loss_and_delay_are_survived() {
    let rig = Rig::start().await;
    let bad = Weather {
        loss_percent: 8,
        delay_ms_max: 30,
        ..Weather::default()
    };
    rig.weather(0..4, bad);
    let mut workers = rig.workers().await;
    workers.start(8);
    workers.finish().await;
}

#[tokio::test]
async fn network_one_way_cuts_are_survived() {
    let rig = Rig::start().await;
    let mut workers = rig.workers().await;
    workers.start(16);
    for replica in 0..4 {
        let towards = replica % 2 == 0;
        let cut = Weather {
            cut_towards: towards,
            cut_back: !towards,
            ..Weather::default()
        };
        rig.weather(replica..replica + 1, cut);
        // It does not wait for the one that it cannot reach.
        workers.operations_of(0, 4).await;
        rig.weather(0..4, Weather::default());
    }
    workers.finish().await;
}

#[tokio::test]
async fn network_cut_longer_than_links_live_is_survived() {
    let rig = Rig::start().await;
    let mut workers = rig.workers().await;
    workers.start(12);
    workers.operations(10).await;
    rig.weather(0..4, Weather::CUT);
    // Links are given up after ten seconds of silence.
    sleep(Duration::from_secs(12)).await;
    rig.weather(0..4, Weather::default());
    workers.finish().await;
}

/// A cluster, with a proxy before each replica.
struct Rig {
    cluster: Cluster,
    proxies: BTreeMap<ReplicaId, Proxy>,
}

impl Rig {
    async fn start() -> Self {
        let cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[]).await;
        let mut proxies = BTreeMap::new();
        for replica in cluster.correct() {
            let address = cluster.deployment().address_of(replica);
            proxies.insert(replica, Proxy::before(address).await);
        }
        Self { cluster, proxies }
    }

    /// The first of them is behind the proxies.
    async fn workers(&self) -> Workers {
        let deployment = self.cluster.deployment();
        let addresses = self
            .proxies
            .iter()
            .map(|(id, proxy)| (*id, proxy.address()))
            .collect();
        let mut workers = Workers::connect(deployment, []).await;
        workers
            .add(deployment, 1, deployment.cluster_through(&addresses))
            .await;
        workers
            .add(deployment, 2, deployment.cluster().clone())
            .await;
        workers
            .add(deployment, 3, deployment.cluster().clone())
            .await;
        workers
    }

    fn weather(&self, replicas: std::ops::Range<u16>, weather: Weather) {
        replicas.for_each(|replica| self.proxies[&ReplicaId(replica)].set(weather));
    }
}

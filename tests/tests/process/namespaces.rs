//! Every replica and every client with a network and an address of its own: links are cut, in both
//! directions or in one, processes are stopped and killed, and what the clients were told is judged.
//! Where namespaces cannot be made, these tests say so and pass.

use std::net::SocketAddr;
use std::sync::Arc;

use bts_client::Config;
use bts_tests::process::{Cluster, Deployment, Diary, Lab, Within, Workers, space_name, until};
use tokio::time::{Duration, sleep};

use crate::NODE;

const REPLICAS: usize = 4;
const CLIENTS: usize = 3;
/// Where replicas listen; in a namespace of their own every port is free.
const PORT: u16 = 7400;
/// Rounds of each client, and how long it rests in each of them.
const ROUNDS: usize = 24;
const REST: Duration = Duration::from_millis(60);

#[test]
fn namespaces_links_cut_one_after_the_other_are_survived() {
    with_lab(async |stage| {
        for replica in 0..REPLICAS {
            stage.lab.cut(replica);
            stage.operations(8).await;
            stage.lab.mend(replica);
        }
        // A client that hears nobody only waits.
        stage.lab.cut(REPLICAS);
        stage.operations(8).await;
        stage.lab.mend(REPLICAS);
    });
}

#[test]
fn namespaces_one_way_cuts_are_survived() {
    with_lab(async |stage| {
        for replica in 0..REPLICAS {
            let others = (0..REPLICAS + CLIENTS).filter(|other| *other != replica);
            // It hears everybody, and nobody hears it; or the other way round.
            let closed: Vec<_> = match replica % 2 {
                0 => others.map(|other| (replica, other)).collect(),
                _ => others.map(|other| (other, replica)).collect(),
            };
            closed
                .iter()
                .for_each(|(from, to)| stage.lab.lose(*from, *to));
            stage.operations(8).await;
            closed
                .iter()
                .for_each(|(from, to)| stage.lab.pass(*from, *to));
        }
        // Its own system tells it that it cannot send.
        stage.lab.refuse(1, 2);
        stage.lab.refuse(REPLICAS + 1, 1);
        stage.operations(8).await;
        stage.lab.allow(1, 2);
        stage.lab.allow(REPLICAS + 1, 1);
    });
}

#[test]
fn namespaces_split_in_halves_only_delays() {
    with_lab(async |stage| {
        let between = |act: fn(&Lab, usize, usize)| {
            for (one, other) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
                act(&stage.lab, one, other);
                act(&stage.lab, other, one);
            }
            for client in REPLICAS..REPLICAS + CLIENTS {
                act(&stage.lab, client, 3);
                act(&stage.lab, 2, client);
            }
        };
        between(Lab::lose);
        let before = stage.diary.ended();
        // Long enough that every operation in flight has been repeated in vain.
        sleep(Duration::from_secs(2)).await;
        let ended = stage.diary.ended() - before;
        assert!(
            ended <= 2 * CLIENTS,
            "{ended} operations ended without a quorum"
        );
        between(Lab::pass);
    });
}

#[test]
fn namespaces_stop_cut_and_kill_together_are_survived() {
    with_lab(async |stage| {
        stage.cluster.node(0).pause();
        stage.operations(6).await;
        stage.lab.cut(0);
        stage.cluster.node(0).resume();
        stage.operations(6).await;
        stage.lab.mend(0);
        stage.cluster.wait_ready(0).await;
        stage.lab.lose(1, 2);
        stage.operations(6).await;
        stage.lab.pass(1, 2);
        stage.cluster.node(3).kill();
    });
}

/// A cluster in a network of its own, with clients at work.
struct Stage {
    lab: Arc<Lab>,
    cluster: Cluster,
    diary: Arc<Diary>,
    clients: Vec<Within<()>>,
}

impl Stage {
    /// Waits until so many operations have ended since this call.
    async fn operations(&self, count: usize) {
        let wanted = self.diary.ended() + count;
        until("more operations", async || {
            let at_work = self.clients.iter().any(|client| !client.is_over());
            let done = self.diary.ended() >= wanted;
            assert!(done || at_work, "the work ended: give it more rounds");
            done.then_some(())
        })
        .await;
    }
}

/// Clients that work, each in a namespace of its own.
fn at_work(lab: &Arc<Lab>, deployment: &Deployment, diary: &Arc<Diary>) -> Vec<Within<()>> {
    let client = |number: usize| {
        let identity = deployment.client(1 + number);
        let config = Config::new(deployment.cluster().clone(), identity).expect("a client");
        let diary = Arc::clone(diary);
        lab.within(REPLICAS + number, async move || {
            let mut workers = Workers::writing(diary, number).resting(REST);
            workers.join(config).await;
            workers.start(ROUNDS);
            workers.leave().await;
        })
    };
    (0..CLIENTS).map(client).collect()
}

/// Lets clients work while this happens, then judges.
fn with_lab<F>(faults: F)
where
    F: AsyncFnOnce(&mut Stage) + Send + 'static,
{
    // The last member is the test itself.
    let lab = match Lab::new(REPLICAS + CLIENTS + 1) {
        Ok(lab) => lab,
        Err(why) => return eprintln!("skipped, no namespaces can be made here: {why}"),
    };
    let inner = Arc::clone(&lab);
    let test = async move || {
        let address = |replica| SocketAddr::new(inner.address(replica), PORT);
        let addresses: Vec<_> = (0..REPLICAS).map(address).collect();
        let deployment = Deployment::at(&addresses, 1, CLIENTS + 1);
        let cluster = Cluster::start_in(&inner, NODE, deployment).await;
        let diary = Arc::new(Diary::new(&space_name()));
        let mut stage = Stage {
            clients: at_work(&inner, cluster.deployment(), &diary),
            lab: inner,
            cluster,
            diary,
        };
        stage.operations(10).await;
        faults(&mut stage).await;
        for client in std::mem::take(&mut stage.clients) {
            until("the end of a client's work", async || {
                client.is_over().then_some(())
            })
            .await;
            client.join();
        }
        let mut last = Workers::writing(Arc::clone(&stage.diary), CLIENTS);
        let deployment = stage.cluster.deployment();
        last.add(deployment, 0, deployment.cluster().clone()).await;
        last.finish().await;
        assert!(stage.cluster.node(1).stop(), "a correct replica ends well");
    };
    lab.within(REPLICAS + CLIENTS, test).join();
}

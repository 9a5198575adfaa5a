//! Members of a cluster are replaced (R-7.9 to, A8, C8), with whatever goes wrong meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bts_certs::cluster;
use bts_client::admin::{ReplaceError, Replacement, replace};
use bts_client::{Client, Config, PublicKey, ReplicaId, Space, template};
use bts_tests::process::{Cluster, Deployment};
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};

use crate::NODE;

const SEAT: u16 = 2;

pub(crate) async fn cluster() -> Cluster {
    Cluster::start(NODE, Deployment::new(4, 1, 4).durable(), &[]).await
}

pub(crate) fn config(cluster: &Cluster, number: usize, file: cluster::Cluster) -> Config {
    let identity = cluster.deployment().client(number);
    Config::new(file, identity).expect("a client")
}

/// A client of the cluster as its file tells.
pub(crate) async fn client(
    cluster: &Cluster,
    number: usize,
    file: &cluster::Cluster,
) -> (Client, Space) {
    let config = config(cluster, number, file.clone());
    let config = config.with_connect_deadline(Duration::from_secs(30));
    let client = Client::connect(config).await.expect("a quorum");
    let space = client.space("jobs").expect("a name");
    (client, space)
}

/// Somebody with another key takes the seat.
pub(crate) fn new_host(cluster: &mut Cluster, seat: u16, lost: &[u16]) -> Replacement {
    cluster.node(seat).kill();
    let identity = cluster.deployment().new_host_for(ReplicaId(seat));
    Replacement {
        seat: ReplicaId(seat),
        key: Some(PublicKey(identity.key)),
        address: None,
        lost: lost.iter().copied().map(ReplicaId).collect(),
        patience: Duration::from_secs(20),
    }
}

fn work(cluster: &Cluster) -> PathBuf {
    cluster.deployment().path().join("work")
}

async fn try_replace(
    cluster: &Cluster,
    change: &Replacement,
) -> Result<cluster::Cluster, ReplaceError> {
    let operator = config(cluster, 0, cluster.deployment().cluster().clone());
    let mut told = |line| eprintln!("operator: {line}");
    let next = replace(&operator, change, &work(cluster), &mut told).await?;
    let file = cluster.deployment().path().join("next.toml");
    fs::write(file, next.to_toml()).expect("the folder is ours");
    Ok(next)
}

pub(crate) async fn numbers(space: &Space) -> Vec<u64> {
    let tuples = space.rd_all(template!["n", ?u64]).await.expect("a quorum");
    let mut numbers: Vec<u64> = tuples.into_iter().map(|(_, number)| number).collect();
    numbers.sort_unstable();
    numbers
}

/// What clients were told that they wrote and took, and what they were not told.
#[derive(Debug, Default)]
struct Told {
    written: BTreeSet<u64>,
    taken: BTreeSet<u64>,
    maybe_written: BTreeSet<u64>,
    /// Takes that did not end: each may have won one.
    open_takes: usize,
}

/// Writes and takes until nobody answers any more.
fn work_away(space: Space, first: u64, told: Arc<Mutex<Told>>) -> JoinHandle<()> {
    let told = move |change: &mut dyn FnMut(&mut Told)| {
        change(&mut told.lock().expect("nobody panicked"));
    };
    let work = async move {
        for number in first.. {
            match space.out(("n", number)).await {
                Ok(_) => told(&mut |told| told.written.extend([number])),
                Err(_) => return told(&mut |told| told.maybe_written.extend([number])),
            }
            if number % 3 != 0 {
                continue;
            }
            match space.inp(template!["n", ?u64]).await {
                Ok(Some((_, taken))) => {
                    let is_new =
                        |told: &mut Told| assert!(told.taken.insert(taken), "{taken} twice");
                    told(&mut |told| is_new(told));
                }
                Ok(None) => {}
                Err(_) => return told(&mut |told| told.open_takes += 1),
            }
        }
    };
    tokio::spawn(work)
}

impl Told {
    /// Nothing acknowledged is lost, nothing taken is there, nothing is there that nobody wrote.
    fn judge(&self, present: &[u64]) {
        let there: BTreeSet<_> = present.iter().copied().collect();
        assert_eq!(there.len(), present.len(), "something is there twice");
        let back: Vec<_> = there.intersection(&self.taken).collect();
        assert!(back.is_empty(), "taken, and there: {back:?}");
        let lost: Vec<_> = self
            .written
            .iter()
            .filter(|number| !there.contains(number) && !self.taken.contains(number))
            .collect();
        assert!(lost.len() <= self.open_takes, "lost: {lost:?}, {self:?}");
        let known =
            |number: &&u64| self.written.contains(number) || self.maybe_written.contains(number);
        assert!(there.iter().all(|number| known(&number)), "{there:?}");
    }
}

/// A8, C8: the disk of a replica is gone, while clients work.
#[tokio::test]
async fn replace_c8_lost_member_makes_room_for_a_new_one() {
    let mut cluster = cluster().await;
    let first = cluster.deployment().cluster().clone();
    let told = Arc::new(Mutex::new(Told::default()));
    let mut workers = Vec::new();
    for number in 1..=3 {
        let config = config(&cluster, number, first.clone());
        let config = config.with_deadline(Some(Duration::from_secs(4)));
        let client = Client::connect(config).await.expect("a quorum");
        let space = client.space("jobs").expect("a name");
        workers.push((
            work_away(space, number as u64 * 100_000, told.clone()),
            client,
        ));
    }
    sleep(Duration::from_secs(1)).await;
    let change = new_host(&mut cluster, SEAT, &[SEAT]);
    let next = try_replace(&cluster, &change)
        .await
        .expect("it is replaced");
    for (worker, client) in workers {
        worker.await.expect("it does not panic");
        client.close().await;
    }
    cluster.restart(SEAT);
    let (_client, space) = client(&cluster, 1, &next).await;
    let told = Arc::into_inner(told).expect("all have ended");
    let told = told.into_inner().expect("nobody panicked");
    assert!(told.written.len() > 20, "{told:?}");
    told.judge(&numbers(&space).await);
    // The new one does its part: with it and two others there is a quorum.
    sleep(Duration::from_secs(2)).await;
    cluster.node(0).kill();
    told.judge(&numbers(&space).await);
    space.out(("n", 1u64)).await.expect("a quorum");
    let taken: (String, u64) = space.take(template!["n", 1u64]).await.expect("a quorum");
    assert_eq!(taken.1, 1);
    // Its own cluster file is the old one; its data directory knows better.
    cluster.restart(0);
    cluster.node(1).kill();
    cluster.restart(1);
    cluster.node(3).kill();
    told.judge(&numbers(&space).await);
    // A client of the old configuration is told so.
    let late = config(&cluster, 2, first).with_connect_deadline(Duration::from_secs(5));
    let refused = Client::connect(late).await.expect_err("that has ended");
    assert!(refused.to_string().contains("configuration"), "{refused}");
}

/// Whatever is interrupted, and whenever: the operator, or replicas.
#[tokio::test]
async fn replace_interrupted_anywhere_goes_on() {
    let mut cluster = cluster().await;
    let first = cluster.deployment().cluster().clone();
    let (old, space) = client(&cluster, 1, &first).await;
    for number in 0..40u64 {
        space.out(("n", number)).await.expect("a quorum");
    }
    for _ in 0..10 {
        let _: (String, u64) = space.take(template!["n", ?u64]).await.expect("a quorum");
    }
    let before = numbers(&space).await;
    old.close().await;
    let change = new_host(&mut cluster, SEAT, &[SEAT]);
    let mut cuts = 0;
    let next = loop {
        let span = Duration::from_millis(40 * (cuts + 1));
        match timeout(span, try_replace(&cluster, &change)).await {
            Ok(done) => break done.expect("it can be run again"),
            Err(_) => cuts += 1,
        }
        let replica = [0, 1, 3][cuts as usize % 3];
        cluster.node(replica).kill();
        cluster.restart(replica);
    };
    assert!(cuts > 2, "it was interrupted {cuts} times");
    cluster.restart(SEAT);
    let (_client, space) = client(&cluster, 1, &next).await;
    assert_eq!(numbers(&space).await, before);
}

/// Nobody is stopped before it is clear that all can be; and only operators may.
#[tokio::test]
async fn replace_that_cannot_be_done_harms_nobody() {
    let mut cluster = cluster().await;
    let first = cluster.deployment().cluster().clone();
    let (_client, space) = client(&cluster, 1, &first).await;
    space.out(("n", 7u64)).await.expect("a quorum");
    let mut change = new_host(&mut cluster, SEAT, &[]);
    change.patience = Duration::from_secs(1);
    let error = try_replace(&cluster, &change)
        .await
        .expect_err("it is down");
    assert!(error.to_string().contains("--lost 2"), "{error}");
    assert_eq!(numbers(&space).await, [7]);
    let stranger = config(&cluster, 1, first.clone());
    change.lost.insert(ReplicaId(SEAT));
    let mut told = drop::<String>;
    let dir = cluster.deployment().path().join("stranger");
    let error = replace(&stranger, &change, &dir, &mut told).await;
    let error = error.expect_err("it is no operator").to_string();
    assert!(error.contains("not that of an operator"), "{error}");
    assert_eq!(numbers(&space).await, [7]);
    change.lost.insert(ReplicaId(1));
    let error = try_replace(&cluster, &change)
        .await
        .expect_err("two of four");
    assert!(
        error.to_string().contains("only 1 may be faulty"),
        "{error}"
    );
    change.lost.remove(&ReplicaId(1));
    change.patience = Duration::from_secs(20);
    try_replace(&cluster, &change).await.expect("now it is");
}

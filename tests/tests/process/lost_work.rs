//! The operator's working directory is lost in the middle of a change of members: what is made twice, what
//! must not be, and how it goes on.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bts_certs::cluster;
use bts_client::ReplicaId;
use bts_client::admin::{ReplaceError, Replacement, replace};
use bts_tests::process::Cluster;
use tokio::sync::Notify;

use crate::replace::{client, cluster, config, new_host, numbers};

const SEAT: u16 = 2;

/// A cluster with some numbers in its space, one host of which is lost and to be replaced.
async fn scene() -> (Cluster, Replacement, Vec<u64>) {
    let mut cluster = cluster().await;
    let first = cluster.deployment().cluster().clone();
    let (old, space) = client(&cluster, 1, &first).await;
    for number in 0..20u64 {
        space.out(("n", number)).await.expect("a quorum");
    }
    let before = numbers(&space).await;
    old.close().await;
    let change = new_host(&mut cluster, SEAT, &[SEAT]);
    (cluster, change, before)
}

/// Changes a member until the command says this; then its machine ends. What it returned, if it came to an end.
async fn run_until(
    word: &str,
    cluster: &Cluster,
    file: &cluster::Cluster,
    change: &Replacement,
    work: &Path,
) -> Option<Result<cluster::Cluster, ReplaceError>> {
    let operator = config(cluster, 0, file.clone());
    let said = Arc::new(Notify::new());
    let mut tell = |line: String| {
        eprintln!("operator: {line}");
        if line.contains(word) {
            said.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = said.notified() => None,
        ended = replace(&operator, change, work, &mut tell) => Some(ended),
    }
}

/// Before any replica has begun, the directory is no loss. Afterwards there is a founding that must not be made a
/// second time, when a liar may say something else: the command says so, and changes nothing. With the
/// directory it goes on.
#[tokio::test]
async fn replace_c8_nothing_is_founded_twice_without_the_directory() {
    let (mut cluster, change, before) = scene().await;
    let first = cluster.deployment().cluster().clone();
    let work = cluster.deployment().path().join("work");
    let kept = cluster.deployment().path().join("kept");
    let cut = run_until("united: ", &cluster, &first, &change, &work).await;
    assert!(cut.is_none(), "{cut:?}");
    fs::remove_dir_all(&work).expect("it is there");
    let cut = run_until("replica 0 has begun", &cluster, &first, &change, &work).await;
    assert!(cut.is_none(), "{cut:?}");
    fs::rename(&work, &kept).expect("it is there");
    for _ in 0..2 {
        let ended = run_until("never said", &cluster, &first, &change, &work).await;
        let error = ended.expect("it ends").expect_err("one has begun");
        let error = error.to_string();
        assert!(error.contains("replica 0 is in configuration 1"), "{error}");
        assert!(error.contains("the working directory"), "{error}");
    }
    let ended = run_until("never said", &cluster, &first, &change, &kept).await;
    let next = ended.expect("it ends").expect("it goes on");
    fs::write(
        cluster.deployment().path().join("next.toml"),
        next.to_toml(),
    )
    .expect("it is ours");
    cluster.restart(SEAT);
    let (_client, space) = client(&cluster, 1, &next).await;
    assert_eq!(numbers(&space).await, before);
}

/// So many have begun that they serve: their cluster file is enough to go on, and who has not begun is replaced.
#[tokio::test]
async fn replace_c8_a_quorum_that_has_begun_needs_no_directory() {
    let (mut cluster, change, before) = scene().await;
    let first = cluster.deployment().cluster().clone();
    let folder = cluster.deployment().path().to_owned();
    let cut = run_until(
        "replica 1 has begun",
        &cluster,
        &first,
        &change,
        &folder.join("work"),
    )
    .await;
    assert!(cut.is_none(), "{cut:?}");
    fs::remove_dir_all(folder.join("work")).expect("it is there");
    let found = cluster
        .deployment()
        .data_of(ReplicaId(0))
        .join("cluster.toml");
    fs::copy(&found, folder.join("next.toml")).expect("it has begun");
    let next = cluster::Cluster::load(&found).expect("a cluster file");
    cluster.restart(SEAT);
    let (serving, space) = client(&cluster, 1, &next).await;
    assert_eq!(numbers(&space).await, before);
    space.out(("n", 20u64)).await.expect("a quorum");
    // Its own data is of no use any more.
    let change = new_host(&mut cluster, 3, &[3]);
    let ended = run_until(
        "never said",
        &cluster,
        &next,
        &change,
        &folder.join("work-2"),
    )
    .await;
    let last = ended.expect("it ends").expect("three hand over");
    fs::write(folder.join("next.toml"), last.to_toml()).expect("it is ours");
    cluster.restart(3);
    serving.close().await;
    let (_client, space) = client(&cluster, 2, &last).await;
    let after: Vec<_> = before.into_iter().chain([20]).collect();
    assert_eq!(numbers(&space).await, after);
}

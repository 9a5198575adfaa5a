//! Replicas that keep what they promised: killed, restarted, robbed of their disks.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use bts_core::ids::ReplicaId;
use bts_tests::process::{Cluster, Deployment, Hand, Workers, until};
use tokio::time::{Duration, sleep};

use crate::NODE;

async fn cluster() -> Cluster {
    Cluster::start(NODE, Deployment::new(4, 1, 4).durable(), &[]).await
}

async fn logged(cluster: &mut Cluster, replica: u16, what: &str) {
    let told = format!("replica {replica} says {what:?}");
    until(&told, async || {
        cluster.node(replica).log().contains(what).then_some(())
    })
    .await;
}

async fn serves_nobody(cluster: &Cluster, replica: u16) -> String {
    let mut hand = Hand::new(cluster.deployment(), 0);
    match hand.connect(ReplicaId(replica)).await {
        Ok(_) => panic!("replica {replica} serves clients"),
        Err(why) => why,
    }
}

#[tokio::test]
async fn durable_replica_killed_comes_back_as_it_was() {
    let mut cluster = cluster().await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(40);
    for round in 0..4 {
        workers.operations(12).await;
        cluster.node(round).kill();
        workers.operations(6).await;
        cluster.restart(round);
        cluster.wait_ready(round).await;
    }
    workers.finish().await;
    let log = cluster.node(0).log();
    assert!(log.contains("it was not closed"), "{log}");
    assert!(log.contains("records replayed"), "{log}");
}

#[tokio::test]
async fn durable_replicas_all_killed_at_once_lose_nothing() {
    let mut cluster = cluster().await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(60);
    for _ in 0..3 {
        workers.operations(20).await;
        for replica in 0..4 {
            cluster.node(replica).kill();
        }
        for replica in 0..4 {
            cluster.restart(replica);
        }
        for replica in 0..4 {
            cluster.wait_ready(replica).await;
        }
    }
    workers.finish().await;
}

/// An upgrade: one after the other is stopped and started, and no operation fails.
#[tokio::test]
async fn durable_replicas_restarted_in_turn_fail_no_operation() {
    let mut cluster = cluster().await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(60);
    for replica in 0..4 {
        workers.operations(12).await;
        assert!(cluster.node(replica).stop(), "it ends well");
        cluster.restart(replica);
        cluster.wait_ready(replica).await;
    }
    workers.finish().await;
    for replica in 0..4 {
        let log = cluster.node(replica).log();
        assert!(log.contains("as it was closed"), "{log}");
    }
}

/// A8: the peers remember a store that is gone.
#[tokio::test]
async fn durable_a8_wiped_disk_stays_out_and_says_why() {
    let mut cluster = cluster().await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(30);
    workers.operations(25).await;
    cluster.node(3).kill();
    let data = cluster.deployment().data_of(ReplicaId(3));
    fs::remove_dir_all(&data).expect("it is there");
    cluster.restart(3);
    logged(&mut cluster, 3, "THIS REPLICA HAS LOST ITS MEMORY").await;
    let why = serves_nobody(&cluster, 3).await;
    assert!(why.contains("lost its memory"), "{why}");
    // The peers remember it also when they come back themselves.
    for replica in 0..3 {
        assert!(cluster.node(replica).stop(), "it ends well");
        cluster.restart(replica);
        cluster.wait_ready(replica).await;
    }
    let before = cluster.node(3).log().len();
    cluster.restart(3);
    until("it is refused again", async || {
        let log = cluster.node(3).log();
        let new = log.get(before..).unwrap_or_default();
        new.contains("THIS REPLICA HAS LOST").then_some(())
    })
    .await;
    workers.finish().await;
}

/// A8: an older copy of the directory has forgotten what was promised since.
#[tokio::test]
async fn durable_a8_older_copy_stays_out_and_says_why() {
    let mut cluster = cluster().await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers = workers.resting(Duration::from_millis(50));
    workers.start(120);
    workers.operations(12).await;
    let data = cluster.deployment().data_of(ReplicaId(3));
    let copy = data.with_extension("copy");
    assert!(cluster.node(3).stop(), "it ends well");
    copy_dir(&data, &copy);
    cluster.restart(3);
    cluster.wait_ready(3).await;
    workers.operations(25).await;
    // Its peers store now and then what its stream tells of its log, together with something of their own.
    sleep(Duration::from_millis(1_200)).await;
    workers.operations(12).await;
    cluster.node(3).kill();
    fs::remove_dir_all(&data).expect("it is there");
    copy_dir(&copy, &data);
    cluster.restart(3);
    logged(&mut cluster, 3, "came back with an older copy").await;
    logged(&mut cluster, 3, "THIS REPLICA HAS LOST ITS MEMORY").await;
    serves_nobody(&cluster, 3).await;
    workers.finish().await;
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in fs::read_dir(from).expect("it is there") {
        let file = file.expect("it can be read");
        fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}

#[tokio::test]
async fn durable_directory_of_somebody_else_is_refused() {
    let mut cluster = cluster().await;
    let deployment = cluster.deployment();
    let settings = deployment.settings_of(ReplicaId(0));
    let second = || {
        let mut run = Command::new(NODE)
            .args(["replica", "--config"])
            .arg(&settings)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was built with the tests");
        // It ends when this pipe does.
        let _open = run.stdin.take();
        let run = run.wait_with_output().expect("it ends");
        assert_eq!(run.status.code(), Some(1));
        String::from_utf8_lossy(&run.stderr).into_owned()
    };
    let said = second();
    assert!(said.contains("is in use by process"), "{said}");
    let (own, other) = (
        deployment.data_of(ReplicaId(0)),
        deployment.data_of(ReplicaId(1)),
    );
    cluster.node(0).kill();
    cluster.node(1).kill();
    fs::remove_dir_all(&own).expect("it is there");
    copy_dir(&other, &own);
    let said = second();
    assert!(said.contains("holds the store of replica s1"), "{said}");
    assert!(said.contains("this is replica s0"), "{said}");
    for file in fs::read_dir(&own).expect("it is there") {
        let log = file.expect("it is there").path();
        let mut bytes = fs::read(&log).expect("it can be read");
        if bytes.starts_with(b"bts log") {
            bytes.iter_mut().skip(40).for_each(|byte| *byte ^= 0x55);
            fs::write(&log, bytes).expect("the folder is ours");
        }
    }
    let said = second();
    assert!(said.contains("is damaged"), "{said}");
    assert!(said.contains("docs/storage.md"), "{said}");
}

/// a disk that runs full.
#[tokio::test]
async fn durable_replica_without_room_answers_reads_and_recovers() {
    let deployment = Deployment::new(4, 1, 4).durable();
    let data = deployment.data_of(ReplicaId(2));
    let Some(_disk) = SmallDisk::mount(&data) else {
        eprintln!("skipped: mounting a small disk takes rights that this process lacks");
        return;
    };
    let mut cluster = Cluster::start(NODE, deployment, &[]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    // The log has some room ahead, and takes what fits there.
    workers.start(250);
    workers.operations(10).await;
    let hog = data.join("hog");
    let mut bytes = 64 << 20;
    while bytes > 512 {
        // What does not fit any more is cut off.
        let mut all = fs::read(&hog).unwrap_or_default();
        all.resize(all.len() + bytes, 1);
        if fs::write(&hog, all).is_err() {
            bytes /= 2;
        }
    }
    let filled = fs::metadata(&hog).expect("it is there").len();
    assert!(filled > 1 << 20, "{filled}");
    logged(&mut cluster, 2, "Until there is room").await;
    workers.operations(20).await;
    let mut hand = Hand::new(cluster.deployment(), 0)
        .connect_to(&[ReplicaId(2)])
        .await;
    let report = hand.report(ReplicaId(2)).await;
    let trouble = report.trouble.expect("it says so");
    assert!(trouble.contains("cannot grow"), "{trouble}");
    fs::remove_file(&hog).expect("it is there");
    logged(&mut cluster, 2, "there is room again").await;
    workers.finish().await;
    assert!(cluster.node(2).stop(), "it ends well");
    cluster.restart(2);
    cluster.wait_ready(2).await;
}

/// A file system of a few megabytes.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=40m", "bts-test"])
            .arg(at)
            .output();
        let is_mounted = mounted.is_ok_and(|mounted| mounted.status.success());
        is_mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, as the replica may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

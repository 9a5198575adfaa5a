//! The true replicas and the true client over real connections.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bts_certs::deployment::settings_path;
use bts_client::{Client, Config, template};
use bts_core::replica::Replica;
use common::{Rig, Running};

#[tokio::test]
async fn cluster_serves_tuples_and_survives_a_replica() {
    let rig = Rig::new(4, 1);
    let mut running: Vec<Running> = (0..4).map(|index| start(&rig, index)).collect();
    let (one, two) = (client(&rig, "w1").await, client(&rig, "w2").await);
    let (mine, theirs) = (jobs(&one), jobs(&two));
    let absent = mine.rdp(template!["task", ?u64]).await;
    assert_eq!(absent.expect("proven"), None);
    mine.out(("task", 1_u64)).await.expect("written");
    let read = theirs.rdp(template!["task", ?u64]).await;
    assert_eq!(read.expect("read"), Some(("task".into(), 1)));

    let waiting = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.take(template!["result", ?u64]).await }
    });
    let double = |(_, number): (String, u64)| Some(("result", 2 * number));
    let swapped = mine.swap(template!["task", ?u64], double).await;
    let swapped = swapped.expect("swapped").taken();
    assert_eq!(swapped, Some(("task".into(), 1)));
    let result = waiting.await.expect("no panic");
    assert_eq!(result.expect("taken"), ("result".into(), 2));

    let last = running.pop().expect("four run");
    last.stop().expect("it ends well");
    mine.out(("task", 2_u64)).await.expect("written by three");
    let taken = theirs.inp(template!["task", ?u64]).await;
    assert_eq!(taken.expect("taken by three"), Some(("task".into(), 2)));
    let absent = theirs.inp(template!["task", ?u64]).await;
    assert_eq!(absent.expect("proven by three"), None);
    let states = one
        .inspect(Duration::from_secs(5))
        .await
        .expect("three answer");
    let reports: Vec<_> = states
        .iter()
        .filter_map(|state| state.report.as_ref())
        .collect();
    assert_eq!(reports.len(), 3);
    assert!(
        reports
            .iter()
            .all(|report| report.counters.iter().any(|(name, _)| name == "left"))
    );
    one.close().await;
    two.close().await;
}

fn start(rig: &Rig, index: u16) -> Running {
    let settings = rig.settings(index);
    Running::start_with(settings, Arc::default(), Replica::new)
}

async fn client(rig: &Rig, name: &str) -> Client {
    let config = Config::load(settings_path(rig.path(), name)).expect("good settings");
    Client::connect(config).await.expect("a quorum welcomes us")
}

fn jobs(client: &Client) -> bts_client::Space {
    client.space("jobs").expect("a name of a space")
}

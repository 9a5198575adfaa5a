//! The operations of a space, over the network, on four real replicas.

mod cluster;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bts_client::{
    Access, Effect, Error, PublicKey, Puts, ReplicaId, Space, Swapped, Template, Tuple, template,
    text,
};
use cluster::Cluster;
use tokio::task::JoinSet;

/// Nothing here takes so long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn space_out_read_take_and_none() {
    let cluster = Cluster::start();
    let client = cluster.client("alice").await;
    let jobs = client.space("jobs").expect("a good name");
    let any = || template!["task", ?u64, _];

    assert_eq!(jobs.rdp(any()).await.expect("a quorum"), None);
    let id = jobs
        .out(("task", 17u64, vec![1u8, 2]))
        .await
        .expect("a quorum");
    assert_eq!(id.space().as_str(), "jobs");

    let (name, number, payload) = jobs.rd(any()).await.expect("it is there");
    assert_eq!((name.as_str(), number), ("task", 17));
    assert_eq!(payload, vec![1u8, 2].into());
    let other = client.space("other").expect("a good name");
    assert_eq!(
        other.rdp(any()).await.expect("a quorum"),
        None,
        "another space"
    );
    assert_eq!(
        jobs.inp(template!["task", 18u64, _])
            .await
            .expect("a quorum"),
        None
    );

    let (_, number, bytes) = jobs
        .take(template!["task", ?u64, ?Vec<u8>])
        .await
        .expect("there");
    assert_eq!((number, bytes), (17, vec![1, 2]));
    assert_eq!(
        jobs.inp(any()).await.expect("a quorum"),
        None,
        "it was taken"
    );
    client.close().await;
}

#[tokio::test]
async fn space_swap_replaces_in_one_step_or_declines() {
    let cluster = Cluster::start();
    let client = cluster.client("alice").await;
    let jobs = client.space("jobs").expect("a good name");
    jobs.out(("task", 1u64)).await.expect("a quorum");

    let swapped = jobs.swap(template!["task", ?u64], |(_, n)| Some(("doing", n, "me")));
    let taken = swapped.await.expect("it is there").taken();
    assert_eq!(taken, Some(("task".into(), 1)));
    let declined = jobs.swapp(template!["doing", _, _], |_| None::<Puts>).await;
    assert!(matches!(declined, Ok(Some(Swapped::Declined(_)))));
    let two = |(_, n, me): (String, u64, String)| Some(Puts::none().and(("done", n)).and((me,)));
    let swapped = jobs.swapp(template!["doing", ?u64, ?String], two).await;
    assert!(matches!(swapped, Ok(Some(Swapped::Taken(_)))));
    assert!(
        jobs.rdp(template!["done", 1u64])
            .await
            .expect("a quorum")
            .is_some()
    );
    assert!(jobs.rdp(template!["me"]).await.expect("a quorum").is_some());
    let nothing = jobs
        .swapp(template!["task", ?u64], |_| Some(("never",)))
        .await;
    assert!(matches!(nothing, Ok(None)));
    client.close().await;
}

#[tokio::test]
async fn space_blocked_take_gets_what_another_client_writes_later() {
    let cluster = Cluster::start();
    let (alice, bob) = (cluster.client("alice").await, cluster.client("bob").await);
    let waiting = alice.space("jobs").expect("a good name").without_deadline();
    let taker = tokio::spawn(async move { waiting.take(template!["task", ?u64]).await });
    let reading = bob.space("jobs").expect("a good name");
    let reader = tokio::spawn(async move { reading.rd(template!["news", ?String]).await });
    until_waiting(&bob, 2).await;

    let jobs = bob.space("jobs").expect("a good name");
    jobs.out(("task", 5u64)).await.expect("a quorum");
    jobs.out(("news", "x")).await.expect("a quorum");
    let taken = within(taker).await.expect("no panic").expect("it came");
    assert_eq!(taken, ("task".into(), 5));
    let read = within(reader).await.expect("no panic").expect("it came");
    assert_eq!(read, ("news".into(), "x".into()));
    alice.close().await;
    bob.close().await;
}

#[tokio::test]
async fn space_deadline_says_who_answered_and_that_nothing_happened() {
    let cluster = Cluster::start();
    let client = cluster.client("alice").await;
    let jobs = client.space("jobs").expect("a good name");
    let jobs = jobs.with_deadline(Duration::from_secs(2));
    let began = Instant::now();
    let Err(Error::Timeout { roll, effect, .. }) = jobs.take(template!["task", _]).await else {
        panic!("nothing was there to take");
    };
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(roll.answered.len() >= 3, "{roll}");
    assert_eq!(effect, Effect::None);
    client.close().await;
}

#[tokio::test]
async fn space_survives_one_replica_and_names_two() {
    let mut cluster = Cluster::start();
    let client = cluster.client("alice").await;
    let jobs = client.space("jobs").expect("a good name");
    jobs.out(("task", 1u64)).await.expect("a quorum");
    cluster.stop(1);
    jobs.out(("task", 2u64)).await.expect("three are a quorum");
    let first = jobs
        .take(template!["task", ?u64])
        .await
        .expect("three are a quorum");
    let second = jobs
        .take(template!["task", ?u64])
        .await
        .expect("three are a quorum");
    assert_eq!(BTreeSet::from([first.1, second.1]), [1, 2].into());
    assert_eq!(
        jobs.inp(template!["task", ?u64]).await.expect("a quorum"),
        None
    );

    cluster.stop(3);
    let jobs = jobs.with_deadline(Duration::from_secs(2));
    let Err(Error::NoQuorum { roll, effect }) = jobs.out(("task", 3u64)).await else {
        panic!("two of four are no quorum");
    };
    assert_eq!((roll.needed, effect), (3, Effect::Possible));
    let silent: Vec<ReplicaId> = roll.silent.iter().map(|one| one.replica).collect();
    assert_eq!(silent, [ReplicaId(1), ReplicaId(3)], "{roll}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_many_takers_get_each_tuple_once() {
    const TASKS: u64 = 60;
    let cluster = Cluster::start();
    let (alice, bob) = (cluster.client("alice").await, cluster.client("bob").await);
    let mut writing = JoinSet::new();
    for number in 0..TASKS {
        let jobs = alice.space("jobs").expect("a good name");
        writing.spawn(async move { jobs.out(("task", number)).await });
    }
    let mut taking = JoinSet::new();
    for worker in 0..6 {
        let client = if worker % 2 == 0 { &alice } else { &bob };
        let jobs = client.space("jobs").expect("a good name");
        taking.spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..TASKS / 6 {
                taken.push(
                    jobs.take(template!["task", ?u64])
                        .await
                        .expect("enough for all")
                        .1,
                );
            }
            taken
        });
    }
    for written in within(writing.join_all()).await {
        written.expect("a quorum");
    }
    let mut taken = within(taking.join_all()).await.concat();
    taken.sort_unstable();
    assert_eq!(taken, (0..TASKS).collect::<Vec<_>>());
    alice.close().await;
    bob.close().await;
}

/// The tuple has arrived, but the future is dropped without being polled again. What is put back
/// may be taken by those only who could take it before.
#[tokio::test]
async fn space_take_dropped_after_its_tuple_came_puts_it_back_as_it_was() {
    let cluster = Cluster::start();
    let (alice, bob) = (cluster.client("alice").await, cluster.client("bob").await);
    let of_alice = Access {
        read: None,
        take: Some(vec![PublicKey(alice.config().identity().key)]),
    };
    let jobs = alice
        .space("jobs")
        .expect("a good name")
        .with_access(of_alice);
    let seen_by_bob = bob.space("jobs").expect("a good name");
    jobs.out(("task", 1u64)).await.expect("a quorum");
    let mut take = Box::pin(jobs.take(template!["task", ?u64]));
    tokio::select! {
        biased;
        _ = &mut take => panic!("it takes a round trip"),
        () = std::future::ready(()) => {}
    }
    let any = || template!["task", ?u64];
    while seen_by_bob.rdp(any()).await.expect("a quorum").is_some() {}
    assert_eq!(jobs.rdp(any()).await.expect("a quorum"), None);
    drop(take);
    within(seen_by_bob.rd(any()))
        .await
        .expect("it was put back");
    assert_eq!(
        seen_by_bob.inp(any()).await.expect("a quorum"),
        None,
        "not for bob"
    );
    let back = within(jobs.take(any())).await;
    assert_eq!(back.expect("it was put back"), ("task".into(), 1));
    alice.close().await;
    bob.close().await;
}

/// Futures that are dropped at any moment lose no tuple: what they had won is put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_dropped_takes_lose_no_tuple() {
    const TASKS: u64 = 12;
    let cluster = Cluster::start();
    let client = cluster.client("alice").await;
    let jobs = client.space("jobs").expect("a good name");
    for number in 0..TASKS {
        jobs.out(("task", number)).await.expect("a quorum");
    }
    let mut kept = Vec::new();
    let mut dropping = JoinSet::new();
    for step in 0..120u64 {
        let jobs = jobs.clone();
        dropping.spawn(async move {
            let patience = Duration::from_micros(step * 700 % 60_000);
            let take = jobs.take(template!["task", ?u64]);
            tokio::time::timeout(patience, take).await.ok()
        });
        if step % 8 == 7 {
            kept.extend(within(std::mem::take(&mut dropping).join_all()).await);
        }
    }
    let kept: Vec<u64> = kept
        .into_iter()
        .flatten()
        .map(|taken| taken.expect("a quorum").1)
        .collect();
    let left = TASKS - u64::try_from(kept.len()).expect("few");
    let mut all = kept;
    for _ in 0..left {
        // Some are only on their way back.
        all.push(
            within(jobs.take(template!["task", ?u64]))
                .await
                .expect("it was put back")
                .1,
        );
    }
    all.sort_unstable();
    assert_eq!(all, (0..TASKS).collect::<Vec<_>>(), "each exactly once");
    client.close().await;
    let bob = cluster.client("bob").await;
    let jobs = bob.space("jobs").expect("a good name");
    assert_eq!(
        jobs.inp(template!["task", _]).await.expect("a quorum"),
        None,
        "and no more"
    );
    bob.close().await;
}

#[tokio::test]
async fn space_rd_all_and_tuples_of_any_type() {
    let cluster = Cluster::start();
    let client = cluster.client("alice").await;
    let things = client.space("things").expect("a good name");
    let tuple = |text| text::parse_tuple(text).expect("a tuple");
    let written: BTreeSet<Tuple> = [
        tuple(r#"("a", 1, 2u, 0.5, true)"#),
        tuple(r#"("b", -1, 3u, nan, false)"#),
    ]
    .into();
    for tuple in &written {
        things.out(tuple).await.expect("a quorum");
    }
    things.out(("c",)).await.expect("a quorum");
    let template: Template =
        text::parse_template("(string, int, uint, float, bool)").expect("good");
    let listed = things.rd_all(&template).await.expect("a quorum");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), written);
    let wrong = things.take(template!["c"].of::<(u64,)>()).await;
    assert!(matches!(wrong, Err(Error::Unreadable { tuple, .. }) if tuple.arity() == 1));
    assert!(matches!(
        things.out((Some(1),)).await,
        Err(Error::NotATuple(_))
    ));
    client.close().await;
}

/// Waits until a quorum of replicas has so many waiters.
async fn until_waiting(client: &bts_client::Client, waiters: u64) {
    let waiting = async {
        loop {
            let replicas = client.inspect(PATIENCE).await.expect("not closed");
            let reports = replicas
                .iter()
                .filter_map(|replica| replica.report.as_ref());
            if reports.filter(|report| report.waiters >= waiters).count() >= 3 {
                return;
            }
        }
    };
    within(waiting).await;
}

async fn within<F: IntoFuture>(future: F) -> F::Output {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.expect("it does not take so long")
}

#[allow(
    dead_code,
    reason = "compiles only if the futures of a space can be spawned"
)]
fn space_futures_are_send(space: &Space) {
    fn send<T: Send>(_: T) {}
    send(space.take(template!["task", _]));
    send(space.swap(template!["task", _], |_| Some(("x",))));
}

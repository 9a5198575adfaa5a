//! `lock`: mutual exclusion among workers that do not trust the servers, with a fencing number.
//!
//! The lock is one tuple: `("lock", "free", n)` or `("lock", "held", n, owner)`. Taking and giving
//! back are swaps, so it is never lost, and one worker at a time holds it. You will see ten workers
//! enter and leave a critical section, each with a higher number. The number is what a resource
//! checks: a worker that was thought dead comes with an old one and is turned away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bts_client::{Client, Config, Error, Space, template};
use bts_examples::cluster::Cluster;

const WORKERS: u64 = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::start(4, &["workers"])?;
    let client = Client::connect(Config::load(cluster.settings("workers"))?).await?;
    let space = client.space("lock")?.without_deadline();
    space.out(("lock", "free", 0u64)).await?;

    let highest_seen = Arc::new(AtomicU64::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 1..=WORKERS {
        let (space, resource) = (space.clone(), Arc::clone(&highest_seen));
        workers.spawn(async move {
            let number = acquire(&space, worker).await?;
            let before = resource.fetch_max(number, Ordering::SeqCst);
            assert!(
                before < number,
                "the resource has seen {before}, {number} comes too late"
            );
            println!("worker {worker} holds the lock, number {number}");
            release(&space, worker, number).await
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    println!(
        "in the end: {:?}",
        space.rd(template!["lock", "free", ?u64]).await?
    );
    client.close().await;
    Ok(())
}

/// Waits for the lock and takes it; the result is this holder's fencing number.
async fn acquire(space: &Space, me: u64) -> Result<u64, Error> {
    let free = template!["lock", "free", ?u64];
    let swapped = space
        .swap(free, move |(lock, _, n)| Some((lock, "held", n + 1, me)))
        .await?;
    let (_, _, before) = swapped.taken().expect("the function never declines");
    Ok(before + 1)
}

/// Gives the lock back. If somebody broke it meanwhile, there is nothing to give back.
async fn release(space: &Space, me: u64, number: u64) -> Result<(), Error> {
    let held = template!["lock", "held", number, me];
    space
        .swapp(held, |(lock, _, n, _)| Some((lock, "free", n)))
        .await
        .map(|_| ())
}

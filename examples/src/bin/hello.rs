//! `hello`: a cluster of four replicas in this process, and the operations of Linda on it.
//!
//! You will see each result printed. Nothing needs to be set up, and nothing is left behind.

use bts_client::{Client, Config, template};
use bts_examples::cluster::Cluster;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Four replicas survive one that lies. Against a cluster of your own: only its client.toml.
    let cluster = Cluster::start(4, &["me"])?;
    let client = Client::connect(Config::load(cluster.settings("me"))?).await?;
    let space = client.space("hello")?;

    // `out` writes a tuple: ordinary values, in order.
    space.out(("greeting", 1u64, "hello, world")).await?;

    // `rd` reads a tuple that matches, and leaves it. A place is a value, a type (?) or open (_).
    let (_, number, text) = space.rd(template!["greeting", ?u64, ?String]).await?;
    println!("read greeting {number}: {text}");

    // `swap` takes a tuple and puts another in its place, in one step: a counter nobody can break.
    space.out(("visitors", 0u64)).await?;
    space
        .swap(template!["visitors", ?u64], |(name, n)| Some((name, n + 1)))
        .await?
        .taken();
    println!(
        "visitors: {}",
        space.rd(template!["visitors", ?u64]).await?.1
    );

    // `take` is Linda's `in`: it waits for a match and takes it, so that nobody else gets it.
    println!("took: {:?}", space.take(template!["greeting", _, _]).await?);

    // `inp` does not wait. `None` is proven: at one instant, nothing matched.
    println!(
        "another one: {:?}",
        space.inp(template!["greeting", _, _]).await?
    );
    client.close().await;
    Ok(())
}

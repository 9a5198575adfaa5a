//! The short form of `--bin crash`: some cycles of killing all replicas at once while clients work.

use bts_tests::crash::{self, Plan};

use crate::NODE;

#[tokio::test]
async fn killed_replicas_lose_and_double_nothing() {
    let plan = Plan {
        cycles: 15,
        chapter: 5,
        seed: rand::random_range(0..1 << 40),
        clients: 3,
    };
    let tally = crash::run(NODE.as_ref(), &plan, |_| {}).await;
    assert!(tally.is_good(), "from seed {}: {tally:?}", plan.seed);
    assert_eq!(tally.cycles, 15);
    assert!(tally.acknowledged > 15, "{tally}");
}

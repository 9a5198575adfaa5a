//! The short form of `--bin away`: a replica misses what the others do, and operators see it catch up.

use bts_tests::away::{self, Plan};

use crate::NODE;

#[tokio::test]
async fn away_replica_is_seen_to_catch_up() {
    let plan = Plan {
        operations: 1_000,
        at_once: 32,
    };
    let mut seen = Vec::new();
    let told = |_, what: &str| seen.push(what.to_owned());
    let back = away::run(NODE.as_ref(), &plan, told).await;
    let back = back.expect("it comes back");
    assert!(back.is_well(), "{back}");
    assert!(back.seen > 0 && back.fetched > 0, "{back}");
    let last = seen.last().expect("it was looked at");
    assert_eq!(last.matches(": done").count(), 3, "{last}");
}

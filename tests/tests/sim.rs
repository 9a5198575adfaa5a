//! The simulator in CI: seeds that once failed, then some new ones, and the simulator itself. Long
//! explorations are `cargo run --release -p bts-tests --bin sim -- --seeds 100000`.

use bts_tests::sim::batch::{self, Batch, Ended};
use bts_tests::sim::coverage::Coverage;
use bts_tests::sim::rng::Rng;
use bts_tests::sim::run::Run;
use bts_tests::sim::swarm::Swarm;

/// Seeds of one run of the tests; a minute in a debug build on a slow machine.
const SEEDS: u64 = 300;
/// How many of them change their configuration besides.
const HANDOVERS: u64 = 30;
/// In how many replicas lose their memory besides.
const LOSSES: u64 = 30;

#[test]
fn sim_seeds_hold() {
    let mut batch = Batch::default();
    for seed in remembered().into_iter().chain(1..=SEEDS) {
        let ended = Ended::of(seed);
        batch.add(&ended);
        assert!(!ended.failed(), "{}", batch::explain(seed, false));
    }
    assert!(
        batch.undecided <= 3,
        "{} are too long to judge",
        batch.undecided
    );
    let missing = batch.coverage.missing();
    assert!(
        missing.len() <= 3,
        "hardly anything happened: no {missing:?}"
    );
}

/// Whatever was under way when the configuration ended, and whoever was faulty in it.
#[test]
fn sim_configurations_end_and_begin() {
    for seed in 1_000..1_000 + HANDOVERS {
        let mut swarm = Swarm::draw(seed);
        swarm.hands_over = true;
        let (report, world) = Run::of(swarm).finish();
        assert!(report.violations.is_empty(), "seed {seed}: {report}");
        assert_eq!(world.configuration.number(), 2, "seed {seed}");
    }
}

/// A8: whoever is faulty lost its memory, all of it or a part, and stays out until it is replaced, if it is.
#[test]
fn sim_a8_lost_memories_stay_out() {
    let mut coverage = Coverage::default();
    for seed in 2_000..2_000 + LOSSES {
        let mut swarm = Swarm::draw(seed);
        swarm.lose_memories(&mut Rng::new(seed));
        let (report, _) = Run::of(swarm).finish();
        assert!(report.violations.is_empty(), "seed {seed}: {report}");
        coverage.add(&report.coverage);
    }
    for mark in ["disk lost", "older copy that may pass", "disowned"] {
        assert!(coverage.count(mark) > 0, "no {mark}");
    }
}

#[test]
fn sim_one_seed_is_one_run() {
    for seed in 1..6 {
        let (one, _) = Run::new(seed).finish();
        let (other, _) = Run::new(seed).finish();
        assert_eq!(one.history, other.history, "seed {seed}");
        assert_eq!(
            (one.steps, one.virtual_us),
            (other.steps, other.virtual_us),
            "seed {seed}"
        );
        assert_eq!(one.coverage, other.coverage, "seed {seed}");
    }
}

fn remembered() -> Vec<u64> {
    let lines = include_str!("../regressions/seeds.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#'));
    let seeds = lines.filter_map(|line| line.split_whitespace().next());
    seeds.map(|seed| seed.parse().expect("a number")).collect()
}

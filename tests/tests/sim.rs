//! The simulator in CI: seeds that once failed, a few hundred new ones, and the simulator itself.

use bts_tests::sim::run::Run;

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

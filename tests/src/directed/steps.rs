//! What several attacks on one instance begin or end with.

use bts_core::consensus::certificate::Certificate;
use bts_core::crypto::sign::SignedBytes;

use super::stage::{Item, Stage};

/// Plays an attack until somebody refuses, and looks at what is left.
pub(super) fn play(attack: impl FnOnce(&mut Stage) -> Option<()>) {
    let mut stage = Stage::new();
    attack(&mut stage);
    stage.end();
}

/// Promises of two correct replicas and the liar for ballot 1.
pub(super) fn free_promises(
    s: &mut Stage,
    item: &Item,
    takes: [&SignedBytes; 2],
) -> [SignedBytes; 3] {
    let lie = s.lie(item, 1, None, None, &takes);
    let [one, two] = [0, 1].map(|number| s.promise_of(number, item, 1).expect("entered"));
    [one, two, lie]
}

/// Two vote for A; one of them, and a third, enter ballot 1. The lock of ballot 0.
pub(super) fn half_voted(s: &mut Stage) -> (Item, SignedBytes, SignedBytes, Certificate) {
    let item = s.item();
    let (b, a) = s.rivals(&item);
    let votes = s.ask_votes(s.signer_of(&a), &a, &[0, 1]);
    let lock = s.certify(&votes, false).expect("two and the liar");
    s.enter([&b, &a], &[0, 2]);
    (item, a, b, lock)
}

pub(super) fn promises_of(
    s: &mut Stage,
    item: &Item,
    of: [u16; 2],
    take: &SignedBytes,
) -> [SignedBytes; 3] {
    let lie = s.lie(item, 1, None, None, &[take]);
    let [one, two] = of.map(|number| s.promise_of(number, item, 1).expect("entered"));
    [one, two, lie]
}

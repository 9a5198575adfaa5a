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

/// Two vote for A; one of them, and a third, enter ballot 1. The lock of ballot 0.
pub(super) fn half_voted(s: &mut Stage) -> (Item, SignedBytes, SignedBytes, Certificate) {
    let item = s.item();
    let (b, a) = s.rivals(&item);
    let votes = s.ask_votes(s.signer_of(&a), &a, &[0, 1]);
    let lock = s.certify(&votes, false).expect("two and the liar");
    s.enter([&b, &a], &[0, 2]);
    (item, a, b, lock)
}

/// Promises of two correct replicas and of the liar, who tells of no vote and no lock, for ballot 1.
pub(super) fn promises_of(
    s: &mut Stage,
    item: &Item,
    of: [u16; 2],
    takes: &[&SignedBytes],
) -> [SignedBytes; 3] {
    let lie = s.lie(item, 1, None, None, takes);
    let [one, two] = of.map(|number| s.promise_of(number, item, 1).expect("entered"));
    [one, two, lie]
}

/// Two vote for A and one of them, with a third, enters ballot 1, where B is decided. Then, after what
/// happens in between, the third is asked for its first vote.
pub(super) fn first_vote_after(s: &mut Stage, between: impl FnOnce(&mut Stage)) -> Option<()> {
    let (item, a, b, _) = half_voted(s);
    let said = s.says(&item, 1, s.value(&b));
    let promises = promises_of(s, &item, [0, 2], &[&b]);
    let votes = s.propose(&said, &promises, &[&a, &b], &[0, 1]);
    let lock = s.certify(&votes, false).expect("a free choice");
    between(s);
    let votes = s.ask_votes(s.signer_of(&a), &a, &[2]);
    let fast = s.certify(&votes, true)?;
    let commits = s.lock(&lock, &said, &b, &[0, 1]);
    let other = s.certify(&commits, false)?;
    s.reveal((&fast, Some(&a)), (&other, Some(&b)));
    Some(())
}

/// A is decided by a lock of ballot 0 that two accept. Then, after what happens in between, one of
/// them promises ballot 1: what it tells decides what comes after.
pub(super) fn lock_carried_on(s: &mut Stage, between: impl FnOnce(&mut Stage)) -> Option<()> {
    let item = s.item();
    let (b, a) = s.rivals(&item);
    let votes = s.ask_votes(s.signer_of(&a), &a, &[0, 1]);
    let lock = s.certify(&votes, false).expect("two and the liar");
    s.enter([&a, &b], &[2]);
    let before = s.says(&item, 0, s.value(&a));
    let commits = s.lock(&lock, &before, &a, &[0, 1]);
    let one = s.certify(&commits, false).expect("nobody promised more");
    between(s);
    s.wait_for_window();
    let promises = promises_of(s, &item, [0, 2], &[&b]);
    let said = s.says(&item, 1, s.value(&b));
    let other = s.ballot(&said, &promises, &[&a, &b], &[1, 2])?;
    s.reveal((&one, Some(&a)), (&other, Some(&b)));
    Some(())
}

/// Two enter ballot 1, and the liar, whose ballot it is, proposes first A to them and then B.
pub(super) fn propose_both(s: &mut Stage, after_each: impl Fn(&mut Stage)) -> Option<()> {
    let item = s.item();
    let (a, b) = s.rivals(&item);
    s.enter([&a, &b], &[0, 1]);
    let promises = promises_of(s, &item, [0, 1], &[&a, &b]);
    for take in [&a, &b] {
        let said = s.says(&item, 1, s.value(take));
        s.propose(&said, &promises, &[&a, &b], &[0, 1]);
        after_each(s);
    }
    Some(())
}

/// Two correct replicas and the liar decide A; then another one is asked with the first and the liar
/// to decide B.
pub(super) fn decide_twice(s: &mut Stage, between: impl FnOnce(&mut Stage)) -> Option<()> {
    let item = s.item();
    s.c.run_ms(30);
    let (b, a) = s.rivals(&item);
    let one = decide_slowly(s, &item, &a, &[0, 1])?;
    between(s);
    s.write(item.id.clone());
    let other = decide_slowly(s, &item, &b, &[0, 2])?;
    s.reveal((&one, Some(&a)), (&other, Some(&b)));
    Some(())
}

/// First votes of these and the liar, a lock, and commit votes of the same.
fn decide_slowly(
    s: &mut Stage,
    item: &Item,
    take: &SignedBytes,
    of: &[u16],
) -> Option<Certificate> {
    let votes = s.ask_votes(s.signer_of(take), take, of);
    let lock = s.certify(&votes, false)?;
    let said = s.says(item, 0, s.value(take));
    let commits = s.lock(&lock, &said, take, of);
    s.certify(&commits, false)
}

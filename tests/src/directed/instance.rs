//! Attacks on one instance (PROTOCOL sections 3 and 5): two decisions where there may be one. Each
//! follows the shortest way that a model check of the protocol found once the rule was broken; with
//! the rule intact somebody refuses, and the attack ends there.

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, Statement, Value, VoteKind};
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{Ballot, Epoch, SpaceName};

use super::Schedule;
use super::stage::{Item, Stage};
use super::steps::{
    first_vote_after, half_voted, lock_carried_on, play, promises_of, propose_both,
};

/// All of them.
pub(super) const ALL: &[Schedule] = &[
    Schedule::new("fast_then_nothing", fast_then_nothing),
    Schedule::new("fast_then_rival", fast_then_rival),
    Schedule::new("fast_then_release", fast_then_release),
    Schedule::new("fast_then_too_few_promises", fast_then_too_few_promises),
    Schedule::new("fast_then_promise_twice", fast_then_promise_twice),
    Schedule::new("fast_then_foreign_lock", fast_then_foreign_lock),
    Schedule::new("decision_of_a_lock", decision_of_a_lock),
    Schedule::new("first_vote_too_late", first_vote_too_late),
    Schedule::new("lock_below_promise", lock_below_promise),
    Schedule::new("lock_hidden_by_votes", lock_hidden_by_votes),
    Schedule::new("lock_not_told", lock_not_told),
    Schedule::new("lock_replaced", lock_replaced),
    Schedule::new("lock_of_two", lock_of_two),
    Schedule::new("prepared_by_all", prepared_by_all),
    Schedule::new("prepared_twice", prepared_twice),
    Schedule::new("voter_counted_twice", voter_counted_twice),
    Schedule::new("votes_for_another", votes_for_another),
    Schedule::new("votes_of_another_ballot", votes_of_another_ballot),
    Schedule::new("votes_of_another_epoch", votes_of_another_epoch),
    Schedule::new("votes_of_another_space", votes_of_another_space),
    Schedule::new("a2_decision_with_other_take", a2_decision_with_other_take),
    Schedule::new("a3_takes_of_one_number", a3_takes_of_one_number),
];

/// A Take that all replicas vote for; two of them in ballot 1 then.
struct Fast {
    item: Item,
    /// Its hash is the lesser one.
    rival: SignedBytes,
    take: SignedBytes,
    decision: Certificate,
    promises: [SignedBytes; 2],
}

fn fast(s: &mut Stage) -> Fast {
    let item = s.item();
    let (rival, take) = s.rivals(&item);
    let who = s.signer_of(&take);
    let votes = s.ask_votes(who, &take, &[0, 1, 2]);
    let decision = s.certify(&votes, true).expect("all vote");
    s.enter([&take, &rival], &[0, 1]);
    let promises = [0, 1].map(|number| s.promise_of(number, &item, 1).expect("entered"));
    Fast {
        item,
        rival,
        take,
        decision,
        promises,
    }
}

/// The liar proposes against a fast decision.
fn against(
    s: &mut Stage,
    fast: &Fast,
    ballot: u32,
    value: Value,
    promises: &[SignedBytes],
) -> Option<()> {
    let said = s.says(&fast.item, ballot, value);
    let takes = [&fast.rival, &fast.take];
    let other = s.ballot(&said, promises, &takes, &[0, 2])?;
    match value {
        Value::Take(_) => s.reveal(
            (&fast.decision, Some(&fast.take)),
            (&other, Some(&fast.rival)),
        ),
        Value::Release | Value::Expire => {
            s.decide(&fast.decision, Some(&fast.take), &[0]);
            s.take_again(&fast.item, other)?;
        }
    }
    Some(())
}

/// All vote for A. The liar tells of no vote: two of three promises do.
fn fast_then_nothing() {
    play(|s| {
        let fast = fast(s);
        let lie = s.lie(&fast.item, 1, None, None, &[&fast.rival]);
        let value = s.value(&fast.rival);
        let [one, two] = fast.promises.clone();
        against(s, &fast, 1, value, &[one, two, lie])
    });
}

/// All vote for A. The liar tells of a vote for B, whose hash is the lesser one.
fn fast_then_rival() {
    play(|s| {
        let fast = fast(s);
        let lie = s.lie(&fast.item, 1, Some(&fast.rival), None, &[&fast.rival]);
        let value = s.value(&fast.rival);
        let [one, two] = fast.promises.clone();
        against(s, &fast, 1, value, &[one, two, lie])
    });
}

/// All vote for A, and the liar proposes Release.
fn fast_then_release() {
    play(|s| {
        let fast = fast(s);
        let lie = s.lie(&fast.item, 1, None, None, &[&fast.rival]);
        let [one, two] = fast.promises.clone();
        against(s, &fast, 1, Value::Release, &[one, two, lie])
    });
}

/// All vote for A; the liar leaves one promise out.
fn fast_then_too_few_promises() {
    play(|s| {
        let fast = fast(s);
        let lie = s.lie(&fast.item, 1, None, None, &[&fast.rival]);
        let value = s.value(&fast.rival);
        let [one, _] = fast.promises.clone();
        against(s, &fast, 1, value, &[one, lie])
    });
}

/// All vote for A; the liar promises twice instead.
fn fast_then_promise_twice() {
    play(|s| {
        let fast = fast(s);
        let lie = s.lie(&fast.item, 1, None, None, &[&fast.rival]);
        let value = s.value(&fast.rival);
        let [one, _] = fast.promises.clone();
        against(s, &fast, 1, value, &[one, lie.clone(), lie])
    });
}

/// All vote for A; the liar promises a lock of another entry, for Release.
fn fast_then_foreign_lock() {
    play(|s| {
        let (lock, _) = release_lock(s);
        let fast = fast(s);
        s.climb(&fast.item, 3, &[&fast.rival, &fast.take], [0, 1]);
        let promises = [0, 1].map(|number| s.promise_of(number, &fast.item, 3));
        let [Some(one), Some(two)] = promises else {
            panic!("they did not climb");
        };
        let lie = s.lie(&fast.item, 3, None, Some(lock), &[&fast.rival]);
        against(s, &fast, 3, Value::Release, &[one, two, lie])
    });
}

/// Prepare votes for the release of an entry nobody decided on, and a Take on it.
fn release_lock(s: &mut Stage) -> (Certificate, (Item, SignedBytes)) {
    let item = s.item();
    let (one, other) = s.rivals(&item);
    s.enter([&one, &other], &[0, 1]);
    let promises = promises_of(s, &item, [0, 1], &[&one, &other]);
    let said = s.says(&item, 1, Value::Release);
    let votes = s.propose(&said, &promises, &[&one, &other], &[0, 1]);
    let lock = s.certify(&votes, false).expect("a free choice");
    (lock, (item, one))
}

/// Two vote for A and one of them, with a third, enters ballot 1, where B is decided. Then the third
/// is asked for its first vote.
fn first_vote_too_late() {
    play(|s| first_vote_after(s, |_| {}));
}

/// So many votes for A as make a lock are shown as a decision, while B is decided in ballot 1.
fn decision_of_a_lock() {
    play(|s| {
        let (item, a, b, lock) = half_voted(s);
        let promises = promises_of(s, &item, [0, 2], &[&b]);
        let said = s.says(&item, 1, s.value(&b));
        let other = s.ballot(&said, &promises, &[&a, &b], &[0, 2])?;
        s.reveal((&lock, Some(&a)), (&other, Some(&b)));
        Some(())
    });
}

/// B is prepared in ballot 1 before the lock of ballot 0 for A comes.
fn lock_below_promise() {
    play(|s| {
        let (item, a, b, lock) = half_voted(s);
        let said = s.says(&item, 1, s.value(&b));
        let promises = promises_of(s, &item, [0, 2], &[&b]);
        let votes = s.propose(&said, &promises, &[&a, &b], &[0, 1]);
        let higher = s.certify(&votes, false).expect("a free choice");
        let before = s.says(&item, 0, s.value(&a));
        let commits = s.lock(&lock, &before, &a, &[1, 2]);
        let one = s.certify(&commits, false)?;
        let commits = s.lock(&higher, &said, &b, &[0, 1]);
        let other = s.certify(&commits, false)?;
        s.reveal((&one, Some(&a)), (&other, Some(&b)));
        Some(())
    });
}

/// A is decided by a lock of ballot 0; the promises tell of the lock, and of more votes for B.
fn lock_hidden_by_votes() {
    play(|s| {
        let item = s.item();
        let (b, a) = s.rivals(&item);
        s.ask_votes(s.signer_of(&b), &b, &[2]);
        let votes = s.ask_votes(s.signer_of(&a), &a, &[0, 1]);
        let lock = s.certify(&votes, false).expect("two and the liar");
        s.enter([&a, &b], &[0]);
        let before = s.says(&item, 0, s.value(&a));
        let commits = s.lock(&lock, &before, &a, &[1, 2]);
        let one = s.certify(&commits, false).expect("nobody promised more");
        s.wait_for_window();
        let lie = s.lie(&item, 1, Some(&b), None, &[&b]);
        let [two, three] = [0, 2].map(|number| s.promise_of(number, &item, 1).expect("entered"));
        let said = s.says(&item, 1, s.value(&b));
        let other = s.ballot(&said, &[two, three, lie], &[&a, &b], &[0, 1])?;
        s.reveal((&one, Some(&a)), (&other, Some(&b)));
        Some(())
    });
}

/// A is decided by a lock of ballot 0; the promise of one who holds it decides what comes after.
fn lock_not_told() {
    play(|s| lock_carried_on(s, |_| {}));
}

/// B is decided in ballot 1, then the lock of ballot 0 for A comes to one who holds that for B.
fn lock_replaced() {
    play(|s| {
        let (item, a, b, lock) = half_voted(s);
        let said = s.says(&item, 1, s.value(&b));
        let promises = promises_of(s, &item, [0, 2], &[&b]);
        let one = s
            .ballot(&said, &promises, &[&a, &b], &[0, 1])
            .expect("a free choice");
        let before = s.says(&item, 0, s.value(&a));
        s.lock(&lock, &before, &a, &[1]);
        s.climb(&item, 3, &[&a, &b], [1, 2]);
        let [two, three] = [1, 2].map(|number| s.promise_of(number, &item, 3));
        let lie = s.lie(&item, 3, None, None, &[&a]);
        let after = s.says(&item, 3, s.value(&a));
        let other = s.ballot(&after, &[two?, three?, lie], &[&a, &b], &[1, 2])?;
        s.reveal((&one, Some(&b)), (&other, Some(&a)));
        Some(())
    });
}

/// One holds a lock of ballot 0 for A; B is decided in ballot 1. Both locks are told for ballot 3.
fn lock_of_two() {
    play(|s| {
        let item = s.item();
        let (b, a) = s.rivals(&item);
        let votes = s.ask_votes(s.signer_of(&a), &a, &[0, 1]);
        let lock = s.certify(&votes, false).expect("two and the liar");
        let before = s.says(&item, 0, s.value(&a));
        s.lock(&lock, &before, &a, &[0]);
        s.enter([&a, &b], &[1, 2]);
        let promises = promises_of(s, &item, [1, 2], &[&b]);
        let said = s.says(&item, 1, s.value(&b));
        let one = s
            .ballot(&said, &promises, &[&a, &b], &[1, 2])
            .expect("a free choice");
        s.climb(&item, 3, &[&a, &b], [0, 1]);
        let [two, three] = [0, 1].map(|number| s.promise_of(number, &item, 3));
        let lie = s.lie(&item, 3, None, None, &[&a]);
        let after = s.says(&item, 3, s.value(&a));
        let other = s.ballot(&after, &[two?, three?, lie], &[&a, &b], &[0, 1])?;
        s.reveal((&one, Some(&b)), (&other, Some(&a)));
        Some(())
    });
}

/// All prepare A in ballot 1, which decides nothing, and B is decided in ballot 3.
fn prepared_by_all() {
    play(|s| {
        let item = s.item();
        let (a, b) = s.rivals(&item);
        s.enter([&a, &b], &[0, 1]);
        let promises = promises_of(s, &item, [0, 1], &[&a, &b]);
        let said = s.says(&item, 1, s.value(&a));
        let votes = s.propose(&said, &promises, &[&a, &b], &[0, 1, 2]);
        let all = s.certify(&votes, true).expect("a free choice");
        s.climb(&item, 3, &[&a, &b], [0, 1]);
        let [two, three] = [0, 1].map(|number| s.promise_of(number, &item, 3).expect("climbed"));
        let lie = s.lie(&item, 3, None, None, &[&b]);
        let after = s.says(&item, 3, s.value(&b));
        let other = s
            .ballot(&after, &[two, three, lie], &[&a, &b], &[0, 1])
            .expect("no lock forbids it");
        s.decide(&all, Some(&a), &[2]);
        s.decide(&other, Some(&b), &[1]);
        Some(())
    });
}

/// Two proposals in one ballot.
fn prepared_twice() {
    play(|s| propose_both(s, |_| {}));
}

/// A decision made of one vote, four times.
fn voter_counted_twice() {
    play(|s| {
        let fast = fast(s);
        let said = s.says(&fast.item, 0, s.value(&fast.rival));
        let votes = s.votes(VoteKind::First, &said);
        let all = votes.iter().cycle().take(4).cloned().collect::<Vec<_>>();
        let other = s.certify(&all, true)?;
        s.reveal(
            (&fast.decision, Some(&fast.take)),
            (&other, Some(&fast.rival)),
        );
        Some(())
    });
}

/// The same votes with another statement.
fn relabel(certificate: &Certificate, change: impl FnOnce(&mut Statement)) -> Certificate {
    let mut said: Statement = codec::decode_payload(&certificate.payload).expect("a statement");
    change(&mut said);
    Certificate {
        payload: codec::encode(&said),
        ..certificate.clone()
    }
}

/// The votes for one Take are shown as votes for another.
fn votes_for_another() {
    play(|s| {
        let fast = fast(s);
        let value = s.value(&fast.rival);
        let other = relabel(&fast.decision, |said| said.value = value);
        s.reveal(
            (&fast.decision, Some(&fast.take)),
            (&other, Some(&fast.rival)),
        );
        Some(())
    });
}

/// Release is prepared in ballot 1, and not locked. A is decided in ballot 3; then the votes of
/// ballot 1 are shown as votes of ballot 5.
fn votes_of_another_ballot() {
    play(|s| {
        let (old, (item, a)) = release_lock(s);
        s.climb(&item, 3, &[&a], [0, 1]);
        let [two, three] = [0, 1].map(|number| s.promise_of(number, &item, 3).expect("climbed"));
        let lie = s.lie(&item, 3, None, None, &[&a]);
        let said = s.says(&item, 3, s.value(&a));
        let one = s
            .ballot(&said, &[two, three, lie], &[&a], &[0, 1])
            .expect("no lock forbids it");
        let new = relabel(&old, |said| said.ballot = Ballot(5));
        let said = s.says(&item, 5, Value::Release);
        let commits = s.lock(&new, &said, &a, &[1, 2]);
        let released = s.certify(&commits, false)?;
        s.decide(&one, Some(&a), &[0]);
        s.take_again(&item, released)
    });
}

/// Epoch 0 is released, A is decided in epoch 1, and the release is shown as one of epoch 1.
fn votes_of_another_epoch() {
    play(|s| {
        let (item, released) = released(s);
        s.released = Some(released.clone());
        let take = s.take(0, 1_u64, &item, &[]);
        let votes = s.ask_votes(0, &take, &[0, 1, 2]);
        let fast = s.certify(&votes, true).expect("all vote in epoch 1");
        s.decide(&fast, Some(&take), &[0]);
        let again = relabel(&released, |said| said.epoch = Epoch(1));
        s.take_again(&item, again)
    });
}

/// An entry that was released.
fn released(s: &mut Stage) -> (Item, Certificate) {
    let (lock, (item, take)) = release_lock(s);
    let said = s.says(&item, 1, Value::Release);
    let commits = s.lock(&lock, &said, &take, &[0, 1]);
    let released = s.certify(&commits, false).expect("a free choice");
    (item, released)
}

/// An entry of one space is released; an entry of the same number in another one is decided on, and
/// the release is shown there (G1).
fn votes_of_another_space() {
    play(|s| {
        let (item, released) = released(s);
        let elsewhere = SpaceName::new("elsewhere").expect("a good name");
        let twin = s.twin(&item, &elsewhere);
        let take = s.take(0, 1_u64, &twin, &[]);
        let votes = s.ask_votes(0, &take, &[0, 1, 2]);
        let fast = s.certify(&votes, true).expect("all vote");
        s.decide(&fast, Some(&take), &[0]);
        let id = twin.id.clone();
        let there = relabel(&released, |said| said.id = id);
        s.take_again(&twin, there)
    });
}

/// One decision reaches replicas with different Takes (A2).
fn a2_decision_with_other_take() {
    play(|s| {
        let fast = fast(s);
        let take = s.take(1, 7_u64, &fast.item, &["other 1"]);
        s.decide(&fast.decision, Some(&fast.take), &[0]);
        s.decide(&fast.decision, Some(&take), &[1]);
        Some(())
    });
}

/// One client signs two Takes of one number that put different tuples (A3).
fn a3_takes_of_one_number() {
    play(|s| {
        let item = s.item();
        let [one, other] = [["one 1"], ["other 1"]].map(|puts| s.take(0, 0_u64, &item, &puts));
        let votes = s.ask_votes(0, &one, &[0, 1, 2]);
        let fast = s.certify(&votes, true).expect("all vote");
        s.decide(&fast, Some(&one), &[0]);
        s.decide(&fast, Some(&other), &[1]);
        Some(())
    });
}

//! Power cuts: what a replica said before one binds it afterwards. The attacks are
//! those on one instance, with a power cut between their halves.

use bts_core::ids::ReplicaId;

use super::Schedule;
use super::stage::Stage;
use super::steps::{decide_twice, first_vote_after, lock_carried_on, play, propose_both};
use crate::sim::setup::Setup;

/// All of them.
pub(super) const ALL: &[Schedule] = &[
    Schedule::new("a9_vote_before_sync", a9_vote_before_sync),
    Schedule::new("a10_prepare_vote_forgotten", a10_prepare_vote_forgotten),
    Schedule::new("a11_first_vote_forgotten", a11_first_vote_forgotten),
    Schedule::new("a11_promise_forgotten", a11_promise_forgotten),
    Schedule::new("lock_forgotten", lock_forgotten),
    Schedule::new(
        "a8_power_cut_between_two_takes",
        a8_power_cut_between_two_takes,
    ),
];

/// What a replica would do that has lost its disk and votes all the same. Nobody lets it: this must
/// fail, or there were no reason to keep it out (A8).
pub const DISK_LOST: Schedule = Schedule::new("a8_disk_lost", a8_disk_lost);

/// How long a replica without power is away, and then takes to connect.
const AWAY_MS: u64 = 30;

/// Longer than an attacker waits for an answer.
const SLOW_SYNC_US: u64 = 20_000;

/// The power of these replicas fails; they start again with what they had stored.
fn cut_power(s: &mut Stage, of: &[u16]) {
    let ids: Vec<_> = of.iter().copied().map(ReplicaId).collect();
    ids.iter().for_each(|id| s.c.world.cut_power(*id));
    s.c.run_ms(AWAY_MS);
    ids.iter().for_each(|id| s.c.world.restart_replica(*id));
    s.c.run_ms(AWAY_MS);
}

/// All vote for A; the power fails; all are asked to vote for B.
fn a11_first_vote_forgotten() {
    play(vote_twice);
}

/// The same, and the power fails before the first votes are stored.
fn a9_vote_before_sync() {
    let mut stage = Stage::of(Setup {
        sync_us: (SLOW_SYNC_US, SLOW_SYNC_US),
        ..Setup::calm(4, 1)
    });
    vote_twice(&mut stage);
    stage.end();
}

fn vote_twice(s: &mut Stage) -> Option<()> {
    let item = s.item();
    // The entry is stored before the votes for it.
    s.c.run_ms(AWAY_MS);
    let (b, a) = s.rivals(&item);
    let votes = s.ask_votes(s.signer_of(&a), &a, &[0, 1, 2]);
    let one = s.certify(&votes, true)?;
    cut_power(s, &[0, 1, 2]);
    let votes = s.ask_votes(s.signer_of(&b), &b, &[0, 1, 2]);
    let other = s.certify(&votes, true)?;
    s.reveal((&one, Some(&a)), (&other, Some(&b)));
    Some(())
}

/// Two vote for A and one of them, with a third, enters ballot 1, where B is decided. The power of the
/// third fails, and it is asked for its first vote.
fn a11_promise_forgotten() {
    play(|s| first_vote_after(s, |s| cut_power(s, &[2])));
}

/// Two vote for A in ballot 1; their power fails; the liar, whose ballot it is, proposes B.
fn a10_prepare_vote_forgotten() {
    play(|s| propose_both(s, |s| cut_power(s, &[0, 1])));
}

/// Two accept the lock of ballot 0 for A, which decides; the power of one of them fails, and what it
/// promises for ballot 1 does not tell the lock.
fn lock_forgotten() {
    play(|s| lock_carried_on(s, |s| cut_power(s, &[0])));
}

/// s0, s1 and the liar decide A; the power of s0 fails; it is asked, with s2, to decide B.
fn a8_power_cut_between_two_takes() {
    play(|s| decide_twice(s, |s| cut_power(s, &[0])));
}

/// The same, and s0 comes back with an empty disk, which nobody notices.
fn a8_disk_lost() {
    play(|s| {
        decide_twice(s, |s| {
            s.c.world.lose_disk(ReplicaId(0));
            cut_power(s, &[0]);
        })
    });
}

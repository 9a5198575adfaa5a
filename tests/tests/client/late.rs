//! First votes that come late: how long they are waited for, and for whom not (R-4.3b, B10).

use bts_core::client::Outcome;

use crate::desk::Desk;
use crate::take::{engaged_in, first_votes, locks};

/// Everybody is late once: what a quorum decides alone costs more than a short wait. Who is late again and
/// again is not waited for, until it is in time.
#[test]
fn take_b10_slow_replica_is_not_waited_for() {
    let mut desk = Desk::new(4, 1);
    for seq in 1..=3 {
        let (_, request, take) = engaged_in(&mut desk, seq);
        first_votes(&mut desk, request, &take, &[0, 1, 2]);
        assert!(locks(&mut desk).is_empty(), "s3 was not late often enough");
        desk.pass_ms(25);
        lock_decides(&mut desk);
    }
    let (_, request, take) = engaged_in(&mut desk, 4);
    first_votes(&mut desk, request, &take, &[0, 1, 2]);
    lock_decides(&mut desk);
    let (_, request, take) = engaged_in(&mut desk, 5);
    first_votes(&mut desk, request, &take, &[3, 0, 1, 2]);
    assert!(matches!(desk.outcome(), Outcome::Found(_)));
    let (_, request, take) = engaged_in(&mut desk, 6);
    first_votes(&mut desk, request, &take, &[0, 1, 2]);
    assert!(locks(&mut desk).is_empty(), "it was in time");
}

/// What several operations see at the same moment is one lateness.
#[test]
fn take_b10_one_hiccup_makes_nobody_slow() {
    let mut desk = Desk::new(4, 1);
    let under_way: Vec<_> = (1..=4).map(|seq| engaged_in(&mut desk, seq)).collect();
    for (_, request, take) in &under_way {
        first_votes(&mut desk, *request, take, &[0, 1, 2]);
    }
    desk.pass_ms(25);
    assert_eq!(locks(&mut desk).len(), 16, "all four are late");
    let (_, request, take) = engaged_in(&mut desk, 5);
    first_votes(&mut desk, request, &take, &[0, 1, 2]);
    assert!(locks(&mut desk).is_empty());
}

fn lock_decides(desk: &mut Desk) {
    let sent = locks(desk);
    assert_eq!(sent.len(), 4);
    for replica in 0..3 {
        let vote = desk.commit_vote(replica, &sent[0].2.certificate);
        desk.reply(replica, sent[0].1, vote);
    }
    assert!(matches!(desk.outcome(), Outcome::Found(_)));
}

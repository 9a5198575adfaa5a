//! Clients that die in the middle of a Take, at every step of an `in` and of a `swap`.

use std::sync::Arc;

use bts_core::content::Decision;
use bts_core::tuple::Tuple;
use bts_tests::check::history::Call;
use bts_tests::process::{Cluster, Deployment, Diary, Hand, KEYS, Told, Workers, of_key};

use crate::NODE;

/// After which move a client dies; the number says how many replicas took part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Enter,
    Take(usize),
    Lock(usize),
    Decide(usize),
}

const STEPS: [Step; 11] = [
    Step::Enter,
    Step::Take(1),
    Step::Take(2),
    Step::Take(3),
    Step::Take(4),
    Step::Lock(1),
    Step::Lock(2),
    Step::Lock(3),
    Step::Decide(1),
    Step::Decide(2),
    Step::Decide(3),
];

/// Others may come first; then it is tried again, so often.
const ATTEMPTS_MAX: usize = 20;

#[tokio::test]
async fn clients_that_die_in_an_in_leave_the_space_right() {
    die_at_every_step(0).await;
}

#[tokio::test]
async fn clients_that_die_in_a_swap_leave_the_space_right() {
    die_at_every_step(2).await;
}

/// A client dies after each step while others work on the same keys.
async fn die_at_every_step(puts: usize) {
    let cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=3).await;
    workers.start(20);
    for (step, key) in STEPS.iter().zip(KEYS.iter().cycle()) {
        let mut attempts = 0..ATTEMPTS_MAX;
        while !die_after(*step, key, puts, &cluster, workers.diary()).await {
            assert!(attempts.next().is_some(), "{step:?} cannot be reached");
        }
    }
    workers.finish().await;
}

/// Writes a tuple, begins to take it, and dies. False: others took it, so the step was not reached.
async fn die_after(
    step: Step,
    key: &str,
    puts: usize,
    cluster: &Cluster,
    diary: &Arc<Diary>,
) -> bool {
    let replicas = cluster.correct();
    let mut hand = Hand::new(cluster.deployment(), 0)
        .connect_to(&replicas)
        .await;
    let tuple = |_| Tuple(vec![key.into(), diary.number().into()]);
    let (taken, puts): (Tuple, Vec<Tuple>) = (tuple(0), (0..puts).map(tuple).collect());
    let began = diary.moment();
    let target = hand.write(taken.clone()).await;
    diary.note("dying", Call::Out(taken.clone()), began, Told::Written);
    hand.enter(of_key(key)).await;
    if step == Step::Enter {
        return true;
    }
    diary.suspect(
        "dying",
        diary.moment(),
        Told::MaybeTaken(taken, puts.clone()),
    );
    let take = hand.take_of(&target, &puts);
    let quorum = hand.configuration().size().ack_quorum();
    let count = match step {
        Step::Enter | Step::Lock(_) | Step::Decide(_) => quorum,
        Step::Take(count) => count,
    };
    let first = hand.ask_for_votes(&replicas[..count], &target, &take).await;
    let (true, Some(certificate)) = (first.refused.is_empty(), first.certificate()) else {
        return false;
    };
    let count = match step {
        Step::Enter | Step::Take(_) => return true,
        Step::Lock(count) => count,
        Step::Decide(_) => quorum,
    };
    let commit = hand.lock(&replicas[..count], &certificate, &take).await;
    let (true, Some(certificate)) = (commit.refused.is_empty(), commit.certificate()) else {
        return false;
    };
    if let Step::Decide(count) = step {
        let take = Some(take);
        hand.decide(&replicas[..count], &Decision { certificate, take })
            .await;
    }
    true
}

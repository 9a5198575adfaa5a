//! Clients that die: at every step of an `in` and of a `swap`, and in the middle of an `out`.

use std::sync::Arc;

use bts_client::{Client, Config, template};
use bts_core::content::Decision;
use bts_core::message::ClientBody;
use bts_core::tuple::Tuple;
use bts_tests::check::history::Call;
use bts_tests::process::{
    Cluster, Deployment, Diary, Hand, KEYS, Target, Told, Workers, of_key, space_name,
};

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
    let mut hand = Hand::new(cluster.deployment(), 0)
        .connect_to(&cluster.correct())
        .await;
    let tuple = |_| Tuple(vec![key.into(), diary.number().into()]);
    let (taken, puts): (Tuple, Vec<Tuple>) = (tuple(0), (0..puts).map(tuple).collect());
    let began = diary.moment();
    let target = hand.write(taken.clone()).await;
    diary.note("dying", Call::Out(taken.clone()), began, Told::Written);
    hand.enter(of_key(key)).await;
    let began = diary.moment();
    match engage(step, &mut hand, &target, &puts).await {
        Reached::Nothing => {}
        Reached::Begun => diary.suspect("dying", began, Told::MaybeTaken(taken, puts)),
        Reached::Lost => {
            diary.suspect("dying", began, Told::MaybeTaken(taken, puts));
            return false;
        }
        // From here on a program may have been told, so that nobody else may get it.
        Reached::Won if puts.is_empty() => {
            diary.note("dying", Call::Take(of_key(key)), began, Told::Found(taken));
        }
        Reached::Won => {
            diary.note(
                "dying",
                Call::Swap(of_key(key)),
                began,
                Told::Swapped(taken, puts),
            );
        }
    }
    true
}

/// How far a dying client came.
enum Reached {
    Nothing,
    Begun,
    Won,
    Lost,
}

/// Makes the moves of a Take up to this step.
async fn engage(step: Step, hand: &mut Hand, target: &Target, puts: &[Tuple]) -> Reached {
    let replicas = hand.replicas();
    let size = hand.configuration().size();
    let (first_at, commit_at) = match step {
        Step::Enter => return Reached::Nothing,
        Step::Take(count) => (count, 0),
        Step::Lock(count) => (size.ack_quorum(), count),
        Step::Decide(_) => (size.ack_quorum(), size.ack_quorum()),
    };
    let take = hand.take_of(target, puts);
    let first = hand
        .ask_for_votes(&replicas[..first_at], target, &take)
        .await;
    let (true, Some(certificate)) = (first.refused.is_empty(), first.certificate()) else {
        return Reached::Lost;
    };
    if commit_at == 0 {
        let won = first.votes.len() >= size.fast_quorum() && puts.is_empty();
        return if won { Reached::Won } else { Reached::Begun };
    }
    let commit = hand.lock(&replicas[..commit_at], &certificate, &take).await;
    let (true, Some(certificate)) = (commit.refused.is_empty(), commit.certificate()) else {
        return Reached::Lost;
    };
    let applied = match step {
        Step::Decide(count) => {
            let take = Some(take);
            hand.decide(&replicas[..count], &Decision { certificate, take })
                .await;
            count
        }
        Step::Enter | Step::Take(_) | Step::Lock(_) => 0,
    };
    let enough = if puts.is_empty() {
        commit.votes.len()
    } else {
        applied
    };
    if enough >= size.ack_quorum() {
        Reached::Won
    } else {
        Reached::Begun
    }
}

/// Of the entry of a writer that died in the middle of its `out` one replica has heard, which
/// falls silent as soon as somebody has read it. Who reads next must find it all the same.
#[tokio::test]
async fn clients_that_die_in_an_out_leave_all_or_nothing() {
    let mut cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[]).await;
    let mut workers = Workers::connect(cluster.deployment(), 1..=2).await;
    workers.start(5);
    for replica in cluster.correct() {
        let key = format!("half-written at {replica}");
        let mut hand = Hand::new(cluster.deployment(), 0)
            .connect_to(&[replica])
            .await;
        let tuple = Tuple(vec![key.as_str().into(), workers.diary().number().into()]);
        let entry = hand.new_entry(&space_name(), tuple);
        let request = hand.send(&[replica], ClientBody::Out { entry });
        hand.answers(request, 1, Some).await;
        drop(hand);
        let first = workers.space().rd(of_key(&key)).await;
        first.expect("one replica has it, so it can be read");
        cluster.node(replica.0).pause();
        let second = workers
            .space()
            .rdp(of_key(&key))
            .await
            .expect("three replicas answer");
        cluster.node(replica.0).resume();
        assert!(
            second.is_some(),
            "what was read at {replica} is there no more"
        );
    }
    workers.finish().await;
}

/// a client that took something ends its session when it closes, one that did not leaves without a word.
#[tokio::test]
async fn clients_r712_end_their_session_when_they_close() {
    let cluster = Cluster::start(NODE, Deployment::new(4, 1, 2), &[]).await;
    let connect = |number| {
        let deployment = cluster.deployment();
        let config = Config::new(deployment.cluster().clone(), deployment.client(number));
        Client::connect(config.expect("a client"))
    };
    for (number, takes, ended) in [(1, false, 0), (1, true, 3)] {
        let client = connect(number).await.expect("the cluster is there");
        let space = client.space("jobs").expect("a good name");
        space.out(("job", 1u64)).await.expect("written");
        if takes {
            let (_, number) = space.take(template!["job", ?u64]).await.expect("taken");
            assert_eq!(number, 1);
        }
        client.close().await;
        let mut hand = Hand::new(cluster.deployment(), 0)
            .connect_to(&cluster.correct())
            .await;
        let mut knowing = 0;
        for replica in cluster.correct() {
            let report = hand.report(replica).await;
            let is_it = |(what, count): &&(String, u64)| what == "session ended" && *count > 0;
            knowing += report.counters.iter().filter(is_it).count();
        }
        assert!(
            knowing >= ended && (ended > 0 || knowing == 0),
            "{knowing} know of it"
        );
    }
}

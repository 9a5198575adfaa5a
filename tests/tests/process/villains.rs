//! Clients that break the rules: several Takes, several contents, forged and old messages, work
//! that is begun and never finished, and floods.

use std::thread;

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::content::Decision;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{Ballot, Epoch, RequestId, TakeNumber};
use bts_core::message::{ClientBody, ClientRequest, Refused, ReplyBody};
use bts_core::tuple::Tuple;
use bts_tests::check::history::Call;
use bts_tests::process::{
    Cluster, Deployment, Diary, Hand, Target, Told, Votes, Workers, of_key, space_name,
};
use tokio::sync::oneshot;

use crate::NODE;

/// Entries that each of these clients spoils.
const SPOILT: usize = 8;

#[tokio::test]
async fn villain_with_different_takes_for_different_replicas_wins_once_at_most() {
    let (cluster, mut workers, mut hand) = scene().await;
    workers.start(12);
    let replicas = cluster.correct();
    for round in 0..SPOILT {
        let (target, taken) = write(&mut hand, workers.diary(), "a").await;
        let put = new_tuple(workers.diary(), "b");
        let (one, other) = (
            hand.take_of(&target, &[]),
            hand.take_of(&target, std::slice::from_ref(&put)),
        );
        suspect(workers.diary(), &taken, &[]);
        suspect(workers.diary(), &taken, &[put]);
        let (left, right) = replicas.split_at(1 + round % 3);
        let mut votes = Vec::new();
        for (take, nearer, farther) in [(&one, left, right), (&other, right, left)] {
            let mut of_take = hand.ask_for_votes(nearer, &target, take).await;
            of_take
                .votes
                .append(&mut hand.ask_for_votes(farther, &target, take).await.votes);
            votes.push((take, of_take));
        }
        for (take, votes) in votes {
            complete(&mut hand, take, &votes).await;
        }
    }
    workers.finish().await;
}

/// Goes on with whatever it got, if it is enough for anything.
async fn complete(hand: &mut Hand, take: &SignedBytes, first: &Votes) {
    let (replicas, size) = (hand.replicas(), hand.configuration().size());
    let enough = |votes: &Votes| votes.votes.len() >= size.ack_quorum();
    let Some(certificate) = first.certificate().filter(|_| enough(first)) else {
        return;
    };
    if first.votes.len() >= size.fast_quorum() {
        let take = Some(take.clone());
        hand.decide(&replicas, &Decision { certificate, take })
            .await;
        return;
    }
    let commit = hand.lock(&replicas, &certificate, take).await;
    if let Some(certificate) = commit.certificate().filter(|_| enough(&commit)) {
        let take = Some(take.clone());
        hand.decide(&replicas, &Decision { certificate, take })
            .await;
    }
}

#[tokio::test]
async fn villain_with_two_contents_for_one_id_is_convicted() {
    let (cluster, mut workers, mut hand) = scene().await;
    workers.start(12);
    let replicas = cluster.correct();
    for _ in 0..SPOILT {
        let number = workers.diary().number();
        let id = hand.new_id(&space_name());
        for (key, to) in [("a", &replicas[..3]), ("b", &replicas[2..])] {
            let tuple = Tuple(vec![key.into(), number.into()]);
            let entry = hand.entry(id.clone(), tuple.clone());
            let diary = workers.diary();
            diary.suspect("villain", diary.moment(), Told::MaybeWritten(tuple));
            let request = hand.send(to, ClientBody::Out { entry });
            hand.answers(request, to.len(), Some).await;
        }
    }
    workers.finish().await;
    let me = hand.client().key;
    let report = hand.report(replicas[2]).await;
    assert!(
        report.convicted.iter().any(|(key, _)| *key == me),
        "{:?}",
        report.convicted
    );
}

#[tokio::test]
async fn villain_with_forged_certificates_takes_nothing_and_is_named() {
    let (cluster, mut workers, mut hand) = scene().await;
    workers.start(12);
    let replicas = cluster.correct();
    for _ in 0..SPOILT {
        let (target, _) = write(&mut hand, workers.diary(), "a").await;
        let take = hand.take_of(&target, &[]);
        for (kind, ballot) in [
            (VoteKind::First, 0),
            (VoteKind::Commit, 0),
            (VoteKind::Commit, 3),
        ] {
            let certificate = forged(&hand, &target, &take, kind, Ballot(ballot));
            let decision = Decision {
                certificate,
                take: Some(take.clone()),
            };
            for answer in hand.decide(&replicas, &decision).await {
                assert!(
                    is_refusal(&answer),
                    "a forged decision was answered by {answer:?}"
                );
            }
        }
        let certificate = forged(&hand, &target, &take, VoteKind::Prepare, Ballot(7));
        let locked = hand.lock(&replicas, &certificate, &take).await;
        assert!(locked.votes.is_empty(), "a forged lock was accepted");
    }
    workers.finish().await;
    let me = hand.client().key;
    let report = hand.report(replicas[0]).await;
    let forged = report.forged.iter().find(|(key, _)| *key == me);
    assert!(
        forged.is_some_and(|(_, count)| *count >= SPOILT as u64),
        "{:?}",
        report.forged
    );
}

#[tokio::test]
async fn villain_that_replays_old_messages_changes_nothing() {
    let (cluster, mut workers, mut hand) = scene().await;
    workers.start(12);
    let replicas = cluster.correct();
    let mut old = Vec::new();
    for _ in 0..SPOILT {
        let (target, taken) = write(&mut hand, workers.diary(), "a").await;
        let put = new_tuple(workers.diary(), "b");
        suspect(workers.diary(), &taken, std::slice::from_ref(&put));
        let take = hand.take_of(&target, &[put]);
        let votes = hand.ask_for_votes(&replicas, &target, &take).await;
        old.push((target.clone(), take.clone()));
        let Some(certificate) = votes.certificate().filter(|_| votes.refused.is_empty()) else {
            continue;
        };
        let decision = Decision {
            certificate,
            take: Some(take),
        };
        hand.decide(&replicas, &decision).await;
        // All of it again, as if nothing had been: the entry does not come back, nor its puts.
        for (target, take) in &old {
            let out = ClientBody::Out {
                entry: target.entry.clone(),
            };
            hand.send(&replicas, out);
            hand.send(
                &replicas,
                ClientBody::WriteBack {
                    entry: target.entry.clone(),
                },
            );
            hand.ask_for_votes(&replicas, target, take).await;
            hand.decide(&replicas, &decision).await;
        }
    }
    workers.finish().await;
}

#[tokio::test]
async fn villain_that_never_finishes_holds_nothing_up() {
    let (cluster, mut workers, mut hand) = scene().await;
    let replicas = cluster.correct();
    for round in 0..SPOILT {
        let (target, taken) = write(&mut hand, workers.diary(), "a").await;
        suspect(workers.diary(), &taken, &[]);
        let take = hand.take_of(&target, &[]);
        hand.ask_for_votes(&replicas[round % 4..], &target, &take)
            .await;
        hand.enter(of_key("b")).await;
    }
    workers.start(10);
    workers.finish().await;
    assert!(
        hand.ended(replicas[0]).is_none(),
        "it is still there, and does nothing"
    );
}

#[tokio::test]
async fn villain_that_floods_holds_nothing_up() {
    let (cluster, mut workers, hand) = scene().await;
    let replicas = cluster.correct();
    let flood = Flood::start(cluster.deployment());
    workers.start(6);
    workers.finish().await;
    flood.stop();
    drop(hand);
    let mut calm = Hand::new(cluster.deployment(), 1)
        .connect_to(&replicas)
        .await;
    let report = calm.report(replicas[0]).await;
    let forged: u64 = report.forged.iter().map(|(_, count)| count).sum();
    assert!(forged > 500, "the flood came through: {report:?}");
}

/// A client in a thread of its own that sends each replica, without pause, what costs it most and
/// its sender nothing: a signature that is wrong.
struct Flood {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Flood {
    fn start(deployment: &Deployment) -> Self {
        let (stop, stopped) = oneshot::channel();
        let mut hand = Hand::new(deployment, 0);
        let replicas: Vec<_> = hand.configuration().replicas().collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let thread = thread::spawn(move || {
            runtime.block_on(async move {
                hand = hand.connect_to(&replicas).await;
                let mut entry = hand.new_entry(&space_name(), Tuple(vec!["spam".into()]));
                entry.seal.signature[0] ^= 1;
                let frame = codec::encode(&ClientRequest {
                    request: RequestId(1),
                    settled_below: TakeNumber(0),
                    body: ClientBody::Out { entry },
                });
                for replica in replicas {
                    tokio::spawn(hand.flood(replica, frame.clone()));
                }
                let deaf = async {
                    loop {
                        hand.next().await;
                    }
                };
                tokio::select! {
                    () = deaf => {}
                    _ = stopped => {}
                }
            });
        });
        Self { stop, thread }
    }

    fn stop(self) {
        assert!(!self.thread.is_finished(), "it floods to the end");
        let _ = self.stop.send(());
        self.thread.join().expect("it does not panic");
    }
}

async fn scene() -> (Cluster, Workers, Hand) {
    let cluster = Cluster::start(NODE, Deployment::new(4, 1, 4), &[]).await;
    let workers = Workers::connect(cluster.deployment(), 1..=3).await;
    let hand = Hand::new(cluster.deployment(), 0)
        .connect_to(&cluster.correct())
        .await;
    (cluster, workers, hand)
}

async fn write(hand: &mut Hand, diary: &Diary, key: &str) -> (Target, Tuple) {
    let tuple = new_tuple(diary, key);
    let began = diary.moment();
    let target = hand.write(tuple.clone()).await;
    diary.note("villain", Call::Out(tuple.clone()), began, Told::Written);
    (target, tuple)
}

fn suspect(diary: &Diary, taken: &Tuple, puts: &[Tuple]) {
    let told = Told::MaybeTaken(taken.clone(), puts.to_vec());
    diary.suspect("villain", diary.moment(), told);
}

fn new_tuple(diary: &Diary, key: &str) -> Tuple {
    Tuple(vec![key.into(), diary.number().into()])
}

/// As many votes as anything needs, all under the villain's own key.
fn forged(
    hand: &Hand,
    target: &Target,
    take: &SignedBytes,
    kind: VoteKind,
    ballot: Ballot,
) -> Certificate {
    let said = Statement {
        id: target.id.clone(),
        epoch: Epoch(0),
        ballot,
        value: Value::Take(hand.op(take)),
    };
    let vote = |replica| SealedVote::new(hand.signer(), replica, kind, &said);
    let votes: Vec<_> = hand.configuration().replicas().map(vote).collect();
    Certificate {
        kind,
        payload: votes[0].payload.clone(),
        votes: votes
            .into_iter()
            .map(|vote| (vote.replica, vote.seal))
            .collect(),
        carried: None,
    }
}

/// "Forged", or how the entry was really removed meanwhile.
fn is_refusal(answer: &ReplyBody) -> bool {
    matches!(
        answer,
        ReplyBody::Refused(Refused::Forged(_)) | ReplyBody::Removed { .. }
    )
}

//! One workload under one load, measured.

use std::time::{Duration, Instant};

use bts_client::{Report, Traffic};
use tokio::task::JoinSet;

use super::field::Field;
use super::hand::{Clock, Hand};
use super::histogram::Histogram;
use super::options::{Bench, Load};
use super::process;
use super::workload::Workload;
use crate::exit::{Exit, Failure};

/// What is not measured at the beginning of each workload.
const WARM_UP: Duration = Duration::from_millis(300);

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) workload: Workload,
    pub(super) load: Load,
    pub(super) elapsed: Duration,
    pub(super) took: Histogram,
    /// What the worker that did the least did, as a share of the mean; if that matters.
    pub(super) evenness: Option<f64>,
    /// Of all replicas, where that is known.
    pub(super) replicas_cpu: Option<Duration>,
    /// Of this process, where that is known.
    pub(super) clients_cpu: Option<Duration>,
    /// That the clients sent and received.
    pub(super) bytes: u64,
    /// The share of decisions that needed no lock, as the replicas tell; if there were any.
    pub(super) fast: Option<f64>,
}

impl Figures {
    pub(super) fn per_second(&self) -> f64 {
        self.took.total() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// What so many of a thousand operations did not exceed, in microseconds.
    pub(super) fn us(&self, per_mille: u64) -> Option<f64> {
        Some(self.took.per_mille(per_mille)?.as_secs_f64() * 1e6)
    }

    pub(super) fn bytes_per_op(&self) -> Option<f64> {
        let total = self.took.total();
        (total > 0 && self.workload != Workload::Connect).then(|| self.bytes as f64 / total as f64)
    }

    /// Microseconds per operation, of something that was counted for all of them.
    pub(super) fn us_per_op(&self, all: Option<Duration>) -> Option<f64> {
        let total = self.took.total();
        all.filter(|_| total > 0)
            .map(|all| all.as_secs_f64() * 1e6 / total as f64)
    }
}

/// What was counted up to some moment.
#[derive(Clone, Copy, Debug)]
struct Counts {
    replicas_cpu: Option<Duration>,
    clients_cpu: Option<Duration>,
    traffic: Traffic,
}

impl Counts {
    fn now(field: &mut Field) -> Self {
        let pids = field.own().map(|own| own.pids()).unwrap_or_default();
        Self {
            replicas_cpu: process::cpu_of_all(&pids),
            clients_cpu: process::cpu_of_this(),
            traffic: field.traffic(),
        }
    }
}

/// Lets all workers of the load work for as long as the options say.
pub(super) async fn measure(
    field: &mut Field,
    options: &Bench,
    workload: Workload,
    load: Load,
) -> Result<Figures, Failure> {
    if workload == Workload::Inp {
        field.stock(load, options.seconds).await?;
    }
    let load = workload.load(load);
    let told_before = field.inspect().await?;
    workload.prepare(&field.hand().await?, options.live).await?;
    let clock = || Clock::new(WARM_UP, options.seconds);
    let hands = field.hands(load, clock).await?;
    let clock = hands[0].clock.clone();
    let working = start(workload, options, &hands);
    tokio::time::sleep_until(clock.from.into()).await;
    let (began, before) = (Instant::now(), Counts::now(field));
    let ended = clock.over().await;
    let after = Counts::now(field);
    let (took, evenness) = finish(working).await?;
    workload.clean(&hands[0]).await?;
    if let Some(own) = field.own() {
        own.check()?;
    }
    if workload == Workload::Out {
        field.stocked = load.workers();
    }
    let spent =
        |before: Option<Duration>, after: Option<Duration>| Some(after?.saturating_sub(before?));
    let bytes = |counts: Counts| counts.traffic.sent_bytes + counts.traffic.received_bytes;
    Ok(Figures {
        workload,
        load,
        elapsed: ended.saturating_duration_since(began),
        took,
        evenness: evenness.filter(|_| workload.is_contended()),
        replicas_cpu: spent(before.replicas_cpu, after.replicas_cpu),
        clients_cpu: spent(before.clients_cpu, after.clients_cpu),
        bytes: bytes(after).saturating_sub(bytes(before)),
        fast: Told::of(&field.inspect().await?).fast_since(&Told::of(&told_before)),
    })
}

type Working = JoinSet<Result<Option<Hand>, Failure>>;

fn start(workload: Workload, options: &Bench, hands: &[Hand]) -> Working {
    let mut working = JoinSet::new();
    let posts = workload.posts(hands, options.live, options.producers());
    for (hand, post) in hands.iter().cloned().zip(posts) {
        working.spawn(async move {
            let clock = hand.clock.clone();
            let done = workload.work(hand, post).await;
            if done.is_err() {
                clock.stop();
            }
            done
        });
    }
    working
}

/// All latencies, and what the worker that did the least did, as a share of the mean.
async fn finish(mut working: Working) -> Result<(Histogram, Option<f64>), Failure> {
    let (mut all, mut each) = (Histogram::default(), Vec::new());
    let mut failed = None;
    // Also after a failure all end what they have begun, so that the diary is complete.
    while let Some(done) = working.join_next().await {
        match done
            .map_err(|error| Failure::new(Exit::Failed, error))
            .flatten()
        {
            Ok(Some(hand)) => {
                all.merge(&hand.took);
                each.push(hand.took.total());
            }
            Ok(None) => {}
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    let mean = all.total() as f64 / each.len().max(1) as f64;
    let least = each.into_iter().min().filter(|_| mean > 0.0);
    match failed {
        Some(failure) => Err(failure),
        None => Ok((all, least.map(|least| least as f64 / mean))),
    }
}

/// What all replicas together tell of decisions.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    decided: u64,
    locked: u64,
}

impl Told {
    fn of(reports: &[Report]) -> Self {
        let sum = |name: &str| {
            let counters = reports.iter().flat_map(|report| &report.counters);
            counters
                .filter(|(other, _)| other == name)
                .map(|(_, count)| count)
                .sum()
        };
        Self {
            decided: sum("decided"),
            locked: sum("locked"),
        }
    }

    /// The share of decisions that needed no lock.
    fn fast_since(self, before: &Self) -> Option<f64> {
        let decided = self.decided.saturating_sub(before.decided) as f64;
        let locked = self.locked.saturating_sub(before.locked) as f64;
        (decided > 0.0).then(|| (1.0 - locked / decided).max(0.0))
    }
}

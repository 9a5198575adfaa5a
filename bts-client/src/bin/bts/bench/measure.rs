//! One workload under one load, measured.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::cpu;
use super::field::Field;
use super::hand::Clock;
use super::histogram::Histogram;
use super::options::Load;
use super::workload::{Post, Workload};
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
    /// Of all replicas, where that is known.
    pub(super) replicas_cpu: Option<Duration>,
    /// Of this process, where that is known.
    pub(super) clients_cpu: Option<Duration>,
}

impl Figures {
    pub(super) fn per_second(&self) -> f64 {
        self.took.total() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Microseconds per operation, of something that was counted for all of them.
    pub(super) fn us_per_op(&self, all: Option<Duration>) -> Option<f64> {
        let total = self.took.total();
        all.filter(|_| total > 0)
            .map(|all| all.as_secs_f64() * 1e6 / total as f64)
    }
}

/// Lets all workers of the load work for so long.
pub(super) async fn measure(
    field: &mut Field,
    workload: Workload,
    load: Load,
    seconds: Duration,
) -> Result<Figures, Failure> {
    if workload == Workload::Inp {
        field.stock(load, seconds).await?;
    }
    let hands = field.hands(load, || Clock::new(WARM_UP, seconds)).await?;
    let clock = hands[0].clock.clone();
    let mut working = JoinSet::new();
    for (worker, hand) in hands.iter().enumerate() {
        let post = Post {
            worker,
            live: field.live(),
            other: hands[(worker + 1) % hands.len()].clone(),
        };
        let hand = hand.clone();
        let clock = clock.clone();
        working.spawn(async move {
            let done = workload.work(hand, post).await;
            if done.is_err() {
                clock.stop();
            }
            done
        });
    }
    tokio::time::sleep_until(clock.from.into()).await;
    let began = Instant::now();
    let before = computed(field);
    let ended = clock.over().await;
    let after = computed(field);
    let mut took = Histogram::default();
    while let Some(done) = working.join_next().await {
        let hand = done.map_err(|error| Failure::new(Exit::Failed, error))??;
        took.merge(&hand.took);
    }
    if let Some(own) = field.own() {
        own.check()?;
    }
    if workload == Workload::Out {
        field.stocked = load.workers();
    }
    Ok(Figures {
        workload,
        load,
        elapsed: ended.saturating_duration_since(began),
        took,
        replicas_cpu: spent(before.0, after.0),
        clients_cpu: spent(before.1, after.1),
    })
}

fn spent(before: Option<Duration>, after: Option<Duration>) -> Option<Duration> {
    Some(after?.saturating_sub(before?))
}

/// How long the replicas and this process have computed so far.
fn computed(field: &mut Field) -> (Option<Duration>, Option<Duration>) {
    let pids = field.own().map(|own| own.pids()).unwrap_or_default();
    (cpu::of_processes(&pids), cpu::of_this_process())
}

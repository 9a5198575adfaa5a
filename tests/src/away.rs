//! A replica that was away: it is stopped, the others go on for many operations, and it comes back. What it
//! lacks comes, what was taken meanwhile goes, operators see how far it is, and the others work on.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bts_client::{Client, Comparing, Config, Report, Space, template};
use bts_core::ids::ReplicaId;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::flow::latency;
use crate::process::{Cluster, Deployment};

/// Replicas of the cluster.
const REPLICAS: u16 = 4;
/// The one that is away.
const AWAY: u16 = 3;
/// What each tuple carries besides its name and number, in bytes.
const PAYLOAD_BYTES: usize = 64;
/// Of so many tuples that are written meanwhile one is left.
const LEFT_ONE_OF: u64 = 10;
/// How often operators look.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long all of it may take to come.
const PATIENCE: Duration = Duration::from_secs(600);
/// Others work so long before it comes back, to compare with.
const BEFORE: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Operations while it is away.
    pub operations: u64,
    /// Operations under way at once.
    pub at_once: u64,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Return {
    /// Operations while it was away, and how long they took.
    operations: u64,
    busy: Duration,
    /// Entries that it held and that were taken.
    gone: u64,
    /// Entries that it lacked.
    lacked: u64,
    /// From its start until it welcomed a client, and until it had all.
    pub served: Duration,
    /// See `served`.
    pub caught_up: Duration,
    /// Looks at it that showed it catching up.
    pub seen: u64,
    /// What comparing brought.
    pub fetched: u64,
    /// Entries in the end, there and at another replica.
    pub entries: [u64; 2],
    /// Operations of others: median, 99.9 of a hundred and longest, before and meanwhile.
    before: [Duration; 3],
    meanwhile: [Duration; 3],
}

impl Return {
    /// True if it has what the others have, and fetched no more than it lacked, and what was on its way.
    pub fn is_well(&self) -> bool {
        self.entries[0] == self.entries[1] && self.fetched <= self.lacked + self.lacked / 10 + 100
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |all: [Duration; 3]| {
            let all = all.map(|one| format!("{:.1}", one.as_secs_f64() * 1e3));
            all.join(" ")
        };
        writeln!(
            f,
            "{} operations in {:.0} s while it was away: {} entries that it held are gone, {} are new",
            self.operations,
            self.busy.as_secs_f64(),
            self.gone,
            self.lacked
        )?;
        writeln!(
            f,
            "served after {:.2} s, had all after {:.2} s; {} looks showed it catching up; fetched {}; \
             holds {}, another replica {}",
            self.served.as_secs_f64(),
            self.caught_up.as_secs_f64(),
            self.seen,
            self.fetched,
            self.entries[0],
            self.entries[1]
        )?;
        write!(
            f,
            "operations of others, ms (p50 p99.9 max): {} before, {} meanwhile",
            ms(self.before),
            ms(self.meanwhile)
        )
    }
}

/// Runs it with `program`, which is a replica if it is told so as `bts-node` is. `told` hears what operators
/// see.
pub async fn run(
    program: &Path,
    plan: &Plan,
    mut told: impl FnMut(Duration, &str),
) -> Result<Return, String> {
    let deployment = Deployment::new(u32::from(REPLICAS), 1, 2).durable();
    let mut cluster = Cluster::start(program, deployment, &[]).await;
    let worker = connect(&cluster, 0).await?;
    let space = worker.space("away").map_err(|error| error.to_string())?;
    let old = plan.operations / 5;
    write_all(&space, plan.at_once, old).await?;
    settle(&worker, |reports| {
        reports.iter().all(|report| report.entries == old)
    })
    .await?;
    if !cluster.node(AWAY).stop() {
        return Err("it did not end well".into());
    }
    let began = Instant::now();
    let (operations, lacked) = go_on(&space, plan, old).await?;
    let busy = began.elapsed();
    let mut probe = Probe::start(&cluster).await?;
    sleep(BEFORE).await;
    let before = probe.latency();
    let began = Instant::now();
    cluster.restart(AWAY);
    let operator = connect(&cluster, 1).await?;
    let mut back = Return {
        operations,
        busy,
        gone: old,
        lacked,
        served: Duration::ZERO,
        caught_up: Duration::ZERO,
        seen: 0,
        fetched: 0,
        entries: [0; 2],
        before,
        meanwhile: [Duration::ZERO; 3],
    };
    watch(&operator, began, &mut back, &mut told).await?;
    back.meanwhile = probe.latency();
    probe.stop().await?;
    // What the probe did last is on its way everywhere.
    settle(&operator, |reports| {
        let all: Vec<_> = reports.iter().map(|report| report.entries).collect();
        all.len() == usize::from(REPLICAS) && all.windows(2).all(|pair| pair[0] == pair[1])
    })
    .await?;
    let report = report_of(&operator, AWAY).await?.ok_or("it is gone")?;
    let other = report_of(&operator, 0).await?.ok_or("another is gone")?;
    back.fetched = counter(&report, "fetched by comparing");
    back.entries = [report.entries, other.entries];
    Ok(back)
}

async fn connect(cluster: &Cluster, number: usize) -> Result<Client, String> {
    let deployment = cluster.deployment();
    let config = Config::new(deployment.cluster().clone(), deployment.client(number));
    let config = config.map_err(|error| error.to_string())?;
    Client::connect(config).await.map_err(|e| e.to_string())
}

fn payload() -> Vec<u8> {
    vec![7; PAYLOAD_BYTES]
}

/// Does `work` for each number below `all`, many at once.
async fn in_parallel<W>(all: u64, at_once: u64, work: impl Fn(u64) -> W) -> Result<(), String>
where
    W: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    for number in 0..all {
        if under_way.len() as u64 >= at_once
            && let Some(ended) = under_way.join_next().await
        {
            ended.map_err(|error| error.to_string())??;
        }
        under_way.spawn(work(number));
    }
    while let Some(ended) = under_way.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(())
}

async fn write_all(space: &Space, at_once: u64, all: u64) -> Result<(), String> {
    in_parallel(all, at_once, |number| {
        let space = space.clone();
        async move {
            let out = space.out(("old", number, payload())).await;
            out.map(drop)
                .map_err(|error| format!("out failed: {error}"))
        }
    })
    .await
}

/// Takes the old tuples, and writes new ones of which few are left. How many operations, and how many are left.
async fn go_on(space: &Space, plan: &Plan, old: u64) -> Result<(u64, u64), String> {
    let done = Arc::new(AtomicU64::new(0));
    let new = plan.operations.saturating_sub(old) * LEFT_ONE_OF / (2 * LEFT_ONE_OF - 1);
    let count = Arc::clone(&done);
    in_parallel(old.max(new), plan.at_once, |number| {
        let (space, count) = (space.clone(), Arc::clone(&count));
        async move {
            if number < old {
                take(&space, "old", number).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            if number < new {
                let out = space.out(("new", number, payload())).await;
                out.map_err(|error| format!("out failed: {error}"))?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            if number < new && number % LEFT_ONE_OF != 0 {
                take(&space, "new", number).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await?;
    Ok((done.load(Ordering::Relaxed), new.div_ceil(LEFT_ONE_OF)))
}

async fn take(space: &Space, name: &'static str, number: u64) -> Result<(), String> {
    let taken = space.inp(template![name, number, ?Vec<u8>]).await;
    match taken.map_err(|error| format!("inp failed: {error}"))? {
        Some(_) => Ok(()),
        None => Err(format!("tuple {number} of {name} is gone")),
    }
}

/// Waits until what the replicas report is as it should be.
async fn settle(client: &Client, is_so: impl Fn(&[Report]) -> bool) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let all = client.inspect(Duration::from_secs(5)).await;
        let all = all.map_err(|error| error.to_string())?;
        let reports: Vec<_> = all.into_iter().filter_map(|one| one.report).collect();
        if is_so(&reports) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err("replicas do not come to hold the same".into());
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn report_of(client: &Client, replica: u16) -> Result<Option<Report>, String> {
    let all = client.inspect(Duration::from_secs(1)).await;
    let all = all.map_err(|error| error.to_string())?;
    let mut found = all
        .into_iter()
        .filter(|one| one.replica == ReplicaId(replica));
    Ok(found.next().and_then(|one| one.report))
}

/// Looks at the replica that comes back until it has all that the others have.
async fn watch(
    operator: &Client,
    began: Instant,
    back: &mut Return,
    told: &mut impl FnMut(Duration, &str),
) -> Result<(), String> {
    loop {
        if began.elapsed() > PATIENCE {
            return Err("it does not catch up".into());
        }
        sleep(LOOK_EVERY).await;
        let Some(report) = report_of(operator, AWAY).await? else {
            continue;
        };
        let after = began.elapsed();
        if back.served.is_zero() {
            back.served = after;
        }
        told(after, &shown(&report));
        let caught_up = report.comparing.iter().filter(|with| with.is_caught_up);
        if caught_up.count() == usize::from(REPLICAS - 1) {
            back.caught_up = after;
            return Ok(());
        }
        back.seen += 1;
    }
}

fn shown(report: &Report) -> String {
    let one = |with: &Comparing| match with.is_caught_up {
        true => format!("{}: done", with.peer),
        false => format!(
            "{}: {} of {} passed, {} fetched, {} being fetched, {} in doubt",
            with.peer, with.passed, with.began_with, with.fetched, with.fetching, with.doubted
        ),
    };
    let all: Vec<_> = report.comparing.iter().map(one).collect();
    format!("{} entries; {}", report.entries, all.join("; "))
}

fn counter(report: &Report, name: &str) -> u64 {
    let mut counters = report.counters.iter();
    counters
        .find(|(of, _)| of == name)
        .map_or(0, |(_, count)| *count)
}

/// Somebody who writes and takes, one after the other, all the time.
struct Probe {
    took: Arc<Mutex<Vec<Duration>>>,
    work: JoinSet<Result<(), String>>,
    ends: Arc<AtomicU64>,
}

impl Probe {
    async fn start(cluster: &Cluster) -> Result<Self, String> {
        let client = connect(cluster, 1).await?;
        let space = client.space("probe").map_err(|error| error.to_string())?;
        let (took, ends): (Arc<Mutex<Vec<_>>>, Arc<AtomicU64>) = Default::default();
        let (times, end) = (Arc::clone(&took), Arc::clone(&ends));
        let mut work = JoinSet::new();
        work.spawn(async move {
            let _alive = client;
            for number in 0_u64.. {
                if end.load(Ordering::Relaxed) > 0 {
                    break;
                }
                let began = Instant::now();
                let out = space.out(("probe", number, payload())).await;
                out.map_err(|error| format!("out failed: {error}"))?;
                let between = Instant::now();
                take(&space, "probe", number).await?;
                let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                times.extend([between - began, between.elapsed()]);
            }
            Ok(())
        });
        Ok(Self { took, work, ends })
    }

    /// Of what ended since this was asked last.
    fn latency(&mut self) -> [Duration; 3] {
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        latency(&mut std::mem::take(&mut *took))
    }

    async fn stop(mut self) -> Result<(), String> {
        self.ends.store(1, Ordering::Relaxed);
        match self.work.join_next().await {
            Some(ended) => ended.map_err(|error| error.to_string())?,
            None => Ok(()),
        }
    }
}

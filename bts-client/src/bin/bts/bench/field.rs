//! Where the benchmark takes place: a cluster, clients of it, a space, and the tuples that are there all
//! the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bts_client::{Client, Config, LinkState, ReplicaId, Report, Space, Traffic};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Context;
use super::diary::Diary;
use super::hand::{Clock, Common, Hand};
use super::histogram::Histogram;
use super::options::{Bench, Load};
use super::own::Own;
use super::process;
use super::tuples::{Tag, everything, exactly};
use crate::exit::{Exit, Failure};

/// How long replicas may take to start and to find one another.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long they may take to tell how they are.
const INSPECT_PATIENCE: Duration = Duration::from_secs(2);
/// Fewer tuples than these disappear in what a replica has anyway.
const LIVE_MIN: u64 = 20_000;
/// Tuples that are written or removed at the same time, before and after what is measured.
const CONCURRENT: usize = 128;
/// Clients that do so.
const CLIENTS: usize = 4;

/// The field.
pub(super) struct Field {
    own: Option<Own>,
    /// Of a given cluster: the settings of all clients.
    given: Option<Config>,
    context: Context,
    options: Bench,
    clients: Vec<Client>,
    common: Arc<Common>,
    /// So many workers find a queue of jobs that nobody has taken from.
    pub(super) stocked: usize,
}

impl Field {
    /// Starts the cluster, or finds the given one.
    pub(super) fn prepare(options: &Bench, context: Context) -> Result<Self, Failure> {
        let given = options.cluster.as_ref().map(Config::load).transpose();
        let given = given.map_err(|error| Failure::new(Exit::Usage, error))?;
        let own = match &given {
            Some(_) => None,
            None => Some(Own::start(options)?),
        };
        let diary = options
            .history
            .as_ref()
            .map(|_| Diary::new(context.space.clone()));
        Ok(Self {
            own,
            given,
            options: options.clone(),
            clients: Vec::new(),
            common: Arc::new(Common {
                numbers: AtomicU64::new(0),
                size: options.size,
                is_limited: context.is_limited,
                diary,
            }),
            context,
            stocked: 0,
        })
    }

    /// Connects the first client, and waits until it sees all replicas. Of an own cluster all must come up.
    pub(super) async fn open(&mut self) -> Result<(), Failure> {
        let all_seen = async {
            loop {
                if let Some(own) = &mut self.own {
                    own.check()?;
                }
                let config = self.config(0)?.with_connect_deadline(START_PATIENCE);
                if self.clients.is_empty() {
                    self.clients.push(Client::start(config)?);
                }
                let links = self.clients[0].links();
                let is_up = |(replica, link): &(ReplicaId, LinkState)| {
                    *link == LinkState::Connected || !self.options.is_usual(replica.0)
                };
                if links.iter().all(is_up) {
                    return Ok::<(), Failure>(());
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = timeout(START_PATIENCE, all_seen).await;
        match (seen, &mut self.own) {
            (Ok(seen), _) => seen?,
            (Err(_), None) => {}
            (Err(_), Some(own)) => {
                let links = self.clients.first().map(Client::links).unwrap_or_default();
                let missing = links
                    .into_iter()
                    .filter(|(_, link)| *link != LinkState::Connected);
                let missing = missing.map(|(replica, link)| {
                    let words = own.words(replica).unwrap_or_default();
                    format!("\n{replica}: {link}; its log:\n{words}")
                });
                let why = format!("not all replicas came up:{}", missing.collect::<String>());
                return Err(Failure::new(Exit::NoQuorum, why));
            }
        }
        // Replicas that start refuse operations, until enough of them know one another.
        self.space(0)?.rdp(&everything()).await?;
        Ok(())
    }

    /// Writes the tuples that are there all the time. Returns the bytes of memory that a replica has more for
    /// each, where that is known and they are so many that it means something.
    pub(super) async fn fill(&mut self) -> Result<Option<f64>, Failure> {
        let live = self.options.live;
        let before = self.memory();
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} tuples, {per_sec}, {eta} left");
        let bar = ProgressBar::new(live)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let counted = bar.clone();
        self.each(CONCURRENT, move |hand, _| {
            let bar = counted.clone();
            async move {
                while hand.common.numbers.load(Ordering::Relaxed) < live {
                    hand.out(hand.new_tuple(Tag::Live, 0)).await?;
                    bar.inc(1);
                }
                Ok(())
            }
        })
        .await?;
        bar.finish_and_clear();
        let more = self
            .memory()
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before));
        let replicas = self.own.as_ref().map_or(1, |own| own.pids().len()) as f64;
        Ok(more
            .filter(|_| live >= LIVE_MIN)
            .map(|more| more as f64 / live as f64 / replicas))
    }

    /// Of all replicas together.
    fn memory(&self) -> Option<u64> {
        process::memory_of_all(&self.own.as_ref()?.pids())
    }

    /// Sees to it that each worker of a load finds jobs in its queue: by writing them for so long.
    pub(super) async fn stock(&mut self, load: Load, within: Duration) -> Result<(), Failure> {
        let workers = load.workers();
        if self.stocked < workers {
            let until = Instant::now() + within;
            self.each(CONCURRENT.max(workers), move |hand, number| async move {
                while Instant::now() < until {
                    hand.out(hand.new_tuple(Tag::Job, number % workers)).await?;
                }
                Ok(())
            })
            .await?;
        }
        self.stocked = 0;
        Ok(())
    }

    /// Takes away again what was written into a given cluster.
    pub(super) async fn clear(&mut self) -> Result<(), Failure> {
        if self.given.is_none() {
            return Ok(());
        }
        let left = self.space(0)?.rd_all(everything()).await?;
        let left = Arc::new(Mutex::new(left));
        self.each(CONCURRENT, move |hand, _| {
            let left = left.clone();
            let next = move || left.lock().unwrap_or_else(PoisonError::into_inner).pop();
            async move {
                while let Some(tuple) = next() {
                    hand.inp(&exactly(&tuple)).await?;
                }
                Ok(())
            }
        })
        .await
    }

    /// Says goodbye to the replicas.
    pub(super) async fn close(&mut self) {
        let mut closing = JoinSet::new();
        for client in self.clients.drain(..) {
            closing.spawn(async move { client.close().await });
        }
        while closing.join_next().await.is_some() {}
    }

    /// A hand for what is not measured.
    pub(super) async fn hand(&mut self) -> Result<Hand, Failure> {
        let one = Load {
            clients: 1,
            in_flight: 1,
        };
        let clock = || Clock::new(Duration::ZERO, Duration::ZERO);
        let mut hands = self.hands(one, clock).await?;
        Ok(hands.remove(0))
    }

    /// Hands for all workers of a load, which share a clock. Clients are connected as needed.
    pub(super) async fn hands(
        &mut self,
        load: Load,
        clock: impl FnOnce() -> Clock,
    ) -> Result<Vec<Hand>, Failure> {
        let missing = self.clients.len()..load.clients;
        for number in missing {
            let client = Client::connect(self.config(number)?).await?;
            self.clients.push(client);
        }
        let clock = Arc::new(clock());
        let hand = |worker| {
            let client = worker % load.clients;
            Ok(Hand {
                client,
                config: self.clients[client].config().clone(),
                space: self.space(client)?,
                common: self.common.clone(),
                clock: clock.clone(),
                took: Histogram::default(),
            })
        };
        (0..load.workers()).map(hand).collect()
    }

    pub(super) fn own(&mut self) -> Option<&mut Own> {
        self.own.as_mut()
    }

    pub(super) fn diary(&self) -> Option<&Diary> {
        self.common.diary.as_ref()
    }

    /// What went over the links of all clients so far.
    pub(super) fn traffic(&self) -> Traffic {
        self.clients.iter().map(Client::traffic).sum()
    }

    /// What the replicas tell of themselves.
    pub(super) async fn inspect(&self) -> Result<Vec<Report>, Failure> {
        let replicas = self.clients[0].inspect(INSPECT_PATIENCE).await?;
        Ok(replicas.into_iter().filter_map(|one| one.report).collect())
    }

    /// The cluster, once it is open.
    pub(super) fn config_of_all(&self) -> Result<Config, Failure> {
        self.config(0)
    }

    fn config(&self, client: usize) -> Result<Config, Failure> {
        let config = match (&self.given, &self.own) {
            (Some(given), _) => given.clone(),
            (None, Some(own)) => own.config(client)?,
            (None, None) => unreachable!("the cluster is an own one or given"),
        };
        Ok((self.context.limit)(config))
    }

    fn space(&self, client: usize) -> Result<Space, Failure> {
        let space = self.clients[client].space(self.context.space.as_str());
        space.map_err(|error| Failure::new(Exit::Usage, error))
    }

    /// Lets so many do the same, each with its number.
    async fn each<F, W>(&mut self, count: usize, work: F) -> Result<(), Failure>
    where
        F: Fn(Hand, usize) -> W,
        W: Future<Output = Result<(), bts_client::Error>> + Send + 'static,
    {
        let clients = CLIENTS.min(self.options.clients_max());
        let load = Load {
            clients,
            in_flight: count.div_ceil(clients),
        };
        let hands = self
            .hands(load, || Clock::new(Duration::ZERO, Duration::ZERO))
            .await?;
        let mut working = JoinSet::new();
        for (number, hand) in hands.into_iter().enumerate() {
            working.spawn(work(hand, number));
        }
        while let Some(done) = working.join_next().await {
            done.map_err(|error| Failure::new(Exit::Failed, error))??;
        }
        Ok(())
    }
}

//! A run: its chapters, its cycles, and what it comes to.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bts_core::ids::SpaceName;
use bts_core::tuple::Tuple;
use tokio::time::sleep;

use super::accounts::Accounts;
use super::crowd::{Book, Crowd, counter_in, list};
use super::ruin::{Ruin, When};
use crate::process::{Cluster, Deployment, Judged, number_of};
use crate::sim::rng::Rng;

/// Replicas of the cluster; one of them may be malicious, none is.
const REPLICAS: u16 = 4;
/// How long it may take until an operation ends, also on a machine that is busy with other things.
const PROGRESS: Duration = Duration::from_secs(120);
/// What a replica says if its peers know more of its promises than its store.
const LOST_MEMORY: &str = "LOST ITS MEMORY";

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often replicas are killed.
    pub cycles: u64,
    /// Cycles after which all is counted and judged.
    pub chapter: u64,
    /// The seed of the first chapter; each other's is one more. A seed says who is killed when and what
    /// clients want; what that meets depends on the machine.
    pub seed: u64,
    /// Clients at a time.
    pub clients: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Cycles that were run.
    pub cycles: u64,
    /// Operations that were acknowledged.
    pub acknowledged: u64,
    /// Tuples that were acknowledged and are gone.
    pub lost: u64,
    /// Tuples that are there though taken, or too often, or were taken by two.
    pub doubled: u64,
    /// Chapters that the exact judge accepted, and those that only the fast one could judge.
    pub judged: (u64, u64),
    /// Replicas killed.
    pub killed: u64,
    /// Tuples that are there in the end.
    pub left: u64,
    /// Why the run ended early, if it did, and where the files of its replicas are.
    pub failure: Option<(String, PathBuf)>,
}

impl Tally {
    /// True if nothing was wrong.
    pub fn is_good(&self) -> bool {
        self.failure.is_none() && self.lost == 0 && self.doubled == 0
    }

    fn charge(&mut self, accounts: &Accounts, space: &SpaceName) -> Result<(), String> {
        self.lost += accounts.lost.len() as u64;
        self.doubled += accounts.doubled.len() as u64;
        match accounts.are_right() {
            true => Ok(()),
            false => Err(format!("in {space} {accounts:?}")),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cycles, acknowledged {}, lost {}, doubled {}",
            self.cycles, self.acknowledged, self.lost, self.doubled
        )
    }
}

/// Runs it with `program`, which is a replica if it is told so as `bts-node` is. `told` hears of
/// each chapter that ended well.
pub async fn run(program: &Path, plan: &Plan, mut told: impl FnMut(&Tally)) -> Tally {
    let deployment = Deployment::new(u32::from(REPLICAS), 1, plan.clients + 1);
    let deployment = deployment.durable().left_behind();
    let folder = deployment.path().to_owned();
    let mut run = Run {
        cluster: Cluster::start(program, deployment, &[]).await,
        tally: Tally::default(),
        shelf: BTreeMap::new(),
    };
    match run.through(plan, &mut told).await {
        Ok(()) => {
            drop(run.cluster);
            // What cannot be removed is for the system to clean up.
            let _ = fs::remove_dir_all(folder);
        }
        Err(why) => run.tally.failure = Some((why, folder)),
    }
    run.tally
}

struct Run {
    cluster: Cluster,
    tally: Tally,
    /// What earlier chapters left.
    shelf: BTreeMap<SpaceName, Vec<u64>>,
}

impl Run {
    async fn through(&mut self, plan: &Plan, told: &mut impl FnMut(&Tally)) -> Result<(), String> {
        let mut seed = plan.seed;
        while self.tally.cycles < plan.cycles {
            let cycles = plan.chapter.min(plan.cycles - self.tally.cycles);
            let chapter = self.chapter(seed, cycles, plan.clients).await;
            chapter.map_err(|why| format!("seed {seed}: {why}"))?;
            seed += 1;
            told(&self.tally);
        }
        self.look_back().await
    }

    async fn chapter(&mut self, seed: u64, cycles: u64, clients: usize) -> Result<(), String> {
        let mut rng = Rng::new(seed);
        let space = SpaceName::new(&format!("chapter-{}", self.shelf.len()));
        let book = Arc::new(Book::new(space.map_err(|error| error.to_string())?));
        let mut draws = rng.fork();
        let deployment = self.cluster.deployment();
        let mut crowd = Crowd::start(deployment, &book, clients, &mut rng).await?;
        let worked = self.work(cycles, &mut draws, &book, &mut crowd).await;
        // Those who could not end what they were at do not disturb the counting.
        drop(crowd);
        self.tally.acknowledged += book.diary.ended() as u64;
        if let Err(why) = worked {
            let counted = self.count_after_failure(&book, clients).await;
            return Err(counted
                .err()
                .map_or(why.clone(), |more| format!("{why}\n{more}")));
        }
        self.count(&book).await?;
        match book.diary.judgement()? {
            Judged::Exactly => self.tally.judged.0 += 1,
            Judged::Fast => self.tally.judged.1 += 1,
        }
        self.check_memories()
    }

    async fn work(
        &mut self,
        cycles: u64,
        draws: &mut Rng,
        book: &Book,
        crowd: &mut Crowd,
    ) -> Result<(), String> {
        for cycle in 0..cycles {
            let ruin = Ruin::draw(draws, REPLICAS);
            let done = self.cycle(&ruin, book, crowd).await;
            done.map_err(|why| format!("cycle {cycle}, {ruin:?}: {why}"))?;
        }
        crowd.finish().await
    }

    async fn cycle(&mut self, ruin: &Ruin, book: &Book, crowd: &mut Crowd) -> Result<(), String> {
        match ruin.when {
            When::Operations(count) => wait_for(count, book, crowd).await?,
            When::Time(time) => sleep(time).await,
        }
        sleep(ruin.moment).await;
        self.check_alive()?;
        self.cluster.kill(&ruin.order);
        self.tally.killed += ruin.order.len() as u64;
        self.tally.cycles += 1;
        sleep(ruin.down).await;
        for replica in &ruin.order {
            self.cluster.restart(*replica);
            sleep(ruin.stagger).await;
        }
        Ok(())
    }

    /// What is there, against what was acknowledged.
    async fn count(&mut self, book: &Book) -> Result<(), String> {
        let listed = list(self.cluster.deployment(), &book.space).await?;
        let numbers: Vec<u64> = listed.iter().map(number_of).collect();
        let (written, taken) = book.diary.told();
        let accounts = Accounts::of(&written, &taken, &numbers);
        self.tally.charge(&accounts, &book.space)?;
        let (counted, value) = (book.counted.load(Ordering::Relaxed), counter_in(&listed));
        if value != Some(counted) {
            return Err(format!("{counted} steps counted, the counter is {value:?}"));
        }
        self.tally.left += numbers.len() as u64;
        self.shelf.insert(book.space.clone(), numbers);
        Ok(())
    }

    /// What can be said of a chapter that some clients could not finish.
    async fn count_after_failure(&mut self, book: &Book, open: usize) -> Result<(), String> {
        let listed = list(self.cluster.deployment(), &book.space).await?;
        let numbers: Vec<u64> = listed.iter().map(number_of).collect();
        let (written, taken) = book.diary.told();
        let accounts = Accounts::with_open(&written, &taken, &numbers, open);
        self.tally.charge(&accounts, &book.space)
    }

    /// What earlier chapters left, after all that happened since.
    async fn look_back(&mut self) -> Result<(), String> {
        for (space, left) in &self.shelf {
            let listed: Vec<Tuple> = list(self.cluster.deployment(), space).await?;
            let listed: Vec<u64> = listed.iter().map(number_of).collect();
            let accounts = Accounts::of(left, &[], &listed);
            self.tally.charge(&accounts, space)?;
        }
        Ok(())
    }

    fn check_alive(&mut self) -> Result<(), String> {
        for replica in 0..REPLICAS {
            let node = self.cluster.node(replica);
            if !node.is_alive() {
                let words = node.last_words();
                return Err(format!("replica {replica} ended by itself:\n{words}"));
            }
        }
        Ok(())
    }

    /// No replica may have forgotten what its peers heard of it.
    fn check_memories(&mut self) -> Result<(), String> {
        for replica in 0..REPLICAS {
            let node = self.cluster.node(replica);
            let log = node.log();
            let mut lines = log.lines();
            if let Some(line) = lines.find(|line| line.contains(LOST_MEMORY)) {
                return Err(format!("replica {replica}: {line}"));
            }
            node.clear_log();
        }
        Ok(())
    }
}

async fn wait_for(count: u64, book: &Book, crowd: &mut Crowd) -> Result<(), String> {
    let began = Instant::now();
    let wanted = book.diary.ended() as u64 + count;
    while (book.diary.ended() as u64) < wanted {
        crowd.check()?;
        if began.elapsed() > PROGRESS {
            return Err(format!("not {count} operations within {PROGRESS:?}"));
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

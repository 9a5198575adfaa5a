//! Correct clients at work: the real client library, a mixed workload on few keys, so that they
//! meet each other, and a diary that is judged in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bts_certs::cluster::Cluster as ClusterFile;
use bts_client::{Client, Config, Puts, Space, Swapped};
use bts_core::ids::SpaceName;
use bts_core::template::{Pattern, Template};
use bts_core::tuple::{FieldType, Tuple};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::deployment::Deployment;
use super::diary::{Diary, Told};
use super::until;
use crate::check::history::Call;
use crate::sim::rng::Rng;

/// The space in which they work.
pub const SPACE: &str = "jobs";
/// Tuples with these first fields are probed for.
pub const KEYS: [&str; 3] = ["a", "b", "c"];
/// Tuples with this first field are waited for; of these there is always one for each who waits.
const HANDED: &str = "handed";
/// There is always one tuple with this first field, once it is written: whoever takes it puts the
/// next in its place in the same step, so nobody may ever find it missing.
const TOKEN: &str = "token";
/// No operation of a correct client may take longer.
const OPERATION_PATIENCE: Duration = Duration::from_secs(25);
/// All operations of a test together.
const WORK_PATIENCE: Duration = Duration::from_secs(120);

/// Clients at work.
#[derive(Debug)]
pub struct Workers {
    diary: Arc<Diary>,
    first: usize,
    rest: Duration,
    spaces: Vec<Space>,
    clients: Vec<Client>,
    work: JoinSet<()>,
    at_work: Arc<AtomicUsize>,
}

impl Workers {
    /// Connects the clients of these numbers.
    pub async fn connect(
        deployment: &Deployment,
        numbers: impl IntoIterator<Item = usize>,
    ) -> Self {
        let mut workers = Self::writing(Arc::new(Diary::new(&space_name())), 0);
        for number in numbers {
            let cluster = deployment.cluster().clone();
            workers.add(deployment, number, cluster).await;
        }
        workers
    }

    /// Lets each of them rest so long after each round, so that few operations last long.
    #[must_use]
    pub fn resting(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// Nobody yet. They will write into this diary; the first of them is called `w` and this number.
    pub fn writing(diary: Arc<Diary>, first: usize) -> Self {
        Self {
            diary,
            first,
            rest: Duration::ZERO,
            spaces: Vec::new(),
            clients: Vec::new(),
            work: JoinSet::new(),
            at_work: Arc::default(),
        }
    }

    /// Connects one more, who sees the cluster like this.
    pub async fn add(&mut self, deployment: &Deployment, number: usize, cluster: ClusterFile) {
        self.join(Config::new(cluster, deployment.client(number)).expect("a client"))
            .await;
    }

    /// Connects one more, with these settings but for the deadline.
    pub async fn join(&mut self, config: Config) {
        let name = config.identity().name.clone();
        let config = config.with_deadline(Some(OPERATION_PATIENCE));
        let client = Client::connect(config).await;
        let client = client.unwrap_or_else(|error| panic!("{name}: {error}"));
        self.spaces.push(client.space(SPACE).expect("a good name"));
        self.clients.push(client);
    }

    /// Lets all of them work this many rounds, of a few operations each.
    pub fn start(&mut self, rounds: usize) {
        for (index, space) in (self.first..).zip(&self.spaces) {
            let worker = Worker {
                who: name(index),
                space: space.clone(),
                diary: self.diary.clone(),
                rng: Rng::new(index as u64),
            };
            let (at_work, rest) = (self.at_work.clone(), self.rest);
            at_work.fetch_add(1, Ordering::Relaxed);
            self.work.spawn(async move {
                worker.work(rounds, rest).await;
                at_work.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    /// What happened so far.
    pub fn diary(&self) -> &Arc<Diary> {
        &self.diary
    }

    /// The space, as the first of them sees it.
    pub fn space(&self) -> &Space {
        &self.spaces[0]
    }

    /// Waits until so many operations have ended since this call.
    pub async fn operations(&self, count: usize) {
        let wanted = self.diary.ended() + count;
        let what = format!("{count} more operations");
        self.wait(&what, || self.diary.ended() >= wanted).await;
    }

    /// Waits until the worker of this place has ended so many operations since this call.
    pub async fn operations_of(&self, index: usize, count: usize) {
        let who = name(self.first + index);
        let wanted = self.diary.ended_by(&who) + count;
        let what = format!("{count} more operations of {who}");
        self.wait(&what, || self.diary.ended_by(&who) >= wanted)
            .await;
    }

    async fn wait(&self, what: &str, is_done: impl Fn() -> bool) {
        let done = async || {
            let all_are_done = self.at_work.load(Ordering::Relaxed) == 0;
            assert!(
                is_done() || !all_are_done,
                "the work ended before {what}: give it more rounds"
            );
            is_done().then_some(())
        };
        until(what, done).await;
    }

    /// Waits until all are done, then takes all that is left, and judges.
    pub async fn finish(mut self) {
        self.end_work().await;
        self.take_the_rest().await;
        self.close().await;
        self.diary.judge();
    }

    /// Waits until all are done, and leaves; others go on.
    pub async fn leave(mut self) {
        self.end_work().await;
        self.close().await;
    }

    async fn end_work(&mut self) {
        let all = async {
            while let Some(ended) = self.work.join_next().await {
                if let Err(failed) = ended {
                    std::panic::resume_unwind(failed.into_panic());
                }
            }
        };
        timeout(WORK_PATIENCE, all).await.expect("the work ends");
    }

    async fn take_the_rest(&self) {
        let mut last = Worker {
            who: "last".into(),
            space: self.spaces[0].clone(),
            diary: self.diary.clone(),
            rng: Rng::new(0),
        };
        for key in KEYS.into_iter().chain([HANDED, TOKEN]) {
            while last.take_one(of_key(key)).await {}
        }
    }

    async fn close(&self) {
        for client in &self.clients {
            client.close().await;
        }
    }
}

/// One client.
struct Worker {
    who: String,
    space: Space,
    diary: Arc<Diary>,
    rng: Rng,
}

impl Worker {
    async fn work(mut self, rounds: usize, rest: Duration) {
        if self.who == name(0) {
            self.out(TOKEN).await;
        }
        for _ in 0..rounds {
            let key = self.key();
            self.out(key).await;
            sleep(rest).await;
            match self.rng.below(8) {
                0 => self.read(key).await,
                1 => self.take().await,
                2 => self.swap().await,
                3 | 4 => self.read(TOKEN).await,
                5 | 6 => self.pass_token().await,
                _ => {
                    self.out(HANDED).await;
                    self.wait_for_one().await;
                }
            }
        }
    }

    fn key(&mut self) -> &'static str {
        KEYS[self.rng.index(KEYS.len())]
    }

    async fn out(&mut self, key: &str) {
        let tuple = self.new_tuple(key);
        let began = self.diary.moment();
        let done = self.space.out(tuple.clone()).await;
        self.good("out", done);
        self.diary
            .note(&self.who, Call::Out(tuple), began, Told::Written);
    }

    async fn read(&mut self, key: &str) {
        let template = of_key(key);
        let began = self.diary.moment();
        let done = self.space.rdp(template.clone()).await;
        let told = told(self.good("rdp", done));
        self.diary
            .note(&self.who, Call::Read(template), began, told);
    }

    async fn take(&mut self) {
        let template = of_key(self.key());
        self.take_one(template).await;
    }

    async fn take_one(&mut self, template: Template) -> bool {
        let began = self.diary.moment();
        let done = self.space.inp(template.clone()).await;
        let told = told(self.good("inp", done));
        let found = told != Told::None;
        self.diary
            .note(&self.who, Call::Take(template), began, told);
        found
    }

    async fn wait_for_one(&mut self) {
        let template = of_key(HANDED);
        let began = self.diary.moment();
        let done = self.space.take(template.clone()).await;
        let told = Told::Found(self.good("take", done));
        self.diary
            .note(&self.who, Call::Take(template), began, told);
    }

    async fn swap(&mut self) {
        let (from, to) = (self.key(), self.key());
        let puts = vec![self.new_tuple(to), self.new_tuple(to)];
        self.replace(of_key(from), puts).await;
    }

    async fn pass_token(&mut self) {
        let puts = vec![self.new_tuple(TOKEN)];
        self.replace(of_key(TOKEN), puts).await;
    }

    async fn replace(&mut self, template: Template, puts: Vec<Tuple>) {
        let began = self.diary.moment();
        let with = {
            let puts = puts.clone();
            move |_: Tuple| {
                let put = |all: Puts, tuple: &Tuple| all.and(tuple.clone());
                Some(puts.iter().fold(Puts::none(), put))
            }
        };
        let done = self.space.swapp(template.clone(), with).await;
        let told = match self.good("swapp", done) {
            Some(Swapped::Taken(taken)) => Told::Swapped(taken, puts),
            Some(Swapped::Declined(_)) => panic!("nobody declined"),
            None => Told::None,
        };
        self.diary
            .note(&self.who, Call::Swap(template), began, told);
    }

    fn new_tuple(&self, key: &str) -> Tuple {
        Tuple(vec![key.into(), self.diary.number().into()])
    }

    fn good<T>(&self, what: &str, done: Result<T, bts_client::Error>) -> T {
        done.unwrap_or_else(|error| panic!("{what} of {} failed: {error}", self.who))
    }
}

/// What the worker of this place is called in the diary.
fn name(index: usize) -> String {
    format!("w{index}")
}

/// The space in which they work.
pub fn space_name() -> SpaceName {
    SpaceName::new(SPACE).expect("a good name")
}

/// All tuples of this key.
pub fn of_key(key: &str) -> Template {
    Template(vec![
        Pattern::Exact(key.into()),
        Pattern::Typed(FieldType::Uint),
    ])
}

fn told(found: Option<Tuple>) -> Told {
    found.map_or(Told::None, Told::Found)
}

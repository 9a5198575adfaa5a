//! Clients that work whatever happens to the replicas, and are told nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bts_client::{Client, Config, Puts, Space, Swapped};
use bts_core::ids::SpaceName;
use bts_core::template::{Pattern, Template};
use bts_core::tuple::{Field, FieldType, Tuple};
use tokio::task::JoinSet;

use crate::check::history::Call;
use crate::process::{Deployment, Diary, Told, of_key};
use crate::sim::rng::Rng;

/// What most tuples are called.
const KEYS: [&str; 3] = ["a", "b", "c"];
/// Of these there is one for each who waits for one.
const HANDED: &str = "handed";
/// Of this there is always one.
const TOKEN: &str = "token";
/// And of this, which counts how often it was replaced.
const COUNTER: &str = "counter";
/// Operations of a client until it leaves and another takes its place. Few, as a client waits
/// longer and longer before it connects again to replicas that end links over and over.
const LIFE: (u64, u64) = (1, 40);
/// How long an operation may take, with all that happens meanwhile, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the clients of a chapter share.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) space: SpaceName,
    pub(super) diary: Diary,
    /// Acknowledged steps of the counter.
    pub(super) counted: AtomicU64,
    is_over: AtomicBool,
}

impl Book {
    pub(super) fn new(space: SpaceName) -> Self {
        Self {
            diary: Diary::new(&space),
            space,
            counted: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    fn new_tuple(&self, key: &str) -> Tuple {
        Tuple(vec![key.into(), self.diary.number().into()])
    }

    fn new_counter(&self, value: u64) -> Tuple {
        Tuple(vec![
            COUNTER.into(),
            self.diary.number().into(),
            value.into(),
        ])
    }
}

/// The clients at work.
#[derive(Debug)]
pub(super) struct Crowd {
    book: Arc<Book>,
    seats: JoinSet<Result<(), String>>,
}

impl Crowd {
    /// Begins the work with so many clients at a time. The token and the counter are written first.
    pub(super) async fn start(
        deployment: &Deployment,
        book: &Arc<Book>,
        clients: usize,
        rng: &mut Rng,
    ) -> Result<Self, String> {
        let mut first = Worker::start(deployment, book, 1, "first".into(), rng.fork())?;
        first.out(book.new_tuple(TOKEN)).await?;
        first.out(book.new_counter(0)).await?;
        first.leave();
        let mut seats = JoinSet::new();
        for number in 1..=clients {
            let seat = Seat {
                number,
                config: config(deployment, number)?,
                book: book.clone(),
                rng: rng.fork(),
            };
            seats.spawn(seat.work());
        }
        Ok(Self {
            book: book.clone(),
            seats,
        })
    }

    /// The reason why a client cannot go on, if one cannot.
    pub(super) fn check(&mut self) -> Result<(), String> {
        match self.seats.try_join_next() {
            None => Ok(()),
            Some(ended) => {
                ended.map_err(|error| error.to_string())??;
                Err("a client left too early".into())
            }
        }
    }

    /// Lets every client end what it is at, which must succeed.
    pub(super) async fn finish(&mut self) -> Result<(), String> {
        self.book.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.seats.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok(())
    }
}

/// The tuples of a space, as a client finds them that was never there before.
pub(super) async fn list(deployment: &Deployment, space: &SpaceName) -> Result<Vec<Tuple>, String> {
    let client = Client::start(config(deployment, 0)?).map_err(|error| error.to_string())?;
    let found = list_with(&client, space).await;
    tokio::spawn(async move { client.close().await });
    found.map_err(|error| format!("the listing of {space} failed: {error}"))
}

async fn list_with(client: &Client, space: &SpaceName) -> Result<Vec<Tuple>, bts_client::Error> {
    let space = client.space(space.as_str()).expect("it is a name already");
    let mut all = Vec::new();
    for arity in [2, 3] {
        all.extend(space.rd_all(Template(vec![Pattern::Any; arity])).await?);
    }
    Ok(all)
}

/// The value of the counter, if exactly one was listed.
pub(super) fn counter_in(listed: &[Tuple]) -> Option<u64> {
    let mut counters = listed.iter().filter(|tuple| tuple.fields().len() == 3);
    match (counters.next(), counters.next()) {
        (Some(tuple), None) => Some(value_of(tuple)),
        _ => None,
    }
}

/// A place that always one client has.
struct Seat {
    number: usize,
    config: Config,
    book: Arc<Book>,
    rng: Rng,
}

impl Seat {
    async fn work(mut self) -> Result<(), String> {
        for life in 0.. {
            let who = format!("w{}.{life}", self.number);
            let client = Client::start(self.config.clone());
            let client = client.map_err(|error| format!("{who}: {error}"))?;
            let mut worker = Worker::of(client, &self.book, who, self.rng.fork());
            for _ in 0..self.rng.between(LIFE.0, LIFE.1) {
                if self.book.is_over.load(Ordering::Relaxed) {
                    worker.leave();
                    return Ok(());
                }
                worker.act().await?;
            }
            worker.leave();
        }
        Ok(())
    }
}

/// One client.
struct Worker {
    who: String,
    client: Client,
    space: Space,
    book: Arc<Book>,
    rng: Rng,
}

impl Worker {
    fn start(
        deployment: &Deployment,
        book: &Arc<Book>,
        number: usize,
        who: String,
        rng: Rng,
    ) -> Result<Self, String> {
        let client = Client::start(config(deployment, number)?);
        let client = client.map_err(|error| format!("{who}: {error}"))?;
        Ok(Self::of(client, book, who, rng))
    }

    fn of(client: Client, book: &Arc<Book>, who: String, rng: Rng) -> Self {
        let space = client.space(book.space.as_str());
        Self {
            who,
            space: space.expect("it is a name already"),
            client,
            book: book.clone(),
            rng,
        }
    }

    /// Says goodbye, and waits for no answer.
    fn leave(self) {
        tokio::spawn(async move { self.client.close().await });
    }

    async fn act(&mut self) -> Result<(), String> {
        let key = KEYS[self.rng.index(KEYS.len())];
        match self.rng.below(16) {
            0..=5 => self.out(self.book.new_tuple(key)).await,
            6..=9 => self.take(key).await,
            10..=11 => self.swap(key).await,
            12 => self.read(key).await,
            13 => {
                self.replace(of_key(TOKEN), vec![self.book.new_tuple(TOKEN)])
                    .await
            }
            14 => self.count().await,
            _ => self.hand_over().await,
        }
    }

    async fn out(&mut self, tuple: Tuple) -> Result<(), String> {
        let began = self.book.diary.moment();
        self.ended("out", self.space.out(tuple.clone())).await?;
        self.note(Call::Out(tuple), began, Told::Written);
        Ok(())
    }

    async fn read(&mut self, key: &str) -> Result<(), String> {
        let (template, began) = (of_key(key), self.book.diary.moment());
        let found = self.ended("rdp", self.space.rdp(template.clone())).await?;
        self.note(Call::Read(template), began, told(found));
        Ok(())
    }

    async fn take(&mut self, key: &str) -> Result<(), String> {
        let (template, began) = (of_key(key), self.book.diary.moment());
        let found = self.ended("inp", self.space.inp(template.clone())).await?;
        self.note(Call::Take(template), began, told(found));
        Ok(())
    }

    /// Writes one and waits for one, which somebody else may have written.
    async fn hand_over(&mut self) -> Result<(), String> {
        self.out(self.book.new_tuple(HANDED)).await?;
        let (template, began) = (of_key(HANDED), self.book.diary.moment());
        let found = self.ended("in", self.space.take(template.clone())).await?;
        self.note(Call::Take(template), began, Told::Found(found));
        Ok(())
    }

    async fn swap(&mut self, key: &str) -> Result<(), String> {
        let puts = (0..self.rng.between(0, 2)).map(|_| {
            let key = KEYS[self.rng.index(KEYS.len())];
            self.book.new_tuple(key)
        });
        let puts = puts.collect();
        self.replace(of_key(key), puts).await
    }

    async fn replace(&mut self, template: Template, puts: Vec<Tuple>) -> Result<(), String> {
        let began = self.book.diary.moment();
        let with = {
            let puts = puts.clone();
            move |_: Tuple| Some(all_of(&puts))
        };
        let swapped = self.space.swapp(template.clone(), with);
        let told = match self.ended("swapp", swapped).await? {
            Some(Swapped::Taken(taken)) => Told::Swapped(taken, puts),
            Some(Swapped::Declined(tuple)) => return Err(format!("nobody declined {tuple:?}")),
            None => Told::None,
        };
        self.note(Call::Swap(template), began, told);
        Ok(())
    }

    async fn count(&mut self) -> Result<(), String> {
        let uint = || Pattern::Typed(FieldType::Uint);
        let template = Template(vec![Pattern::Exact(COUNTER.into()), uint(), uint()]);
        let began = self.book.diary.moment();
        let number = self.book.diary.number();
        let next = move |old: &Tuple| {
            let value = value_of(old) + 1;
            Tuple(vec![COUNTER.into(), number.into(), value.into()])
        };
        let with = move |old: Tuple| Some(all_of(&[next(&old)]));
        let swapped = self.space.swapp(template.clone(), with);
        let told = match self.ended("swapp", swapped).await? {
            Some(Swapped::Taken(taken)) => {
                self.book.counted.fetch_add(1, Ordering::Relaxed);
                let put = next(&taken);
                Told::Swapped(taken, vec![put])
            }
            Some(Swapped::Declined(tuple)) => return Err(format!("nobody declined {tuple:?}")),
            None => Told::None,
        };
        self.note(Call::Swap(template), began, told);
        Ok(())
    }

    async fn ended<T>(
        &self,
        what: &str,
        operation: impl Future<Output = Result<T, bts_client::Error>>,
    ) -> Result<T, String> {
        let who = &self.who;
        let done = operation.await;
        done.map_err(|error| format!("{what} of {who} failed: {error}"))
    }

    fn note(&self, call: Call, began: u64, told: Told) {
        self.book.diary.note(&self.who, call, began, told);
    }
}

fn config(deployment: &Deployment, number: usize) -> Result<Config, String> {
    let config = Config::new(deployment.cluster().clone(), deployment.client(number));
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.with_deadline(Some(PATIENCE)))
}

fn all_of(tuples: &[Tuple]) -> Puts {
    let put = |all: Puts, tuple: &Tuple| all.and(tuple.clone());
    tuples.iter().fold(Puts::none(), put)
}

fn value_of(counter: &Tuple) -> u64 {
    match counter.fields().get(2) {
        Some(Field::Uint(value)) => *value,
        _ => 0,
    }
}

fn told(found: Option<Tuple>) -> Told {
    found.map_or(Told::None, Told::Found)
}

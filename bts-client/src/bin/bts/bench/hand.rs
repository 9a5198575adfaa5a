//! One worker's hand: it calls operations one after the other, times those that count, and notes all of
//! them if somebody will judge them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bts_client::history::{Argument, Op};
use bts_client::{Config, Error, Space, Swapped, Template, Tuple};
use tokio::sync::Notify;

use super::diary::{Diary, Note, Told};
use super::histogram::Histogram;
use super::tuples::{Tag, tuple};

/// How long a worker waits for a tuple.
const TAKE_PATIENCE: Duration = Duration::from_secs(120);

/// From when to when operations are measured.
#[derive(Debug)]
pub(super) struct Clock {
    /// What ended before is not counted.
    pub(super) from: Instant,
    /// Nobody begins anything after it.
    until: Instant,
    stopped: OnceLock<Instant>,
    stopping: Notify,
}

impl Clock {
    pub(super) fn new(warm_up: Duration, measured: Duration) -> Self {
        let from = Instant::now() + warm_up;
        Self {
            from,
            until: from + measured,
            stopped: OnceLock::new(),
            stopping: Notify::new(),
        }
    }

    /// Ends the measuring at once: there is nothing more to do, or something failed.
    pub(super) fn stop(&self) {
        self.stopped.get_or_init(|| Instant::now().min(self.until));
        self.stopping.notify_waiters();
    }

    pub(super) fn is_over(&self) -> bool {
        self.stopped.get().is_some() || Instant::now() >= self.until
    }

    /// Waits for the end, and says when it was.
    pub(super) async fn over(&self) -> Instant {
        // It hears of what happens from here on, before it waits as well.
        let stopping = self.stopping.notified();
        if !self.is_over() {
            tokio::select! {
                () = tokio::time::sleep_until(self.until.into()) => {}
                () = stopping => {}
            }
        }
        self.end()
    }

    fn end(&self) -> Instant {
        self.stopped.get().copied().unwrap_or(self.until)
    }
}

/// What all hands share.
#[derive(Debug)]
pub(super) struct Common {
    /// Numbers of tuples below this one are given.
    pub(super) numbers: AtomicU64,
    pub(super) size: u32,
    /// Whether the command line says how long an operation may take.
    pub(super) is_limited: bool,
    pub(super) diary: Option<Diary>,
}

/// The hand.
#[derive(Clone, Debug)]
pub(super) struct Hand {
    pub(super) client: usize,
    /// The settings of that.
    pub(super) config: Config,
    pub(super) space: Space,
    pub(super) common: Arc<Common>,
    pub(super) clock: Arc<Clock>,
    pub(super) took: Histogram,
}

impl Hand {
    /// Counts an operation that began then and ends now.
    pub(super) fn count(&mut self, began: Instant) {
        let ended = Instant::now();
        if ended >= self.clock.from && ended <= self.clock.end() {
            self.took.add(ended - began);
        }
    }

    /// A tuple that nobody wrote before.
    pub(super) fn new_tuple(&self, tag: Tag, queue: usize) -> Tuple {
        let number = self.common.numbers.fetch_add(1, Ordering::Relaxed);
        tuple(tag, queue, number, self.common.size)
    }

    pub(super) async fn out(&self, tuple: Tuple) -> Result<(), Error> {
        let began = Instant::now();
        let written = self.space.out(&tuple).await;
        self.note(Op::Out, Argument::Tuple(tuple), began, || match &written {
            Ok(id) => Told::Written(id.clone()),
            Err(_) => Told::Unknown,
        });
        written.map(drop)
    }

    pub(super) async fn rdp(&self, template: &Template) -> Result<Option<Tuple>, Error> {
        let began = Instant::now();
        let found = self.space.rdp(template).await;
        self.note_found(Op::Rdp, template, began, &found);
        found
    }

    pub(super) async fn inp(&self, template: &Template) -> Result<Option<Tuple>, Error> {
        let began = Instant::now();
        let found = self.space.inp(template).await;
        self.note_found(Op::Inp, template, began, &found);
        found
    }

    pub(super) async fn take(&self, template: &Template) -> Result<Tuple, Error> {
        let began = Instant::now();
        let taken = self.patient().take(template).await;
        self.note(Op::In, Argument::Template(template.clone()), began, || {
            taken
                .as_ref()
                .map_or(Told::Unknown, |it| Told::Found(it.clone()))
        });
        taken
    }

    /// Who waits for others may wait long, and that is no failure.
    fn patient(&self) -> Space {
        match self.common.is_limited {
            true => self.space.clone(),
            false => self.space.with_deadline(TAKE_PATIENCE),
        }
    }

    /// Takes what is found and puts this in its place.
    pub(super) async fn swapp(&self, template: &Template, put: Tuple) -> Result<bool, Error> {
        let began = Instant::now();
        let puts = put.clone();
        let swapped = self
            .space
            .swapp(template, move |_| Some(puts.clone()))
            .await;
        self.note(
            Op::Swapp,
            Argument::Template(template.clone()),
            began,
            || match &swapped {
                Ok(Some(Swapped::Taken(taken))) => Told::Swapped(taken.clone(), put),
                Ok(Some(Swapped::Declined(found))) => Told::Found(found.clone()),
                Ok(None) => Told::Nothing,
                Err(_) => Told::Unknown,
            },
        );
        Ok(swapped?.is_some())
    }

    fn note_found(
        &self,
        op: Op,
        template: &Template,
        began: Instant,
        found: &Result<Option<Tuple>, Error>,
    ) {
        let arg = Argument::Template(template.clone());
        self.note(op, arg, began, || match found {
            Ok(Some(tuple)) => Told::Found(tuple.clone()),
            Ok(None) => Told::Nothing,
            Err(_) => Told::Unknown,
        });
    }

    fn note(&self, op: Op, arg: Argument, began: Instant, told: impl FnOnce() -> Told) {
        if let Some(diary) = &self.common.diary {
            diary.note(Note {
                client: self.client,
                op,
                arg,
                began,
                told: told(),
            });
        }
    }
}

//! The store at work, in a thread of its own if it waits for a disk: one commit is under way, and
//! what arrives meanwhile goes into the next one.

use std::sync::mpsc as jobs;
use std::thread;

use bts_core::ids::Lsn;
use tokio::sync::mpsc;

use crate::store::{Batch, Store, StoreError};

/// Hands work to a store, one piece at a time.
pub(crate) struct Writer<S> {
    worker: Worker<S>,
    is_busy: bool,
    done: mpsc::UnboundedReceiver<Done<S>>,
}

/// Where the store is.
enum Worker<S> {
    Here(S, mpsc::UnboundedSender<Done<S>>),
    Thread(jobs::Sender<Job>),
}

enum Job {
    Commit(Batch),
    FindRoom,
}

/// What became of a piece of work.
pub(crate) enum Done<S> {
    /// A batch is durable, as is the log up to this record.
    Committed(Option<Lsn>),
    /// The store failed, and is given back.
    Failed(S, StoreError),
    /// Whether there is room again.
    Room(Result<(), StoreError>),
    /// There is no more work; the store is given back.
    Ended(S),
}

impl<S: Store> Writer<S> {
    /// A store that answers at once, and does not fail.
    pub(crate) fn memory(store: S) -> std::io::Result<Self> {
        let (sender, done) = mpsc::unbounded_channel();
        Ok(Self {
            worker: Worker::Here(store, sender),
            is_busy: false,
            done,
        })
    }

    /// A store that takes its time.
    pub(crate) fn thread(store: S) -> std::io::Result<Self> {
        let (sender, done) = mpsc::unbounded_channel();
        let (worker, jobs) = jobs::channel();
        thread::Builder::new()
            .name("bts-store".into())
            .spawn(move || work(store, &jobs, &sender))?;
        Ok(Self {
            worker: Worker::Thread(worker),
            is_busy: false,
            done,
        })
    }

    /// True while work is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Begins a commit.
    pub(crate) fn commit(&mut self, batch: Batch) {
        self.begin(Job::Commit(batch));
    }

    /// Looks whether there is room.
    pub(crate) fn find_room(&mut self) {
        self.begin(Job::FindRoom);
    }

    fn begin(&mut self, job: Job) {
        assert!(!self.is_busy, "one piece of work at a time");
        self.is_busy = true;
        match &mut self.worker {
            Worker::Here(store, done) => {
                let result = match job {
                    Job::Commit(batch) => store.commit(batch).map(Done::Committed),
                    Job::FindRoom => Ok(Done::Room(store.has_room())),
                };
                // A store without a disk does not fail.
                let _ = done.send(result.unwrap_or_else(|error| Done::Room(Err(error))));
            }
            // It fails if the thread panicked; then nothing is ever done.
            Worker::Thread(jobs) => drop(jobs.send(job)),
        }
    }

    /// The work under way, if it is done.
    pub(crate) fn try_done(&mut self) -> Option<Done<S>> {
        let done = self.done.try_recv().ok()?;
        self.is_busy = false;
        Some(done)
    }

    /// Waits for the work under way. `None`: the store panicked. Cancel-safe.
    pub(crate) async fn done(&mut self) -> Option<Done<S>> {
        if !self.is_busy {
            return std::future::pending().await;
        }
        let done = self.done.recv().await;
        self.is_busy = false;
        done
    }

    /// Ends the work, and gives the store back when that is over.
    pub(crate) async fn end(self) -> Option<S> {
        let Self {
            worker, mut done, ..
        } = self;
        match worker {
            Worker::Here(store, _) => return Some(store),
            Worker::Thread(jobs) => drop(jobs),
        }
        while let Some(done) = done.recv().await {
            match done {
                Done::Ended(store) | Done::Failed(store, _) => return Some(store),
                Done::Committed(_) | Done::Room(_) => {}
            }
        }
        None
    }
}

fn work<S: Store>(mut store: S, jobs: &jobs::Receiver<Job>, done: &mpsc::UnboundedSender<Done<S>>) {
    while let Ok(job) = jobs.recv() {
        let result = match job {
            Job::Commit(batch) => store.commit(batch).map(Done::Committed),
            Job::FindRoom => Ok(Done::Room(store.has_room())),
        };
        match result {
            Ok(told) => drop(done.send(told)),
            Err(error) => return drop(done.send(Done::Failed(store, error))),
        }
        if let Err(error) = store.tend() {
            return drop(done.send(Done::Failed(store, error)));
        }
    }
    drop(done.send(Done::Ended(store)));
}

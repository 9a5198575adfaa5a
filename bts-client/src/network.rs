//! The threads on which the clients of this process speak with their replicas: few, whatever the
//! number of clients, because what one thread finds ready together costs less than what many are
//! woken for one by one.
//!
//! A thread begins with its first client and ends with its last one. Each client is a task of its
//! own there: one that panics ends alone.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, available_parallelism};

use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio::sync::oneshot;

/// The threads there are.
static THREADS: Threads = Threads(Mutex::new(Vec::new()));

/// The place of one client on a thread.
#[derive(Debug)]
pub(crate) struct Seat {
    threads: &'static Threads,
    runtime: Arc<Handle>,
}

#[derive(Debug)]
struct Threads(Mutex<Vec<Thread>>);

/// A thread with a runtime of its own, and how many clients it has.
#[derive(Debug)]
struct Thread {
    runtime: Arc<Handle>,
    clients: usize,
    /// Dropping it ends the thread.
    _ending: oneshot::Sender<()>,
}

impl Seat {
    /// A place on a new thread, or on that with the fewest clients if there are enough threads: half as
    /// many as processors, the other half being for what the program does with its tuples.
    pub(crate) fn take() -> io::Result<Self> {
        let enough = available_parallelism().map_or(1, usize::from).div_ceil(2);
        THREADS.seat(enough)
    }

    /// For what needs a runtime around it.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Lets the client run on its thread, and leaves the place when it is done.
    pub(crate) fn run(self, client: impl Future<Output = ()> + Send + 'static) {
        let runtime = Arc::clone(&self.runtime);
        runtime.spawn(async move {
            client.await;
            drop(self);
        });
    }
}

impl Threads {
    fn seat(&'static self, enough: usize) -> io::Result<Seat> {
        let mut threads = self.lock();
        if threads.len() < enough {
            threads.push(Thread::start()?);
        }
        let fewest = threads.iter_mut().min_by_key(|thread| thread.clients);
        let thread = fewest.expect("there is at least one");
        thread.clients += 1;
        Ok(Seat {
            threads: self,
            runtime: Arc::clone(&thread.runtime),
        })
    }

    fn leave(&self, runtime: &Arc<Handle>) {
        self.lock().retain_mut(|thread| {
            if Arc::ptr_eq(&thread.runtime, runtime) {
                thread.clients -= 1;
            }
            thread.clients > 0
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.threads.leave(&self.runtime);
    }
}

impl Thread {
    /// The runtime is made there, because callers may be async, where none may be dropped.
    fn start() -> io::Result<Self> {
        let (ending, ended) = oneshot::channel();
        let (begins, began) = mpsc::sync_channel(1);
        let work = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                // It fails only if nobody waits any more, and then the thread ends too.
                let _ = begins.send(Ok(runtime.handle().clone()));
                // It ends by an error, since nothing is ever sent.
                let _ = runtime.block_on(ended);
            }
            Err(error) => drop(begins.send(Err(error))),
        };
        thread::Builder::new()
            .name("bts-client".into())
            .spawn(work)?;
        let panicked = |_| io::Error::other("the thread of the clients has ended");
        Ok(Self {
            runtime: Arc::new(began.recv().map_err(panicked)??),
            clients: 0,
            _ending: ending,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn network_many_clients_share_few_threads_evenly() {
        static THREADS: Threads = Threads(Mutex::new(Vec::new()));
        let seats: Vec<Seat> = (0..7).map(|_| seat(&THREADS, 3)).collect();
        let mut clients: Vec<usize> = THREADS.lock().iter().map(|thread| thread.clients).collect();
        clients.sort_unstable();
        assert_eq!(clients, [2, 2, 3]);
        drop(seats);
        assert!(THREADS.lock().is_empty());
    }

    #[test]
    fn network_thread_ends_with_its_last_client() {
        static THREADS: Threads = Threads(Mutex::new(Vec::new()));
        let seat = seat(&THREADS, 1);
        let kept = Arc::new(());
        let alive = Arc::downgrade(&kept);
        // What a client has left behind goes with the thread.
        seat.runtime.spawn(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        let (end, ended) = oneshot::channel::<()>();
        seat.run(async {
            let _ = ended.await;
        });
        assert!(alive.upgrade().is_some());
        drop(end);
        eventually(|| alive.upgrade().is_none());
        assert!(THREADS.lock().is_empty());
    }

    #[test]
    fn network_client_that_panics_ends_alone_and_leaves_its_place() {
        static THREADS: Threads = Threads(Mutex::new(Vec::new()));
        let (one, other) = (seat(&THREADS, 1), seat(&THREADS, 1));
        one.run(async { panic!("this is meant to happen") });
        eventually(|| THREADS.lock().iter().all(|thread| thread.clients == 1));
        let (said, heard) = oneshot::channel();
        other.run(async {
            let _ = said.send("still here");
        });
        assert_eq!(heard.blocking_recv(), Ok("still here"));
        eventually(|| THREADS.lock().is_empty());
    }

    fn seat(threads: &'static Threads, enough: usize) -> Seat {
        threads.seat(enough).expect("a thread")
    }

    fn eventually(mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "it never is so");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

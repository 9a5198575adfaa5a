//! Many runs, and the explanation of one that failed.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::coverage::Coverage;
use super::run::{Report, Run};
use crate::check::lines;

/// Runs from which on every coverage mark must have been met.
const DEMANDING_RUNS: u64 = 2_000;

/// What many runs gave.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Runs.
    pub runs: u64,
    /// Runs with a violation.
    pub violations: u64,
    /// Runs that were too long for the exact judge.
    pub undecided: u64,
    /// What was met.
    pub coverage: Coverage,
    steps: u64,
    virtual_us: u64,
    operations: u64,
}

impl Batch {
    /// Counts a run.
    pub fn add(&mut self, ended: &Ended) {
        self.runs += 1;
        self.violations += u64::from(ended.failed());
        if let Ok(report) = &ended.report {
            self.undecided += u64::from(report.undecided);
            self.coverage.add(&report.coverage);
            self.steps += report.steps;
            self.virtual_us += report.virtual_us;
            self.operations += report.history.len() as u64;
        }
    }

    /// Marks that so many runs should have met and did not.
    pub fn missing(&self) -> Vec<&'static str> {
        match self.runs >= DEMANDING_RUNS {
            true => self.coverage.missing(),
            false => Vec::new(),
        }
    }

    /// Adds what others ran.
    pub fn merge(&mut self, other: &Self) {
        self.runs += other.runs;
        self.violations += other.violations;
        self.undecided += other.undecided;
        self.coverage.add(&other.coverage);
        self.steps += other.steps;
        self.virtual_us += other.virtual_us;
        self.operations += other.operations;
    }

    /// True if nothing was wrong, and so much met that it means something.
    pub fn is_good(&self) -> bool {
        self.violations == 0 && self.missing().is_empty()
    }

    /// What the runs cost, in words.
    pub fn costs(&self) -> String {
        let per_run = |total: u64| total / self.runs.max(1);
        format!(
            "per run {} events, {} operations, {} ms of virtual time; {} undecided",
            per_run(self.steps),
            per_run(self.operations),
            per_run(self.virtual_us) / 1000,
            self.undecided
        )
    }
}

/// A run that ended.
#[derive(Debug)]
pub struct Ended {
    /// Of this seed.
    pub seed: u64,
    /// What was seen, or what a machine said that panicked.
    pub report: Result<Report, String>,
}

impl Ended {
    /// Runs a seed to its end.
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            report: quietly(|| Run::new(seed).finish().0),
        }
    }

    /// True if something was wrong.
    pub fn failed(&self) -> bool {
        let report = self.report.as_ref();
        report.map_or(true, |report| !report.violations.is_empty())
    }

    /// What correct clients saw, as lines of a file.
    pub fn history(&self) -> String {
        let history = self.report.as_ref().map(|report| &report.history[..]);
        lines::write(&format!("seed {}", self.seed), history.unwrap_or_default())
    }
}

/// Runs a seed again, with a trace. With `print` every event is shown as it happens.
pub fn explain(seed: u64, print: bool) -> String {
    let mut run = Run::new(seed);
    let mut lines = vec![run.swarm.to_string()];
    run.world.trace.switch_on(print);
    let trace = run.world.trace.clone();
    match quietly(|| run.finish().0) {
        Ok(report) => lines.push(report.to_string()),
        Err(panic) => lines.push(panic),
    }
    if !print {
        lines.extend(trace.last());
    }
    lines.push(format!(
        "replay: cargo run --release -p bts-tests --bin sim -- --seeds 1 --from {seed} --trace"
    ));
    lines.join("\n")
}

thread_local! {
    /// What the last panic of this thread said, while somebody wants to know.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic of a machine is a failure of the run, not of the batch: its text. Other threads may run
/// other seeds meanwhile.
pub fn quietly<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let wanted = PANIC.with_borrow_mut(|text| {
                let is_wanted = text.is_some();
                *text = is_wanted.then(|| info.to_string());
                is_wanted
            });
            if !wanted {
                usual(info);
            }
        }));
    });
    PANIC.set(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(act));
    let text = PANIC.take();
    result.map_err(|_| text.unwrap_or_default())
}

/// Runs these seeds on so many threads, beginning them in order. Each is told as soon as it has
/// ended; with `first` none is begun after one that failed.
pub fn run(seeds: Range<u64>, jobs: usize, first: bool, tell: impl Fn(&Ended) + Sync) -> Batch {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let work = || {
        let mut batch = Batch::default();
        while !(first && failed.load(Ordering::Relaxed)) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let ended = Ended::of(seed);
            batch.add(&ended);
            if ended.failed() {
                failed.store(true, Ordering::Relaxed);
            }
            tell(&ended);
        }
        batch
    };
    let mut all = Batch::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            all.merge(&worker.join().expect("a panic of a run is caught"));
        }
    });
    all
}

#[cfg(test)]
mod tests {
    use super::super::coverage::DEMANDED;
    use super::*;

    /// What nobody meets fails a batch, however many runs it has; a small one is excused.
    #[test]
    fn batch_fails_without_each_single_mark() {
        for unmet in DEMANDED {
            let mut batch = Batch {
                runs: DEMANDING_RUNS,
                ..Batch::default()
            };
            let met = DEMANDED.iter().filter(|mark| *mark != unmet);
            met.for_each(|mark| batch.coverage.mark(mark));
            assert_eq!(batch.missing(), [*unmet]);
            assert!(!batch.is_good(), "without {unmet:?}");
            batch.runs -= 1;
            assert!(batch.is_good(), "too few to demand {unmet:?}");
        }
    }
}

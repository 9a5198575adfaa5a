//! Many runs, and the explanation of one that failed.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use super::coverage::Coverage;
use super::run::Run;
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
    /// Runs a seed. True if it failed.
    pub fn add(&mut self, seed: u64) -> bool {
        self.runs += 1;
        let failed = match quietly(|| Run::new(seed).finish().0) {
            Ok(report) => {
                self.undecided += u64::from(report.undecided);
                self.coverage.add(&report.coverage);
                self.steps += report.steps;
                self.virtual_us += report.virtual_us;
                self.operations += report.history.len() as u64;
                !report.violations.is_empty()
            }
            Err(_) => true,
        };
        self.violations += u64::from(failed);
        failed
    }

    /// Marks that so many runs should have met and did not.
    pub fn missing(&self) -> Vec<&'static str> {
        match self.runs >= DEMANDING_RUNS {
            true => self.coverage.missing(),
            false => Vec::new(),
        }
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

/// What correct clients saw in the run of a seed, as lines of a file.
pub fn history(seed: u64) -> String {
    let report = quietly(|| Run::new(seed).finish().0);
    let history = report.map_or_else(|_| Vec::new(), |report| report.history);
    lines::write(&format!("seed {seed}"), &history)
}

/// A panic of a machine is a failure of the run, not of the batch: its text.
fn quietly<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    let text = Arc::new(Mutex::new(String::new()));
    let told = Arc::clone(&text);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        *told.lock().expect("nobody panics while holding it") = info.to_string();
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(act));
    panic::set_hook(hook);
    result.map_err(|_| text.lock().expect("nobody panics while holding it").clone())
}

//! Runs seeds: `cargo run --release -p bts-tests --bin sim -- --seeds 1000`. Prints each failure
//! with the command that replays it, then what was met, then `N runs, V violations`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use bts_tests::sim::batch::{self, Ended};
use clap::Parser;

/// Simulates clusters under attack, one run per seed.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Print every event of the run; for one seed.
    #[arg(long)]
    trace: bool,
    /// Stop at the first violation.
    #[arg(long)]
    first: bool,
    /// Write what correct clients saw to this file, one operation a line.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Threads; by default one for each core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Print what was met.
    #[arg(long)]
    coverage: bool,
}

/// Writes histories in the order of their seeds, in whatever order the runs end.
struct Scribe {
    file: File,
    next: u64,
    early: BTreeMap<u64, String>,
    written: io::Result<()>,
}

impl Scribe {
    fn new(file: File, next: u64) -> Self {
        Self {
            file,
            next,
            early: BTreeMap::new(),
            written: Ok(()),
        }
    }

    fn note(&mut self, ended: &Ended) {
        self.early.insert(ended.seed, ended.history());
        while let Some(history) = self.early.remove(&self.next) {
            self.next += 1;
            if self.written.is_ok() {
                self.written = self.file.write_all(history.as_bytes());
            }
        }
    }
}

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let jobs = arguments.jobs.unwrap_or(cores);
    let file = arguments.history.as_ref().map(File::create).transpose()?;
    let scribe = file.map(|file| Mutex::new(Scribe::new(file, arguments.from)));
    let seeds = arguments.from..arguments.from + arguments.seeds;
    for seed in seeds.clone().filter(|_| arguments.trace) {
        println!("{}", batch::explain(seed, true));
    }
    let batch = batch::run(seeds, jobs, arguments.first, |ended| {
        if let Some(scribe) = &scribe {
            scribe.lock().expect("nobody panics there").note(ended);
        }
        if ended.failed() {
            println!("{}", batch::explain(ended.seed, false));
        }
    });
    if let Some(scribe) = scribe {
        scribe.into_inner().expect("nobody panics there").written?;
    }
    if arguments.coverage {
        print!("{}", batch.coverage);
    }
    println!(
        "{} in {:.1} s",
        batch.costs(),
        began.elapsed().as_secs_f64()
    );
    let missing = batch.missing();
    if !missing.is_empty() {
        println!("never met: {}", missing.join(", "));
    }
    println!("{} runs, {} violations", batch.runs, batch.violations);
    Ok(match batch.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

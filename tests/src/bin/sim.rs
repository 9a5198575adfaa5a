//! Runs seeds: `cargo run --release -p bts-tests --bin sim -- --seeds 1000`. Prints each failure
//! with the command that replays it, then what was met, then `N runs, V violations`.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use bts_tests::sim::batch;
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

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let jobs = arguments.jobs.unwrap_or(cores);
    let mut history = arguments.history.as_ref().map(File::create).transpose()?;
    let seeds = arguments.from..arguments.from + arguments.seeds;
    for seed in seeds.clone() {
        if arguments.trace {
            println!("{}", batch::explain(seed, true));
        }
        if let Some(file) = &mut history {
            file.write_all(batch::history(seed).as_bytes())?;
        }
    }
    let explain = |seed| println!("{}", batch::explain(seed, false));
    let batch = batch::run(seeds, jobs, arguments.first, explain);
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

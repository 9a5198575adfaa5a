//! Runs seeds: `cargo run --release -p bts-tests --bin sim -- --seeds 1000`. Prints each failure
//! with the command that replays it, then what was met, then `N runs, V violations`.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use bts_tests::sim::batch::{self, Batch};
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
    /// Print what was met.
    #[arg(long)]
    coverage: bool,
}

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let mut batch = Batch::default();
    let mut history = arguments.history.as_ref().map(File::create).transpose()?;
    for seed in arguments.from..arguments.from + arguments.seeds {
        if arguments.trace {
            println!("{}", batch::explain(seed, true));
        }
        if let Some(file) = &mut history {
            file.write_all(batch::history(seed).as_bytes())?;
        }
        if batch.add(seed) {
            println!("{}", batch::explain(seed, false));
            if arguments.first {
                break;
            }
        }
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
    Ok(match batch.violations {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

//! Breaks each rule of the protocol on purpose and shows what notices it:
//! `cargo run --release -p bts-tests --bin mutants`. Prints a table (docs/verification.md), then
//! `M mutants, C caught`; fails if one was not.
//!
//! Built with `--cfg bts_mutants`, as this command does by itself, it is the half that does the
//! breaking.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Breaks each rule of the protocol on purpose and shows what notices it.
#[derive(Debug, Parser)]
struct Arguments {
    /// This mutant only.
    #[arg(long)]
    only: Option<String>,
    /// Name all mutants, and do nothing.
    #[arg(long)]
    list: bool,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Seeds that are tried even if a directed schedule noticed the mutant.
    #[arg(long, default_value_t = 300)]
    least_seeds: u64,
    /// Seeds that are tried if nothing else did.
    #[arg(long, default_value_t = 20_000)]
    most_seeds: u64,
    /// States of the model that are visited.
    #[arg(long, default_value_t = 100_000)]
    states: u64,
    /// Seconds for one mutant.
    #[arg(long, default_value_t = 240)]
    seconds: u64,
    /// Mutants at once; as many as there are processors, if not given.
    #[arg(long)]
    jobs: Option<usize>,
}

#[cfg(bts_mutants)]
fn main() -> ExitCode {
    use bts_tests::mutants::child::{self, Effort};

    let arguments = Arguments::parse();
    if arguments.list {
        child::list().iter().for_each(|known| println!("{known}"));
        return ExitCode::SUCCESS;
    }
    let effort = Effort {
        from: arguments.from,
        least_seeds: arguments.least_seeds,
        most_seeds: arguments.most_seeds,
        states: arguments.states as usize,
        time: Duration::from_secs(arguments.seconds),
    };
    let name = arguments.only.unwrap_or_default();
    match child::hunt(&name, effort) {
        Some(findings) => {
            findings.lines().iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no such mutant: {name}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(bts_mutants))]
fn main() -> ExitCode {
    match drive(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// True if all were caught.
#[cfg(not(bts_mutants))]
fn drive(arguments: &Arguments) -> Result<bool, bts_tests::mutants::driver::Failure> {
    use bts_tests::mutants::driver::{Mutated, table};

    let mutated = Mutated::build()?;
    let mut known = mutated.list()?;
    if let Some(only) = &arguments.only {
        known.retain(|known| known.name == *only);
    }
    if known.is_empty() {
        return Err("no such mutant".to_owned());
    }
    if arguments.list {
        known.iter().for_each(|known| println!("{known}"));
        return Ok(true);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let effort = [
        ("--from", arguments.from),
        ("--least-seeds", arguments.least_seeds),
        ("--most-seeds", arguments.most_seeds),
        ("--states", arguments.states),
    ];
    let effort = effort.map(|(flag, value)| format!("{flag}={value}"));
    let time = Duration::from_secs(arguments.seconds);
    let nobody = mutated.hunt_nobody(&effort, time);
    if nobody.is_caught() {
        return Err(format!(
            "with no rule broken:\n{}",
            nobody.lines().join("\n")
        ));
    }
    let all = mutated.hunt_all(
        &known,
        arguments.jobs.unwrap_or(cores),
        &effort,
        time,
        |mutant, findings| {
            let state = if findings.is_caught() {
                "caught"
            } else {
                "NOT CAUGHT"
            };
            let seconds = findings.took.as_secs_f64();
            println!("{}: {state}, {seconds:.1} s", mutant.name);
            findings
                .lines()
                .iter()
                .for_each(|line| println!("    {line}"));
        },
    );
    println!("\n{}", table(&all));
    let caught = all.iter().filter(|(_, findings)| findings.is_caught());
    let caught = caught.count();
    println!("{} mutants, {caught} caught", all.len());
    Ok(caught == all.len())
}

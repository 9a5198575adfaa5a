//! Stops a replica while the others go on, and shows how it comes back:
//! `cargo run --release -p bts-tests --bin away -- --operations 100000`.

use std::process::ExitCode;
use std::time::Duration;

use bts_tests::away::{self, Plan};
use bts_tests::process::Guise;
use clap::Parser;

/// Stops a replica while the others go on: does it catch up, and what does that cost?
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Operations while it is away.
    #[arg(long, default_value_t = 100_000)]
    operations: u64,
    /// Operations under way at once.
    #[arg(long, default_value_t = 64)]
    at_once: u64,
    #[command(subcommand)]
    guise: Option<Guise>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    Guise::play_or(arguments.guise.as_ref(), async |program| {
        let plan = Plan {
            operations: arguments.operations,
            at_once: arguments.at_once.max(1),
        };
        let mut last = Duration::ZERO;
        let told = |after: Duration, seen: &str| {
            if last.is_zero() || after > last + Duration::from_secs(1) {
                last = after;
                println!("{:.2} s: {seen}", after.as_secs_f64());
            }
        };
        match away::run(program, &plan, told).await {
            Ok(back) if back.is_well() => {
                println!("{back}");
                ExitCode::SUCCESS
            }
            Ok(back) => {
                println!("{back}\nthat is not well");
                ExitCode::FAILURE
            }
            Err(why) => {
                println!("{why}");
                ExitCode::FAILURE
            }
        }
    })
}

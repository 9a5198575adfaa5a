//! Writes and takes tuples for long, and shows what replicas keep of it:
//! `cargo run --release -p bts-tests --bin flow -- --seconds 480`. One line per sample; memory and disk
//! are of the replicas 0 to 3.

use std::process::ExitCode;
use std::time::Duration;

use bts_tests::flow::{self, Plan, Sample};
use bts_tests::process::Guise;
use clap::Parser;

/// Writes and takes tuples for long: what do replicas keep of it?
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds between two samples.
    #[arg(long, default_value_t = 5)]
    interval: u64,
    /// Clients.
    #[arg(long, default_value_t = 2)]
    clients: usize,
    /// Pairs of `out` and `inp` that each client has under way.
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    #[command(subcommand)]
    guise: Option<Guise>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    Guise::play_or(arguments.guise.as_ref(), async |program| {
        let plan = Plan {
            duration: Duration::from_secs(arguments.seconds),
            interval: Duration::from_secs(arguments.interval.max(1)),
            clients: arguments.clients.max(1),
            at_once: arguments.at_once.max(1),
        };
        println!("{}", Sample::HEAD);
        let told = |sample: &Sample| println!("{sample}");
        match flow::run(program, &plan, told).await {
            Ok(all) => {
                println!("all of it:\n{all}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                println!("{why}");
                ExitCode::FAILURE
            }
        }
    })
}

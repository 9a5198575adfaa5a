//! Makes a store of very many entries and starts a replica from it:
//! `cargo run --release -p bts-tests --bin live -- --entries 1000000`. How long until it serves, and
//! how much memory does it take?

use std::process::ExitCode;

use bts_tests::live;
use bts_tests::process::Guise;
use clap::Parser;

/// Starts a replica that holds very many entries: how long does it take, and how much memory?
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Entries it holds, of 64 bytes each.
    #[arg(long, default_value_t = 50_000)]
    entries: u64,
    #[command(subcommand)]
    guise: Option<Guise>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    Guise::play_or(arguments.guise.as_ref(), async |program| {
        match live::run(program, arguments.entries).await {
            Ok(figures) => {
                println!("{figures}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                println!("{why}");
                ExitCode::FAILURE
            }
        }
    })
}

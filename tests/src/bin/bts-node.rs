//! `bts-node`: one replica in a process of its own, correct or hostile, for tests and examples.
//!
//! It ends when its standard input does, so that no process is left over when the one that started
//! it is killed.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use bts_replica::Settings;
use bts_tests::hostile::{self, Behaviour};
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Runs one replica, correct or hostile, for tests.
#[derive(Parser)]
#[command(name = "bts-node", version)]
enum Cli {
    /// What bts-replica does.
    Replica {
        /// The settings of the replica.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// The same, with a replica that misbehaves.
    Hostile {
        /// The settings of the replica.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// How it misbehaves.
        #[arg(long)]
        behaviour: Behaviour,
    },
}

fn main() -> ExitCode {
    let (config, behaviour) = match Cli::parse() {
        Cli::Replica { config } => (config, None),
        Cli::Hostile { config, behaviour } => (config, Some(behaviour)),
    };
    log_to_stderr();
    std::thread::spawn(end_with_stdin);
    let settings = match Settings::load(&config) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("bts-node: {error}");
            return ExitCode::from(2);
        }
    };
    let ended = match behaviour {
        None => bts_replica::serve(settings, bts_replica::replica),
        Some(behaviour) => hostile::serve(settings, behaviour),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bts-node: {error}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}

/// Whoever started this process holds the other end, and says nothing.
fn end_with_stdin() {
    let mut nothing = [0; 64];
    while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
    std::process::exit(3);
}

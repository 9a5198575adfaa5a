//! `bts-node`: one replica in a process of its own, correct or hostile, for tests and examples.
//!
//! It ends when its standard input does, so that no process is left over when the one that started
//! it is killed.

use std::path::PathBuf;
use std::process::ExitCode;

use bts_tests::hostile::Behaviour;
use bts_tests::process::be_replica;
use clap::Parser;

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
    match Cli::parse() {
        Cli::Replica { config } => be_replica(&config, None),
        Cli::Hostile { config, behaviour } => be_replica(&config, Some(behaviour)),
    }
}

//! `bts-replica`: runs one replica of a cluster until SIGTERM or SIGINT.
//!
//! Logs go to standard error; RUST_LOG says how much (`info` if it is not set). Exit code 2: bad
//! usage or settings; 1: the replica failed; 0: it was told to stop.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use bts_core::replica::Replica;
use bts_replica::{Settings, serve};
use clap::Parser;
use tracing_subscriber::EnvFilter;

#[cfg(bts_mutants)]
compile_error!("rules broken on purpose are for the command `mutants` of bts-tests alone");

/// Runs one replica of a BTS cluster.
///
/// The settings file names the cluster file, key and certificate; `bts-certs cluster` makes them
/// all.
#[derive(Parser)]
#[command(name = "bts-replica", version)]
struct Cli {
    /// The settings of this replica.
    #[arg(long, value_name = "FILE", required_unless_present = "check_config")]
    config: Option<PathBuf>,
    /// Read the settings and all files they name, say what is wrong, and do nothing else.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    check_config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Cli {
        config,
        check_config,
    } = Cli::parse();
    let starts = config.is_some();
    let Some(path) = config.or(check_config) else {
        return ExitCode::from(2);
    };
    let settings = match Settings::load(&path) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("bts-replica: {error}");
            return ExitCode::from(2);
        }
    };
    if !starts {
        println!("{}", describe(&settings));
        return ExitCode::SUCCESS;
    }
    log_to_stderr();
    match serve(settings, Replica::new) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bts-replica: {error}");
            ExitCode::FAILURE
        }
    }
}

fn describe(settings: &Settings) -> String {
    let size = settings.cluster.configuration().size();
    format!(
        "{} is replica {} of {} in cluster {}, of which {} may be malicious; it would listen on {}",
        settings.identity.identity(),
        settings.id,
        size.replicas(),
        settings.cluster.id(),
        size.faults(),
        settings.listen,
    )
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

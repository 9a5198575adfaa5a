//! `bts-replica`: runs one replica of a cluster until SIGTERM or SIGINT, or checks its store.
//!
//! Logs go to standard error; RUST_LOG says how much (`info` if it is not set). Exit code 2: bad
//! usage or settings; 1: the replica failed; 0: it was told to stop.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bts_replica::{Settings, serve};
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use tracing_subscriber::EnvFilter;

#[cfg(bts_mutants)]
compile_error!("rules broken on purpose are for the command `mutants` of bts-tests alone");

/// Handling messages is allocating and freeing them (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs one replica of a BTS cluster.
///
/// The settings file names the cluster file, key and certificate; `bts-certs cluster` makes them
/// all.
#[derive(Parser)]
#[command(
    name = "bts-replica",
    version,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    /// The settings of this replica.
    #[arg(long, value_name = "FILE", required_unless_present = "check_config")]
    config: Option<PathBuf>,
    /// Keep the log in this directory, whatever the settings say.
    #[arg(long, value_name = "DIR", requires = "config")]
    data_dir: Option<PathBuf>,
    /// End as well when standard input does, so that it is not left over when whoever started it is killed.
    #[arg(long, requires = "config")]
    end_with_stdin: bool,
    /// Read the settings and all files they name, say what is wrong, and do nothing else.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    check_config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Verifies a data directory that no replica uses at the moment, and counts what is in it.
    ///
    /// Nothing is changed. Exit code 0: it is intact; 1: it is not, or cannot be read; 2: bad usage
    /// or settings.
    Check {
        /// The data directory.
        dir: PathBuf,
        /// The settings of its replica: the log is replayed as well, as at a start.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Check { dir, config }) => check(&dir, config.as_deref()),
        None => start(cli),
    };
    done.unwrap_or_else(|(code, error)| {
        eprintln!("bts-replica: {error}");
        ExitCode::from(code)
    })
}

/// What to say of a failure, with the exit code.
type Failed = (u8, Box<dyn std::error::Error>);

fn settings_of(path: &Path, data_dir: Option<&Path>) -> Result<Settings, Failed> {
    Settings::load_with(path, data_dir).map_err(|error| (2, error.into()))
}

fn check(dir: &Path, config: Option<&Path>) -> Result<ExitCode, Failed> {
    let settings = config
        .map(|path| settings_of(path, Some(dir)))
        .transpose()?;
    let checked = bts_replica::check(dir, settings.as_ref()).map_err(|e| (1, e.into()))?;
    println!("{checked}");
    Ok(ExitCode::SUCCESS)
}

fn start(cli: Cli) -> Result<ExitCode, Failed> {
    let starts = cli.config.is_some();
    let Some(path) = cli.config.or(cli.check_config) else {
        return Ok(ExitCode::from(2));
    };
    let settings = settings_of(&path, cli.data_dir.as_deref())?;
    if !starts {
        println!("{}", describe(&settings));
        return Ok(ExitCode::SUCCESS);
    }
    log_to_stderr();
    if cli.end_with_stdin {
        std::thread::spawn(end_with_stdin);
    }
    serve(settings, bts_replica::replica).map_err(|error| (1, error.into()))?;
    Ok(ExitCode::SUCCESS)
}

/// Whoever started this process holds the other end, and says nothing. What was promised is stored, so that it
/// can end anywhere.
fn end_with_stdin() {
    let mut nothing = [0; 64];
    while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
    std::process::exit(1);
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

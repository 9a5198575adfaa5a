//! The main part of a program that is one replica, for itself or as a guise of one that starts itself.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bts_replica::Settings;
use clap::Subcommand;
use tracing_subscriber::EnvFilter;

use crate::hostile::{self, Behaviour};

/// What this program is instead, when it starts itself.
#[derive(Debug, Subcommand)]
pub enum Guise {
    /// One of the replicas.
    #[command(hide = true)]
    Replica {
        /// Its settings.
        #[arg(long)]
        config: PathBuf,
    },
}

impl Guise {
    /// Is what the program was told to be, until it is told to stop; or, told nothing, does this work, which is given
    /// the program's file to start it in other guises.
    pub fn play_or(guise: Option<&Self>, work: impl AsyncFnOnce(&Path) -> ExitCode) -> ExitCode {
        if let Some(Self::Replica { config }) = guise {
            return be_replica(config, None);
        }
        let program = std::env::current_exe().expect("a program that runs has a file");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(work(&program))
    }
}

/// Is the replica of these settings, correct or hostile, until it is told to stop. It ends when
/// its standard input does, so that no process is left over when the one that started it is killed.
pub fn be_replica(config: &Path, behaviour: Option<Behaviour>) -> ExitCode {
    log_to_stderr();
    std::thread::spawn(end_with_stdin);
    let settings = match Settings::load(config) {
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

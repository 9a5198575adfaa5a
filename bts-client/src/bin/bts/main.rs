//! `bts`: a tuple space from the shell. Results on stdout, everything else on stderr, and an exit
//! code that a script can use.

mod admin;
mod args;
mod bench;
mod dump;
mod exit;
mod load;
mod out;
mod output;
mod progress;
mod read;
mod status;
mod swap;
mod take;

use std::io::IsTerminal;
use std::process::ExitCode;

use bts_client::{Client, Config, Space};
use clap::Parser;
use mimalloc::MiMalloc;
use tracing_subscriber::EnvFilter;

use args::{Args, Command};
use bench::Bench;
use exit::{Exit, Failure};
use output::Output;

#[cfg(bts_mutants)]
compile_error!("rules broken on purpose are for the command `mutants` of bts-tests alone");

/// Handling messages is allocating and freeing them (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    log_to_stderr(args.logs());
    let output = Output { json: args.json() };
    let exit = run(args, &output).unwrap_or_else(|failure| {
        // Nothing can be done if stderr is closed.
        let _ = output.complain(&failure.message);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    if let Command::Bench(options) = &args.command {
        return runtime.block_on(bench(&args, options));
    }
    let config = Config::load(&args.config).map_err(Failure::of_config)?;
    let config = args.limit()(config);
    runtime.block_on(async {
        if let Command::Admin(command) = &args.command {
            return tokio::select! {
                done = admin::run(&config, command, args.admin_patience(), output) => done,
                () = interrupted() => Err(Failure::new(Exit::Interrupted, "interrupted: run it again")),
            };
        }
        let client = match args.command {
            Command::Status => Client::start(config)?,
            _ => Client::connect(config).await?,
        };
        let done = tokio::select! {
            done = execute(&args, &client, output) => done,
            () = interrupted() => Err(Failure::new(Exit::Interrupted, "interrupted")),
        };
        // What was interrupted is finished in the background, and a tuple won by it put back.
        client.close().await;
        done
    })
}

/// It has settings of its own, and all that it has made goes when it is dropped.
async fn bench(args: &Args, options: &Bench) -> Result<Exit, Failure> {
    tokio::select! {
        done = bench::run(options, args.bench_context()?) => done,
        () = interrupted() => Err(Failure::new(Exit::Interrupted, "interrupted")),
    }
}

async fn execute(args: &Args, client: &Client, output: &Output) -> Result<Exit, Failure> {
    let space = || -> Result<Space, Failure> {
        let space = client.space(&args.space);
        space.map_err(|error| Failure::new(Exit::Usage, error))
    };
    match &args.command {
        Command::Out { tuples } => out::run(&space()?, tuples).await,
        Command::Rd { template } => read::rd(&space()?, template, output).await,
        Command::Rdp { template } => read::rdp(&space()?, template, output).await,
        Command::In { template } => take::take(&space()?, template, output).await,
        Command::Inp { template } => take::inp(&space()?, template, output).await,
        Command::Swap(swap) => swap::swap(&space()?, swap, output).await,
        Command::Swapp(swap) => swap::swapp(&space()?, swap, output).await,
        Command::Load { file } => load::run(&space()?, file, output).await,
        Command::Dump { template } => dump::run(&space()?, template.as_ref(), output).await,
        Command::Status => status::run(client, args.status_patience(), output).await,
        Command::Admin(_) | Command::Bench(_) => {
            unreachable!("it needs no client, and was run without one")
        }
    }
}

/// Waits until somebody wants this process to end.
async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminated) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn log_to_stderr(usual: &str) {
    let filter = EnvFilter::try_from_env("BTS_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("off,bts_client={usual},bts_certs={usual}")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

//! Kills replicas over and over while clients work, and counts:
//! `cargo run --release -p bts-tests --bin crash -- --cycles 100`. The last line is
//! `N cycles, acknowledged A, lost L, doubled D`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use bts_tests::crash::{self, Plan, Tally};
use bts_tests::process::Guise;
use clap::Parser;

/// Kills replicas over and over while clients work: is all that was acknowledged there, once?
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// How often replicas are killed.
    #[arg(long, default_value_t = 100)]
    cycles: u64,
    /// Cycles after which all is counted and judged.
    #[arg(long, default_value_t = 8)]
    chapter: u64,
    /// Who is killed when, and what clients want; drawn by chance if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Clients at a time.
    #[arg(long, default_value_t = 3)]
    clients: usize,
    #[command(subcommand)]
    guise: Option<Guise>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    Guise::play_or(arguments.guise.as_ref(), async |program| {
        let plan = Plan {
            cycles: arguments.cycles,
            chapter: arguments.chapter.max(1),
            seed: arguments
                .seed
                .unwrap_or_else(|| rand::random_range(0..1 << 40)),
            clients: arguments.clients.max(1),
        };
        let tally = work(program, &plan).await;
        match tally.is_good() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    })
}

async fn work(program: &Path, plan: &Plan) -> Tally {
    let began = Instant::now();
    println!("from seed {}", plan.seed);
    let tally = crash::run(program, plan, |so_far| {
        let before = so_far.cycles.saturating_sub(plan.chapter);
        if before / 100 < so_far.cycles / 100 {
            println!("{:>6.0} s: {so_far}", began.elapsed().as_secs_f64());
        }
    })
    .await;
    if let Some((why, folder)) = &tally.failure {
        println!("{why}");
        println!("the replicas' files are in {}", folder.display());
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} replicas killed, {} tuples left; {} chapters judged exactly, {} by the fast judge alone",
        tally.killed, tally.left, tally.judged.0, tally.judged.1
    );
    println!(
        "{seconds:.0} s, {:.3} s a cycle",
        seconds / tally.cycles.max(1) as f64
    );
    println!("{tally}");
    tally
}

//! Checks every state of one chain of instances within bounds: `cargo run --release -p bts-tests
//! --bin model` does n = 4, f = 1, two Takes, ballots 0..2, epochs 0..1; `--broken all` shows for
//! each broken rule that the check sees it. The last lines say what was found.

use std::process::ExitCode;
use std::time::Instant;

use bts_tests::model::forget::{self, ForgetBounds, ForgetTwist};
use bts_tests::model::swap::{self, Read, SwapBounds};
use bts_tests::model::{self, Bounds, Twist, Verdict};
use clap::Parser;

/// Explores every reachable state of one chain of instances.
#[derive(Debug, Parser)]
struct Arguments {
    /// Replicas.
    #[arg(long, default_value_t = 4)]
    replicas: usize,
    /// Faulty ones.
    #[arg(long, default_value_t = 1)]
    faults: usize,
    /// Takes per epoch.
    #[arg(long, default_value_t = 2)]
    takes: u8,
    /// The highest ballot.
    #[arg(long, default_value_t = 2)]
    ballots: u8,
    /// How many epochs.
    #[arg(long, default_value_t = 2)]
    epochs: u8,
    /// Contents signed for the one id.
    #[arg(long, default_value_t = 1)]
    contents: u8,
    /// Ask transcriptions instead of bts-core.
    #[arg(long)]
    transcribed: bool,
    /// Break this rule, or `all` in turn.
    #[arg(long)]
    broken: Option<String>,
    /// Do not look at the ballot above the highest.
    #[arg(long)]
    no_look: bool,
    /// Let replicas lose their power, at any time and any number of times.
    #[arg(long)]
    restarts: bool,
    /// Leave nothing out of states.
    #[arg(long)]
    unreduced: bool,
    /// Check reads beside a swap instead, with whole replicas and a whole client.
    #[arg(long)]
    swap: bool,
    /// Check forgetting instead, with whole replicas; with `--broken all`, each broken rule of it.
    #[arg(long)]
    forgetting: bool,
    /// Give up after so many states.
    #[arg(long, default_value_t = 200_000_000)]
    states: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.swap {
        return swaps(arguments.states);
    }
    if arguments.forgetting {
        return forgetting(&arguments);
    }
    let twists = match arguments.broken.as_deref() {
        None => vec![None],
        Some("all") => Twist::all().map(Some).collect(),
        Some(name) => match Twist::named(name) {
            Some(twist) => vec![Some(twist)],
            None => {
                let names: Vec<_> = Twist::all().map(|twist| twist.to_string()).collect();
                eprintln!("model: no rule {name}; there are: all {}", names.join(" "));
                return ExitCode::from(2);
            }
        },
    };
    let mut is_as_wanted = true;
    for twist in twists {
        let bounds = Bounds {
            replicas: arguments.replicas,
            faults: arguments.faults,
            takes: arguments.takes,
            ballots: arguments.ballots,
            epochs: arguments.epochs,
            contents: arguments.contents,
            restarts: arguments.restarts || twist.is_some_and(Twist::is_of_restarts),
            transcribed: arguments.transcribed,
            look: !arguments.no_look,
            reduced: !arguments.unreduced,
            states_max: arguments.states,
            twist,
        };
        let began = Instant::now();
        let verdict = model::run(&bounds);
        print(&verdict);
        let seconds = began.elapsed().as_secs_f64();
        println!("{bounds}: {verdict} ({seconds:.1} s)");
        is_as_wanted &= match twist {
            None => verdict.violation.is_none(),
            Some(_) => verdict.violation.is_some(),
        };
    }
    match is_as_wanted {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn print(verdict: &Verdict) {
    if let Some((violation, trace)) = &verdict.violation {
        for (number, line) in (1..).zip(trace) {
            println!("{number:3}. {line}");
        }
        println!("  => {violation}");
    } else {
        println!("{:?}", verdict.met);
    }
}

/// One replica that held x has applied the swap, the others may at any time; both orders of reads, x
/// at two correct replicas or at all, and a liar that shows nothing or all.
fn swaps(states_max: usize) -> ExitCode {
    let mut is_sound = true;
    for (applied, free) in [(0b001, 0b110), (0b010, 0b101)] {
        for number in 0..8u8 {
            let bit = |place: u8| number >> place & 1;
            let bounds = SwapBounds {
                reads: [[Read::X, Read::Y], [Read::Y, Read::X]][usize::from(bit(0))],
                holders: 2 + usize::from(bit(1)),
                liar_finds: bit(2) == 1,
                applied,
                free,
                states_max,
                ..SwapBounds::default()
            };
            let began = Instant::now();
            let verdict = swap::run(&bounds);
            for line in verdict.violation.iter().flatten() {
                println!("  {line}");
            }
            is_sound &= verdict.violation.is_none();
            let seconds = began.elapsed().as_secs_f64();
            println!("{bounds}: {verdict} ({seconds:.1} s)");
        }
    }
    match is_sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Real replicas that forget: holds in all the usual bounds, or each broken rule is seen, both by itself
/// and by what comes of it.
fn forgetting(arguments: &Arguments) -> ExitCode {
    let bounds: Vec<_> = match arguments.broken {
        None => ForgetBounds::usual().collect(),
        Some(_) => {
            let strictly = |twist| [true, false].map(|strict| (twist, strict));
            let broken = ForgetTwist::all().flat_map(strictly);
            let bounds = broken.map(|(twist, strict)| ForgetBounds {
                strict,
                ..ForgetBounds::breaking(twist)
            });
            bounds.collect()
        }
    };
    let mut is_as_wanted = true;
    for bounds in bounds {
        let bounds = ForgetBounds {
            states_max: bounds.states_max.min(arguments.states),
            restarts: u8::from(arguments.restarts),
            ..bounds
        };
        let began = Instant::now();
        let verdict = forget::run(&bounds);
        if let Some((violation, trace)) = &verdict.violation {
            for (number, line) in (1..).zip(trace) {
                println!("{number:3}. {line}");
            }
            println!("  => {violation}");
        }
        let seconds = began.elapsed().as_secs_f64();
        println!("{bounds}: {verdict} ({seconds:.1} s)");
        is_as_wanted &= verdict.violation.is_some() == bounds.twist.is_some();
    }
    match is_as_wanted {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

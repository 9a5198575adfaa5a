//! Judges histories in files: `cargo run --release -p bts-tests --bin judge -- FILE`. The format is
//! in docs/histories.md. Prints what is wrong with each history, then `N histories, V violations`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use bts_tests::check::{self, lines};
use clap::Parser;

/// Says whether what clients saw is possible in a tuple space that is one thing.
#[derive(Debug, Parser)]
struct Arguments {
    /// Files of histories, one operation a line.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let (mut histories, mut violations, mut undecided) = (0, 0, 0);
    for file in Arguments::parse().files {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string());
        let read = text.and_then(|text| {
            lines::read(&text).map_err(|bad| format!("line {}: {}", bad.number, bad.why))
        });
        let named = match read {
            Ok(named) => named,
            Err(why) => {
                eprintln!("{}: {why}", file.display());
                return ExitCode::from(2);
            }
        };
        for (name, history) in named {
            let judgement = check::judge(&history);
            histories += 1;
            undecided += u64::from(judgement.undecided);
            violations += u64::from(!judgement.violations.is_empty());
            for violation in &judgement.violations {
                println!("{} {name}: {violation}", file.display());
            }
        }
    }
    if undecided > 0 {
        println!("{undecided} too long for the exact judge");
    }
    println!("{histories} histories, {violations} violations");
    match violations {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

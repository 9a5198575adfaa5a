//! `wordcount`: a master and workers count words through a Byzantine fault-tolerant tuple space.
//!
//! You will see four replicas and four workers start as processes of their own, a progress bar, and
//! in the end the most frequent words and what each worker did. Meanwhile one replica lies wherever
//! it can, and one worker is killed in the middle of a task. The result is compared with a
//! sequential count of the same text; exit code 1 if they differ.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bts_examples::lab::{Lab, faults};
use bts_examples::wordcount::options::{Options, Part};
use bts_examples::wordcount::words::{Counts, count, merge};
use bts_examples::wordcount::{JobError, corpus, master, show, worker};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.part {
        Part::Replica => serve(&options, false),
        Part::Liar => serve(&options, true),
        Part::Worker => runtime()
            .block_on(worker::run(&options))
            .map_err(|e| e.to_string()),
        Part::Master => return lead(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The part of the user's own process.
fn lead(options: &Options) -> ExitCode {
    let texts = match texts(options) {
        Ok(texts) => texts,
        Err(error) => {
            eprintln!("wordcount: {error}");
            return ExitCode::from(2);
        }
    };
    let (expected, sequential) = count_alone(&texts);
    let mut lab = None;
    let started = Instant::now();
    let result = Lab::new(options.replicas, options.workers)
        .map_err(JobError::from)
        .and_then(|made| {
            let lab = lab.insert(made);
            start(lab, options)?;
            let bar = progress_bar();
            let victim = (!options.no_faults && options.workers > 1).then_some(0);
            let result = runtime().block_on(master::run(lab, &texts, victim, &bar));
            bar.finish_and_clear();
            result
        });
    let took = started.elapsed();
    match result {
        Ok(result) if result.counts == expected => {
            match options.json {
                true => println!("{}", show::json(&result.counts)),
                false => print!("{}", show::summary(&result, took, sequential, options.top)),
            }
            eprintln!("the counts equal those of a sequential count");
            ExitCode::SUCCESS
        }
        Ok(_) => {
            eprintln!("wordcount: the counts differ from those of a sequential count");
            ExitCode::FAILURE
        }
        Err(error) => {
            for (name, log) in lab.iter().flat_map(Lab::logs) {
                let lines: Vec<_> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(15)..];
                eprintln!("--- {name}\n{}", tail.join("\n"));
            }
            eprintln!("wordcount: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts all processes: the last replica lies, and the first worker gets stuck in its second task.
fn start(lab: &mut Lab, options: &Options) -> Result<(), JobError> {
    let liars = if options.no_faults {
        0
    } else {
        faults(options.replicas).min(1) as u32
    };
    for index in 0..options.replicas {
        let is_liar = index >= options.replicas - liars;
        lab.start_replica(if is_liar { "liar" } else { "replica" })?;
    }
    for index in 0..options.workers {
        let stalls = !options.no_faults && options.workers > 1 && index == 0;
        lab.start_worker(stalls.then_some(2))?;
    }
    let honest = options.replicas - liars;
    eprintln!(
        "{honest} honest replicas, {liars} malicious, {} workers",
        options.workers
    );
    Ok(())
}

fn texts(options: &Options) -> Result<Vec<String>, corpus::CorpusError> {
    match options.paths.is_empty() {
        true => corpus::text_files_below(std::path::Path::new(".")),
        false => corpus::given(&options.paths),
    }
}

fn count_alone(texts: &[String]) -> (Counts, Duration) {
    let started = Instant::now();
    let mut counts = Counts::new();
    texts
        .iter()
        .for_each(|text| merge(&mut counts, count(text)));
    (counts, started.elapsed())
}

fn serve(options: &Options, lies: bool) -> Result<(), String> {
    let path = options.settings.clone().unwrap_or_default();
    let settings = bts_replica::Settings::load(&path).map_err(|error| error.to_string())?;
    let result = match lies {
        false => bts_replica::serve(settings, bts_replica::replica),
        true => bts_tests::hostile::serve(settings, bts_tests::hostile::Behaviour::Liar),
    };
    result.map_err(|error| error.to_string())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the operating system lets a process wait for sockets and timers")
}

fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} tasks {elapsed}")
        .expect("the template is legal");
    ProgressBar::no_length().with_style(style)
}

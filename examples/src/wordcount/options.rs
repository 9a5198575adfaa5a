//! The command line. Besides what a user gives, the program starts itself in the parts that a
//! deployment has: replicas, a lying one, workers.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Counts words with workers that share a Byzantine fault-tolerant tuple space.
///
/// Starts a throw-away cluster and several workers as processes of their own. While they count, one
/// replica lies and one worker is killed in the middle of a task. The result is checked against a
/// sequential count.
#[derive(Clone, Debug, Parser)]
#[command(name = "wordcount", version)]
pub struct Options {
    /// Files and folders to count; the text files below the current folder if there is none.
    pub paths: Vec<PathBuf>,
    /// Replicas; `f = (n-1)/3` of them may be malicious.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub replicas: u32,
    /// Workers.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// All replicas are honest and all workers live.
    #[arg(long)]
    pub no_faults: bool,
    /// Print the counts as one JSON object on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
    /// How many of the most frequent words to print.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// The part this process plays.
    #[arg(long, hide = true, value_enum, default_value_t = Part::Master)]
    pub part: Part,
    /// The settings of a replica or of a worker.
    #[arg(long, hide = true, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// A worker's name.
    #[arg(long, hide = true, value_name = "NAME", default_value = "")]
    pub name: String,
    /// A worker stops in the middle of this task of its own, to be killed there.
    #[arg(long, hide = true, value_name = "N")]
    pub stall_in_task: Option<u32>,
}

/// The parts that a process can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Starts the others and collects the result.
    Master,
    /// Serves the space.
    Replica,
    /// Serves the space, and lies.
    Liar,
    /// Counts.
    Worker,
}

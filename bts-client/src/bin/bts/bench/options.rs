//! What `bts bench` is asked to do.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bts_core::limits::{REPLICAS_MAX, TUPLE_BYTES_MAX};
use clap::{ArgAction, ValueEnum, value_parser};

use super::tuples::SIZE_MIN;
use super::workload::Workload;
use crate::exit::{Exit, Failure};

/// Operations that a client has under way when there are several clients.
const IN_FLIGHT: usize = 8;
/// Clients of one load: each replica accepts so many sessions of one key.
const CLIENTS_MAX: i64 = 256;
/// Operations that a client may have under way: a replica remembers so many blocked ones.
const IN_FLIGHT_MAX: i64 = 1024;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Bench {
    /// What to measure [default: those that are marked with *]
    #[arg(value_name = "WORKLOAD", value_enum)]
    workloads: Vec<Workload>,
    /// Measure all workloads
    #[arg(long, conflicts_with = "workloads")]
    all: bool,
    /// Clients of each load
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,32",
          value_parser = value_parser!(u16).range(1..=CLIENTS_MAX))]
    clients: Vec<u16>,
    /// Operations that each client has under way [default: 1 if it is the only client, else 8]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=IN_FLIGHT_MAX))]
    in_flight: Option<u16>,
    /// Seconds that each workload is measured, after a moment of warming up
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Encoded bytes of each tuple
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = value_parser!(u32).range(SIZE_MIN as i64..=TUPLE_BYTES_MAX as i64))]
    pub(super) size: u32,
    /// Tuples that are there all the time
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = value_parser!(u64).range(1..=100_000_000))]
    pub(super) live: u64,
    /// Replicas of the cluster
    #[arg(long, short = 'n', value_name = "N", default_value_t = 4,
          value_parser = value_parser!(u32).range(1..=REPLICAS_MAX as i64))]
    pub(super) replicas: u32,
    /// How many of them may be malicious [default: as many as that many replicas allow]
    #[arg(long, short = 'f', value_name = "F")]
    faults: Option<usize>,
    /// Whether replicas store what they promise
    #[arg(long, value_enum, default_value_t = Durability::Sync)]
    pub(super) durability: Durability,
    /// Where the replicas have their data; it is removed afterwards [default: the system's folder for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Another program than bts-replica, with its arguments, at all seats or at one
    #[arg(long, value_name = "[SEAT=]COMMAND", action = ArgAction::Append, value_parser = program)]
    pub(super) replica_program: Vec<ReplicaProgram>,
    /// Replicas that are not started
    #[arg(long, value_name = "SEAT,...", value_delimiter = ',')]
    pub(super) dead: Vec<u16>,
    /// Replicas that stand still for 45 of every 50 ms
    #[arg(long, value_name = "SEAT,...", value_delimiter = ',')]
    pub(super) slow: Vec<u16>,
    /// Workers of `queue` and `queues` that produce [default: half of them]
    #[arg(long, value_name = "N")]
    producers: Option<u16>,
    /// Measure the cluster of which these are the settings of a client, instead of an own one
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["replicas", "faults", "durability", "dir", "replica_program", "dead", "slow"])]
    pub(super) cluster: Option<PathBuf>,
    /// Write the figures as JSON (- is stdout)
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Draw how long operations took, as SVG
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    /// Write what clients called and were told, for the judge (docs/histories.md)
    #[arg(long, value_name = "FILE")]
    pub(super) history: Option<PathBuf>,
}

/// What becomes of a replica that stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// It stores what it promises before that leaves.
    Sync,
    /// It stores nothing.
    Memory,
}

/// A program that is started with `--config FILE` as the replica of a seat, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaProgram {
    pub(super) seat: Option<u16>,
    pub(super) command: Vec<String>,
}

impl fmt::Display for ReplicaProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(seat) = self.seat {
            write!(f, "{seat}=")?;
        }
        f.write_str(&self.command.join(" "))
    }
}

/// How many work at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) clients: usize,
    /// Operations of each.
    pub(super) in_flight: usize,
}

impl Load {
    /// Operations under way.
    pub(super) fn workers(self) -> usize {
        self.clients * self.in_flight
    }
}

impl Bench {
    /// The workloads, in an order that makes the most of what others leave.
    pub(super) fn workloads(&self) -> Vec<Workload> {
        let all = Workload::value_variants().iter().copied();
        let is_wanted = |one: &Workload| match self.workloads.is_empty() {
            true => self.all || one.is_usual(),
            false => self.workloads.contains(one),
        };
        all.filter(is_wanted).collect()
    }

    pub(super) fn loads(&self) -> Vec<Load> {
        let load = |clients: &u16| Load {
            clients: usize::from(*clients),
            in_flight: self
                .in_flight
                .map_or(if *clients == 1 { 1 } else { IN_FLIGHT }, usize::from),
        };
        self.clients.iter().map(load).collect()
    }

    pub(super) fn faults(&self) -> usize {
        self.faults
            .unwrap_or((self.replicas as usize).saturating_sub(1) / 3)
    }

    pub(super) fn producers(&self) -> Option<usize> {
        self.producers.map(usize::from)
    }

    /// Whether a seat is that of a usual replica, which comes up and answers.
    pub(super) fn is_usual(&self, seat: u16) -> bool {
        let mut others = self.replica_program.iter().filter_map(|one| one.seat);
        !self.dead.contains(&seat) && others.all(|other| other != seat)
    }

    pub(super) fn clients_max(&self) -> usize {
        self.clients.iter().copied().max().map_or(1, usize::from)
    }

    /// What no single argument tells.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let (n, f) = (self.replicas as usize, self.faults());
        if n < 3 * f + 1 {
            let why = format!("of {n} replicas {} may be malicious, not {f}", (n - 1) / 3);
            return Err(Failure::new(Exit::Usage, why));
        }
        let programs = self.replica_program.iter().filter_map(|one| one.seat);
        let mut seats = programs.chain(self.dead.iter().chain(&self.slow).copied());
        if let Some(seat) = seats.find(|seat| usize::from(*seat) >= n) {
            let why = format!("there is no seat {seat}: they are 0 to {}", n - 1);
            return Err(Failure::new(Exit::Usage, why));
        }
        let dead: BTreeSet<u16> = self.dead.iter().copied().collect();
        if dead.len() > f {
            let why = format!(
                "with {} dead replicas and f = {f} nothing works",
                dead.len()
            );
            return Err(Failure::new(Exit::Usage, why));
        }
        Ok(())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let is_usable = |seconds: &f64| (0.1..=86_400.0).contains(seconds);
    seconds
        .filter(is_usable)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected seconds, 0.1 to 86400".into())
}

fn program(text: &str) -> Result<ReplicaProgram, String> {
    let (seat, command) = match text.split_once('=') {
        Some((seat, command)) if seat.bytes().all(|byte| byte.is_ascii_digit()) => {
            let seat = seat.parse().map_err(|_| format!("{seat:?} is no seat"))?;
            (Some(seat), command)
        }
        _ => (None, text),
    };
    let command: Vec<String> = command.split_whitespace().map(String::from).collect();
    match command.is_empty() {
        true => Err("expected a program, as `3=bts-replica` or `/usr/bin/bts-replica`".into()),
        false => Ok(ReplicaProgram { seat, command }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_program_is_of_one_seat_or_of_all() {
        let of = |seat, command: &[&str]| ReplicaProgram {
            seat,
            command: command.iter().map(|part| (*part).into()).collect(),
        };
        assert_eq!(program("3=a b"), Ok(of(Some(3), &["a", "b"])));
        assert_eq!(program("a --b=c"), Ok(of(None, &["a", "--b=c"])));
        assert!(program("3=").is_err());
        assert!(program("70000=a").is_err());
    }

    #[test]
    fn options_seconds_are_neither_too_few_nor_no_number() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1", "nan", "inf", "1e9"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}

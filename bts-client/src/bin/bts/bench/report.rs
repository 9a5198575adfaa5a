//! Figures as a table for people and as JSON for programs.

use std::time::Duration;

use bts_client::Config;
use serde_json::{Value, json};

use super::machine::Machine;
use super::measure::Figures;
use super::options::{Bench, Durability};

/// What all figures have in common.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) machine: Machine,
    pub(super) replicas: usize,
    pub(super) faults: usize,
    /// `None` of a given cluster, whose replicas do not tell.
    pub(super) durability: Option<Durability>,
    pub(super) size: u32,
    pub(super) live: u64,
    pub(super) seconds: Duration,
}

impl Setting {
    pub(super) fn of(options: &Bench, config: &Config) -> Self {
        let size = config.cluster().configuration().size();
        Self {
            machine: Machine::this(),
            replicas: size.replicas(),
            faults: size.faults(),
            durability: options.cluster.is_none().then_some(options.durability),
            size: options.size,
            live: options.live,
            seconds: options.seconds,
        }
    }

    /// In words, for the head of the table.
    pub(super) fn as_text(&self) -> String {
        let cluster = match self.durability {
            Some(Durability::Sync) => "own cluster on this machine, durability sync",
            Some(Durability::Memory) => {
                "own cluster on this machine, durability memory: NOTHING IS STORED"
            }
            None => "given cluster",
        };
        format!(
            "{}\n{cluster}; n = {}, f = {}; tuples of {} bytes, {} live; {} s each",
            self.machine.as_text(),
            self.replicas,
            self.faults,
            self.size,
            self.live,
            self.seconds.as_secs_f64(),
        )
    }

    pub(super) fn as_json(&self, workloads: Vec<Value>) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": self.machine.as_json(),
            "cluster": {
                "own": self.durability.is_some(),
                "n": self.replicas,
                "f": self.faults,
                "durability": self.durability.map(|durability| match durability {
                    Durability::Sync => "sync",
                    Durability::Memory => "memory",
                }),
            },
            "tuple_bytes": self.size,
            "live": self.live,
            "seconds": self.seconds.as_secs_f64(),
            "workloads": workloads,
        })
    }
}

/// A column of the table: its title, in two lines, its width, and what is in it.
type Column = (
    &'static str,
    &'static str,
    usize,
    fn(&Figures) -> Option<String>,
);

const COLUMNS: &[Column] = &[
    ("", "clients", 8, |it| Some(it.load.clients.to_string())),
    ("in", "flight", 7, |it| Some(it.load.workers().to_string())),
    ("", "ops/s", 8, |it| Some(format!("{:.0}", it.per_second()))),
    ("p50", "us", 8, |it| Some(us(it.took.per_mille(500)?))),
    ("p99", "us", 8, |it| Some(us(it.took.per_mille(990)?))),
    ("p99.9", "us", 8, |it| Some(us(it.took.per_mille(999)?))),
    ("replicas", "CPU us/op", 10, |it| {
        Some(format!("{:.0}", it.us_per_op(it.replicas_cpu)?))
    }),
    ("clients", "CPU us/op", 10, |it| {
        Some(format!("{:.0}", it.us_per_op(it.clients_cpu)?))
    }),
];

/// Width of the names.
const NAMES: usize = 10;

pub(super) fn head() -> String {
    let line = |first: &str, titles: fn(&Column) -> (&'static str, usize)| {
        let cells = COLUMNS.iter().map(titles);
        let cells = cells.map(|(title, width)| format!("{title:>width$}"));
        format!("{first:NAMES$}{}", cells.collect::<String>())
    };
    let above = line("", |column| (column.0, column.2));
    let below = line("workload", |column| (column.1, column.2));
    format!("{above}\n{below}")
}

pub(super) fn row(figures: &Figures) -> String {
    let cells = COLUMNS.iter().map(|(_, _, width, of)| {
        let text = of(figures).unwrap_or_else(|| "-".into());
        format!("{text:>width$}")
    });
    format!(
        "{:NAMES$}{}",
        figures.workload.name(),
        cells.collect::<String>()
    )
}

pub(super) fn as_json(figures: &Figures) -> Value {
    let us = |per_mille| figures.took.per_mille(per_mille).map(micros);
    let replicas = figures.us_per_op(figures.replicas_cpu);
    let clients = figures.us_per_op(figures.clients_cpu);
    json!({
        "name": figures.workload.name(),
        "clients": figures.load.clients,
        "in_flight": figures.load.workers(),
        "ops": figures.took.total(),
        "seconds": figures.elapsed.as_secs_f64(),
        "ops_per_s": figures.per_second(),
        "p50_us": us(500),
        "p99_us": us(990),
        "p999_us": us(999),
        "cpu_us_per_op": replicas.zip(clients).map(|(replicas, clients)| replicas + clients),
        "replicas_cpu_us_per_op": replicas,
        "clients_cpu_us_per_op": clients,
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn us(duration: Duration) -> String {
    format!("{:.0}", micros(duration))
}

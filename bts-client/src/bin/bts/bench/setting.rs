//! In which circumstances all figures were measured.

use std::time::Duration;

use bts_core::quorum::ClusterSize;
use serde_json::{Value, json};

use super::machine::Machine;
use super::options::{Bench, Durability};

/// What all figures have in common.
#[derive(Debug)]
pub(super) struct Setting {
    machine: Machine,
    replicas: usize,
    faults: usize,
    /// `None` of a given cluster, whose replicas do not tell.
    durability: Option<Durability>,
    size: u32,
    live: u64,
    seconds: Duration,
    dead: Vec<u16>,
    slow: Vec<u16>,
    /// What was started instead of the usual program.
    programs: Vec<String>,
}

impl Setting {
    pub(super) fn of(options: &Bench, size: ClusterSize) -> Self {
        Self {
            machine: Machine::this(),
            replicas: size.replicas(),
            faults: size.faults(),
            durability: options.cluster.is_none().then_some(options.durability),
            size: options.size,
            live: options.live,
            seconds: options.seconds,
            dead: options.dead.clone(),
            slow: options.slow.clone(),
            programs: options
                .replica_program
                .iter()
                .map(ToString::to_string)
                .collect(),
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
        let mut trouble = String::new();
        for (what, seats) in [("dead", &self.dead), ("slow", &self.slow)] {
            let seats: Vec<String> = seats.iter().map(u16::to_string).collect();
            if !seats.is_empty() {
                trouble += &format!("\n{what}: {}", seats.join(", "));
            }
        }
        for program in &self.programs {
            trouble += &format!("\nstarted: {program}");
        }
        format!(
            "{}\n{cluster}; n = {}, f = {}; tuples of {} bytes, {} live; {} s each{trouble}",
            self.machine.as_text(),
            self.replicas,
            self.faults,
            self.size,
            self.live,
            self.seconds.as_secs_f64(),
        )
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "machine": self.machine.as_json(),
            "cluster": {
                "own": self.durability.is_some(),
                "n": self.replicas,
                "f": self.faults,
                "durability": self.durability.map(|durability| match durability {
                    Durability::Sync => "sync",
                    Durability::Memory => "memory",
                }),
                "dead": self.dead,
                "slow": self.slow,
                "programs": self.programs,
            },
            "tuple_bytes": self.size,
            "live": self.live,
            "seconds": self.seconds.as_secs_f64(),
        })
    }
}

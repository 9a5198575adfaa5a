//! On what the figures were measured.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

#[derive(Debug)]
pub(super) struct Machine {
    cpus: usize,
    /// What the system calls its processor and itself, where it tells.
    cpu: Option<String>,
    kernel: Option<String>,
    /// Seconds since 1970.
    now: u64,
}

impl Machine {
    pub(super) fn this() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let mut names = cpus
            .lines()
            .filter_map(|line| line.strip_prefix("model name"));
        let cpu = names
            .next()
            .map(|name| name.trim_start_matches([' ', '\t', ':']));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            cpus: available_parallelism().map_or(1, usize::from),
            cpu: cpu.map(String::from),
            kernel: kernel.map(|kernel| kernel.trim().to_owned()),
            now: now.unwrap_or_default().as_secs(),
        }
    }

    pub(super) fn as_text(&self) -> String {
        let known = [self.cpu.as_deref(), self.kernel.as_deref()];
        let known: String = known
            .into_iter()
            .flatten()
            .map(|one| format!(", {one}"))
            .collect();
        format!("{} CPUs{known} ({OS}, {ARCH})", self.cpus)
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "os": OS,
            "arch": ARCH,
            "cpus": self.cpus,
            "cpu": self.cpu,
            "kernel": self.kernel,
            "measured_at_unix": self.now,
        })
    }
}

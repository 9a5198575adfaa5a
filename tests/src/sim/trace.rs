//! Lines for people: what happened, in order. Written only on request, since a failed seed can be
//! run again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Lines that are kept. A storm has a million, and nobody reads more than the last of them.
pub const LINES_KEPT: usize = 200;

/// A trace, empty unless switched on. Clones share their lines, so that they outlive a panic.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    on: bool,
    print: bool,
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Trace {
    /// Keeps lines from now on; with `print` also shows them at once.
    pub fn switch_on(&mut self, print: bool) {
        self.on = true;
        self.print = print;
    }

    /// Adds a line, made only if somebody wants it.
    pub fn line(&mut self, now_us: u64, text: impl FnOnce() -> String) {
        if !self.on {
            return;
        }
        let line = format!(
            "{:>6}.{:06} {}",
            now_us / 1_000_000,
            now_us % 1_000_000,
            text()
        );
        if self.print {
            eprintln!("{line}");
        }
        let mut lines = self.lines.lock().expect("nobody panics while holding it");
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        let lines = self.lines.lock().expect("nobody panics while holding it");
        lines.iter().cloned().collect()
    }
}

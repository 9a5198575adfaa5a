//! One replica of the benchmark's own cluster: a process that ends with its handle.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

/// Lines of a log that are shown when a replica ends by itself.
const LOG_LINES_SHOWN: usize = 10;
/// How long a slow replica stands, and then runs.
const STANDS: Duration = Duration::from_millis(45);
const RUNS: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Node {
    child: Child,
    log: PathBuf,
}

impl Node {
    /// Starts a program with these settings. What it logs goes to a file beside them.
    pub(super) fn start(command: &[String], settings: &Path) -> io::Result<Self> {
        let log = settings.with_extension("log");
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let child = Command::new(program)
            .args(arguments)
            .arg("--config")
            .arg(settings)
            // It ends when this pipe does, if the program heeds it.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        Ok(Self { child, log })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last of what it said, if it has ended.
    pub(super) fn last_words(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("{status}\n{}", self.words()))
    }

    /// The last of what it said so far.
    pub(super) fn words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        end.join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its data goes as well, so there is nothing that it should finish. Both fail only if it has
        // ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets a process stand still most of the time, until it has ended.
pub(super) async fn pulse(pid: u32) {
    while signal(pid, Pulse::Stop) {
        sleep(STANDS).await;
        if !signal(pid, Pulse::Go) {
            break;
        }
        sleep(RUNS).await;
    }
}

#[derive(Clone, Copy, Debug)]
enum Pulse {
    Stop,
    Go,
}

/// False if there is nobody to send it to.
#[cfg(unix)]
fn signal(pid: u32, pulse: Pulse) -> bool {
    use rustix::process::{Pid, Signal, kill_process};

    let signal = match pulse {
        Pulse::Stop => Signal::STOP,
        Pulse::Go => Signal::CONT,
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

#[cfg(not(unix))]
fn signal(_pid: u32, _pulse: Pulse) -> bool {
    false
}

//! One replica as a process of its own, which ends with its handle.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;
use crate::hostile::Behaviour;

/// Lines of a log that are shown of a failed test.
const LOG_LINES_SHOWN: usize = 40;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What `bts-replica` is.
    Replica,
    /// A replica that misbehaves in this way.
    Hostile(Behaviour),
}

/// The process. Its log is in a file beside its settings.
#[derive(Debug)]
pub struct Node {
    child: Child,
    log: PathBuf,
}

impl Node {
    /// Starts the program of this command, which is `bts-node`, with the settings in this file.
    pub fn start(mut command: Command, role: Role, settings: &Path) -> Self {
        let log = settings.with_extension("log");
        let file = File::options().create(true).append(true).open(&log);
        match role {
            Role::Replica => command.arg("replica"),
            Role::Hostile(behaviour) => command.args(["hostile", "--behaviour", behaviour.name()]),
        };
        let child = command
            .arg("--config")
            .arg(settings)
            // It ends when this pipe does, so also when this process is killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file.expect("the folder is ours"))
            .spawn()
            .expect("bts-node was built with the tests");
        Self { child, log }
    }

    /// Ends it at once, as a crash or `kill -9` does.
    pub fn kill(&mut self) {
        self.strike();
        // It fails only if the process has ended already.
        let _ = self.child.wait();
    }

    /// The same, without waiting until it is gone.
    pub(crate) fn strike(&mut self) {
        // It fails only if the process has ended already.
        let _ = self.child.kill();
    }

    /// Stops it where it stands; it does not know.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`Node::pause`].
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Asks it to end, waits until it has, and returns whether it says that it ended well.
    pub fn stop(&mut self) -> bool {
        self.signal("TERM");
        let began = Instant::now();
        loop {
            match self.child.try_wait().expect("it is our child") {
                Some(status) => return status.success(),
                None => assert!(
                    began.elapsed() < PATIENCE,
                    "it does not stop: {}",
                    self.log()
                ),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// True while it runs, or stands.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Forgets what it has logged so far, so that the log of a long run does not fill the disk.
    pub fn clear_log(&self) {
        // It fails only if it never logged anything.
        let _ = File::options().write(true).truncate(true).open(&self.log);
    }

    /// The end of what it has logged.
    pub fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        let sent = status.is_ok_and(|status| status.success());
        assert!(sent, "SIG{name} cannot be sent to process {pid}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

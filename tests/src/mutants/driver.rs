//! The half that people call: builds the other one, runs it for each mutant, two or more at once,
//! and prints the table.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Findings, Known, NOBODY};

/// How often a child is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Time that a child has beyond what it was told, before it is killed.
const GRACE: Duration = Duration::from_secs(30);

/// The other half, built.
#[derive(Clone, Debug)]
pub struct Mutated {
    program: PathBuf,
}

/// Why there is no answer of the other half.
pub type Failure = String;

impl Mutated {
    /// Builds it: the same command, with the rules breakable, in a folder of its own.
    pub fn build() -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .ok_or("the package lies in no workspace")?;
        let target = root.join("target").join("mutants");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(root)
            .args(["build", "--release", "--locked", "--package", "bts-tests"])
            .args(["--bin", "mutants", "--target-dir"])
            .arg(&target)
            .env("RUSTFLAGS", "--cfg bts_mutants")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .map_err(|error| format!("cargo cannot be run: {error}"))?;
        match status.success() {
            true => Ok(Self {
                program: target.join("release").join("mutants"),
            }),
            false => Err(format!("the mutated build failed: {status}")),
        }
    }

    /// All mutants.
    pub fn list(&self) -> Result<Vec<Known>, Failure> {
        let output = Command::new(&self.program)
            .arg("--list")
            .output()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(Known::parse).collect())
    }

    /// Runs these mutants, `jobs` at once; tells each as soon as it is known.
    pub fn hunt_all(
        &self,
        known: &[Known],
        jobs: usize,
        arguments: &[String],
        time: Duration,
        mut told: impl FnMut(&Known, &Findings),
    ) -> Vec<(Known, Findings)> {
        let queue = Mutex::new(known.iter());
        let (sender, receiver) = mpsc::channel();
        let mut all = Vec::new();
        thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                let (sender, queue) = (sender.clone(), &queue);
                scope.spawn(move || {
                    while let Some(next) = next_of(queue) {
                        let findings = self.hunt(next, arguments, time);
                        if sender.send((next.clone(), findings)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for (mutant, findings) in receiver {
                told(&mutant, &findings);
                all.push((mutant, findings));
            }
        });
        let place = |name: &str| known.iter().position(|known| known.name == name);
        all.sort_by_key(|(mutant, _)| place(&mutant.name));
        all
    }

    /// What objects although no rule is broken.
    pub fn hunt_nobody(&self, arguments: &[String], time: Duration) -> Findings {
        let nobody = Known {
            name: NOBODY.to_owned(),
            rule: String::new(),
            breaks: String::new(),
        };
        let few = ["--most-seeds=200".to_owned()];
        let rest = arguments
            .iter()
            .filter(|argument| !argument.starts_with("--most-seeds"));
        let arguments: Vec<_> = rest.cloned().chain(few).collect();
        self.hunt(&nobody, &arguments, time)
    }

    fn hunt(&self, mutant: &Known, arguments: &[String], time: Duration) -> Findings {
        let began = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(["--only", &mutant.name]).args(arguments);
        command.args(["--seconds", &time.as_secs().to_string()]);
        let mut findings = Findings::default();
        match run(command, time + GRACE) {
            Ok(text) => text.lines().for_each(|line| findings.note(line)),
            // Nobody would let a simulation that hangs or dies pass.
            Err(failure) => findings.seeds = Some((0, failure)),
        }
        findings.took = began.elapsed();
        findings
    }
}

fn next_of<'a>(queue: &Mutex<std::slice::Iter<'a, Known>>) -> Option<&'a Known> {
    queue.lock().expect("nobody panics while holding it").next()
}

/// Runs a child to its end, but not beyond the bound.
fn run(mut command: Command, bound: Duration) -> Result<String, Failure> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot be run: {error}"))?;
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(status)) => return Err(format!("dies: {status}")),
            Ok(None) if began.elapsed() < bound => thread::sleep(LOOK_EVERY),
            Ok(None) => {
                end(&mut child);
                return Err(format!("hangs for {} s", bound.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn end(child: &mut Child) {
    let ended: io::Result<_> = child.kill().and_then(|()| child.wait());
    if let Err(error) = ended {
        eprintln!("a child cannot be ended: {error}");
    }
}

/// The table, in the form of docs/verification.md.
pub fn table(all: &[(Known, Findings)]) -> String {
    let mut text = String::from(
        "| mutant | rule | what it breaks | directed schedule | seeds | states |\n\
         |---|---|---|---|---|---|\n",
    );
    for (mutant, findings) in all {
        let schedule = findings.schedules.first();
        let schedule = schedule.map_or("-".to_owned(), |(name, _)| format!("`{name}`"));
        let seeds = match &findings.seeds {
            Some((count, _)) => count.to_string(),
            None => format!("not in {}", findings.tried),
        };
        let states = findings.states.as_ref();
        let states = states.map_or("-".to_owned(), |(count, _)| count.to_string());
        let Known { name, rule, breaks } = mutant;
        text += &format!("| `{name}` | {rule} | {breaks} | {schedule} | {seeds} | {states} |\n");
    }
    text
}

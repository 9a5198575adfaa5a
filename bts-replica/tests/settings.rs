//! Settings that contradict themselves, the certificate or the cluster are refused, with line and
//! reason, by the library and by the command.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use bts_certs::deployment::settings_path;
use bts_core::time::Span;
use bts_replica::Settings;
use common::{PATIENCE, Rig};

#[test]
fn settings_that_are_wrong_are_refused_with_line_and_reason() {
    let rig = Rig::new(4, 1);
    let good = text(&rig);
    let cases = [
        ("index = 0", "index = 1", 4, "that of replica 0"),
        ("index = 0", "index = 4", 4, "the replicas 0 to 3"),
        ("index = 0", "index = -1", 4, "invalid value"),
        ("index = 0", "idx = 0", 4, "unknown field `idx`"),
        (
            "replica-0.crt",
            "replica-1.crt",
            6,
            "is not the key of the certificate",
        ),
        ("replica-0.crt", "no.crt", 6, "no.crt"),
        ("replica-0.key", "no.key", 6, "no.key"),
        (
            "listen = \"127.0.0.1",
            "listen = \"localhost",
            9,
            "not an IP address",
        ),
        (
            "durability = \"memory\"",
            "durability = \"disk\"",
            14,
            "durability `disk` is not known",
        ),
        (
            "data_dir = \"replica-0.data\"\ndurability = \"memory\"",
            "durability = \"sync\"",
            13,
            "there is no `data_dir`",
        ),
        (
            "data_dir = \"replica-0.data\"\ndurability = \"memory\"",
            "",
            4,
            "or say `durability = \"memory\"`",
        ),
    ];
    for (from, to, line, reason) in cases {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from} is not in the file");
        expect_wrong(&rig, &changed, line, reason);
    }
}

#[test]
fn settings_out_of_bounds_are_refused_and_others_taken() {
    let rig = Rig::new(4, 1);
    let good = text(&rig);
    for (added, line, reason) in [
        (
            "[limits]\nsessions_per_client = 1025",
            16,
            "1 to 1024 are possible",
        ),
        ("[limits]\nwaiters_per_session = 0", 16, "0 is out of range"),
        ("[limits]\nqueue_bytes = 1000", 16, "1000 is out of range"),
        ("[limits]\nsession = 1", 16, "unknown field `session`"),
        ("[timing]\nwindow_ms = 0", 16, "1 to 60000 are possible"),
        ("[timing]\nwindow = 1", 16, "unknown field `window`"),
    ] {
        expect_wrong(&rig, &format!("{good}{added}\n"), line, reason);
    }
    let added = "[limits]\nopen_votes_per_client = 7\nsessions = 8\n[timing]\nreservation_ms = 0\n";
    let settings = load(&rig, &format!("{good}{added}")).expect("good settings");
    assert_eq!(settings.limits.open_votes_per_client, 7);
    assert_eq!(settings.connections.sessions, 8);
    assert_eq!(settings.reservation, Span::default());
}

#[test]
fn settings_in_the_documentation_are_the_defaults() {
    let rig = Rig::new(1, 0);
    let documented: String = include_str!("../src/settings.rs")
        .lines()
        .skip_while(|line| *line != "/// ```toml")
        .skip(1)
        .take_while(|line| *line != "/// ```")
        .map(|line| format!("{}\n", line.trim_start_matches("///")))
        .collect();
    let documented = load(&rig, &documented).expect("the documentation is right");
    let default = load(&rig, &text(&rig)).expect("good settings");
    assert_eq!(documented.limits, default.limits);
    assert_eq!(documented.connections, default.connections);
    assert_eq!(documented.window, default.window);
    assert_eq!(documented.reservation, default.reservation);
}

#[test]
fn settings_of_a_client_certificate_are_no_replica() {
    let rig = Rig::new(4, 1);
    let text = text(&rig).replace("replica-0.", "w1.");
    expect_wrong(&rig, &text, 6, "the certificate is that of client w1");
}

#[test]
fn settings_of_another_cluster_are_refused() {
    let (rig, other) = (Rig::new(4, 1), Rig::new(4, 1));
    let theirs = settings_path(other.path(), "cluster");
    std::fs::copy(theirs, settings_path(rig.path(), "cluster")).expect("copied");
    expect_wrong(&rig, &text(&rig), 6, "is not that of a replica");
}

#[test]
fn settings_error_in_the_cluster_file_names_that_file() {
    let rig = Rig::new(4, 1);
    let path = settings_path(rig.path(), "cluster");
    let text = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, text.replace("faults = 1", "faults = 2")).expect("written");
    let error = Settings::load(&settings_path(rig.path(), "replica-0"));
    let error = error.expect_err("too few replicas").to_string();
    assert!(
        error.contains("cluster.toml:7: 4 replicas cannot survive"),
        "{error}"
    );
}

#[test]
fn command_says_in_its_exit_code_what_is_wrong() {
    let rig = Rig::new(1, 0);
    let settings = settings_path(rig.path(), "replica-0");
    let checked = finish(&["--check-config".as_ref(), &settings]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("replica s0 of 1"), "{said}");
    let missing = rig.path().join("missing.toml");
    for (arguments, code) in [
        (vec!["--check-config".as_ref(), missing.as_path()], 2),
        (vec!["--config".as_ref(), missing.as_path()], 2),
        (vec!["--config".as_ref()], 2),
        (vec![], 2),
    ] {
        let output = finish(&arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn command_fails_when_its_address_is_taken() {
    let rig = Rig::new(1, 0);
    let _taken = std::net::UdpSocket::bind(rig.address(0)).expect("it is free");
    let output = finish(&["--config".as_ref(), &settings_path(rig.path(), "replica-0")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot listen on"), "{said}");
}

#[cfg(unix)]
#[test]
fn command_introduces_itself_and_ends_at_a_signal() {
    let rig = Rig::new(4, 1);
    for signal in ["-TERM", "-INT"] {
        let mut child = Process::start(&settings_path(rig.path(), "replica-2"));
        let line = child.next_line();
        for part in [
            "replica s2",
            "n = 4, f = 1, q = 3, F = 4",
            "listening on 127.0.0.1",
        ] {
            assert!(line.contains(part), "no {part:?}: {line}");
        }
        assert!(child.next_line().contains("durability = memory"));
        let began = Instant::now();
        let id = child.0.id().to_string();
        let kill = Command::new("kill").args([signal, &id]).status();
        assert!(kill.expect("kill is there").success());
        let ended = child.0.wait().expect("it ends");
        assert_eq!(ended.code(), Some(0));
        assert!(began.elapsed() < PATIENCE);
    }
}

fn text(rig: &Rig) -> String {
    let path = settings_path(rig.path(), "replica-0");
    std::fs::read_to_string(path).expect("a file")
}

/// A process that was killed cannot end those that it started.
#[test]
fn command_ends_with_stdin_if_it_is_told_so() {
    let rig = Rig::new(1, 0);
    let mut child = Command::new(env!("CARGO_BIN_EXE_bts-replica"))
        .arg("--end-with-stdin")
        .arg("--config")
        .arg(settings_path(rig.path(), "replica-0"))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    assert_eq!(
        child.try_wait().expect("it is our child"),
        None,
        "nothing ended yet"
    );
    drop(child.stdin.take());
    let status = child.wait().expect("it is our child");
    assert_eq!(status.code(), Some(1));
}

fn load(rig: &Rig, text: &str) -> Result<Settings, String> {
    let path: PathBuf = rig.path().join("changed.toml");
    std::fs::write(&path, text).expect("written");
    Settings::load(&path).map_err(|error| error.to_string())
}

fn expect_wrong(rig: &Rig, text: &str, line: usize, reason: &str) {
    let error = load(rig, text).expect_err(reason);
    let place = format!("changed.toml:{line}: ");
    assert!(
        error.contains(&place) && error.contains(reason),
        "expected line {line} and {reason:?}: {error}"
    );
}

fn finish(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bts-replica"));
    command.args(arguments).output().expect("it starts")
}

/// A process that does not outlive the test.
struct Process(Child, BufReader<std::process::ChildStderr>);

impl Process {
    fn start(settings: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bts-replica"))
            .arg("--config")
            .arg(settings)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = child.stderr.take().expect("it is piped");
        Self(child, BufReader::new(said))
    }

    fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).expect("a line");
        line
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

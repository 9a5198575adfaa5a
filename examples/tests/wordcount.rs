//! The examples as a user runs them: real processes, faults included.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

const WORDCOUNT: &str = env!("CARGO_BIN_EXE_wordcount");

#[test]
fn wordcount_counts_through_a_liar_and_a_killed_worker() {
    let folder = corpus();
    let output = run(Command::new(WORDCOUNT).arg("--json").arg(folder.path()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let counts: BTreeMap<String, u64> =
        serde_json::from_slice(&output.stdout).expect("standard output is one JSON object");
    assert_eq!(counts.get("lorem"), Some(&12_000));
    assert_eq!(counts.get("straße"), Some(&6_000));
    assert_eq!(
        counts.get("left"),
        Some(&1),
        "bytes that are no UTF-8 stand between words"
    );
    assert_eq!(counts.get("right"), Some(&1));
    assert_eq!(counts.values().sum::<u64>(), 18_002);
    assert!(
        text(&output.stderr).contains("1 malicious"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn wordcount_tells_who_was_killed() {
    let folder = corpus();
    let output = run(Command::new(WORDCOUNT)
        .args(["--workers", "2"])
        .arg(folder.path()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("18002 words, 4 different"), "{shown}");
    assert!(
        shown.contains("worker-1") && shown.contains("was killed, 1 unfinished"),
        "{shown}"
    );
}

#[test]
fn wordcount_without_faults_and_with_other_sizes() {
    let folder = corpus();
    let options = ["--no-faults", "--replicas", "1", "--workers", "1"];
    let output = run(Command::new(WORDCOUNT).args(options).arg(folder.path()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("0 malicious"));
    assert!(!text(&output.stdout).contains("was killed"));
}

#[test]
fn wordcount_missing_file_is_bad_input() {
    let output = run(Command::new(WORDCOUNT).arg("/nowhere/to/be/found"));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nowhere/to/be/found"));
}

#[test]
fn hello_says_what_the_readme_says() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_hello")));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let expected = "read greeting 1: hello, world\nvisitors: 1\n";
    assert!(
        text(&output.stdout).starts_with(expected),
        "{}",
        text(&output.stdout)
    );
    assert!(text(&output.stdout).ends_with("another one: None\n"));
}

#[test]
fn lock_numbers_rise() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_lock")));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert_eq!(shown.matches("holds the lock").count(), 10, "{shown}");
    assert!(shown.contains("(\"lock\", \"free\", 10)"), "{shown}");
}

fn corpus() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(Path::new(folder.path()).join(name), bytes).expect("written");
    };
    write("long.txt", "Lorem lorem; Straße\n".repeat(6_000).as_bytes());
    write("broken.bin", b"left\xff\xferight");
    folder
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! Words that do not belong into the sources: unfinished work anywhere, and the machine's clock,
//! network, order and threads in bts-core, which must do the same for the same inputs.

use crate::demand_none;
use crate::tree::{self, Source};

/// Written in two halves, so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
    concat!("FIX", "ME"),
    concat!("#[ign", "ore"),
];

/// `bts-core/clippy.toml` forbids many of these by type; this list sees what is behind a `cfg` or
/// in a macro as well.
const NOT_IN_CORE: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::time::Instant",
    "tokio",
    "HashMap",
    "HashSet",
    "Instant::now",
    "SystemTime",
    "rand::",
    ".await",
];

#[test]
fn words_unfinished_work_is_not_committed() {
    let findings: Vec<String> = tree::files("rs").iter().flat_map(unfinished).collect();
    demand_none(
        "unfinished work: finish it, or write down what is missing where users look for it",
        &findings,
    );
}

#[test]
fn words_core_is_deterministic() {
    let findings: Vec<String> = tree::files("rs")
        .iter()
        .filter(|file| file.path.starts_with("bts-core/src/"))
        .flat_map(nondeterministic)
        .collect();
    demand_none(
        "bts-core has no clock, socket, thread or random order: make it an input",
        &findings,
    );
}

#[test]
fn words_first_line_says_what_the_file_is() {
    let findings: Vec<String> = tree::files("rs").iter().filter_map(headless).collect();
    demand_none(
        "the first line of a file says what it is: `//! ...`",
        &findings,
    );
}

#[test]
fn words_finders_find() {
    for word in UNFINISHED {
        assert_eq!(
            unfinished(&Source::new("a.rs", &format!("fn f() {{\n    {word}\n"))),
            [format!("a.rs:2: {word}")]
        );
    }
    assert_eq!(
        nondeterministic(&Source::new("a.rs", "use std::net::IpAddr;")),
        ["a.rs:1: std::net"]
    );
    assert!(
        nondeterministic(&Source::new("a.rs", "// unlike a HashMap, it is ordered")).is_empty()
    );
    assert!(headless(&Source::new("a.rs", "use std::fmt;\n")).is_some());
    assert!(headless(&Source::new("a.rs", "//!\n")).is_some());
    assert!(headless(&Source::new("a.rs", "//! A file.\n")).is_none());
}

fn unfinished(file: &Source) -> Vec<String> {
    occurrences(file, UNFINISHED, |line| line)
}

/// Comments may name what the code must not use.
fn nondeterministic(file: &Source) -> Vec<String> {
    occurrences(file, NOT_IN_CORE, |line| {
        line.split("//").next().unwrap_or(line)
    })
}

fn occurrences(file: &Source, words: &[&str], visible: impl Fn(&str) -> &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        for word in words.iter().filter(|word| visible(line).contains(**word)) {
            findings.push(format!("{}:{number}: {word}", file.path));
        }
    }
    findings
}

fn headless(file: &Source) -> Option<String> {
    let first = file.text.lines().next().unwrap_or_default();
    let says_something = first
        .strip_prefix("//! ")
        .is_some_and(|text| !text.trim().is_empty());
    (!says_something).then(|| format!("{}:1: {first:?}", file.path))
}

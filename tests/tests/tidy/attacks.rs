//! Every attack of docs/attacks.md is replayed: at least one test carries its mark in its name.

use std::collections::BTreeSet;

use crate::demand_none;
use crate::exceptions::ATTACKS_WITHOUT_TEST;
use crate::tree::{self, Source};

const DOCUMENT: &str = "docs/attacks.md";

#[test]
fn attacks_have_tests_named_by_their_mark() {
    let marks = marks(&tree::read(DOCUMENT));
    assert!(marks.len() > 30, "{DOCUMENT} has a heading for each attack");
    let tests: BTreeSet<String> = tree::files("rs").iter().flat_map(tests).collect();
    let findings = gaps(&marks, &tests, ATTACKS_WITHOUT_TEST);
    demand_none(
        "each attack has a test with its mark in its name",
        &findings,
    );
}

#[test]
fn attacks_are_recognised() {
    let document = Source::new(
        "a.md",
        "**A1. One.** x\n**A12. Two.**\n**Found.** y\n see **B1.**\n",
    );
    let marks = marks(&document);
    assert_eq!(marks, ["A1", "A12"]);
    let file = Source::new(
        "a.rs",
        "#[test]\nfn x_a12_y() {}\nfn a1_helper() {}\n#[test]\n#[should_panic]\nfn b1_z() {}\n",
    );
    let tests: BTreeSet<String> = tests(&file).into_iter().collect();
    assert_eq!(gaps(&marks, &tests, &[]), ["A1: no test"]);
    assert_eq!(gaps(&marks, &tests, &[("A1", "why")]), Vec::<String>::new());
    let idle = gaps(&marks, &tests, &[("A1", "why"), ("A12", "why")]);
    assert_eq!(
        idle,
        ["A12: has a test now, take it off the list of exceptions"]
    );
}

/// The marks that open a paragraph: `**A1. ...`.
fn marks(document: &Source) -> Vec<String> {
    let mark = |line: &str| {
        let (mark, _) = line.strip_prefix("**")?.split_once('.')?;
        let digits = mark.strip_prefix(|c: char| c.is_ascii_uppercase())?;
        let is_mark = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        is_mark.then(|| mark.to_owned())
    };
    document
        .lines()
        .filter_map(|(_, line)| mark(line))
        .collect()
}

/// Names of test functions: those under an attribute of a test, whatever else is between.
fn tests(file: &Source) -> Vec<String> {
    let mut is_test = false;
    let mut names = Vec::new();
    for (_, line) in file.lines() {
        let line = line.trim();
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ")
        {
            let name = rest.split('(').next().unwrap_or_default();
            names.extend(is_test.then(|| name.to_owned()));
            is_test = false;
        }
    }
    names
}

fn gaps(marks: &[String], tests: &BTreeSet<String>, excused: &[(&str, &str)]) -> Vec<String> {
    let is_replayed = |mark: &str| {
        let mark = mark.to_lowercase();
        tests
            .iter()
            .any(|name| name.split('_').any(|part| part == mark))
    };
    let is_excused = |mark: &str| excused.iter().any(|(other, _)| *other == mark);
    let missing = marks
        .iter()
        .filter(|mark| !is_replayed(mark) && !is_excused(mark));
    let idle = excused.iter().filter(|(mark, _)| is_replayed(mark));
    missing
        .map(|mark| format!("{mark}: no test"))
        .chain(
            idle.map(|(mark, _)| {
                format!("{mark}: has a test now, take it off the list of exceptions")
            }),
        )
        .collect()
}

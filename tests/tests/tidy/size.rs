//! Sizes: a file fits into a reader's head, a function on a screen. Exceptions are listed with
//! their size, which may only shrink.

use std::collections::BTreeMap;

use crate::demand_none;
use crate::exceptions::{DISPATCH_TABLES, LONG_FILES, LONG_FUNCTIONS};
use crate::tree::{self, Source};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn size_files_are_short() {
    let sizes = tree::files("rs")
        .iter()
        .map(|file| (file.path.clone(), file.text.lines().count()))
        .collect();
    let excused = LONG_FILES
        .iter()
        .map(|(path, lines)| ((*path).to_owned(), *lines))
        .collect();
    demand_none(
        "files: split by reason to exist",
        &compare(&sizes, &excused, FILE_LINES_MAX),
    );
}

#[test]
fn size_functions_are_short() {
    let mut sizes = all_functions();
    let tables = DISPATCH_TABLES
        .iter()
        .map(|(path, name)| format!("{path}: {name}"));
    let mut findings: Vec<String> = tables
        .filter(|table| {
            sizes
                .remove(table)
                .is_none_or(|lines| lines <= FUNCTION_LINES_MAX)
        })
        .map(|table| format!("{table}: no such long function, remove it from DISPATCH_TABLES"))
        .collect();
    let excused = LONG_FUNCTIONS
        .iter()
        .map(|(path, name, lines)| (format!("{path}: {name}"), *lines))
        .collect();
    findings.extend(compare(&sizes, &excused, FUNCTION_LINES_MAX));
    demand_none("functions: give the parts names of their own", &findings);
}

#[test]
fn size_ratchet_only_turns_one_way() {
    let lines = |n: usize| BTreeMap::from([("a".to_owned(), n)]);
    assert!(
        compare(&lines(10), &BTreeMap::new(), 10).is_empty(),
        "at the limit"
    );
    assert_eq!(
        compare(&lines(11), &BTreeMap::new(), 10).len(),
        1,
        "over it"
    );
    assert!(compare(&lines(20), &lines(20), 10).is_empty(), "excused");
    assert_eq!(compare(&lines(21), &lines(20), 10).len(), 1, "grown");
    assert_eq!(
        compare(&lines(19), &lines(20), 10).len(),
        1,
        "shrunk: the number must follow"
    );
    assert_eq!(
        compare(&lines(9), &lines(20), 10).len(),
        1,
        "below the limit: no excuse needed"
    );
    assert_eq!(compare(&BTreeMap::new(), &lines(20), 10).len(), 1, "gone");
}

#[test]
fn size_functions_are_measured() {
    let found = functions(&Source::new("a.rs", FUNCTIONS));
    let expected = [
        ("one", 3),
        ("two", 7),
        ("three", 1),
        ("four", 1),
        ("five", 6),
    ];
    assert_eq!(
        found,
        expected.map(|(name, lines)| (name.to_owned(), lines))
    );
}

const FUNCTIONS: &str = "impl A {
    pub(crate) const fn one(&self) -> u8 {
        1
    }

    async fn two(
        a: u8,
    ) -> u8 {
        if a > 0 {
        }
        a
    }
}

trait B {
    fn three(&self);
}
fn four() {}

fn five<T>()
where
    T: Ord,
{
    // fn six() {
}
";

/// What is too long without excuse, and each excuse that is no longer exact.
fn compare(
    sizes: &BTreeMap<String, usize>,
    excused: &BTreeMap<String, usize>,
    max: usize,
) -> Vec<String> {
    let mut findings = Vec::new();
    for (what, lines) in sizes
        .iter()
        .filter(|(what, lines)| **lines > max && !excused.contains_key(*what))
    {
        findings.push(format!("{what}: {lines} lines, at most {max}"));
    }
    for (what, listed) in excused {
        match sizes.get(what).copied() {
            Some(lines) if lines <= max => {
                findings.push(format!("{what}: {lines} lines, no exception needed"))
            }
            Some(lines) if lines > *listed => {
                findings.push(format!("{what}: grew from {listed} to {lines} lines"))
            }
            Some(lines) if lines < *listed => {
                findings.push(format!("{what}: shrunk, list it with {lines} lines"))
            }
            Some(_) => {}
            None => findings.push(format!("{what}: listed as an exception but not there")),
        }
    }
    findings
}

/// The longest function of each name in each file.
fn all_functions() -> BTreeMap<String, usize> {
    let mut sizes = BTreeMap::new();
    for file in tree::files("rs") {
        for (name, lines) in functions(&file) {
            let longest = sizes.entry(format!("{}: {name}", file.path)).or_insert(0);
            *longest = lines.max(*longest);
        }
    }
    sizes
}

/// Names and lengths, signature included. Relies on rustfmt: a body that is not on one line ends
/// with a brace under the first letter of its signature.
fn functions(file: &Source) -> Vec<(String, usize)> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| {
            let rest = line.strip_prefix(indent).unwrap_or_default();
            rest == "}" || (!rest.starts_with(' ') && rest.ends_with([';', '}']))
        };
        let length = lines[start..]
            .iter()
            .position(ends)
            .map_or(lines.len() - start, |last| last + 1);
        found.push((name.to_owned(), length));
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(visible) = rest.strip_prefix("pub") {
        rest = visible.trim_start();
        if rest.starts_with('(') {
            rest = rest.split_once(')')?.1.trim_start();
        }
    }
    while let Some(less) = ["default ", "const ", "async ", "extern \"C\" "]
        .iter()
        .find_map(|word| rest.strip_prefix(word))
    {
        rest = less;
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .filter(|name| !name.is_empty())
}

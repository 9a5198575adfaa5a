//! The numbered rules of docs/protocol.md travel: each is named by code of bts-core and by a test,
//! and no number is used that the document does not define.
//!
//! A rule is defined where its number stands in bold (`**R-4.2**`), in a heading or in a row of a
//! table. Code and comments write `R-4.2`, names of tests `r42`. Naming a part (`R-4.2b`) names the
//! whole.

use std::collections::BTreeSet;

use crate::demand_none;
use crate::exceptions::{RULES_WITHOUT_CODE, RULES_WITHOUT_TEST};
use crate::tree::{self, Source};

const DOCUMENT: &str = "docs/protocol.md";

#[test]
fn rules_have_code_and_tests() {
    let defined = defined_in_repository();
    let (code, tests) = named_in_repository();
    let mut findings = gaps(
        "no line of bts-core/src names it",
        &defined,
        &code,
        RULES_WITHOUT_CODE,
    );
    findings.extend(gaps(
        "no test names it",
        &defined,
        &tests,
        RULES_WITHOUT_TEST,
    ));
    demand_none("each rule has code and a test", &findings);
}

#[test]
fn rules_named_are_defined() {
    let defined = defined_in_repository();
    if defined.is_empty() {
        return;
    }
    let (code, tests) = named_in_repository();
    let unknown = code
        .union(&tests)
        .filter(|rule| rule.starts_with("R-") && !defined.contains(*rule));
    let findings: Vec<String> = unknown
        .map(|rule| format!("{rule}: not defined in {DOCUMENT}"))
        .collect();
    demand_none("numbers in code mean a rule of the document", &findings);
}

#[test]
fn rules_are_recognised() {
    assert_eq!(defined(RULES), set(&["R-1.1", "R-1.2b", "R-3.1", "R-4.10"]));
    assert_eq!(
        numbers("(R-5.2b, R-5.3; AR-1.1 R-6 R-7.x)"),
        ["R-5.2b", "R-5.3"]
    );

    let file = Source::new("bts-core/src/a.rs", CODE);
    let (code, tests) = split_at_tests(&file);
    assert_eq!(named(code), set(&["R-1.1"]));
    let named_by_tests = named(tests);
    assert_eq!(named_by_tests, set(&["R-3.1", "r12b"]));

    let listed = gaps(
        "untested",
        &defined(RULES),
        &named_by_tests,
        &["R-1.1", "R-3.1"],
    );
    assert_eq!(
        listed,
        [
            "R-4.10: untested",
            "R-3.1: named now, take it off the list of exceptions"
        ]
    );
    assert!(
        gaps("untested", &set(&["R-1.2"]), &set(&["R-1.2b"]), &[]).is_empty(),
        "a part names the whole"
    );
}

const CODE: &str = "#[cfg(test)]
mod helpers;
// R-1.1
#[cfg(test)]
mod tests {
    fn a_r12b_x() {} // R-3.1
}
";

const RULES: &str = "**R-1.1** one
- **R-1.2b.** two
## 3 R-3.1 three
| R-4.10 | four |
see R-9.9, **XR-5.1**
";

/// Defined rules that are not named, and excuses that are not needed.
fn gaps(
    what: &str,
    defined: &BTreeSet<String>,
    named: &BTreeSet<String>,
    excused: &[&str],
) -> Vec<String> {
    let missing = defined
        .iter()
        .filter(|rule| !is_named(rule, named) && !excused.contains(&rule.as_str()));
    let idle = excused
        .iter()
        .filter(|rule| is_named(rule, named) || !defined.contains(**rule));
    missing
        .map(|rule| format!("{rule}: {what}"))
        .chain(idle.map(|rule| format!("{rule}: named now, take it off the list of exceptions")))
        .collect()
}

fn is_named(rule: &str, named: &BTreeSet<String>) -> bool {
    let short = rule.replace("R-", "r").replace('.', "");
    named.iter().any(|name| {
        let part = name
            .strip_prefix(rule)
            .or_else(|| name.strip_prefix(short.as_str()));
        part.is_some_and(|part| part.chars().all(|c| c.is_ascii_lowercase()))
    })
}

fn defined_in_repository() -> BTreeSet<String> {
    if tree::root().join(DOCUMENT).exists() {
        defined(&tree::read(DOCUMENT).text)
    } else {
        BTreeSet::new()
    }
}

/// What code and what tests name.
fn named_in_repository() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut code, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for file in tree::files("rs") {
        // Whoever breaks a rule does not follow it.
        if file.path == "bts-core/src/mutant.rs" {
            continue;
        }
        if file.path.starts_with("bts-core/src/") {
            let (before, after) = split_at_tests(&file);
            code.extend(named(before));
            tests.extend(named(after));
        } else if file.path.starts_with("bts-core/tests/") || is_of_test_package(&file.path) {
            tests.extend(named(&file.text));
        }
    }
    (code, tests)
}

/// Tests in files of their own, of any package. The checks here speak of rules without testing any.
fn is_of_test_package(path: &str) -> bool {
    let is_test = path.starts_with("tests/") || path.contains("/tests/");
    is_test && !path.starts_with("tests/tests/tidy/")
}

/// Unit tests stand at the bottom of a file, or in a file of their own.
fn split_at_tests(file: &Source) -> (&str, &str) {
    let is_all_tests = file.path.ends_with("tests.rs") || file.path.contains("/tests/");
    let bottom = if is_all_tests {
        0
    } else {
        module_of_tests(&file.text)
    };
    file.text.split_at(bottom)
}

/// Where a module of tests with a body begins; the end of the text if there is none.
fn module_of_tests(text: &str) -> usize {
    let mut candidates = text.match_indices("#[cfg(test)]\nmod ");
    let has_body = |at: usize| {
        text[at..]
            .lines()
            .nth(1)
            .is_some_and(|line| line.ends_with('{'))
    };
    candidates
        .find(|(at, _)| has_body(*at))
        .map_or(text.len(), |(at, _)| at)
}

fn defined(document: &str) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for line in document.lines() {
        if line.starts_with('#') || line.starts_with('|') {
            rules.extend(numbers(line).into_iter().map(str::to_owned));
        }
        for bold in line.split("**").skip(1).step_by(2) {
            let starting = numbers(bold)
                .into_iter()
                .filter(|rule| bold.starts_with(rule));
            rules.extend(starting.map(str::to_owned));
        }
    }
    rules
}

/// Numbers as `R-4.2b`, and parts of names as `r42b`.
fn named(text: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = numbers(text).into_iter().map(str::to_owned).collect();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    names.extend(
        words
            .filter(|word| is_short_number(word))
            .map(str::to_owned),
    );
    names
}

fn is_short_number(word: &str) -> bool {
    let digits = word
        .strip_prefix('r')
        .unwrap_or_default()
        .trim_end_matches(|c: char| c.is_ascii_lowercase());
    digits.len() >= 2 && digits.chars().all(|c| c.is_ascii_digit())
}

/// All `R-<section>.<number><part>` in the text.
fn numbers(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("R-") {
        let is_word_start = !text[..start].ends_with(|c: char| c.is_alphanumeric());
        let length = number_length(&text[start..]);
        if is_word_start && length > 0 {
            found.push(&text[start..start + length]);
        }
    }
    found
}

/// The length of the rule number that the text starts with, 0 if it starts with none.
fn number_length(text: &str) -> usize {
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let section = digits(2);
    let point = 2 + section;
    if section == 0 || !text[point..].starts_with('.') {
        return 0;
    }
    let number = digits(point + 1);
    let end = point + 1 + number;
    if number == 0 {
        0
    } else {
        end + text[end..]
            .bytes()
            .take_while(u8::is_ascii_lowercase)
            .take(1)
            .count()
    }
}

fn set(rules: &[&str]) -> BTreeSet<String> {
    rules.iter().map(|rule| (*rule).to_owned()).collect()
}

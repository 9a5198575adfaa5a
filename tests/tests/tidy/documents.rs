//! What the documents say about the repository is true: links lead somewhere, the code map names
//! what exists, every package is introduced, and the commands are those that CI runs.

use std::collections::BTreeSet;
use std::path::Path;

use crate::demand_none;
use crate::tree::{self, Source};

#[test]
fn documents_links_resolve() {
    let findings: Vec<String> = tree::files("md").iter().flat_map(broken_links).collect();
    demand_none(
        "links to files of the repository and to headings lead somewhere",
        &findings,
    );
}

#[test]
fn documents_code_map_is_true() {
    let map = tree::read("ARCHITECTURE.md");
    let named = paths_in_tables(&map);
    assert!(!named.is_empty(), "ARCHITECTURE.md has a table of the code");
    let missing = named
        .into_iter()
        .filter(|(_, path)| !tree::root().join(path).exists());
    let findings: Vec<String> = missing
        .map(|(line, path)| format!("ARCHITECTURE.md:{line}: {path}"))
        .collect();
    demand_none(
        "the tables of ARCHITECTURE.md name what exists, by its whole path",
        &findings,
    );
}

#[test]
fn documents_name_code_and_tests_that_exist() {
    let documents = tree::files("md");
    let findings: Vec<String> = documents
        .iter()
        .flat_map(|document| missing_code(document, read_if_there))
        .collect();
    demand_none(
        "files of Rust named in documents exist, and have the tests named after `::`",
        &findings,
    );
}

#[test]
fn documents_members_are_introduced() {
    let manifest = tree::read("Cargo.toml");
    demand_none(
        "every member has a comment that says what it is",
        &unexplained_members(&manifest.text),
    );
}

#[test]
fn documents_test_command_is_the_one_of_ci() {
    for path in ["README.md", "CONTRIBUTING.md", ".ci/run"] {
        assert!(
            tree::read(path).text.contains("cargo test --workspace"),
            "{path} does not name the test command"
        );
    }
}

#[test]
fn documents_finders_find() {
    let broken = broken_links(&Source::new("a.md", LINKS));
    let expected = [
        "a.md:3: gone.md",
        "a.md:4: #gone",
        "a.md:9: #not-a-heading",
        "a.md:9: README.md#no-such-heading",
    ];
    assert_eq!(broken, expected);

    let table = Source::new(
        "a.md",
        "| `bts-core/src/x.rs` `f` | `a::b` |\n`not/in/table.rs`\n| `docs/` |\n",
    );
    assert_eq!(
        paths_in_tables(&table),
        [(1, "bts-core/src/x.rs".to_owned()), (3, "docs/".to_owned())]
    );

    let named = Source::new(
        "a.md",
        "`b.rs` `b.rs::c`\n`d.rs` `b.rs::gone` `b/c.rs::C::e` `f c.rs`",
    );
    let there = |path: &str| (path == "b.rs").then(|| Source::new(path, "fn c() {}"));
    let missing = ["a.md:2: d.rs", "a.md:2: b.rs::gone", "a.md:2: b/c.rs::C::e"];
    assert_eq!(missing_code(&named, there), missing);

    let members = "members = [\n    \"a\", # what a is\n    \"b\",\n]\n";
    assert_eq!(unexplained_members(members), ["Cargo.toml: member \"b\""]);
}

const LINKS: &str = "# A b, c
[x](Cargo.toml) [y](#a-b-c) [z](https://a.example)
[u](gone.md)
[v](#gone) `[w](code.md)`
```
[t](block.md)
# not a heading
```
[s](#not-a-heading) [r](README.md#no-such-heading)
";

fn broken_links(file: &Source) -> Vec<String> {
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    for (number, line) in prose(file) {
        for target in link_targets(&line) {
            if !is_elsewhere(target) && !resolves(file, folder, target) {
                findings.push(format!("{}:{number}: {target}", file.path));
            }
        }
    }
    findings
}

fn is_elsewhere(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

fn resolves(file: &Source, folder: &Path, target: &str) -> bool {
    let (path, heading) = target
        .split_once('#')
        .map_or((target, None), |(path, heading)| (path, Some(heading)));
    let Some(heading) = heading else {
        return tree::root().join(folder).join(path).exists();
    };
    if path.is_empty() {
        return headings(file).contains(heading);
    }
    let other = folder.join(path);
    tree::root().join(&other).is_file()
        && headings(&tree::read(&other.to_string_lossy())).contains(heading)
}

/// `target` of every `[text](target)`, title left out.
fn link_targets(line: &str) -> Vec<&str> {
    let rests = line
        .match_indices("](")
        .map(|(at, mark)| &line[at + mark.len()..]);
    rests
        .filter_map(|rest| rest.split([')', ' ']).next())
        .collect()
}

/// Headings as the hosts of repositories turn them into anchors.
fn headings(file: &Source) -> BTreeSet<String> {
    prose(file)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| anchor(&line))
        .collect()
}

fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The lines outside of code blocks, without code in backquotes unless they are headings.
fn prose(file: &Source) -> impl Iterator<Item = (usize, String)> {
    let mut is_code = false;
    file.lines().filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            return None;
        }
        let is_heading = line.starts_with('#');
        let text = if is_heading {
            line.to_owned()
        } else {
            line.split('`').step_by(2).collect::<Vec<_>>().join("`")
        };
        (!is_code).then_some((number, text))
    })
}

/// What stands in backquotes in rows of tables and looks like a path.
fn paths_in_tables(file: &Source) -> Vec<(usize, String)> {
    let rows = file.lines().filter(|(_, line)| line.starts_with('|'));
    let quoted = rows.flat_map(|(number, line)| {
        line.split('`')
            .skip(1)
            .step_by(2)
            .map(move |text| (number, text))
    });
    quoted
        .filter(|(_, text)| is_path(text))
        .map(|(number, text)| (number, text.to_owned()))
        .collect()
}

/// What stands in backquotes as `path.rs` or `path.rs::function` and is not there.
fn missing_code(document: &Source, read: impl Fn(&str) -> Option<Source>) -> Vec<String> {
    let quoted = document.lines().flat_map(|(number, line)| {
        let inner = line.split('`').skip(1).step_by(2);
        inner.map(move |text| (number, text))
    });
    let is_missing = |text: &str| {
        let (path, function) = text
            .split_once("::")
            .map_or((text, None), |(path, function)| (path, Some(function)));
        let is_named = path.ends_with(".rs") && is_path(path);
        let is_there = |file: Source| {
            function.is_none_or(|function| file.text.contains(&format!("fn {function}(")))
        };
        is_named && !read(path).is_some_and(is_there)
    };
    quoted
        .filter(|(_, text)| is_missing(text))
        .map(|(number, text)| format!("{}:{number}: {text}", document.path))
        .collect()
}

fn read_if_there(path: &str) -> Option<Source> {
    tree::root().join(path).is_file().then(|| tree::read(path))
}

fn is_path(text: &str) -> bool {
    let is_plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    is_plain
        && (text.contains('/')
            || [".rs", ".md", ".toml"]
                .iter()
                .any(|end| text.ends_with(end)))
}

fn unexplained_members(manifest: &str) -> Vec<String> {
    let list = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once("\n]"));
    let (list, _) = list.expect("the workspace lists its members, one per line");
    let members = list
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('"'));
    let bare = members.filter(|line| {
        line.split_once('#')
            .is_none_or(|(_, comment)| comment.trim().is_empty())
    });
    bare.map(|line| format!("Cargo.toml: member {}", line.trim_end_matches(',')))
        .collect()
}

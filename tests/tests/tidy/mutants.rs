//! The table of mutants in docs/verification.md is that of the code: it names each of them, with its
//! rule, and no other; and only the command `mutants` builds them.

use std::collections::BTreeMap;

use crate::demand_none;
use crate::tree::{self, Source};

const CODE: &str = "bts-core/src/mutant.rs";
const DOCUMENT: &str = "docs/verification.md";

#[test]
fn mutants_are_documented() {
    let (code, table) = (declared(&tree::read(CODE)), tabled(&tree::read(DOCUMENT)));
    assert!(code.len() > 40, "the list is found: {code:?}");
    demand_none(
        "the table of mutants in docs/verification.md is that of the code",
        &differences(&code, &table),
    );
}

#[test]
fn mutants_are_broken_somewhere() {
    let sources = tree::files("rs");
    let core = sources
        .iter()
        .filter(|file| file.path.starts_with("bts-core/src/"));
    let text: String = core.map(|file| file.text.as_str()).collect();
    let is_used = |name: &str| {
        text.contains(&format!("mutant!({name})")) || text.contains(&format!("Mutant::{name}."))
    };
    let declared = declared(&tree::read(CODE));
    let idle: Vec<_> = declared.into_keys().filter(|name| !is_used(name)).collect();
    demand_none("each mutant breaks something", &idle);
}

#[test]
fn mutants_reach_no_program() {
    let programs = ["bts-replica/src/main.rs", "bts-client/src/bin/bts/main.rs"];
    let open = programs.into_iter().filter(|path| {
        let guard = "#[cfg(bts_mutants)]\ncompile_error!(";
        !tree::read(path).text.contains(guard)
    });
    demand_none(
        "programs refuse to be built with broken rules",
        &open.map(str::to_owned).collect::<Vec<_>>(),
    );
}

#[test]
fn mutants_finders_find() {
    let code = Source::new(
        "a.rs",
        "mutants! {\n    // Sizes.\n    One, \"R-1.1\", \"breaks\";\n    Two, \"R-2.2\",\n        \"long\";\n}\n",
    );
    let table = Source::new(
        "a.md",
        "| `One` | R-1.1 | breaks |\n| `Three` | R-9.9 | x |\n\n| mutant | rule |\n",
    );
    assert_eq!(
        differences(&declared(&code), &tabled(&table)),
        ["Three: not in the code", "Two (R-2.2): not in the document"]
    );
}

/// Name and rule of each mutant.
type Mutants = BTreeMap<String, String>;

fn declared(code: &Source) -> Mutants {
    let (_, list) = code.text.split_once("\nmutants! {\n").unwrap_or_else(|| {
        code.text
            .split_once("mutants! {\n")
            .expect("the list of mutants")
    });
    let (list, _) = list.split_once("\n}\n").expect("the list ends");
    let declaration = |line: &str| {
        let (name, rest) = line.trim().split_once(", \"")?;
        let (rule, _) = rest.split_once('"')?;
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric());
        is_name.then(|| (name.to_owned(), rule.to_owned()))
    };
    list.lines().filter_map(declaration).collect()
}

fn tabled(document: &Source) -> Mutants {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim().strip_suffix('`')?;
        let rule = cells.next()?.trim();
        rule.starts_with("R-")
            .then(|| (name.to_owned(), rule.to_owned()))
    };
    document.text.lines().filter_map(row).collect()
}

fn differences(code: &Mutants, table: &Mutants) -> Vec<String> {
    let missing = code
        .iter()
        .filter(|(name, rule)| table.get(*name) != Some(*rule))
        .map(|(name, rule)| format!("{name} ({rule}): not in the document"));
    let unknown = table
        .keys()
        .filter(|name| !code.contains_key(*name))
        .map(|name| format!("{name}: not in the code"));
    let mut all: Vec<_> = missing.chain(unknown).collect();
    all.sort();
    all
}

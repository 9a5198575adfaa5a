//! What is linked: licences, banned crates and sources as deny.toml lists them, the codec's exact
//! version, and the oldest compiler that every dependency promises to support.
//!
//! cargo-deny checks the first three as well, where it is installed; this needs nothing but cargo.
//! It looks at what this machine builds; other platforms may link more.

use std::process::Command;

use serde_json::Value;

use crate::demand_none;
use crate::tree;

#[test]
fn dependencies_licences_are_allowed() {
    let allowed = listed(&["licenses", "allow"]);
    let refused = packages()
        .into_iter()
        .filter(|package| !is_allowed(&package.licence, &allowed));
    let findings: Vec<String> = refused
        .map(|p| format!("{} {}: {:?}", p.name, p.version, p.licence))
        .collect();
    demand_none("licences: see [licenses] in deny.toml", &findings);
}

#[test]
fn dependencies_banned_are_absent() {
    let banned = listed(&["bans", "deny"]);
    let found = packages().into_iter().filter(|p| {
        banned
            .iter()
            .any(|spec| matches_spec(spec, &p.name, &p.version))
    });
    let findings: Vec<String> = found.map(|p| format!("{} {}", p.name, p.version)).collect();
    demand_none(
        "banned crates: see [bans] in deny.toml for the reasons",
        &findings,
    );
}

#[test]
fn dependencies_come_from_the_official_registry() {
    let foreign = packages()
        .into_iter()
        .filter(|p| !p.is_member && !p.source.contains("/crates.io-index"));
    let findings: Vec<String> = foreign
        .map(|p| format!("{} {}: {:?}", p.name, p.version, p.source))
        .collect();
    demand_none(
        "sources: no git, no path outside of the workspace, no other registry",
        &findings,
    );
}

#[test]
fn dependencies_codec_has_one_exact_version() {
    let found = packages().into_iter().filter(|p| p.name == "bincode");
    let versions: Vec<String> = found.map(|p| p.version).collect();
    assert_eq!(
        versions,
        ["2.0.1"],
        "the wire format is that of bincode 2.0.1, nothing else may encode"
    );
}

#[test]
fn dependencies_compile_with_the_oldest_compiler() {
    let ours = manifest("Cargo.toml")["workspace"]["package"]["rust-version"]
        .as_str()
        .map(release);
    let newer = packages()
        .into_iter()
        .filter(|p| Some(release(&p.rust_version)) > ours);
    let findings: Vec<String> = newer
        .map(|p| format!("{} {}: Rust {}", p.name, p.version, p.rust_version))
        .collect();
    demand_none(
        "rust-version in Cargo.toml promises an older compiler than these need",
        &findings,
    );
}

#[test]
fn dependencies_finders_find() {
    let allowed = [
        "MIT".to_owned(),
        "Apache-2.0".to_owned(),
        "Unicode-3.0".to_owned(),
    ];
    for licence in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
    ] {
        assert!(is_allowed(licence, &allowed), "{licence}");
    }
    for licence in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR GPL-3.0) AND ISC",
        "Apache-2.0 WITH X",
        "MIT OR",
        "(MIT",
    ] {
        assert!(!is_allowed(licence, &allowed), "{licence}");
    }
    assert!(matches_spec("bincode:>=3", "bincode", "3.0.0"));
    assert!(!matches_spec("bincode:>=3", "bincode", "2.0.1"));
    assert!(matches_spec("openssl", "openssl", "0.10.1"));
    assert!(!matches_spec("openssl", "openssl-probe", "0.1.0"));
    assert!(release("1.100") > release("1.88.0") && release("1.88") == release("1.88.0"));
}

#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    licence: String,
    rust_version: String,
    source: String,
    is_member: bool,
}

/// Everything that is linked on this machine, members of the workspace included.
fn packages() -> Vec<Package> {
    let host = run(Command::new("rustc").arg("-vV"));
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        host,
    ]);
    let metadata: Value =
        serde_json::from_str(&run(cargo.current_dir(tree::root()))).expect("cargo writes JSON");
    let members = metadata["workspace_members"]
        .as_array()
        .expect("a list of members");
    let nodes = metadata["resolve"]["nodes"]
        .as_array()
        .expect("the packages in use");
    let is_used = |package: &Value| nodes.iter().any(|node| node["id"] == package["id"]);
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages
        .iter()
        .filter(|p| is_used(p))
        .map(|p| package(p, members.contains(&p["id"])))
        .collect()
}

fn package(package: &Value, is_member: bool) -> Package {
    let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
    Package {
        name: text("name"),
        version: text("version"),
        licence: text("license"),
        rust_version: text("rust_version"),
        source: text("source"),
        is_member,
    }
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo and rustc write UTF-8")
}

fn manifest(path: &str) -> toml::Table {
    tree::read(path)
        .text
        .parse()
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A list of deny.toml: its strings, or what its tables call `crate`.
fn listed(place: &[&str; 2]) -> Vec<String> {
    let manifest = manifest("deny.toml");
    let entries = manifest[place[0]][place[1]].as_array().expect("a list");
    let name = |entry: &toml::Value| {
        entry
            .as_str()
            .or_else(|| entry["crate"].as_str())
            .map(str::to_owned)
    };
    entries
        .iter()
        .map(|entry| name(entry).expect("a name, or a table that names a crate"))
        .collect()
}

/// `name`, or `name:>=major`: the two forms that deny.toml uses.
fn matches_spec(spec: &str, name: &str, version: &str) -> bool {
    match spec.split_once(":>=") {
        None => spec == name,
        Some((banned, least)) => banned == name && release(version) >= release(least),
    }
}

/// The numbers of a version, missing ones as 0.
fn release(version: &str) -> [u64; 3] {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

/// Whether a licence expression can be met by allowed licences alone. Old crates write `/` for
/// `OR`. What does not parse is not allowed.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest, allowed) == Some(true) && rest.is_empty()
}

fn either(words: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut is_met = both(words, allowed)?;
    while take(words, "OR") {
        is_met |= both(words, allowed)?;
    }
    Some(is_met)
}

fn both(words: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut is_met = single(words, allowed)?;
    while take(words, "AND") {
        is_met &= single(words, allowed)?;
    }
    Some(is_met)
}

/// A licence, or an expression in brackets. An exception makes another licence of it, to be allowed
/// by its whole name.
fn single(words: &mut &[&str], allowed: &[String]) -> Option<bool> {
    if take(words, "(") {
        let is_met = either(words, allowed)?;
        return take(words, ")").then_some(is_met);
    }
    let (name, rest) = words.split_first()?;
    *words = rest;
    if !take(words, "WITH") {
        return Some(allowed.iter().any(|licence| licence == name));
    }
    let (exception, rest) = words.split_first()?;
    *words = rest;
    Some(allowed.contains(&format!("{name} WITH {exception}")))
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let is_next = words.first() == Some(&word);
    if is_next {
        *words = &words[1..];
    }
    is_next
}

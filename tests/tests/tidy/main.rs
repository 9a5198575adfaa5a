//! The rules of CONTRIBUTING.md that a machine can check, run with the other tests so that nobody
//! has to remember them.
//!
//! Each check returns all that it objects to, one line per finding with file and line, so that one
//! run shows the whole list. Exceptions stand in `exceptions.rs`, and only there.

mod attacks;
mod dependencies;
mod documents;
mod exceptions;
mod mutants;
mod rules;
mod size;
mod tree;
mod words;

/// Fails with one line per finding.
fn demand_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}

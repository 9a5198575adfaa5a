//! The command as a shell sees it: output, files, exit codes.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

#[test]
fn command_cluster_prints_names_roles_and_keys_and_show_agrees() {
    let folder = folder();
    let made = run(&folder, "cluster lab --replicas 2 --clients alice,bob");
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let lines: Vec<Vec<String>> = text(&made.stdout)
        .lines()
        .map(|line| line.split(' ').map(String::from).collect())
        .collect();
    let names: Vec<_> = lines
        .iter()
        .map(|l| (l[0].as_str(), l[1].as_str()))
        .collect();
    let expected = [
        ("replica-0", "replica"),
        ("replica-1", "replica"),
        ("alice", "client"),
        ("bob", "client"),
        ("operator", "client"),
    ];
    assert_eq!(names, expected);
    for line in lines {
        assert_eq!(line[2].len(), 64);
        let shown = text(&run(&folder, &format!("show lab/{}.crt", line[0])).stdout);
        assert!(shown.contains(&format!("key:    {}", line[2])), "{shown}");
        assert!(shown.contains(&format!("role:   {}", line[1])), "{shown}");
    }
    let shown = text(&run(&folder, "show lab/replica-1.crt").stdout);
    assert!(
        shown.contains("hosts:  replica-1, localhost, 127.0.0.1, ::1"),
        "{shown}"
    );
}

#[test]
fn command_step_by_step_with_a_request_whose_key_stays() {
    let folder = folder();
    for line in [
        "ca office",
        "replica office --index 0 --host 10.0.0.1,node0",
        "client office --name alice",
        "request node1 --name replica-1",
        "sign-request office node1/replica-1.csr --index 1 --host 10.0.0.2",
        "request home --name bob",
        "sign-request office home/bob.csr --name bob",
    ] {
        let done = run(&folder, line);
        assert_eq!(done.status.code(), Some(0), "{line}: {done:?}");
    }
    assert!(!folder.path().join("office/replica-1.key").exists());
    let local = bts_certs::LocalIdentity::load(
        &folder.path().join("office/replica-1.crt"),
        &folder.path().join("node1/replica-1.key"),
        &folder.path().join("office/ca.crt"),
    );
    assert_eq!(local.expect("the parts fit").identity().name, "replica-1");
}

#[test]
fn command_bad_input_exits_2_and_names_the_cause() {
    let folder = folder();
    assert_eq!(run(&folder, "ca office").status.code(), Some(0));
    std::fs::write(folder.path().join("junk"), "junk").expect("written");
    for (line, cause) in [
        ("ca office", "--force"),
        ("client office --name ../x", "not a usable name"),
        ("client office --name replica-7", "reserved"),
        ("request office --name ../x", "not a usable name"),
        (
            "replica office --index 0 --host a:1",
            "neither an IP address",
        ),
        ("cluster new --replicas 1 --clients a,a", "twice"),
        ("sign-request office junk --name w1", "request"),
        ("sign-request office junk", "--index"),
        ("show junk", "no certificate"),
        ("client office --name w --days 0", "--days"),
        ("frobnicate", "frobnicate"),
    ] {
        let done = run(&folder, line);
        assert_eq!(done.status.code(), Some(2), "{line}: {done:?}");
        assert!(
            text(&done.stderr).contains(cause),
            "{line}: {}",
            text(&done.stderr)
        );
        assert!(!text(&done.stderr).contains("panicked"));
    }
}

#[test]
fn command_failure_exits_1_and_names_the_file() {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "").expect("written");
    for (line, cause) in [
        ("client nowhere --name w1", "nowhere/ca.crt"),
        ("show nowhere.crt", "nowhere.crt"),
        ("ca file", "cannot write file"),
    ] {
        let done = run(&folder, line);
        assert_eq!(done.status.code(), Some(1), "{line}: {done:?}");
        assert!(
            text(&done.stderr).contains(cause),
            "{line}: {}",
            text(&done.stderr)
        );
    }
}

#[test]
fn command_show_warns_about_the_end() {
    let folder = folder();
    run(&folder, "cluster lab --replicas 1 --days 3");
    let shown = run(&folder, "show lab/ca.crt");
    assert_eq!(shown.status.code(), Some(0));
    assert!(text(&shown.stdout).contains("role:   authority"));
    assert!(
        text(&shown.stderr).contains("expires in"),
        "{}",
        text(&shown.stderr)
    );
}

fn run(folder: &TempDir, line: &str) -> Output {
    let folder: &Path = folder.path();
    Command::new(env!("CARGO_BIN_EXE_bts-certs"))
        .args(line.split(' '))
        .current_dir(folder)
        .output()
        .expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

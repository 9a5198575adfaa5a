//! The `bts` command against a cluster, as a script uses it.

mod cluster;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cluster::Cluster;

#[test]
fn shell_tuples_come_and_go_with_exit_codes() {
    let cluster = Cluster::start();
    let bts = |arguments: &[&str]| bts(&cluster, arguments);
    expect(&bts(&["rdp", r#"("task", _)"#]), 1, "");
    expect(
        &bts(&["out", r#"("task", 17)"#, r#"["task", {"uint": 3}]"#]),
        0,
        "",
    );
    expect(&bts(&["rd", r#"("task", int)"#]), 0, "(\"task\", 17)\n");
    expect(
        &bts(&["rdp", r#"("task", uint)"#, "--json"]),
        0,
        "[\"task\",{\"uint\":3}]\n",
    );
    expect(&bts(&["in", r#"("task", 17)"#]), 0, "(\"task\", 17)\n");
    expect(&bts(&["inp", r#"("task", 17)"#]), 1, "");
    expect(
        &bts(&[
            "swap",
            r#"("task", _)"#,
            r#"("done", $1, x"00")"#,
            "(\"log\")",
        ]),
        0,
        "(\"task\", 3u)\n",
    );
    expect(&bts(&["inp", "(_, _, _)"]), 0, "(\"done\", 3u, x\"00\")\n");
    expect(&bts(&["inp", "(\"log\")", "--space", "other"]), 1, "");
    expect(&bts(&["swapp", r#"("task", _)"#, r#"("done")"#]), 1, "");
    let beyond = bts(&["swap", "(\"log\")", "($1)"]);
    expect(&beyond, 2, "");
    assert!(stderr(&beyond).contains("$1 is used, but the taken tuple has 1 fields"));
    let late = bts(&["in", r#"("task", _)"#, "--timeout", "2.5"]);
    expect(&late, 3, "");
    assert!(stderr(&late).contains("bts: not done within 2.5s; 3 replicas must answer"));
    expect(&bts(&["out", "(1)", "--space", ""]), 2, "");
}

#[test]
fn shell_what_is_dumped_can_be_loaded() {
    let cluster = Cluster::start();
    let bts = |arguments: &[&str]| bts(&cluster, arguments);
    expect(&bts(&["dump"]), 0, "");
    expect(&bts(&["dump", "--json"]), 0, "[]\n");
    let file = cluster.file("tuples.json");
    std::fs::write(
        &file,
        r#"[["a", 1, {"bytes": "00ff"}], ["b"], [], ["a", 1, {"bytes": "00ff"}]]"#,
    )
    .expect("the folder can be written to");
    let path = file.to_str().expect("a readable path");
    expect(&bts(&["load", path]), 0, "4 tuples loaded\n");
    let text = "()\n(\"a\", 1, x\"00ff\")\n(\"a\", 1, x\"00ff\")\n(\"b\")\n";
    expect(&bts(&["dump"]), 0, text);
    expect(&bts(&["dump", "(_)"]), 0, "(\"b\")\n");
    for json in [&[][..], &["--json"]] {
        let dumped = bts(&[&["dump"], json].concat());
        std::fs::write(&file, &dumped.stdout).expect("the folder can be written to");
        let space = format!("copy {}", json.len());
        expect(
            &bts(&["load", path, "--space", &space]),
            0,
            "4 tuples loaded\n",
        );
        expect(&bts(&["dump", "--space", &space]), 0, text);
    }
    std::fs::write(&file, "[[1], [2, null]]").expect("the folder can be written to");
    let wrong = bts(&["load", path]);
    expect(&wrong, 2, "");
    assert!(stderr(&wrong).ends_with("tuple 1: field 1: a wildcard can stand in templates only\n"));
    expect(&bts(&["load", "no/such"]), 2, "");
}

#[test]
fn shell_status_shows_each_replica_and_its_absence() {
    let mut cluster = Cluster::start();
    assert_eq!(bts(&cluster, &["out", "(1)"]).status.code(), Some(0));
    // A replica that still fetches the entry is healthy and adds a line about it; wait it out.
    until(|| {
        let shown = stdout(&bts(&cluster, &["status"]));
        shown.matches("  up to date  ").count() == 4
    });
    let well = bts(&cluster, &["status"]);
    let lines: Vec<String> = stdout(&well).lines().map(String::from).collect();
    assert_eq!(
        (well.status.code(), lines.len()),
        (Some(0), 5),
        "{lines:#?}"
    );
    assert!(
        lines.iter().skip(1).all(|line| line.contains("  ok  ")),
        "{lines:#?}"
    );
    cluster.stop(2);
    let degraded = bts(&cluster, &["status", "--json"]);
    assert_eq!(degraded.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_str(&stdout(&degraded)).expect("JSON");
    assert_eq!(json["health"], "degraded");
    assert_eq!(json["replicas"][2]["connected"], false);
    assert!(json["replicas"][2]["data"].is_null());
    assert_eq!(json["replicas"][1]["data"]["state"], "up to date", "{json}");
    let holds = |index: &usize| json["replicas"][*index]["report"]["entries"] == 1;
    assert!(
        [0, 1, 3].iter().filter(|index| holds(index)).count() >= 2,
        "{json}"
    );
    cluster.stop(0);
    assert_eq!(
        bts(&cluster, &["status", "--timeout", "3"]).status.code(),
        Some(5)
    );
    let lost = bts(&cluster, &["rdp", "(1)", "--timeout", "3"]);
    expect(&lost, 5, "");
    assert!(
        stderr(&lost).contains("no quorum: 3 replicas must answer, s1, s3 did; s0 (127.0.0.1:")
    );
}

#[test]
fn shell_refused_client_is_told_why() {
    let cluster = Cluster::start();
    let path = cluster.file("cluster.toml");
    let text = std::fs::read_to_string(&path).expect("it was written");
    let (before, rest) = text.split_once("id = \"").expect("a cluster has an id");
    let other = format!("{before}id = \"{}{}", "0".repeat(8), &rest[8..]);
    std::fs::write(&path, other).expect("the folder can be written to");
    let refused = bts(&cluster, &["rdp", "(1)", "--timeout", "30"]);
    expect(&refused, 4, "");
    let told = stderr(&refused);
    assert!(
        told.contains("refuses us: this is another cluster than yours"),
        "{told}"
    );
}

/// A tuple that is taken while somebody ends the command is not lost.
#[cfg(unix)]
#[test]
fn shell_interrupted_command_ends_in_order() {
    let cluster = Cluster::start();
    let mut command = command(&cluster, &["in", "(1)", "--timeout", "none"]);
    let mut waiting = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command was built");
    until(|| stdout(&bts(&cluster, &["status", "--json"])).contains("\"waiters\":1"));
    let pid = waiting.id().to_string();
    let kill = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(kill.expect("kill can be run").success());
    let began = Instant::now();
    assert_eq!(waiting.wait().expect("it is our child").code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(10));
    expect(&bts(&cluster, &["out", "(1)"]), 0, "");
    expect(&bts(&cluster, &["inp", "(1)"]), 0, "(1)\n");
}

#[test]
fn shell_reader_who_stops_reading_is_no_failure() {
    let cluster = Cluster::start();
    assert_eq!(bts(&cluster, &["out", "(1)"]).status.code(), Some(0));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = command(&cluster, &["rd", "(1)"]);
    let output = command
        .stdout(writer)
        .output()
        .expect("the command was built");
    expect(&output, 0, "");
    assert_eq!(stderr(&output), "");
    let mut command = self::command(&cluster, &["load", "-"]);
    let mut loading = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("built");
    let mut stdin = loading.stdin.take().expect("it is piped");
    stdin.write_all(b"(2)\n").expect("it is read");
    drop(stdin);
    assert!(loading.wait().expect("it is our child").success());
    expect(&bts(&cluster, &["inp", "(2)"]), 0, "(2)\n");
}

fn command(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bts"));
    command
        .args(arguments)
        .env("BTS_CONFIG", cluster.config_path("alice"));
    command
}

fn bts(cluster: &Cluster, arguments: &[&str]) -> Output {
    command(cluster, arguments)
        .output()
        .expect("the command was built")
}

fn expect(output: &Output, code: i32, printed: &str) {
    let found = (output.status.code(), stdout(output));
    assert_eq!(
        found,
        (Some(code), printed.to_owned()),
        "{}",
        stderr(output)
    );
}

fn until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it does not take so long"
        );
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

//! `bts bench` over real replicas. This program is the replica that it starts: with `--config FILE` it is
//! one, without it the tests. So it has a main function of its own.

mod cluster;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bts_client::history::{Op, Record};
use bts_replica::Settings;
use serde_json::Value;

fn main() {
    let mut arguments = std::env::args_os();
    if arguments.any(|argument| argument == "--config") {
        let file = arguments.next().map(PathBuf::from).expect("a file follows");
        let settings = Settings::load(&file).expect("written to be read");
        return bts_replica::serve(settings, bts_replica::replica).expect("it can listen");
    }
    bench_measures_all_that_it_is_asked_for();
    bench_leaves_nothing_in_a_given_cluster();
    bench_of_a_replica_that_ends_says_what_that_said();
    bench_names_a_seat_that_is_not_there();
    println!("bench: all passed");
}

fn bench(arguments: &[&str]) -> Output {
    let own = std::env::current_exe().expect("a program that runs has a file");
    Command::new(env!("CARGO_BIN_EXE_bts"))
        .args(["bench", "--replica-program"])
        .arg(own)
        .args(arguments)
        .output()
        .expect("the command was built")
}

fn bench_leaves_nothing_in_a_given_cluster() {
    let cluster = cluster::Cluster::start();
    let settings = cluster.config_path("alice");
    let bts = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_bts"))
            .args(arguments)
            .args(["--space", "measured"])
            .env("BTS_CONFIG", &settings)
            .output()
            .expect("the command was built");
        assert!(output.status.success(), "{}", told(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let file = settings.to_string_lossy();
    let quick = ["--seconds", "0.2", "--clients", "2", "--live", "10"];
    let table = bts(&[&["bench", "out", "swap", "--cluster", &file][..], &quick].concat());
    assert!(
        table.contains("given cluster") && table.contains("\nswap "),
        "{table}"
    );
    assert_eq!(bts(&["dump"]), "");
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Each workload under each load has its figures, what was asked is in the history, and nothing is left over.
fn bench_measures_all_that_it_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (dir, json, history) = (path("data"), path("figures"), path("history"));
    let plot = path("plot");
    std::fs::create_dir(&dir).expect("the folder is ours");
    let output = bench(&[
        "--dir",
        &dir,
        "--json",
        &json,
        "--history",
        &history,
        "--plot",
        &plot,
        "--all",
        "--clients",
        "2",
        "--in-flight",
        "2",
        "--seconds",
        "0.3",
        "--live",
        "10",
    ]);
    assert!(output.status.success(), "{}", told(&output));
    let left = std::fs::read_dir(&dir).expect("it was just made").count();
    assert_eq!(left, 0, "the cluster is gone");
    let figures = std::fs::read_to_string(json).expect("it was asked for");
    let figures: Value = serde_json::from_str(&figures).expect("it is JSON");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let workloads = figures["workloads"].as_array().expect("a list");
    assert_eq!(workloads.len(), 11, "{table}");
    let drawn = std::fs::read_to_string(plot).expect("it was asked for");
    for one in workloads {
        let name = one["name"].as_str().expect("a name");
        assert!(one["p50_us"].as_f64() <= one["p99_us"].as_f64(), "{one}");
        // How many of the others end in so short a time depends on the machine.
        let is_quick = ["out", "rdp-hit", "rdp-miss"].contains(&name);
        assert!(one["ops"].as_u64() > Some(0) || !is_quick, "{one}");
        assert!(drawn.contains(&format!(">{name} (")), "{name} is not drawn");
        assert!(table.contains(name), "{name} is not in\n{table}");
    }
    check_history(Path::new(&history));
}

fn check_history(file: &Path) {
    let text = std::fs::read_to_string(file).expect("it was asked for");
    let records = text
        .lines()
        .map(|line| Record::parse(line).expect("a line"));
    let operations = records.filter_map(|record| match record {
        Record::Begin(_) => None,
        Record::Operation(line) => Some(line.op),
    });
    let operations: Vec<Op> = operations.collect();
    for op in [Op::Out, Op::Rdp, Op::Inp, Op::In, Op::Swapp] {
        assert!(operations.contains(&op), "no {op:?} is in it");
    }
}

fn bench_of_a_replica_that_ends_says_what_that_said() {
    let output = bench(&["--replica-program", "2=cargo nonsense", "--seconds", "0.1"]);
    assert_eq!(output.status.code(), Some(6), "{}", told(&output));
    let said = told(&output);
    assert!(
        said.contains("replica s2 has ended") && said.contains("nonsense"),
        "{said}"
    );
}

fn bench_names_a_seat_that_is_not_there() {
    let output = bench(&["--replica-program", "4=bts-replica"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(told(&output), "bts: there is no seat 4: they are 0 to 3\n");
}

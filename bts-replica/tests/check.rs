//! `bts-replica check`: what is in a store, and whether it is intact; nothing is changed by it.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bts_certs::deployment::settings_path;
use bts_client::{Client, Config, template};
use bts_core::replica::Replica;
use bts_replica::Durability;
use common::{Rig, Running};

fn check(arguments: &[&Path]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bts-replica"));
    let output = command.arg("check").args(arguments).output();
    let output = output.expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

/// The file that has commits: there is another for those to come.
fn the_log(data: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(data).expect("it is there");
    let files = files.map(|file| file.expect("it is there").path());
    let starts = |file: &std::path::PathBuf| {
        fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"bts log 1"))
    };
    files.into_iter().find(starts).expect("a log")
}

#[tokio::test]
async fn check_counts_what_a_replica_stored_and_notices_damage() {
    let rig = Rig::new(1, 0);
    let data = rig.path().join("data");
    let mut settings = rig.settings(0);
    settings.durability = Durability::Sync(data.clone());
    let running = Running::start_with(settings, Arc::default(), Replica::new);
    let config = Config::load(settings_path(rig.path(), "w1")).expect("good settings");
    let client = Client::connect(config).await.expect("it welcomes us");
    let jobs = client.space("jobs").expect("a name");
    for number in 0..5_u64 {
        jobs.out(("task", number)).await.expect("written");
    }
    let taken = jobs.inp(template!["task", ?u64]).await.expect("taken");
    assert!(taken.is_some());
    let (code, said) = check(&[&data]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is in use by process"), "{said}");
    client.close().await;
    running.stop().expect("it ends well");

    let log = the_log(&data);
    let before = fs::read(&log).expect("it is there");
    let (code, said) = check(&[&data]);
    assert_eq!(code, Some(0), "{said}");
    // The content that was taken may be deleted already, and the decision forgotten.
    let counts = ["4 contents", "5 contents"];
    assert!(counts.iter().any(|count| said.contains(count)), "{said}");
    let config = settings_path(rig.path(), "replica-0");
    let (code, said) = check(&[&data, "--config".as_ref(), &config]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("4 entries present"), "{said}");
    assert_eq!(fs::read(&log).expect("it is there"), before);

    let other = Rig::new(1, 0);
    let config = settings_path(other.path(), "replica-0");
    let (code, said) = check(&[&data, "--config".as_ref(), &config]);
    assert_eq!(code, Some(1));
    assert!(said.contains("holds the store of replica s0"), "{said}");
    // A crash: the note is not there.
    fs::remove_file(data.join("closed")).expect("it is there");
    let (code, said) = check(&[&data]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not closed"), "{said}");
    let harmed: Vec<u8> = before.iter().map(|byte| byte ^ 1).collect();
    fs::write(&log, harmed).expect("the folder is ours");
    let (code, said) = check(&[&data]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is damaged"), "{said}");
    let (code, said) = check(&[&rig.path().join("nowhere")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("nowhere"), "{said}");
}

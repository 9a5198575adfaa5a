//! The files: their names, their modes, and that nothing is lost by accident.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bts_certs::folder::{
    self, ClusterPlan, Existing, FolderError, add_member, create_authority, create_cluster,
    load_member, open_authority,
};
use bts_certs::{LoadError, Role, Subject, Validity};
use common::expired;
use tempfile::TempDir;

#[test]
fn folder_cluster_has_every_file_with_its_mode_and_loads() {
    let temporary = folder();
    let path = temporary.path().join("a/b");
    let identities = create_cluster(&path, &plan(), Existing::Keep).expect("a cluster");
    let names: Vec<_> = identities
        .iter()
        .map(|i| (i.role, i.name.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            (Role::Replica, "replica-0"),
            (Role::Replica, "replica-1"),
            (Role::Client, "alice")
        ]
    );
    assert_eq!(mode(&path), 0o700);
    for name in ["ca", "replica-0", "replica-1", "alice"] {
        assert_eq!(mode(&folder::key_path(&path, name)), 0o600, "{name}");
        assert_eq!(
            mode(&folder::certificate_path(&path, name)) & 0o133,
            0,
            "{name}"
        );
    }
    assert_eq!(fs::read_dir(&path).expect("the folder").count(), 8);
    for identity in &identities {
        let local = load_member(&path, &identity.name).expect("a member");
        assert_eq!(local.identity(), identity);
    }
}

#[test]
fn folder_existing_files_stay_unless_told_otherwise() {
    let temporary = folder();
    let path = temporary.path();
    create_authority(path, Validity::days(2), Existing::Keep).expect("an authority");
    let authority = open_authority(path).expect("it loads");
    let subject = Subject::client("alice").expect("a subject");
    let add = |existing| add_member(path, &authority, &subject, Validity::days(1), existing);
    let first = add(Existing::Keep).expect("a member");

    let before = contents(path);
    assert!(matches!(add(Existing::Keep), Err(FolderError::Exists(_))));
    let again = create_authority(path, Validity::days(2), Existing::Keep);
    assert!(matches!(again, Err(FolderError::Exists(_))));
    assert_eq!(contents(path), before);

    let second = add(Existing::Replace).expect("a member");
    assert_ne!(first.key, second.key);
    assert_eq!(
        load_member(path, "alice").expect("a member").identity(),
        &second
    );
    assert_eq!(mode(&folder::key_path(path, "alice")), 0o600);
    assert_eq!(
        contents(path).len(),
        before.len(),
        "no temporary file is left"
    );
}

#[test]
fn folder_cluster_with_one_file_in_the_way_writes_nothing() {
    let temporary = folder();
    let path = temporary.path();
    fs::write(folder::certificate_path(path, "alice"), "precious").expect("written");
    let made = create_cluster(path, &plan(), Existing::Keep);
    assert!(matches!(made, Err(FolderError::Exists(_))), "{made:?}");
    assert_eq!(contents(path), [("alice.crt".into(), b"precious".to_vec())]);
}

#[test]
fn folder_cluster_with_a_bad_or_double_name_writes_nothing() {
    let temporary = folder();
    let path = temporary.path().join("new");
    for clients in [["a", "A"], ["a", "../b"], ["ca", "b"], ["a", "replica-0"]] {
        let clients = clients.map(String::from).to_vec();
        let made = create_cluster(&path, &ClusterPlan { clients, ..plan() }, Existing::Keep);
        let refused = matches!(made, Err(FolderError::Twice(_) | FolderError::Subject(_)));
        assert!(refused && !path.exists(), "{made:?}");
    }
}

#[test]
fn folder_link_in_the_way_is_never_followed() {
    let temporary = folder();
    let path = temporary.path();
    create_authority(path, Validity::days(2), Existing::Keep).expect("an authority");
    let authority = open_authority(path).expect("it loads");
    let elsewhere = path.join("elsewhere");
    symlink(&elsewhere, folder::key_path(path, "alice")).expect("a link");
    let subject = Subject::client("alice").expect("a subject");
    let add = |existing| add_member(path, &authority, &subject, Validity::days(1), existing);
    assert!(matches!(add(Existing::Keep), Err(FolderError::Exists(_))));
    add(Existing::Replace).expect("a member");
    assert!(!elsewhere.exists());
    assert!(!folder::key_path(path, "alice").is_symlink());
}

#[test]
fn folder_load_errors_name_the_file() {
    let temporary = folder();
    let path = temporary.path();
    create_cluster(path, &plan(), Existing::Keep).expect("a cluster");
    let error = |name: &str| {
        load_member(path, name)
            .expect_err("it must fail")
            .to_string()
    };
    assert!(error("bob").contains("bob.crt"));

    let key = folder::key_path(path, "alice");
    let good = fs::read(&key).expect("a key");
    fs::write(&key, "").expect("written");
    assert!(error("alice").contains("alice.key holds no Ed25519 private key"));
    fs::write(&key, vec![b'x'; 2 << 20]).expect("written");
    assert!(error("alice").contains("alice.key is too large"));
    fs::copy(folder::key_path(path, "replica-0"), &key).expect("copied");
    let text = error("alice");
    assert!(
        text.contains("alice.key") && text.contains("alice.crt"),
        "{text}"
    );
    fs::write(&key, good).expect("written");
    load_member(path, "alice").expect("all is well again");
}

#[test]
fn folder_load_tells_expired_and_foreign_certificates() {
    let temporary = folder();
    let path = temporary.path();
    let authority =
        create_authority(path, Validity::days(2), Existing::Keep).expect("an authority");
    let subject = Subject::client("late").expect("a subject");
    add_member(path, &authority, &subject, expired(), Existing::Keep).expect("a member");
    let error = load_member(path, "late").expect_err("it must fail");
    assert!(matches!(&error, LoadError::Untrusted { .. }), "{error:?}");
    assert!(error.to_string().contains("has expired"), "{error}");

    let subject = Subject::client("alice").expect("a subject");
    add_member(
        path,
        &authority,
        &subject,
        Validity::days(1),
        Existing::Keep,
    )
    .expect("a member");
    create_authority(path, Validity::days(2), Existing::Replace).expect("an authority");
    let error = load_member(path, "alice")
        .expect_err("it must fail")
        .to_string();
    assert!(error.contains("is of another authority"), "{error}");
}

fn plan() -> ClusterPlan {
    ClusterPlan {
        replicas: 2,
        hosts: vec!["127.0.0.1".into()],
        clients: vec!["alice".into()],
        authority_validity: Validity::days(2),
        validity: Validity::days(1),
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(path)
        .expect("the folder")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a plain name");
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

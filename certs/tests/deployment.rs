//! A whole deployment in a folder: what is written can be used, and nothing is written by halves.

use std::fs;
use std::path::Path;

use bts_certs::cluster::Cluster;
use bts_certs::deployment::{DeploymentPlan, create_deployment, settings_path};
use bts_certs::folder::{ClusterPlan, Existing, load_member};
use bts_certs::{Role, Validity};

#[test]
fn deployment_cluster_file_names_the_keys_of_the_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = plan(
        4,
        1,
        &["127.0.0.1:1", "127.0.0.1:2", "a.example:3", "[::1]:4"],
    );
    let identities = create_deployment(folder.path(), &plan, Existing::Keep).expect("made");
    assert_eq!(identities.len(), 5);
    let cluster = Cluster::load(&settings_path(folder.path(), "cluster")).expect("a cluster");
    for (_, member) in cluster.members() {
        let local = load_member(folder.path(), &member.name).expect("a member");
        assert_eq!(local.identity().key, member.key.0);
        assert_eq!(local.identity().role, Role::Replica);
        assert!(settings_path(folder.path(), &member.name).is_file());
    }
    assert!(settings_path(folder.path(), "w1").is_file());
}

#[test]
fn deployment_that_contradicts_itself_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for (plan, reason) in [
        (plan(3, 1, &["a:1", "b:2", "c:3"]), "at least 3f+1 = 4"),
        (plan(3, 0, &["a:1", "b:2"]), "2 addresses for 3 replicas"),
        (
            plan(2, 0, &["a:1", "a:1"]),
            "replicas 0 and 1 have the same: a:1",
        ),
        (plan(1, 0, &["a"]), "`host:port`"),
    ] {
        let error = create_deployment(folder.path(), &plan, Existing::Keep).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(files(folder.path()), 0, "{reason}");
    }
}

#[test]
fn deployment_settings_that_exist_are_kept_unless_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = plan(1, 0, &["127.0.0.1:1"]);
    let settings = settings_path(folder.path(), "w1");
    fs::write(&settings, "mine").expect("written");
    let error = create_deployment(folder.path(), &plan, Existing::Keep).expect_err("it exists");
    assert!(
        error.to_string().contains("w1.toml exists already"),
        "{error}"
    );
    assert_eq!(files(folder.path()), 1);
    create_deployment(folder.path(), &plan, Existing::Replace).expect("made");
    assert_ne!(fs::read_to_string(&settings).expect("a file"), "mine");
}

fn plan(replicas: u32, faults: usize, addresses: &[&str]) -> DeploymentPlan {
    DeploymentPlan {
        members: ClusterPlan {
            replicas,
            hosts: Vec::new(),
            clients: vec!["w1".into()],
            authority_validity: Validity::days(2),
            validity: Validity::days(1),
        },
        faults,
        addresses: addresses.iter().map(|address| (*address).into()).collect(),
        operators: Vec::new(),
    }
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

//! A throw-away deployment: authority, certificates, cluster file and settings in a folder that
//! disappears with it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bts_certs::cluster::{Cluster, Member};
use bts_certs::deployment::{DeploymentPlan, create_deployment, settings_path};
use bts_certs::folder::{ClusterPlan, Existing, add_member, load_member, open_authority};
use bts_certs::{Identity, LocalIdentity, Subject, Validity};
use bts_core::ids::ReplicaId;
use tempfile::TempDir;

use super::ports::free_addresses;

/// The deployment. Clients are called `c0`, `c1`, ..., the first of which is an operator. Replicas store nothing, unless it is
/// [`Deployment::durable`]. Its files are removed with it, unless it is [`Deployment::left_behind`].
#[derive(Debug)]
pub struct Deployment {
    folder: TempDir,
    cluster: Cluster,
}

impl Deployment {
    /// Makes one: `replicas`, `faults` of which may be malicious, and so many clients.
    pub fn new(replicas: u32, faults: usize, clients: usize) -> Self {
        Self::at(&free_addresses(replicas as usize), faults, clients)
    }

    /// Makes one whose replicas listen at these addresses.
    pub fn at(addresses: &[SocketAddr], faults: usize, clients: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let replicas = u32::try_from(addresses.len()).expect("few replicas");
        let plan = DeploymentPlan {
            members: ClusterPlan {
                replicas,
                hosts: Vec::new(),
                clients: (0..clients).map(client_name).collect(),
                authority_validity: Validity::days(2),
                validity: Validity::days(1),
            },
            faults,
            addresses: addresses.iter().map(SocketAddr::to_string).collect(),
            operators: vec![client_name(0)],
        };
        create_deployment(folder.path(), &plan, Existing::Keep).expect("an empty folder");
        let file = settings_path(folder.path(), "cluster");
        let cluster = Cluster::load(&file).expect("the cluster file was just written");
        Self { folder, cluster }.with_durability("sync", "memory")
    }

    /// The same with replicas that store what they promise, each in [`Deployment::data_of`].
    #[must_use]
    pub fn durable(self) -> Self {
        self.with_durability("memory", "sync")
    }

    /// The same with files that stay when it goes, for somebody to look at or to remove.
    #[must_use]
    pub fn left_behind(mut self) -> Self {
        self.folder.disable_cleanup(true);
        self
    }

    /// Where a replica has its store.
    pub fn data_of(&self, replica: ReplicaId) -> PathBuf {
        self.settings_of(replica).with_extension("data")
    }

    fn with_durability(self, from: &str, to: &str) -> Self {
        for replica in self.cluster.configuration().replicas() {
            let file = self.settings_of(replica);
            let text = fs::read_to_string(&file).expect("every replica has settings");
            let line = |value: &str| format!("durability = \"{value}\"");
            let changed = text.replace(&line(from), &line(to));
            fs::write(&file, changed).expect("the folder is ours");
        }
        self
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The cluster, as its file tells.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The settings file of a replica.
    pub fn settings_of(&self, replica: ReplicaId) -> PathBuf {
        settings_path(self.path(), &self.member(replica).name)
    }

    /// The same, with replicas that keep no entry for anybody, so that clients who want the same
    /// meet in its instance and not before.
    #[must_use]
    pub fn without_reservations(self) -> Self {
        for replica in self.cluster.configuration().replicas() {
            let file = self.settings_of(replica);
            let mut text = fs::read_to_string(&file).expect("every replica has settings");
            text.push_str("\n[timing]\nreservation_ms = 0\n");
            fs::write(&file, text).expect("the folder is ours");
        }
        self
    }

    /// Where a replica listens.
    pub fn address_of(&self, replica: ReplicaId) -> SocketAddr {
        let address = &self.member(replica).address;
        address.parse().expect("addresses here are numbers")
    }

    /// Key and certificate of a client.
    pub fn client(&self, number: usize) -> LocalIdentity {
        load_member(self.path(), &client_name(number)).expect("as many clients were made")
    }

    /// Another host for a replica: another key, and an empty data directory. It takes the place of the
    /// files of the old one; the cluster that they belong to is to be written to `next.toml`.
    pub fn new_host_for(&self, replica: ReplicaId) -> Identity {
        let authority = open_authority(self.path()).expect("the authority is there");
        let subject = Subject::replica(u32::from(replica.0), &[] as &[&str]).expect("a replica");
        let days = Validity::days(1);
        let made = add_member(self.path(), &authority, &subject, days, Existing::Replace);
        let _ = fs::remove_dir_all(self.data_of(replica));
        let file = self.settings_of(replica);
        let text = fs::read_to_string(&file).expect("every replica has settings");
        let changed = text.replace("\"cluster.toml\"", "\"next.toml\"");
        fs::write(&file, changed).expect("the folder is ours");
        made.expect("a certificate")
    }

    /// The cluster as somebody sees it who reaches these replicas at other addresses.
    pub fn cluster_through(&self, addresses: &BTreeMap<ReplicaId, SocketAddr>) -> Cluster {
        let moved = |(id, member): (ReplicaId, &Member)| match addresses.get(&id) {
            Some(address) => Member {
                address: address.to_string(),
                ..member.clone()
            },
            None => member.clone(),
        };
        let members: Vec<Member> = self.cluster.members().map(moved).collect();
        let configuration = self.cluster.configuration();
        let faults = configuration.size().faults();
        Cluster::new(self.cluster.id(), faults, &members, configuration.policy())
            .expect("only addresses changed")
    }

    fn member(&self, replica: ReplicaId) -> &Member {
        self.cluster
            .member(replica)
            .expect("a replica of this cluster")
    }
}

fn client_name(number: usize) -> String {
    format!("c{number}")
}

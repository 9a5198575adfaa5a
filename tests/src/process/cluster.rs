//! A running cluster: one process per replica.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use bts_core::ids::ReplicaId;

use super::deployment::Deployment;
use super::hand::Hand;
use super::lab::Lab;
use super::node::{Node, Role};
use super::until;
use crate::hostile::Behaviour;

/// The cluster. Everything ends with it; if that is because a test failed, the ends of the logs are
/// printed.
#[derive(Debug)]
pub struct Cluster {
    nodes: BTreeMap<ReplicaId, Node>,
    deployment: Deployment,
    program: PathBuf,
    /// Where the processes are, one member each; else on this machine.
    lab: Option<Arc<Lab>>,
    hostile: BTreeMap<ReplicaId, Behaviour>,
}

impl Cluster {
    /// Starts all replicas of the deployment with `program`, which is `bts-node`; those in
    /// `hostile` misbehave. Waits until all others welcome clients.
    pub async fn start(
        program: impl AsRef<Path>,
        deployment: Deployment,
        hostile: &[(u16, Behaviour)],
    ) -> Self {
        Self::start_at(program, None, deployment, hostile).await
    }

    /// The same with each replica in the namespace of the member of its number. To be called from
    /// within a namespace of the same network.
    pub async fn start_in(
        lab: &Arc<Lab>,
        program: impl AsRef<Path>,
        deployment: Deployment,
    ) -> Self {
        Self::start_at(program, Some(Arc::clone(lab)), deployment, &[]).await
    }

    async fn start_at(
        program: impl AsRef<Path>,
        lab: Option<Arc<Lab>>,
        deployment: Deployment,
        hostile: &[(u16, Behaviour)],
    ) -> Self {
        let mut cluster = Self {
            lab,
            nodes: BTreeMap::new(),
            deployment,
            program: program.as_ref().to_owned(),
            hostile: hostile
                .iter()
                .map(|(id, behaviour)| (ReplicaId(*id), *behaviour))
                .collect(),
        };
        for replica in cluster.replicas() {
            cluster.restart(replica.0);
        }
        for replica in cluster.correct() {
            cluster.wait_ready(replica.0).await;
        }
        cluster
    }

    /// Where its files are, and who belongs to it.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The replicas that are not hostile.
    pub fn correct(&self) -> Vec<ReplicaId> {
        let mut all = self.replicas();
        all.retain(|replica| !self.hostile.contains_key(replica));
        all
    }

    /// The process of a replica.
    pub fn node(&mut self, replica: u16) -> &mut Node {
        self.nodes
            .get_mut(&ReplicaId(replica))
            .expect("a replica of this cluster")
    }

    /// Starts a replica, anew if it runs.
    pub fn restart(&mut self, replica: u16) {
        let id = ReplicaId(replica);
        self.nodes.remove(&id);
        let role = self
            .hostile
            .get(&id)
            .map_or(Role::Replica, |how| Role::Hostile(*how));
        let settings = self.deployment.settings_of(id);
        let command = match &self.lab {
            Some(lab) => lab.command(usize::from(replica), &self.program),
            None => Command::new(&self.program),
        };
        self.nodes.insert(id, Node::start(command, role, &settings));
    }

    /// Ends these replicas in one moment, as a loss of power of their hall does.
    pub fn kill(&mut self, replicas: &[u16]) {
        for replica in replicas {
            self.node(*replica).strike();
        }
        for replica in replicas {
            self.node(*replica).kill();
        }
    }

    /// Waits until a replica welcomes clients.
    pub async fn wait_ready(&mut self, replica: u16) {
        let what = format!("replica {replica} welcomes clients");
        until(&what, async || {
            assert!(self.node(replica).is_alive(), "replica {replica} ended");
            let mut hand = Hand::new(&self.deployment, 0);
            hand.connect(ReplicaId(replica)).await.ok()
        })
        .await;
    }

    fn replicas(&self) -> Vec<ReplicaId> {
        self.deployment
            .cluster()
            .configuration()
            .replicas()
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for (replica, node) in &self.nodes {
                eprintln!(
                    "---- the end of the log of {replica} ----\n{}",
                    node.last_words()
                );
            }
        }
    }
}

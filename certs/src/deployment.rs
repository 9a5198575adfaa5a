//! A whole deployment in one folder: authority, keys, certificates, and the files that say who
//! plays which part.
//!
//! Beside the files of [`crate::folder`] there are `cluster.toml`, `replica-<index>.toml` for each
//! replica and `<client>.toml` for each client. Paths in them are relative, so the folder can be
//! moved; and a host needs of it only `ca.crt`, `cluster.toml` and the three files of its member.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use bts_core::configuration::Policy;
use bts_core::ids::{ClusterId, PublicKey, ReplicaId};
use ed25519_dalek::SigningKey;

use crate::cluster::{Cluster, Member, quoted};
use crate::folder::{ClusterPlan, Existing, FolderError, create_cluster};
use crate::folder::{Kind, check_absent, write_files};
use crate::identity::{Identity, Role};
use crate::subject::replica_name;

/// A deployment to be made.
#[derive(Clone, Debug)]
pub struct DeploymentPlan {
    /// Its members.
    pub members: ClusterPlan,
    /// How many replicas may be Byzantine.
    pub faults: usize,
    /// Where the replicas listen, in order: `host:port`.
    pub addresses: Vec<String>,
    /// Which of the clients may change the members of the cluster.
    pub operators: Vec<String>,
}

/// Makes a deployment. All of the plan is checked before anything is written. Returns the replicas
/// in order, then the clients.
pub fn create_deployment(
    folder: &Path,
    plan: &DeploymentPlan,
    existing: Existing,
) -> Result<Vec<Identity>, FolderError> {
    let names = 0..plan.members.replicas;
    let paths: Vec<PathBuf> = ["cluster".into()]
        .into_iter()
        .chain(names.map(replica_name))
        .chain(plan.members.clients.iter().cloned())
        .map(|name| settings_path(folder, &name))
        .collect();
    check_absent(paths.iter(), existing)?;
    cluster_of(plan, &stand_ins(plan), Policy::default())?;
    let identities = create_cluster(folder, &plan.members, existing)?;
    let replicas = identities.iter().filter(|one| one.role == Role::Replica);
    let keys: Vec<PublicKey> = replicas.map(|one| PublicKey(one.key)).collect();
    let is_operator = |one: &&Identity| plan.operators.contains(&one.name);
    let operators = identities.iter().filter(is_operator);
    let policy = Policy {
        operators: operators.map(|one| PublicKey(one.key)).collect(),
        ..Policy::default()
    };
    let cluster = cluster_of(plan, &keys, policy)?;
    write_files(folder, &settings_files(folder, plan, &cluster), existing)?;
    Ok(identities)
}

/// Where the settings of a member (or of `cluster`) are.
pub fn settings_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.toml"))
}

/// Keys of nobody, to check a plan before the real ones are made.
fn stand_ins(plan: &DeploymentPlan) -> Vec<PublicKey> {
    let key = |_| SigningKey::from_bytes(&rand::random());
    (0..plan.members.replicas)
        .map(key)
        .map(|key| PublicKey(key.verifying_key().to_bytes()))
        .collect()
}

fn cluster_of(
    plan: &DeploymentPlan,
    keys: &[PublicKey],
    policy: Policy,
) -> Result<Cluster, FolderError> {
    if plan.addresses.len() != keys.len() {
        return Err(FolderError::Addresses {
            replicas: keys.len(),
            addresses: plan.addresses.len(),
        });
    }
    let members: Vec<Member> = (0..)
        .zip(keys)
        .zip(&plan.addresses)
        .map(|((index, key), address)| Member {
            name: replica_name(index),
            address: address.clone(),
            key: *key,
        })
        .collect();
    let id = ClusterId(rand::random());
    Ok(Cluster::new(id, plan.faults, &members, &policy)?)
}

fn settings_files(
    folder: &Path,
    plan: &DeploymentPlan,
    cluster: &Cluster,
) -> Vec<(PathBuf, String, Kind)> {
    let mut files = vec![("cluster".to_owned(), cluster.to_toml())];
    for (replica, member) in cluster.members() {
        files.push((member.name.clone(), replica_settings(replica, member)));
    }
    for name in &plan.members.clients {
        files.push((name.clone(), client_settings(name)));
    }
    files
        .into_iter()
        .map(|(name, text)| (settings_path(folder, &name), text, Kind::Public))
        .collect()
}

fn replica_settings(replica: ReplicaId, member: &Member) -> String {
    format!(
        "# Settings of one replica: bts-replica --config {name}.toml\n\
         # Paths are relative to this file.\n\n\
         index = {index}\n{files}\
         listen = {listen}\n\n\
         # What it promises is stored here before it leaves; \"memory\" instead of \"sync\" stores\n\
         # nothing, for tests: a replica that restarts has lost its memory then, and stays out.\n\
         data_dir = {data}\n\
         durability = \"sync\"\n",
        name = member.name,
        index = replica.0,
        files = member_files(&member.name),
        listen = quoted(&listen_address(&member.address)),
        data = quoted(&format!("{}.data", member.name)),
    )
}

fn client_settings(name: &str) -> String {
    format!(
        "# Settings of one client. Paths are relative to this file.\n\n{}",
        member_files(name)
    )
}

fn member_files(name: &str) -> String {
    format!(
        "cluster = \"cluster.toml\"\n\
         certificate = {}\n\
         key = {}\n\
         ca = \"ca.crt\"\n",
        quoted(&format!("{name}.crt")),
        quoted(&format!("{name}.key")),
    )
}

/// A host may not own the address under which others reach it, so all of its own are listened on;
/// but what is meant for this host alone stays on this host.
fn listen_address(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(socket) if socket.ip().is_loopback() => address.into(),
        Ok(SocketAddr::V6(socket)) => format!("[::]:{}", socket.port()),
        Ok(_) | Err(_) => {
            let port = address.rsplit_once(':').map_or("", |(_, port)| port);
            let all = IpAddr::from([0, 0, 0, 0]);
            format!("{all}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployment_listens_where_others_can_reach_it() {
        for (address, listen) in [
            ("127.0.0.1:7400", "127.0.0.1:7400"),
            ("[::1]:7400", "[::1]:7400"),
            ("10.0.0.7:7400", "0.0.0.0:7400"),
            ("[2001:db8::7]:7400", "[::]:7400"),
            ("node.example:7400", "0.0.0.0:7400"),
        ] {
            assert_eq!(listen_address(address), listen);
        }
    }
}

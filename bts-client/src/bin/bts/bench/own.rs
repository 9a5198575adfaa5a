//! A cluster for the benchmark alone: an authority, keys and settings in a temporary folder, and a
//! process for each replica. All of it goes with its handle.

use std::env::{self, consts::EXE_SUFFIX};
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use bts_certs::Validity;
use bts_certs::cluster::Cluster;
use bts_certs::deployment::{DeploymentPlan, create_deployment, settings_path};
use bts_certs::folder::{ClusterPlan, Existing};
use bts_client::{Config, ReplicaId};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::node::{self, Node};
use super::options::{Bench, Durability};
use crate::exit::{Exit, Failure};

/// Ports below those that systems give to sockets which do not care, so that no client takes one between
/// its choice here and the start of its replica.
const PORTS: std::ops::RangeInclusive<u16> = 12_000..=31_000;
const PROGRAM: &str = "bts-replica";

#[derive(Debug)]
pub(super) struct Own {
    // The processes go before their files.
    nodes: Vec<(ReplicaId, Node)>,
    /// What makes some of them slow.
    pulses: JoinSet<()>,
    folder: TempDir,
}

impl Own {
    /// Makes and starts it.
    pub(super) fn start(options: &Bench) -> Result<Self, Failure> {
        let folder = match &options.dir {
            Some(dir) => TempDir::with_prefix_in("bts-bench-", dir),
            None => TempDir::with_prefix("bts-bench-"),
        };
        let folder = folder.map_err(|error| {
            let dir = options.dir.clone().unwrap_or_else(env::temp_dir);
            let why = format!("cannot make a folder in {}: {error}", dir.display());
            Failure::new(Exit::Usage, why)
        })?;
        let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
        let addresses = free_addresses(options.replicas as usize).map_err(|e| failed(&e))?;
        create_deployment(folder.path(), &plan(options, addresses), Existing::Keep)
            .map_err(|error| failed(&error))?;
        let cluster = Cluster::load(&settings_path(folder.path(), "cluster"));
        let cluster = cluster.map_err(|error| failed(&error))?;
        let mut own = Self {
            nodes: Vec::new(),
            pulses: JoinSet::new(),
            folder,
        };
        let is_alive = |(replica, _): &(ReplicaId, _)| !options.dead.contains(&replica.0);
        for (replica, member) in cluster.members().filter(is_alive) {
            let settings = settings_path(own.folder.path(), &member.name);
            if options.durability == Durability::Memory {
                store_nothing(&settings).map_err(|error| failed(&error))?;
            }
            let command = command_of(options, replica)?;
            let node = Node::start(&command, &settings).map_err(|error| {
                Failure::new(Exit::Usage, format!("cannot start {}: {error}", command[0]))
            })?;
            own.nodes.push((replica, node));
        }
        Ok(own)
    }

    /// From now on these are slow.
    pub(super) fn slow_down(&mut self, seats: &[u16]) {
        for (_, node) in self.nodes.iter().filter(|(one, _)| seats.contains(&one.0)) {
            self.pulses.spawn(node::pulse(node.pid()));
        }
    }

    /// The settings of a client.
    pub(super) fn config(&self, client: usize) -> Result<Config, Failure> {
        let path = settings_path(self.folder.path(), &client_name(client));
        Config::load(path).map_err(|error| Failure::new(Exit::Failed, error))
    }

    /// Where all its files are.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|(_, node)| node.pid()).collect()
    }

    /// The end of what a replica has logged.
    pub(super) fn words(&self, replica: ReplicaId) -> Option<String> {
        let mut nodes = self.nodes.iter();
        Some(nodes.find(|(one, _)| *one == replica)?.1.words())
    }

    /// An error if a replica has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        for (replica, node) in &mut self.nodes {
            if let Some(words) = node.last_words() {
                let why = format!("replica {replica} has ended: {words}");
                return Err(Failure::new(Exit::Failed, why));
            }
        }
        Ok(())
    }
}

/// The name of a client of an own cluster.
pub(super) fn client_name(number: usize) -> String {
    format!("client-{number}")
}

fn plan(options: &Bench, addresses: Vec<String>) -> DeploymentPlan {
    DeploymentPlan {
        members: ClusterPlan {
            replicas: options.replicas,
            hosts: Vec::new(),
            clients: (0..options.clients_max()).map(client_name).collect(),
            authority_validity: Validity::days(2),
            validity: Validity::days(2),
        },
        faults: options.faults(),
        addresses,
        operators: Vec::new(),
    }
}

fn store_nothing(settings: &Path) -> std::io::Result<()> {
    let text = fs::read_to_string(settings)?;
    let line = |value: &str| format!("durability = \"{value}\"");
    fs::write(settings, text.replace(&line("sync"), &line("memory")))
}

fn command_of(options: &Bench, replica: ReplicaId) -> Result<Vec<String>, Failure> {
    let programs = &options.replica_program;
    let of_seat = programs.iter().find(|one| one.seat == Some(replica.0));
    let of_all = || programs.iter().find(|one| one.seat.is_none());
    if let Some(other) = of_seat.or_else(of_all) {
        return Ok(other.command.clone());
    }
    let program = find_program()?.to_string_lossy().into_owned();
    // So that nothing is left over when this process is killed.
    Ok(vec![program, "--end-with-stdin".into()])
}

/// The server beside this program, else where the shell would find it.
fn find_program() -> Result<PathBuf, Failure> {
    let file = format!("{PROGRAM}{EXE_SUFFIX}");
    let here = env::current_exe().ok();
    let here = here.as_deref().and_then(Path::parent);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = here
        .map(PathBuf::from)
        .into_iter()
        .chain(env::split_paths(&path));
    let found = places.find_map(|place| Some(place.join(&file)).filter(|file| file.is_file()));
    found.ok_or_else(|| {
        let beside = here.unwrap_or(Path::new(".")).display();
        let why = format!(
            "there is no {PROGRAM} in {beside} nor on PATH: `cargo build --release` makes it, \
             --replica-program names it where it is, and --cluster needs none"
        );
        Failure::new(Exit::Usage, why)
    })
}

/// So many different addresses on which nobody listens.
fn free_addresses(count: usize) -> std::io::Result<Vec<String>> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..100 * count {
        if held.len() == count {
            break;
        }
        held.extend(UdpSocket::bind(("127.0.0.1", rand::random_range(PORTS))));
    }
    let addresses = held
        .iter()
        .map(|socket| Ok(socket.local_addr()?.to_string()));
    match held.len() == count {
        true => addresses.collect(),
        false => Err(std::io::ErrorKind::AddrInUse.into()),
    }
}

//! Four real replicas in this process, each on a thread of its own, over loopback.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::UdpSocket;
use std::path::PathBuf;
use std::thread::JoinHandle;

use bts_certs::Validity;
use bts_certs::deployment::{DeploymentPlan, create_deployment, settings_path};
use bts_certs::folder::{ClusterPlan, Existing};
use bts_client::{Client, Config};
use bts_replica::{Durability, Settings, run};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A running cluster that survives one faulty replica, with the clients `alice` and `bob`.
pub(crate) struct Cluster {
    folder: TempDir,
    replicas: Vec<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plan = DeploymentPlan {
            members: ClusterPlan {
                replicas: 4,
                hosts: vec!["127.0.0.1".into()],
                clients: vec!["alice".into(), "bob".into()],
                authority_validity: Validity::days(2),
                validity: Validity::days(1),
            },
            faults: 1,
            addresses: free_addresses(4),
            operators: Vec::new(),
        };
        create_deployment(folder.path(), &plan, Existing::Keep).expect("a new folder");
        let settings = |index| settings_path(folder.path(), &format!("replica-{index}"));
        let start = |index| {
            let mut settings = Settings::load(&settings(index)).expect("written to be read");
            settings.durability = Durability::Memory;
            Some(Running::start(settings))
        };
        let replicas = (0..4).map(start).collect();
        Self { folder, replicas }
    }

    /// The settings file of a client.
    pub(crate) fn config_path(&self, name: &str) -> PathBuf {
        settings_path(self.folder.path(), name)
    }

    /// A folder for files of the test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self, name: &str) -> Config {
        Config::load(self.config_path(name)).expect("written to be read")
    }

    pub(crate) async fn client(&self, name: &str) -> Client {
        let client = Client::connect(self.config(name)).await;
        client.unwrap_or_else(|error| panic!("{name} cannot connect: {error}"))
    }

    /// Stops a replica for good: without a disk it cannot come back.
    pub(crate) fn stop(&mut self, index: usize) {
        if let Some(running) = self.replicas[index].take() {
            running.stop();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let (stops, threads): (Vec<_>, Vec<_>) = self
            .replicas
            .drain(..)
            .flatten()
            .map(|running| (running.stop, running.thread))
            .unzip();
        drop(stops);
        for thread in threads {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "a replica panicked"
            );
        }
    }
}

impl Running {
    fn start(settings: Settings) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let stopped = async { drop(stopped.await) };
            let ended = runtime.block_on(run(settings, bts_replica::replica, stopped));
            ended.expect("the replica ends only when it is stopped");
        });
        Self { stop, thread }
    }

    fn stop(self) {
        drop(self.stop);
        self.thread.join().expect("the replica does not panic");
    }
}

/// Addresses of this host that are free now. All are held until all are chosen, so they differ.
fn free_addresses(count: usize) -> Vec<String> {
    let socket = || UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let sockets: Vec<UdpSocket> = (0..count).map(|_| socket()).collect();
    let address = |socket: &UdpSocket| socket.local_addr().expect("it is bound").to_string();
    sockets.iter().map(address).collect()
}

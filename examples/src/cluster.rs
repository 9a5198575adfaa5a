//! A whole cluster inside this process, one thread per replica: for a first look and for tests. A
//! real deployment runs `bts-replica` on hosts of its own, as the README shows.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use bts_certs::deployment::settings_path;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::lab::{LabError, make_deployment};

/// Replicas that run until this is dropped.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    stop: watch::Sender<bool>,
    replicas: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Starts so many replicas, with certificates for these clients.
    pub fn start(replicas: u32, clients: &[&str]) -> Result<Self, LabError> {
        let folder = make_deployment(replicas, clients.iter().map(|name| (*name).to_owned()))?;
        let (stop, stopped) = watch::channel(false);
        let run = |index| {
            let path = settings_path(folder.path(), &format!("replica-{index}"));
            let stopped = stopped.clone();
            thread::spawn(move || run_replica(&path, stopped))
        };
        let replicas = (0..replicas).map(run).collect();
        Ok(Self {
            folder,
            stop,
            replicas,
        })
    }

    /// The settings of a client.
    pub fn settings(&self, client: &str) -> PathBuf {
        settings_path(self.folder.path(), client)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for replica in self.replicas.drain(..) {
            // A replica that panicked has said so already.
            let _ = replica.join();
        }
    }
}

fn run_replica(settings: &std::path::Path, mut stopped: watch::Receiver<bool>) {
    let settings = bts_replica::Settings::load(settings).expect("the settings were just written");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("the operating system lets a thread wait for sockets and timers");
    let shutdown = async move {
        // It fails when the cluster is gone, which is a reason to stop too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = runtime.block_on(bts_replica::run(settings, bts_replica::replica, shutdown))
    {
        eprintln!("a replica failed: {error}");
    }
}

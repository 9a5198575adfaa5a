//! A throw-away deployment on this machine: certificates of a CA made for the occasion, and one
//! process per replica and worker, all of which end with this one.

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bts_certs::Validity;
use bts_certs::deployment::{DeploymentPlan, create_deployment, settings_path};
use bts_certs::folder::{ClusterPlan, Existing, FolderError};
use tempfile::TempDir;

/// The name of the master's certificate.
pub const MASTER: &str = "master";

/// Why the deployment could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Keys, certificates or settings could not be written.
    #[error("cannot make the throw-away deployment: {0}")]
    Folder(#[from] FolderError),
    /// A process or a port could not be had.
    #[error("cannot start the throw-away deployment: {0}")]
    Process(#[from] io::Error),
}

/// The deployment.
#[derive(Debug)]
pub struct Lab {
    folder: TempDir,
    replicas: Vec<Process>,
    /// The workers, by number from 1.
    pub workers: Vec<Worker>,
}

/// A worker.
#[derive(Debug)]
pub struct Worker {
    /// Its name.
    pub name: String,
    process: Process,
}

/// A process that ends with its owner.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Lab {
    /// Makes certificates and settings for so many replicas, the master and the workers.
    pub fn new(replicas: u32, workers: u32) -> Result<Self, LabError> {
        let names = [MASTER.into()]
            .into_iter()
            .chain((1..=workers).map(worker_name));
        let folder = make_deployment(replicas, names)?;
        Ok(Self {
            folder,
            replicas: Vec::new(),
            workers: Vec::new(),
        })
    }

    /// The settings of the master.
    pub fn master_settings(&self) -> PathBuf {
        settings_path(self.folder.path(), MASTER)
    }

    /// Starts the next replica, in the given part.
    pub fn start_replica(&mut self, part: &str) -> Result<(), LabError> {
        let name = format!("replica-{}", self.replicas.len());
        let process = self.start(&name, &["--part", part])?;
        self.replicas.push(process);
        Ok(())
    }

    /// Starts the next worker; it stops in the middle of its `stall_in_task`th task.
    pub fn start_worker(&mut self, stall_in_task: Option<u32>) -> Result<(), LabError> {
        let name = worker_name(self.workers.len() as u32 + 1);
        let mut arguments = vec!["--part", "worker", "--name", &name];
        let task = stall_in_task.map(|task| task.to_string());
        arguments.extend(task.iter().flat_map(|task| ["--stall-in-task", task]));
        let process = self.start(&name, &arguments)?;
        self.workers.push(Worker { name, process });
        Ok(())
    }

    /// What the processes wrote to standard error, for a failure report.
    pub fn logs(&self) -> Vec<(String, String)> {
        let replicas = (0..self.replicas.len()).map(|index| format!("replica-{index}"));
        let names = replicas.chain(self.workers.iter().map(|worker| worker.name.clone()));
        let log = |name: String| {
            let text = std::fs::read_to_string(log_path(self.folder.path(), &name));
            (name, text.unwrap_or_default())
        };
        names.map(log).collect()
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Result<Process, LabError> {
        let log = File::create(log_path(self.folder.path(), name))?;
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .arg("--settings")
            .arg(settings_path(self.folder.path(), name))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Process(child))
    }
}

impl Worker {
    /// Kills the process, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.0.kill()?;
        self.process.0.wait().map(|_| ())
    }

    /// True if the process has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.process.0.try_wait(), Ok(Some(_)))
    }
}

/// Makes a CA, certificates and settings in a temporary folder, for loopback.
pub fn make_deployment(
    replicas: u32,
    clients: impl Iterator<Item = String>,
) -> Result<TempDir, LabError> {
    let folder = tempfile::tempdir()?;
    let plan = DeploymentPlan {
        members: ClusterPlan {
            replicas,
            hosts: vec!["127.0.0.1".into()],
            clients: clients.collect(),
            authority_validity: Validity::days(1),
            validity: Validity::days(1),
        },
        faults: faults(replicas),
        addresses: free_addresses(replicas)?,
        operators: Vec::new(),
    };
    create_deployment(folder.path(), &plan, Existing::Keep)?;
    Ok(folder)
}

/// How many of so many replicas may be malicious.
pub fn faults(replicas: u32) -> usize {
    (replicas.saturating_sub(1) / 3) as usize
}

fn worker_name(number: u32) -> String {
    format!("worker-{number}")
}

fn log_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// Ports that are free at this moment. All are held until all are known, so none is told twice.
fn free_addresses(count: u32) -> io::Result<Vec<String>> {
    let sockets: Vec<_> = (0..count)
        .map(|_| UdpSocket::bind("127.0.0.1:0"))
        .collect::<io::Result<_>>()?;
    sockets
        .iter()
        .map(|socket| Ok(socket.local_addr()?.to_string()))
        .collect()
}

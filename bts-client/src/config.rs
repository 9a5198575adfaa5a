//! What a client has to know before it starts: the cluster, who it is, and how long it waits.

use std::path::Path;
use std::time::Duration;

use bts_certs::cluster::Cluster;
use bts_certs::toml_file::{FileError, TomlFile};
use bts_certs::{Identity, LoadError, LocalIdentity, Role};
use serde::Deserialize;
use thiserror::Error;

/// How long an operation may take unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long connecting may take unless told otherwise.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// The settings of a client, from a file or built in code.
///
/// ```toml
/// cluster = "cluster.toml"    # paths are relative to this file
/// certificate = "alice.crt"
/// key = "alice.key"
/// ca = "ca.crt"
///
/// [timeouts]                  # may be left out, as may each of its lines
/// default_deadline_ms = 30000 # of an operation
/// connect_deadline_ms = 10000 # until a quorum of the replicas has welcomed us
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) cluster: Cluster,
    pub(crate) identity: LocalIdentity,
    pub(crate) deadline: Option<Duration>,
    pub(crate) connect_deadline: Duration,
}

/// Why settings cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The settings or the cluster file cannot be read or make no sense.
    #[error(transparent)]
    File(#[from] FileError),
    /// Certificate, key or authority cannot be used.
    #[error(transparent)]
    Identity(#[from] LoadError),
    /// The certificate is that of a replica.
    #[error("the certificate is that of {0}, but a client needs the certificate of a client")]
    NotAClient(Identity),
}

impl Config {
    /// The settings of a client of this cluster, with the usual deadlines.
    pub fn new(cluster: Cluster, identity: LocalIdentity) -> Result<Self, ConfigError> {
        if identity.identity().role != Role::Client {
            return Err(ConfigError::NotAClient(identity.identity().clone()));
        }
        Ok(Self {
            cluster,
            identity,
            deadline: Some(DEADLINE),
            connect_deadline: CONNECT_DEADLINE,
        })
    }

    /// Reads the settings of a client, and what they refer to.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::parse(&TomlFile::read(path.as_ref())?)
    }

    /// What a settings file says, and the files that it names.
    pub fn parse(file: &TomlFile) -> Result<Self, ConfigError> {
        let said: ConfigFile = file.parse()?;
        let cluster = Cluster::load(&file.resolve(&said.cluster))?;
        let identity = LocalIdentity::load(
            &file.resolve(&said.certificate),
            &file.resolve(&said.key),
            &file.resolve(&said.ca),
        )?;
        let mut config = Self::new(cluster, identity)?;
        if let Some(ms) = said.timeouts.default_deadline_ms {
            config.deadline = Some(Duration::from_millis(ms));
        }
        if let Some(ms) = said.timeouts.connect_deadline_ms {
            config.connect_deadline = Duration::from_millis(ms);
        }
        Ok(config)
    }

    /// How long an operation may take; `None`: as long as it wants.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long connecting may take.
    #[must_use]
    pub fn with_connect_deadline(mut self, deadline: Duration) -> Self {
        self.connect_deadline = deadline;
        self
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Who we are.
    pub fn identity(&self) -> &Identity {
        self.identity.identity()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    cluster: String,
    certificate: String,
    key: String,
    ca: String,
    #[serde(default)]
    timeouts: Timeouts,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Timeouts {
    default_deadline_ms: Option<u64>,
    connect_deadline_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use bts_certs::deployment::{DeploymentPlan, create_deployment, settings_path};
    use bts_certs::folder::{ClusterPlan, Existing};
    use bts_certs::{Validity, folder};

    use super::*;

    fn deployment(folder: &Path) {
        let plan = DeploymentPlan {
            members: ClusterPlan {
                replicas: 4,
                clients: vec!["alice".into()],
                hosts: vec!["127.0.0.1".into()],
                authority_validity: Validity::days(1),
                validity: Validity::days(1),
            },
            faults: 1,
            addresses: (0..4).map(|i| format!("127.0.0.1:{}", 7400 + i)).collect(),
            operators: Vec::new(),
        };
        create_deployment(folder, &plan, Existing::Keep).expect("a new folder");
    }

    fn load(folder: &Path, text: &str) -> Result<Config, ConfigError> {
        let path = folder.join("test.toml");
        std::fs::write(&path, text).expect("the folder can be written to");
        Config::load(path)
    }

    #[test]
    fn config_of_a_made_deployment_loads() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        deployment(folder.path());
        let path = settings_path(folder.path(), "alice");
        let config = Config::load(&path).expect("written to be read");
        assert_eq!(config.identity().name, "alice");
        assert_eq!(config.cluster().members().count(), 4);
        assert_eq!(config.deadline, Some(DEADLINE));
        let text = std::fs::read_to_string(path).expect("it is there");
        let timeouts = format!("{text}\n[timeouts]\ndefault_deadline_ms = 5\n");
        let config = load(folder.path(), &timeouts).expect("known settings");
        assert_eq!(config.deadline, Some(Duration::from_millis(5)));
        assert_eq!(config.connect_deadline, CONNECT_DEADLINE);
    }

    #[test]
    fn config_mistakes_are_refused_with_line_and_reason() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        deployment(folder.path());
        let path = settings_path(folder.path(), "alice");
        let good = std::fs::read_to_string(path).expect("it is there");
        for (from, to, told) in [
            ("cluster.toml", "no.toml", "cannot read"),
            ("ca = ", "cs = ", "unknown field `cs`"),
            (
                "ca.crt",
                "alice.crt",
                "alice.crt is not the certificate of an authority",
            ),
            (
                "alice.crt",
                "replica-0.crt",
                "is not the key of the certificate",
            ),
            (
                "alice.",
                "replica-0.",
                "the certificate is that of replica replica-0",
            ),
            (
                "ca.crt\"",
                "ca.crt\"
[timeouts]
x = 1",
                "test.toml:8: unknown field `x`",
            ),
        ] {
            let changed = good.replace(from, to);
            assert_ne!(changed, good, "{from} is not in the file");
            let found = load(folder.path(), &changed).expect_err(told).to_string();
            assert!(found.contains(told), "{found:?} should say {told:?}");
        }
        let missing = folder::load_member(folder.path(), "bob");
        assert!(
            missing.is_err(),
            "only members that were made can be loaded"
        );
    }
}

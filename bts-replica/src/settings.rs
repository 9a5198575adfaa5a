//! The settings of one replica: its file, and what it comes to.
//!
//! Whatever is unknown, or contradicts the certificate or the cluster file, is refused with line
//! and reason before anything is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bts_certs::cluster::{Cluster, Member};
use bts_certs::toml_file::{FileError, TomlFile};
use bts_certs::{Identity, LocalIdentity, Role};
use bts_core::ids::{PublicKey, ReplicaId};
use bts_core::limits::{CLIENT_FRAME_BYTES_MAX, SESSIONS_PER_CLIENT_MAX};
use bts_core::replica::Limits;
use bts_core::time::Span;
use serde::Deserialize;
use toml::Spanned;

use crate::{home, store};

/// All that a replica needs to know at its start, from a file or built in code.
///
/// ```toml
/// cluster = "cluster.toml"         # paths are relative to this file
/// index = 0                        # which of its replicas this is
/// certificate = "replica-0.crt"
/// key = "replica-0.key"
/// ca = "ca.crt"
/// listen = "0.0.0.0:7400"
/// data_dir = "replica-0.data"      # where its log is; made if it is not there
/// durability = "sync"              # or "memory": nothing is stored, for tests
///
/// [limits]                         # may be left out, as may each line from here on
/// open_votes_per_client = 1024     # Takes of one client key that are voted for and undecided
/// waiters_per_session = 1024       # blocked `rd` and `in`
/// live_contents_per_writer = 4000000
/// sessions = 4096                  # connected at once
/// sessions_per_client = 256
/// queue_bytes = 8388608            # that may wait for one connection
/// queues_bytes = 268435456         # that may wait for all clients
///
/// [timing]
/// window_ms = 200                  # first window of a recovery, about ten round trips
/// reservation_ms = 50              # how long a candidate is kept for the client it was named to
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster.
    pub cluster: Cluster,
    /// Which of its replicas this is.
    pub id: ReplicaId,
    /// Its key and certificate.
    pub identity: LocalIdentity,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What becomes of it when it stops.
    pub durability: Durability,
    /// Limits of the protocol.
    pub limits: Limits,
    /// Limits of the connections.
    pub connections: ConnectionLimits,
    /// Δ: the first window of a recovery, about ten times a round trip.
    pub window: Span,
    /// How long an entry stays reserved for the client that it was named to.
    pub reservation: Span,
}

/// What a replica still knows after it stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing, so that it has to stay out.
    Memory,
    /// All it ever promised: it is in this directory before it leaves.
    Sync(PathBuf),
}

/// How many may be connected, and how much may wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Client sessions, all together.
    pub sessions: usize,
    /// Sessions of one client key.
    pub sessions_per_client: usize,
    /// Bytes that may wait to be written to one connection; one frame always may.
    pub queue_bytes: usize,
    /// Bytes that may wait for all clients together.
    pub queues_bytes: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            sessions: 4096,
            sessions_per_client: 256,
            queue_bytes: 8 << 20,
            queues_bytes: 256 << 20,
        }
    }
}

/// Why somebody cannot be a replica of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The certificate is for another role.
    #[error("the certificate is that of {0}; a replica needs one made by `bts-certs replica`")]
    NotAReplica(String),
    /// The key is not in the cluster file.
    #[error("the key {0} of the certificate is not that of a replica in the cluster file")]
    NotAMember(String),
    /// The key is that of another replica.
    #[error("index {said}, but the key of the certificate is that of replica {is}")]
    AnotherMember {
        /// The index that the settings say.
        said: u16,
        /// The index of the key.
        is: u16,
    },
    /// Peers dial another name than that of the certificate.
    #[error(
        "the certificate names {certificate}, the cluster file {cluster}: nobody could dial it"
    )]
    AnotherName {
        /// The name in the certificate.
        certificate: String,
        /// The name in the cluster file.
        cluster: String,
    },
}

impl Settings {
    /// Default settings of the replica of the cluster that `identity` is.
    pub fn new(
        cluster: Cluster,
        identity: LocalIdentity,
        listen: SocketAddr,
        durability: Durability,
    ) -> Result<Self, MemberError> {
        Ok(Self {
            id: member_id(&cluster, identity.identity())?,
            cluster,
            identity,
            listen,
            durability,
            limits: Limits::default(),
            connections: ConnectionLimits::default(),
            window: Span::from_millis(200),
            reservation: Span::from_millis(50),
        })
    }

    /// Reads the settings file, and the files that it names.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::load_with(path, None)
    }

    /// The same, with its log in this directory, whatever the file says.
    pub fn load_with(path: &Path, data_dir: Option<&Path>) -> Result<Self, FileError> {
        Self::parse_with(&TomlFile::read(path)?, data_dir)
    }

    /// What a settings file says, and the files that it names.
    pub fn parse(file: &TomlFile) -> Result<Self, FileError> {
        Self::parse_with(file, None)
    }

    fn parse_with(file: &TomlFile, data_dir: Option<&Path>) -> Result<Self, FileError> {
        let said: SettingsFile = file.parse()?;
        let durability = said.durability(file, data_dir)?;
        let listen = said.listen(file)?;
        let mut cluster = Cluster::load(&file.resolve(&said.cluster))?;
        if let Durability::Sync(home) = &durability {
            cluster = home::newest(home, cluster)?;
        }
        let identity = LocalIdentity::load(
            &file.resolve(said.certificate.get_ref()),
            &file.resolve(&said.key),
            &file.resolve(&said.ca),
        )
        .map_err(|error| file.wrong(said.certificate.span(), error.to_string()))?;
        let size = cluster.configuration().size().replicas();
        let index = *said.index.get_ref();
        if usize::from(index) >= size {
            let reason = format!(
                "index {index}, but the cluster has the replicas 0 to {}",
                size - 1
            );
            return Err(file.wrong(said.index.span(), reason));
        }
        let mut settings = Self::new(cluster, identity, listen, durability)
            .map_err(|error| file.wrong(said.certificate.span(), error.to_string()))?;
        if settings.id != ReplicaId(index) {
            let is = settings.id.0;
            let error = MemberError::AnotherMember { said: index, is };
            return Err(file.wrong(said.index.span(), error.to_string()));
        }
        said.limits.apply(file, &mut settings)?;
        said.timing.apply(file, &mut settings)?;
        Ok(settings)
    }

    /// Whose its store is.
    /// The same in another configuration of the cluster.
    pub(crate) fn in_configuration(self, cluster: Cluster) -> Result<Self, MemberError> {
        Ok(Self {
            id: member_id(&cluster, self.identity.identity())?,
            cluster,
            ..self
        })
    }

    pub(crate) fn owner(&self) -> store::Identity {
        let configuration = self.cluster.configuration();
        let context = configuration.signing_context();
        store::Identity {
            cluster: context.cluster,
            configuration: context.configuration,
            replica: self.id,
            key: PublicKey(self.identity.identity().key),
        }
    }
}

fn member_id(cluster: &Cluster, identity: &Identity) -> Result<ReplicaId, MemberError> {
    if identity.role != Role::Replica {
        return Err(MemberError::NotAReplica(identity.to_string()));
    }
    let of_key = |(_, member): &(ReplicaId, &Member)| member.key == PublicKey(identity.key);
    let Some((id, member)) = cluster.members().find(of_key) else {
        return Err(MemberError::NotAMember(identity.key_hex()));
    };
    if member.name != identity.name {
        return Err(MemberError::AnotherName {
            certificate: identity.name.clone(),
            cluster: member.name.clone(),
        });
    }
    Ok(id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    cluster: String,
    index: Spanned<u16>,
    certificate: Spanned<String>,
    key: String,
    ca: String,
    listen: Spanned<String>,
    data_dir: Option<String>,
    durability: Option<Spanned<String>>,
    #[serde(default)]
    limits: LimitsFile,
    #[serde(default)]
    timing: TimingFile,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsFile {
    open_votes_per_client: Option<Spanned<u64>>,
    waiters_per_session: Option<Spanned<u64>>,
    live_contents_per_writer: Option<Spanned<u64>>,
    sessions: Option<Spanned<u64>>,
    sessions_per_client: Option<Spanned<u64>>,
    queue_bytes: Option<Spanned<u64>>,
    queues_bytes: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TimingFile {
    window_ms: Option<Spanned<u64>>,
    reservation_ms: Option<Spanned<u64>>,
}

impl SettingsFile {
    fn durability(
        &self,
        file: &TomlFile,
        data_dir: Option<&Path>,
    ) -> Result<Durability, FileError> {
        let said = self.data_dir.as_ref();
        let data_dir = match data_dir {
            Some(given) => Some(given.to_owned()),
            None => said.map(|said| file.resolve(said)),
        };
        let durability = self.durability.as_ref();
        match (durability.map(|said| said.get_ref().as_str()), data_dir) {
            (Some("memory"), _) => Ok(Durability::Memory),
            (Some("sync") | None, Some(dir)) => Ok(Durability::Sync(dir)),
            (Some("sync") | None, None) => {
                let span = durability.map_or(self.index.span(), Spanned::span);
                let reason = "there is no `data_dir` to keep the log in. Name one (here or by \
                              --data-dir), or say `durability = \"memory\"`: then nothing is \
                              stored, and a replica that stops has to stay out";
                Err(file.wrong(span, reason))
            }
            (Some(other), _) => {
                let span = durability.map_or(self.index.span(), Spanned::span);
                let reason = format!(
                    "durability `{other}` is not known: \"sync\" stores what is promised before \
                     it is promised, \"memory\" nothing"
                );
                Err(file.wrong(span, reason))
            }
        }
    }

    fn listen(&self, file: &TomlFile) -> Result<SocketAddr, FileError> {
        let said = self.listen.get_ref();
        said.parse().map_err(|_| {
            let reason = format!("`{said}` is not an IP address with a port, such as 0.0.0.0:7400");
            file.wrong(self.listen.span(), reason)
        })
    }
}

impl LimitsFile {
    fn apply(&self, file: &TomlFile, settings: &mut Settings) -> Result<(), FileError> {
        let Settings {
            limits,
            connections,
            ..
        } = settings;
        let defaults = Limits::default();
        for (said, max, place) in [
            (
                &self.open_votes_per_client,
                defaults.open_votes_per_client,
                &mut limits.open_votes_per_client,
            ),
            (
                &self.waiters_per_session,
                defaults.waiters_per_session,
                &mut limits.waiters_per_session,
            ),
            (
                &self.live_contents_per_writer,
                defaults.live_contents_per_writer,
                &mut limits.live_contents_per_writer,
            ),
            (&self.sessions, 1 << 20, &mut connections.sessions),
            (
                &self.sessions_per_client,
                SESSIONS_PER_CLIENT_MAX,
                &mut connections.sessions_per_client,
            ),
        ] {
            set(file, said, 1, max, place)?;
        }
        for (said, place) in [
            (&self.queue_bytes, &mut connections.queue_bytes),
            (&self.queues_bytes, &mut connections.queues_bytes),
        ] {
            set(file, said, CLIENT_FRAME_BYTES_MAX, 1 << 40, place)?;
        }
        Ok(())
    }
}

impl TimingFile {
    fn apply(&self, file: &TomlFile, settings: &mut Settings) -> Result<(), FileError> {
        let (mut window_ms, mut reservation_ms) = (None, None);
        set_some(file, &self.window_ms, 1, 60_000, &mut window_ms)?;
        set_some(file, &self.reservation_ms, 0, 60_000, &mut reservation_ms)?;
        settings.window = window_ms.map_or(settings.window, Span::from_millis);
        settings.reservation = reservation_ms.map_or(settings.reservation, Span::from_millis);
        Ok(())
    }
}

fn set(
    file: &TomlFile,
    said: &Option<Spanned<u64>>,
    min: usize,
    max: usize,
    place: &mut usize,
) -> Result<(), FileError> {
    let mut value = None;
    set_some(file, said, min as u64, max as u64, &mut value)?;
    if let Some(value) = value {
        *place = usize::try_from(value).unwrap_or(max);
    }
    Ok(())
}

fn set_some(
    file: &TomlFile,
    said: &Option<Spanned<u64>>,
    min: u64,
    max: u64,
    place: &mut Option<u64>,
) -> Result<(), FileError> {
    let Some(said) = said else {
        return Ok(());
    };
    let value = *said.get_ref();
    if (min..=max).contains(&value) {
        *place = Some(value);
        return Ok(());
    }
    let reason = format!("{value} is out of range: {min} to {max} are possible");
    Err(file.wrong(said.span(), reason))
}

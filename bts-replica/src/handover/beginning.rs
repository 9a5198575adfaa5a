//! What the next configuration begins with, while it is received: a store beside the old one.

use std::path::PathBuf;

use bts_certs::cluster::{Cluster, FoundedOn, purpose_of};
use bts_certs::toml_file::TomlFile;
use bts_core::codec;
use bts_core::crypto::hash::Digest;
use bts_core::ids::{Lsn, PublicKey};
use bts_core::replica::Record;
use bts_core::replica::handover::StateHasher;
use serde_bytes::ByteBuf;

use crate::home;
use crate::settings::{Durability, Settings};
use crate::store::{Batch, DiskStore, Identity, Store};

/// A beginning of which some records have come. Errors are in words for the operator.
pub(super) struct Beginning {
    home: PathBuf,
    text: String,
    cluster: Cluster,
    founding: FoundedOn,
    store: DiskStore,
    hasher: StateHasher,
    taken: u64,
}

impl Beginning {
    /// Of the configuration that this cluster file describes, for which the replica has stopped.
    pub(super) fn new(settings: &Settings, stopped: Digest, text: String) -> Result<Self, String> {
        let Durability::Sync(home) = &settings.durability else {
            return Err("this replica stores nothing".into());
        };
        let file = TomlFile::given("the cluster file that was sent", text.clone());
        let cluster = Cluster::parse(&file).map_err(|error| error.to_string())?;
        let founding = follows(&settings.cluster, &cluster, stopped)?;
        let key = PublicKey(settings.identity.identity().key);
        let seat = cluster.configuration().replica_of(&key);
        let seat = seat.ok_or("this replica is no member of it")?;
        if founding.empty.contains(&seat) {
            return Err(
                "this replica begins with nothing in it, under a new data directory".into(),
            );
        }
        let configuration = cluster.configuration();
        let dir = home::unfinished_dir(home, configuration.number());
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", dir.display());
        home::remove_if_there(&dir).map_err(|error| failed(&error))?;
        let identity = Identity {
            configuration: configuration.signing_context().configuration,
            replica: seat,
            ..settings.owner()
        };
        let opened = DiskStore::open(&dir, &identity);
        let (mut store, _) = opened.map_err(|error| failed(&error))?;
        let read = store.replay(&mut |log| log.for_each(drop));
        read.map_err(|error| failed(&error))?;
        Ok(Self {
            home: home.clone(),
            text,
            founding,
            store,
            hasher: StateHasher::default(),
            taken: 0,
            cluster,
        })
    }

    /// Stores the next records.
    pub(super) fn take(&mut self, skip: u64, records: Vec<ByteBuf>) -> Result<u64, String> {
        if skip != self.taken {
            return Err(format!("{} records are there, not {skip}", self.taken));
        }
        let mut batch = Batch::default();
        for (lsn, bytes) in (skip + 1..).map(Lsn).zip(&records) {
            let record: Record = codec::decode_peer(bytes)
                .map_err(|error| format!("record {lsn} cannot be read: {error}"))?;
            // A store encodes anew what it writes, and the hash is of what came.
            if codec::encode(&record) != **bytes {
                return Err(format!("record {lsn} is not in its one legal form"));
            }
            self.hasher.add(bytes);
            batch.records.push((lsn, record));
        }
        self.taken += records.len() as u64;
        match self.store.commit(batch) {
            Ok(_) => Ok(self.taken),
            Err(error) => Err(error.to_string()),
        }
    }

    /// All has come, or so the operator says: from now on this is the replica's configuration.
    pub(super) fn finish(self) -> Result<Cluster, String> {
        if self.hasher.finish() != self.founding.state {
            return Err(format!(
                "the {} records that came are not what the configuration begins with",
                self.taken
            ));
        }
        self.store.close().map_err(|error| error.to_string())?;
        let number = self.cluster.configuration().number();
        home::move_in(&self.home, number, &self.text)
            .map_err(|error| format!("cannot move in: {error}"))?;
        Ok(self.cluster)
    }
}

/// What `next` is founded on, if it follows on `ending` by the change that the replica stopped for, in which
/// nothing changes but members.
fn follows(ending: &Cluster, next: &Cluster, stopped: Digest) -> Result<FoundedOn, String> {
    let founding = next.founding().ok_or("it is founded on nothing")?.clone();
    let members: Vec<_> = next.members().map(|(_, member)| member.clone()).collect();
    if purpose_of(ending, &members) != stopped {
        return Err("this replica has stopped for another change of configuration".into());
    }
    let expected = ending.next(&members, founding.clone());
    let expected = expected.map_err(|error| error.to_string())?;
    match expected.to_toml() == next.to_toml() {
        true => Ok(founding),
        false => Err("more than members changes from this configuration to that".into()),
    }
}

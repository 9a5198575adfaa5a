//! The working directory of a change of members. Each file appears whole or not at all, and what is there
//! need not be done again.
//!
//! | file | what it is |
//! |---|---|
//! | `ending.toml` | the cluster file of the configuration that ends |
//! | `export-<seat>` | what a replica handed over |
//! | `state` | the records that the next configuration begins with |
//! | `cluster.toml` | the next configuration: there is one from here on |
//! | `done` | every replica that goes on has begun anew |

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bts_certs::cluster::Cluster;
use bts_certs::toml_file::TomlFile;
use bts_core::codec;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::ReplicaId;
use bts_core::limits::{PEER_FRAME_BYTES_MAX, RECORDS_PER_PART_MAX};
use bts_core::replica::Record;
use serde_bytes::ByteBuf;

use super::ReplaceError;

/// Bytes of records that are sent at once, if it is not a single record.
const PART_BYTES: usize = 1 << 20;

/// The directory.
pub(super) struct Work {
    dir: PathBuf,
    ending: Cluster,
}

/// An export being written.
pub(super) struct Writing {
    beside: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
    count: u64,
}

/// Records of a file, one after the other.
pub(super) struct Records {
    path: PathBuf,
    file: BufReader<File>,
}

impl Work {
    /// The directory of a change that is begun, or of the one that was begun there.
    pub(super) fn open(dir: &Path, cluster: &Cluster) -> Result<Self, ReplaceError> {
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let path = dir.join("ending.toml");
        if !path.exists() {
            write_whole(&path, cluster.to_toml().as_bytes())?;
        }
        let ending = Cluster::parse(&TomlFile::read(&path)?)?;
        if ending.id() != cluster.id() {
            return Err(ReplaceError::OtherCluster(dir.into()));
        }
        let dir = dir.to_owned();
        let work = Self { dir, ending };
        // The same command again, with the cluster file of before, only says again that it is done.
        let number = |cluster: &Cluster| cluster.configuration().number();
        match work.is_done() && number(cluster) > number(&work.ending) {
            true => Err(ReplaceError::Done(work.dir)),
            false => Ok(work),
        }
    }

    /// True if every replica that goes on has begun anew.
    pub(super) fn is_done(&self) -> bool {
        self.dir.join("done").exists()
    }

    /// The configuration that ends.
    pub(super) fn ending(&self) -> &Cluster {
        &self.ending
    }

    /// The next one, if it was made.
    pub(super) fn next(&self) -> Result<Option<Cluster>, ReplaceError> {
        let path = self.dir.join("cluster.toml");
        match path.exists() {
            true => Ok(Some(Cluster::parse(&TomlFile::read(&path)?)?)),
            false => Ok(None),
        }
    }

    pub(super) fn write_next(
        &self,
        records: &[Record],
        next: &Cluster,
    ) -> Result<(), ReplaceError> {
        let mut state = Writing::new(self.dir.join("state"))?;
        for record in records {
            state.add(&codec::encode(record))?;
        }
        state.finish()?;
        write_whole(&self.dir.join("cluster.toml"), next.to_toml().as_bytes())
    }

    /// What the next configuration begins with, in parts.
    pub(super) fn read_state(
        &self,
    ) -> Result<impl Iterator<Item = Result<Vec<ByteBuf>, ReplaceError>> + use<>, ReplaceError>
    {
        let mut records = Records::open(self.dir.join("state"))?.peekable();
        Ok(std::iter::from_fn(move || {
            let (mut part, mut bytes) = (Vec::new(), 0);
            while let Some(record) = records.next_if(|record| match record {
                Ok(_) if part.len() == RECORDS_PER_PART_MAX => false,
                Ok(record) => part.is_empty() || bytes + record.len() <= PART_BYTES,
                Err(_) => true,
            }) {
                match record {
                    Ok(record) => {
                        bytes += record.len();
                        part.push(ByteBuf::from(record));
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
            (!part.is_empty()).then_some(Ok(part))
        }))
    }

    pub(super) fn has_export(&self, seat: ReplicaId) -> bool {
        self.export_path(seat).exists()
    }

    pub(super) fn write_export(
        &self,
        seat: ReplicaId,
        seal: &SignedBytes,
    ) -> Result<Writing, ReplaceError> {
        let mut writing = Writing::new(self.export_path(seat))?;
        writing.add(&codec::encode(seal))?;
        writing.count = 0;
        Ok(writing)
    }

    /// The seal and the records. Who verifies them sees whether a record is missing.
    pub(super) fn read_export(
        &self,
        seat: ReplicaId,
    ) -> Result<(SignedBytes, impl Iterator<Item = Vec<u8>> + use<>), ReplaceError> {
        let path = self.export_path(seat);
        let mut records = Records::open(path.clone())?;
        let seal = records.next().transpose()?;
        let seal = seal.and_then(|seal| codec::decode_peer(&seal).ok());
        let seal = seal.ok_or(ReplaceError::Damaged(path))?;
        Ok((seal, records.map_while(Result::ok)))
    }

    /// The change is done.
    pub(super) fn finish(&self) -> Result<(), ReplaceError> {
        write_whole(&self.dir.join("done"), b"")
    }

    fn export_path(&self, seat: ReplicaId) -> PathBuf {
        self.dir.join(format!("export-{}", seat.0))
    }
}

impl Writing {
    fn new(path: PathBuf) -> Result<Self, ReplaceError> {
        let beside = path.with_extension("new");
        let file = File::create(&beside).map_err(failed(&beside))?;
        Ok(Self {
            beside,
            path,
            file: BufWriter::new(file),
            count: 0,
        })
    }

    /// How many records were added.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn add(&mut self, record: &[u8]) -> Result<(), ReplaceError> {
        let length = (record.len() as u32).to_be_bytes();
        let written = self.file.write_all(&length);
        let written = written.and_then(|()| self.file.write_all(record));
        self.count += 1;
        written.map_err(failed(&self.beside))
    }

    pub(super) fn finish(self) -> Result<(), ReplaceError> {
        let Self {
            beside, path, file, ..
        } = self;
        let synced = file.into_inner().map_err(io::IntoInnerError::into_error);
        let synced = synced.and_then(|file| file.sync_all());
        let renamed = synced.and_then(|()| fs::rename(&beside, &path));
        renamed.map_err(failed(&path))
    }
}

impl Records {
    fn open(path: PathBuf) -> Result<Self, ReplaceError> {
        let file = File::open(&path).map_err(failed(&path))?;
        let file = BufReader::new(file);
        Ok(Self { path, file })
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, ReplaceError> {
        let mut length = [0; 4];
        match self.file.read(&mut length[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(source) => return Err(failed(&self.path)(source)),
        }
        let damaged = |_| ReplaceError::Damaged(self.path.clone());
        self.file.read_exact(&mut length[1..]).map_err(damaged)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > PEER_FRAME_BYTES_MAX {
            return Err(ReplaceError::Damaged(self.path.clone()));
        }
        let mut record = vec![0; length];
        let damaged = |_| ReplaceError::Damaged(self.path.clone());
        self.file.read_exact(&mut record).map_err(damaged)?;
        Ok(Some(record))
    }
}

impl Iterator for Records {
    type Item = Result<Vec<u8>, ReplaceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ReplaceError + use<> {
    let path = path.to_owned();
    move |source| {
        let path = path.clone();
        ReplaceError::Io { path, source }
    }
}

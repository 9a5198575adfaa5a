//! Making and opening the file of a store, and what goes wrong with that.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bts_core::ids::Incarnation;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, TableDefinition};

use super::StoreError;
use super::backend::{Failure, Watch, WatchedFile};
use super::ballast::Ballast;
use super::error::is_full;
use super::files::{Dir, io_error};
use super::format::{self, Identity, Owner, State};
use super::overlay::Overlay;

/// Sealed values by their names.
pub(super) const HEAD: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("head");
/// Sealed chunks by the number of their first record.
pub(super) const CHUNKS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("chunks");
/// Pages that redb keeps in memory. Chunks are written once and read at the start.
const CACHE_BYTES: usize = 16 << 20;

/// The file while it is open.
#[derive(Debug)]
pub(super) struct OpenLog {
    pub(super) database: Database,
    pub(super) watch: Watch,
}

/// An error of redb, of whichever kind.
pub(super) type Broken = redb::Error;

/// Makes a store under another name first: a crash in between leaves none.
pub(super) fn create(dir: &Dir, identity: &Identity) -> Result<(), StoreError> {
    let path = dir.unfinished();
    let said = |doing| io_error(&path, doing);
    let file = File::create_new(&path).or_else(|_| {
        fs::remove_file(&path)?;
        File::create_new(&path)
    });
    let file = file.map_err(said("create"))?;
    let watch = Watch::default();
    let owner = Owner {
        identity: identity.clone(),
        incarnation: Incarnation(rand::random()),
    };
    fill(file, &watch, &owner).map_err(|broken| match watch.take() {
        Some(Failure::Access(source) | Failure::Sync(source)) => said("create")(source),
        None => broken_error(&path, broken),
    })?;
    fs::rename(&path, dir.log())
        .and_then(|()| dir.sync())
        .map_err(said("rename"))
}

fn fill(file: File, watch: &Watch, owner: &Owner) -> Result<(), Broken> {
    let file = WatchedFile::<FileBackend>::new(file, watch.clone())?;
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(file)?;
    let transaction = database.begin_write()?;
    {
        transaction.open_table(CHUNKS)?;
        let mut head = transaction.open_table(HEAD)?;
        head.insert("format", format::FORMAT.as_bytes())?;
        head.insert("owner", &*format::encode_head("owner", owner))?;
        let state = format::encode_head("state", &State::default());
        head.insert("state", &*state)?;
    }
    transaction.commit()?;
    Ok(database.close()?)
}

/// Opens the file, all of whose pages redb checks. Even that may take room.
pub(super) fn open_log(dir: &Dir, ballast: &Ballast) -> Result<OpenLog, StoreError> {
    let open = || guard(dir, || try_open(dir, true));
    match open() {
        Err(StoreError::Full { .. }) => {
            ballast.drop_it();
            open()
        }
        other => other,
    }
}

/// Opens the file without changing it: also what redb repairs is repaired in memory only.
pub(super) fn look_at_log(dir: &Dir) -> Result<OpenLog, StoreError> {
    guard(dir, || try_open(dir, false))
}

fn try_open(dir: &Dir, writes: bool) -> Result<OpenLog, StoreError> {
    let path = dir.log();
    let file = File::options().read(true).write(writes).open(&path);
    let file = file.map_err(io_error(&path, "open"))?;
    let length = file.metadata().map_err(io_error(&path, "open"))?.len();
    if length == 0 {
        let what = "the file is empty".into();
        return Err(StoreError::Damaged { path, what });
    }
    let watch = Watch::default();
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    let opened = match writes {
        true => {
            WatchedFile::new(file, watch.clone()).and_then(|file| builder.create_with_backend(file))
        }
        false => Overlay::new(file).and_then(|file| builder.create_with_backend(file)),
    };
    match opened {
        Ok(database) => Ok(OpenLog { database, watch }),
        Err(error) => Err(match watch.take() {
            Some(Failure::Access(source)) if source.kind() == ErrorKind::UnexpectedEof => {
                let what = "the file is cut off".into();
                StoreError::Damaged { path, what }
            }
            Some(Failure::Access(source) | Failure::Sync(source)) => {
                io_error(&path, "open")(source)
            }
            None => broken_error(&path, error.into()),
        }),
    }
}

pub(super) fn read_head(dir: &Dir, database: &Database) -> Result<(Owner, State), StoreError> {
    let path = dir.log();
    let wrong = |broken: Broken| broken_error(&path, broken);
    let read = |name: &'static str| -> Result<Option<Vec<u8>>, Broken> {
        let head = database.begin_read()?.open_table(HEAD)?;
        let value = head.get(name)?;
        Ok(value.map(|value| value.value().to_vec()))
    };
    let gone = |name: &str| StoreError::Damaged {
        path: path.clone(),
        what: format!("its {name} is missing or altered"),
    };
    let found = read("format")
        .map_err(wrong)?
        .ok_or_else(|| gone("format"))?;
    if found != format::FORMAT.as_bytes() {
        return Err(StoreError::Version {
            path: path.clone(),
            found: String::from_utf8_lossy(&found).into_owned(),
            known: format::FORMAT,
        });
    }
    let owner = read("owner").map_err(wrong)?;
    let owner = owner.and_then(|value| format::decode_head("owner", &value));
    let state = read("state").map_err(wrong)?;
    let state = state.and_then(|value| format::decode_head("state", &value));
    Ok((
        owner.ok_or_else(|| gone("owner"))?,
        state.ok_or_else(|| gone("state"))?,
    ))
}

/// What redb says, where the system said nothing.
pub(super) fn broken_error(path: &Path, broken: Broken) -> StoreError {
    let path = path.to_owned();
    match broken {
        Broken::Io(source) if is_full(&source) => StoreError::Full { path, source },
        Broken::Io(source) if source.kind() == ErrorKind::InvalidData => {
            let what = source.to_string();
            StoreError::Damaged { path, what }
        }
        Broken::Corrupted(what) => StoreError::Damaged { path, what },
        Broken::TableDoesNotExist(name) => {
            let what = format!("its table {name:?} is missing");
            StoreError::Damaged { path, what }
        }
        Broken::UpgradeRequired(_) | Broken::TableTypeMismatch { .. } => StoreError::Version {
            path,
            found: broken.to_string(),
            known: format::FORMAT,
        },
        other => {
            let what = other.to_string();
            StoreError::Engine { path, what }
        }
    }
}

/// Damage may lead redb to where its own assertions fail, which is an error here like any other.
pub(super) fn guard<T>(
    dir: &Dir,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::Damaged {
            path: dir.log(),
            what: format!("it cannot be read ({})", said.unwrap_or("it panicked")),
        })
    })
}

//! The data directory of a replica: one store for each configuration it was in, and the cluster file of
//! the last.
//!
//! | there | what for |
//! |---|---|
//! | (the directory itself) | the store of configuration 0 |
//! | `configuration-N` | the store of a later one |
//! | `configuration-N.new` | the same while it is made |
//! | `cluster.toml` | the configuration that this replica is in, once that is not the first |
//!
//! The renaming of `cluster.toml` is the moment at which the next configuration begins here. The stores of
//! earlier ones are not used any more and may be deleted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bts_certs::cluster::Cluster;
use bts_certs::toml_file::{FileError, TomlFile};

use crate::store::sync_dir;

const CLUSTER_FILE: &str = "cluster.toml";

/// Where the store of a configuration is.
pub(crate) fn store_dir(home: &Path, number: u64) -> PathBuf {
    match number {
        0 => home.to_owned(),
        _ => home.join(format!("configuration-{number}")),
    }
}

/// Where it is while it is made.
pub(crate) fn unfinished_dir(home: &Path, number: u64) -> PathBuf {
    home.join(format!("configuration-{number}.new"))
}

/// The store that is in use, of a directory whosever it is.
pub(crate) fn current_store(home: &Path) -> Result<PathBuf, FileError> {
    let number = match last_cluster(home)? {
        Some((_, cluster)) => cluster.configuration().number(),
        None => 0,
    };
    Ok(store_dir(home, number))
}

/// The later of this configuration and the one that the directory tells of.
pub(crate) fn newest(home: &Path, said: Cluster) -> Result<Cluster, FileError> {
    let Some((file, found)) = last_cluster(home)? else {
        return Ok(said);
    };
    if found.id() != said.id() {
        let reason = "this directory belongs to a replica of another cluster";
        return Err(file.wrong(0..0, reason));
    }
    let number = |cluster: &Cluster| cluster.configuration().number();
    match number(&found) > number(&said) {
        true => Ok(found),
        false => Ok(said),
    }
}

fn last_cluster(home: &Path) -> Result<Option<(TomlFile, Cluster)>, FileError> {
    let path = home.join(CLUSTER_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let file = TomlFile::read(&path)?;
    let cluster = Cluster::parse(&file)?;
    Ok(Some((file, cluster)))
}

/// From now on this replica is in the configuration of this cluster file, whose store is there
/// under its unfinished name. Interrupted anywhere, either all of it was done or nothing.
pub(crate) fn move_in(home: &Path, number: u64, cluster_file: &str) -> io::Result<()> {
    let dir = store_dir(home, number);
    remove_if_there(&dir)?;
    fs::rename(unfinished_dir(home, number), dir)?;
    sync_dir(home)?;
    let beside = home.join(format!("{CLUSTER_FILE}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(cluster_file.as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, home.join(CLUSTER_FILE))?;
    sync_dir(home)
}

/// Deletes a directory, which nobody uses.
pub(crate) fn remove_if_there(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

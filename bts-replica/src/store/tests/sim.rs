//! A file system in memory that can be stopped after any step, and then has lost what was not synced:
//! whole sectors of what was written, in any choice, and the last of the changes to names.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::store::folder::{Access, Blob, Folder};

const SECTOR_BYTES: usize = 512;

/// The file system.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Sim(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    files: Vec<Inode>,
    names: Names,
    durable_names: Names,
    /// How the names were after each change since they were synced.
    changes: Vec<Names>,
    steps: usize,
    limits: Limits,
}

type Names = BTreeMap<String, usize>;

/// When something goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// After so many steps nothing works any more.
    pub(super) steps: Option<usize>,
    /// This step fails, if it is a sync, and loses what it was to make durable.
    pub(super) bad_sync: Option<usize>,
    /// So many bytes can be there.
    pub(super) room: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Written since, and where.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug)]
struct Handle {
    sim: Sim,
    file: usize,
}

impl Sim {
    /// These files, durable.
    pub(in crate::store) fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let mut world = World::default();
        for (name, bytes) in files {
            world.names.insert(name, world.files.len());
            world.files.push(Inode::durable(bytes));
        }
        world.durable_names.clone_from(&world.names);
        Self(Arc::new(Mutex::new(world)))
    }

    pub(super) fn limit(&self, limits: Limits) {
        self.world().limits = limits;
    }

    /// Steps that were done: writes, syncs, and changes of names.
    pub(super) fn steps(&self) -> usize {
        self.world().steps
    }

    /// What is there.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        let bytes =
            |(name, file): (&String, &usize)| (name.clone(), world.files[*file].now.clone());
        world.names.iter().map(bytes).collect()
    }

    /// What is there after the power failed.
    pub(super) fn crash(&self, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let world = self.world();
        let kept = rng.random_range(0..=world.changes.len());
        let names = match kept.checked_sub(1) {
            Some(last) => &world.changes[last],
            None => &world.durable_names,
        };
        // Nothing, some, or all of it.
        let share = [0.0, 0.5, 0.9, 1.0][rng.random_range(0..4)];
        let files = world.files.iter().map(|inode| {
            let mut now = inode.durable.clone();
            for (at, bytes) in &inode.pending {
                for (place, piece) in pieces(*at, bytes) {
                    if rng.random_bool(share) {
                        overwrite(&mut now, place, piece);
                    }
                }
            }
            Inode::durable(now)
        });
        let world = World {
            files: files.collect(),
            names: names.clone(),
            durable_names: names.clone(),
            ..World::default()
        };
        Self(Arc::new(Mutex::new(world)))
    }

    /// What is there after only the process ended.
    pub(super) fn killed(&self) -> Self {
        let world = self.world();
        let world = World {
            files: world.files.clone(),
            names: world.names.clone(),
            durable_names: world.durable_names.clone(),
            changes: world.changes.clone(),
            ..World::default()
        };
        Self(Arc::new(Mutex::new(world)))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("nobody panicked")
    }

    fn handle(&self, file: usize) -> Box<dyn Blob> {
        let sim = self.clone();
        Box::new(Handle { sim, file })
    }
}

impl Inode {
    fn durable(bytes: Vec<u8>) -> Self {
        Self {
            now: bytes.clone(),
            durable: bytes,
            pending: Vec::new(),
        }
    }
}

impl World {
    /// One more step. Error: it is not done, nor is any other.
    fn step(&mut self) -> io::Result<()> {
        if self.limits.steps.is_some_and(|steps| self.steps >= steps) {
            return Err(io::Error::other("the power failed"));
        }
        self.steps += 1;
        Ok(())
    }

    fn bytes(&self) -> usize {
        let there = self.names.values();
        there.map(|file| self.files[*file].now.len()).sum()
    }

    fn rename_with(&mut self, change: impl FnOnce(&mut Names)) -> io::Result<()> {
        self.step()?;
        change(&mut self.names);
        self.changes.push(self.names.clone());
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&mut self, file: Option<usize>) -> io::Result<()> {
        self.step()?;
        let is_bad = self.limits.bad_sync == Some(self.steps);
        match file {
            Some(file) => {
                let inode = &mut self.files[file];
                // What a sync that failed left behind is not asked for again.
                for (at, bytes) in std::mem::take(&mut inode.pending) {
                    if !is_bad {
                        overwrite(&mut inode.durable, at, &bytes);
                    }
                }
            }
            None if !is_bad => {
                self.durable_names.clone_from(&self.names);
                self.changes.clear();
            }
            None => {}
        }
        match is_bad {
            true => Err(io::Error::other("the disk did not take it")),
            false => Ok(()),
        }
    }
}

impl Folder for Sim {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.world().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Box<dyn Blob>> {
        let file = self.world().find(name)?;
        Ok(self.handle(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Blob>> {
        let mut world = self.world();
        let file = world.files.len();
        world.rename_with(|names| {
            names.insert(name.to_owned(), file);
        })?;
        world.files.push(Inode::default());
        Ok(self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let file = world.find(from)?;
        world.rename_with(|names| {
            names.remove(from);
            names.insert(to.to_owned(), file);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.find(name)?;
        world.rename_with(|names| {
            names.remove(name);
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.world().sync(None)
    }
}

impl Blob for Handle {
    fn length(&self) -> io::Result<u64> {
        Ok(self.sim.world().files[self.file].now.len() as u64)
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let world = self.sim.world();
        let bytes = world.files[self.file]
            .now
            .get(at as usize..)
            .unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.sim.world();
        let stopped = world.step();
        let at = at as usize;
        let length = world.files[self.file].now.len();
        let grows = (at + bytes.len()).saturating_sub(length);
        let left = world
            .limits
            .room
            .map(|room| room.saturating_sub(world.bytes()));
        // What has no room is cut off, somewhere.
        let cut = left.filter(|left| *left < grows).map(|left| grows - left);
        let cut = cut.map(|cut| cut.min(bytes.len()));
        let bytes = &bytes[..bytes.len() - cut.unwrap_or(0)];
        let inode = &mut world.files[self.file];
        overwrite(&mut inode.now, at, bytes);
        inode.pending.push((at, bytes.to_vec()));
        stopped?;
        match cut {
            Some(_) => Err(io::ErrorKind::StorageFull.into()),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sim.world().sync(Some(self.file))
    }
}

fn overwrite(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if bytes.is_empty() {
        return;
    }
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

/// Parts of what was written that reach the disk, or not, each by itself.
fn pieces(at: usize, bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let (mut at, mut rest, mut pieces) = (at, bytes, Vec::new());
    while !rest.is_empty() {
        let count = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
        let (piece, after) = rest.split_at(count);
        pieces.push((at, piece));
        (at, rest) = (at + count, after);
    }
    pieces
}

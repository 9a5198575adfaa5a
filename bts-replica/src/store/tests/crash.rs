//! The power fails after any step: of a commit, of the change to another file, of writing old files anew.
//! What was acknowledged is there, what was not is there as a whole or not at all, and the store goes on.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::sim::{Limits, Sim};
use super::*;

/// A store in a simulated file system, and its dumb twin.
struct Life {
    rng: StdRng,
    lock: tempfile::TempDir,
    sim: Sim,
    store: Option<DiskStore>,
    twin: Twin,
}

/// What the store must hold.
#[derive(Clone, Debug, Default)]
struct Twin {
    living: BTreeSet<u64>,
    /// With what each of them had to outlive.
    dead: BTreeMap<u64, Option<u64>>,
    next: u64,
    /// Records of the commit that was under way, and what it would have made superfluous.
    flight: Option<(std::ops::Range<u64>, Vec<Obsolete>)>,
}

impl Life {
    fn new(seed: u64, limits: Limits) -> Self {
        let sim = Sim::default();
        sim.limit(limits);
        let mut life = Self {
            rng: StdRng::seed_from_u64(seed),
            lock: folder(),
            sim,
            store: None,
            twin: Twin {
                next: 1,
                ..Twin::default()
            },
        };
        life.store = life.open().ok();
        life
    }

    fn open(&self) -> Result<DiskStore, StoreError> {
        open_in(&self.sim, self.lock.path())
    }

    /// Some commits. Ends early if something fails.
    fn live(&mut self, commits: usize) -> Result<(), StoreError> {
        for _ in 0..commits {
            let batch = self.batch();
            let Some(store) = &mut self.store else {
                return Ok(());
            };
            store.commit(batch)?;
            self.twin.land();
            store.tend()?;
        }
        Ok(())
    }

    fn batch(&mut self) -> Batch {
        let Self { rng, twin, .. } = self;
        let count = rng.random_range(0..9);
        let length = rng.random_range(8..900);
        let mut batch = batch(twin.next..twin.next + count, length);
        // Most die soon, some of them only after another.
        let bound = twin.next.saturating_sub(rng.random_range(0..60));
        let share = rng.random_range(0.0..0.5);
        let dying: Vec<u64> = twin.living.range(..bound).copied().collect();
        let dying: Vec<u64> = dying
            .into_iter()
            .filter(|number| number % 16 != 0 && rng.random_bool(share))
            .collect();
        for (place, number) in dying.iter().enumerate() {
            let before = place.checked_sub(1).map(|place| Lsn(dying[place]));
            let after = before.filter(|_| rng.random_bool(0.3));
            let lsn = Lsn(*number);
            batch.obsolete.push(Obsolete { lsn, after });
        }
        twin.flight = Some((twin.next..twin.next + count, batch.obsolete.clone()));
        batch
    }

    /// The power failed, and is back.
    fn restart(&mut self, sim: Sim) {
        self.store = None;
        self.sim = sim;
        let mut store = self.open().expect("a crash is no damage");
        let found = numbers(&mut store).expect("a crash is no damage");
        self.twin.check(&found);
        // The core tells again what is needed no more.
        let there: BTreeSet<u64> = found.into_iter().collect();
        let told = self.twin.dead.iter().filter(|(lsn, _)| there.contains(lsn));
        let obsolete = told.map(|(lsn, after)| Obsolete {
            lsn: Lsn(*lsn),
            after: after.map(Lsn),
        });
        let again = Batch {
            obsolete: obsolete.collect(),
            ..Batch::default()
        };
        store.commit(again).expect("it works again");
        self.store = Some(store);
    }
}

impl Twin {
    /// The commit under way was acknowledged.
    fn land(&mut self) {
        let Some((records, obsolete)) = self.flight.take() else {
            return;
        };
        self.living.extend(records.clone());
        self.next = records.end;
        for Obsolete { lsn, after } in obsolete {
            self.living.remove(&lsn.0);
            self.dead.insert(lsn.0, after.map(|after| after.0));
        }
    }

    fn check(&mut self, found: &[u64]) {
        assert!(found.is_sorted_by(|one, next| one < next), "{found:?}");
        let there: BTreeSet<u64> = found.iter().copied().collect();
        if let Some((records, _)) = &self.flight {
            let added: Vec<u64> = there.range(self.next..).copied().collect();
            let whole: Vec<u64> = records.clone().collect();
            assert!(added.is_empty() || added == whole, "{added:?} of {whole:?}");
            // Without records it may have landed as well, and then nothing shows it but what is missing.
            let lost = self.living.iter().any(|lsn| !there.contains(lsn));
            match !added.is_empty() || lost {
                true => self.land(),
                false => self.flight = None,
            }
        }
        assert!(found.iter().all(|lsn| *lsn < self.next), "{found:?}");
        let lost: Vec<_> = self.living.difference(&there).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        for (lsn, after) in &self.dead {
            let stays = after.is_some_and(|after| there.contains(&after));
            assert!(!stays || there.contains(lsn), "{lsn} went before {after:?}");
        }
    }
}

/// How many steps such a life has.
fn steps(seed: u64, commits: usize) -> usize {
    let mut life = Life::new(seed, Limits::default());
    life.live(commits).expect("nothing fails");
    let totals = life.store.as_ref().expect("it is open").totals();
    let names = life.sim.files().into_keys().collect::<Vec<_>>();
    for kind in ["log-", "kept-"] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "{names:?}");
    }
    assert!(totals.files > 2, "{totals:?}");
    life.sim.steps()
}

fn stopped(seed: u64, commits: usize, limits: Limits) -> Life {
    let mut life = Life::new(seed, limits);
    let ended = life.live(commits);
    assert!(ended.is_err() || life.store.is_none(), "the power failed");
    life
}

/// After any step; two losses each. And then once more, after some of the next steps.
#[test]
fn crash_after_any_step_loses_nothing_that_was_acknowledged() {
    for seed in 0..3 {
        let commits = 60;
        for stop in 0..steps(seed, commits) {
            let limits = Limits {
                steps: Some(stop),
                ..Limits::default()
            };
            for loss in 0..2 {
                let mut life = stopped(seed, commits, limits);
                let left = life.sim.crash(loss + 7 * stop as u64);
                life.restart(left);
                life.sim.limit(Limits {
                    steps: Some(life.sim.steps() + (stop * 31 + 3) % 97),
                    ..Limits::default()
                });
                // It fails, or all is well.
                let _ = life.live(30);
                life.restart(life.sim.crash(stop as u64));
                life.live(3).expect("nothing fails");
            }
        }
    }
}

/// What a killed process wrote is there, but not durable; and what is made of it must be.
#[test]
fn crash_of_the_process_and_then_of_the_machine() {
    let (seed, commits) = (9, 60);
    for stop in 0..steps(seed, commits) {
        let limits = Limits {
            steps: Some(stop),
            ..Limits::default()
        };
        let mut life = stopped(seed, commits, limits);
        life.restart(life.sim.killed());
        // Something depends on it now.
        life.restart(life.sim.crash(stop as u64));
    }
}

/// A sync that fails is not asked again, and what it was to make durable is not taken to be so.
#[test]
fn crash_of_a_sync_ends_it() {
    let (seed, commits) = (5, 40);
    for stop in 1..=steps(seed, commits) {
        let limits = Limits {
            bad_sync: Some(stop),
            ..Limits::default()
        };
        let mut life = Life::new(seed, limits);
        let ended = life.live(commits);
        if life.store.is_none() {
            continue;
        }
        let Err(error) = ended else {
            continue;
        };
        assert!(matches!(error, StoreError::Sync { .. }), "{error}");
        let store = life.store.as_mut().expect("it is there");
        let again = store.commit(batch([1_000_000], 10));
        assert!(again.is_err(), "nobody knows what is on the disk");
        life.restart(life.sim.killed());
        life.restart(life.sim.crash(stop as u64));
    }
}

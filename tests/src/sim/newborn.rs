//! A cluster that has never run (R-1.2, A8): its replicas come up one by one on empty disks, and nobody remembers
//! anybody. In these first moments some crash, and some that may be faulty lose their disk: before anybody
//! knew it, or after.

use bts_core::ids::ReplicaId;
use bts_core::replica::Replica;

use super::disk::Disk;
use super::rng::Rng;
use super::run::RESTART_US;
use super::setup::incarnation;
use super::shell::Shell;
use super::swarm::{Fate, Loss, Swarm};
use super::world::World;

/// What tells the source of chance of newborn clusters from the others.
const NEWBORN: u64 = 0xbab1;
/// In how many runs of a thousand a cluster is new.
const NEWBORN_PER_MILLE: u64 = 60;
/// Within which time, at most, all are started, in microseconds.
const BIRTHS_US: u64 = 200_000;
/// What the first moments of a replica are.
const MOMENTS_US: u64 = 60_000;

/// When hardly anybody has met it.
const AT_ONCE_US: u64 = 2_000;

/// How a cluster comes up. Times are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newborn {
    /// When each replica is started.
    births: Vec<u64>,
    /// Correct ones that crash: which, when, and for how long they are away.
    crashes: Vec<(u16, u64, u64)>,
}

impl Swarm {
    /// The cluster is new, or not. Its replicas have no peers that could remember them if it is of one.
    pub(super) fn draw_newborn(&mut self) {
        let mut rng = Rng::new(self.setup.seed ^ NEWBORN);
        let is_new = rng.chance(NEWBORN_PER_MILLE);
        if is_new && self.phases.is_none() && self.setup.replicas > 1 {
            self.be_born(&mut rng);
        }
    }

    /// From now on the cluster of this run is new.
    pub fn be_born(&mut self, rng: &mut Rng) {
        let spread_us = rng.between(1_000, BIRTHS_US.min(self.trouble_us));
        let births = (0..self.setup.replicas).map(|_| rng.below(spread_us));
        let births: Vec<_> = births.collect();
        let soon = |number: u16, rng: &mut Rng| {
            let born_us = births.get(usize::from(number)).copied();
            born_us.unwrap_or_default() + rng.below(MOMENTS_US)
        };
        for (number, fate) in &mut self.fates {
            if rng.chance(500) {
                let at_us = match rng.chance(500) {
                    true => births
                        .get(usize::from(*number))
                        .map_or(0, |born| born + rng.below(AT_ONCE_US)),
                    false => soon(*number, rng),
                };
                *fate = Fate::Forgets(Loss {
                    at_us,
                    copied_before_us: rng.chance(200).then(|| rng.below(MOMENTS_US)),
                    away_us: rng.below(100_000),
                });
            }
        }
        let mut crashes = Vec::new();
        for id in self.lasting() {
            if rng.chance(400) {
                let away_us = RESTART_US + rng.below(100_000);
                crashes.push((id.0, soon(id.0, rng), away_us));
            }
        }
        self.newborn = Some(Newborn { births, crashes });
    }
}

impl World {
    /// Adds a correct replica that was never started, with an empty disk.
    pub(super) fn add_unborn(&mut self, number: u16) {
        let options = self.setup.replica_options(&self.configuration, number);
        let id = ReplicaId(number);
        self.add_replica_machine(number, Box::new(Replica::new(options)), true);
        let size = self.configuration.size();
        if let Some(node) = self.replicas.get_mut(&id) {
            node.disk = Disk::new(incarnation(id));
            node.shell = Some(Shell::started(size, &node.disk, 0));
            node.alive = false;
        }
    }

    /// The replicas come up, and some end again.
    pub(super) fn plan_births(&mut self, newborn: &Newborn) {
        self.observer.coverage.mark("newborn cluster");
        for (id, at_us) in (0..).map(ReplicaId).zip(newborn.births.clone()) {
            self.after(at_us, move |world| world.restart_replica(id));
        }
        for (number, at_us, away_us) in newborn.crashes.clone() {
            let id = ReplicaId(number);
            self.after(at_us, move |world| {
                let node = world.replicas.get(&id);
                if node.is_some_and(|node| node.alive && !node.disk.is_confirmed()) {
                    world.observer.coverage.mark("crash before it takes part");
                }
                world.crash_for(id, away_us);
            });
        }
    }

    /// How many of these remember another store of this replica than the one it has now.
    pub(super) fn who_know_another<'a>(
        &'a self,
        id: ReplicaId,
    ) -> impl Iterator<Item = ReplicaId> + 'a {
        let own = self.replicas.get(&id).map(|node| node.disk.incarnation());
        let others = self.replicas.iter().filter(move |(other, node)| {
            let known = node.disk.peers().get(&id).map(|known| known.incarnation);
            **other != id && node.honest && node.shell.is_some() && known.is_some() && known != own
        });
        others.map(|(other, _)| *other)
    }
}

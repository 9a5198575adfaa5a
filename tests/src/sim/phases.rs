//! Trouble in phases: one operation after the other begins, each while its client reaches some
//! replicas only and the replicas hardly reach each other. What one operation left undone is met by
//! the next. Free schedules hardly ever do that: a swap that is applied at one replica, a read that
//! asks the others, an entry that comes meanwhile, another read that asks others again.

use bts_core::ids::ReplicaId;

use super::node::{Node, replica};
use super::rng::Rng;
use super::run::{RESTART_US, Run};
use super::swarm::Fate;
use super::world::World;

/// How cut off everybody is, as drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Operations that begin.
    pub count: u64,
    /// How many of a thousand directions between replicas are cut in a phase.
    pub cut_per_mille: u64,
    /// How many of a thousand cuts end with the end of the connection.
    pub lost_per_mille: u64,
    /// Longest phase, in microseconds.
    pub length_us: u64,
}

impl Phases {
    /// Draws phases.
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            count: rng.between(3, 10),
            cut_per_mille: *rng.pick(&[300, 700, 1000]).expect("a choice"),
            lost_per_mille: *rng.pick(&[0, 300]).expect("a choice"),
            length_us: *rng.pick(&[4_000, 20_000, 150_000]).expect("a choice"),
        }
    }
}

impl Run {
    /// All phases, one after the other.
    pub(super) fn phases(&mut self, phases: Phases) {
        let mut rng = self.fork();
        self.world.connect_all(1);
        self.run(10_000, |_| false);
        let faulty: Vec<_> = self.hostile();
        let restart_per_mille = if self.swarm.rates.restarts > 0 {
            250
        } else {
            0
        };
        for _ in 0..phases.count {
            if rng.chance(restart_per_mille) {
                self.restart_some(&mut rng);
            }
            let client = rng.index(self.swarm.clients);
            let reached = self.reached(&faulty, &mut rng);
            isolate(&mut self.world, client, &reached, &faulty, phases, &mut rng);
            let number = self.next_number();
            let op = self.swarm.workload.next(&mut rng, number);
            let handle = self.world.invoke(client, op);
            let length_us = 1 + rng.below(phases.length_us);
            self.run(length_us, |world| world.outcome(handle).is_some());
        }
    }

    /// Correct replicas end and start again with what they had synced, one or all of them.
    fn restart_some(&mut self, rng: &mut Rng) {
        let mut ids = self.swarm.lasting();
        if !rng.chance(300) {
            rng.shuffle(&mut ids);
            ids.truncate(1);
        }
        if rng.chance(500) {
            return ids
                .into_iter()
                .for_each(|id| self.world.doom(id, RESTART_US));
        }
        ids.into_iter()
            .for_each(|id| self.world.crash_for(id, RESTART_US));
        self.run(RESTART_US + 15_000, |_| false);
    }

    fn hostile(&self) -> Vec<ReplicaId> {
        let fates = self.swarm.fates.iter();
        let hostile = fates.filter(|(_, fate)| matches!(fate, Fate::Hostile(_)));
        hostile.map(|(number, _)| ReplicaId(*number)).collect()
    }

    /// As many correct replicas as make a quorum with the hostile ones, or more.
    fn reached(&self, faulty: &[ReplicaId], rng: &mut Rng) -> Vec<Node> {
        let size = self.world.configuration.size();
        let mut correct: Vec<_> = (0..self.swarm.setup.replicas)
            .filter(|number| !faulty.contains(&ReplicaId(*number)))
            .map(replica)
            .collect();
        rng.shuffle(&mut correct);
        let least = size.ack_quorum().saturating_sub(faulty.len()) as u64;
        let most = if rng.chance(700) {
            least
        } else {
            correct.len() as u64
        };
        let count = if rng.chance(100) {
            rng.below(least)
        } else {
            rng.between(least, most)
        };
        correct.truncate(count as usize);
        correct
    }
}

/// The client reaches these and the faulty ones; which replicas reach each other is drawn.
fn isolate(
    world: &mut World,
    client: usize,
    reached: &[Node],
    faulty: &[ReplicaId],
    phases: Phases,
    rng: &mut Rng,
) {
    let is_faulty = |node: &Node| matches!(node, Node::Replica(id) if faulty.contains(id));
    let nodes = world.nodes();
    for &from in &nodes {
        for &to in nodes.iter().filter(|to| **to != from) {
            let cut = match (from, to) {
                (Node::Client(one), other) | (other, Node::Client(one)) if one == client => {
                    Some(!reached.contains(&other) && !is_faulty(&other))
                }
                (Node::Replica(_), Node::Replica(_)) if is_faulty(&from) || is_faulty(&to) => {
                    Some(false)
                }
                (Node::Replica(_), Node::Replica(_)) => Some(rng.chance(phases.cut_per_mille)),
                _ => None,
            };
            match cut {
                Some(true) => world.network.block(from, to),
                Some(false) if world.network.is_blocked(from, to) => {
                    world.heal_one_way(from, to);
                    if rng.chance(phases.lost_per_mille) {
                        world.reset(super::network::link_of(from, to));
                    }
                }
                Some(false) | None => {}
            }
        }
    }
}

//! What goes wrong in a run, planned at its beginning.

use bts_core::ids::ReplicaId;

use super::disk::Disk;
use super::node::Node;
use super::rng::Rng;
use super::run::RESTART_US;
use super::swarm::{Fate, Swarm};
use super::world::World;

/// Replicas that lose their memory, in whichever kind of run.
pub(super) fn plan_losses(swarm: &Swarm, world: &mut World) {
    for (number, fate) in &swarm.fates {
        let (id, number_before) = (ReplicaId(*number), world.configuration.number());
        let Fate::Forgets(loss) = *fate else {
            continue;
        };
        let lose = move |world: &mut World, copy: Option<Disk>| {
            if world.configuration.number() == number_before {
                world.lose_memory(id, copy, RESTART_US + loss.away_us);
            }
        };
        match loss.copied_before_us {
            None => world.after(loss.at_us, move |world| lose(world, None)),
            Some(before_us) => {
                let copied_us = loss.at_us.saturating_sub(before_us);
                world.after(copied_us, move |world| {
                    let copy = world.copy_of_disk(id);
                    world.after(loss.at_us - copied_us, move |world| lose(world, copy));
                });
            }
        }
    }
}

/// What goes wrong in the first phase, if that is not made of phases.
pub(super) fn plan_faults(swarm: &Swarm, rng: &mut Rng, world: &mut World) {
    for (number, fate) in swarm.fates.clone() {
        if let Fate::Crash(at_us) = fate {
            world.after(at_us, move |world| world.crash_replica(ReplicaId(number)));
        }
    }
    let count = |rate: u64| (rate * swarm.trouble_us).div_ceil(1_000_000);
    for _ in 0..count(swarm.rates.resets) {
        let mut rng = rng.fork();
        world.after(rng.below(swarm.trouble_us), move |world| {
            if let Some(link) = rng.pick(&world.network.links()) {
                world.reset(*link);
            }
        });
    }
    for _ in 0..count(swarm.rates.cuts) {
        plan_cut(swarm, rng, world);
    }
    for _ in 0..count(swarm.rates.pauses) {
        let mut rng = rng.fork();
        world.after(rng.below(swarm.trouble_us), move |world| {
            if let Some(node) = rng.pick(&world.nodes()) {
                world.pause(*node, rng.below(200_000));
            }
        });
    }
    for _ in 0..count(swarm.rates.restarts) {
        plan_restart(swarm, rng, world);
    }
    for _ in 0..count(swarm.rates.crashes).min(swarm.clients as u64) {
        let client = rng.index(swarm.clients);
        world.after(rng.below(swarm.trouble_us), move |world| {
            if world.is_alive(Node::Client(client)) {
                world.crash_client(client);
            }
        });
    }
}

/// One correct replica, or the power of all of them.
fn plan_restart(swarm: &Swarm, rng: &mut Rng, world: &mut World) {
    let mut rng = rng.fork();
    let mut ids = swarm.lasting();
    if !rng.chance(200) {
        rng.shuffle(&mut ids);
        ids.truncate(1);
    }
    let at_a_write = rng.chance(500);
    world.after(rng.below(swarm.trouble_us), move |world| {
        for id in ids {
            let away_us = RESTART_US + rng.below(300_000);
            match at_a_write {
                true => world.doom(id, away_us),
                false => world.crash_for(id, away_us),
            }
        }
    });
}

/// One direction, one pair, or one node from everybody.
fn plan_cut(swarm: &Swarm, rng: &mut Rng, world: &mut World) {
    let mut rng = rng.fork();
    let at_us = rng.below(swarm.trouble_us);
    world.after(at_us, move |world| {
        let nodes = world.nodes();
        let (Some(&one), Some(&other)) = (rng.pick(&nodes), rng.pick(&nodes)) else {
            return;
        };
        let mut cuts = match rng.below(3) {
            0 => vec![(one, other)],
            1 => vec![(one, other), (other, one)],
            _ => nodes
                .iter()
                .flat_map(|node| [(one, *node), (*node, one)])
                .collect(),
        };
        cuts.retain(|(from, to)| from != to);
        cuts.iter()
            .for_each(|(from, to)| world.cut_one_way(*from, *to));
        world.after(rng.below(500_000), move |world| {
            if !world.is_healing() {
                cuts.iter()
                    .for_each(|(from, to)| world.heal_one_way(*from, *to));
            }
        });
    });
}

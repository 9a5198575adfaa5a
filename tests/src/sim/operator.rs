//! What becomes of a change of configuration when the operator loses all that it fetched and united:
//! between the founding and the end it begins again, with what the replicas still hold. If none of them has begun
//! the next configuration it founds anew, and liars may say something else this time. If one has, there is a founding
//! already, which the operator must not make a second time: then it needs what it lost, and finds it again here.

use std::collections::BTreeSet;
use std::sync::Arc;

use bts_core::configuration::Configuration;
use bts_core::crypto::hash::Digest;
use bts_core::ids::ReplicaId;
use bts_core::message::Standing;
use bts_core::replica::handover::{Astray, may_hand_over};

use super::handover::{Founded, PURPOSE, SPREAD_US};
use super::rng::Rng;
use super::run::Run;
use super::world::World;
use crate::adversary::legacy::Legacies;

/// What tells the source of chance of lost work from the others.
const LOST: u64 = 0x1057;

impl Run {
    /// The operator loses its work, when some replicas have begun, or none. With what all are to begin
    /// in the end, who has begun, and whether clients have joined.
    pub(super) fn lose_work(
        &mut self,
        (holders, legacies): (&[ReplicaId], &Legacies),
        founded: Founded,
        rng: &mut Rng,
    ) -> Result<(Founded, BTreeSet<ReplicaId>), String> {
        let mut chance = Rng::new(self.swarm.setup.seed ^ LOST);
        let mut first: Vec<_> = founded.holders().collect();
        chance.shuffle(&mut first);
        let most = if chance.chance(400) { 0 } else { first.len() };
        first.truncate(chance.index(most + 1));
        let first: BTreeSet<_> = first.into_iter().collect();
        let ended = Arc::clone(&self.world.configuration);
        let ending = digest_of(&ended);
        self.world.retire();
        if !first.is_empty() {
            self.world.enter(&founded);
            for id in &first {
                self.world.begin_late(*id, &founded)?;
            }
            self.join(&legacies.correct, rng);
            self.run(chance.below(SPREAD_US), |_| false);
        }
        let stands = |id| self.world.stands(ending, first.contains(&id));
        // A faulty one is asked as well whose word was taken, and whose seat has begun since.
        let asked: BTreeSet<_> = holders.iter().chain(&first).copied().collect();
        let asked = asked
            .into_iter()
            .map(|id| may_hand_over(ending, PURPOSE, &stands(id)));
        match asked.collect::<Result<Vec<()>, Astray>>() {
            Err(_) => {
                self.world.observer.coverage.mark("operator sent back");
                Ok((founded, first))
            }
            Ok(_) => {
                let again = {
                    let world = &mut self.world;
                    let now = std::mem::replace(&mut world.configuration, ended);
                    let again = world.found(holders, legacies, rng);
                    world.configuration = now;
                    again?
                };
                if !first.is_empty() && again.digest() != founded.digest() {
                    return Err("two foundings of one configuration".to_owned());
                }
                self.world.observer.coverage.mark("founded anew");
                Ok((again, first))
            }
        }
    }

    /// All others begin, each in its time.
    pub(super) fn begin_rest(&mut self, founded: &Founded, begun: &BTreeSet<ReplicaId>) {
        let mut chance = Rng::new(!self.swarm.setup.seed ^ LOST);
        for id in self.world.configuration.replicas() {
            if begun.contains(&id) {
                continue;
            }
            let founded = founded.clone();
            self.world.after(chance.below(SPREAD_US), move |world| {
                if let Err(why) = world.begin_late(id, &founded) {
                    world.violation(format!("handover: {why}"));
                }
            });
        }
    }
}

impl World {
    /// Whoever has stopped ends for good, so that nothing that was planned before starts it again.
    fn retire(&mut self) {
        let ids: Vec<_> = self.replicas.keys().copied().collect();
        for id in ids {
            self.crash_replica(id);
            if let Some(node) = self.replicas.get_mut(&id) {
                node.shell = None;
            }
        }
    }

    /// What a correct replica answers an operator who asks where it stands.
    fn stands(&self, ending: Digest, has_begun: bool) -> Standing {
        match has_begun {
            true => Standing {
                configuration: digest_of(&self.configuration),
                number: self.configuration.number(),
                stopped: None,
            },
            false => Standing {
                configuration: ending,
                number: self.configuration.number(),
                stopped: Some(PURPOSE),
            },
        }
    }

    /// A replica begins while others run already, or do not yet.
    fn begin_late(&mut self, id: ReplicaId, founded: &Founded) -> Result<(), String> {
        self.begin_at(id, founded.log_of(id))?;
        self.dial_all_of(id);
        Ok(())
    }
}

/// The configuration, as operators name it.
fn digest_of(configuration: &Configuration) -> Digest {
    configuration.signing_context().configuration
}

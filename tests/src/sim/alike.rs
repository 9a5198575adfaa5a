//! Nothing is missing anywhere for good: once a cluster is healed its correct replicas come to
//! hold the same entries, whatever was lost, without any client's help.

use std::collections::BTreeSet;

use bts_core::ids::{ContentHash, EntryId, ReplicaId};
use bts_core::message::ClientBody;

use super::links::Interception;
use super::node::{Flight, Message, Node};
use super::parts::mark;
use super::run::Run;
use super::world::World;

/// How long that may take, in microseconds of virtual time: a round of comparing with every peer, some
/// of which are mute, and fetches that are repeated.
const PATIENCE_US: u64 = 60_000_000;

/// How often it is looked whether it is so.
const LOOK_EVERY_US: u64 = 250_000;

/// What a replica holds.
type Live = BTreeSet<(EntryId, ContentHash)>;

impl Run {
    /// Waits until all correct replicas that are reached hold the same; objects if they never do.
    pub(super) fn become_alike(&mut self) {
        let ids = self.core();
        let end_us = self.world.now_us() + PATIENCE_US;
        // Hostile replicas relay new entries for ever; what is there now must be everywhere.
        let wanted = self.world.held_by(&ids);
        let mut differences = self.world.differences(&ids, &wanted);
        let mark = match differences.is_empty() {
            true => "alike at once",
            false => "alike in the end",
        };
        while !differences.is_empty() && self.world.violations().is_empty() {
            if self.world.now_us() > end_us {
                let differences = differences.join("\n    ");
                let waited = PATIENCE_US / 1_000_000;
                return self.world.violation(format!(
                    "holes: not alike within {waited} s\n    {differences}"
                ));
            }
            self.world.run_for(LOOK_EVERY_US);
            differences = self.world.differences(&ids, &wanted);
        }
        self.world.observer.coverage.mark(mark);
    }

    /// From now on one correct replica hears no Out of a share of all entries.
    pub(super) fn punch_holes(&mut self) -> Option<Interception> {
        let share = u16::try_from(self.swarm.rates.holes).unwrap_or(1000);
        let mut rng = self.fork();
        let deaf = rng.pick(&self.core()).copied().filter(|_| share > 0)?;
        let is_unheard = move |flight: &Flight| {
            flight.to == Node::Replica(deaf)
                && lot_of(&flight.message).is_some_and(|lot| lot < share)
        };
        Some(self.world.lose(is_unheard))
    }

    /// Correct replicas that are heard once the cluster is healed.
    pub(super) fn core(&self) -> Vec<ReplicaId> {
        let away = self.away();
        let mut ids = self.swarm.lasting();
        ids.retain(|id| !away.contains(&Node::Replica(*id)));
        ids
    }
}

/// A number below 1000 that every copy of an Out draws alike; `None` for anything else.
fn lot_of(message: &Message) -> Option<u16> {
    match message {
        Message::Request(request) => match &request.body {
            ClientBody::Out { entry } => {
                let (_, payload) = mark(entry);
                Some((payload % 1000) as u16)
            }
            _ => None,
        },
        Message::Reply(_) | Message::Peer(_) => None,
    }
}

impl World {
    /// What one of these replicas holds.
    fn held_by(&self, ids: &[ReplicaId]) -> Live {
        let nodes = ids.iter().filter_map(|id| self.replicas.get(id));
        nodes.flat_map(|node| node.machine.live()).collect()
    }

    /// What each of these replicas lacks that is wanted and that another one holds, in words.
    fn differences(&self, ids: &[ReplicaId], wanted: &Live) -> Vec<String> {
        let all: Live = self.held_by(ids).intersection(wanted).cloned().collect();
        let lacks = |id: &ReplicaId| {
            let live = self.held_by(&[*id]);
            let lacking: Vec<_> = all
                .difference(&live)
                .map(|(id, _)| id.to_string())
                .collect();
            (!lacking.is_empty()).then(|| format!("{id} lacks {}", lacking.join(", ")))
        };
        ids.iter().filter_map(lacks).collect()
    }
}

//! The end of a configuration and the beginning of the next, in the middle of trouble: each
//! correct replica stops at a moment of its own, whatever is under way. Faulty ones are given up, and others
//! take their places, who begin with nothing. Clients of the old configuration end; what they were told holds
//! for those of the next.

use std::collections::BTreeSet;
use std::sync::Arc;

use bts_core::codec;
use bts_core::configuration::Configuration;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::Signer;
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{Lsn, ReplicaId};
use bts_core::replica::handover::{Export, Founding, sign_export, unite};
use bts_core::replica::{self, Input, Outputs, Record, Replica};

use super::disk::Disk;
use super::run::{RESTART_US, Run};
use super::setup::public;
use super::world::World;

/// What replicas stop for.
const PURPOSE: Digest = Digest([7; 32]);
/// Within which time each is told to stop, in microseconds.
const SPREAD_US: u64 = 100_000;
/// How long until it is told again.
const AGAIN_US: u64 = 10_000;
/// How long all of it may take: those that are down come back.
const PATIENCE_US: u64 = 30_000_000;
/// Clients of the next configuration, and what each is asked for at once.
const CLIENTS: usize = 2;
const OPERATIONS: usize = 3;

impl Run {
    /// Changes the configuration, if that was drawn.
    pub(super) fn hand_over(&mut self) {
        if !self.swarm.hands_over || !self.world.violations().is_empty() {
            return;
        }
        let holders = self.swarm.lasting();
        let mut rng = self.fork();
        for id in holders.clone() {
            let at_us = rng.below(SPREAD_US);
            let ending = self.world.configuration.number();
            self.world
                .after(at_us, move |world| world.order_stop(id, ending));
        }
        let all = holders.clone();
        let stopped = move |world: &World| all.iter().all(|id| world.has_stopped(*id));
        if !self.run(PATIENCE_US, stopped) {
            let what = "handover: not all correct replicas have stopped".to_owned();
            return self.world.violation(what);
        }
        for number in 0..self.world.clients.len() {
            self.world.crash_client(number);
        }
        for id in self.world.configuration.replicas() {
            self.world.crash_replica(id);
        }
        // Until then somebody may still hear that a connection of before has ended.
        self.run(RESTART_US, |_| false);
        if let Err(why) = self.world.begin_next(&holders) {
            return self.world.violation(format!("handover: {why}"));
        }
        self.world.observer.coverage.mark("configuration changed");
        for _ in 0..CLIENTS {
            let client = self.world.add_client();
            self.world.connect_client(client, 5_000);
            for _ in 0..OPERATIONS {
                let number = self.next_number();
                let op = self.swarm.workload.next(&mut rng, number);
                self.world.invoke(client, op);
            }
        }
        self.run(SPREAD_US, |_| false);
    }
}

impl World {
    /// Tells a replica to stop for good in this configuration, until it has.
    fn order_stop(&mut self, id: ReplicaId, ending: u64) {
        if !self.has_stopped(id) && self.configuration.number() == ending {
            self.drive_replica(id, Input::Stop(PURPOSE));
            self.after(AGAIN_US, move |world| world.order_stop(id, ending));
        }
    }

    fn has_stopped(&self, id: ReplicaId) -> bool {
        let node = self.replicas.get(&id);
        let last = node.and_then(|node| node.disk.durable().last());
        matches!(last, Some((_, Record::Stopped(_))))
    }

    /// From now on all replicas are those of the next configuration.
    fn begin_next(&mut self, holders: &[ReplicaId]) -> Result<(), String> {
        let ending = Arc::clone(&self.configuration);
        let exports = holders.iter().map(|id| self.export(&ending, *id));
        let exports: Vec<_> = exports.collect::<Result<_, _>>()?;
        let seats = ending.replicas();
        let given_up: BTreeSet<_> = seats.filter(|id| !holders.contains(id)).collect();
        let united = unite(ending.size(), &exports, &given_up).map_err(|why| why.to_string())?;
        for (id, take) in &united.concluded {
            self.observer.coverage.mark("concluded at the end");
            self.observer.conclude(id, take.op());
        }
        let context = ending.signing_context();
        let founding = Founding::of(&united, context);
        let keys = ending
            .replicas()
            .map(|id| public(&self.setup.replica_key(id.0)));
        let next = Configuration::founded(
            context.cluster,
            ending.number() + 1,
            keys.collect(),
            ending.size().faults(),
            ending.policy().clone(),
            Some(founding.proofs),
        );
        self.configuration = Arc::new(next.map_err(|error| error.to_string())?);
        self.observer.begin_next(&self.configuration);
        let records: Vec<_> = (1..).map(Lsn).zip(founding.records).collect();
        for id in ending.replicas() {
            let log = match holders.contains(&id) {
                true => records.clone(),
                false => Vec::new(),
            };
            self.begin_at(id, log)?;
        }
        self.connect_all(5_000);
        Ok(())
    }

    /// What a replica hands over.
    fn export(&self, ending: &Arc<Configuration>, id: ReplicaId) -> Result<Export, String> {
        let node = self.replicas.get(&id).ok_or("no such replica")?;
        let records = node.disk.durable().iter();
        let records: Vec<_> = records.map(|(_, record)| codec::encode(record)).collect();
        let signer = Signer::new(self.setup.replica_key(id.0), *ending.signing_context());
        let seal = sign_export(&signer, PURPOSE, records.iter().map(Vec::as_slice));
        let verifier = Verifier::sharing(Arc::clone(ending), self.setup.roots.clone());
        let export = Export::verify(&verifier, PURPOSE, seal, records);
        export.map_err(|why| format!("the export of {id}, which is correct: {why}"))
    }

    /// A correct replica that begins with this log.
    fn begin_at(&mut self, id: ReplicaId, log: Vec<(Lsn, Record)>) -> Result<(), String> {
        let options = self.setup.replica_options(&self.configuration, id.0);
        let now_us = self.now_us();
        let (mut disk, mut out) = (Disk::default(), Outputs::default());
        disk.append(log.clone(), Vec::new());
        disk.lose_unsynced(log.len());
        let node = self.replicas.get_mut(&id).ok_or("no such replica")?;
        let now = node.tempo.restart(now_us);
        let machine = Replica::recover(options, now, log, &mut out);
        let machine: Replica = machine.map_err(|why: replica::Unreplayable| why.to_string())?;
        node.machine = Box::new(machine);
        (node.honest, node.alive, node.doomed, node.disk) = (true, true, None, disk);
        self.observer.trust_replica(id);
        self.carry_out(id, out);
        Ok(())
    }
}

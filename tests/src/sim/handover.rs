//! The end of a configuration and the beginning of the next, in the middle of trouble: each
//! correct replica stops at a moment of its own, whatever is under way. Of faulty ones the operator takes in
//! what passes the checks, lies included, or gives them up; whoever takes a place that was given up begins with nothing. Clients of the old configuration end; what they were told holds
//! for those of the next.

use std::collections::BTreeSet;
use std::sync::Arc;

use bts_core::codec;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::Signer;
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{Lsn, ReplicaId, Session};
use bts_core::replica::handover::{BadExport, Export, Founding, sign_export, unite};
use bts_core::replica::{self, Input, Outputs, Record, Replica};

use super::rng::Rng;
use super::run::{RESTART_US, Run};
use super::setup::client_ref;
use super::shell::Shell;
use super::swarm::HOSTILE;
use super::world::World;
use crate::adversary::legacy::{HandedOver, Legacies};
use crate::adversary::revenant::Revenant;

/// What replicas stop for.
const PURPOSE: Digest = Digest([7; 32]);
/// Within which time each is told to stop, in microseconds.
const SPREAD_US: u64 = 100_000;
/// How long until it is told again.
const AGAIN_US: u64 = 10_000;
/// How long all of it may take: those that are down come back.
const PATIENCE_US: u64 = 30_000_000;
/// How often a liar whose words were refused tries again with others.
const TRIES: usize = 3;
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
        let over = match self.world.begin_next(&holders, &mut rng) {
            Ok(over) => over,
            Err(why) => return self.world.violation(format!("handover: {why}")),
        };
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
        self.world.haunt(&over, &mut rng);
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

    /// From now on all replicas are those of the next configuration. What correct ones had logged before.
    fn begin_next(&mut self, holders: &[ReplicaId], rng: &mut Rng) -> Result<Vec<Record>, String> {
        let ending = Arc::clone(&self.configuration);
        let legacies = self.legacies(holders);
        let own = legacies
            .correct
            .iter()
            .zip(holders)
            .map(|((seal, log), id)| {
                let records = log.iter().map(codec::encode).collect();
                let export = self.take_in(*id, (seal.clone(), records));
                export.map_err(|why| format!("the export of {id}, which is correct: {why}"))
            });
        let mut exports: Vec<_> = own.collect::<Result<_, _>>()?;
        let (mut given_up, mut empty) = (BTreeSet::new(), BTreeSet::new());
        for id in ending.replicas().filter(|id| !holders.contains(id)) {
            match self.take_in_faulty(id, &legacies, rng) {
                Some(export) => exports.push(export),
                None => _ = given_up.insert(id),
            }
            // The place of one whose word was taken may be given to another all the same.
            if given_up.contains(&id) || rng.chance(500) {
                empty.insert(id);
            }
        }
        let united = unite(ending.size(), &exports, &given_up).map_err(|why| why.to_string())?;
        for (id, take) in &united.concluded {
            self.observer.coverage.mark("concluded at the end");
            self.observer.conclude(id, take.op());
        }
        for (id, epoch) in &united.ended {
            self.observer.release(id, *epoch);
        }
        let context = ending.signing_context();
        let founding = Founding::of(&united, context);
        self.configuration = self.setup.configuration_after(&ending, founding.proofs)?;
        self.observer.begin_next(&self.configuration);
        let records: Vec<_> = (1..).map(Lsn).zip(founding.records).collect();
        for id in ending.replicas() {
            let log = match empty.contains(&id) {
                true => Vec::new(),
                false => records.clone(),
            };
            self.begin_at(id, log)?;
        }
        self.connect_all(5_000);
        Ok(legacies
            .correct
            .into_iter()
            .flat_map(|(_, log)| log)
            .collect())
    }

    /// Somebody hostile who knows all that was logged before joins.
    fn haunt(&mut self, over: &[Record], rng: &mut Rng) {
        let key = self.setup.client_key(HOSTILE + self.clients.len());
        let identity = client_ref(&key, Session(1));
        let revenant = Revenant::new(over.iter(), &self.configuration, rng.fork());
        let client = self.add_client_machine(Box::new(revenant), identity, false);
        self.connect_client(client, 5_000);
    }

    /// What the replicas that have stopped logged, with their seals.
    fn legacies(&self, holders: &[ReplicaId]) -> Legacies {
        let of = |id: &ReplicaId| {
            let log = self.log_of(*id);
            let bytes: Vec<_> = log.iter().map(codec::encode).collect();
            let records = bytes.iter().map(Vec::as_slice);
            (sign_export(&self.signer_of(*id), PURPOSE, records), log)
        };
        Legacies {
            correct: holders.iter().map(of).collect(),
            purpose: PURPOSE,
        }
    }

    /// What a faulty replica hands over, if the operator can use it.
    fn take_in_faulty(
        &mut self,
        id: ReplicaId,
        legacies: &Legacies,
        rng: &mut Rng,
    ) -> Option<Export> {
        if !rng.chance(800) {
            return None;
        }
        let signer = self.signer_of(id);
        for _ in 0..TRIES {
            let handed_over = legacies.lie(&signer, rng);
            match self.take_in(id, handed_over) {
                Ok(export) => {
                    self.observer.coverage.mark("lying export taken in");
                    return Some(export);
                }
                Err(_) => self.observer.coverage.mark("lying export refused"),
            }
        }
        None
    }

    fn log_of(&self, id: ReplicaId) -> Vec<Record> {
        let log = self.replicas.get(&id).map(|node| node.disk.durable());
        let log = log.into_iter().flatten();
        log.map(|(_, record)| record.clone()).collect()
    }

    fn signer_of(&self, id: ReplicaId) -> Signer {
        let context = self.configuration.signing_context();
        Signer::new(self.setup.replica_key(id.0), *context)
    }

    /// As the operator's program does with what it fetched from this replica.
    fn take_in(&self, id: ReplicaId, (seal, records): HandedOver) -> Result<Export, BadExport> {
        let ending = Arc::clone(&self.configuration);
        let verifier = Verifier::sharing(ending, self.setup.roots.clone());
        Export::verify(&verifier, id, PURPOSE, seal, records)
    }

    /// A correct replica that begins with this log.
    fn begin_at(&mut self, id: ReplicaId, log: Vec<(Lsn, Record)>) -> Result<(), String> {
        let options = self.setup.replica_options(&self.configuration, id.0);
        let now_us = self.now_us();
        let (mut disk, mut out) = (self.settled_disk(id), Outputs::default());
        disk.append(log.clone(), Vec::new());
        disk.lose_unsynced(log.len());
        let node = self.replicas.get_mut(&id).ok_or("no such replica")?;
        let now = node.tempo.restart(now_us);
        let machine = Replica::recover(options, now, log, &mut out);
        let machine: Replica = machine.map_err(|why: replica::Unreplayable| why.to_string())?;
        node.machine = Box::new(machine);
        let shell = Shell::settled(self.configuration.size(), &disk);
        (node.shell, node.lost, node.disk) = (Some(shell), false, disk);
        (node.honest, node.alive, node.doomed) = (true, true, None);
        self.observer.trust_replica(id);
        self.carry_out(id, out);
        Ok(())
    }
}

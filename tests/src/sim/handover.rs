//! The end of a configuration and the beginning of the next, in the middle of trouble: each
//! correct replica stops at a moment of its own, whatever is under way. Of faulty ones the operator takes in
//! what passes the checks, lies included, or gives them up; whoever takes a place that was given up begins with nothing. Clients of the old configuration end; what they were told holds
//! for those of the next.

use std::collections::BTreeSet;
use std::sync::Arc;

use bts_core::codec;
use bts_core::configuration::Configuration;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{SignedBytes, Signer};
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{EntryId, Epoch, Lsn, OpId, ReplicaId, Session};
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
pub(super) const PURPOSE: Digest = Digest([7; 32]);
/// Within which time each is told to stop, in microseconds.
pub(super) const SPREAD_US: u64 = 100_000;
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
        if let Err(why) = self.begin_next(&holders, &mut rng) {
            return self.world.violation(format!("handover: {why}"));
        }
        self.world.observer.coverage.mark("configuration changed");
        self.run(SPREAD_US, |_| false);
    }

    /// What the replicas hold is handed over, and they begin with what follows from it.
    fn begin_next(&mut self, holders: &[ReplicaId], rng: &mut Rng) -> Result<(), String> {
        let legacies = self.world.legacies(holders);
        let founded = self.world.found(holders, &legacies, rng)?;
        if !self.swarm.loses_work {
            self.world.enter(&founded);
            for id in self.world.configuration.replicas() {
                self.world.begin_at(id, founded.log_of(id))?;
            }
            self.world.connect_all(5_000);
            self.join(&legacies.correct, rng);
            return Ok(());
        }
        let (founded, begun) = self.lose_work((holders, &legacies), founded, rng)?;
        if begun.is_empty() {
            self.world.enter(&founded);
        }
        self.begin_rest(&founded, &begun);
        if begun.is_empty() {
            self.join(&legacies.correct, rng);
        }
        Ok(())
    }

    /// Clients of the next configuration, one of them hostile.
    pub(super) fn join(&mut self, over: &[(SignedBytes, Vec<Record>)], rng: &mut Rng) {
        for _ in 0..CLIENTS {
            let client = self.world.add_client();
            self.world.connect_client(client, 5_000);
            for _ in 0..OPERATIONS {
                let number = self.next_number();
                let op = self.swarm.workload.next(rng, number);
                self.world.invoke(client, op);
            }
        }
        let over = over.iter().flat_map(|(_, log)| log);
        self.world.haunt(over, rng);
    }
}

/// What an operator made of all that was handed over.
#[derive(Clone, Debug)]
pub(super) struct Founded {
    configuration: Arc<Configuration>,
    records: Vec<(Lsn, Record)>,
    /// Who begins with nothing.
    empty: BTreeSet<ReplicaId>,
    concluded: Vec<(EntryId, OpId)>,
    released: Vec<(EntryId, Epoch)>,
}

impl Founded {
    /// Who begins with what was handed over.
    pub(super) fn holders(&self) -> impl Iterator<Item = ReplicaId> {
        let all = self.configuration.replicas();
        all.filter(|id| !self.empty.contains(id))
    }

    /// What a replica begins with.
    pub(super) fn log_of(&self, id: ReplicaId) -> Vec<(Lsn, Record)> {
        match self.empty.contains(&id) {
            true => Vec::new(),
            false => self.records.clone(),
        }
    }

    /// Names it.
    pub(super) fn digest(&self) -> Digest {
        self.configuration.signing_context().configuration
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

    /// What follows from what is handed over. Faulty ones say whatever they like, each time anew.
    pub(super) fn found(
        &mut self,
        holders: &[ReplicaId],
        legacies: &Legacies,
        rng: &mut Rng,
    ) -> Result<Founded, String> {
        let ending = Arc::clone(&self.configuration);
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
            match self.take_in_faulty(id, legacies, rng) {
                Some(export) => exports.push(export),
                None => _ = given_up.insert(id),
            }
            // The place of one whose word was taken may be given to another all the same.
            if given_up.contains(&id) || rng.chance(500) {
                empty.insert(id);
            }
        }
        let united = unite(ending.size(), &exports, &given_up).map_err(|why| why.to_string())?;
        let founding = Founding::of(&united, ending.signing_context());
        let concluded = united.concluded.iter();
        Ok(Founded {
            configuration: self.setup.configuration_after(&ending, founding.proofs)?,
            records: (1..).map(Lsn).zip(founding.records).collect(),
            empty,
            concluded: concluded
                .map(|(id, take)| (id.clone(), take.op()))
                .collect(),
            released: united.ended.into_iter().collect(),
        })
    }

    /// From now on this is the configuration.
    pub(super) fn enter(&mut self, founded: &Founded) {
        for (id, op) in &founded.concluded {
            self.observer.coverage.mark("concluded at the end");
            self.observer.conclude(id, *op);
        }
        for (id, epoch) in &founded.released {
            self.observer.release(id, *epoch);
        }
        self.configuration = Arc::clone(&founded.configuration);
        self.observer.begin_next(&self.configuration);
    }

    /// Somebody hostile who knows all that was logged before joins.
    fn haunt<'a>(&mut self, over: impl Iterator<Item = &'a Record>, rng: &mut Rng) {
        let key = self.setup.client_key(HOSTILE + self.clients.len());
        let identity = client_ref(&key, Session(1));
        let revenant = Revenant::new(over, &self.configuration, rng.fork());
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
    pub(super) fn begin_at(
        &mut self,
        id: ReplicaId,
        log: Vec<(Lsn, Record)>,
    ) -> Result<(), String> {
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

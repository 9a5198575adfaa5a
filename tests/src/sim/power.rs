//! Machines that end, start again, stop for a while, and lose what they had stored.

use std::collections::BTreeSet;

use bts_core::ids::{Incarnation, Lsn, ReplicaId};
use bts_core::memory::Known;
use bts_core::replica::{self, Replica};

use super::disk::Disk;
use super::network::Link;
use super::node::Node;
use super::schedule::Event;
use super::setup::incarnation;
use super::shell::Shell;
use super::world::{ReplicaNode, World};

impl World {
    /// Ends a running replica, and starts it again after a while. Nothing happens to one that is
    /// stopped or has ended; what waits for a stopped one would reach it after its restart.
    pub fn crash_for(&mut self, id: ReplicaId, away_us: u64) {
        let now_us = self.now_us();
        let runs = |node: &ReplicaNode| node.alive && node.tempo.postponed(now_us).is_none();
        if self.replicas.get(&id).is_some_and(runs) {
            self.crash_replica(id);
            self.after(away_us, move |world| world.restart_replica(id));
        }
    }

    /// The same at its next write, while that is not synced.
    pub fn doom(&mut self, id: ReplicaId, away_us: u64) {
        if let Some(node) = self.replicas.get_mut(&id) {
            node.doomed = Some(away_us);
        }
    }

    /// Ends a replica, as kill -9 or a power cut does. Of the records that were not synced by now some may
    /// have reached the disk all the same, in order; no sync under way ends any more.
    pub fn crash_replica(&mut self, id: ReplicaId) {
        self.trace.line(self.now_us(), || format!("{id} crashes"));
        if let Some(node) = self.replicas.get_mut(&id).filter(|node| node.alive) {
            node.alive = false;
            let unsynced = node.disk.unsynced();
            let kept = self.rng.between(0, unsynced as u64) as usize;
            let lost = &node.disk.unsynced_records()[kept..];
            if node.honest {
                self.observer.on_lost(id, lost);
            }
            if !lost.is_empty() {
                self.observer.coverage.mark("crash before a sync");
            }
            node.disk.lose_unsynced(kept);
        }
        self.end_links_of(Node::Replica(id));
    }

    /// Starts a replica again that crashed, with what is left of its log.
    pub fn restart_replica(&mut self, id: ReplicaId) {
        let restarts = |node: &&mut ReplicaNode| node.shell.is_some() && !node.alive;
        let run = self.rng.number();
        let Some(node) = self.replicas.get_mut(&id).filter(restarts) else {
            return;
        };
        let deleted = node.disk.clean(&mut self.rng);
        if !self.recover(id, run) {
            return;
        }
        let coverage = &mut self.observer.coverage;
        coverage.mark("restart");
        if deleted > 0 {
            coverage.mark("restart with a shortened log");
        }
        self.dial_all_of(id);
    }

    /// A replica dials all others, and all dial it.
    pub(super) fn dial_all_of(&mut self, id: ReplicaId) {
        for other in self.nodes() {
            let both = [(Node::Replica(id), other), (other, Node::Replica(id))];
            let dials = |link: &Link| link.0 != link.1 && matches!(link.1, Node::Replica(_));
            self.dial_all(both.into_iter().filter(dials));
        }
    }

    /// Makes a replica from its log. True if that was possible.
    fn recover(&mut self, id: ReplicaId, run: u64) -> bool {
        let now_us = self.now_us();
        let Some(node) = self.replicas.get_mut(&id) else {
            return false;
        };
        let records = node.disk.durable().to_vec();
        let mut options = self.setup.replica_options(&self.configuration, id.0);
        (options.run, options.incarnation) = (run, node.disk.incarnation());
        let now = node.tempo.restart(now_us);
        self.trace.line(now_us, || {
            format!("{id} restarts with {} records", records.len())
        });
        let mut out = replica::Outputs::default();
        match Replica::recover(options, now, records, &mut out) {
            Ok(machine) => node.machine = Box::new(machine),
            Err(why) => {
                self.violation(format!("{id} cannot restart: {why}"));
                return false;
            }
        }
        node.alive = true;
        let shell = Shell::started(self.configuration.size(), &node.disk, run);
        node.shell = Some(shell);
        // Nobody is connected yet.
        out.send.clear();
        self.carry_out(id, out);
        true
    }

    /// What a copy of a replica's disk would hold.
    pub(super) fn copy_of_disk(&self, id: ReplicaId) -> Option<Disk> {
        self.replicas.get(&id).map(|node| node.disk.copy())
    }

    /// A correct replica comes to an end, and starts again without its disk or, if there is one, with an
    /// older copy of it. From now on it is faulty, unless its peers are bound to notice.
    pub(super) fn lose_memory(&mut self, id: ReplicaId, copy: Option<Disk>, away_us: u64) {
        let is_whole = copy.is_none();
        let disk = copy.unwrap_or_else(|| Disk::new(Incarnation(self.rng.number())));
        let who_know = self.who_know_more(id, disk.position()).count();
        let is_noticed = is_whole || who_know >= self.configuration.size().fact_quorum();
        self.crash_replica(id);
        let Some(node) = self.replicas.get_mut(&id) else {
            return;
        };
        (node.disk, node.lost, node.honest) = (disk, true, is_noticed);
        if !is_noticed {
            self.observer.distrust_replica(id);
        }
        if is_whole && self.who_know_another(id).next().is_none() {
            let mark = "disk lost before anybody knew it";
            self.observer.coverage.mark(mark);
        }
        self.observer.coverage.mark(match (is_whole, is_noticed) {
            (true, _) => "disk lost",
            (false, true) => "older copy that is noticed",
            (false, false) => "older copy that may pass",
        });
        self.after(away_us, move |world| world.restart_replica(id));
    }

    /// Correct replicas that remember, durably, that the log of this one was longer.
    fn who_know_more(&self, id: ReplicaId, position: Lsn) -> impl Iterator<Item = ReplicaId> {
        let knows = move |node: &ReplicaNode| {
            let known = node.disk.peers().get(&id);
            known.is_some_and(|known| known.position > position)
        };
        let others = self.replicas.iter().filter(move |(other, node)| {
            **other != id && node.honest && node.shell.is_some() && knows(node)
        });
        others.map(|(other, _)| *other)
    }

    /// True if whoever is bound to be noticed, by so many of these that are reached, was told so.
    pub(super) fn has_told_the_lost(&self, reached: &[ReplicaId]) -> bool {
        let mut lost = self
            .replicas
            .iter()
            .filter(|(_, node)| node.lost && node.honest);
        lost.all(|(id, node)| {
            let position = node.disk.position();
            let more = self.who_know_more(*id, position);
            let who: BTreeSet<_> = more.chain(self.who_know_another(*id)).collect();
            let count = who.iter().filter(|who| reached.contains(who)).count();
            let is_bound = count >= self.configuration.size().fact_quorum();
            !is_bound || node.shell.as_ref().is_some_and(Shell::is_disowned)
        })
    }

    /// The disk of a replica that knows all others, and all others know.
    pub(super) fn settled_disk(&self, id: ReplicaId) -> Disk {
        let known = |peer| Known {
            incarnation: incarnation(peer),
            position: Lsn(0),
        };
        let peers = self.configuration.replicas().filter(|peer| *peer != id);
        Disk::settled(
            incarnation(id),
            peers.map(|peer| (peer, known(peer))).collect(),
        )
    }

    /// The disk of a replica is replaced by an empty one. What runs does not notice, and nobody else ever
    /// does: it says that it is the same.
    pub fn lose_disk(&mut self, id: ReplicaId) {
        let empty = self.settled_disk(id);
        for (of, node) in &mut self.replicas {
            if *of == id {
                node.disk = empty.clone();
            } else if let Some(shell) = &mut node.shell {
                shell.forget_positions(&mut node.disk);
            }
        }
    }

    /// Ends a replica; nothing that it had not synced is left.
    pub fn cut_power(&mut self, id: ReplicaId) {
        if let Some(node) = self.replicas.get_mut(&id) {
            node.disk.lose_unsynced(0);
        }
        self.crash_replica(id);
    }

    /// Ends a client for good, as kill -9 does.
    pub fn crash_client(&mut self, number: usize) {
        self.trace
            .line(self.now_us(), || format!("c{number} crashes"));
        self.clients[number].alive = false;
        self.end_links_of(Node::Client(number));
    }

    /// Stops a machine for a while, as SIGSTOP does; what arrives meanwhile waits.
    pub fn pause(&mut self, node: Node, span_us: u64) {
        if !self.is_alive(node) {
            return;
        }
        let until = self.now_us() + span_us;
        self.trace
            .line(self.now_us(), || format!("{node} pauses until {until}"));
        if let Some(tempo) = self.tempo_of(node) {
            tempo.stop_until(until);
        }
    }

    /// Until when this has to wait, as its machine is stopped.
    pub(super) fn postponed(&mut self, event: &Event) -> Option<u64> {
        let now_us = self.now_us();
        let tempo = self.tempo_of(event.node()?)?;
        let until = tempo.postponed(now_us)?;
        if let Event::Tick(_) = event {
            tempo.postpone_tick(now_us, until);
        }
        Some(until)
    }
}

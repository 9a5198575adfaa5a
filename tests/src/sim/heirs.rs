//! Processes that end, and others of their key that come after them: some end their session, some crash
//! in the middle of whatever they do and leave that to their heirs. When all have ended, nothing that any of
//! them took is kept anywhere.

use std::collections::BTreeSet;

use bts_core::client::Op;
use bts_core::ids::{ClientRef, EntryId, PublicKey, ReplicaId, Session};

use super::node::Node;
use super::rng::Rng;
use super::run::Run;
use super::setup::public;
use super::swarm::JUDGE;
use super::workload::Workload;
use super::world::World;

/// The first session of an heir.
const SESSION: u64 = 1 << 20;
/// The first number of what heirs write.
const NUMBER: u64 = 700_000;
/// Operations of one heir.
const OPERATIONS: u64 = 4;
/// How long it may take until nothing is kept, in microseconds of virtual time.
const PATIENCE_US: u64 = 120_000_000;
/// How often it is looked whether it is so.
const LOOK_EVERY_US: u64 = 500_000;

/// What comes next in a line of heirs.
#[derive(Debug)]
struct Line {
    client: usize,
    heir: u64,
    workload: Workload,
    rng: Rng,
    /// From then on nobody follows: the configuration may end, and with it all clients begin anew.
    until_us: u64,
}

impl Run {
    /// Some clients end, and are followed by others of their key, and these by others.
    pub(super) fn plan_heirs(&mut self) {
        let trouble_us = self.swarm.trouble_us;
        for heir in 0..self.swarm.heirs {
            let mut rng = self.fork();
            let line = Line {
                client: rng.index(self.swarm.clients),
                heir,
                workload: self.swarm.workload.clone(),
                rng: rng.fork(),
                until_us: self.world.now_us() + trouble_us,
            };
            self.world
                .after(rng.below(trouble_us), move |world| line.follow(world));
        }
    }

    /// Ends every session of correct clients, those of the dead through others of their key; then what they took
    /// is kept nowhere.
    pub(super) fn end_sessions(&mut self) {
        let keys: BTreeSet<_> = self.world.honest_keys().collect();
        let (core, wanted) = (self.core(), keys.clone());
        let end_us = self.world.now_us() + PATIENCE_US;
        let executors: Vec<_> = keys.iter().filter_map(|key| self.executor(*key)).collect();
        for executor in &executors {
            self.end(*executor, false);
        }
        for number in self.world.living() {
            self.end(number, true);
        }
        while self.world.violations().is_empty() {
            let kept = self.world.kept_of(&core, &wanted);
            if kept.is_empty() {
                return self.world.observer.coverage.mark("nothing kept");
            }
            if self.world.now_us() > end_us {
                let kept = kept.join("\n    ");
                let what = format!("kept though its session has ended\n    {kept}");
                return self.world.violation(what);
            }
            self.world.run_for(LOOK_EVERY_US);
            // A decision may come late, and open the session of somebody dead once more.
            for key in &keys {
                if let Some(executor) = self.executor(*key) {
                    self.end(executor, false);
                }
            }
        }
    }

    fn end(&mut self, client: usize, own: bool) {
        let handle = self.world.invoke(client, Op::End { own });
        self.demand("sessions end", move |world| world.outcome(handle).is_some());
    }

    /// Somebody living with this key.
    fn executor(&mut self, key: PublicKey) -> Option<usize> {
        let living = self.world.holder_of(&key);
        living.or_else(|| {
            let dead = self
                .world
                .clients
                .iter()
                .position(|n| n.identity.key == key)?;
            let session = Session(2 * SESSION + self.next_number());
            let heir = self.world.add_sibling(dead, session);
            for away in self.away() {
                self.world.cut_one_way(away, Node::Client(heir));
                self.world.cut_one_way(Node::Client(heir), away);
            }
            self.world.connect_client(heir, 1);
            Some(heir)
        })
    }
}

impl Line {
    /// The present holder of the key ends, in one way or another, and the next one begins.
    fn follow(mut self, world: &mut World) {
        let key = world.clients[self.client].identity.key;
        if self.is_over(world) {
            return;
        }
        if let Some(holder) = world.holder_of(&key) {
            let is_busy = world.unfinished().any(|open| open.client == holder);
            let is_idle = world.clients[holder].machine.is_idle();
            if !is_busy && is_idle && self.rng.chance(700) {
                let end = world.invoke(holder, Op::End { own: true });
                let at_most_us = self.rng.below(60_000);
                world.after(at_most_us, move |world| {
                    if world.outcome(end).is_some() {
                        world.observer.coverage.mark("client closed");
                    }
                    // Who lives when the world is healed is asked to end its session.
                    if !world.is_healing() {
                        world.crash_client(holder);
                    }
                });
            } else {
                world
                    .observer
                    .coverage
                    .mark("client crashed, and has heirs");
                world.crash_client(holder);
            }
        }
        let later_us = self.rng.below(150_000);
        world.after(later_us, move |world| self.succeed(world));
    }

    fn succeed(self, world: &mut World) {
        if self.is_over(world) {
            return;
        }
        let heir = world.add_sibling(self.client, Session(SESSION + self.heir));
        world.connect_client(heir, 5_000);
        self.work(world, heir, OPERATIONS);
    }

    fn is_over(&self, world: &World) -> bool {
        world.is_healing() || world.now_us() >= self.until_us
    }

    fn work(mut self, world: &mut World, heir: usize, left: u64) {
        if left == 0 || self.is_over(world) || !world.is_alive(Node::Client(heir)) {
            return;
        }
        let number = NUMBER + self.heir * OPERATIONS + left;
        let op = self.workload.next(&mut self.rng, number);
        world.invoke(heir, op);
        let pause_us = 1 + self.rng.below(60_000);
        world.after(pause_us, move |world| self.work(world, heir, left - 1));
    }
}

impl World {
    /// Keys of correct clients.
    fn honest_keys(&self) -> impl Iterator<Item = PublicKey> {
        let honest = self.clients.iter().filter(|node| node.honest);
        honest.map(|node| node.identity.key)
    }

    /// Correct clients that live.
    fn living(&self) -> Vec<usize> {
        let clients = self.clients.iter().enumerate();
        let living = clients.filter(|(_, node)| node.honest && node.alive);
        living.map(|(number, _)| number).collect()
    }

    /// The latest process with this key, if it lives.
    fn holder_of(&self, key: &PublicKey) -> Option<usize> {
        let mut clients = self.clients.iter().enumerate().rev();
        let holder = clients.find(|(_, node)| node.identity.key == *key && node.alive);
        holder.map(|(number, _)| number)
    }

    /// Another process with the key of this client.
    fn add_sibling(&mut self, of: usize, session: Session) -> usize {
        let key = self.clients[of].identity.key;
        let numbers = (0..self.clients.len()).chain(JUDGE..JUDGE + self.clients.len());
        let mut keys = numbers.map(|number| self.setup.client_key(number));
        let key = keys.find(|it| public(it) == key);
        let key = key.expect("the key of a client of this world");
        self.add_client_of(key, session)
    }

    /// What these replicas keep for sessions of these keys, in words. Of what one of them skipped it cannot say that it had
    /// it, nor that it forgot: with the faulty ones away, a replica that was restarted may be one voice short of
    /// knowing that nobody needs the decision any more, and keeps it until they are back.
    fn kept_of(&self, ids: &[ReplicaId], keys: &BTreeSet<PublicKey>) -> Vec<String> {
        let nodes = ids
            .iter()
            .filter_map(|id| Some((id, self.replicas.get(id)?)));
        let kept =
            nodes.flat_map(|(id, node)| node.machine.kept().into_iter().map(move |k| (id, k)));
        let skipped = |id: &EntryId| {
            let mut all = ids.iter().filter_map(|id| self.replicas.get(id));
            all.any(|node| node.machine.has_skipped(id))
        };
        let of_keys = kept.filter(|(_, (_, winner))| keys.contains(&winner.key));
        let of_keys = of_keys.filter(|(_, (entry, _))| !skipped(entry));
        let line = |(id, (entry, winner)): (&ReplicaId, (_, ClientRef))| {
            format!("{id} keeps how {entry} was taken by {winner}")
        };
        of_keys.map(line).collect()
    }
}

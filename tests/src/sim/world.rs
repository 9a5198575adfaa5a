//! The world: replicas, clients, a network and a clock that jumps from event to event. One seed is
//! one run, bit for bit: events are ordered by time and then by the order in which they were
//! planned, and nothing else ever chooses.
//!
//! How the parts of it meet the machines is in three files: `links` (connections and faults),
//! `operations` (what clients are asked to do, and the history), and `observer` (what must never be
//! seen by anybody).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bts_core::configuration::Configuration;
use bts_core::ids::{ClientRef, Lsn, ReplicaId, Session};
use bts_core::replica::{Outgoing, Replica};
use bts_core::{client, replica};
use ed25519_dalek::SigningKey;

use super::clock::Clock;
use super::disk::Disk;
use super::gathering::Gathering;
use super::machine::{ClientMachine, ReplicaMachine};
use super::network::{Delivery, Link, Network};
use super::node::{Flight, Message, Node};
use super::observer::Observer;
use super::operations::Invocation;
use super::rng::Rng;
use super::schedule::{Event, Notice, Schedule};
use super::setup::{Setup, client_ref};
use super::shell::Shell;
use super::tempo::{Tempo, Tick};
use super::trace::Trace;

/// A replica with what surrounds it.
#[derive(Debug)]
pub struct ReplicaNode {
    pub(super) machine: Box<dyn ReplicaMachine>,
    pub(super) honest: bool,
    pub(super) alive: bool,
    pub(super) disk: Disk,
    pub(super) tempo: Tempo,
    /// The program around it, if that does what it should.
    pub(super) shell: Option<Shell>,
    /// It came back without all of its memory.
    pub(super) lost: bool,
    /// It ends at its next write, and stays away for so many microseconds.
    pub(super) doomed: Option<u64>,
}

/// A client with what surrounds it.
#[derive(Debug)]
pub struct ClientNode {
    pub(super) machine: Box<dyn ClientMachine>,
    pub(super) identity: ClientRef,
    pub(super) honest: bool,
    pub(super) alive: bool,
    pub(super) tempo: Tempo,
}

/// Everything.
pub struct World {
    /// What it was made of.
    pub setup: Setup,
    /// The configuration of its cluster.
    pub configuration: Arc<Configuration>,
    /// The connections.
    pub network: Network,
    /// What was seen and must not be forgotten.
    pub observer: Observer,
    /// Lines for people, if wanted.
    pub trace: Trace,
    pub(super) replicas: BTreeMap<ReplicaId, ReplicaNode>,
    pub(super) clients: Vec<ClientNode>,
    pub(super) invocations: Vec<Invocation>,
    pub(super) moment: u64,
    pub(super) rng: Rng,
    /// Connections that nobody could dial because of a cut.
    pub(super) undialled: BTreeSet<Link>,
    /// Clients that wait for a replica to take part.
    pub(super) unserved: BTreeSet<Link>,
    pub(super) intercepts: super::links::Intercepts,
    now_us: u64,
    steps: u64,
    /// Of these, what happened to hostile clients.
    spam: u64,
    schedule: Schedule,
    violations: Vec<String>,
    healing: bool,
}

impl World {
    /// A world without inhabitants.
    pub fn new(setup: Setup) -> Self {
        let configuration = setup.configuration();
        let mut rng = Rng::new(setup.seed);
        Self {
            network: Network::new(setup.weather, rng.fork()),
            observer: Observer::new(&configuration),
            trace: Trace::default(),
            replicas: BTreeMap::new(),
            clients: Vec::new(),
            invocations: Vec::new(),
            moment: 0,
            undialled: BTreeSet::new(),
            unserved: BTreeSet::new(),
            intercepts: super::links::Intercepts::default(),
            now_us: 0,
            steps: 0,
            spam: 0,
            schedule: Schedule::default(),
            violations: Vec::new(),
            healing: false,
            configuration,
            rng,
            setup,
        }
    }

    /// Adds a correct replica.
    pub fn add_replica(&mut self, number: u16) {
        let options = self.setup.replica_options(&self.configuration, number);
        self.add_replica_machine(number, Box::new(Replica::new(options)), true);
    }

    /// Adds a replica of any kind.
    pub fn add_replica_machine(
        &mut self,
        number: u16,
        machine: Box<dyn ReplicaMachine>,
        honest: bool,
    ) {
        let disk = self.settled_disk(ReplicaId(number));
        let node = ReplicaNode {
            machine,
            honest,
            alive: true,
            shell: honest.then(|| Shell::settled(self.configuration.size(), &disk)),
            lost: false,
            disk,
            tempo: self.tempo(),
            doomed: None,
        };
        self.replicas.insert(ReplicaId(number), node);
        if honest {
            self.observer.trust_replica(ReplicaId(number));
        }
    }

    /// Adds a correct client with a key of its own. Connects to nobody yet.
    pub fn add_client(&mut self) -> usize {
        let number = self.clients.len();
        let key = self.setup.client_key(number);
        self.add_client_of(key, Session(number as u64 + 1))
    }

    /// Adds a correct client with this key and session.
    pub fn add_client_of(&mut self, key: SigningKey, session: Session) -> usize {
        let identity = client_ref(&key, session);
        let options = self.setup.client_options(&self.configuration, key, session);
        let client = client::Client::new(options);
        let machine = Box::new(Gathering::new(client, self.setup.gathers));
        self.observer.trust_client(identity);
        self.add_client_machine(machine, identity, true)
    }

    /// Adds a client of any kind.
    pub fn add_client_machine(
        &mut self,
        machine: Box<dyn ClientMachine>,
        identity: ClientRef,
        honest: bool,
    ) -> usize {
        let node = ClientNode {
            machine,
            identity,
            honest,
            alive: true,
            tempo: self.tempo(),
        };
        self.clients.push(node);
        self.clients.len() - 1
    }

    /// Microseconds since the beginning.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Events so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many of them happened to hostile clients, who are told as much as they ask for.
    pub fn spam(&self) -> u64 {
        self.spam
    }

    /// True once nothing is broken any more.
    pub fn is_healing(&self) -> bool {
        self.healing
    }

    /// From now on nothing is broken any more.
    pub fn begin_healing(&mut self) {
        self.trace.line(self.now_us, || "healing".to_owned());
        self.healing = true;
    }

    /// True if no living client has anything left to be finished in the background.
    pub fn clients_are_idle(&self) -> bool {
        self.clients
            .iter()
            .filter(|node| node.alive)
            .all(|node| node.machine.is_idle())
    }

    /// What went wrong so far.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Something went wrong.
    pub fn violation(&mut self, what: String) {
        self.trace.line(self.now_us, || format!("VIOLATION {what}"));
        self.violations.push(what);
    }

    /// Every machine.
    pub fn nodes(&self) -> Vec<Node> {
        let replicas = self.replicas.keys().map(|id| Node::Replica(*id));
        replicas
            .chain((0..self.clients.len()).map(Node::Client))
            .collect()
    }

    /// Turns what the observer objects to into violations.
    pub fn object(&mut self) {
        for objection in self.observer.take_objections() {
            self.violation(objection);
        }
    }

    /// Plans something to be done after so many microseconds.
    pub fn after(&mut self, delay_us: u64, act: impl FnOnce(&mut Self) + Send + 'static) {
        self.plan(self.now_us + delay_us, Event::Act(Box::new(act)));
    }

    /// Goes on for so many microseconds.
    pub fn run_for(&mut self, span_us: u64) {
        let end = self.now_us + span_us;
        self.run_until(span_us, |_| false);
        self.now_us = self.now_us.max(end);
    }

    /// Goes on until the condition holds, but not longer than this. True if it holds.
    pub fn run_until(&mut self, span_us: u64, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now_us.saturating_add(span_us);
        loop {
            if holds(self) {
                return true;
            }
            let next = self.schedule.next_us();
            if next.is_none_or(|at| at > end) || !self.violations.is_empty() {
                return false;
            }
            self.step();
        }
    }

    /// One event.
    pub fn step(&mut self) {
        let Some(next) = self.schedule.pop() else {
            return;
        };
        self.now_us = self.now_us.max(next.at_us);
        if let Some(later) = self.postponed(&next.event) {
            return self.schedule.postpone(next, later);
        }
        self.steps += 1;
        if let Some(Node::Client(number)) = next.event.node() {
            self.spam += u64::from(!self.clients[number].honest);
        }
        match next.event {
            Event::Arrival(delivery) => self.on_arrival(delivery),
            Event::Connect(link) => self.on_connect(link),
            Event::Notice(node, notice) => self.on_notice(node, notice),
            Event::Synced(replica) => self.on_synced(replica),
            Event::Tick(node) => self.on_tick(node),
            Event::Act(act) => act(self),
        }
        if self.observer.objects() {
            self.object();
        }
    }

    pub(super) fn plan(&mut self, at_us: u64, event: Event) {
        self.schedule.plan(at_us, event);
    }

    /// Something happens to a replica.
    pub(super) fn drive_replica(&mut self, id: ReplicaId, input: replica::Input) {
        if let Some(input) = self.through_shell(id, input) {
            self.drive_machine(id, input);
        }
    }

    /// Gives a machine an input and does what it wants done.
    pub(super) fn drive_machine(&mut self, id: ReplicaId, input: replica::Input) {
        let now_us = self.now_us;
        let Some(node) = self.replicas.get_mut(&id).filter(|node| node.alive) else {
            return;
        };
        let mut out = replica::Outputs::default();
        node.machine
            .handle(node.tempo.local(now_us), input, &mut out);
        self.carry_out(id, out);
    }

    /// Does what a replica wants done.
    pub(super) fn carry_out(&mut self, id: ReplicaId, out: replica::Outputs) {
        let Some(node) = self.replicas.get_mut(&id) else {
            return;
        };
        if node.honest {
            self.observer.on_replica_events(id, &out.events);
            self.observer.on_records(self.moment, id, &out.records);
        }
        let writes = !out.records.is_empty();
        if writes {
            node.note_positions(self.now_us);
        }
        // What was promised before the store was disowned stays unsaid too.
        let may_speak = !node.shell.as_ref().is_some_and(Shell::is_disowned);
        let doomed = node.doomed.take_if(|_| writes);
        if node.disk.append(out.records, out.obsolete) {
            self.start_sync(id);
        }
        if let Some(away_us) = doomed {
            let within_us = self.rng.below(self.setup.sync_us.1 + 1);
            self.after(within_us, move |world| world.crash_for(id, away_us));
        }
        for outgoing in out.send.into_iter().filter(|_| may_speak) {
            let (to, message) = match outgoing {
                Outgoing::Client(to, reply) => (self.client_at(to), Message::Reply(reply)),
                Outgoing::Peer(to, message) => (Some(Node::Replica(to)), Message::Peer(message)),
            };
            if let Some(to) = to {
                self.send(Flight {
                    from: Node::Replica(id),
                    to,
                    message,
                });
            }
        }
        self.arm(Node::Replica(id));
    }

    /// Gives a client an input and does what it wants done.
    pub(super) fn drive_client(&mut self, number: usize, input: client::Input) {
        let now_us = self.now_us;
        let Some(node) = self.clients.get_mut(number).filter(|node| node.alive) else {
            return;
        };
        let mut out = client::Outputs::default();
        node.machine
            .handle(node.tempo.local(now_us), input, &mut out);
        if node.honest {
            self.observer.on_client_events(number, &out.events);
        }
        for (to, request) in out.send {
            let message = Message::Request(Arc::unwrap_or_clone(request));
            let (from, to) = (Node::Client(number), Node::Replica(to));
            self.send(Flight { from, to, message });
        }
        for (handle, outcome) in out.done {
            self.on_done(number, handle, outcome);
        }
        self.arm(Node::Client(number));
    }

    fn on_arrival(&mut self, delivery: Delivery) {
        if !self.network.arrives(&delivery) {
            return;
        }
        let Flight { from, to, message } = delivery.flight;
        self.trace
            .line(self.now_us, || format!("{from} => {to} {message}"));
        match (from, to, message) {
            (Node::Client(from), Node::Replica(to), Message::Request(request)) => {
                let from = self.clients[from].identity;
                self.drive_replica(to, replica::Input::Client(from, request));
            }
            (Node::Replica(from), Node::Replica(to), Message::Peer(message)) => {
                self.drive_replica(to, replica::Input::Peer(from, message));
            }
            (Node::Replica(from), Node::Client(to), Message::Reply(reply)) => {
                self.drive_client(to, client::Input::Reply(from, reply));
            }
            (from, to, message) => {
                self.violation(format!("{from} sent {to} what cannot be sent: {message}"));
            }
        }
    }

    fn on_notice(&mut self, node: Node, notice: Notice) {
        self.trace
            .line(self.now_us, || format!("{node} {notice:?}"));
        match (node, notice) {
            (Node::Replica(id), Notice::Replica(input)) => self.drive_replica(id, input),
            (Node::Client(number), Notice::Client(input)) => self.drive_client(number, input),
            (node, notice) => unreachable!("{notice:?} for {node}"),
        }
    }

    fn on_synced(&mut self, id: ReplicaId) {
        let Some(node) = self.replicas.get_mut(&id) else {
            return;
        };
        let (durable, again) = node.disk.synced();
        if again {
            self.start_sync(id);
        }
        if let Some(Lsn(lsn)) = durable {
            self.drive_replica(id, replica::Input::Synced(Lsn(lsn)));
        }
    }

    fn start_sync(&mut self, id: ReplicaId) {
        let (least, most) = self.setup.sync_us;
        let at_us = self.now_us + self.rng.between(least, most);
        self.plan(at_us, Event::Synced(id));
    }

    fn on_tick(&mut self, node: Node) {
        let now_us = self.now_us;
        match (self.tempo_of(node).map(|tempo| tempo.tick(now_us)), node) {
            (Some(Tick::Due), Node::Replica(id)) => self.drive_replica(id, replica::Input::Tick),
            (Some(Tick::Due), Node::Client(number)) => {
                self.drive_client(number, client::Input::Tick);
            }
            (Some(Tick::Stuck), _) => {
                let deadline = self.deadline(node);
                self.violation(format!("{node} ticks without end at {deadline:?}"));
            }
            (Some(Tick::Stale) | None, _) => {}
        }
    }

    /// Plans the tick that the machine wants. One that was planned before and is not wanted any
    /// more is passed over when its time comes.
    fn arm(&mut self, node: Node) {
        let deadline = self.deadline(node).map(|(at, _)| at);
        let now_us = self.now_us;
        let wanted = self
            .tempo_of(node)
            .and_then(|tempo| tempo.arm(now_us, deadline));
        if let Some(at_us) = wanted {
            self.plan(at_us, Event::Tick(node));
        }
    }

    fn deadline(&self, node: Node) -> Option<(bts_core::time::Time, &'static str)> {
        match node {
            Node::Replica(id) => self.replicas.get(&id)?.machine.deadline(),
            Node::Client(number) => self.clients.get(number)?.machine.deadline(),
        }
    }

    pub(super) fn tempo_of(&mut self, node: Node) -> Option<&mut Tempo> {
        match node {
            Node::Replica(id) => self.replicas.get_mut(&id).map(|node| &mut node.tempo),
            Node::Client(number) => self.clients.get_mut(number).map(|node| &mut node.tempo),
        }
    }

    fn client_at(&self, identity: ClientRef) -> Option<Node> {
        let at = self
            .clients
            .iter()
            .position(|node| node.identity == identity)?;
        Some(Node::Client(at))
    }

    fn tempo(&mut self) -> Tempo {
        let skew = self.setup.skew_per_mille;
        let rate = 1000 + self.rng.between(0, 2 * skew) - skew;
        let offset_us = match skew {
            0 => 0,
            _ => self.rng.below(1_000_000),
        };
        Tempo::new(Clock::new(offset_us, rate))
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "world of {} after {} us", self.setup.seed, self.now_us)
    }
}

//! A whole cluster in the simulator: three correct replicas and two correct clients, among one
//! replica and two clients that do what the bytes say. Whatever they do, nobody correct sees what
//! cannot be, and once the network is whole every operation ends.

use bts_core::client::{Handle, Input, Outcome, Outputs};
use bts_core::codec;
use bts_core::ids::ClientRef;
use bts_core::message::ClientRequest;
use bts_core::time::Time;

use super::Draw;
use super::machines::Faulty;
use crate::adversary::Gang;
use crate::adversary::puppet::Heard;
use crate::check;
use crate::sim::Invocation;
use crate::sim::cluster::{Cluster, take, template};
use crate::sim::machine::ClientMachine;
use crate::sim::node::{Flight, Message, Node, replica};
use crate::sim::setup::{Setup, public};
use crate::sim::world::World;

/// Things that happen in one run.
const STEPS_MAX: usize = 48;
/// Operations of correct clients; more are not judged any better.
const OPERATIONS_MAX: usize = 12;
/// How long everything may take once nothing is broken, in microseconds of virtual time.
const PATIENCE_US: u64 = 120_000_000;
/// Events of a run; more is a storm.
const EVENTS_MAX: u64 = 200_000;
/// The faulty replica.
const LIAR: u16 = 3;

/// What the bytes say happens, in order.
pub fn cluster(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let mut stage = Stage::new();
    for _ in 0..STEPS_MAX {
        if draw.is_over() {
            break;
        }
        stage.step(&mut draw);
        stage.listen();
        stage.demand_nothing_wrong();
    }
    stage.end();
}

/// The world, and who misbehaves in it.
struct Stage {
    cluster: Cluster,
    faulty: Faulty,
    honest: Vec<usize>,
    hostile: Vec<usize>,
    asked: Vec<(ClientRef, ClientRequest)>,
    operations: Vec<Handle>,
}

impl Stage {
    fn new() -> Self {
        let mut cluster = Cluster::of(Setup::calm(4, 1), &[LIAR]);
        let faulty = Faulty::new(&cluster.world.setup, LIAR);
        let honest = vec![cluster.client(), cluster.client()];
        let hostile = |name: &ClientRef| {
            let ear = Box::new(Ear(faulty.gang.clone()));
            let number = cluster.world.add_client_machine(ear, *name, false);
            cluster.world.connect_client(number, 1);
            number
        };
        let hostile = faulty.names.iter().map(hostile).collect();
        cluster.run_ms(10);
        Self {
            cluster,
            faulty,
            honest,
            hostile,
            asked: Vec::new(),
            operations: Vec::new(),
        }
    }

    fn step(&mut self, draw: &mut Draw<'_>) {
        match draw.below(16) {
            0..=2 => {
                let span_us = 200 << draw.below(12);
                self.cluster.world.run_for(span_us);
            }
            3..=5 => {
                let from = Node::Client(self.hostile[draw.below(2)]);
                let request = self.faulty.speaker(draw).request();
                self.tell(draw, from, 4, &Message::Request(request));
            }
            6..=8 => {
                let message = self.faulty.speaker(draw).peer();
                self.tell(draw, replica(LIAR), 3, &Message::Peer(message));
            }
            9 | 10 => self.answer(draw),
            11 => {
                if let Ok(message) = codec::decode_peer(draw.piece()) {
                    self.tell(draw, replica(LIAR), 3, &Message::Peer(message));
                }
            }
            12..=14 => self.operate(draw),
            _ => self.trouble(draw),
        }
    }

    /// Says something to some of the first replicas.
    fn tell(&mut self, draw: &mut Draw<'_>, from: Node, among: u16, message: &Message) {
        self.faulty.gang.learn(message);
        let chosen = draw.byte();
        for number in (0..among).filter(|number| chosen >> number & 1 == 0) {
            let (to, message) = (replica(number), message.clone());
            self.cluster.world.send(Flight { from, to, message });
        }
    }

    /// The liar answers one of the latest requests.
    fn answer(&mut self, draw: &mut Draw<'_>) {
        let latest: Vec<_> = self.asked.iter().rev().take(8).cloned().collect();
        let Some((client, request)) = draw.pick(&latest).cloned() else {
            return;
        };
        let reply = self.faulty.speaker(draw).reply(&request);
        let setup = &self.cluster.world.setup;
        let is_it = |number: &&usize| public(&setup.client_key(**number)) == client.key;
        let Some(to) = self.honest.iter().find(is_it).copied() else {
            return;
        };
        let to = Node::Client(to);
        let (from, message) = (replica(LIAR), Message::Reply(reply));
        self.faulty.gang.learn(&message);
        self.cluster.world.send(Flight { from, to, message });
    }

    fn operate(&mut self, draw: &mut Draw<'_>) {
        if self.operations.len() >= OPERATIONS_MAX {
            return;
        }
        let client = self.honest[draw.below(2)];
        let op = self.faulty.speaker(draw).operation(false);
        self.operations.push(self.cluster.start(client, op));
    }

    fn trouble(&mut self, draw: &mut Draw<'_>) {
        let nodes = self.cluster.world.nodes();
        let one = nodes[draw.below(nodes.len())];
        let other = nodes[draw.below(3)];
        match draw.below(4) {
            0 => self.cluster.world.cut_one_way(one, other),
            1 => self.cluster.heal(),
            2 => self.cluster.world.reset((one, other)),
            _ => {
                if let Some(handle) = draw.pick(&self.operations) {
                    self.cluster.world.cancel(*handle);
                }
            }
        }
    }

    /// What the liar heard is known to all of them.
    fn listen(&mut self) {
        for heard in self.cluster.heard(LIAR) {
            match heard {
                Heard::Client(client, request) => {
                    self.faulty.gang.learn(&Message::Request(request.clone()));
                    self.asked.push((client, request));
                }
                Heard::Peer(_, message) => self.faulty.gang.learn(&Message::Peer(message)),
            }
        }
    }

    fn demand_nothing_wrong(&mut self) {
        self.cluster.world.object();
        let violations = self.cluster.world.violations();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
        let events = self.cluster.world.steps();
        assert!(events < EVENTS_MAX, "a storm of {events} events");
    }

    /// Nothing is broken any more: what need not wait for a tuple ends, what waits can be
    /// cancelled, somebody takes what is left, and all of it is judged.
    fn end(mut self) {
        self.cluster.heal();
        self.wait("every operation that does not wait ends", |operation| {
            operation.waits
        });
        let open: Vec<_> = self
            .cluster
            .world
            .unfinished()
            .map(|one| one.handle)
            .collect();
        for handle in open {
            self.cluster.world.cancel(handle);
        }
        self.wait("every operation that is cancelled ends", |_| false);
        let last = self.cluster.client();
        let anything = ["* *", "", "* * *"].map(template);
        for template in anything {
            let mut found = true;
            while found {
                let handle = self.cluster.start(last, take(template.clone(), false));
                self.wait("what is left can be taken", |_| false);
                found = self.cluster.world.outcome(handle) != Some(&Outcome::None);
            }
        }
        let judgement = check::judge(&self.cluster.world.history());
        let why = judgement.violations.join("\n");
        assert!(why.is_empty(), "{why}");
    }

    /// Lets time pass until no operation is open but those that may be.
    fn wait(&mut self, what: &str, may_be_open: fn(&Invocation) -> bool) {
        let done =
            |world: &World| world.steps() >= EVENTS_MAX || world.unfinished().all(may_be_open);
        let in_time = self.cluster.world.run_until(PATIENCE_US, done);
        self.demand_nothing_wrong();
        let open: Vec<_> = self
            .cluster
            .world
            .unfinished()
            .map(ToString::to_string)
            .collect();
        assert!(
            in_time,
            "not within two minutes: {what}\n{}",
            open.join("\n")
        );
    }
}

/// A hostile client that only hears; the bytes speak for it.
#[derive(Debug)]
struct Ear(Gang);

impl ClientMachine for Ear {
    fn handle(&mut self, _now: Time, input: Input, _out: &mut Outputs) {
        if let Input::Reply(_, reply) = input {
            self.0.learn(&Message::Reply(reply));
        }
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        None
    }

    fn is_idle(&self) -> bool {
        true
    }
}

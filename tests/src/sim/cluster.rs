//! The language of directed tests: a cluster in calm weather, in which a test makes things happen
//! one by one. A schedule of an attack is 5 to 20 lines:
//!
//! ```no_run
//! use bts_tests::sim::cluster::{Cluster, template, tuple};
//! use bts_tests::sim::node::replica;
//!
//! let mut c = Cluster::new(4, 1, &[3]);              // s3 is a puppet: mute, and the test owns its key
//! let (a, b) = (c.client(), c.client());             // clients, connected to everybody
//! let hold = c.world.hold(move |f| f.is("out") && f.to == replica(2)); // s2 does not hear of it
//! c.out(a, tuple("todo 1"));                         // runs until it is done
//! let swap = c.start_swap(b, template("todo *"), vec![tuple("doing 1")]);
//! c.run_ms(20);                                      // lets 20 ms pass
//! c.crash_client(b);
//! c.world.release(hold);                             // now s2 hears of it
//! assert_eq!(c.rdp(a, template("nothing *")), None);
//! c.judge();                                         // panics unless the history is linearizable
//! # let _ = swap;
//! ```
//!
//! * Tuples and templates are words: digits are unsigned integers, `*` matches anything, `uint`,
//!   `text` match a type, everything else is text.
//! * Operations: `out, rdp, inp, rd, take, swapp, swap` run until done and panic after a minute of
//!   virtual time; `start(client, op)` only starts, `finish(handle)` waits, `is_open(handle)` asks.
//! * Messages: [`World::hold`] keeps what its filter picks until [`World::release`],
//!   [`World::lose`] drops it; filters see from, to and message, and `Flight::is` tells the kind
//!   by its name in traces (`"take"`, `"first vote"`, `"decide"`, ...). `isolate`, `cut`, `heal`
//!   stop everything between nodes. [`World::send`] says something in anybody's name.
//! * Liars: the numbers given to [`Cluster::new`] are mute puppets; [`Cluster::heard`] is what they
//!   heard, [`Cluster::forge`] signs with their key. [`Cluster::with`] takes any machine instead.
//! * `c.show()` prints every event from then on; `cargo test name -- --nocapture` shows it.

use bts_core::client::{Handle, Op, Outcome};
use bts_core::content::Put;
use bts_core::ids::{EntryId, ReplicaId, Session, SpaceName};
use bts_core::message::Found;
use bts_core::template::{Pattern, Template};
use bts_core::tuple::{Field, FieldType, Tuple};

use super::machine::ReplicaMachine;
use super::node::{Node, replica};
use super::setup::Setup;
use super::world::World;
use crate::adversary::forge::{ClientForge, ReplicaForge};
use crate::adversary::puppet::{Heard, Inbox, Puppet};
use crate::check;

/// How long an operation may take, in microseconds of virtual time.
const PATIENCE_US: u64 = 60_000_000;

/// A cluster under the hand of a test.
#[derive(Debug)]
pub struct Cluster {
    /// The world it is in.
    pub world: World,
    inboxes: Vec<(ReplicaId, Inbox)>,
}

impl Cluster {
    /// `n` replicas of which `f` may be faulty; those listed are mute puppets.
    pub fn new(n: u16, f: usize, puppets: &[u16]) -> Self {
        Self::of(Setup::calm(n, f), puppets)
    }

    /// A cluster of this setup; the replicas listed are mute puppets.
    pub fn of(setup: Setup, puppets: &[u16]) -> Self {
        let mut inboxes = Vec::new();
        let mut machines: Vec<(u16, Box<dyn ReplicaMachine>)> = Vec::new();
        for number in puppets {
            let (puppet, inbox) = Puppet::mute();
            inboxes.push((ReplicaId(*number), inbox));
            machines.push((*number, Box::new(puppet)));
        }
        Self {
            inboxes,
            ..Self::with(setup, machines)
        }
    }

    /// A cluster of this setup in which these machines take the places of correct replicas.
    pub fn with(setup: Setup, machines: Vec<(u16, Box<dyn ReplicaMachine>)>) -> Self {
        let mut world = World::new(setup);
        for number in 0..world.setup.replicas {
            if machines.iter().all(|(taken, _)| *taken != number) {
                world.add_replica(number);
            }
        }
        for (number, machine) in machines {
            world.add_replica_machine(number, machine, false);
        }
        world.connect_all(1);
        let inboxes = Vec::new();
        let mut cluster = Self { world, inboxes };
        cluster.run_ms(10);
        cluster
    }

    /// Prints every event from now on.
    pub fn show(&mut self) {
        self.world.trace.switch_on(true);
    }

    /// A correct client with a key of its own, connected to all replicas.
    pub fn client(&mut self) -> usize {
        let client = self.world.add_client();
        self.connect(client)
    }

    /// Another process with the key of this client.
    pub fn sibling(&mut self, of: usize) -> usize {
        let key = self.world.setup.client_key(of);
        let client = self.world.add_client_of(key, Session(1000 + of as u64));
        self.connect(client)
    }

    /// Ends a client for good.
    pub fn crash_client(&mut self, client: usize) {
        self.world.crash_client(client);
    }

    /// Signs with the key of a replica.
    pub fn forge(&self, number: u16) -> ReplicaForge {
        let key = self.world.setup.replica_key(number);
        ReplicaForge::new(&self.world.configuration, ReplicaId(number), key)
    }

    /// Signs with a hostile client's key, which nobody else has.
    pub fn client_forge(&self, number: usize) -> ClientForge {
        let key = self.world.setup.client_key(1_000_000 + number);
        ClientForge::new(&self.world.configuration, key, Session(1))
    }

    /// What a puppet heard so far; it forgets it.
    pub fn heard(&mut self, number: u16) -> Vec<Heard> {
        let inbox = self.inboxes.iter().find(|(id, _)| id.0 == number);
        let (_, inbox) = inbox.expect("a puppet of this cluster");
        std::mem::take(&mut *inbox.lock().expect("nobody panics while holding it"))
    }

    /// Lets time pass.
    pub fn run_ms(&mut self, span_ms: u64) {
        self.world.run_for(span_ms * 1000);
        self.demand_no_violation();
    }

    /// Lets time pass until the condition holds; panics if it does not within a minute.
    pub fn run_until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        let held = self.world.run_until(PATIENCE_US, holds);
        self.demand_no_violation();
        assert!(held, "not within a minute: {what}");
    }

    /// Cuts both directions between two nodes.
    pub fn cut(&mut self, one: Node, other: Node) {
        self.world.cut_one_way(one, other);
        self.world.cut_one_way(other, one);
    }

    /// Cuts a replica off from everybody.
    pub fn isolate(&mut self, number: u16) {
        for other in self.world.nodes() {
            if other != replica(number) {
                self.cut(replica(number), other);
            }
        }
    }

    /// Ends all cuts.
    pub fn heal(&mut self) {
        self.world.heal_all();
    }

    /// Starts an operation.
    pub fn start(&mut self, client: usize, op: Op) -> Handle {
        self.world.invoke(client, op)
    }

    /// Waits until it ends.
    pub fn finish(&mut self, handle: Handle) -> Outcome {
        self.run_until("the end of an operation", |world| {
            world.outcome(handle).is_some()
        });
        self.world.outcome(handle).cloned().expect("it just ended")
    }

    /// True if it has not ended.
    pub fn is_open(&self, handle: Handle) -> bool {
        self.world.outcome(handle).is_none()
    }

    /// `out`, until done.
    pub fn out(&mut self, client: usize, tuple: Tuple) -> EntryId {
        let handle = self.start(client, out(tuple));
        match self.finish(handle) {
            Outcome::Written(id) => id,
            other => panic!("an out ended with {other:?}"),
        }
    }

    /// `rdp`, until done.
    pub fn rdp(&mut self, client: usize, template: Template) -> Option<Found> {
        let handle = self.start(client, read(template, false));
        found(self.finish(handle))
    }

    /// `rd`, until done.
    pub fn rd(&mut self, client: usize, template: Template) -> Found {
        let handle = self.start(client, read(template, true));
        found(self.finish(handle)).expect("rd does not end with None")
    }

    /// `inp`, until done.
    pub fn inp(&mut self, client: usize, template: Template) -> Option<Found> {
        let handle = self.start(client, take(template, false));
        found(self.finish(handle))
    }

    /// `in`, until done.
    pub fn take(&mut self, client: usize, template: Template) -> Found {
        let handle = self.start(client, take(template, true));
        found(self.finish(handle)).expect("in does not end with None")
    }

    /// Starts a `swapp` that puts these.
    pub fn start_swap(&mut self, client: usize, template: Template, puts: Vec<Tuple>) -> Handle {
        self.start(client, swap(template, false, puts))
    }

    /// `swapp`, until done.
    pub fn swapp(&mut self, client: usize, template: Template, puts: Vec<Tuple>) -> Option<Found> {
        let handle = self.start_swap(client, template, puts);
        match self.finish(handle) {
            Outcome::Swapped { taken, .. } => Some(taken),
            Outcome::None => None,
            other => panic!("a swap ended with {other:?}"),
        }
    }

    /// Panics unless what correct clients saw is possible.
    pub fn judge(&mut self) {
        self.demand_no_violation();
        let history = self.world.history();
        let lines: Vec<_> = history.iter().map(ToString::to_string).collect();
        let wrong = check::judge(&history);
        assert_eq!(
            wrong,
            check::Judgement::default(),
            "{}\n{}",
            wrong.violations.join("\n"),
            lines.join("\n")
        );
    }

    fn connect(&mut self, client: usize) -> usize {
        self.world.connect_client(client, 1);
        self.run_ms(10);
        client
    }

    fn demand_no_violation(&mut self) {
        self.world.object();
        let violations = self.world.violations();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }
}

/// The space of directed tests.
pub fn space() -> SpaceName {
    SpaceName::new("s").expect("a good name")
}

/// A tuple of these words.
pub fn tuple(words: &str) -> Tuple {
    words.split_whitespace().map(field).collect()
}

/// A template of these words.
pub fn template(words: &str) -> Template {
    let pattern = |word: &str| match word {
        "*" => Pattern::Any,
        "uint" => Pattern::Typed(FieldType::Uint),
        "text" => Pattern::Typed(FieldType::Text),
        exact => Pattern::Exact(field(exact)),
    };
    words.split_whitespace().map(pattern).collect()
}

/// An `out`.
pub fn out(tuple: Tuple) -> Op {
    Op::Out {
        space: space(),
        put: tuple.into(),
    }
}

/// An `rdp`, or with `wait` an `rd`.
pub fn read(template: Template, wait: bool) -> Op {
    Op::Read {
        space: space(),
        template,
        wait,
    }
}

/// An `inp`, or with `wait` an `in`.
pub fn take(template: Template, wait: bool) -> Op {
    Op::Take {
        space: space(),
        template,
        wait,
        with: None,
    }
}

/// A `swapp`, or with `wait` a `swap`, that puts these.
pub fn swap(template: Template, wait: bool, puts: Vec<Tuple>) -> Op {
    let puts: Vec<Put> = puts.into_iter().map(Put::from).collect();
    Op::Take {
        space: space(),
        template,
        wait,
        with: Some(Box::new(move |_| Some(puts.clone()))),
    }
}

fn field(word: &str) -> Field {
    match word.parse::<u64>() {
        Ok(number) => number.into(),
        Err(_) => word.into(),
    }
}

fn found(outcome: Outcome) -> Option<Found> {
    match outcome {
        Outcome::Found(found) => Some(found),
        Outcome::None => None,
        other => panic!("a read or take ended with {other:?}"),
    }
}

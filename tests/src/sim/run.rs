//! One run: trouble, then healing, then judgement.
//!
//! 1. *Trouble*: clients work while connections break, directions are cut, machines stop and end,
//!    and faulty replicas and clients do their worst. Whatever happens, nothing wrong may be seen.
//! 2. *Healing*: n-f correct replicas are connected to each other and to the clients; the faulty
//!    ones go on. Every operation that need not wait for a tuple must end within a bound of virtual
//!    time; those that wait are given tuples, or cancelled, and must end too.
//! 3. *Judgement*: all correct replicas come to hold the same, a client takes whatever is left, and the
//!    history is judged.

use std::fmt;
use std::sync::Arc;

use bts_core::client::{Handle, Op, Outcome};
use bts_core::ids::{Session, SpaceName};

use super::coverage::Coverage;
use super::faults::{plan_faults, plan_losses};
use super::network::Weather;
use super::node::{Node, replica};
use super::rng::Rng;
use super::setup::client_ref;
use super::swarm::{Fate, HOSTILE, JUDGE, Swarm, tame, wild};
use super::workload::{self, Workload};
use super::world::World;
use crate::adversary::Gang;
use crate::adversary::client::HostileClient;
use crate::adversary::forge::ClientForge;
use crate::check;
use crate::check::history::{Call, Operation};

/// How long anything may take once the cluster is healed, in microseconds of virtual time.
const PATIENCE_US: u64 = 120_000_000;

/// Events that a run may have. More is a storm.
const STEPS_MAX: u64 = 1_000_000;

/// How many it may have with what hostile clients are told, who can ask for a lot: hundreds of blocked reads,
/// each of which hears of each release.
const EVENTS_MAX: u64 = 5_000_000;

/// How long a restart takes at least, in microseconds: by then everybody knows that the connections
/// of before have ended.
pub(super) const RESTART_US: u64 = 25_000;

/// How often hostile clients may take what was meant for somebody who waits.
const THEFTS_MAX: usize = 100;

/// Tuples that may be left over.
const LEFT_OVER_MAX: usize = 1_000;

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// What was wrong, if anything.
    pub violations: Vec<String>,
    /// True if the exact judge gave up.
    pub undecided: bool,
    /// What was met.
    pub coverage: Coverage,
    /// What correct clients saw.
    pub history: Vec<Operation>,
    /// Events.
    pub steps: u64,
    /// Microseconds of virtual time.
    pub virtual_us: u64,
}

/// A run that goes on.
#[derive(Debug)]
pub struct Run {
    /// As drawn.
    pub swarm: Swarm,
    /// Where it happens.
    pub world: World,
    rng: Rng,
    numbers: u64,
    judges: usize,
}

impl Run {
    /// The run of a seed, about to begin.
    pub fn new(seed: u64) -> Self {
        Self::of(Swarm::draw(seed))
    }

    /// A run as drawn, or as changed after drawing.
    pub fn of(swarm: Swarm) -> Self {
        let mut rng = Rng::new(swarm.setup.seed ^ 0x5eed);
        let world = populate(&swarm, &mut rng);
        Self {
            swarm,
            world,
            rng,
            numbers: 0,
            judges: 0,
        }
    }

    /// Runs to the end.
    pub fn finish(mut self) -> (Report, World) {
        let holes = self.punch_holes();
        self.trouble();
        self.hand_over();
        if let Some(holes) = holes {
            self.world.discard(holes);
        }
        self.heal();
        self.end_operations();
        self.become_alike();
        let reached = self.core();
        self.demand("who lost its memory is told", move |world| {
            world.has_told_the_lost(&reached)
        });
        let left = self.drain();
        self.become_alike();
        if self.swarm.heirs > 0 {
            self.end_sessions();
        }
        self.world.object();
        let mut violations = self.world.violations().to_vec();
        let history = self.world.history();
        let mut undecided = false;
        if violations.is_empty() {
            let judgement = check::judge(&history);
            violations.extend(judgement.violations);
            undecided = judgement.undecided;
        }
        self.world.observer.coverage.mark(if left > 0 {
            "left over"
        } else {
            "nothing left over"
        });
        let report = Report {
            violations,
            undecided,
            coverage: self.world.observer.coverage.clone(),
            history,
            steps: self.world.steps(),
            virtual_us: self.world.now_us(),
        };
        (report, self.world)
    }

    fn trouble(&mut self) {
        plan_losses(&self.swarm, &mut self.world);
        match self.swarm.phases {
            Some(phases) => self.phases(phases),
            None => self.free_trouble(),
        }
    }

    fn free_trouble(&mut self) {
        if let Some(newborn) = &self.swarm.newborn {
            self.world.plan_births(newborn);
        }
        self.world.connect_all(5_000);
        for client in 0..self.swarm.clients {
            let rng = self.rng.fork();
            let first = self.numbers;
            self.numbers += self.swarm.workload.operations;
            let plan = ClientPlan {
                client,
                workload: self.swarm.workload.clone(),
                left: self.swarm.workload.operations,
                number: first,
                rng,
            };
            plan.continue_in(&mut self.world);
        }
        plan_faults(&self.swarm, &mut self.rng, &mut self.world);
        self.plan_heirs();
        self.run(self.swarm.trouble_us, |_| false);
    }

    fn heal(&mut self) {
        self.world.begin_healing();
        let lossy = self.world.network.weather.loses();
        self.world.network.weather = Weather {
            delay_us: (100, 3_000),
            ..Weather::calm(0)
        };
        self.world.heal_all();
        if lossy {
            for link in self.world.network.links() {
                self.world.reset(link);
            }
        }
        for away in self.away() {
            for other in self.world.nodes() {
                self.cut_off(away, other);
            }
        }
    }

    /// Correct replicas that nobody hears once the cluster is healed.
    pub(super) fn away(&self) -> Vec<Node> {
        let away = self
            .swarm
            .fates
            .iter()
            .filter(|(_, fate)| *fate == Fate::Away);
        away.map(|(number, _)| replica(*number)).collect()
    }

    fn cut_off(&mut self, away: Node, other: Node) {
        self.world.cut_one_way(away, other);
        self.world.cut_one_way(other, away);
    }

    /// Every operation of a living client ends: by itself, fed, or cancelled.
    fn end_operations(&mut self) {
        self.demand("operations that need not wait end", |world| {
            world.unfinished().all(|invocation| invocation.waits)
        });
        let cancelled = self.rng.chance(300);
        let waiting = self.world.unfinished().count();
        let feeder = self.judge();
        for _ in 0..=waiting + THEFTS_MAX {
            let open: Vec<_> = self.world.unfinished().map(|i| i.handle).collect();
            if open.is_empty() || !self.world.violations().is_empty() {
                break;
            }
            let (before, stolen) = (open.len(), stolen(&self.world));
            for handle in open {
                match cancelled {
                    true => self.world.cancel(handle),
                    false => self.feed(feeder, handle),
                }
            }
            self.demand("a fed or cancelled operation ends", move |world| {
                let waiting = world.unfinished().filter(|i| i.waits).count();
                let fed = waiting < before || self::stolen(world) > stolen;
                fed && world.unfinished().all(|i| i.waits)
            });
        }
        self.demand("every operation ends", |world| {
            world.unfinished().next().is_none()
        });
        self.demand(
            "clients finish what is left in the background",
            World::clients_are_idle,
        );
    }

    /// A source of chance of its own.
    pub(super) fn fork(&mut self) -> Rng {
        self.rng.fork()
    }

    /// A number that makes the tuple of an operation unique.
    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn feed(&mut self, feeder: usize, hungry: Handle) {
        let invocation = self.world.invocation(hungry);
        let space = invocation.space.clone();
        let template = match &invocation.call {
            Call::Read(t) | Call::Take(t) | Call::Swap(t) => t.clone(),
            other => unreachable!("{other} does not wait"),
        };
        self.numbers += 2;
        let put = workload::matching(&template, 500_000 + self.numbers * 2).into();
        self.world.invoke(feeder, Op::Out { space, put });
    }

    /// A fresh client takes whatever is left. How much that was.
    fn drain(&mut self) -> usize {
        let judge = self.judge();
        let spaces: Vec<SpaceName> = vec![tame(), wild()];
        let mut left = 0;
        for space in spaces {
            while left < LEFT_OVER_MAX && self.world.violations().is_empty() {
                let take = Op::Take {
                    space: space.clone(),
                    template: workload::anything(),
                    wait: false,
                    with: None,
                };
                let handle = self.world.invoke(judge, take);
                self.demand("the judge takes what is left", move |world| {
                    world.outcome(handle).is_some()
                });
                match self.world.outcome(handle) {
                    Some(Outcome::Found(_)) => left += 1,
                    _ => break,
                }
            }
        }
        left
    }

    /// Another correct client.
    fn judge(&mut self) -> usize {
        let key = self.world.setup.client_key(JUDGE + self.judges);
        self.judges += 1;
        let judge = self.world.add_client_of(key, Session(1));
        for away in self.away() {
            self.cut_off(away, Node::Client(judge));
        }
        self.world.connect_client(judge, 1);
        judge
    }

    pub(super) fn demand(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        if !self.world.violations().is_empty() {
            return;
        }
        let started_us = self.world.now_us();
        if !self.run(PATIENCE_US, holds) && self.world.violations().is_empty() {
            let open: Vec<_> = self.world.unfinished().map(ToString::to_string).collect();
            let waited = (self.world.now_us() - started_us) / 1_000_000;
            let open = open.join("\n    ");
            self.world.violation(format!(
                "liveness: not within {waited} s: {what}\n    {open}"
            ));
        }
    }

    /// As [`World::run_until`], but never goes on in a storm.
    pub(super) fn run(&mut self, span_us: u64, holds: impl Fn(&World) -> bool) -> bool {
        let matter = |world: &World| world.steps() - world.spam();
        let storms = |world: &World| matter(world) > STEPS_MAX || world.steps() > EVENTS_MAX;
        let stop = |world: &World| storms(world) || holds(world);
        let stopped = self.world.run_until(span_us, stop);
        if storms(&self.world) {
            let (all, matter) = (self.world.steps(), matter(&self.world));
            let what = format!("a storm: {all} events, {matter} that matter");
            self.world.violation(what);
        }
        stopped
    }
}

/// Entries that hostile clients took. What was meant for somebody who waits may be among them.
fn stolen(world: &World) -> usize {
    let decided = world.observer.decided();
    let foreign = decided.filter(|(_, take)| !world.observer.trusts(&take.payload.client));
    foreign.count()
}

/// What a client still has to do in the first phase.
#[derive(Debug)]
struct ClientPlan {
    client: usize,
    workload: Workload,
    left: u64,
    number: u64,
    rng: Rng,
}

impl ClientPlan {
    fn continue_in(mut self, world: &mut World) {
        let pause_us = 1 + self.rng.below(self.workload.think_us);
        world.after(pause_us, move |world| self.act(world));
    }

    fn act(mut self, world: &mut World) {
        let is_healing = world.is_healing();
        if self.left == 0 || is_healing || !world.is_alive(Node::Client(self.client)) {
            return;
        }
        let open = world
            .unfinished()
            .filter(|open| open.client == self.client)
            .count();
        if open < self.workload.at_once {
            self.left -= 1;
            self.number += 1;
            let op = self.workload.next(&mut self.rng, self.number);
            let handle = world.invoke(self.client, op);
            if self.rng.chance(self.workload.cancelled_per_mille) {
                let later = self.rng.below(200_000);
                world.after(later, move |world| {
                    if world.outcome(handle).is_none() {
                        world.cancel(handle);
                    }
                });
            }
        }
        self.continue_in(world);
    }
}

fn populate(swarm: &Swarm, rng: &mut Rng) -> World {
    let mut world = World::new(swarm.setup.clone());
    let gang = Gang::new(Arc::clone(&world.configuration));
    for number in 0..swarm.setup.replicas {
        let fate = swarm.fates.iter().find(|(faulty, _)| *faulty == number);
        match fate {
            Some((_, Fate::Hostile(vice))) => {
                let options = world.setup.replica_options(&world.configuration, number);
                let machine = vice.machine(options, gang.clone(), rng.fork());
                world.add_replica_machine(number, machine, false);
            }
            _ if swarm.newborn.is_some() => world.add_unborn(number),
            _ => world.add_replica(number),
        }
    }
    for _ in 0..swarm.clients {
        world.add_client();
    }
    for number in 0..swarm.hostile_clients {
        let key = world.setup.client_key(HOSTILE + number);
        let identity = client_ref(&key, Session(1));
        let forge = ClientForge::new(&world.configuration, key, Session(1));
        let budget = rng.between(5, 60);
        let machine = HostileClient::new(forge, gang.clone(), budget, rng.fork());
        world.add_client_machine(Box::new(machine), identity, false);
    }
    world
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.violations
            .iter()
            .try_for_each(|violation| writeln!(f, "{violation}"))?;
        self.history
            .iter()
            .try_for_each(|operation| writeln!(f, "  {operation}"))
    }
}

//! Swarm: what a run is like is drawn from its seed. Each run has some kinds of trouble and lacks
//! others, since trouble of all kinds at once hides what one kind alone would show.

use std::fmt;

use bts_core::configuration::{Allow, Policy, SpacePolicy};
use bts_core::ids::{ReplicaId, SpaceName};
use bts_core::time::Span;

use super::network::Weather;
use super::newborn::Newborn;
use super::phases::Phases;
use super::rng::Rng;
use super::setup::{Setup, public};
use super::workload::{Weights, Workload};
use crate::adversary::Vice;

/// Sizes of clusters that are tried, those with faults more often.
const SIZES: &[(u16, usize)] = &[
    (4, 1),
    (4, 1),
    (4, 1),
    (4, 1),
    (5, 1),
    (6, 1),
    (7, 2),
    (7, 1),
    (4, 0),
    (3, 0),
    (1, 0),
];

/// The numbers of the keys of clients that are none of the workload's.
pub const JUDGE: usize = 2_000_000;
/// The numbers of the keys of hostile clients.
pub const HOSTILE: usize = 1_000_000;

/// What becomes of a replica that may be faulty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It ends at this time, in microseconds.
    Crash(u64),
    /// It is correct, but nobody hears it once the cluster is healed.
    Away,
    /// It is correct all the time.
    Fine,
    /// It lies.
    Hostile(Vice),
    /// It is correct until it loses its memory, or a part of it.
    Forgets(Loss),
}

/// How a replica loses its memory. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When.
    pub at_us: u64,
    /// How long before a copy was made, that it comes back with; `None`: it comes back with nothing.
    pub copied_before_us: Option<u64>,
    /// For how long it is away, at least.
    pub away_us: u64,
}

impl Loss {
    fn draw(trouble_us: u64, rng: &mut Rng) -> Self {
        let at_us = rng.between(10_000, trouble_us);
        Self {
            at_us,
            copied_before_us: rng.chance(500).then(|| rng.below(at_us)),
            away_us: rng.below(100_000),
        }
    }
}

/// Rates of faults, in events per second of the first phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Connections that end and begin again.
    pub resets: u64,
    /// Directions between two nodes that are cut for a while.
    pub cuts: u64,
    /// Machines that stop for a while.
    pub pauses: u64,
    /// Clients that end for good.
    pub crashes: u64,
    /// Correct replicas, or all of them at once, that end and start again.
    pub restarts: u64,
    /// How many of a thousand entries one correct replica never hears of from their writer.
    pub holes: u64,
}

/// A run, as drawn.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Sizes, times, network.
    pub setup: Setup,
    /// The replicas that may be faulty, and what becomes of them.
    pub fates: Vec<(u16, Fate)>,
    /// Correct clients.
    pub clients: usize,
    /// Hostile clients; their numbers follow those of the correct ones.
    pub hostile_clients: usize,
    /// What clients do.
    pub workload: Workload,
    /// What else goes wrong.
    pub rates: Rates,
    /// If the first phase of the run is itself made of phases: how.
    pub phases: Option<Phases>,
    /// Length of the first phase, in microseconds.
    pub trouble_us: u64,
    /// Whether its configuration ends with it, and another one begins.
    pub hands_over: bool,
    /// Whether the operator loses all that it has before that is through.
    pub loses_work: bool,
    /// If all replicas begin on empty disks: how.
    pub newborn: Option<Newborn>,
    /// How often a client ends and another one of its key follows. If any do, all sessions end at last.
    pub heirs: u64,
}

/// What tells the source of chance of heirs from the others.
const HEIRS: u64 = 0x4e15;
/// In how many runs of a thousand clients end and are followed.
const HEIRS_PER_MILLE: u64 = 300;

/// How many runs of a thousand change their configuration.
const HANDOVERS_PER_MILLE: u64 = 60;

/// What tells the source of chance of reads that spare replicas from the others.
const SPARED: u64 = 0x59a4;
/// In how many runs of a thousand they do.
const SPARED_PER_MILLE: u64 = 300;

/// What tells the source of chance of indices that are made little by little from the others.
const SLICED: u64 = 0x1d3c;
/// In how many runs of a thousand they are.
const SLICED_PER_MILLE: u64 = 300;

/// What tells the source of chance of operators who lose their work from the others.
const WORK: u64 = 0x3019;
/// In how many of a thousand such runs the operator loses its work.
const LOST_WORK_PER_MILLE: u64 = 300;

/// In how many some of those that may be faulty lose their memory.
const LOSSES_PER_MILLE: u64 = 120;

/// A space in which hostile clients may do what they like.
pub fn wild() -> SpaceName {
    SpaceName::new("wild").expect("a good name")
}

/// A space in which they may read only.
pub fn tame() -> SpaceName {
    SpaceName::new("tame").expect("a good name")
}

impl Swarm {
    /// Draws a run.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (replicas, faults) = *rng.pick(SIZES).expect("there are sizes");
        let clients = 1 + rng.index(4);
        let hostile_clients = if rng.chance(350) { 1 + rng.index(2) } else { 0 };
        let mut setup = Setup::calm(replicas, faults);
        setup.seed = seed;
        draw_times(&mut setup, &mut rng);
        setup.weather = draw_weather(&mut rng);
        setup.policy = policy(&setup, clients);
        let trouble_us = rng.between(50_000, 1_500_000);
        let mut swarm = Self {
            fates: draw_fates(replicas, faults, trouble_us, &mut rng),
            workload: Workload::draw(&mut rng),
            rates: draw_rates(clients, &mut rng),
            phases: rng.chance(350).then(|| Phases::draw(&mut rng)),
            setup,
            clients,
            hostile_clients,
            trouble_us,
            hands_over: false,
            loses_work: false,
            newborn: None,
            heirs: 0,
        };
        if swarm.phases.is_some() {
            swarm.make_phased(&mut rng);
        }
        // A source of its own, so that seeds mean what they meant before there were restarts.
        let mut rng = Rng::new(!seed);
        swarm.rates.restarts = if rng.chance(350) {
            rng.between(1, 10)
        } else {
            0
        };
        swarm.rates.holes = if rng.chance(250) {
            rng.between(100, 1000)
        } else {
            0
        };
        swarm.hands_over = rng.chance(HANDOVERS_PER_MILLE);
        if rng.chance(LOSSES_PER_MILLE) {
            swarm.lose_memories(&mut rng);
        }
        swarm.draw_heirs(&mut Rng::new(seed ^ HEIRS));
        swarm.draw_newborn();
        let mut rng = Rng::new(seed ^ SPARED);
        if rng.chance(SPARED_PER_MILLE) {
            swarm.setup.spare_from = rng.index(3);
        }
        let mut rng = Rng::new(seed ^ SLICED);
        if rng.chance(SLICED_PER_MILLE) {
            swarm.setup.index_slice = rng.between(1, 3) as usize;
        }
        swarm.loses_work = Rng::new(seed ^ WORK).chance(LOST_WORK_PER_MILLE);
        swarm
    }

    fn draw_heirs(&mut self, rng: &mut Rng) {
        self.setup.lingers = Span::from_millis(rng.below(300));
        if rng.chance(HEIRS_PER_MILLE) {
            self.heirs = rng.between(1, 5);
            self.setup.gone_sessions = rng.between(1, 3) as usize;
        }
    }

    /// The replicas that are correct and do not end for good.
    pub fn lasting(&self) -> Vec<ReplicaId> {
        let ends = |number: &u16| {
            let fate = self.fates.iter().find(|(of, _)| of == number);
            matches!(
                fate,
                Some((_, Fate::Crash(_) | Fate::Hostile(_) | Fate::Forgets(_)))
            )
        };
        let numbers = (0..self.setup.replicas).filter(|number| !ends(number));
        numbers.map(ReplicaId).collect()
    }

    /// Some of the faulty ones lose their memory instead, and are replaced, or not.
    pub fn lose_memories(&mut self, rng: &mut Rng) {
        let trouble_us = match self.phases {
            Some(_) => 100_000,
            None => self.trouble_us,
        };
        for (_, fate) in &mut self.fates {
            if rng.chance(800) {
                *fate = Fate::Forgets(Loss::draw(trouble_us, rng));
            }
        }
        self.hands_over |= rng.chance(250);
    }

    /// Phases are trouble enough; what is worth meeting in them is a swap, seen from both sides.
    fn make_phased(&mut self, rng: &mut Rng) {
        self.setup.weather = Weather {
            delay_us: (100, 1_500),
            ..Weather::calm(0)
        };
        self.workload.keys = 2;
        self.workload.weights = Weights {
            out: rng.between(2, 4),
            read: rng.between(2, 6),
            take: rng.below(3),
            swap: rng.between(1, 5),
            list: 0,
            waiting_per_mille: rng.below(200),
        };
        for (_, fate) in &mut self.fates {
            if rng.chance(600) {
                *fate = Fate::Hostile(Vice::accomplice(rng));
            }
        }
    }
}

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup {
            seed,
            replicas,
            faults,
            weather,
            ..
        } = &self.setup;
        writeln!(
            f,
            "seed {seed}: n = {replicas}, f = {faults}, fates {:?}",
            self.fates
        )?;
        writeln!(
            f,
            "  {} clients, {} hostile ones, {:?}",
            self.clients, self.hostile_clients, self.workload
        )?;
        if self.hands_over {
            writeln!(f, "  its configuration ends after that")?;
        }
        if self.hands_over && self.loses_work {
            writeln!(f, "  and its operator loses what it had done")?;
        }
        if let Some(newborn) = &self.newborn {
            writeln!(f, "  all disks are empty: {newborn:?}")?;
        }
        if self.heirs > 0 {
            writeln!(f, "  {} times a client is followed by another", self.heirs)?;
        }
        if let Some(phases) = &self.phases {
            return write!(f, "  {phases:?}");
        }
        write!(
            f,
            "  trouble for {} us: {:?}, {weather:?}",
            self.trouble_us, self.rates
        )
    }
}

fn draw_times(setup: &mut Setup, rng: &mut Rng) {
    setup.encoded_per_mille = if rng.chance(250) { 1000 } else { 0 };
    setup.skew_per_mille = if rng.chance(300) { 50 } else { 0 };
    setup.sync_us = match rng.below(3) {
        0 => (1, 1),
        1 => (100, 2_000),
        _ => (1_000, 40_000),
    };
    setup.window = Span::from_millis(rng.between(10, 100));
    setup.reservation = Span::from_millis(rng.between(1, 100));
    setup.resend = Span::from_millis(rng.between(10, 100));
    setup.candidates = rng.between(1, 5) as u8;
    if rng.chance(500) {
        setup.gathers = Span::from_micros(rng.between(0, 3000));
    }
}

fn draw_weather(rng: &mut Rng) -> Weather {
    let mut weather = Weather::calm(0);
    weather.delay_us = (100, rng.between(100, 8_000));
    if rng.chance(400) {
        weather.slow_per_mille = rng.between(10, 300);
        weather.slow_us = rng.between(10_000, 400_000);
    }
    if rng.chance(250) {
        weather.lose_per_mille = rng.between(5, 200);
    }
    if rng.chance(250) {
        weather.double_per_mille = rng.between(5, 300);
    }
    weather.reorder = rng.chance(300);
    weather
}

fn draw_rates(clients: usize, rng: &mut Rng) -> Rates {
    let mut sometimes = |most: u64| {
        if rng.chance(400) {
            1 + rng.below(most)
        } else {
            0
        }
    };
    Rates {
        resets: sometimes(20),
        cuts: sometimes(20),
        pauses: sometimes(10),
        crashes: if clients > 1 { sometimes(2) } else { 0 },
        restarts: 0,
        holes: 0,
    }
}

fn draw_fates(replicas: u16, faults: usize, trouble_us: u64, rng: &mut Rng) -> Vec<(u16, Fate)> {
    let mut numbers: Vec<u16> = (0..replicas).collect();
    rng.shuffle(&mut numbers);
    numbers.truncate(faults);
    let fate = |number| {
        let fate = match rng.below(8) {
            0 => Fate::Fine,
            1 => Fate::Away,
            2 => Fate::Crash(rng.below(trouble_us)),
            _ => Fate::Hostile(Vice::draw(rng)),
        };
        (number, fate)
    };
    numbers.into_iter().map(fate).collect()
}

/// Keys of correct clients, the judge's own ones included, may do everything.
fn policy(setup: &Setup, clients: usize) -> Policy {
    let judges = JUDGE..JUDGE + 2;
    let keys = (0..clients)
        .chain(judges)
        .map(|number| public(&setup.client_key(number)));
    let correct = Allow::Keys(keys.collect());
    let mut policy = Policy::default();
    let rights = SpacePolicy {
        insert: correct.clone(),
        read: Allow::All,
        take: correct,
    };
    policy.spaces.insert(tame(), rights);
    policy
}

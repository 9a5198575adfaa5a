//! A hostile replica with an honest core: what it hears and what it says passes through its
//! [habits](super::habit), which edit, drop and add.

use bts_core::ids::ReplicaId;
use bts_core::replica::{Input, Options, Outgoing, Outputs, Replica};
use bts_core::time::{Span, Time};

use super::edit::edit;
use super::forge::ReplicaForge;
use super::gang::Gang;
use super::habit::{self, Habit};
use super::outburst::volunteer;
use crate::sim::machine::ReplicaMachine;
use crate::sim::node::Message;
use crate::sim::rng::Rng;

/// An honest core in hostile hands. Its disk is imaginary: whatever it logs is synced at once.
#[derive(Debug)]
pub struct Core(Replica);

impl Core {
    /// A core with this key.
    pub fn new(options: Options) -> Self {
        Self(Replica::new(options))
    }

    /// What the core wants sent.
    pub fn drive(&mut self, now: Time, input: Input) -> Vec<Outgoing> {
        let mut sent = Vec::new();
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let mut out = Outputs::default();
            self.0.handle(now, input, &mut out);
            sent.append(&mut out.send);
            next = out.records.last().map(|(lsn, _)| Input::Synced(*lsn));
        }
        sent
    }

    /// When it wants a tick.
    pub fn deadline(&self) -> Option<(Time, &'static str)> {
        self.0.deadline()
    }

    /// As [`Replica::stream_next`].
    pub fn stream_next(&self, peer: ReplicaId) -> u64 {
        self.0.stream_next(peer)
    }
}

/// What habits have at hand.
#[derive(Debug)]
pub struct Hand {
    /// Who lies.
    pub me: ReplicaId,
    /// Its key.
    pub forge: ReplicaForge,
    /// What it knows.
    pub gang: Gang,
    /// Chance.
    pub rng: Rng,
}

/// The liar.
#[derive(Debug)]
pub struct Liar {
    core: Core,
    hand: Hand,
    /// Habits, and how many of a thousand occasions each takes.
    habits: Vec<(Habit, u64)>,
    breath: Breath,
}

/// Lies cost time. Without that, two liars who answer each other would fill the world.
#[derive(Debug, Default)]
struct Breath {
    since: Time,
    spent: usize,
}

impl Breath {
    /// True if there is breath for more.
    fn is_left(&mut self, now: Time) -> bool {
        if now.since(self.since) >= BREATH {
            *self = Self {
                since: now,
                spent: 0,
            };
        }
        self.spent < LIES_PER_BREATH
    }
}

/// How long a breath is.
const BREATH: Span = Span::from_millis(5);

/// Messages that a liar says by itself in one breath.
const LIES_PER_BREATH: usize = 40;

impl Liar {
    /// A liar with these habits, each of which takes so many of a thousand occasions.
    pub fn new(options: Options, gang: Gang, habits: Vec<(Habit, u64)>, rng: Rng) -> Self {
        let forge = ReplicaForge::new(&options.configuration, options.id, options.key.clone());
        gang.lore().replicas.push(forge.clone());
        Self {
            hand: Hand {
                me: options.id,
                forge,
                gang,
                rng,
            },
            core: Core::new(options),
            habits,
            breath: Breath::default(),
        }
    }
}

impl ReplicaMachine for Liar {
    fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        let heard = message_of(&input);
        if let Some(message) = &heard {
            self.hand.gang.learn(message);
        }
        let mut deaf = false;
        for (habit, per_mille) in &self.habits {
            if self.hand.rng.chance(*per_mille) {
                deaf |= habit::is_deaf(habit, heard.as_ref());
                if self.breath.is_left(now) {
                    let lies = volunteer(habit, &mut self.hand, &input);
                    self.breath.spent += lies.len();
                    out.send.extend(lies);
                }
            }
        }
        if deaf {
            return;
        }
        for outgoing in self.core.drive(now, input) {
            let mut edited = Some(outgoing);
            for (habit, per_mille) in &self.habits {
                if self.hand.rng.chance(*per_mille) {
                    edited = edited.and_then(|edited| edit(habit, &mut self.hand, edited));
                }
            }
            out.send.extend(edited);
        }
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        self.core.deadline()
    }

    fn stream_next(&self, peer: ReplicaId) -> u64 {
        self.core.stream_next(peer)
    }
}

/// The message in an input, if there is one.
pub fn message_of(input: &Input) -> Option<Message> {
    match input {
        Input::Client(_, request) => Some(Message::Request(request.clone())),
        Input::Peer(_, message) => Some(Message::Peer(message.clone())),
        Input::ClientConnected(_)
        | Input::ClientGone(_)
        | Input::PeerConnected(..)
        | Input::PeerGone(_)
        | Input::Synced(_)
        | Input::Tick
        | Input::Frozen(_)
        | Input::Stop(_) => None,
    }
}

//! A machine of [`adversary`](crate::adversary) in the shell of a real replica, which can also hold
//! its tongue: towards some clients, or for a while.

use std::collections::BTreeMap;

use bts_core::crypto::hash::Digest;
use bts_core::ids::{PublicKey, ReplicaId};
use bts_core::replica::{Input, Options, Outgoing, Outputs};
use bts_core::time::{Span, Time};
use bts_replica::Machine;

use super::behaviour::Behaviour;
use crate::adversary::Gang;
use crate::sim::machine::ReplicaMachine;
use crate::sim::rng::Rng;

/// The longest delay of the slow one.
const DELAY_MS_MAX: u64 = 1000;

/// The machine, and what it does not say, or not yet.
#[derive(Debug)]
pub(super) struct Shelled {
    machine: Box<dyn ReplicaMachine>,
    tongue: Tongue,
    rng: Rng,
    /// Every second client in the order in which they came.
    shunned: BTreeMap<PublicKey, bool>,
    late: BTreeMap<(Time, u64), Outgoing>,
    counted: u64,
}

/// How it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tongue {
    Ready,
    Shunning,
    Slow,
}

impl Shelled {
    /// A replica of this behaviour. Chance is drawn from its place in the cluster.
    pub(super) fn new(options: Options, behaviour: Behaviour) -> Self {
        let mut rng = Rng::new(u64::from(options.id.0));
        let gang = Gang::new(options.configuration.clone());
        let vice = behaviour.vice();
        Self {
            machine: vice.machine(options, gang, rng.fork()),
            tongue: match behaviour {
                Behaviour::Silent => Tongue::Shunning,
                Behaviour::Slow => Tongue::Slow,
                _ => Tongue::Ready,
            },
            rng,
            shunned: BTreeMap::new(),
            late: BTreeMap::new(),
            counted: 0,
        }
    }

    fn is_shunned(&self, outgoing: &Outgoing) -> bool {
        match outgoing {
            Outgoing::Client(client, _) => self.shunned.get(&client.key) == Some(&true),
            Outgoing::Peer(..) => false,
        }
    }

    fn say_later(&mut self, now: Time, outgoing: Outgoing) {
        let delay = Span::from_millis(self.rng.below(DELAY_MS_MAX));
        self.counted += 1;
        self.late.insert((now + delay, self.counted), outgoing);
    }

    fn say_what_is_due(&mut self, now: Time, out: &mut Outputs) {
        let later = self.late.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut self.late, later);
        out.send.extend(due.into_values());
    }
}

impl Machine for Shelled {
    fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        if let Input::ClientConnected(client) = &input {
            let second = self.shunned.len() % 2 == 1;
            self.shunned.entry(client.key).or_insert(second);
        }
        let mut said = Outputs::default();
        self.machine.handle(now, input, &mut said);
        for outgoing in said.send {
            match self.tongue {
                Tongue::Shunning if self.is_shunned(&outgoing) => {}
                Tongue::Shunning | Tongue::Ready => out.send.push(outgoing),
                Tongue::Slow => self.say_later(now, outgoing),
            }
        }
        self.say_what_is_due(now, out);
        out.records.append(&mut said.records);
        out.events.append(&mut said.events);
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let late = self.late.keys().next().map(|(at, _)| (*at, "said late"));
        late.into_iter()
            .chain(self.machine.deadline())
            .min_by_key(|(at, _)| *at)
    }

    fn stream_next(&self, peer: ReplicaId) -> u64 {
        self.machine.stream_next(peer)
    }

    /// It does not hand over what it holds, and so has to be given up.
    fn stopped(&self) -> Option<Digest> {
        None
    }
}

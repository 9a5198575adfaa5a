//! The network: connections that come and go, delay, order, loss, copies, cuts. It knows no time of
//! its own and wakes nobody: it is asked when something sent now will arrive.
//!
//! The real transport is reliable and ordered within a connection: a cut holds messages back, and
//! only the end of a connection loses them. [`Weather`] can be worse than that where the machines
//! promise to bear it ("losing or doubling one is harmless").

use std::collections::{BTreeMap, VecDeque};

use super::node::{Flight, Message, Node};
use super::rng::Rng;

/// How the network treats messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Least and greatest ordinary delay, in microseconds.
    pub delay_us: (u64, u64),
    /// How many of a thousand messages are delayed much longer.
    pub slow_per_mille: u64,
    /// How much longer at most, in microseconds.
    pub slow_us: u64,
    /// How many of a thousand messages vanish.
    pub lose_per_mille: u64,
    /// How many of a thousand messages arrive twice.
    pub double_per_mille: u64,
    /// Whether what a replica sends may overtake what it sent before.
    pub reorder: bool,
}

impl Weather {
    /// Every message takes this long.
    pub const fn calm(delay_us: u64) -> Self {
        Self {
            delay_us: (delay_us, delay_us),
            slow_per_mille: 0,
            slow_us: 0,
            lose_per_mille: 0,
            double_per_mille: 0,
            reorder: false,
        }
    }

    /// True if messages may vanish though their connection lasts.
    pub fn loses(&self) -> bool {
        self.lose_per_mille > 0
    }
}

/// A connection: who dialled, and who was dialled.
pub type Link = (Node, Node);

/// A message that will arrive, unless its connection ends before.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When.
    pub at_us: u64,
    /// The message.
    pub flight: Flight,
    /// Over which incarnation of the connection.
    pub generation: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    up: bool,
    generation: u64,
}

#[derive(Debug, Default)]
struct Channel {
    blocked: bool,
    waiting: VecDeque<Message>,
    last_arrival_us: u64,
}

/// All connections.
#[derive(Debug)]
pub struct Network {
    /// How messages are treated from now on.
    pub weather: Weather,
    links: BTreeMap<Link, State>,
    channels: BTreeMap<(Node, Node), Channel>,
    rng: Rng,
}

/// The connection over which `from` speaks to `to`. Clients dial replicas and hear answers on the
/// same connection; replicas speak on the connections that they dialled.
pub fn link_of(from: Node, to: Node) -> Link {
    match (from, to) {
        (Node::Replica(_), Node::Client(_)) => (to, from),
        _ => (from, to),
    }
}

impl Network {
    /// A network without connections.
    pub fn new(weather: Weather, rng: Rng) -> Self {
        Self {
            weather,
            links: BTreeMap::new(),
            channels: BTreeMap::new(),
            rng,
        }
    }

    /// The connection comes into being.
    pub fn open(&mut self, link: Link) {
        let state = self.links.entry(link).or_default();
        state.up = true;
        state.generation += 1;
    }

    /// The connection ends, and what travels on it is lost.
    pub fn close(&mut self, (dialler, listener): Link) {
        self.links.entry((dialler, listener)).or_default().up = false;
        for channel in [(dialler, listener), (listener, dialler)] {
            if link_of(channel.0, channel.1) == (dialler, listener)
                && let Some(channel) = self.channels.get_mut(&channel)
            {
                channel.waiting.clear();
            }
        }
    }

    /// True if the connection exists.
    pub fn is_up(&self, link: Link) -> bool {
        self.links.get(&link).is_some_and(|state| state.up)
    }

    /// Existing connections.
    pub fn links(&self) -> Vec<Link> {
        let up = self.links.iter().filter(|(_, state)| state.up);
        up.map(|(link, _)| *link).collect()
    }

    /// Holds back whatever `from` sends to `to`.
    pub fn block(&mut self, from: Node, to: Node) {
        self.channels.entry((from, to)).or_default().blocked = true;
    }

    /// True if it is held back.
    pub fn is_blocked(&self, from: Node, to: Node) -> bool {
        self.channels
            .get(&(from, to))
            .is_some_and(|channel| channel.blocked)
    }

    /// Lets it pass again, and what was held back.
    pub fn unblock(&mut self, now_us: u64, from: Node, to: Node) -> Vec<Delivery> {
        let Some(channel) = self.channels.get_mut(&(from, to)) else {
            return Vec::new();
        };
        channel.blocked = false;
        let waiting = std::mem::take(&mut channel.waiting);
        let flights = waiting
            .into_iter()
            .map(|message| Flight { from, to, message });
        flights
            .flat_map(|flight| self.send(now_us, flight))
            .collect()
    }

    /// Directions in which messages are held back.
    pub fn blocked(&self) -> Vec<(Node, Node)> {
        let blocked = self.channels.iter().filter(|(_, channel)| channel.blocked);
        blocked.map(|(direction, _)| *direction).collect()
    }

    /// What becomes of a message: it arrives once, twice, later, or never.
    pub fn send(&mut self, now_us: u64, flight: Flight) -> Vec<Delivery> {
        let state = self.links.get(&link_of(flight.from, flight.to)).copied();
        let Some(State {
            up: true,
            generation,
        }) = state
        else {
            return Vec::new();
        };
        let channel = self.channels.entry((flight.from, flight.to)).or_default();
        if channel.blocked {
            channel.waiting.push_back(flight.message);
            return Vec::new();
        }
        if self.rng.chance(self.weather.lose_per_mille) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.rng.chance(self.weather.double_per_mille));
        let arrive = |flight: Flight| Delivery {
            at_us: self.arrival(now_us, flight.from, flight.to),
            flight,
            generation,
        };
        std::iter::repeat_n(flight, copies).map(arrive).collect()
    }

    /// True if the connection over which it was sent still exists.
    pub fn arrives(&self, delivery: &Delivery) -> bool {
        let link = link_of(delivery.flight.from, delivery.flight.to);
        let state = self.links.get(&link).copied().unwrap_or_default();
        state.up && state.generation == delivery.generation
    }

    fn arrival(&mut self, now_us: u64, from: Node, to: Node) -> u64 {
        let (least, most) = self.weather.delay_us;
        let slow = self.rng.chance(self.weather.slow_per_mille);
        let extra = if slow {
            self.rng.below(self.weather.slow_us)
        } else {
            0
        };
        let arrival = now_us + self.rng.between(least, most) + extra;
        if self.weather.reorder && matches!(from, Node::Replica(_)) {
            return arrival;
        }
        let channel = self.channels.entry((from, to)).or_default();
        channel.last_arrival_us = arrival.max(channel.last_arrival_us);
        channel.last_arrival_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::node::replica;
    use bts_core::ids::EntryId;
    use bts_core::message::{FetchKey, PeerMessage};

    fn flight() -> Flight {
        let space = bts_core::ids::SpaceName::new("s").expect("a good name");
        let id = EntryId::written(
            space,
            bts_core::ids::PublicKey([0; 32]),
            bts_core::ids::Session(1),
            bts_core::ids::Seq(1),
        );
        Flight {
            from: replica(0),
            to: replica(1),
            message: Message::Peer(PeerMessage::Fetch(FetchKey::Decision(id))),
        }
    }

    fn network(weather: Weather) -> Network {
        let mut network = Network::new(weather, Rng::new(1));
        network.open((replica(0), replica(1)));
        network
    }

    #[test]
    fn network_keeps_order_unless_told_otherwise() {
        let mut weather = Weather::calm(1);
        weather.delay_us = (1, 1000);
        let arrivals = |weather| {
            let mut network = network(weather);
            let sent = (0..50).flat_map(|now| network.send(now, flight()));
            sent.map(|delivery| delivery.at_us).collect::<Vec<_>>()
        };
        assert!(arrivals(weather).is_sorted());
        weather.reorder = true;
        assert!(!arrivals(weather).is_sorted());
    }

    #[test]
    fn network_end_of_connection_loses_what_travels() {
        let mut network = network(Weather::calm(5));
        let sent = network.send(0, flight()).pop().expect("it will arrive");
        assert!(network.arrives(&sent));
        network.close((replica(0), replica(1)));
        assert!(network.send(1, flight()).is_empty());
        network.open((replica(0), replica(1)));
        assert!(!network.arrives(&sent), "of the connection before");
    }

    #[test]
    fn network_cut_holds_back_until_healed() {
        let mut network = network(Weather::calm(5));
        network.block(replica(0), replica(1));
        assert!(network.send(0, flight()).is_empty());
        assert_eq!(network.unblock(100, replica(0), replica(1))[0].at_us, 105);
        assert_eq!(network.send(200, flight()).len(), 1);
    }

    #[test]
    fn network_loses_and_doubles_as_told() {
        let mut weather = Weather::calm(1);
        weather.lose_per_mille = 1000;
        assert!(network(weather).send(0, flight()).is_empty());
        weather.lose_per_mille = 0;
        weather.double_per_mille = 1000;
        assert_eq!(network(weather).send(0, flight()).len(), 2);
    }
}

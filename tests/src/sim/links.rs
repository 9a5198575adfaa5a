//! Connections of a world, and what befalls them: resets, cuts, and messages that a test wants to hold
//! back or drop.

use std::fmt;

use bts_core::{client, replica};

use super::network::{Delivery, Link};
use super::node::{Flight, Node};
use super::schedule::{Event, Notice};
use super::world::World;

/// What a test does with the messages that its filter picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Hold,
    Drop,
}

/// Names an interception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interception(usize);

type Filter = Box<dyn Fn(&Flight) -> bool + Send>;

struct Intercept {
    filter: Option<Filter>,
    verdict: Verdict,
    held: Vec<Flight>,
}

/// All interceptions of a world.
#[derive(Default)]
pub(super) struct Intercepts(Vec<Intercept>);

impl fmt::Debug for Intercepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} interceptions", self.0.len())
    }
}

impl Intercepts {
    /// The message, unless a filter picked it.
    fn pass(&mut self, flight: Flight) -> Option<Flight> {
        let picks = |i: &&mut Intercept| i.filter.as_ref().is_some_and(|filter| filter(&flight));
        let Some(intercept) = self.0.iter_mut().find(picks) else {
            return Some(flight);
        };
        if intercept.verdict == Verdict::Hold {
            intercept.held.push(flight);
        }
        None
    }
}

impl World {
    /// Lets everybody dial everybody, within the first `spread_us` microseconds from now.
    pub fn connect_all(&mut self, spread_us: u64) {
        let ids: Vec<_> = self.replicas.keys().copied().collect();
        for &one in &ids {
            for &other in ids.iter().filter(|other| **other != one) {
                self.dial((Node::Replica(one), Node::Replica(other)), spread_us);
            }
        }
        for number in 0..self.clients.len() {
            self.connect_client(number, spread_us);
        }
    }

    /// Lets a client dial every replica.
    pub fn connect_client(&mut self, number: usize, spread_us: u64) {
        let ids: Vec<_> = self.replicas.keys().copied().collect();
        for id in ids {
            self.dial((Node::Client(number), Node::Replica(id)), spread_us);
        }
    }

    /// Ends a connection. Both ends learn of it, one after the other, and dial again.
    pub fn reset(&mut self, link: Link) {
        if !self.network.is_up(link) {
            return;
        }
        self.trace
            .line(self.now_us(), || format!("{} -- {} reset", link.0, link.1));
        let redial_us = self.tell_end(link) + 1 + self.rng.below(20_000);
        self.plan(self.now_us() + redial_us, Event::Connect(link));
    }

    /// Holds back what `from` sends to `to`.
    pub fn cut_one_way(&mut self, from: Node, to: Node) {
        self.trace
            .line(self.now_us(), || format!("{from} -> {to} cut"));
        self.network.block(from, to);
    }

    /// Lets it pass again, and what was held back.
    pub fn heal_one_way(&mut self, from: Node, to: Node) {
        self.trace
            .line(self.now_us(), || format!("{from} -> {to} healed"));
        let deliveries = self.network.unblock(self.now_us(), from, to);
        self.plan_arrivals(deliveries);
        // A connection needs both directions, whoever dials.
        for link in [(from, to), (to, from)] {
            if self.undialled.remove(&link) {
                self.dial(link, 10_000);
            }
        }
    }

    /// Cuts nothing any more.
    pub fn heal_all(&mut self) {
        for (from, to) in self.network.blocked() {
            self.heal_one_way(from, to);
        }
    }

    /// Holds back messages that the filter picks, until [`World::release`].
    pub fn hold(&mut self, filter: impl Fn(&Flight) -> bool + Send + 'static) -> Interception {
        self.intercept(Verdict::Hold, Box::new(filter))
    }

    /// Drops messages that the filter picks.
    pub fn lose(&mut self, filter: impl Fn(&Flight) -> bool + Send + 'static) -> Interception {
        self.intercept(Verdict::Drop, Box::new(filter))
    }

    /// Messages held back so far.
    pub fn held(&self, of: Interception) -> &[Flight] {
        &self.intercepts.0[of.0].held
    }

    /// Ends an interception; what it held goes on its way, in order.
    pub fn release(&mut self, of: Interception) {
        let intercept = &mut self.intercepts.0[of.0];
        intercept.filter = None;
        for flight in std::mem::take(&mut intercept.held) {
            self.forward(flight);
        }
    }

    /// Ends an interception; what it held is lost.
    pub fn discard(&mut self, of: Interception) {
        let intercept = &mut self.intercepts.0[of.0];
        intercept.filter = None;
        intercept.held.clear();
    }

    /// Sends on its way what a machine sent, or what a test says in its name.
    pub fn send(&mut self, flight: Flight) {
        let honest = self.is_honest(flight.from);
        self.observer.on_flight(self.moment, &flight, honest);
        if let Some(flight) = self.intercepts.pass(flight) {
            self.forward(flight);
        }
    }

    fn forward(&mut self, flight: Flight) {
        let deliveries = self.network.send(self.now_us(), flight);
        self.plan_arrivals(deliveries);
    }

    fn plan_arrivals(&mut self, deliveries: Vec<Delivery>) {
        for mut delivery in deliveries {
            if self.rng.chance(self.setup.encoded_per_mille) {
                match delivery.flight.message.over_the_wire() {
                    Ok(message) => delivery.flight.message = message,
                    Err(error) => {
                        self.on_undecodable(&delivery.flight, &error.to_string());
                        continue;
                    }
                }
            }
            self.plan(delivery.at_us, Event::Arrival(delivery));
        }
    }

    /// A correct machine sends nothing that the other side cannot decode.
    fn on_undecodable(&mut self, flight: &Flight, error: &str) {
        if self.is_honest(flight.from) {
            let Flight { from, to, message } = flight;
            self.violation(format!(
                "{from} sent {to} what cannot be decoded, {error}: {message}"
            ));
        }
    }

    /// True for a correct machine, dead or alive.
    pub fn is_honest(&self, node: Node) -> bool {
        match node {
            Node::Replica(id) => self.replicas.get(&id).is_some_and(|node| node.honest),
            Node::Client(number) => self.clients.get(number).is_some_and(|node| node.honest),
        }
    }

    /// True unless it crashed.
    pub fn is_alive(&self, node: Node) -> bool {
        match node {
            Node::Replica(id) => self.replicas.get(&id).is_some_and(|node| node.alive),
            Node::Client(number) => self.clients.get(number).is_some_and(|node| node.alive),
        }
    }

    fn intercept(&mut self, verdict: Verdict, filter: Filter) -> Interception {
        self.intercepts.0.push(Intercept {
            filter: Some(filter),
            verdict,
            held: Vec::new(),
        });
        Interception(self.intercepts.0.len() - 1)
    }

    /// Lets these be dialled soon.
    pub(super) fn dial_all(&mut self, links: impl IntoIterator<Item = Link>) {
        links.into_iter().for_each(|link| self.dial(link, 10_000));
    }

    fn dial(&mut self, link: Link, spread_us: u64) {
        let at_us = self.now_us() + self.rng.below(spread_us);
        self.plan(at_us, Event::Connect(link));
    }

    /// The listener welcomes the dialler, who hears of it a little later.
    pub(super) fn on_connect(&mut self, link: Link) {
        let (dialler, listener) = link;
        let both_alive = self.is_alive(dialler) && self.is_alive(listener);
        if !both_alive || self.network.is_up(link) {
            return;
        }
        if self.network.is_blocked(dialler, listener) || self.network.is_blocked(listener, dialler)
        {
            self.undialled.insert(link);
            return;
        }
        if !self.is_welcome(link) {
            return;
        }
        self.network.open(link);
        let welcome_us = self.now_us() + 1 + self.rng.below(2_000);
        let Node::Replica(to) = listener else {
            unreachable!("nobody dials a client");
        };
        match dialler {
            Node::Client(number) => {
                let identity = self.clients[number].identity;
                let arrived = Notice::Replica(replica::Input::ClientConnected(identity));
                self.on_notice_now(listener, arrived);
                let welcome = Notice::Client(client::Input::Connected(to));
                self.plan(welcome_us, Event::Notice(dialler, welcome));
            }
            Node::Replica(from) => {
                let next = self.replicas[&to].machine.stream_next(from);
                let welcome = Notice::Replica(replica::Input::PeerConnected(to, next));
                self.plan(welcome_us, Event::Notice(dialler, welcome));
            }
        }
    }

    fn on_notice_now(&mut self, node: Node, notice: Notice) {
        self.plan(self.now_us(), Event::Notice(node, notice));
    }

    pub(super) fn end_links_of(&mut self, node: Node) {
        for link in self.network.links() {
            if link.0 == node || link.1 == node {
                self.tell_end(link);
            }
        }
    }

    /// Ends a connection without dialling again. After how long both ends know.
    fn tell_end(&mut self, link: Link) -> u64 {
        self.network.close(link);
        let (dialler, listener) = link;
        let delays_us = (3_000 + self.rng.below(5_000), 3_000 + self.rng.below(5_000));
        let Node::Replica(to) = listener else {
            unreachable!("nobody dials a client");
        };
        let at_us = self.now_us() + delays_us.0;
        match dialler {
            Node::Client(number) => {
                let identity = self.clients[number].identity;
                let gone = Notice::Replica(replica::Input::ClientGone(identity));
                self.plan(self.now_us() + delays_us.1, Event::Notice(listener, gone));
                let end = Notice::Client(client::Input::Disconnected(to));
                self.plan(at_us, Event::Notice(dialler, end));
            }
            Node::Replica(_) => {
                let end = Notice::Replica(replica::Input::PeerGone(to));
                self.plan(at_us, Event::Notice(dialler, end));
            }
        }
        delays_us.0.max(delays_us.1)
    }
}

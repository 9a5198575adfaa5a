//! What is planned: events in order of time, and then of planning. Nothing else ever chooses.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bts_core::ids::ReplicaId;
use bts_core::{client, replica};

use super::network::{Delivery, Link};
use super::node::Node;
use super::world::World;

/// Something planned.
pub(super) enum Event {
    Arrival(Delivery),
    Connect(Link),
    /// A machine learns of the beginning or the end of a connection.
    Notice(Node, Notice),
    Synced(ReplicaId),
    Tick(Node),
    Act(Box<dyn FnOnce(&mut World) + Send>),
}

impl Event {
    /// The machine that it happens to.
    pub(super) fn node(&self) -> Option<Node> {
        match self {
            Self::Arrival(delivery) => Some(delivery.flight.to),
            Self::Notice(node, _) | Self::Tick(node) => Some(*node),
            Self::Synced(id) => Some(Node::Replica(*id)),
            Self::Connect(_) | Self::Act(_) => None,
        }
    }
}

/// What the shells tell their machines of connections.
#[derive(Debug)]
pub(super) enum Notice {
    Replica(replica::Input),
    Client(client::Input),
}

/// An event with its place in the order.
pub(super) struct Planned {
    pub(super) at_us: u64,
    order: u64,
    pub(super) event: Event,
}

/// All that is planned.
#[derive(Default)]
pub(super) struct Schedule {
    planned: BinaryHeap<Planned>,
    orders: u64,
}

impl Schedule {
    pub(super) fn plan(&mut self, at_us: u64, event: Event) {
        let order = self.orders;
        self.orders += 1;
        self.planned.push(Planned {
            at_us,
            order,
            event,
        });
    }

    /// Plans it for later; among what happens then it keeps its place.
    pub(super) fn postpone(&mut self, mut planned: Planned, at_us: u64) {
        planned.at_us = at_us;
        self.planned.push(planned);
    }

    /// When the next event is.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.planned.peek().map(|planned| planned.at_us)
    }

    pub(super) fn pop(&mut self) -> Option<Planned> {
        self.planned.pop()
    }
}

impl Ord for Planned {
    /// The earliest is the greatest, as the heap gives out the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_us, other.order).cmp(&(self.at_us, self.order))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Planned {}

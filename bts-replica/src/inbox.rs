//! The way from the connections to the one task that owns the core: bounded, and fair.
//!
//! Every key has a lane of its own, bounded in bytes. Whoever fills its lane waits, and thereby its
//! connection, by flow control; nobody else does. Lanes are emptied in turn, one item each, and
//! replicas and clients take turns as well: a crowd of clients cannot keep the replicas from
//! finishing what they began, nor a faulty replica the clients from beginning.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bts_core::ids::{PublicKey, ReplicaId};
use bts_core::limits::{CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// What an item counts at least, in bytes: small messages become larger when they are decoded.
const ITEM_BYTES_MIN: usize = 4 << 10;

/// Whose lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// All sessions of a client key.
    Client(PublicKey),
    /// A peer.
    Replica(ReplicaId),
}

/// The receiving end.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    shared: Arc<Shared<T>>,
}

/// The sending end, for one lane.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    shared: Arc<Shared<T>>,
    owner: Owner,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared<T> {
    lanes: Mutex<Lanes<T>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Lanes<T> {
    by_owner: BTreeMap<Owner, Queue<T>>,
    /// Owners whose queue is not empty, each once: replicas and clients.
    ready: [VecDeque<Owner>; 2],
    /// Whose turn it is.
    turn: usize,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<(T, Option<OwnedSemaphorePermit>)>,
    room: Arc<Semaphore>,
    lanes: usize,
}

impl<T> Inbox<T> {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let lanes = Lanes {
            by_owner: BTreeMap::new(),
            ready: [VecDeque::new(), VecDeque::new()],
            turn: 0,
        };
        Self {
            shared: Arc::new(Shared {
                lanes: Mutex::new(lanes),
                arrived: Notify::new(),
            }),
        }
    }

    /// A way into the lane of `owner`.
    pub(crate) fn lane(&self, owner: Owner) -> Lane<T> {
        let mut lanes = self.shared.lock();
        let queue = lanes.by_owner.entry(owner).or_insert_with(|| Queue {
            items: VecDeque::new(),
            room: Arc::new(Semaphore::new(owner.lane_bytes_max())),
            lanes: 0,
        });
        queue.lanes += 1;
        Lane {
            shared: self.shared.clone(),
            owner,
            room: queue.room.clone(),
        }
    }

    /// Waits until there is something, and takes up to `items_max` items. Cancel-safe.
    pub(crate) async fn take(&self, items_max: usize) -> Vec<T> {
        loop {
            let items = self.shared.lock().pop_many(items_max);
            if !items.is_empty() {
                return items;
            }
            self.shared.arrived.notified().await;
        }
    }
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Lane<T> {
    /// Hands over what came as so many bytes, when there is room for it.
    pub(crate) async fn send(&self, item: T, bytes: usize) {
        let cost = bytes.clamp(ITEM_BYTES_MIN, self.owner.lane_bytes_max());
        let cost = u32::try_from(cost).expect("a lane is bounded far below 4 GiB");
        let room = self.room.clone().acquire_many_owned(cost).await;
        self.shared.push(self.owner, item, room.ok());
    }

    /// Hands over what is small and seldom, at once.
    pub(crate) fn tell(&self, item: T) {
        self.shared.push(self.owner, item, None);
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        let mut lanes = self.shared.lock();
        if let Some(queue) = lanes.by_owner.get_mut(&self.owner) {
            queue.lanes -= 1;
            lanes.forget_if_unused(self.owner);
        }
    }
}

impl<T> Shared<T> {
    fn push(&self, owner: Owner, item: T, room: Option<OwnedSemaphorePermit>) {
        let mut lanes = self.lock();
        let Some(queue) = lanes.by_owner.get_mut(&owner) else {
            return;
        };
        queue.items.push_back((item, room));
        if queue.items.len() == 1 {
            lanes.ready[owner.class()].push_back(owner);
        }
        drop(lanes);
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Lanes<T>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lanes<T> {
    fn pop_many(&mut self, items_max: usize) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).take(items_max).collect()
    }

    fn pop(&mut self) -> Option<T> {
        self.turn = 1 - self.turn;
        let owner = match self.ready[self.turn].pop_front() {
            Some(owner) => owner,
            None => self.ready[1 - self.turn].pop_front()?,
        };
        let queue = self.by_owner.get_mut(&owner)?;
        let (item, _room) = queue.items.pop_front()?;
        if queue.items.is_empty() {
            self.forget_if_unused(owner);
        } else {
            self.ready[owner.class()].push_back(owner);
        }
        Some(item)
    }

    fn forget_if_unused(&mut self, owner: Owner) {
        let unused = |queue: &Queue<T>| queue.lanes == 0 && queue.items.is_empty();
        if self.by_owner.get(&owner).is_some_and(unused) {
            self.by_owner.remove(&owner);
        }
    }
}

impl Owner {
    fn class(self) -> usize {
        match self {
            Self::Replica(_) => 0,
            Self::Client(_) => 1,
        }
    }

    fn lane_bytes_max(self) -> usize {
        match self {
            Self::Replica(_) => 2 * PEER_FRAME_BYTES_MAX,
            Self::Client(_) => 2 * CLIENT_FRAME_BYTES_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn inbox_crowded_lane_does_not_delay_the_others() {
        let inbox = Inbox::new();
        let crowded = inbox.lane(client(1));
        for i in 0..100 {
            crowded.send(("crowd", i), 1).await;
        }
        let quiet = inbox.lane(client(2));
        quiet.send(("quiet", 0), 1).await;
        let peer = inbox.lane(Owner::Replica(ReplicaId(1)));
        peer.send(("peer", 0), 1).await;
        peer.send(("peer", 1), 1).await;
        let taken = inbox.take(5).await;
        let of = |name| taken.iter().filter(|(whose, _)| *whose == name).count();
        assert_eq!((of("crowd"), of("quiet"), of("peer")), (2, 1, 2));
        assert_eq!(inbox.take(1000).await.len(), 98);
    }

    #[tokio::test]
    async fn inbox_replicas_and_clients_take_turns() {
        let inbox = Inbox::new();
        for (owner, name) in [
            (client(1), "client"),
            (Owner::Replica(ReplicaId(1)), "replica"),
        ] {
            let lane = inbox.lane(owner);
            for _ in 0..10 {
                lane.send(name, 1).await;
            }
        }
        let taken = inbox.take(10).await;
        assert_eq!(taken.iter().filter(|name| **name == "client").count(), 5);
        assert_eq!(inbox.take(100).await.len(), 10);
    }

    #[tokio::test]
    async fn inbox_full_lane_makes_only_its_sender_wait() {
        let inbox = Inbox::new();
        let full = inbox.lane(client(1));
        full.send(1, CLIENT_FRAME_BYTES_MAX).await;
        full.send(2, CLIENT_FRAME_BYTES_MAX).await;
        let other = inbox.lane(client(2));
        let mut waiting = Box::pin(full.send(3, 1));
        tokio::select! {
            biased;
            () = &mut waiting => panic!("there is no room"),
            () = other.send(4, CLIENT_FRAME_BYTES_MAX) => {}
        }
        full.tell(5);
        assert_eq!(inbox.take(10).await, [1, 4, 2, 5]);
        waiting.await;
        assert_eq!(inbox.take(10).await, [3]);
    }

    #[tokio::test]
    async fn inbox_lane_keeps_order_and_outlives_its_senders() {
        let inbox = Inbox::new();
        let lane = inbox.lane(client(1));
        for i in 0..10 {
            lane.send(i, 1).await;
        }
        drop(lane);
        assert_eq!(inbox.take(4).await, [0, 1, 2, 3]);
        assert_eq!(inbox.take(100).await, [4, 5, 6, 7, 8, 9]);
        assert!(inbox.shared.lock().by_owner.is_empty());
    }

    fn client(seed: u8) -> Owner {
        Owner::Client(PublicKey([seed; 32]))
    }
}

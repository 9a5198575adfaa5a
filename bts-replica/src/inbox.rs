//! The way from the connections to the one task that owns the core: bounded, and fair.
//!
//! Every key has a lane of its own, bounded in bytes. What came together is handed over together; whoever
//! fills its lane waits, and thereby its connection, by flow control; nobody else does. Lanes are emptied in
//! turn, one item each, however many came together, and
//! replicas and clients take turns as well: a crowd of clients cannot keep the replicas from
//! finishing what they began, nor a faulty replica the clients from beginning.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bts_core::ids::{PublicKey, ReplicaId};
use bts_core::limits::{CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX};
use tokio::sync::{Notify, Semaphore};

/// What an item counts at least, in bytes: small messages become larger when they are decoded.
const ITEM_BYTES_MIN: usize = 4 << 10;
/// From so many counted bytes on, a batch is to be handed over before more is added.
const BATCH_BYTES: usize = 256 << 10;

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

/// What is handed over together.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    items: Vec<(T, usize)>,
    /// What they count together.
    bytes: usize,
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
    /// With the bytes of room that each takes.
    items: VecDeque<(T, usize)>,
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

    /// Waits until there is something, and appends up to `items_max` items to `taken`. Cancel-safe.
    pub(crate) async fn take(&self, items_max: usize, taken: &mut Vec<T>) {
        while !self.shared.lock().pop_many(items_max, taken) {
            self.shared.arrived.notified().await;
        }
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.lock().is_empty()
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
    /// Hands over what is in the batch, when there is room for all of it, and leaves it empty.
    pub(crate) async fn send(&self, batch: &mut Batch<T>) {
        if batch.items.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut batch.bytes).min(self.owner.lane_bytes_max());
        let room = u32::try_from(bytes).expect("a lane is bounded far below 4 GiB");
        // It is never closed. The room is given back item by item.
        if let Ok(room) = self.room.acquire_many(room).await {
            room.forget();
        }
        self.shared.push(self.owner, batch.items.drain(..));
    }

    /// Hands over what is small and seldom, at once.
    pub(crate) fn tell(&self, item: T) {
        self.shared.push(self.owner, [(item, 0)]);
    }
}

impl<T> Batch<T> {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            items: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds what came as so many bytes.
    pub(crate) fn add(&mut self, item: T, bytes: usize) {
        let bytes = bytes.max(ITEM_BYTES_MIN);
        self.items.push((item, bytes));
        self.bytes += bytes;
    }

    /// How many items it has.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it should be handed over before more is added: so it always fits into a lane.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
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
    fn push(&self, owner: Owner, items: impl IntoIterator<Item = (T, usize)>) {
        let mut lanes = self.lock();
        let Some(queue) = lanes.by_owner.get_mut(&owner) else {
            return;
        };
        let was_empty = queue.items.is_empty();
        queue.items.extend(items);
        if was_empty {
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
    /// False if there is nothing.
    fn pop_many(&mut self, items_max: usize, taken: &mut Vec<T>) -> bool {
        let before = taken.len();
        taken.extend(std::iter::from_fn(|| self.pop()).take(items_max));
        taken.len() > before
    }

    fn is_empty(&self) -> bool {
        self.ready.iter().all(VecDeque::is_empty)
    }

    fn pop(&mut self) -> Option<T> {
        self.turn = 1 - self.turn;
        let owner = match self.ready[self.turn].pop_front() {
            Some(owner) => owner,
            None => self.ready[1 - self.turn].pop_front()?,
        };
        let queue = self.by_owner.get_mut(&owner)?;
        let (item, bytes) = queue.items.pop_front()?;
        queue.room.add_permits(bytes);
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
            send(&crowded, ("crowd", i), 1).await;
        }
        let quiet = inbox.lane(client(2));
        send(&quiet, ("quiet", 0), 1).await;
        let peer = inbox.lane(Owner::Replica(ReplicaId(1)));
        send(&peer, ("peer", 0), 1).await;
        send(&peer, ("peer", 1), 1).await;
        let taken = take(&inbox, 5).await;
        let of = |name| taken.iter().filter(|(whose, _)| *whose == name).count();
        assert_eq!((of("crowd"), of("quiet"), of("peer")), (2, 1, 2));
        assert_eq!(take(&inbox, 1000).await.len(), 98);
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
                send(&lane, name, 1).await;
            }
        }
        let taken = take(&inbox, 10).await;
        assert_eq!(taken.iter().filter(|name| **name == "client").count(), 5);
        assert_eq!(take(&inbox, 100).await.len(), 10);
    }

    #[tokio::test]
    async fn inbox_full_lane_makes_only_its_sender_wait() {
        let inbox = Inbox::new();
        let full = inbox.lane(client(1));
        send(&full, 1, CLIENT_FRAME_BYTES_MAX).await;
        send(&full, 2, CLIENT_FRAME_BYTES_MAX).await;
        let other = inbox.lane(client(2));
        let mut waiting = Box::pin(send(&full, 3, 1));
        tokio::select! {
            biased;
            () = &mut waiting => panic!("there is no room"),
            () = send(&other, 4, CLIENT_FRAME_BYTES_MAX) => {}
        }
        full.tell(5);
        assert_eq!(take(&inbox, 10).await, [1, 4, 2, 5]);
        waiting.await;
        assert_eq!(take(&inbox, 10).await, [3]);
    }

    #[tokio::test]
    async fn inbox_lane_keeps_order_and_outlives_its_senders() {
        let inbox = Inbox::new();
        let lane = inbox.lane(client(1));
        for i in 0..10 {
            send(&lane, i, 1).await;
        }
        drop(lane);
        assert_eq!(take(&inbox, 4).await, [0, 1, 2, 3]);
        assert_eq!(take(&inbox, 100).await, [4, 5, 6, 7, 8, 9]);
        assert!(inbox.shared.lock().by_owner.is_empty());
    }

    /// Who sends much at once waits its turn as often as who sends it bit by bit.
    #[tokio::test]
    async fn inbox_what_comes_together_is_taken_one_by_one() {
        let inbox = Inbox::new();
        let crowded = inbox.lane(client(1));
        let mut batch = Batch::new();
        (0..50).for_each(|_| batch.add("crowd", 1));
        crowded.send(&mut batch).await;
        assert!(batch.items.is_empty());
        let (quiet, peer) = (
            inbox.lane(client(2)),
            inbox.lane(Owner::Replica(ReplicaId(1))),
        );
        send(&quiet, "quiet", 1).await;
        send(&peer, "peer", 1).await;
        let mut first = take(&inbox, 4).await;
        first.sort_unstable();
        assert_eq!(first, ["crowd", "crowd", "peer", "quiet"]);
        assert_eq!(take(&inbox, 100).await, ["crowd"; 48]);
    }

    /// Small items count more than their bytes, in a batch too; and each gives its room back alone.
    #[tokio::test]
    async fn inbox_batches_fill_a_lane_as_single_items_do() {
        let inbox = Inbox::new();
        let lane = inbox.lane(client(1));
        let fits = client(1).lane_bytes_max() / ITEM_BYTES_MIN;
        let (mut batch, mut sent) = (Batch::new(), 0);
        while sent < fits {
            while !batch.is_full() {
                batch.add(sent, 1);
                sent += 1;
            }
            lane.send(&mut batch).await;
        }
        assert_eq!(sent, fits, "a lane is filled by whole batches");
        batch.add(sent, 1);
        batch.add(sent + 1, 1);
        let mut waiting = Box::pin(lane.send(&mut batch));
        for item in 0..2 {
            tokio::select! {
                biased;
                () = &mut waiting => panic!("there is no room for two"),
                taken = take(&inbox, 1) => assert_eq!(taken, [item]),
            }
        }
        let patience = std::time::Duration::from_secs(30);
        let room = tokio::time::timeout(patience, waiting).await;
        assert!(room.is_ok(), "what was taken gave no room back");
        assert_eq!(take(&inbox, 2 * fits).await.len(), fits);
    }

    #[tokio::test]
    async fn inbox_batch_always_fits_into_an_empty_lane() {
        for owner in [client(1), Owner::Replica(ReplicaId(1))] {
            let frame_max = owner.lane_bytes_max() / 2;
            let mut batch = Batch::new();
            while !batch.is_full() {
                batch.add((), ITEM_BYTES_MIN - 1);
            }
            batch.bytes -= ITEM_BYTES_MIN;
            assert!(!batch.is_full());
            batch.add((), frame_max);
            assert!(batch.bytes <= owner.lane_bytes_max());
        }
    }

    async fn send<T>(lane: &Lane<T>, item: T, bytes: usize) {
        let mut batch = Batch::new();
        batch.add(item, bytes);
        lane.send(&mut batch).await;
    }

    async fn take<T>(inbox: &Inbox<T>, items_max: usize) -> Vec<T> {
        let mut taken = Vec::new();
        inbox.take(items_max, &mut taken).await;
        taken
    }

    fn client(seed: u8) -> Owner {
        Owner::Client(PublicKey([seed; 32]))
    }
}

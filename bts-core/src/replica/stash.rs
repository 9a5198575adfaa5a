//! Messages that cannot be judged yet: kept, a bounded number per sender, until the entry they are
//! about arrives or ends. They are handled one after the other when the current input is done, not
//! from within it, so a long line of them costs no stack and nobody's checks go stale.

use std::collections::{BTreeMap, VecDeque};

use super::outputs::Principal;
use crate::ids::{ClientRef, EntryId, ReplicaId};
use crate::limits::STASHED_PER_SENDER_MAX;
use crate::message::{ClientRequest, PeerMessage};

/// A kept message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stashed {
    Peer(ReplicaId, PeerMessage),
    Client(ClientRef, ClientRequest),
}

impl Stashed {
    /// Who sent it.
    pub(super) fn sender(&self) -> Principal {
        match self {
            Self::Peer(replica, _) => Principal::Replica(*replica),
            Self::Client(client, _) => Principal::Client(*client),
        }
    }
}

/// All kept messages.
#[derive(Debug, Default)]
pub(super) struct Stash {
    waiting: BTreeMap<EntryId, Vec<Stashed>>,
    /// What each sender's messages wait for, the oldest first.
    order: BTreeMap<Principal, VecDeque<EntryId>>,
    ready: VecDeque<Stashed>,
}

impl Stash {
    /// Keeps a message until something happens to `id`. A repetition is not kept twice; the
    /// sender's oldest message makes room.
    pub(super) fn keep(&mut self, id: &EntryId, message: Stashed) {
        let sender = message.sender();
        let waiting = self.waiting.entry(id.clone()).or_default();
        if waiting.contains(&message) {
            return;
        }
        waiting.push(message);
        let order = self.order.entry(sender).or_default();
        order.push_back(id.clone());
        if order.len() > STASHED_PER_SENDER_MAX
            && let Some(oldest) = order.pop_front()
        {
            self.drop_one(&oldest, sender);
        }
    }

    /// Something happened to this entry: what waited for it can be handled.
    pub(super) fn wake(&mut self, id: &EntryId) {
        for message in self.waiting.remove(id).unwrap_or_default() {
            let sender = message.sender();
            if let Some(order) = self.order.get_mut(&sender) {
                if let Some(place) = order.iter().position(|waiting| waiting == id) {
                    order.remove(place);
                }
                if order.is_empty() {
                    self.order.remove(&sender);
                }
            }
            self.ready.push_back(message);
        }
    }

    /// The next message that can be handled.
    pub(super) fn next(&mut self) -> Option<Stashed> {
        self.ready.pop_front()
    }

    /// Drops all that a sender waits for.
    pub(super) fn forget(&mut self, sender: Principal) {
        for id in self.order.remove(&sender).unwrap_or_default() {
            self.drop_one(&id, sender);
        }
    }

    fn drop_one(&mut self, id: &EntryId, sender: Principal) {
        let Some(waiting) = self.waiting.get_mut(id) else {
            return;
        };
        if let Some(place) = waiting.iter().position(|m| m.sender() == sender) {
            waiting.remove(place);
        }
        if waiting.is_empty() {
            self.waiting.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PublicKey, Seq, Session, SpaceName};

    fn id(seq: u64) -> EntryId {
        let space = SpaceName::new("s").expect("legal");
        EntryId::written(space, PublicKey([1; 32]), Session(1), Seq(seq))
    }

    fn resume(from: u16, next: u64) -> Stashed {
        Stashed::Peer(ReplicaId(from), PeerMessage::Resume { next })
    }

    #[test]
    fn stash_oldest_of_the_sender_makes_room() {
        let mut stash = Stash::default();
        stash.keep(&id(0), resume(2, 7));
        let count = STASHED_PER_SENDER_MAX as u64 + 1;
        (0..count).for_each(|seq| stash.keep(&id(seq), resume(1, seq)));
        (0..count).for_each(|seq| stash.wake(&id(seq)));
        assert_eq!(stash.next(), Some(resume(2, 7)), "another sender's stays");
        assert_eq!(stash.next(), Some(resume(1, 1)), "the oldest is gone");
        assert_eq!(
            std::iter::from_fn(|| stash.next()).count(),
            count as usize - 2
        );
        assert!(stash.order.is_empty() && stash.waiting.is_empty());
    }

    #[test]
    fn stash_repetition_is_kept_once() {
        let mut stash = Stash::default();
        (0..9).for_each(|_| stash.keep(&id(0), resume(1, 5)));
        stash.wake(&id(0));
        assert_eq!(std::iter::from_fn(|| stash.next()).count(), 1);
    }

    #[test]
    fn stash_of_a_sender_is_forgotten_whole() {
        let mut stash = Stash::default();
        (0..9).for_each(|seq| stash.keep(&id(seq % 2), resume(1, seq)));
        stash.forget(Principal::Replica(ReplicaId(1)));
        assert!(stash.order.is_empty() && stash.waiting.is_empty());
    }
}

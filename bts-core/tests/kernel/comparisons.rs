//! Samples of what replicas say when they compare.

use bts_core::crypto::hash::Digest;
use bts_core::ids::{ContentHash, ReplicaId};
use bts_core::message::{Compare, Compared, Comparing, PeerMessage};

use crate::samples::{Named, Samples};

impl Samples {
    /// What operators are told.
    pub(crate) fn comparing(&self) -> Comparing {
        Comparing {
            peer: ReplicaId(2),
            is_caught_up: true,
            began_with: 7,
            passed: 1,
            fetched: 2,
            fetching: 3,
            doubted: 4,
            complete_at_us: Some(5),
        }
    }

    pub(crate) fn comparisons(&self) -> Vec<Named<PeerMessage>> {
        let compare = Compare {
            from: None,
            to: Some(self.id()),
            count: 300,
            digest: Digest([6; 32]),
        };
        let compared = |items| {
            PeerMessage::Compared(Compared {
                from: Some(self.id()),
                upto: None,
                items,
            })
        };
        let items = vec![(self.id(), ContentHash(Digest([7; 32])))];
        vec![
            ("peer.compare", PeerMessage::Compare(compare)),
            ("peer.compared", compared(Some(items))),
            ("peer.compared-same", compared(None)),
        ]
    }
}

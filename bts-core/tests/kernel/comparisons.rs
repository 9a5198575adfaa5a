//! Samples of what replicas say when they compare.

use bts_core::crypto::hash::Digest;
use bts_core::ids::ContentHash;
use bts_core::message::{Compare, Compared, PeerMessage};

use crate::samples::{Named, Samples};

impl Samples {
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

//! A replica whose store takes nothing for a while, because the disk is full. Whoever cannot
//! log cannot promise, so it changes nothing: it answers what asks for no change, from a state all
//! of which is durable, and refuses or drops the rest, which those who sent it repeat. To be silent
//! is always allowed; the others are a quorum without it.

use super::{Outputs, Replica};
use crate::ids::ClientRef;
use crate::message::{ClientBody, ClientRequest, PeerMessage, Refused};

impl Replica {
    /// Freezes for the reason told, or thaws.
    pub(super) fn on_frozen(&mut self, why: Option<String>) {
        self.count(match why {
            Some(_) => "frozen",
            None => "thawed",
        });
        self.frozen = why;
    }

    /// Refuses what would have to be logged. True if that was done.
    pub(super) fn refuses_frozen(
        &mut self,
        from: ClientRef,
        message: &ClientRequest,
        out: &mut Outputs,
    ) -> bool {
        let Some(why) = self.frozen.clone() else {
            return false;
        };
        if !message.body.asks_for_change() {
            return false;
        }
        // That something was dropped is told, not asked.
        if !matches!(message.body, ClientBody::Dropped { .. }) {
            self.refuse(from, message.request, Refused::NoRoom(why), out);
        }
        true
    }

    /// Whether a peer's message is dropped: all but what asks for something that is held.
    pub(super) fn drops_frozen(&mut self, message: &PeerMessage) -> bool {
        let drops = self.frozen.is_some() && !asks(message);
        if drops {
            self.count("dropped, frozen");
        }
        drops
    }
}

fn asks(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Fetch(_) | PeerMessage::Compare(_))
}

//! The end of a configuration at one replica: it logs that it stops, and from then on votes, promises,
//! acknowledges and answers nothing any more, also after a restart. What it logged before may still
//! leave when it is durable: it stands in the export.

use super::on_index::Indexing;
use super::record::Change;
use super::{Input, Outputs, Replica};
use crate::crypto::hash::Digest;
use crate::message::{ClientBody, Refused, ReplyBody};

impl Replica {
    /// What this replica stopped for, if it did. What it logged may be exported when all of it is durable.
    pub fn stopped(&self) -> Option<Digest> {
        self.store.stopped()
    }

    /// Stops for good, once. Without room nothing can be logged: the order is repeated.
    pub(super) fn on_stop(&mut self, purpose: Digest, out: &mut Outputs) {
        if self.frozen.is_none() && self.stopped().is_none() {
            self.log(Change::Stopped(purpose), out);
            self.count("stopped");
            self.indexing = Indexing::default();
        }
    }

    /// Refuses everything but to tell operators how it is; reads too: the entries live on elsewhere. What depends on records that came
    /// before the stop leaves when they are durable.
    pub(super) fn handle_stopped(&mut self, input: Input, out: &mut Outputs) {
        match input {
            Input::Client(from, message) => {
                let request = message.request;
                if matches!(message.body, ClientBody::Inspect) {
                    let report = Box::new(self.report());
                    return self.reply(from, request, ReplyBody::Report(report), out);
                }
                self.refuse(from, request, Refused::Ended, out);
            }
            Input::Synced(lsn) => self.gate.synced(lsn),
            Input::ClientConnected(_)
            | Input::ClientGone(_)
            | Input::PeerConnected(..)
            | Input::PeerGone(_)
            | Input::Peer(..)
            | Input::Tick
            | Input::Frozen(_)
            | Input::Stop(_) => {}
        }
        self.release(out);
    }
}

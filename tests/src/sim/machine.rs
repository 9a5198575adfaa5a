//! What the simulator drives: the replica and the client of bts-core, or a liar of the same shape.
//! A real process can run such a liar as well, since the shape is that of the real machine.

use std::fmt::Debug;

use bts_core::client::{self, Client};
use bts_core::ids::{ClientRef, ContentHash, EntryId, ReplicaId};
use bts_core::replica::{self, Replica};
use bts_core::time::Time;

/// A replica as its shell sees it.
pub trait ReplicaMachine: Debug + Send {
    /// Takes one input to its end.
    fn handle(&mut self, now: Time, input: replica::Input, out: &mut replica::Outputs);
    /// When it wants a tick, and what for.
    fn deadline(&self) -> Option<(Time, &'static str)>;
    /// Number after the last decision of this peer's stream that it heard of.
    fn stream_next(&self, peer: ReplicaId) -> u64;
    /// What it holds; a liar has nothing to tell.
    fn live(&self) -> Vec<(EntryId, ContentHash)> {
        Vec::new()
    }
    /// Entries whose decisions it keeps, and who won them.
    fn kept(&self) -> Vec<(EntryId, ClientRef)> {
        Vec::new()
    }
    /// Whether it dropped the entry without the decision.
    fn has_skipped(&self, _id: &EntryId) -> bool {
        false
    }
}

impl ReplicaMachine for Replica {
    fn handle(&mut self, now: Time, input: replica::Input, out: &mut replica::Outputs) {
        Self::handle(self, now, input, out);
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        Self::deadline(self)
    }

    fn stream_next(&self, peer: ReplicaId) -> u64 {
        Self::stream_next(self, peer)
    }

    fn live(&self) -> Vec<(EntryId, ContentHash)> {
        let live = Self::live(self);
        live.collect()
    }

    fn kept(&self) -> Vec<(EntryId, ClientRef)> {
        let kept = Self::kept(self);
        kept.collect()
    }

    fn has_skipped(&self, id: &EntryId) -> bool {
        Self::has_skipped(self, id)
    }
}

/// A client as its shell sees it.
pub trait ClientMachine: Debug + Send {
    /// Takes one input to its end.
    fn handle(&mut self, now: Time, input: client::Input, out: &mut client::Outputs);
    /// When it wants a tick, and what for.
    fn deadline(&self) -> Option<(Time, &'static str)>;
    /// True if nothing is left to be finished in the background.
    fn is_idle(&self) -> bool;
}

impl ClientMachine for Client {
    fn handle(&mut self, now: Time, input: client::Input, out: &mut client::Outputs) {
        Self::handle(self, now, input, out);
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        Self::deadline(self)
    }

    fn is_idle(&self) -> bool {
        Self::is_idle(self)
    }
}

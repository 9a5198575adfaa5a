//! What the shell drives: the replica of bts-core, or whatever has the same contract.

use bts_core::ids::ReplicaId;
use bts_core::replica::{Input, Outputs, Replica};
use bts_core::time::Time;

/// A replica as a state machine. One owner calls [`Machine::handle`], with times that never go
/// back, appends the records, syncs, says so by `Input::Synced`, sends what is to be sent, and comes
/// back at the deadline. Programs that test other replicas implement it around a core that lies.
pub trait Machine {
    /// Takes one input to its end.
    fn handle(&mut self, now: Time, input: Input, out: &mut Outputs);

    /// When it wants an `Input::Tick`, and what for.
    fn deadline(&self) -> Option<(Time, &'static str)>;

    /// Number after the last decision of this peer's stream that was heard of, for the Hello.
    fn stream_next(&self, peer: ReplicaId) -> u64;
}

impl Machine for Replica {
    fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        Self::handle(self, now, input, out);
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        Self::deadline(self)
    }

    fn stream_next(&self, peer: ReplicaId) -> u64 {
        Self::stream_next(self, peer)
    }
}

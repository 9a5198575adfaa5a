//! What the shell drives: the replica of bts-core, or whatever has the same contract.

use std::fmt;

use bts_core::crypto::hash::Digest;
use bts_core::ids::{Lsn, ReplicaId};
use bts_core::replica::{Input, Options, Outputs, Record, Replica, Unreplayable};
use bts_core::time::Time;

use crate::recover::recover;

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

    /// What it stopped for, if it did. It logs nothing after that.
    fn stopped(&self) -> Option<Digest>;
}

/// What a machine is made from, at the start of the process and after the disk was full.
pub struct Start<'a> {
    /// What it is told.
    pub options: Options,
    /// The time.
    pub now: Time,
    /// What it logged before, all of which is durable.
    pub log: &'a mut dyn Iterator<Item = (Lsn, Record)>,
    /// What it wants done.
    pub out: &'a mut Outputs,
}

impl fmt::Debug for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, now, .. } = self;
        f.debug_struct("Start")
            .field("options", options)
            .field("now", now)
            .finish_non_exhaustive()
    }
}

/// The replica of bts-core, as it was when it wrote the last record of its log.
pub fn replica(start: Start<'_>) -> Result<Replica, Unreplayable> {
    recover(start)
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

    fn stopped(&self) -> Option<Digest> {
        Self::stopped(self)
    }
}

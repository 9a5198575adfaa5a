//! Whom a read does not ask at first. A client with many operations under way asks a quorum, always the same one for
//! a while, and the others only if these do not suffice: what is not asked costs nobody anything, and answers that
//! come from as many replicas as are needed come together.

use super::pace::Spare;
use super::replies::Replies;
use super::step::Step;
use crate::ids::ReplicaId;
use crate::message::ReadMode;
use crate::time::{Span, Time};

/// The others are asked no sooner, unless the quorum has answered.
const PATIENCE_MIN: Span = Span::from_millis(5);

fn patience(step: &Step<'_>) -> Span {
    step.patience().max(PATIENCE_MIN)
}

/// Replicas that a read has not asked yet.
#[derive(Debug, Default)]
pub(super) struct Spared {
    spare: Spare,
    /// Until when those who were asked may take to answer.
    until: Time,
}

impl Spared {
    /// Whom a read of this kind, that begins now, does not ask.
    pub(super) fn choose(step: &mut Step<'_>, mode: ReadMode) -> Self {
        let is_plain = mode == ReadMode::Rdp;
        if !is_plain || step.shared.requests.count() < step.shared.options.spare_from {
            return Self::default();
        }
        let (all, enough) = (step.everyone().collect(), step.size().ack_quorum());
        Self {
            spare: step.shared.pace.spare(all, enough, step.now),
            until: step.now + patience(step),
        }
    }

    /// A quorum has answered that there is nothing: it is asked once more before it is in doubt.
    pub(super) fn on_quorum(&mut self, step: &Step<'_>) {
        self.until = step.now + patience(step).times(2);
    }

    /// True if this replica is one of them.
    pub(super) fn contains(&self, replica: ReplicaId) -> bool {
        self.spare.replicas.contains(&replica)
    }

    /// The others, as far as they have not answered.
    pub(super) fn missing(&self, step: &Step<'_>, replies: &Replies) -> Vec<ReplicaId> {
        let mut missing = step.others(replies.all());
        missing.retain(|replica| !self.contains(*replica));
        missing
    }

    /// When they are to be asked, if there are any.
    pub(super) fn due_at(&self) -> Option<Time> {
        (!self.spare.replicas.is_empty()).then_some(self.until)
    }

    /// They are asked now, since the others did not suffice.
    pub(super) fn take(&mut self, step: &mut Step<'_>) -> Vec<ReplicaId> {
        let spare = std::mem::take(&mut self.spare);
        step.shared.pace.on_short(&spare);
        spare.replicas
    }
}

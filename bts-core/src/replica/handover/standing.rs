//! Whether a replica stands where a change of configuration can find it. Asked of every
//! replica that hands over, before anybody is stopped and before anything is founded: one that has begun the next
//! configuration was given a founding, and of one number there must not be two.

use thiserror::Error;

use crate::crypto::hash::Digest;
use crate::message::Standing;

/// Why a change cannot be made with a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Astray {
    /// It is not in the configuration that is to end.
    #[error("it is in configuration {0}")]
    Elsewhere(u64),
    /// It has stopped for another change.
    #[error("it has stopped for another change")]
    OtherChange,
}

/// Whether this replica can hand over what it holds in the configuration `ending`, for this purpose.
pub fn may_hand_over(ending: Digest, purpose: Digest, standing: &Standing) -> Result<(), Astray> {
    if standing.configuration != ending && !mutant!(BegunPassedOver) {
        return Err(Astray::Elsewhere(standing.number));
    }
    match standing.stopped {
        Some(other) if other != purpose => Err(Astray::OtherChange),
        Some(_) | None => Ok(()),
    }
}

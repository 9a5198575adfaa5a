//! What asks for a change, and what only for what is so.

use super::ClientBody;

impl ClientBody {
    /// Whether a replica may have to log something because of it.
    pub(crate) fn asks_for_change(&self) -> bool {
        match self {
            Self::Out { .. }
            | Self::WriteBack { .. }
            | Self::Take(_)
            | Self::Evidence(_)
            | Self::Lock(_)
            | Self::Decide { .. }
            | Self::Dropped { .. }
            | Self::EndSession(_) => true,
            Self::Read(_)
            | Self::StillEmpty { .. }
            | Self::Fetch(_)
            | Self::Cancel { .. }
            | Self::Inspect
            | Self::Sessions
            | Self::List { .. } => false,
        }
    }
}

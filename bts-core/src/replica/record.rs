//! What a replica logs.

use serde::{Deserialize, Serialize};

/// One step of a replica's durable state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {}

//! From one configuration to the next: what the replicas of the old one hold is *exported* by
//! each, and *united* to the one state that all replicas of the new one begin with. Pure: who stops
//! whom, and where the bytes go, is not decided here.

mod export;
mod found;
mod standing;
mod unite;

pub use export::{BadExport, Export, ExportPayload, sign_export};
pub use found::{Founding, StateHasher};
pub use standing::{Astray, may_hand_over};
pub use unite::{CannotUnite, United, unite};

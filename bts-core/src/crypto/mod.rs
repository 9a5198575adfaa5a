//! Hashes, Merkle batches and signatures. [`verified`] is the only file that makes a witness of a
//! check, so reading it is the security review of who is believed; `packed` puts such witnesses away
//! and takes them out again.

pub mod batch;
pub mod hash;
pub(crate) mod packed;
pub mod sign;
pub mod verified;

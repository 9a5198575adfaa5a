//! Hashes, Merkle batches and signatures. [`verified`] is the only file that makes a witness of a
//! check, so reading it is the security review of who is believed.

pub mod batch;
pub mod hash;
pub mod sign;
pub mod verified;

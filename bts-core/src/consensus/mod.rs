//! The safety kernel: one single-decree Byzantine consensus per entry and epoch, `I(id, e)`
//! (PROTOCOL sections 3 and 5; the paper's `paxos`, section 4). It depends on quorums, ids and
//! cryptography only, and is used by replica, client and simulator alike.

pub mod ballot;
pub mod certificate;
pub mod choose;
pub mod instance;
pub mod promise;
pub mod tally;

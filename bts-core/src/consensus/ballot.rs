//! Who owns which ballot of an instance (PROTOCOL section 3): ballot 0 the clients, each higher one
//! a co-proposer, `f+1` replicas in turn so that at least one is correct.

use crate::codec;
use crate::crypto::hash::{Domain, Hasher};
use crate::ids::{Ballot, EntryId, Epoch, ReplicaId};
use crate::quorum::ClusterSize;

/// The replica that may propose in ballot `b >= 1` of `I(id, e)`.
pub fn owner(size: ClusterSize, id: &EntryId, epoch: Epoch, ballot: Ballot) -> ReplicaId {
    debug_assert!(ballot > Ballot::ZERO, "ballot 0 belongs to the clients");
    let n = size.replicas() as u64;
    let hash = Hasher::new(Domain::Owner)
        .part(&codec::encode(id))
        .number(u64::from(epoch.0))
        .finish()
        .head();
    let turn = u64::from(ballot.0.saturating_sub(1)) % size.co_proposers() as u64;
    ReplicaId(((hash % n + turn) % n) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PublicKey, Seq, Session, SpaceName};

    #[test]
    fn ballot_owners_are_f_plus_1_in_turn() {
        let size = ClusterSize::new(7, 2).expect("legal");
        let space = SpaceName::new("s").expect("legal");
        for seq in 0..50 {
            let id = EntryId::written(space.clone(), PublicKey([1; 32]), Session(1), Seq(seq));
            let at = |b| owner(size, &id, Epoch(0), Ballot(b));
            assert_eq!(at(1), at(4));
            assert_eq!(at(2), at(5));
            assert_eq!(at(3), at(u32::MAX / 3 * 3));
            assert_ne!(at(1), at(2));
            assert_ne!(at(2), at(3));
        }
    }
}

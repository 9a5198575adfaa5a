//! Merkle batches of any size, and the owners of ballots: both against their definition.

use bts_core::codec;
use bts_core::consensus::ballot::owner;
use bts_core::crypto::batch::{PathStep, build, root};
use bts_core::crypto::hash::{Digest, Domain, Hasher};
use bts_core::ids::{Ballot, Epoch, PublicKey, ReplicaId};
use bts_core::limits::MERKLE_PATH_MAX;
use bts_core::quorum::ClusterSize;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{id_in, seeded};

fn pair(left: Digest, right: Digest) -> Digest {
    Hasher::new(Domain::Node)
        .part(&left.0)
        .part(&right.0)
        .finish()
}

/// The root as docs/wire.md defines it: pairs from the left, a single last one moves up.
fn literal_root(mut level: Vec<Digest>) -> Digest {
    while level.len() > 1 {
        let pairs = level.chunks(2);
        level = pairs
            .map(|nodes| match nodes {
                [left, right] => pair(*left, *right),
                single => single[0],
            })
            .collect();
    }
    level[0]
}

#[test]
fn batch_paths_lead_to_the_root_and_altered_ones_elsewhere() {
    let digests =
        prop::collection::vec(prop::array::uniform32(any::<u8>()).prop_map(Digest), 1..70);
    let strategy = (
        digests,
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0..256_usize,
    );
    let test = |(leaves, at, step, bit): (
        Vec<Digest>,
        prop::sample::Index,
        prop::sample::Index,
        usize,
    )| {
        let (top, paths) = build(&leaves);
        prop_assert_eq!(top, literal_root(leaves.clone()));
        for (leaf, path) in leaves.iter().zip(&paths) {
            prop_assert!(path.len() <= 7 && path.len() <= MERKLE_PATH_MAX);
            prop_assert_eq!(root(*leaf, path), Some(top));
        }
        let (leaf, path) = (*at.get(&leaves), at.get(&paths).clone());
        let mut other_leaf = leaf;
        other_leaf.0[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(root(other_leaf, &path), Some(top));
        let longer = [
            &path[..],
            &[PathStep {
                left: false,
                sibling: leaf,
            }],
        ]
        .concat();
        prop_assert_ne!(root(leaf, &longer), Some(top));
        if !path.is_empty() {
            let step = step.index(path.len());
            let mut altered = path.clone();
            altered[step].sibling.0[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(root(leaf, &altered), Some(top));
            let mut shorter = path;
            shorter.remove(step);
            prop_assert_ne!(root(leaf, &shorter), Some(top));
        }
        Ok(())
    };
    TestRunner::new(seeded(128, 1))
        .run(&strategy, test)
        .unwrap();
}

/// A signed root never stands for an inner node as if that were a message, nor the other way round.
#[test]
fn batch_a12_nodes_are_no_leaves() {
    let [one, two] = [Digest([1; 32]), Digest([2; 32])];
    let (top, _) = build(&[one, two]);
    assert_eq!(top, pair(one, two));
    assert_ne!(top, pair(two, one));
    let as_leaf = Hasher::new(Domain::Leaf).part(&one.0).part(&two.0).finish();
    assert_ne!(top, as_leaf);
}

/// `s_{((h(id,e) mod n) + (b-1) mod (f+1)) mod n}`, in 128 bits, where nothing overflows.
#[test]
fn ballot_owner_is_as_defined() {
    for (n, f) in [(1, 0), (4, 1), (6, 1), (7, 2), (40, 13)] {
        let size = ClusterSize::new(n, f).unwrap();
        for seq in 0..20 {
            let id = id_in("jobs", PublicKey([7; 32]), seq);
            for epoch in 0..4 {
                let hash = Hasher::new(Domain::Owner)
                    .part(&codec::encode(&id))
                    .number(u64::from(epoch))
                    .finish();
                for ballot in [1, 2, 3, 4, u32::MAX] {
                    let turn = u128::from(ballot - 1) % (f as u128 + 1);
                    let expected = (u128::from(hash.head()) + turn) % n as u128;
                    let built = owner(size, &id, Epoch(epoch), Ballot(ballot));
                    assert_eq!(built, ReplicaId(expected as u16));
                }
            }
        }
    }
}

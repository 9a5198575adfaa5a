//! Merkle batches: one signature for many messages (PROTOCOL section 2, "Signed message"). A batch
//! of one has the message's leaf as its root and an empty path.

use serde::{Deserialize, Serialize};

use super::hash::{Digest, Domain, Hasher};
use crate::limits::MERKLE_PATH_MAX;

/// One step from a leaf towards the root: the sibling, and on which side it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStep {
    /// True if the sibling is the left one of the pair.
    pub left: bool,
    /// The sibling's hash.
    pub sibling: Digest,
}

/// The root of these leaves and the path of each; `leaves` is not empty. A node without sibling
/// moves up unchanged.
pub fn build(leaves: &[Digest]) -> (Digest, Vec<Vec<PathStep>>) {
    let mut paths = vec![Vec::new(); leaves.len()];
    let mut level: Vec<(Digest, Vec<usize>)> = leaves
        .iter()
        .copied()
        .enumerate()
        .map(|(i, leaf)| (leaf, vec![i]))
        .collect();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| join(pair, &mut paths)).collect();
    }
    let root = level.first().expect("a batch has at least one message").0;
    (root, paths)
}

/// The root that a leaf and its path lead to; `None` if the path is longer than allowed.
pub fn root(leaf: Digest, path: &[PathStep]) -> Option<Digest> {
    if path.len() > MERKLE_PATH_MAX {
        return None;
    }
    Some(path.iter().fold(leaf, |hash, step| match step.left {
        true => node(step.sibling, hash),
        false => node(hash, step.sibling),
    }))
}

fn join(pair: &[(Digest, Vec<usize>)], paths: &mut [Vec<PathStep>]) -> (Digest, Vec<usize>) {
    let [(left, below_left), (right, below_right)] = pair else {
        return pair.first().expect("a chunk is not empty").clone();
    };
    for &leaf in below_left {
        paths[leaf].push(PathStep {
            left: false,
            sibling: *right,
        });
    }
    for &leaf in below_right {
        paths[leaf].push(PathStep {
            left: true,
            sibling: *left,
        });
    }
    let below = below_left.iter().chain(below_right).copied().collect();
    (node(*left, *right), below)
}

fn node(left: Digest, right: Digest) -> Digest {
    Hasher::new(Domain::Node)
        .part(&left.0)
        .part(&right.0)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(number: u64) -> Digest {
        Hasher::new(Domain::Leaf).number(number).finish()
    }

    #[test]
    fn batch_every_leaf_leads_to_the_root() {
        for size in 1..=33 {
            let leaves: Vec<_> = (0..size).map(leaf).collect();
            let (top, paths) = build(&leaves);
            for (leaf, path) in leaves.iter().zip(&paths) {
                assert_eq!(root(*leaf, path), Some(top), "size {size}");
            }
            assert_ne!(root(leaf(99), &paths[0]), Some(top));
        }
    }

    #[test]
    fn batch_of_one_is_its_leaf() {
        assert_eq!(build(&[leaf(1)]), (leaf(1), vec![vec![]]));
    }

    #[test]
    fn batch_path_longer_than_32_is_refused() {
        let step = PathStep {
            left: true,
            sibling: leaf(0),
        };
        assert!(root(leaf(1), &[step; MERKLE_PATH_MAX]).is_some());
        assert!(root(leaf(1), &[step; MERKLE_PATH_MAX + 1]).is_none());
    }
}

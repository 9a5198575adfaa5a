//! Sizes of the quorums of a cluster, and the intersection lemmas they rest on. No other file does
//! arithmetic on `n` and `f` (R-1.1; the paper's asymmetric quorums, section 3).

use thiserror::Error;

use crate::limits::REPLICAS_MAX;

/// How many replicas a cluster has and how many of them may be Byzantine.
///
/// | name | symbol | value |
/// |---|---|---|
/// | [`ack_quorum`](Self::ack_quorum) | q | ceil((n+f+1)/2) |
/// | [`fast_quorum`](Self::fast_quorum) | F | floor((n+3f)/2)+1 |
/// | [`promise_quorum`](Self::promise_quorum) | P | n-f |
/// | [`forced_votes`](Self::forced_votes) | T | F-2f |
/// | [`doubt_votes`](Self::doubt_votes) | R | F+q-n-f |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterSize {
    n: usize,
    f: usize,
}

/// Why a pair of `n` and `f` is no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClusterSizeError {
    /// Fewer replicas than the faults to be survived demand.
    #[error(
        "{n} replicas cannot survive f = {f} Byzantine ones: at least 3f+1 = {} are needed",
        f.saturating_mul(3).saturating_add(1)
    )]
    TooFewReplicas {
        /// Replicas configured.
        n: usize,
        /// Faults configured.
        f: usize,
    },
    /// No replica at all, or more than the wire format's bounds allow for.
    #[error("{n} replicas: a cluster has 1 to {REPLICAS_MAX}")]
    OutOfRange {
        /// Replicas configured.
        n: usize,
    },
}

impl ClusterSize {
    /// A cluster of `n` replicas that survives `f` Byzantine ones.
    pub fn new(n: usize, f: usize) -> Result<Self, ClusterSizeError> {
        if n == 0 || n > REPLICAS_MAX {
            return Err(ClusterSizeError::OutOfRange { n });
        }
        if f > (n - 1) / 3 {
            return Err(ClusterSizeError::TooFewReplicas { n, f });
        }
        Ok(Self { n, f })
    }

    /// Number of replicas, `n`.
    pub fn replicas(self) -> usize {
        self.n
    }

    /// Number of Byzantine replicas survived, `f`.
    pub fn faults(self) -> usize {
        self.f
    }

    /// `q`: acknowledgements, read replies and votes of a certificate. Two sets of this size share
    /// at least `f+1` replicas, so at least one correct one.
    pub fn ack_quorum(self) -> usize {
        self.q() - usize::from(mutant!(AckQuorumLess))
    }

    /// `F`: so many equal first votes decide at once. Fewer than `q` votes remain for any other
    /// value of ballot 0, even if all `f` liars vote twice.
    pub fn fast_quorum(self) -> usize {
        self.fast() - usize::from(mutant!(FastQuorumLess) && self.fast() > self.q())
    }

    /// `P`: promises of a recovery, all that can be waited for.
    pub fn promise_quorum(self) -> usize {
        self.n - self.f - usize::from(mutant!(PromiseQuorumLess))
    }

    /// `T`: so many first votes among exactly `P` promises force their value. After a fast
    /// decision every `P` promises hold at least `T` votes for it and fewer for any other.
    pub fn forced_votes(self) -> usize {
        self.fast() - 2 * self.f + usize::from(mutant!(ForcedVotesMore))
            - usize::from(mutant!(ForcedVotesLess))
    }

    /// `R`: so many first votes for one Take among `q` read replies: the entry may be gone. It is
    /// more than `f`, so liars alone put nothing in doubt.
    pub fn doubt_votes(self) -> usize {
        self.fast() + self.q() - self.n - self.f + usize::from(mutant!(DoubtVotesMore))
    }

    /// `f+1`: so many equal claims hold one of a correct replica, and are a fact.
    pub fn fact_quorum(self) -> usize {
        match mutant!(FactQuorumLess) {
            true => self.f.max(1),
            false => self.f + 1,
        }
    }

    /// Number of co-proposers, `f+1` as in the paper: at least one is correct.
    pub fn co_proposers(self) -> usize {
        self.f + 1
    }

    fn q(self) -> usize {
        (self.n + self.f + 1).div_ceil(2)
    }

    fn fast(self) -> usize {
        (self.n + 3 * self.f) / 2 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorum_sizes_table() {
        let row = |n, f| {
            let c = ClusterSize::new(n, f).expect("a legal cluster");
            (
                c.ack_quorum(),
                c.fast_quorum(),
                c.promise_quorum(),
                c.forced_votes(),
                c.doubt_votes(),
            )
        };
        assert_eq!(row(4, 1), (3, 4, 3, 2, 2));
        assert_eq!(row(6, 1), (4, 5, 5, 3, 2));
        assert_eq!(row(7, 2), (5, 7, 5, 3, 3));
    }

    ///
    #[test]
    fn quorum_lemmas_all_sizes() {
        let mut pairs = 0;
        for n in 1..=REPLICAS_MAX {
            for f in 0..=(n - 1) / 3 {
                let c = ClusterSize::new(n, f).expect("a legal cluster");
                let (q, fast, p) = (c.ack_quorum(), c.fast_quorum(), c.promise_quorum());
                let (t, r) = (c.forced_votes(), c.doubt_votes());
                assert!(q <= n - f && 2 * q > n + f, "q of {n},{f}");
                assert!(q <= fast && fast <= n, "F of {n},{f}");
                assert!(
                    n - fast + f < q,
                    "a rival certificate beside F votes, {n},{f}"
                );
                assert!(fast - (n - p) - f >= t, "T votes are met, {n},{f}");
                assert!(n - fast + f < t, "a rival stays under T, {n},{f}");
                assert!(fast - (n - q) - f >= r && r > f, "R of {n},{f}");
                assert!(2 * t > p, "T is unique among P, {n},{f}");
                assert!(t > f || f == 0, "T holds a correct vote, {n},{f}");
                pairs += 1;
            }
        }
        assert!(pairs > 200, "the loop really ran: {pairs}");
    }

    #[test]
    fn quorum_too_few_replicas_refused() {
        let error = ClusterSize::new(3, 1).expect_err("3 < 3f+1");
        assert!(error.to_string().contains("at least 3f+1 = 4"), "{error}");
        let error = ClusterSize::new(4, usize::MAX).expect_err("absurd, but printable");
        assert!(error.to_string().contains("at least"), "{error}");
        assert!(ClusterSize::new(0, 0).is_err());
        assert!(ClusterSize::new(REPLICAS_MAX + 1, 1).is_err());
    }
}

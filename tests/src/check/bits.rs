//! Sets of small numbers, as states and visited sets of the search.

/// A set of numbers below a bound that is fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bits(Box<[u64]>);

impl Bits {
    pub(super) fn new(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)].into())
    }

    pub(super) fn of(bound: usize, members: impl IntoIterator<Item = usize>) -> Self {
        let mut bits = Self::new(bound);
        members.into_iter().for_each(|member| bits.add(member));
        bits
    }

    pub(super) fn add(&mut self, member: usize) {
        self.0[member / 64] |= 1 << (member % 64);
    }

    pub(super) fn has(&self, member: usize) -> bool {
        self.0[member / 64] >> (member % 64) & 1 == 1
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    pub(super) fn holds(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & b == *b)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// This set without `less`, and with `more`.
    pub(super) fn change(&self, less: &Self, more: &Self) -> Self {
        let words = self.0.iter().zip(&less.0).zip(&more.0);
        Self(
            words
                .map(|((own, less), more)| own & !less | more)
                .collect(),
        )
    }

    /// Two sets in one, as a key of a visited set.
    pub(super) fn joined(&self, other: &Self) -> Box<[u64]> {
        self.0.iter().chain(&other.0).copied().collect()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|member| self.has(*member))
    }
}

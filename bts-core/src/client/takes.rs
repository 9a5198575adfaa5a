//! Numbers of the session's Takes: each engagement draws a new one, and below which all are settled
//! is told with every request (R-7.4 (G4)).

use std::collections::BTreeSet;

use crate::ids::TakeNumber;

/// Which Takes are not settled: neither decided nor released as far as this client knows.
#[derive(Debug, Default)]
pub(super) struct TakeNumbers {
    drawn: u64,
    unsettled: BTreeSet<u64>,
}

impl TakeNumbers {
    /// A new number, unsettled.
    pub(super) fn draw(&mut self) -> TakeNumber {
        let number = self.drawn;
        self.drawn += 1;
        self.unsettled.insert(number);
        TakeNumber(number)
    }

    /// True if there was a Take.
    pub(super) fn any_drawn(&self) -> bool {
        self.drawn > 0
    }

    /// The end of this Take is known.
    pub(super) fn settle(&mut self, number: TakeNumber) {
        self.unsettled.remove(&number.0);
    }

    /// All below are settled.
    pub(super) fn settled_below(&self) -> TakeNumber {
        TakeNumber(self.unsettled.first().copied().unwrap_or(self.drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    ///
    #[test]
    fn takes_g4_lowest_unsettled_counts() {
        let mut takes = TakeNumbers::default();
        assert_eq!(takes.settled_below(), TakeNumber(0));
        let [one, two, three] = [takes.draw(), takes.draw(), takes.draw()];
        takes.settle(two);
        assert_eq!(takes.settled_below(), one, "one may still be decided");
        takes.settle(one);
        assert_eq!(takes.settled_below(), three);
        takes.settle(three);
        assert_eq!(
            takes.settled_below(),
            TakeNumber(3),
            "the next one is not settled"
        );
    }
}

//! How long operations took: counted in classes that are less than one percent wide, so that a
//! run of any length needs little memory.

use std::time::Duration;

/// Classes per doubling.
const CLASSES: u64 = 128;
const CLASSES_BITS: u32 = CLASSES.ilog2();

/// The counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, took: Duration) {
        let class = class_of(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] += 1;
        self.total += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (own, others) in self.counts.iter_mut().zip(&other.counts) {
            *own += others;
        }
        self.total += other.total;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// What so many of a thousand did not exceed; `None` if there were none at all.
    pub(super) fn per_mille(&self, per_mille: u64) -> Option<Duration> {
        self.of_rank((self.total * per_mille).div_ceil(1000))
    }

    /// The same of a share from 0 to 1.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        self.of_rank(((self.total as f64 * share).ceil() as u64).min(self.total))
    }

    fn of_rank(&self, rank: u64) -> Option<Duration> {
        let rank = rank.max(1);
        let mut seen = 0;
        let class = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        class.map(|class| Duration::from_nanos(middle_of(class)))
    }
}

/// Below [`CLASSES`] each value is a class, above each doubling has so many.
fn class_of(nanos: u64) -> usize {
    let class = match nanos.checked_ilog2() {
        Some(log) if log >= CLASSES_BITS => {
            let shift = log - CLASSES_BITS;
            (u64::from(shift) + 1) * CLASSES + (nanos >> shift) - CLASSES
        }
        _ => nanos,
    };
    class as usize
}

fn middle_of(class: usize) -> u64 {
    let class = class as u64;
    match (class / CLASSES).checked_sub(1) {
        Some(shift) => ((CLASSES + class % CLASSES) << shift) + ((1 << shift) / 2),
        None => class,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn histogram_of_nothing_says_nothing() {
        assert_eq!(Histogram::default().per_mille(500), None);
    }

    proptest! {
        #[test]
        fn histogram_is_as_exact_as_it_says(
            nanos in prop::collection::vec(0..1u64 << 50, 1..300),
            cut in 0..300usize,
            per_mille in 0..=1000u64,
        ) {
            let cut = cut.min(nanos.len());
            let (mut one, mut other) = (Histogram::default(), Histogram::default());
            nanos[..cut].iter().for_each(|ns| one.add(Duration::from_nanos(*ns)));
            nanos[cut..].iter().for_each(|ns| other.add(Duration::from_nanos(*ns)));
            one.merge(&other);
            prop_assert_eq!(one.total(), nanos.len() as u64);
            let mut sorted = nanos;
            sorted.sort_unstable();
            let rank = (sorted.len() * per_mille as usize).div_ceil(1000).max(1);
            let exact = sorted[rank - 1] as f64;
            let found = one.per_mille(per_mille).expect("there are some").as_nanos() as f64;
            prop_assert!((found - exact).abs() <= exact / 100.0, "{} is not {}", found, exact);
        }
    }
}

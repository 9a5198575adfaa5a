//! What was acknowledged against what is there.

use std::collections::BTreeMap;

/// Tuples that are not there exactly as often as they must be, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Acknowledged, taken by nobody, and not there.
    pub lost: Vec<u64>,
    /// There although taken, there twice, taken by two, or never written.
    pub doubled: Vec<u64>,
}

#[derive(Default)]
struct Entry {
    written: u64,
    taken: u64,
    listed: u64,
}

impl Accounts {
    /// Compares, when no operation is under way and every one was answered: the numbers that were
    /// written, those that were taken, and those of a listing after that.
    pub fn of(written: &[u64], taken: &[u64], listed: &[u64]) -> Self {
        let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
        for number in written {
            entries.entry(*number).or_default().written += 1;
        }
        for number in taken {
            entries.entry(*number).or_default().taken += 1;
        }
        for number in listed {
            entries.entry(*number).or_default().listed += 1;
        }
        let mut accounts = Self::default();
        for (number, entry) in entries {
            let found = entry.taken + entry.listed;
            if found < entry.written {
                accounts.lost.push(number);
            }
            if found > entry.written {
                accounts.doubled.push(number);
            }
        }
        accounts
    }

    /// The same when so many operations were given up, each of which may have taken one tuple and written
    /// some that nobody was told of: what that explains is not held against anybody.
    pub fn with_open(written: &[u64], taken: &[u64], listed: &[u64], open: usize) -> Self {
        let known = |number: &u64| written.contains(number) || taken.contains(number);
        let listed: Vec<u64> = listed.iter().copied().filter(known).collect();
        let mut accounts = Self::of(written, taken, &listed);
        accounts.lost.drain(..open.min(accounts.lost.len()));
        // Taken once, and written by one who was never told: only a second taking is one too many.
        accounts.doubled.retain(|number| {
            let times = |all: &[u64]| all.iter().filter(|one| *one == number).count();
            times(taken) + times(&listed) > 1
        });
        accounts
    }

    /// True if nothing is wrong.
    pub fn are_right(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(lost: &[u64], doubled: &[u64]) -> Accounts {
        Accounts {
            lost: lost.to_vec(),
            doubled: doubled.to_vec(),
        }
    }

    #[test]
    fn accounts_of_what_is_taken_or_there_are_right() {
        let accounts = Accounts::of(&[1, 2, 3], &[2], &[3, 1]);
        assert!(accounts.are_right(), "{accounts:?}");
    }

    #[test]
    fn accounts_name_what_is_lost() {
        assert_eq!(Accounts::of(&[1, 2, 3], &[2], &[3]), wrong(&[1], &[]));
    }

    #[test]
    fn accounts_with_open_operations_allow_what_these_explain() {
        let accounts = Accounts::with_open(&[1, 2], &[2, 3], &[4], 1);
        assert!(accounts.are_right(), "{accounts:?}");
        let accounts = Accounts::with_open(&[1, 2], &[], &[], 1);
        assert_eq!(accounts, wrong(&[2], &[]));
        let accounts = Accounts::with_open(&[1], &[1], &[1], 1);
        assert_eq!(accounts, wrong(&[], &[1]));
    }

    #[test]
    fn accounts_name_what_came_back_or_came_twice() {
        assert_eq!(Accounts::of(&[1], &[1], &[1]), wrong(&[], &[1]));
        assert_eq!(Accounts::of(&[1], &[1, 1], &[]), wrong(&[], &[1]));
        assert_eq!(Accounts::of(&[1], &[], &[1, 1]), wrong(&[], &[1]));
        assert_eq!(Accounts::of(&[], &[], &[7]), wrong(&[], &[7]));
    }
}

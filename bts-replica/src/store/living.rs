//! Which records are in a file, and which of them live: some four bytes per record.

/// Records, whose numbers rise.
#[derive(Clone, Debug, Default)]
pub(super) struct Living {
    first: u64,
    /// Numbers, as distances from the first.
    distances: Vec<u32>,
    /// A bit for each: whether it lives.
    alive: Vec<u64>,
    count: u64,
}

impl Living {
    /// Whether a record of this number can be added.
    pub(super) fn admits(&self, lsn: u64) -> bool {
        match self.span() {
            Some((first, last)) => lsn > last && u32::try_from(lsn - first).is_ok(),
            None => true,
        }
    }

    /// Adds a record, alive. False if it is not admitted.
    pub(super) fn push(&mut self, lsn: u64) -> bool {
        if !self.admits(lsn) {
            return false;
        }
        if self.distances.is_empty() {
            self.first = lsn;
        }
        let place = self.distances.len();
        self.distances.push((lsn - self.first) as u32);
        if place.is_multiple_of(64) {
            self.alive.push(0);
        }
        if let Some(bits) = self.alive.last_mut() {
            *bits |= 1 << (place % 64);
        }
        self.count += 1;
        true
    }

    /// No more will be added.
    pub(super) fn shrink(&mut self) {
        self.distances.shrink_to_fit();
        self.alive.shrink_to_fit();
    }

    /// The first and the last.
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let last = self.distances.last()?;
        Some((self.first, self.first + u64::from(*last)))
    }

    /// How many there are.
    pub(super) fn records(&self) -> u64 {
        self.distances.len() as u64
    }

    /// How many live.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn place(&self, lsn: u64) -> Option<usize> {
        let distance = u32::try_from(lsn.checked_sub(self.first)?).ok()?;
        // Mostly there is no gap before it.
        let guess = distance as usize;
        if self.distances.get(guess) == Some(&distance) {
            return Some(guess);
        }
        self.distances.binary_search(&distance).ok()
    }

    /// Whether a record is there, alive or dead.
    pub(super) fn has(&self, lsn: u64) -> bool {
        self.place(lsn).is_some()
    }

    /// Whether a record is there and lives.
    pub(super) fn lives(&self, lsn: u64) -> bool {
        self.place(lsn).is_some_and(|place| self.is_alive(place))
    }

    fn is_alive(&self, place: usize) -> bool {
        let bits = self.alive.get(place / 64);
        bits.is_some_and(|bits| bits >> (place % 64) & 1 == 1)
    }

    /// A record is dead. False if it was before, or is not there.
    pub(super) fn kill(&mut self, lsn: u64) -> bool {
        let place = self.place(lsn).filter(|place| self.is_alive(*place));
        place.is_some_and(|place| self.kill_at(place))
    }

    fn kill_at(&mut self, place: usize) -> bool {
        if let Some(bits) = self.alive.get_mut(place / 64) {
            *bits &= !(1 << (place % 64));
            self.count -= 1;
        }
        true
    }

    /// Only these live.
    pub(super) fn kill_all_but(&mut self, lives: impl Fn(u64) -> bool) {
        for place in 0..self.distances.len() {
            let lsn = self.first + u64::from(self.distances[place]);
            if self.is_alive(place) && !lives(lsn) {
                self.kill_at(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn living_of_numbers_with_gaps() {
        let mut living = Living::default();
        assert_eq!(living.span(), None);
        let lsns: Vec<u64> = (10..100).chain(1000..1100).collect();
        assert!(lsns.iter().all(|lsn| living.push(*lsn)));
        assert!(!living.push(1099), "it is there");
        assert!(!living.push(10 + (1 << 32)), "it is too far away");
        assert_eq!(living.span(), Some((10, 1099)));
        assert!(living.kill(1003) && !living.kill(1003) && !living.kill(500));
        assert!(living.has(1003) && !living.lives(1003) && living.lives(1004));
        living.kill_all_but(|lsn| lsn % 2 == 0);
        let left: Vec<u64> = (0..2000).filter(|lsn| living.lives(*lsn)).collect();
        assert_eq!(living.count(), left.len() as u64);
        assert!(left.iter().all(|lsn| lsn % 2 == 0 && lsns.contains(lsn)));
        assert_eq!(living.records(), lsns.len() as u64);
    }
}

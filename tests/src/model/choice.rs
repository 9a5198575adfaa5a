//! What a faulty owner may propose: every choice that any valid promises allow, each set of
//! promises asked once.

use std::collections::HashMap;

use bts_core::consensus::choose::choose;

use super::material::{Material, Told};
use super::seen::BuildFx;
use super::{Bounds, Pick, Picks, Twist};

/// A promise by number: what it tells, plus one; 0 is none.
pub(super) type Code = u8;

/// The choices of one epoch's owners.
pub(super) struct Choices {
    bounds: Bounds,
    epoch: u8,
    promises: usize,
    forced: usize,
    by_set: HashMap<(u8, Vec<Code>), Picks, BuildFx>,
    by_all: HashMap<(u8, u64, u64), Picks, BuildFx>,
}

impl Choices {
    pub(super) fn new(bounds: &Bounds, material: &Material, epoch: u8) -> Self {
        let size = material.size();
        let (promises, forced) = (size.promise_quorum(), size.forced_votes());
        let (promises, forced) = match bounds.twist {
            Some(Twist::FewerPromises) => (promises - 1, forced),
            Some(Twist::FewerForced) => (promises, forced - 1),
            Some(Twist::MoreForced) => (promises, forced + 1),
            _ => (promises, forced),
        };
        Self {
            bounds: bounds.clone(),
            epoch,
            promises,
            forced,
            by_set: HashMap::default(),
            by_all: HashMap::default(),
        }
    }

    /// How many questions were asked.
    pub(super) fn asked(&self) -> usize {
        self.by_set.len()
    }

    /// The number of a promise that tells this.
    pub(super) fn code(&self, told: Told) -> Code {
        let values = self.bounds.takes + 1;
        let first = told.first.map_or(0, |pick| pick + 1);
        let lock = told
            .lock
            .map_or(0, |(ballot, pick)| 1 + ballot * values + pick);
        1 + first + values * lock
    }

    /// What the promise of this number tells.
    pub(super) fn told(&self, code: Code) -> Told {
        let values = self.bounds.takes + 1;
        let (first, lock) = ((code - 1) % values, (code - 1) / values);
        let lock = lock.checked_sub(1);
        Told {
            first: first.checked_sub(1),
            lock: lock.map(|lock| (lock / values, lock % values)),
        }
    }

    /// All values that may be proposed in this ballot if correct replicas gave these promises (0:
    /// none): `P` of them, or fewer with some by faulty replicas, which tell whatever helps but
    /// cannot forge a lock. `locks` are the values locked per ballot, plus one.
    pub(super) fn permitted(
        &mut self,
        material: &Material,
        ballot: u8,
        given: &[Code],
        locks: &[u8],
    ) -> Picks {
        let mut given: Vec<_> = given.iter().copied().filter(|code| *code > 0).collect();
        if given.len() + self.bounds.faults < self.promises {
            return 0;
        }
        given.sort_unstable();
        let lower = &locks[..usize::from(ballot).min(locks.len())];
        let pack = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let key = (ballot, pack(&given), pack(lower));
        if let Some(known) = self.by_all.get(&key) {
            return *known;
        }
        let claims = self.claims(lower);
        let mut picks = 0;
        for subset in 0..1u32 << given.len() {
            let chosen = (0..given.len()).filter(|index| subset >> index & 1 == 1);
            let chosen: Vec<_> = chosen.map(|index| given[index]).collect();
            let lacking = self.promises.checked_sub(chosen.len());
            if let Some(lacking) = lacking.filter(|lacking| *lacking <= self.bounds.faults) {
                picks |= self.completed(material, ballot, chosen, &claims, lacking);
            }
        }
        self.by_all.insert(key, picks);
        picks
    }

    /// What faulty replicas can claim.
    fn claims(&self, locks: &[u8]) -> Vec<Code> {
        let ballots = (0..).zip(locks).filter(|(_, lock)| **lock > 0);
        let locks = ballots.map(|(ballot, lock)| Some((ballot, lock - 1)));
        let firsts = || (0..self.bounds.takes).map(Some).chain([None]);
        locks
            .chain([None])
            .flat_map(|lock| firsts().map(move |first| Told { first, lock }))
            .map(|told| self.code(told))
            .collect()
    }

    fn completed(
        &mut self,
        material: &Material,
        ballot: u8,
        promises: Vec<Code>,
        claims: &[Code],
        lacking: usize,
    ) -> Picks {
        if lacking == 0 {
            return self.choice(material, ballot, promises);
        }
        let mut picks = 0;
        for (index, claim) in claims.iter().enumerate() {
            let mut promises = promises.clone();
            promises.push(*claim);
            picks |= self.completed(material, ballot, promises, &claims[index..], lacking - 1);
        }
        picks
    }

    fn choice(&mut self, material: &Material, ballot: u8, mut promises: Vec<Code>) -> Picks {
        promises.sort_unstable();
        let key = (ballot, promises);
        if let Some(picks) = self.by_set.get(&key) {
            return *picks;
        }
        let told: Vec<_> = key.1.iter().map(|code| self.told(*code)).collect();
        let picks = match self.bounds.transcribed || self.bounds.twist.is_some() {
            true => self.transcribed(&told),
            false => self.real(material, ballot, &told),
        };
        self.by_set.insert(key, picks);
        picks
    }

    fn real(&self, material: &Material, ballot: u8, told: &[Told]) -> Picks {
        let replicas = (0..).zip(told);
        let promises = replicas.map(|(i, told)| material.promise(self.epoch, i, ballot, *told));
        let choice = choose(material.size(), &promises.collect::<Vec<_>>());
        let choice = choice.expect("P valid promises of distinct replicas for one ballot");
        set_of(self.bounds.values(), |pick| {
            choice.permits(material.value(self.epoch, pick))
        })
    }

    /// as PROTOCOL section 5 words it, for epochs below 3, where all Takes are named and
    /// allowed.
    fn transcribed(&self, told: &[Told]) -> Picks {
        let takes = 0..self.bounds.takes;
        let highest = told
            .iter()
            .filter_map(|told| told.lock)
            .map(|(ballot, _)| ballot)
            .max();
        let locked = set_of(self.bounds.values(), |pick| {
            highest.is_some_and(|highest| told.iter().any(|t| t.lock == Some((highest, pick))))
        });
        let voted = set_of(takes, |pick| {
            told.iter().filter(|told| told.first == Some(pick)).count() >= self.forced
        });
        let release = 1 << self.bounds.release();
        let (one, other) = match self.bounds.twist {
            Some(Twist::VotesBeforeLocks) => (voted, locked),
            Some(Twist::ReleaseDespiteVotes) if voted > 0 => (locked, voted | release),
            _ => (locked, voted),
        };
        match (one, other) {
            (0, 0) => set_of(self.bounds.values(), |_| true),
            (0, other) => other,
            (one, _) => one,
        }
    }
}

fn set_of(picks: impl Iterator<Item = Pick>, is_in: impl Fn(Pick) -> bool) -> Picks {
    picks
        .filter(|pick| is_in(*pick))
        .fold(0, |set, pick| set | 1 << pick)
}

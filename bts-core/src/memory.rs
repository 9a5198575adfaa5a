//! Lost memories: a replica that comes back with another store than before, or with an older copy
//! of it, may have forgotten what it promised (A8). Its peers notice, for they remember its store; it
//! notices by what they say; and it takes no part before enough of them have welcomed it. Pure:
//! connections and disks belong to the shell.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{Incarnation, Lsn, ReplicaId};
use crate::quorum::ClusterSize;

/// What is remembered of a peer's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its random identity.
    pub incarnation: Incarnation,
    /// Its log was durable up to here.
    pub position: Lsn,
}

/// The peers met so far.
pub type Peers = BTreeMap<ReplicaId, Known>;

/// What a peer says of its store, at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Its random identity.
    pub incarnation: Incarnation,
    /// Its log is durable up to here.
    pub position: Lsn,
    /// Another one for each start of its process: within one, greetings may overtake one another, and
    /// a lower position is no sign of a loss.
    pub run: u64,
}

/// What a peer has lost.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MemoryLoss {
    /// It comes with another store.
    #[error(
        "replica {0} lost its memory: it speaks with another incarnation than before, and may have \
         forgotten promises, so it has to stay out until it is replaced under a new key"
    )]
    Whole(ReplicaId),
    /// It comes with an older copy of its store.
    #[error(
        "replica {peer} lost a part of its memory: its log ends at {now} and was durable up to \
         {before}, so it came back with an older copy of its store. It may have forgotten promises, \
         and has to stay out until it is replaced under a new key"
    )]
    Part {
        /// Who.
        peer: ReplicaId,
        /// Its log ends here.
        now: Lsn,
        /// It was durable up to here.
        before: Lsn,
    },
}

/// What one replica remembers of the stores of its peers. The shell makes it durable before it welcomes
/// anybody.
#[derive(Debug, Default)]
pub struct Acquaintances {
    peers: Peers,
    /// The process of each that was met last, in this run.
    runs: BTreeMap<ReplicaId, u64>,
    /// Something of it was not handed to the store yet.
    is_new: bool,
}

impl Acquaintances {
    /// Those of earlier runs.
    pub fn new(peers: Peers) -> Self {
        Self {
            peers,
            ..Self::default()
        }
    }

    /// Whether this peer, who presents itself so, has all of its memory.
    pub fn meet(&mut self, peer: ReplicaId, presented: Presented) -> Result<(), MemoryLoss> {
        let Presented {
            incarnation,
            position,
            run,
        } = presented;
        let known = self.peers.get(&peer).copied();
        let is_other = known.is_some_and(|known| known.incarnation != incarnation);
        if is_other && !mutant!(LostMemoryWelcomed) {
            return Err(MemoryLoss::Whole(peer));
        }
        let before = known.map_or(Lsn(0), |known| known.position);
        let is_shorter = position < before && self.runs.get(&peer) != Some(&run);
        if is_shorter && !mutant!(LostMemoryWelcomed) {
            return Err(MemoryLoss::Part {
                peer,
                now: position,
                before,
            });
        }
        self.runs.insert(peer, run);
        let now = Known {
            incarnation,
            position: position.max(before),
        };
        self.is_new |= known != Some(now);
        self.peers.insert(peer, now);
        Ok(())
    }

    /// A peer told that its log was durable up to here: if it comes back with less, it lost a part of it.
    pub fn hear(&mut self, peer: ReplicaId, position: Lsn) {
        let known = self.peers.get_mut(&peer);
        if let Some(known) = known.filter(|known| known.position < position) {
            known.position = position;
            self.is_new = true;
        }
    }

    /// All of it, if something is not in the store yet; it counts as handed over.
    pub fn news(&mut self) -> Option<Peers> {
        std::mem::take(&mut self.is_new).then(|| self.peers.clone())
    }

    /// What was handed over is not in the store.
    pub fn forget_handed_over(&mut self) {
        self.is_new = true;
    }
}

/// What the peers of a replica think of its store, in one run of it.
#[derive(Debug)]
pub struct Welcomes {
    size: ClusterSize,
    welcomed: BTreeSet<ReplicaId>,
    disowned: BTreeSet<ReplicaId>,
}

/// What follows from all that peers said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// Nothing yet.
    Open,
    /// All correct peers may have welcomed the store. One that is not what it was never comes so far, as
    /// enough of them remember.
    Remembered,
    /// One of those who say that it has lost something must be correct.
    Disowned,
}

impl Welcomes {
    /// Nobody has said anything yet.
    pub fn new(size: ClusterSize) -> Self {
        Self {
            size,
            welcomed: BTreeSet::new(),
            disowned: BTreeSet::new(),
        }
    }

    /// A peer has welcomed this store, and remembers it durably.
    pub fn welcomed_by(&mut self, peer: ReplicaId) -> Opinion {
        self.welcomed.insert(peer);
        self.disowned.remove(&peer);
        self.opinion()
    }

    /// A peer says that this store has lost something.
    pub fn disowned_by(&mut self, peer: ReplicaId) -> Opinion {
        self.welcomed.remove(&peer);
        self.disowned.insert(peer);
        self.opinion()
    }

    /// What follows from it.
    pub fn opinion(&self) -> Opinion {
        let enough = match mutant!(UsedUnremembered) {
            true => 2.min(self.size.promise_quorum()),
            false => self.size.promise_quorum(),
        };
        if self.disowned.len() >= self.size.fact_quorum() {
            Opinion::Disowned
        } else if self.welcomed.len() + 1 >= enough {
            Opinion::Remembered
        } else {
            Opinion::Open
        }
    }
}

/// Whether a replica takes part: hears peers and clients, and lets time pass for its instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Too few peers have welcomed its store in this run; one that is new says nothing of that yet
    /// (`is_confirmed`).
    Starting {
        /// The store says that enough peers remember it.
        is_confirmed: bool,
    },
    /// It does.
    Ready,
    /// It has lost something, and never will.
    Disowned,
}

impl Standing {
    /// At the start of a replica with this store.
    pub fn of_store(is_confirmed: bool) -> Self {
        Self::Starting { is_confirmed }
    }

    /// True if it takes part.
    pub fn takes_part(self) -> bool {
        self == Self::Ready
    }

    /// What peers think is known. True if the store is to say now that it is confirmed; when it does,
    /// [`Self::confirmed`].
    #[must_use = "a new store is confirmed before it is used"]
    pub fn judged(&mut self, opinion: Opinion) -> bool {
        match (*self, opinion) {
            (_, Opinion::Disowned) => *self = Self::Disowned,
            (Self::Starting { is_confirmed: true }, Opinion::Remembered) => *self = Self::Ready,
            (
                Self::Starting {
                    is_confirmed: false,
                },
                Opinion::Remembered,
            ) => return true,
            (Self::Starting { .. }, Opinion::Open)
            | (Self::Ready | Self::Disowned, Opinion::Open | Opinion::Remembered) => {}
        }
        false
    }

    /// The store says that enough peers remember it, and so do they.
    pub fn confirmed(&mut self) {
        if let Self::Starting { .. } = self {
            *self = Self::Ready;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: ReplicaId = ReplicaId(1);

    fn presented(incarnation: u64, position: u64, run: u64) -> Presented {
        Presented {
            incarnation: Incarnation(incarnation),
            position: Lsn(position),
            run,
        }
    }

    /// A8, and no more than that: greetings of one process may overtake one another.
    #[test]
    fn memory_a8_shorter_log_is_refused_but_not_a_late_greeting() {
        let mut met = Acquaintances::default();
        assert_eq!(met.meet(PEER, presented(7, 10, 1)), Ok(()));
        assert_eq!(met.news().expect("it is new")[&PEER].position, Lsn(10));
        assert_eq!(met.meet(PEER, presented(7, 30, 1)), Ok(()));
        assert_eq!(met.meet(PEER, presented(7, 20, 1)), Ok(()), "said before");
        assert_eq!(met.news().expect("it grew")[&PEER].position, Lsn(30));
        assert_eq!(met.news(), None);
        let other = met.meet(PEER, presented(8, 40, 1));
        assert_eq!(other, Err(MemoryLoss::Whole(PEER)));
        let (peer, now, before) = (PEER, Lsn(20), Lsn(30));
        let rolled_back = Err(MemoryLoss::Part { peer, now, before });
        assert_eq!(met.meet(PEER, presented(7, 20, 2)), rolled_back);
        assert_eq!(met.meet(PEER, presented(7, 20, 2)), rolled_back, "it stays");
        assert_eq!(met.meet(PEER, presented(7, 30, 2)), Ok(()));
        assert_eq!(met.news(), None);
        met.hear(PEER, Lsn(20));
        met.hear(ReplicaId(2), Lsn(90));
        assert_eq!(met.news(), None, "nothing new, and nobody who was met");
        met.hear(PEER, Lsn(50));
        assert_eq!(met.news().expect("it grew")[&PEER].position, Lsn(50));
        assert!(met.meet(PEER, presented(7, 40, 3)).is_err(), "it told 50");
        assert_eq!(met.meet(PEER, presented(7, 50, 3)), Ok(()));
        met.forget_handed_over();
        assert_eq!(met.news().expect("again").len(), 1);
    }

    /// In clusters of every size: who lost its memory is not welcomed by enough, whoever lies, and who lost
    /// nothing is not disowned by liars.
    #[test]
    fn memory_a8_who_lost_it_is_never_remembered() {
        for (n, f) in [(3, 0), (4, 1), (5, 1), (7, 2), (10, 3)] {
            let size = ClusterSize::new(n, f).expect("a legal size");
            // It was confirmed once: of n-1-f peers that remember at most f-1 are liars, as it counts itself.
            let liars = f.saturating_sub(1);
            let remember = n - 1 - f - liars;
            let mut welcomes = Welcomes::new(size);
            let peers = (1..).map(ReplicaId);
            let opinions = peers.take(n - 1 - remember);
            let opinions: Vec<_> = opinions.map(|peer| welcomes.welcomed_by(peer)).collect();
            if f > 0 {
                assert!(!opinions.contains(&Opinion::Remembered), "n = {n}");
            }
            let mut welcomes = Welcomes::new(size);
            let liars = (1..).map(ReplicaId).take(f);
            liars.for_each(|liar| assert_eq!(welcomes.disowned_by(liar), Opinion::Open));
        }
    }

    #[test]
    fn memory_new_store_is_confirmed_before_it_is_used_and_a_lost_one_never() {
        let mut new = Standing::of_store(false);
        assert!(!new.judged(Opinion::Open) && !new.takes_part());
        assert!(new.judged(Opinion::Remembered) && !new.takes_part());
        new.confirmed();
        assert!(new.takes_part());
        let mut old = Standing::of_store(true);
        assert!(!old.takes_part(), "nobody has looked at it in this run");
        assert!(!old.judged(Opinion::Remembered) && old.takes_part());
        assert!(!old.judged(Opinion::Disowned) && !old.takes_part());
        old.confirmed();
        assert!(!old.judged(Opinion::Remembered));
        assert_eq!(old, Standing::Disowned);
    }
}

//! Agreement inside one instance, checked in every reachable state for n = 4, f = 1, two Takes and
//! ballots 0 and 1, with the real acceptors, certificates, promises and value choice.
//!
//! The network holds every statement ever signed and delivers anything to anybody at any time, so
//! clients and proposers need no state: whatever certificate or Propose can be put together may
//! reach any acceptor. All proposers are faulty, and replica 3 signs whatever helps.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bts_core::consensus::choose::choose;
use bts_core::consensus::instance::Instance;
use bts_core::ids::Ballot;

use crate::reference::{Rules, permitted};
use crate::support::Cluster;
use crate::workshop::{Pick, RELEASE, Told, Workshop};

const CORRECT: usize = 3;
const FAULTY: usize = 1;
const TAKES: [Pick; 2] = [0, 1];
const VALUES: [Pick; 3] = [0, 1, RELEASE];

/// A correct replica: its acceptor, and what it has signed besides votes that the acceptor shows.
#[derive(Clone, Default)]
struct Replica {
    instance: Instance,
    /// Its promise for ballot 1, as it was when it entered.
    promise: Option<Told>,
    /// Its commit votes in ballots 0 and 1.
    commits: [Option<Pick>; 2],
}

/// Distinguishes replicas that will behave differently.
type Key = (
    u32,
    Option<u8>,
    Option<Pick>,
    Option<(u32, Pick)>,
    Option<Told>,
    [Option<Pick>; 2],
);

/// A ballot and what the promises for it tell.
type Promises = (u32, Vec<Told>);

/// What was found on the way: the number of states, every value decided, and whether a state was
/// met in which two values were decided, locked in one ballot, or open for ballot 2 though one was
/// decided.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    states: usize,
    fast: BTreeSet<Pick>,
    slow: BTreeSet<(usize, Pick)>,
    disagreement: bool,
}

struct World {
    workshop: Workshop,
    rules: Rules,
    /// Whether the code chooses, or the transcription of the rule with `rules`.
    is_real: bool,
    choices: RefCell<BTreeMap<Promises, BTreeSet<Pick>>>,
}

impl World {
    fn real() -> Self {
        Self::with(|_| {}, true)
    }

    /// A world in which the rules are changed.
    fn with(change: impl Fn(&mut Rules), is_real: bool) -> Self {
        let workshop = Workshop::new(Cluster::of_four(), 0, &[true, true]);
        let mut rules = Rules::of(workshop.cluster.configuration.size());
        change(&mut rules);
        Self {
            workshop,
            rules,
            is_real,
            choices: RefCell::default(),
        }
    }

    /// Visits every state; stops at the first disagreement.
    fn explore(&self) -> Found {
        let start = vec![Replica::default(); CORRECT];
        let mut seen = BTreeSet::from([self.key(&start)]);
        let mut queue = VecDeque::from([start]);
        let mut found = Found::default();
        while let Some(state) = queue.pop_front() {
            found.states += 1;
            if !self.is_sound(&state, &mut found) {
                found.disagreement = true;
                return found;
            }
            for next in self.successors(&state) {
                if seen.insert(self.key(&next)) {
                    queue.push_back(next);
                }
            }
        }
        found
    }

    fn is_sound(&self, state: &[Replica], found: &mut Found) -> bool {
        let decided = self.decided(state, found);
        let locks = self.locks(state);
        let locked: BTreeSet<_> = locks.iter().map(|(ballot, _)| ballot).collect();
        if decided.len() > 1 || locked.len() < locks.len() {
            return false;
        }
        // Ballot 2, should all correct replicas enter it now.
        let promises: Vec<_> = state.iter().map(|replica| self.tells(replica)).collect();
        decided.is_empty() || self.proposals(2, &promises, &locks) == decided
    }

    /// All values for which enough votes exist, counting the faulty replica's.
    fn decided(&self, state: &[Replica], found: &mut Found) -> BTreeSet<Pick> {
        let mut decided = BTreeSet::new();
        for pick in VALUES {
            if self.first_votes(state, pick) + FAULTY >= self.rules.fast {
                found.fast.insert(pick);
                decided.insert(pick);
            }
            for ballot in 0..2 {
                let commits = state
                    .iter()
                    .filter(|r| r.commits[ballot] == Some(pick))
                    .count();
                if commits + FAULTY >= self.rules.quorum {
                    found.slow.insert((ballot, pick));
                    decided.insert(pick);
                }
            }
        }
        decided
    }

    fn successors(&self, state: &[Replica]) -> Vec<Vec<Replica>> {
        let locks = self.locks(state);
        let given: Vec<_> = state
            .iter()
            .filter_map(|replica| replica.promise.clone())
            .collect();
        let proposals = self.proposals(1, &given, &locks);
        let mut all = Vec::new();
        for (index, replica) in state.iter().enumerate() {
            let voted = TAKES
                .iter()
                .filter_map(|take| self.first_vote(replica, *take));
            let entered = self.entered(replica);
            let locked = locks.iter().filter_map(|lock| self.locked(replica, *lock));
            let prepared = proposals
                .iter()
                .filter_map(|pick| self.prepared(replica, *pick));
            for next in voted.chain(entered).chain(locked).chain(prepared) {
                let mut successor = state.to_vec();
                successor[index] = next;
                all.push(successor);
            }
        }
        all
    }

    fn first_vote(&self, replica: &Replica, take: Pick) -> Option<Replica> {
        let op = self.workshop.op(take);
        replica.instance.may_first_vote(op).ok()?;
        let mut next = replica.clone();
        next.instance.first_vote(op);
        Some(next)
    }

    /// Ballot 1, by its own timer or drawn along.
    fn entered(&self, replica: &Replica) -> Option<Replica> {
        if replica.instance.promised() > Ballot::ZERO {
            return None;
        }
        let mut next = replica.clone();
        next.promise = Some(self.tells(replica));
        next.instance.enter(Ballot(1));
        Some(next)
    }

    /// What it would promise now.
    fn tells(&self, replica: &Replica) -> Told {
        let lock = replica.instance.locked().map(|lock| lock.statement());
        Told {
            first: self.first_of(replica),
            lock: lock.map(|said| (said.ballot.0, self.workshop.pick(said.value))),
            takes: TAKES.to_vec(),
        }
    }

    fn locked(&self, replica: &Replica, (ballot, pick): (u32, Pick)) -> Option<Replica> {
        replica.instance.may_lock(Ballot(ballot)).ok()?;
        let mut next = self.at_ballot(replica, ballot);
        next.instance.lock(self.workshop.lock(ballot, pick));
        next.commits[ballot as usize] = Some(pick);
        Some(next)
    }

    fn prepared(&self, replica: &Replica, pick: Pick) -> Option<Replica> {
        let value = self.workshop.value(pick);
        replica.instance.may_prepare(Ballot(1), value).ok()?;
        let mut next = self.at_ballot(replica, 1);
        next.instance.prepare_vote(Ballot(1), value);
        Some(next)
    }

    fn at_ballot(&self, replica: &Replica, ballot: u32) -> Replica {
        match replica.instance.promised().0 < ballot {
            true => self.entered(replica).expect("it is below the ballot"),
            false => replica.clone(),
        }
    }

    /// The locks that can be put together.
    fn locks(&self, state: &[Replica]) -> Vec<(u32, Pick)> {
        let mut locks = Vec::new();
        for pick in VALUES {
            let prepared = state
                .iter()
                .filter(|replica| self.prepare_of(replica) == Some(pick));
            let votes = [self.first_votes(state, pick), prepared.count()];
            let enough = |votes: &usize| *votes > 0 && votes + FAULTY >= self.rules.quorum;
            let ballots = (0..).zip(votes).filter(|(_, votes)| enough(votes));
            locks.extend(ballots.map(|(ballot, _)| (ballot, pick)));
        }
        locks
    }

    /// All that a faulty owner of this ballot can justify: by correct promises alone, or with one by
    /// the faulty replica, which tells whatever helps, but cannot forge a lock.
    fn proposals(&self, ballot: u32, given: &[Told], locks: &[(u32, Pick)]) -> BTreeSet<Pick> {
        let lower = locks.iter().filter(|lock| lock.0 < ballot).copied();
        let claims: Vec<_> = lower
            .map(Some)
            .chain([None])
            .flat_map(|lock| [None, Some(0), Some(1)].map(|first| (first, lock)))
            .map(|(first, lock)| Told {
                first,
                lock,
                takes: TAKES.to_vec(),
            })
            .collect();
        let mut values = BTreeSet::new();
        for subset in 0..1 << given.len() {
            let chosen = (0..given.len()).filter(|index| subset >> index & 1 == 1);
            let mut promises: Vec<_> = chosen.map(|index| given[index].clone()).collect();
            promises.sort();
            if promises.len() == self.rules.promises {
                values.extend(self.choice(ballot, promises));
            } else if promises.len() + FAULTY == self.rules.promises {
                for claim in &claims {
                    let with_claim = [&promises[..], std::slice::from_ref(claim)].concat();
                    values.extend(self.choice(ballot, with_claim));
                }
            }
        }
        values
    }

    fn choice(&self, ballot: u32, promises: Vec<Told>) -> BTreeSet<Pick> {
        let choose = || match self.is_real {
            true => self.real_choice(ballot, &promises),
            false => permitted(self.rules, &self.workshop, &promises),
        };
        let mut choices = self.choices.borrow_mut();
        choices
            .entry((ballot, promises.clone()))
            .or_insert_with(choose)
            .clone()
    }

    fn real_choice(&self, ballot: u32, promises: &[Told]) -> BTreeSet<Pick> {
        let workshop = &self.workshop;
        let valid: Vec<_> = (0..)
            .zip(promises)
            .map(|(replica, told)| {
                workshop
                    .promise(replica, ballot, told)
                    .expect("a valid promise")
            })
            .collect();
        let choice = choose(workshop.cluster.configuration.size(), &valid).expect("P promises");
        VALUES
            .into_iter()
            .filter(|pick| choice.permits(workshop.value(*pick)))
            .collect()
    }

    fn first_votes(&self, state: &[Replica], pick: Pick) -> usize {
        state
            .iter()
            .filter(|replica| self.first_of(replica) == Some(pick))
            .count()
    }

    fn first_of(&self, replica: &Replica) -> Option<u8> {
        let op = replica.instance.first()?;
        TAKES.into_iter().find(|take| self.workshop.op(*take) == op)
    }

    fn prepare_of(&self, replica: &Replica) -> Option<Pick> {
        replica
            .instance
            .voted()
            .map(|(_, value)| self.workshop.pick(value))
    }

    /// Correct replicas are alike: a state is known by what they are, not by who is which.
    fn key(&self, state: &[Replica]) -> Vec<Key> {
        let lock = |replica: &Replica| {
            let said = replica.instance.locked()?.statement();
            Some((said.ballot.0, self.workshop.pick(said.value)))
        };
        let key = |replica: &Replica| {
            let promised = replica.instance.promised().0;
            let (first, prepare) = (self.first_of(replica), self.prepare_of(replica));
            (
                promised,
                first,
                prepare,
                lock(replica),
                replica.promise.clone(),
                replica.commits,
            )
        };
        let mut keys: Vec<_> = state.iter().map(key).collect();
        keys.sort();
        keys
    }
}

#[test]
fn agreement_holds_in_every_reachable_state() {
    let found = World::real().explore();
    let slow = [(0, 0), (0, 1), (1, 0), (1, 1), (1, RELEASE)];
    let expected = Found {
        states: 3839,
        fast: [0, 1].into(),
        slow: slow.into(),
        disagreement: false,
    };
    assert_eq!(found, expected);
}

#[test]
fn agreement_is_the_same_with_the_rule_as_written() {
    assert_eq!(
        World::with(|_| {}, false).explore(),
        World::real().explore()
    );
}

/// The check sees: each of these rules is one off, and two values are decided.
#[test]
fn agreement_breaks_when_a_rule_is_one_off() {
    let broken = |name: &str, change: fn(&mut Rules)| {
        let found = World::with(change, false).explore();
        assert!(found.disagreement, "{name}: {found:?}");
    };
    broken("T + 1", |rules| rules.forced += 1);
    broken("T - 1", |rules| rules.forced -= 1);
    broken("F - 1", |rules| rules.fast -= 1);
    broken("q - 1", |rules| rules.quorum -= 1);
    broken("P - 1", |rules| rules.promises -= 1);
    broken("first votes before locks", |rules| {
        rules.locks_first = false
    });
}

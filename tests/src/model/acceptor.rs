//! Acceptors by number: each state that an acceptor can be in is made once, by the code of
//! bts-core, and asked once what it may do.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bts_core::consensus::instance::Instance;
use bts_core::ids::Ballot;

use super::material::{Material, Told};
use super::restart::Restarts;
use super::{BALLOTS_MAX, Bounds, Pick, Picks, Twist};

/// What an acceptor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    First(Pick),
    Enter(u8),
    Prepare(u8, Pick),
    Lock(u8, Pick),
}

/// What an acceptor answers, whatever it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) promised: u8,
    pub(super) told: Told,
    pub(super) may_first: Picks,
    pub(super) may_prepare: [Picks; BALLOTS_MAX],
    pub(super) may_lock: [bool; BALLOTS_MAX],
}

/// An acceptor, and a shortest way to it.
#[derive(Clone, Debug)]
struct Row {
    acceptor: Acceptor,
    answers: Answers,
    way: Vec<Act>,
}

/// What is known of an acceptor from outside. The certificate of a lock is always the same one.
type Known = (u8, Told, Option<(u8, Pick)>);

/// All acceptors of one epoch.
pub(super) struct Table {
    epoch: u8,
    twist: Option<Twist>,
    values: u8,
    ballots: u8,
    rows: Vec<Row>,
    numbers: BTreeMap<Known, u16>,
    steps: BTreeMap<(u16, Act), Option<u16>>,
    alike: BTreeMap<(u16, u8), u16>,
    restarts: Restarts,
    restarted: BTreeMap<u16, Option<u16>>,
}

impl Table {
    pub(super) fn new(bounds: &Bounds, material: &Material, epoch: u8) -> Self {
        let mut table = Self {
            epoch,
            twist: bounds.twist,
            values: bounds.takes + 1,
            ballots: bounds.ballots,
            rows: Vec::new(),
            numbers: BTreeMap::new(),
            steps: BTreeMap::new(),
            alike: BTreeMap::new(),
            restarts: Restarts::new(bounds, material, epoch),
            restarted: BTreeMap::new(),
        };
        let fresh = match bounds.transcribed || bounds.twist.is_some() {
            true => Acceptor::Transcribed(Transcribed::default()),
            false => Acceptor::Real(Instance::default()),
        };
        table.number(material, fresh, Vec::new());
        table
    }

    pub(super) fn answers(&self, number: u16) -> &Answers {
        &self.row(number).answers
    }

    fn row(&self, number: u16) -> &Row {
        &self.rows[usize::from(number)]
    }

    /// How many questions were asked.
    pub(super) fn asked(&self) -> usize {
        self.steps.len()
    }

    /// How many restarts were asked for.
    pub(super) fn restarted(&self) -> usize {
        self.restarted.len()
    }

    /// The acceptor after a restart; `None` if it is not bound to what it was bound to.
    pub(super) fn restart(&mut self, material: &Material, number: u16) -> Option<u16> {
        if let Some(next) = self.restarted.get(&number) {
            return *next;
        }
        let row = self.row(number);
        let next = match row.acceptor {
            Acceptor::Real(_) => {
                let answers = self.restarts.answers(material, &row.way);
                (answers == row.answers).then_some(number)
            }
            Acceptor::Transcribed(it) => {
                let left = Acceptor::Transcribed(it.restarted(self.twist));
                let way = row.way.clone();
                Some(self.number(material, left, way))
            }
        };
        self.restarted.insert(number, next);
        next
    }

    /// The acceptor after this step; `None` if it stops at an assertion.
    pub(super) fn step(&mut self, material: &Material, number: u16, act: Act) -> Option<u16> {
        if let Some(next) = self.steps.get(&(number, act)) {
            return *next;
        }
        let mut acceptor = self.row(number).acceptor.clone();
        let done = catch_unwind(AssertUnwindSafe(|| {
            acceptor.act(material, self.epoch, self.twist, act);
            acceptor
        }));
        let way = [self.row(number).way.as_slice(), &[act]].concat();
        let next = done.ok();
        let next = next.map(|acceptor| self.number(material, acceptor, way));
        self.steps.insert((number, act), next);
        next
    }

    /// An acceptor that answers like this one wherever the ballots in `closed` are not concerned.
    pub(super) fn alike(&mut self, number: u16, closed: u8) -> u16 {
        if let Some(like) = self.alike.get(&(number, closed)) {
            return *like;
        }
        let open = |row: &Row| {
            let mut answers = row.answers;
            for (ballot, picks) in answers.may_prepare.iter_mut().enumerate() {
                if closed >> ballot & 1 == 1 {
                    *picks = 0;
                }
            }
            answers
        };
        let wanted = open(self.row(number));
        let like = self.rows.iter().position(|row| open(row) == wanted);
        let like = like.map_or(number, |like| like as u16);
        self.alike.insert((number, closed), like);
        like
    }

    fn number(&mut self, material: &Material, acceptor: Acceptor, way: Vec<Act>) -> u16 {
        let known = acceptor.known(material, self.epoch);
        if let Some(number) = self.numbers.get(&known) {
            return *number;
        }
        let set = |allowed: &dyn Fn(Pick) -> bool, values: u8| {
            let picks = (0..values).filter(|pick| allowed(*pick));
            picks.fold(0, |set, pick| set | 1 << pick)
        };
        let (promised, told, _) = known;
        let (epoch, twist) = (self.epoch, self.twist);
        let may_first = |pick| acceptor.may_first(material, epoch, twist, pick);
        let mut answers = Answers {
            promised,
            told,
            may_first: set(&may_first, self.values - 1),
            may_prepare: [0; BALLOTS_MAX],
            may_lock: [false; BALLOTS_MAX],
        };
        for ballot in 0..=self.ballots {
            let may = |pick| acceptor.may_prepare(material, epoch, twist, ballot, pick);
            answers.may_prepare[usize::from(ballot)] = set(&may, self.values);
            answers.may_lock[usize::from(ballot)] = acceptor.may_lock(twist, ballot);
        }
        let number = u16::try_from(self.rows.len()).expect("a few hundred acceptors");
        self.rows.push(Row {
            acceptor,
            answers,
            way,
        });
        self.numbers.insert(known, number);
        number
    }
}

#[derive(Clone, Debug)]
enum Acceptor {
    Real(Instance),
    Transcribed(Transcribed),
}

/// PROTOCOL section 3, transcribed.
#[derive(Clone, Copy, Debug, Default)]
struct Transcribed {
    promised: u8,
    first: Option<Pick>,
    voted: Option<(u8, Pick)>,
    locked: Option<(u8, Pick)>,
}

impl Transcribed {
    /// What is left of it after a restart: all of it, unless a rule is broken.
    fn restarted(self, twist: Option<Twist>) -> Self {
        let mut left = self;
        match twist {
            Some(Twist::FirstForgotten) => left.first = None,
            Some(Twist::PromiseForgotten) => left.promised = 0,
            Some(Twist::PrepareForgotten) => left.voted = None,
            Some(Twist::LockForgotten) => left.locked = None,
            _ => {}
        }
        left
    }
}

impl Acceptor {
    fn known(&self, material: &Material, epoch: u8) -> Known {
        match self {
            Self::Transcribed(it) => {
                let told = Told {
                    first: it.first,
                    lock: it.locked,
                };
                (it.promised, told, it.voted)
            }
            Self::Real(instance) => {
                let pick = |value| material.pick(epoch, value);
                let lock = instance.locked().map(|lock| lock.statement());
                let told = Told {
                    first: instance
                        .first()
                        .map(|op| pick(bts_core::consensus::certificate::Value::Take(op))),
                    lock: lock.map(|said| (said.ballot.0 as u8, pick(said.value))),
                };
                let voted = instance.voted();
                let voted = voted.map(|(ballot, value)| (ballot.0 as u8, pick(value)));
                (instance.promised().0 as u8, told, voted)
            }
        }
    }

    fn may_first(&self, material: &Material, epoch: u8, twist: Option<Twist>, pick: Pick) -> bool {
        match self {
            Self::Real(instance) => instance.may_first_vote(material.op(epoch, pick)).is_ok(),
            Self::Transcribed(it) => {
                let is_free = it.first.is_none() || twist == Some(Twist::FirstTwice);
                let in_ballot_0 = it.promised == 0 || twist == Some(Twist::FirstAfterPromise);
                it.first == Some(pick) || (is_free && in_ballot_0)
            }
        }
    }

    fn may_prepare(
        &self,
        material: &Material,
        epoch: u8,
        twist: Option<Twist>,
        ballot: u8,
        pick: Pick,
    ) -> bool {
        match self {
            Self::Real(instance) => {
                let value = material.value(epoch, pick);
                instance
                    .may_prepare(Ballot(u32::from(ballot)), value)
                    .is_ok()
            }
            Self::Transcribed(it) => {
                let other = it.voted.is_some_and(|(b, v)| b == ballot && v != pick);
                let is_free = !other || twist == Some(Twist::PrepareTwice);
                ballot > 0 && ballot >= it.promised && is_free
            }
        }
    }

    fn may_lock(&self, twist: Option<Twist>, ballot: u8) -> bool {
        match self {
            Self::Real(instance) => instance.may_lock(Ballot(u32::from(ballot))).is_ok(),
            Self::Transcribed(it) => {
                let ignored = [Some(Twist::LockBelowPromise), Some(Twist::LockLowered)];
                ballot >= it.promised || ignored.contains(&twist)
            }
        }
    }

    fn act(&mut self, material: &Material, epoch: u8, twist: Option<Twist>, act: Act) {
        match self {
            Self::Real(instance) => match act {
                Act::First(pick) => instance.first_vote(material.op(epoch, pick)),
                Act::Enter(ballot) => instance.enter(Ballot(u32::from(ballot))),
                Act::Prepare(ballot, pick) => {
                    let value = material.value(epoch, pick);
                    instance.prepare_vote(Ballot(u32::from(ballot)), value);
                }
                Act::Lock(ballot, pick) => instance.lock(material.lock(epoch, ballot, pick)),
            },
            Self::Transcribed(it) => match act {
                Act::First(pick) => it.first = Some(pick),
                Act::Enter(ballot) => it.promised = ballot,
                Act::Prepare(ballot, pick) => it.voted = Some((ballot, pick)),
                Act::Lock(ballot, pick) => {
                    let is_higher = it.locked.is_none_or(|(held, _)| held < ballot);
                    if is_higher || twist == Some(Twist::LockLowered) {
                        it.locked = Some((ballot, pick));
                    }
                }
            },
        }
    }
}

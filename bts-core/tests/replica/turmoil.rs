//! Random histories of a small cluster whose clients do whatever they like and whose links come and go,
//! and what its logs prove in the end.

use std::collections::{BTreeMap, BTreeSet};

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, Statement, Value, VoteKind};
use bts_core::content::{Content, Decision, TakePayload, put_hash};
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{Ballot, EntryId, Epoch, OpId};
use bts_core::message::{ClientBody, LockRequest, TakeRequest};
use bts_core::replica::{Input, Record};
use bts_core::time::Span;

use crate::cast::{Client, Target, bare, task};
use crate::support::World;

/// A source of numbers that look random.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)) >> 16) % n
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        match of.len() {
            0 => None,
            n => of.get(self.below(n as u64) as usize),
        }
    }

    /// Some of the replicas, each rather in than out, or not.
    fn some(&mut self, n: u16) -> Vec<u16> {
        let bias = 2 + 2 * self.below(2);
        (0..n).filter(|_| self.below(bias) > 0).collect()
    }
}

struct Attempt {
    take: SignedBytes,
    op: OpId,
    said: TakePayload,
}

/// A cluster in turmoil.
pub(crate) struct Turmoil {
    pub(crate) world: World,
    clients: Vec<Client>,
    targets: Vec<Target>,
    attempts: Vec<Attempt>,
    dice: Dice,
    next: u64,
}

impl Turmoil {
    /// So many steps of the history of this seed, in a cluster of four.
    pub(crate) fn run(seed: u64, steps: usize) -> Self {
        let mut world = World::of_four();
        let clients = vec![world.client(1), world.client(2)];
        let mut turmoil = Self {
            world,
            clients,
            targets: Vec::new(),
            attempts: Vec::new(),
            dice: Dice(seed),
            next: 0,
        };
        for _ in 0..steps {
            turmoil.step();
        }
        turmoil
    }

    fn step(&mut self) {
        match self.dice.below(18) {
            0..3 => self.write(),
            3..7 => self.take(),
            7..9 => self.press(),
            9..11 => self.lock(),
            11 => self.spread(),
            12 => {
                let span = Span::from_millis([20, 300, 3_000][self.dice.below(3) as usize]);
                self.world.pass(span);
            }
            13 => {
                let (from, to) = (self.dice.below(4) as u16, self.dice.below(4) as u16);
                self.world.cut.insert((from, to));
            }
            14 => self.world.heal(),
            15..17 => self.settle(),
            _ => self.leave_or_come(),
        }
    }

    fn write(&mut self) {
        self.next += 1;
        let (number, at) = (self.next, self.dice.some(4));
        let target = self.world.out(&self.clients[0], number, task(number), &at);
        self.targets.push(target);
    }

    fn take(&mut self) {
        let newest = self.targets.len().saturating_sub(4);
        let Some(target) = self.dice.pick(&self.targets[newest..]).cloned() else {
            return;
        };
        self.next += 1;
        let client = self.dice.below(2) as usize;
        let puts: Vec<_> = (0..self.dice.below(3)).map(task).collect();
        // Most go to an epoch that somebody may be in.
        let known = self.released(&target.id);
        let epoch = known.as_ref().map_or(0, |(epoch, _)| epoch.0 + 1);
        let take = self.clients[client].take_and_put(&target, epoch, self.next, &puts);
        let request = TakeRequest {
            take: take.clone(),
            content: Some(target.content),
            released: known.map(|(_, certificate)| certificate),
        };
        for i in self.dice.some(4) {
            let body = ClientBody::Take(request.clone());
            self.world.ask(&self.clients[client], i, body);
        }
        let said = self.world.verifier.take(take.clone()).expect("good");
        let op = said.op();
        self.attempts.push(Attempt {
            take,
            op,
            said: TakePayload::clone(&said),
        });
    }

    /// Starts the timers of an instance.
    fn press(&mut self) {
        let Some(attempt) = self.dice.pick(&self.attempts) else {
            return;
        };
        let take = attempt.take.clone();
        for i in self.dice.some(4) {
            let body = ClientBody::Evidence(bare(&take));
            self.world.ask(&self.clients[1], i, body);
        }
    }

    /// Somebody collected votes of ballot 0.
    fn lock(&mut self) {
        let Some(attempt) = self.dice.pick(&self.attempts) else {
            return;
        };
        let (take, said) = (attempt.take.clone(), attempt.said.clone());
        let statement = Statement {
            id: said.id.clone(),
            epoch: said.epoch,
            ballot: Ballot::ZERO,
            value: Value::Take(attempt.op),
        };
        let voters = self.voters(VoteKind::First, &statement);
        if voters.len() < self.world.configuration.size().ack_quorum() {
            return;
        }
        let request = LockRequest {
            certificate: self.world.certificate(VoteKind::First, &statement, &voters),
            take,
            released: self.released(&said.id).map(|(_, certificate)| certificate),
        };
        for i in self.dice.some(4) {
            let body = ClientBody::Lock(request.clone());
            self.world.ask(&self.clients[1], i, body);
        }
    }

    /// Somebody tells of a decision.
    fn spread(&mut self) {
        let Some(attempt) = self.dice.pick(&self.attempts) else {
            return;
        };
        let Some(decision) = self.proof_of(attempt) else {
            return;
        };
        for (index, _) in (0..).zip(&attempt.said.puts) {
            self.targets.push(Target {
                id: attempt.said.id.put(index).expect("short"),
                hash: put_hash(attempt.op, index),
                content: Content::Put(Box::new(decision.clone())),
            });
        }
        for i in self.dice.some(4) {
            let (decision, applied) = (decision.clone(), false);
            let body = ClientBody::Decide { decision, applied };
            self.world.ask(&self.clients[1], i, body);
        }
    }

    fn proof_of(&self, attempt: &Attempt) -> Option<Decision> {
        let size = self.world.configuration.size();
        let ballots = (0..40).map(Ballot);
        let kinds = ballots.map(|ballot| (VoteKind::Commit, ballot, size.ack_quorum()));
        let fast = (VoteKind::First, Ballot::ZERO, size.fast_quorum());
        let mut kinds = [fast].into_iter().chain(kinds);
        kinds.find_map(|(kind, ballot, enough)| {
            let statement = Statement {
                id: attempt.said.id.clone(),
                epoch: attempt.said.epoch,
                ballot,
                value: Value::Take(attempt.op),
            };
            let voters = self.voters(kind, &statement);
            (voters.len() >= enough).then(|| Decision {
                certificate: self.world.certificate(kind, &statement, &voters),
                take: Some(attempt.take.clone()),
            })
        })
    }

    /// A client says that it knows how all its Takes ended. Where that is a lie it harms nobody else.
    fn settle(&mut self) {
        if let Some(client) = self.dice.pick(&self.clients) {
            self.world.settled.insert(client.at, self.next + 1);
        }
    }

    /// A client closes its connections, or opens them: what it wanted is released, or is not.
    fn leave_or_come(&mut self) {
        let Some(client) = self.dice.pick(&self.clients).map(|client| client.at) else {
            return;
        };
        let comes = self.dice.below(2) == 0;
        for i in self.dice.some(4) {
            self.world.step(
                i,
                match comes {
                    true => Input::ClientConnected(client),
                    false => Input::ClientGone(client),
                },
            );
        }
        self.world.pump();
    }

    /// Who voted so, as its log tells.
    fn voters(&self, kind: VoteKind, statement: &Statement) -> Vec<u16> {
        let voted = |i: &u16| {
            self.world
                .log_of(*i)
                .iter()
                .any(|(_, record)| match (kind, record) {
                    (VoteKind::First, Record::FirstVote(take)) => {
                        let take = self.world.verifier.take(take.clone()).expect("logged");
                        Value::Take(take.op()) == statement.value && take.id == statement.id
                    }
                    (VoteKind::Commit, Record::Locked(lock, _)) => said(lock) == *statement,
                    _ => false,
                })
        };
        (0..4).filter(voted).collect()
    }

    /// The last release of an entry that anybody logged.
    fn released(&self, id: &EntryId) -> Option<(Epoch, Certificate)> {
        let logs = (0..4).flat_map(|i| self.world.log_of(i));
        let released = logs.filter_map(|(_, record)| match record {
            Record::Released(certificate) => Some((said(certificate), certificate.clone())),
            _ => None,
        });
        let mine = released.filter(|(said, _)| said.id == *id);
        mine.map(|(said, certificate)| (said.epoch, certificate))
            .max_by_key(|(epoch, _)| *epoch)
    }
}

pub(crate) fn said(certificate: &Certificate) -> Statement {
    codec::decode_payload(&certificate.payload).expect("logged")
}

/// What votes and acknowledgements in the logs of some replicas make, if a liar adds its own to all.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Takes that may have been returned to somebody.
    pub(crate) won: BTreeSet<(EntryId, OpId)>,
    /// Epochs that may have been shown to be released.
    pub(crate) released: BTreeSet<(EntryId, Epoch)>,
    /// Entries that may have been acknowledged.
    pub(crate) acknowledged: BTreeSet<EntryId>,
    /// Entries that somebody removed.
    pub(crate) removed: BTreeSet<EntryId>,
}

impl Truth {
    /// What these replicas' logs prove, with so many liars beside them.
    pub(crate) fn of(world: &World, correct: &[u16], liars: usize) -> Self {
        let size = world.configuration.size();
        let mut truth = Self::default();
        let mut firsts = BTreeMap::<(EntryId, OpId), BTreeSet<u16>>::new();
        let mut commits = BTreeMap::<Statement, BTreeSet<u16>>::new();
        let mut holders = BTreeMap::<EntryId, BTreeSet<u16>>::new();
        for i in correct {
            for (_, record) in world.log_of(*i) {
                match record {
                    Record::FirstVote(take) => {
                        let take = world.verifier.take(take.clone()).expect("logged");
                        let voters = firsts.entry((take.id.clone(), take.op())).or_default();
                        voters.insert(*i);
                    }
                    Record::Locked(lock, _) => {
                        commits.entry(said(lock)).or_default().insert(*i);
                    }
                    Record::Entry(entry) => {
                        let entry = world.verifier.entry(entry.clone()).expect("logged");
                        holders.entry(entry.id.clone()).or_default().insert(*i);
                    }
                    Record::Decided(decision) => {
                        let said = said(&decision.certificate);
                        truth.removed.insert(said.id.clone());
                        if let Value::Take(op) = said.value {
                            truth.won.insert((said.id, op));
                        }
                    }
                    Record::Released(certificate) => {
                        let said = said(certificate);
                        truth.released.insert((said.id, said.epoch));
                    }
                    _ => {}
                }
            }
        }
        let enough = |voters: &BTreeSet<u16>, quorum| voters.len() + liars >= quorum;
        let fast = firsts
            .into_iter()
            .filter(|(_, v)| enough(v, size.fast_quorum()));
        truth.won.extend(fast.map(|(won, _)| won));
        for (said, _) in commits
            .into_iter()
            .filter(|(_, v)| enough(v, size.ack_quorum()))
        {
            match said.value {
                Value::Take(op) => truth.won.insert((said.id, op)),
                Value::Release | Value::Expire => truth.released.insert((said.id, said.epoch)),
            };
        }
        let acked = holders
            .into_iter()
            .filter(|(_, v)| enough(v, size.ack_quorum()));
        truth.acknowledged = acked.map(|(id, _)| id).collect();
        truth
    }
}

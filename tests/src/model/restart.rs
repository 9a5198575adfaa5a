//! Restarts, by the code that does them: a whole replica is made from the log of an acceptor,
//! and asked what it is bound to.
//!
//! A model's acceptor is known by what it promised, what it tells, and what it may still do. All of
//! that is asked of the replica by messages, each question of a replica made anew: a `rdp` for what
//! it tells, a Take, a proposal or a lock for what it may do.

use std::sync::Arc;

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, Statement, Value};
use bts_core::crypto::sign::SignedBytes;
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::{Ballot, Epoch, Incarnation, Lsn, ReplicaId, RequestId, TakeNumber};
use bts_core::message::{
    ClientBody, ClientRequest, LockRequest, PeerMessage, Proposal, ReadMode, ReadRequest,
    ReplyBody, Status, TakeRequest,
};
use bts_core::replica::{Input, Limits, Options, Outgoing, Outputs, Record, Replica};
use bts_core::time::{Span, Time};

use super::acceptor::{Act, Answers};
use super::material::{Material, Told};
use super::{BALLOTS_MAX, Bounds, Pick};

const NOW: Time = Time::from_micros(1_000_000);

/// Restarts in one epoch of a model.
pub(super) struct Restarts {
    epoch: u8,
    takes: u8,
    ballots: u8,
    /// One that owns no ballot here, so that every proposal comes to it from somebody else.
    me: ReplicaId,
    roots: VerifiedRoots,
}

impl Restarts {
    pub(super) fn new(bounds: &Bounds, material: &Material, epoch: u8) -> Self {
        let owns = |replica: &ReplicaId| {
            let mut ballots = 1..=bounds.ballots;
            ballots.any(|ballot| material.owner(epoch, ballot) == *replica)
        };
        let mut replicas = (0..bounds.replicas as u16).map(ReplicaId);
        Self {
            epoch,
            takes: bounds.takes,
            ballots: bounds.ballots,
            me: replicas
                .find(|replica| !owns(replica))
                .expect("f + 1 own ballots"),
            roots: VerifiedRoots::default(),
        }
    }

    /// What a replica answers that did this and lost its power.
    pub(super) fn answers(&self, material: &Material, way: &[Act]) -> Answers {
        let log = self.log(material, way);
        let status = self.status(material, &log);
        let pick = |value| material.pick(self.epoch, value);
        let locked = status.lock.map(|lock| {
            let said: Statement = codec::decode_payload(&lock.payload).expect("a statement");
            (said.ballot.0 as u8, pick(said.value))
        });
        let mut answers = Answers {
            promised: status.promised.0 as u8,
            told: Told {
                first: status.first.map(|op| pick(Value::Take(op))),
                lock: locked,
            },
            may_first: 0,
            may_prepare: [0; BALLOTS_MAX],
            may_lock: [false; BALLOTS_MAX],
        };
        for take in 0..self.takes {
            answers.may_first |= u8::from(self.votes_first(material, &log, take)) << take;
        }
        for ballot in 0..=self.ballots {
            let at = usize::from(ballot);
            // Two locks of one ballot say the same.
            let held = locked.filter(|(of, _)| *of == ballot);
            let locked = held.map_or(0, |(_, pick)| pick);
            answers.may_lock[at] = self.accepts_lock(material, &log, ballot, locked);
            for pick in (0..=self.takes).filter(|_| ballot > 0) {
                let votes = self.votes_for_proposal(material, &log, ballot, pick);
                answers.may_prepare[at] |= u8::from(votes) << pick;
            }
        }
        answers
    }

    fn log(&self, material: &Material, way: &[Act]) -> Vec<(Lsn, Record)> {
        let contents = material.contents.iter();
        let mut log: Vec<_> = contents
            .map(|(_, entry)| Record::Entry(entry.clone()))
            .collect();
        log.extend(self.released(material).map(Record::Released));
        let mut told = Told::default();
        for act in way {
            log.push(self.record(material, told, *act));
            match *act {
                Act::First(pick) => told.first = Some(pick),
                Act::Lock(ballot, pick) => told.lock = Some((ballot, pick)),
                Act::Enter(_) | Act::Prepare(..) => {}
            }
        }
        (1..).map(Lsn).zip(log).collect()
    }

    fn record(&self, material: &Material, told: Told, act: Act) -> Record {
        match act {
            Act::First(pick) => Record::FirstVote(self.take(material, pick)),
            Act::Enter(ballot) => {
                let promise = material.promise(self.epoch, self.me.0, ballot, told);
                Record::Entered(promise.signed().clone(), self.takes(material))
            }
            Act::Prepare(ballot, pick) => Record::Prepared(
                material.id.clone(),
                Epoch(self.epoch),
                Ballot(u32::from(ballot)),
                material.value(self.epoch, pick),
            ),
            Act::Lock(ballot, pick) => {
                let lock = material.lock(self.epoch, ballot, pick);
                Record::Locked(lock.certificate().clone(), self.take(material, pick))
            }
        }
    }

    fn status(&self, material: &Material, log: &[(Lsn, Record)]) -> Status {
        let read = ReadRequest {
            space: material.space.clone(),
            template: material.tuple(0).into(),
            mode: ReadMode::Rdp,
            start: 0,
            candidates: 1,
            full: self.me,
        };
        let said = self.ask(material, log, ClientBody::Read(read));
        let status = said.into_iter().find_map(|body| match body {
            ReplyBody::Found { candidates, .. } => candidates.into_iter().next(),
            _ => None,
        });
        status.expect("the entry is there").status
    }

    fn votes_first(&self, material: &Material, log: &[(Lsn, Record)], take: Pick) -> bool {
        let request = TakeRequest {
            take: self.take(material, take),
            content: None,
            released: self.released(material),
        };
        let said = self.ask(material, log, ClientBody::Take(request));
        let is_vote = |body: &ReplyBody| matches!(body, ReplyBody::FirstVote(_));
        said.iter().any(is_vote)
    }

    /// A proposal of anything is allowed by promises that tell nothing.
    fn votes_for_proposal(
        &self,
        material: &Material,
        log: &[(Lsn, Record)],
        ballot: u8,
        pick: Pick,
    ) -> bool {
        let size = material.size();
        let others = (0..size.replicas() as u16).filter(|replica| *replica != self.me.0);
        let promises = others.take(size.promise_quorum()).map(|replica| {
            let promise = material.promise(self.epoch, replica, ballot, Told::default());
            promise.signed().clone()
        });
        let proposal = PeerMessage::Propose(Proposal {
            id: material.id.clone(),
            epoch: Epoch(self.epoch),
            ballot: Ballot(u32::from(ballot)),
            value: material.value(self.epoch, pick),
            promises: promises.collect(),
            takes: self.takes(material),
            released: self.released(material),
        });
        let from = material.owner(self.epoch, ballot);
        let said = self.tell(material, log, from, proposal);
        said.iter()
            .any(|message| matches!(message, PeerMessage::PrepareVote(_)))
    }

    fn accepts_lock(
        &self,
        material: &Material,
        log: &[(Lsn, Record)],
        ballot: u8,
        pick: Pick,
    ) -> bool {
        let lock = PeerMessage::Lock(LockRequest {
            certificate: material
                .lock(self.epoch, ballot, pick)
                .certificate()
                .clone(),
            take: self.take(material, pick),
            released: self.released(material),
        });
        let from = material.owner(self.epoch, 1);
        let said = self.tell(material, log, from, lock);
        said.iter()
            .any(|message| matches!(message, PeerMessage::CommitVote(_)))
    }

    /// What a restarted replica answers to the client of the Take, or of any if it is none.
    fn ask(&self, material: &Material, log: &[(Lsn, Record)], body: ClientBody) -> Vec<ReplyBody> {
        let client = match &body {
            ClientBody::Take(request) => material.taker(request.take.signer),
            _ => material.taker(self.take(material, 0).signer),
        };
        let request = ClientRequest {
            request: RequestId(1),
            settled_below: TakeNumber(0),
            body,
        };
        let inputs = [
            Input::ClientConnected(client),
            Input::Client(client, request),
        ];
        let said = self.restarted(material, log, inputs).into_iter();
        said.filter_map(|message| match message {
            Outgoing::Client(_, reply) => Some(reply.body),
            Outgoing::Peer(..) => None,
        })
        .collect()
    }

    fn tell(
        &self,
        material: &Material,
        log: &[(Lsn, Record)],
        from: ReplicaId,
        message: PeerMessage,
    ) -> Vec<PeerMessage> {
        let inputs = [Input::PeerConnected(from, 0), Input::Peer(from, message)];
        let said = self.restarted(material, log, inputs).into_iter();
        said.filter_map(|message| match message {
            Outgoing::Peer(_, message) => Some(message),
            Outgoing::Client(..) => None,
        })
        .collect()
    }

    fn restarted(
        &self,
        material: &Material,
        log: &[(Lsn, Record)],
        inputs: [Input; 2],
    ) -> Vec<Outgoing> {
        let options = Options {
            id: self.me,
            configuration: Arc::clone(&material.configuration),
            key: super::material::key(self.me.0 as u8),
            incarnation: Incarnation(1),
            run: 2,
            window: Span::from_millis(1000),
            reservation: Span::from_millis(100),
            limits: Limits::default(),
            roots: self.roots.clone(),
        };
        let mut out = Outputs::default();
        let replica = Replica::recover(options, NOW, log.iter().cloned(), &mut out);
        let mut replica = replica.expect("a log that this acceptor wrote");
        for input in inputs {
            replica.handle(NOW, input, &mut out);
            if let Some((last, _)) = out.records.last() {
                let last = *last;
                replica.handle(NOW, Input::Synced(last), &mut out);
            }
        }
        out.send
    }

    fn released(&self, material: &Material) -> Option<Certificate> {
        let before = self.epoch.checked_sub(1)?;
        Some(material.released(before))
    }

    /// The Take of this number, or with a Release any.
    fn take(&self, material: &Material, pick: Pick) -> SignedBytes {
        let number = pick.min(self.takes - 1);
        material.take(self.epoch, number).signed().clone()
    }

    fn takes(&self, material: &Material) -> Vec<SignedBytes> {
        let takes = 0..self.takes;
        takes.map(|pick| self.take(material, pick)).collect()
    }
}

//! Who takes part besides replicas, and whatever they can sign.

use bts_core::codec;
use bts_core::consensus::ballot;
use bts_core::consensus::certificate::{Statement, Value};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{Content, EntryPayload, Put, TakePayload};
use bts_core::crypto::sign::{Kind, SignedBytes, Signer};
use bts_core::ids::{
    Ballot, ClientRef, ContentHash, EntryId, Epoch, OpId, ReplicaId, Seq, SpaceName, TakeNumber,
};
use bts_core::message::{
    ClientBody, FetchKey, Proposal, ReadMode, ReadRequest, ReplyBody, Status, TakeRequest,
};
use bts_core::template::{Pattern, Template};
use bts_core::tuple::Tuple;
use ed25519_dalek::SigningKey;

use crate::support::{Plan, World};

/// An entry that can be taken.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) id: EntryId,
    pub(crate) hash: ContentHash,
    pub(crate) content: Content,
}

/// A client, and whatever it can sign.
pub(crate) struct Client {
    pub(crate) signer: Signer,
    pub(crate) at: ClientRef,
}

impl Client {
    pub(crate) fn entry(&self, seq: u64, tuple: Tuple) -> SignedBytes {
        self.entry_in("jobs", seq, tuple)
    }

    pub(crate) fn entry_in(&self, space: &str, seq: u64, tuple: Tuple) -> SignedBytes {
        let space = SpaceName::new(space).expect("a good name");
        let payload = EntryPayload {
            id: EntryId::written(space, self.at.key, self.at.session, Seq(seq)),
            tuple,
            expiry: None,
            access: None,
        };
        self.signer.sign(Kind::Entry, codec::encode(&payload))
    }

    pub(crate) fn take(&self, target: &Target, epoch: u8, number: u64) -> SignedBytes {
        self.take_and_put(target, epoch, number, &[])
    }

    pub(crate) fn take_and_put(
        &self,
        target: &Target,
        epoch: u8,
        number: u64,
        puts: &[Tuple],
    ) -> SignedBytes {
        let payload = TakePayload {
            client: self.at.key,
            session: self.at.session,
            number: TakeNumber(number),
            id: target.id.clone(),
            content: target.hash,
            epoch: Epoch(epoch),
            puts: puts.iter().cloned().map(Put::from).collect(),
        };
        self.signer.sign(Kind::Take, codec::encode(&payload))
    }
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// `("task", number)`.
pub(crate) fn task(number: u64) -> Tuple {
    Tuple(vec!["task".into(), number.into()])
}

/// Matches every pair whose first field is this.
pub(crate) fn any(kind: &str) -> Template {
    Template(vec![Pattern::Exact(kind.into()), Pattern::Any])
}

pub(crate) fn read(template: Template, mode: ReadMode) -> ClientBody {
    ClientBody::Read(ReadRequest {
        space: SpaceName::new("jobs").expect("a good name"),
        template,
        mode,
        start: 0,
        candidates: 16,
        full: ReplicaId(0),
    })
}

/// A request for a vote that brings nothing along.
pub(crate) fn bare(take: &SignedBytes) -> TakeRequest {
    TakeRequest {
        take: take.clone(),
        content: None,
        released: None,
    }
}

pub(crate) fn statement(id: &EntryId, epoch: u8, ballot: u32, value: Value) -> Statement {
    Statement {
        id: id.clone(),
        epoch: Epoch(epoch),
        ballot: Ballot(ballot),
        value,
    }
}

/// A promise of a replica without first vote and lock.
pub(crate) fn promise_of(id: &EntryId, epoch: u8, ballot: u32, takes: &[OpId]) -> PromisePayload {
    PromisePayload {
        id: id.clone(),
        epoch: Epoch(epoch),
        ballot: Ballot(ballot),
        first: None,
        lock: None,
        takes: takes.to_vec(),
    }
}

/// An entry, stored at these replicas, whose ballot 1 of epoch 0 belongs to `owner`.
pub(crate) fn owned_by(world: &mut World, client: &Client, owner: u16, at: &[u16]) -> Target {
    let size = world.configuration.size();
    let owned = |seq: &u64| {
        let space = SpaceName::new("jobs").expect("a good name");
        let id = EntryId::written(space, client.at.key, client.at.session, Seq(*seq));
        ballot::owner(size, &id, Epoch(0), Ballot(1)) == ReplicaId(owner)
    };
    let seq = (1000..).find(owned).expect("every replica owns some");
    world.out(client, seq, task(seq), at)
}

/// A justified proposal of this Take, in a ballot in which nobody is bound to anything.
pub(crate) fn proposal(
    world: &World,
    id: &EntryId,
    epoch: u8,
    ballot: u32,
    take: &SignedBytes,
    by: &[u16],
) -> Proposal {
    let op = world.op(take);
    let promises = by
        .iter()
        .map(|i| world.promise(*i, &promise_of(id, epoch, ballot, &[op])));
    Proposal {
        id: id.clone(),
        epoch: Epoch(epoch),
        ballot: Ballot(ballot),
        value: Value::Take(op),
        promises: promises.collect(),
        takes: vec![take.clone()],
        released: None,
    }
}

impl World {
    /// A replica that is all of its cluster.
    pub(crate) fn of_one() -> Self {
        Self::new(Plan {
            n: 1,
            faults: 0,
            real: vec![0],
            ..Plan::default()
        })
    }
}

/// What clients ask.
impl World {
    /// The status of an entry at a replica, asked for by sending a Take as evidence.
    pub(crate) fn status(&mut self, client: &Client, at: u16, target: &Target) -> Option<Status> {
        let Content::Signed(entry) = target.content.clone() else {
            panic!("a written entry");
        };
        match self.ask(client, at, ClientBody::WriteBack { entry }) {
            Some(ReplyBody::Status { status, .. }) => Some(status),
            _ => None,
        }
    }

    /// True if the replica reports the entry as removed.
    pub(crate) fn is_removed(&mut self, client: &Client, at: u16, id: &EntryId) -> bool {
        let key = FetchKey::Decision(id.clone());
        let answer = self.ask(client, at, ClientBody::Fetch(key));
        matches!(answer, Some(ReplyBody::Removed { .. }))
    }
}

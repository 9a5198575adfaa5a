//! What faulty replicas and clients say, chosen by bytes: any message, made of pieces that they
//! know or can sign, and now and then of pieces that nobody signed.

use bts_core::client::Op;
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{Content, Decision, Put, TakePayload};
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{
    Ballot, ContentHash, EntryId, Epoch, OpId, ReplicaId, Session, SpaceName, TakeNumber,
};
use bts_core::message::{Candidate, FetchKey, Given, LockRequest, Removal, Status, TakeRequest};
use bts_core::template::{Pattern, Template};
use bts_core::tuple::{FieldType, Tuple};

use super::Draw;
use crate::adversary::Gang;
use crate::adversary::forge::{self, ClientForge, ReplicaForge};
use crate::sim::cluster::{out, read, swap, take, template, tuple};

/// A mouth with bytes that choose its words.
#[derive(Debug)]
pub(super) struct Speaker<'s, 'b> {
    /// What chooses.
    pub(super) draw: &'s mut Draw<'b>,
    /// What is known.
    pub(super) gang: &'s Gang,
    /// Replicas whose keys sign.
    pub(super) replicas: &'s [ReplicaForge],
    /// Clients whose keys sign.
    pub(super) clients: &'s [ClientForge],
}

impl Speaker<'_, '_> {
    /// The space of all machines here, or another one.
    pub(super) fn space(&mut self) -> SpaceName {
        let name = if self.draw.once_in(8) { "t" } else { "s" };
        SpaceName::new(name).expect("a good name")
    }

    /// A short tuple.
    pub(super) fn tuple(&mut self) -> Tuple {
        tuple(["a 1", "a 2", "b 1", "", "a 1 x"][self.draw.below(5)])
    }

    /// A template that matches some of them.
    pub(super) fn template(&mut self) -> Template {
        match self.draw.below(6) {
            0 => template("* *"),
            1 => template("a *"),
            2 => template("* uint"),
            3 => Template(vec![Pattern::Typed(FieldType::Bytes)]),
            4 => Template(Vec::new()),
            _ => self.tuple().into(),
        }
    }

    /// Something for a correct client to do. Whoever asks for no listings gets none.
    pub(super) fn operation(&mut self, with_listings: bool) -> Op {
        match self.draw.below(6 + usize::from(with_listings)) {
            0 => out(self.tuple()),
            1 => read(self.template(), false),
            2 => read(self.template(), true),
            3 => take(self.template(), false),
            4 => take(self.template(), true),
            5 => swap(self.template(), false, vec![self.tuple()]),
            _ => Op::List {
                space: self.space(),
                template: self.template(),
            },
        }
    }

    /// A session of some client.
    pub(super) fn session(&mut self) -> Session {
        Session(self.draw.below(4) as u64)
    }

    /// The end of a session; some are of a key that did not sign.
    pub(super) fn end(&mut self) -> SignedBytes {
        let session = self.session();
        let Some(forge) = self.draw.pick(self.clients) else {
            return self.take();
        };
        let key = self.draw.pick(self.clients).unwrap_or(forge).public();
        forge.end(key, session)
    }

    /// A replica, real or not.
    pub(super) fn replica(&mut self) -> ReplicaId {
        ReplicaId(self.draw.below(5) as u16)
    }

    /// An epoch; most are the first.
    pub(super) fn epoch(&mut self) -> Epoch {
        Epoch([0, 0, 0, 0, 1, 2, 3, 4][self.draw.below(8)])
    }

    /// A ballot; most are low.
    pub(super) fn ballot(&mut self) -> Ballot {
        Ballot([0, 1, 2, 3, 4, 5, 100, u32::MAX][self.draw.below(8)])
    }

    /// An entry that is known, was put, or does not exist.
    pub(super) fn id(&mut self) -> EntryId {
        let space = self.space();
        let seq = self.draw.below(4) as u64;
        let fresh = self
            .draw
            .pick(self.clients)
            .map(|forge| forge.id(&space, seq));
        let fresh = fresh.expect("somebody can sign");
        let lore = self.gang.lore();
        let known: Vec<_> = lore.contents.keys().collect();
        let id = match self.draw.once_in(4) {
            false => self.draw.pick(&known).map_or(fresh, |id| (*id).clone()),
            true => fresh,
        };
        match self.draw.below(8) {
            5 => id.put(0).unwrap_or(id),
            6 => id.put(1).unwrap_or(id),
            7 => id.root_id(),
            _ => id,
        }
    }

    pub(super) fn hash(&mut self, id: &EntryId) -> ContentHash {
        let lore = self.gang.lore();
        let known = lore.contents.get(id).into_iter().flatten();
        let known: Vec<_> = known.map(|(hash, _)| *hash).collect();
        let invented = ContentHash(Digest([3; 32]));
        self.draw.pick(&known).copied().unwrap_or(invented)
    }

    /// An entry: known, signed just now, or altered.
    pub(super) fn entry(&mut self) -> SignedBytes {
        let id = self.id();
        let tuple = self.tuple();
        let forge = self.draw.pick(self.clients).expect("somebody can sign");
        let mut entry = forge.entry(id, tuple);
        if self.draw.once_in(8) {
            self.alter(&mut entry);
        }
        entry
    }

    /// A Take: known, signed just now, or altered.
    pub(super) fn take(&mut self) -> SignedBytes {
        if self.draw.once_in(2)
            && let Some(take) = self.known_take()
        {
            return take;
        }
        let id = self.id();
        let content = self.hash(&id);
        let forge = self.draw.pick(self.clients).expect("somebody can sign");
        let payload = TakePayload {
            client: forge.public(),
            session: forge.session(),
            number: TakeNumber(self.draw.below(5) as u64),
            id,
            content,
            epoch: self.epoch(),
            puts: (0..self.draw.below(3))
                .map(|_| Put::from(self.tuple()))
                .collect(),
        };
        let mut take = forge.sign_take(&payload);
        if self.draw.once_in(16) {
            self.alter(&mut take);
        }
        take
    }

    fn known_take(&mut self) -> Option<SignedBytes> {
        let lore = self.gang.lore();
        let known: Vec<_> = lore.takes.values().map(|(signed, _)| signed).collect();
        self.draw.pick(&known).map(|take| (*take).clone())
    }

    fn alter(&mut self, signed: &mut SignedBytes) {
        let place = self.draw.below(signed.payload.len());
        if let Some(byte) = signed.payload.get_mut(place) {
            *byte ^= self.draw.byte() | 1;
        }
    }

    /// An operation by its hash.
    pub(super) fn op(&mut self) -> OpId {
        let lore = self.gang.lore();
        let known: Vec<_> = lore.takes.keys().copied().collect();
        let invented = OpId(Digest([4; 32]));
        self.draw.pick(&known).copied().unwrap_or(invented)
    }

    /// What an instance may decide.
    pub(super) fn value(&mut self) -> Value {
        match self.draw.below(6) {
            0 => Value::Release,
            1 => Value::Expire,
            _ => Value::Take(self.op()),
        }
    }

    fn statement(&mut self) -> Statement {
        let configuration = self.gang.configuration();
        match self.draw.below(4) {
            0 => Statement {
                id: self.id(),
                epoch: self.epoch(),
                ballot: self.ballot(),
                value: self.value(),
            },
            1 => {
                let take = self.take();
                let said = forge::first_statement(configuration, &take);
                said.unwrap_or_else(|| self.statement())
            }
            _ => {
                let known = self.known_statement();
                let mut said = known.unwrap_or_else(|| Statement {
                    id: self.id(),
                    epoch: Epoch(0),
                    ballot: self.ballot(),
                    value: self.value(),
                });
                if self.draw.once_in(4) {
                    said.ballot = self.ballot();
                }
                said
            }
        }
    }

    fn known_statement(&mut self) -> Option<Statement> {
        let lore = self.gang.lore();
        let known: Vec<_> = lore.votes.keys().collect();
        self.draw.pick(&known).map(|said| (*said).clone())
    }

    fn vote_kind(&mut self) -> VoteKind {
        [VoteKind::First, VoteKind::Prepare, VoteKind::Commit][self.draw.below(3)]
    }

    /// A vote of a hostile replica, or one that claims to be another's.
    pub(super) fn vote(&mut self) -> SealedVote {
        let said = self.statement();
        let kind = self.vote_kind();
        let forge = self.draw.pick(self.replicas).expect("somebody can vote");
        match self.draw.once_in(8) {
            false => forge.vote(kind, &said),
            true => forge.vote_of(self.replica(), kind, &said),
        }
    }

    /// A certificate: known, or of the votes that are known and can be given.
    pub(super) fn certificate(&mut self) -> Certificate {
        if self.draw.once_in(4) {
            let lore = self.gang.lore();
            if let Some((known, _)) = self.draw.pick(&lore.certificates) {
                return known.clone();
            }
        }
        let said = self.statement();
        let kind = self.vote_kind();
        let mut votes: Vec<_> = self
            .replicas
            .iter()
            .map(|forge| forge.vote(kind, &said))
            .collect();
        {
            let lore = self.gang.lore();
            let known = lore.votes.get(&said).into_iter().flatten();
            let of_kind = known.filter(|((_, of), _)| *of == kind);
            votes.extend(of_kind.map(|(_, vote)| vote.clone()));
        }
        if !self.draw.once_in(8) {
            votes.sort_by_key(|vote| vote.replica);
            votes.dedup_by_key(|vote| vote.replica);
        }
        forge::certificate(&votes).expect("there is a vote at least")
    }

    /// A certificate, or none.
    pub(super) fn released(&mut self) -> Option<Certificate> {
        self.draw.once_in(4).then(|| self.certificate())
    }

    /// A decision: known, or made of a certificate and a Take, that it names or not.
    pub(super) fn decision(&mut self) -> Decision {
        if self.draw.once_in(4) {
            let lore = self.gang.lore();
            if let Some(known) = self.draw.pick(&lore.decisions) {
                return known.clone();
            }
        }
        Decision {
            certificate: self.certificate(),
            take: (!self.draw.once_in(4)).then(|| self.take()),
        }
    }

    /// A content.
    pub(super) fn content(&mut self) -> Content {
        match self.draw.below(3) {
            0 => Content::Put(Box::new(self.decision())),
            _ => Content::Signed(self.entry()),
        }
    }

    /// A Take with what may be lacking.
    pub(super) fn take_request(&mut self) -> TakeRequest {
        TakeRequest {
            take: self.take(),
            content: self.draw.once_in(2).then(|| self.content()),
            released: self.released(),
        }
    }

    /// A lock.
    pub(super) fn lock_request(&mut self) -> LockRequest {
        LockRequest {
            certificate: self.certificate(),
            take: self.take(),
            released: self.released(),
        }
    }

    /// A promise.
    pub(super) fn promise(&mut self) -> SignedBytes {
        let payload = PromisePayload {
            id: self.id(),
            epoch: self.epoch(),
            ballot: self.ballot(),
            first: self.draw.once_in(2).then(|| self.op()),
            lock: self.draw.once_in(3).then(|| self.certificate()),
            takes: (0..self.draw.below(3)).map(|_| self.op()).collect(),
        };
        let forge = self.draw.pick(self.replicas).expect("somebody can promise");
        forge.promise(&payload)
    }

    /// Promises and Takes of one ballot, as they are known.
    pub(super) fn promises(&mut self) -> Vec<SignedBytes> {
        let lore = self.gang.lore();
        let known: Vec<_> = lore.promises.values().collect();
        let of_ballot = self.draw.pick(&known).map(|known| known.values().cloned());
        let mut promises: Vec<_> = of_ballot.into_iter().flatten().collect();
        drop(lore);
        promises.extend(self.draw.once_in(2).then(|| self.promise()));
        promises
    }

    /// Some Takes.
    pub(super) fn takes(&mut self) -> Vec<SignedBytes> {
        (0..self.draw.below(4)).map(|_| self.take()).collect()
    }

    /// What can be asked for.
    pub(super) fn fetch_key(&mut self) -> FetchKey {
        let id = self.id();
        match self.draw.below(4) {
            0 => FetchKey::Content(id.clone(), self.hash(&id)),
            1 => FetchKey::Take(id, self.op()),
            2 => FetchKey::Decision(id),
            _ => FetchKey::Release(id, self.epoch()),
        }
    }

    /// What is given.
    pub(super) fn given(&mut self) -> Given {
        match self.draw.below(3) {
            0 => Given::Content(self.id(), self.content()),
            1 => Given::Take(self.take()),
            _ => Given::Release(self.id(), self.epoch(), self.certificate()),
        }
    }

    /// How an entry was removed.
    pub(super) fn removal(&mut self) -> Removal {
        match self.draw.below(3) {
            0 => Removal::Decision(Box::new(self.decision())),
            1 => Removal::Forgotten,
            _ => Removal::Unknown,
        }
    }

    /// How an entry stands.
    pub(super) fn status(&mut self, id: &EntryId) -> Status {
        Status {
            contents: (0..self.draw.below(3)).map(|_| self.hash(id)).collect(),
            epoch: self.epoch(),
            released: self.released(),
            first: self.draw.once_in(3).then(|| self.op()),
            lock: self.draw.once_in(4).then(|| self.certificate()),
            promised: self.ballot(),
            reserved: self.draw.once_in(3),
        }
    }

    /// An entry in a reply.
    pub(super) fn candidate(&mut self) -> Candidate {
        let id = self.id();
        Candidate {
            hash: self.hash(&id),
            full: (!self.draw.once_in(3)).then(|| self.full(&id)),
            status: self.status(&id),
            id,
        }
    }

    fn full(&mut self, id: &EntryId) -> Content {
        let lore = self.gang.lore();
        let known: Vec<_> = lore.contents.get(id).into_iter().flatten().collect();
        let known = self.draw.pick(&known).map(|(_, content)| content.clone());
        drop(lore);
        known.unwrap_or_else(|| self.content())
    }
}

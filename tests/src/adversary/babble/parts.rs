//! What random messages are made of: what the gang came across, put together anew, and what it signs.

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{Content, Decision, Put};
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{Ballot, ContentHash, EntryId, Epoch, OpId};
use bts_core::message::{
    Candidate, Compared, FetchKey, Given, LockRequest, Proposal, ReadMode, ReadRequest, Refused,
    Removal, Status, TakeRequest,
};
use bts_core::tuple::Tuple;

use super::super::forge;
use super::Babbler;
use crate::sim::swarm::{tame, wild};
use crate::sim::workload::anything;

impl Babbler<'_> {
    pub(super) fn id(&mut self) -> Option<EntryId> {
        let lore = self.gang.lore();
        let ids: Vec<_> = lore.contents.keys().collect();
        let id = (*self.rng.pick(&ids)?).clone();
        match self.rng.chance(100) {
            true => id.put(self.rng.below(3) as u16),
            false => Some(id),
        }
    }

    pub(super) fn epoch(&mut self) -> Epoch {
        let few = self.rng.chance(700);
        Epoch(if few { 0 } else { self.rng.below(5) as u8 })
    }

    pub(super) fn ballot(&mut self) -> Ballot {
        match self.rng.chance(950) {
            true => Ballot(self.rng.below(5) as u32),
            false => Ballot(self.rng.number() as u32),
        }
    }

    /// A Take of this entry, or of another one, or a new one by a hostile client.
    pub(super) fn take(&mut self, id: &EntryId) -> Option<(OpId, SignedBytes)> {
        match self.rng.below(6) {
            0 => self.gang.some_take(self.rng, None),
            1 | 2 => self.new_take(id),
            _ => self.gang.some_take(self.rng, Some(id)),
        }
    }

    pub(super) fn new_take(&mut self, id: &EntryId) -> Option<(OpId, SignedBytes)> {
        let (hash, _) = self.content(id)?;
        let lore = self.gang.lore();
        let client = self.rng.pick(&lore.clients)?.clone();
        drop(lore);
        let puts = (0..self.rng.below(3)).map(|_| Put::from(self.tuple()));
        let puts = puts.collect();
        let number = self.rng.below(1000);
        let epoch = self.epoch();
        let take = client.take(number, id.clone(), hash, epoch, puts);
        Some((forge::op_of(self.gang.configuration(), &take), take))
    }

    pub(super) fn takes(&mut self, id: &EntryId) -> Vec<SignedBytes> {
        let count = self.rng.below(3);
        let takes = (0..count).filter_map(|_| self.take(id));
        takes.map(|(_, take)| take).collect()
    }

    pub(super) fn content(&mut self, id: &EntryId) -> Option<(ContentHash, Content)> {
        let lore = self.gang.lore();
        let other = self.rng.chance(50);
        let of_id = lore
            .contents
            .iter()
            .filter(|(held, _)| other || *held == id);
        let all: Vec<_> = of_id.flat_map(|(_, contents)| contents).collect();
        self.rng.pick(&all).map(|content| (*content).clone())
    }

    /// An entry that was seen, or a new one by a hostile client, which may be of any space.
    pub(super) fn entry(&mut self) -> Option<SignedBytes> {
        let lore = self.gang.lore();
        let client = self.rng.pick(&lore.clients).cloned();
        drop(lore);
        if let (Some(client), true) = (client, self.rng.chance(500)) {
            let space = if self.rng.chance(800) { wild() } else { tame() };
            let id = client.id(&space, 1000 + self.rng.below(50));
            let tuple = self.tuple();
            return Some(client.entry(id, tuple));
        }
        let id = self.id()?;
        match self.content(&id)? {
            (_, Content::Signed(entry)) => Some(entry),
            (_, Content::Put(_)) => None,
        }
    }

    pub(super) fn tuple(&mut self) -> Tuple {
        let number = 8_000_000 + self.rng.below(1_000_000);
        Tuple(vec![
            format!("k{}", self.rng.below(3)).into(),
            number.into(),
        ])
    }

    pub(super) fn value(&mut self, id: &EntryId) -> Option<Value> {
        Some(match self.rng.below(10) {
            0..=2 => Value::Release,
            3 => Value::Expire,
            _ => Value::Take(self.take(id)?.0),
        })
    }

    /// What somebody voted for, or might have.
    pub(super) fn statement(&mut self, id: &EntryId) -> Option<Statement> {
        let lore = self.gang.lore();
        let known: Vec<_> = lore.votes.keys().filter(|said| said.id == *id).collect();
        let known = self.rng.pick(&known).map(|said| (*said).clone());
        drop(lore);
        if let (Some(said), true) = (known, self.rng.chance(700)) {
            return Some(said);
        }
        Some(Statement {
            id: id.clone(),
            epoch: self.epoch(),
            ballot: self.ballot(),
            value: self.value(id)?,
        })
    }

    /// A vote with a hostile replica's key, of this cluster or, worthless here, of another; or one
    /// that was seen.
    pub(super) fn vote(&mut self, kind: VoteKind, id: &EntryId) -> Option<SealedVote> {
        let said = self.statement(id)?;
        let lore = self.gang.lore();
        let seen = lore.votes.get(&said);
        let seen: Vec<_> = seen.iter().flat_map(|votes| votes.values()).collect();
        let seen = self.rng.pick(&seen).map(|vote| (*vote).clone());
        let own = self.rng.pick(&lore.replicas).cloned();
        drop(lore);
        let own = own.map(|own| match self.rng.chance(900) {
            true => own.vote(kind, &said),
            false => own.abroad().vote(kind, &said),
        });
        match self.rng.chance(700) {
            true => own,
            false => seen,
        }
    }

    /// Genuine votes and those of the gang for one statement, whole; or cut, mixed with the votes
    /// of another one, or under its payload.
    pub(super) fn certificate(&mut self, id: &EntryId) -> Option<Certificate> {
        let kinds = [VoteKind::First, VoteKind::Prepare, VoteKind::Commit];
        let kind = *self.rng.pick(&kinds).expect("three");
        let mut certificate = self.collected(kind, id)?;
        match self.rng.below(6) {
            0 => {
                let kept = self.rng.index(certificate.votes.len());
                certificate.votes.truncate(kept);
            }
            1 => {
                let other = self.id()?;
                let other = self.collected(kind, &other)?;
                certificate.votes.extend(other.votes);
            }
            2 => certificate.payload = codec::encode(&self.statement(id)?),
            _ => {}
        }
        Some(certificate)
    }

    pub(super) fn collected(&mut self, kind: VoteKind, id: &EntryId) -> Option<Certificate> {
        let lore = self.gang.lore();
        let of_id = |certificate: &&(Certificate, Statement)| certificate.1.id == *id;
        let known: Vec<_> = lore.certificates.iter().filter(of_id).collect();
        let known = self
            .rng
            .pick(&known)
            .map(|(certificate, _)| certificate.clone());
        let mut votes: Vec<_> = lore
            .votes
            .iter()
            .filter(|(said, _)| said.id == *id)
            .collect();
        self.rng.shuffle(&mut votes);
        let votes = votes.first().map(|(said, votes)| {
            let of_kind = votes.values().filter(|vote| vote.kind == kind).cloned();
            let own = lore.replicas.iter().map(|own| own.vote(kind, said));
            let mut votes: Vec<_> = of_kind.chain(own).collect();
            votes.sort_by_key(|vote| vote.replica);
            votes.dedup_by_key(|vote| vote.replica);
            votes
        });
        drop(lore);
        match (known, self.rng.chance(500)) {
            (Some(known), true) => Some(known),
            _ => forge::certificate(&votes?),
        }
    }

    pub(super) fn maybe_certificate(&mut self, id: &EntryId) -> Option<Certificate> {
        let some = self.rng.chance(300);
        some.then(|| self.certificate(id)).flatten()
    }

    pub(super) fn promise(&mut self, id: &EntryId) -> Option<SignedBytes> {
        let lore = self.gang.lore();
        let seen = lore
            .promises
            .values()
            .flat_map(|promises| promises.values());
        let seen: Vec<_> = seen.collect();
        let seen = self.rng.pick(&seen).map(|promise| (*promise).clone());
        let own = self.rng.pick(&lore.replicas).cloned();
        drop(lore);
        if self.rng.chance(300) {
            return seen;
        }
        let payload = PromisePayload {
            id: id.clone(),
            epoch: self.epoch(),
            ballot: self.ballot(),
            first: self.take(id).map(|(op, _)| op),
            lock: self.maybe_certificate(id),
            takes: self.take(id).map(|(op, _)| op).into_iter().collect(),
        };
        own.map(|own| own.promise(&payload))
    }

    /// In some ballot, whoever owns it, on promises of one or of several.
    pub(super) fn proposal(&mut self, id: EntryId) -> Option<Proposal> {
        let lore = self.gang.lore();
        let of_id: Vec<_> = lore
            .promises
            .iter()
            .filter(|((of, ..), _)| *of == id)
            .collect();
        let (known, mut promises) = match self.rng.pick(&of_id) {
            Some(((_, epoch, ballot), promises)) => {
                let promises: Vec<_> = promises.values().cloned().collect();
                (Some((*epoch, *ballot)), promises)
            }
            None => (None, Vec::new()),
        };
        drop(lore);
        promises.extend(self.promise(&id));
        self.rng.shuffle(&mut promises);
        let count = self.gang.configuration().size().promise_quorum();
        promises.truncate(count);
        let (epoch, ballot) = known.unwrap_or((self.epoch(), self.ballot()));
        Some(Proposal {
            epoch,
            ballot,
            value: self.value(&id)?,
            promises,
            takes: self.takes(&id),
            released: self.maybe_certificate(&id),
            id,
        })
    }

    pub(super) fn lock(&mut self, id: &EntryId) -> Option<LockRequest> {
        Some(LockRequest {
            certificate: self.certificate(id)?,
            take: self.take(id)?.1,
            released: self.maybe_certificate(id),
        })
    }

    pub(super) fn decision(&mut self, id: &EntryId) -> Option<Decision> {
        let lore = self.gang.lore();
        let seen = self.rng.pick(&lore.decisions).cloned();
        drop(lore);
        if self.rng.chance(300) {
            return seen;
        }
        Some(Decision {
            certificate: self.certificate(id)?,
            take: self.take(id).map(|(_, take)| take),
        })
    }

    pub(super) fn decisions(&mut self, id: &EntryId) -> Vec<Decision> {
        let count = self.rng.below(2);
        (0..count).filter_map(|_| self.decision(id)).collect()
    }

    pub(super) fn take_request(&mut self, id: &EntryId) -> Option<TakeRequest> {
        Some(TakeRequest {
            take: self.take(id)?.1,
            content: self.content(id).map(|(_, content)| content),
            released: self.maybe_certificate(id),
        })
    }

    pub(super) fn candidates(&mut self) -> Vec<Candidate> {
        let count = self.rng.below(4);
        (0..count).filter_map(|_| self.candidate()).collect()
    }

    pub(super) fn candidate(&mut self) -> Option<Candidate> {
        let id = self.id()?;
        let (hash, content) = self.content(&id)?;
        Some(Candidate {
            hash,
            full: self.rng.chance(500).then_some(content),
            status: self.status(&id),
            id,
        })
    }

    pub(super) fn status(&mut self, id: &EntryId) -> Status {
        Status {
            contents: self.content(id).map(|(hash, _)| hash).into_iter().collect(),
            epoch: self.epoch(),
            released: self.maybe_certificate(id),
            first: self.take(id).map(|(op, _)| op),
            lock: self.maybe_certificate(id),
            promised: self.ballot(),
            reserved: self.rng.chance(200),
        }
    }

    pub(super) fn removal(&mut self, id: &EntryId) -> Removal {
        match self.rng.below(3) {
            0 => Removal::Forgotten,
            1 => Removal::Unknown,
            _ => self.decision(id).map_or(Removal::Unknown, |decision| {
                Removal::Decision(Box::new(decision))
            }),
        }
    }

    pub(super) fn given(&mut self, id: EntryId) -> Option<Given> {
        Some(match self.rng.below(3) {
            0 => Given::Content(id.clone(), self.content(&id)?.1),
            1 => Given::Take(self.take(&id)?.1),
            _ => {
                let certificate = self.certificate(&id)?;
                Given::Release(id, self.epoch(), certificate)
            }
        })
    }

    pub(super) fn fetch_key(&mut self, id: EntryId) -> FetchKey {
        let hash = self.content(&id).map(|(hash, _)| hash);
        let op = self.take(&id).map(|(op, _)| op);
        match (self.rng.below(4), hash, op) {
            (0, Some(hash), _) => FetchKey::Content(id, hash),
            (1, _, Some(op)) => FetchKey::Take(id, op),
            (2, ..) => FetchKey::Release(id, self.epoch()),
            _ => FetchKey::Decision(id),
        }
    }

    /// What somebody may claim to hold: things that others hold, or that nobody has.
    pub(super) fn compared(&mut self, id: EntryId) -> Compared {
        let item = |babbler: &mut Self| {
            let id = babbler.id()?;
            let known = babbler.content(&id).map(|(hash, _)| hash);
            let invented = ContentHash(Digest(babbler.rng.bytes()));
            Some((id, known.unwrap_or(invented)))
        };
        let count = self.rng.below(6);
        let mut items: Vec<_> = (0..count).filter_map(|_| item(self)).collect();
        items.sort();
        items.dedup();
        Compared {
            from: self.rng.chance(200).then(|| id.clone()),
            upto: self.rng.chance(200).then_some(id),
            items: self.rng.chance(700).then_some(items),
        }
    }

    pub(super) fn read(&mut self) -> ReadRequest {
        let modes = [ReadMode::Rdp, ReadMode::Enter, ReadMode::Rd, ReadMode::In];
        let replicas: Vec<_> = self.gang.configuration().replicas().collect();
        ReadRequest {
            space: if self.rng.chance(500) { tame() } else { wild() },
            template: anything(),
            mode: *self.rng.pick(&modes).expect("there are modes"),
            start: self.rng.number(),
            candidates: self.rng.below(300) as u8,
            full: *self.rng.pick(&replicas).expect("there are replicas"),
        }
    }

    pub(super) fn refusal(&mut self) -> Refused {
        let why = "because".to_owned();
        match self.rng.below(7) {
            0 => Refused::Limit(why),
            1 => Refused::Forbidden(why),
            2 => Refused::IllFormed(why),
            3 => Refused::SessionEnded,
            4 => Refused::Starting,
            5 => Refused::NoRoom(why),
            _ => Refused::Forged(why),
        }
    }
}

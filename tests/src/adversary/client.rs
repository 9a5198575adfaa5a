//! A hostile client. It reads what there is, then does one bad thing after the other, as long as
//! its budget lasts: Takes split over replicas, two contents under one id, votes collected and then
//! shown to one replica only, certificates that nobody signed, old messages, floods.

use std::collections::BTreeSet;
use std::sync::Arc;

use bts_core::client::{Input, Outputs};
use bts_core::consensus::certificate::{Certificate, Statement, Value, VoteKind};
use bts_core::content::{Content, Decision, Put};
use bts_core::ids::{
    ContentHash, EntryId, Epoch, ReplicaId, RequestId, Session, TakeNumber, WatchId,
};
use bts_core::limits::EPOCH_MAX;
use bts_core::message::{
    ClientBody, ClientRequest, FetchKey, LockRequest, ReadMode, ReadRequest, TakeRequest,
};
use bts_core::time::{Span, Time};
use bts_core::tuple::Tuple;

use super::babble::Babbler;
use super::forge::{self, ClientForge};
use super::gang::Gang;
use crate::sim::machine::ClientMachine;
use crate::sim::node::Message;
use crate::sim::rng::Rng;
use crate::sim::swarm::{tame, wild};
use crate::sim::workload::anything;

/// What many of one thing are.
const MANY: usize = 12;

/// The hostile client.
#[derive(Debug)]
pub struct HostileClient {
    forge: ClientForge,
    gang: Gang,
    rng: Rng,
    connected: BTreeSet<ReplicaId>,
    budget: u64,
    next: Time,
    counter: u64,
}

type Sent = Vec<(ReplicaId, ClientBody)>;

impl HostileClient {
    /// A client that does so many bad things.
    pub fn new(forge: ClientForge, gang: Gang, budget: u64, rng: Rng) -> Self {
        gang.lore().clients.push(forge.clone());
        Self {
            forge,
            gang,
            rng,
            connected: BTreeSet::new(),
            budget,
            next: Time::ZERO,
            counter: 0,
        }
    }

    fn act(&mut self) -> Sent {
        match self.rng.below(18) {
            0 | 1 => self.read(),
            2 => self.two_contents(),
            3 => self.write(),
            4 | 5 => self.split_takes(),
            6 => self.take_from_some(),
            7 | 8 => self.show_votes(),
            9 => self.forge_certificate(),
            10 => self.replay(),
            11 | 12 => self.babble(),
            13 => self.wait_much(),
            14 => self.reserve_much(),
            15 => self.flood(),
            16 => self.end_sessions(),
            _ => self.nonsense(),
        }
    }

    fn read(&mut self) -> Sent {
        let modes = [ReadMode::Rdp, ReadMode::Enter, ReadMode::Rd, ReadMode::In];
        let space = if self.rng.chance(500) { tame() } else { wild() };
        let read = ReadRequest {
            space,
            template: anything(),
            mode: *self.rng.pick(&modes).expect("there are modes"),
            start: self.rng.number(),
            candidates: self.rng.between(0, 20) as u8,
            full: self.someone(),
        };
        self.all_hear(ClientBody::Read(read))
    }

    /// An entry like those of the others.
    fn write(&mut self) -> Sent {
        let id = self.new_id();
        let tuple = self.tuple();
        let entry = self.forge.entry(id, tuple);
        self.some_hear(ClientBody::Out { entry })
    }

    fn two_contents(&mut self) -> Sent {
        let id = self.new_id();
        let entries = [self.tuple(), self.tuple()].map(|tuple| self.forge.entry(id.clone(), tuple));
        let everybody: Vec<_> = self.connected.iter().copied().collect();
        let split = |to: ReplicaId| {
            let entry = self.rng.pick(&entries).expect("two").clone();
            (to, ClientBody::Out { entry })
        };
        everybody.into_iter().map(split).collect()
    }

    /// Another Take of one entry for each replica.
    fn split_takes(&mut self) -> Sent {
        let Some((id, hash, content)) = self.some_entry() else {
            return self.read();
        };
        let epoch = self.epoch_of(&id);
        let released = self.release_before(&id, epoch);
        let everybody: Vec<_> = self.connected.iter().copied().collect();
        let mut sent = Vec::new();
        for to in everybody {
            let request = TakeRequest {
                take: self.take(&id, hash, epoch),
                content: Some(content.clone()),
                released: released.clone(),
            };
            sent.push((to, ClientBody::Take(request)));
        }
        sent
    }

    /// One Take, to some replicas only, and then never heard of again.
    fn take_from_some(&mut self) -> Sent {
        let Some((id, hash, content)) = self.some_entry() else {
            return self.read();
        };
        let epoch = self.epoch_of(&id);
        let request = TakeRequest {
            take: self.take(&id, hash, epoch),
            content: self.rng.chance(800).then_some(content),
            released: self.release_before(&id, epoch),
        };
        match self.rng.chance(700) {
            true => self.some_hear(ClientBody::Take(request)),
            false => self.some_hear(ClientBody::Evidence(request)),
        }
    }

    /// A genuine certificate of votes that the gang collected, to some replicas only.
    fn show_votes(&mut self) -> Sent {
        let lore = self.gang.lore();
        let votes: Vec<_> = lore.votes.iter().collect();
        let Some((said, votes)) = self.rng.pick(&votes) else {
            return Vec::new();
        };
        let kinds = [VoteKind::First, VoteKind::Commit, VoteKind::Prepare];
        let kind = *self.rng.pick(&kinds).expect("there are kinds");
        let of_kind: Vec<_> = votes
            .values()
            .filter(|vote| vote.kind == kind)
            .cloned()
            .collect();
        let take = match said.value {
            Value::Take(op) => lore.takes.get(&op).map(|(take, _)| take.clone()),
            Value::Release | Value::Expire => lore.takes.values().next().map(|(t, _)| t.clone()),
        };
        let (Some(certificate), Some(take)) = (forge::certificate(&of_kind), take) else {
            return Vec::new();
        };
        drop(lore);
        let decision = Decision {
            certificate: certificate.clone(),
            take: Some(take.clone()),
        };
        let lock = LockRequest {
            certificate,
            take,
            released: None,
        };
        match self.rng.chance(500) {
            true => self.some_hear(ClientBody::Lock(lock)),
            false => self.some_hear(ClientBody::Decide {
                decision,
                applied: true,
            }),
        }
    }

    fn forge_certificate(&mut self) -> Sent {
        let Some((_, take)) = self.gang.some_take(&mut self.rng, None) else {
            return Vec::new();
        };
        let said = forge::first_statement(self.gang.configuration(), &take);
        let fast = self.gang.configuration().size().fast_quorum();
        let certificate = said.and_then(|said| self.unsigned(&said, fast));
        let Some(certificate) = certificate else {
            return Vec::new();
        };
        let decision = Decision {
            certificate: certificate.clone(),
            take: Some(take.clone()),
        };
        let decide = ClientBody::Decide {
            decision,
            applied: true,
        };
        let lock = LockRequest {
            certificate,
            take,
            released: None,
        };
        match self.rng.chance(500) {
            true => self.all_hear(decide),
            false => self.all_hear(ClientBody::Lock(lock)),
        }
    }

    /// Votes with the seals of something else.
    fn unsigned(&self, said: &Statement, count: usize) -> Option<Certificate> {
        let forged = self.gang.forged_certificate(VoteKind::First, said, count);
        forged.or_else(|| {
            let lore = self.gang.lore();
            let (other, _) = lore.certificates.first()?;
            Some(Certificate {
                payload: bts_core::codec::encode(said),
                ..other.clone()
            })
        })
    }

    /// What somebody else asked before.
    fn replay(&mut self) -> Sent {
        let lore = self.gang.lore();
        let requests = lore.messages.iter().filter_map(|message| match message {
            Message::Request(request) => Some(request.body.clone()),
            Message::Reply(_) | Message::Peer(_) => None,
        });
        let requests: Vec<_> = requests.collect();
        drop(lore);
        match self.rng.pick(&requests) {
            Some(body) => self.some_hear(body.clone()),
            None => Vec::new(),
        }
    }

    /// Anything at all, to some, and to each something else.
    fn babble(&mut self) -> Sent {
        let mut babbler = Babbler {
            gang: &self.gang,
            rng: &mut self.rng,
        };
        let everybody = self.connected.iter();
        everybody
            .filter_map(|to| Some((*to, babbler.request()?)))
            .collect()
    }

    /// Many waiters, all of which stay mute when they are told of an entry.
    fn wait_much(&mut self) -> Sent {
        self.read_much(ReadMode::In)
    }

    /// Reserves whatever there is, and takes none of it.
    fn reserve_much(&mut self) -> Sent {
        self.read_much(ReadMode::Enter)
    }

    fn read_much(&mut self, mode: ReadMode) -> Sent {
        let reads = (0..MANY).flat_map(|_| {
            let read = ReadRequest {
                space: wild(),
                template: anything(),
                mode,
                start: self.rng.number(),
                candidates: u8::MAX,
                full: self.someone(),
            };
            self.all_hear(ClientBody::Read(read))
        });
        reads.collect()
    }

    fn flood(&mut self) -> Sent {
        let said = self.replay();
        std::iter::repeat_n(said, MANY).flatten().collect()
    }

    /// Ends the own session and goes on, ends many that never were, or one of somebody else.
    fn end_sessions(&mut self) -> Sent {
        let (own, session) = (self.forge.public(), self.forge.session());
        if self.rng.chance(300) {
            return self.some_hear(ClientBody::EndSession(self.forge.end(own, session)));
        }
        if self.rng.chance(500) {
            let ends = (0..MANY).flat_map(|_| {
                let end = self.forge.end(own, Session(self.rng.number()));
                self.some_hear(ClientBody::EndSession(end))
            });
            return ends.collect();
        }
        let lore = self.gang.lore();
        let takes: Vec<_> = lore.takes.values().map(|(_, take)| take.taker()).collect();
        drop(lore);
        match self.rng.pick(&takes) {
            Some(other) => {
                let end = self.forge.end(other.key, other.session);
                self.all_hear(ClientBody::EndSession(end))
            }
            None => self.all_hear(ClientBody::Sessions),
        }
    }

    fn nonsense(&mut self) -> Sent {
        let id = match self.rng.chance(500) {
            true => self.some_entry().map(|(id, ..)| id),
            false => None,
        };
        let id = id.unwrap_or_else(|| self.new_id());
        let bodies = [
            ClientBody::Dropped { id: id.clone() },
            ClientBody::Fetch(FetchKey::Decision(id)),
            ClientBody::StillEmpty {
                watch: WatchId(self.rng.below(20)),
                nonce: self.rng.number(),
                stable: self.gang.lore().takes.keys().copied().take(3).collect(),
            },
            ClientBody::Cancel {
                waiter: RequestId(self.rng.below(20)),
            },
        ];
        self.some_hear(
            self.rng
                .clone()
                .pick(&bodies)
                .expect("there are some")
                .clone(),
        )
    }

    fn take(
        &mut self,
        id: &EntryId,
        hash: ContentHash,
        epoch: Epoch,
    ) -> bts_core::crypto::sign::SignedBytes {
        self.counter += 1;
        let count = self.rng.below(3);
        let puts = (0..count).map(|_| Put::from(self.tuple())).collect();
        self.forge.take(self.counter, id.clone(), hash, epoch, puts)
    }

    /// The epoch that the entry is in for all that the gang knows, or just any.
    fn epoch_of(&mut self, id: &EntryId) -> Epoch {
        if self.rng.chance(150) {
            return Epoch(self.rng.below(4) as u8);
        }
        let known = (0..=EPOCH_MAX).rev().map(Epoch);
        let mut released = known.filter(|epoch| self.release_before(id, *epoch).is_some());
        released.next().unwrap_or_default()
    }

    fn release_before(&self, id: &EntryId, epoch: Epoch) -> Option<Certificate> {
        let lore = self.gang.lore();
        let fits = |said: &Statement| {
            said.id == *id && said.value == Value::Release && said.epoch.0 + 1 == epoch.0
        };
        let known = lore.certificates.iter().find(|(_, said)| fits(said));
        known.map(|(certificate, _)| certificate.clone())
    }

    fn some_entry(&mut self) -> Option<(EntryId, ContentHash, Content)> {
        let lore = self.gang.lore();
        let ids: Vec<_> = lore.contents.iter().collect();
        let (id, contents) = self.rng.pick(&ids)?;
        let (hash, content) = self.rng.pick(contents)?;
        Some(((*id).clone(), *hash, content.clone()))
    }

    fn new_id(&mut self) -> EntryId {
        self.counter += 1;
        self.forge.id(&wild(), self.counter)
    }

    fn tuple(&mut self) -> Tuple {
        let number = 9_000_000 + self.rng.below(1_000_000);
        Tuple(vec![
            format!("k{}", self.rng.below(3)).into(),
            number.into(),
        ])
    }

    fn someone(&mut self) -> ReplicaId {
        let everybody: Vec<_> = self.connected.iter().copied().collect();
        self.rng.pick(&everybody).copied().unwrap_or_default()
    }

    fn all_hear(&self, body: ClientBody) -> Sent {
        self.connected
            .iter()
            .map(|to| (*to, body.clone()))
            .collect()
    }

    fn some_hear(&mut self, body: ClientBody) -> Sent {
        let all = self.all_hear(body);
        all.into_iter().filter(|_| self.rng.chance(600)).collect()
    }
}

impl ClientMachine for HostileClient {
    fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        match input {
            Input::Connected(replica) => {
                self.connected.insert(replica);
            }
            Input::Disconnected(replica) => {
                self.connected.remove(&replica);
            }
            Input::Reply(_, reply) => self.gang.learn(&Message::Reply(reply)),
            Input::Tick | Input::Invoke(..) | Input::Cancel(_) => {}
        }
        if self.budget == 0 || now < self.next {
            return;
        }
        self.budget -= 1;
        self.next = now + Span::from_micros(self.rng.between(1, 60_000));
        for (to, body) in self.act() {
            self.counter += 1;
            let request = ClientRequest {
                request: RequestId(self.counter),
                settled_below: TakeNumber(0),
                body,
            };
            out.send.push((to, Arc::new(request)));
        }
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        (self.budget > 0).then_some((self.next, "mischief"))
    }

    fn is_idle(&self) -> bool {
        true
    }
}

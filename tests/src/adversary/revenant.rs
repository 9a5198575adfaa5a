//! A hostile client of a later configuration who has read all that anybody logged in the one before:
//! it writes back entries that are gone, tells of Takes that their clients have left, and shows decisions
//! that nobody founded.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bts_core::client::{Input, Outputs};
use bts_core::codec;
use bts_core::configuration::Configuration;
use bts_core::consensus::certificate::{Certificate, Statement, Value, VoteKind};
use bts_core::content::{Decision, TakePayload};
use bts_core::crypto::sign::{Kind, SignedBytes};
use bts_core::ids::{Ballot, OpId, ReplicaId, RequestId, TakeNumber};
use bts_core::message::{ClientBody, ClientRequest, TakeRequest};
use bts_core::replica::Record;
use bts_core::time::{Span, Time};

use super::legacy::takes_of;
use crate::sim::machine::ClientMachine;
use crate::sim::rng::Rng;

/// How much of what is over it tells of.
const STORIES: usize = 60;
/// Within which time, in microseconds.
const SPREAD_US: u64 = 200_000;

/// The client.
#[derive(Debug)]
pub struct Revenant {
    stories: VecDeque<ClientBody>,
    connected: BTreeSet<ReplicaId>,
    rng: Rng,
    told: u64,
    next: Time,
}

impl Revenant {
    /// Of what these records tell, of a configuration of the same cluster as this one.
    pub fn new<'a>(
        records: impl Iterator<Item = &'a Record>,
        configuration: &Configuration,
        mut rng: Rng,
    ) -> Self {
        let mut stories: Vec<_> = records.flat_map(|r| stories_of(r, configuration)).collect();
        rng.shuffle(&mut stories);
        stories.truncate(STORIES);
        Self {
            stories: stories.into(),
            connected: BTreeSet::new(),
            rng,
            told: 0,
            next: Time::ZERO,
        }
    }
}

fn stories_of(record: &Record, configuration: &Configuration) -> Vec<ClientBody> {
    let mut stories = Vec::new();
    match record {
        Record::Entry(entry) => stories.push(ClientBody::WriteBack {
            entry: entry.clone(),
        }),
        Record::Decided(decision) => stories.push(ClientBody::Decide {
            decision: decision.clone(),
            applied: true,
        }),
        _ => {}
    }
    for take in takes_of(record) {
        let decision = unfounded(&take, configuration);
        stories.extend(decision.map(|decision| ClientBody::Decide {
            decision,
            applied: true,
        }));
        stories.push(ClientBody::Evidence(TakeRequest {
            take,
            content: None,
            released: None,
        }));
    }
    stories
}

/// That this Take has won, which is said to have been carried over.
fn unfounded(take: &SignedBytes, configuration: &Configuration) -> Option<Decision> {
    let said: TakePayload = codec::decode_payload(&take.payload).ok()?;
    let context = configuration.signing_context();
    let op = OpId(context.leaf(Kind::Take, &take.signer, &take.payload));
    let statement = Statement {
        id: said.id,
        epoch: said.epoch,
        ballot: Ballot(1),
        value: Value::Take(op),
    };
    let certificate = Certificate {
        kind: VoteKind::Commit,
        payload: codec::encode(&statement),
        votes: Vec::new(),
        carried: Some(Box::new([])),
    };
    Some(Decision {
        certificate,
        take: Some(take.clone()),
    })
}

impl ClientMachine for Revenant {
    fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        match input {
            Input::Connected(replica) => _ = self.connected.insert(replica),
            Input::Disconnected(replica) => _ = self.connected.remove(&replica),
            Input::Reply(..) | Input::Tick | Input::Invoke(..) | Input::Cancel(_) => {}
        }
        if now < self.next {
            return;
        }
        let Some(body) = self.stories.pop_front() else {
            return;
        };
        let most_us = SPREAD_US / STORIES as u64;
        self.next = now + Span::from_micros(self.rng.between(1, most_us));
        for to in &self.connected {
            if self.rng.chance(700) {
                self.told += 1;
                let request = ClientRequest {
                    request: RequestId(self.told),
                    settled_below: TakeNumber(0),
                    body: body.clone(),
                };
                out.send.push((*to, Arc::new(request)));
            }
        }
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        (!self.stories.is_empty()).then_some((self.next, "what is over"))
    }

    fn is_idle(&self) -> bool {
        true
    }
}

//! What the attackers hear: promises and votes that correct replicas signed.

use bts_core::codec;
use bts_core::consensus::certificate::{SealedVote, Statement, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::ReplicaId;
use bts_core::message::{PeerMessage, ReplyBody};

use super::{Item, LIAR, Stage};
use crate::adversary::puppet::Heard;
use crate::sim::node::{Flight, Message};

impl Stage {
    /// What a correct replica promised for a ballot, as the liar heard it.
    pub fn promise_of(&mut self, number: u16, item: &Item, ballot: u32) -> Option<SignedBytes> {
        self.listen();
        let said = |(from, message): &(ReplicaId, PeerMessage)| {
            let PeerMessage::Promise { promise, .. } = message else {
                return None;
            };
            let payload = codec::decode_payload::<PromisePayload>(&promise.payload);
            let payload = payload.ok()?;
            let fits = from.0 == number && payload.id == item.id && payload.ballot.0 == ballot;
            fits.then(|| promise.clone())
        };
        self.heard.iter().rev().find_map(said)
    }

    /// All votes that say this, the liar's included.
    pub fn votes(&mut self, kind: VoteKind, said: &Statement) -> Vec<SealedVote> {
        self.listen();
        let to_clients = self.c.world.held(self.told).iter().filter_map(vote_in);
        let to_liar = self.heard.iter().filter_map(|(_, message)| match message {
            PeerMessage::PrepareVote(vote) | PeerMessage::CommitVote(vote) => Some(vote.clone()),
            _ => None,
        });
        let own = self.c.forge(LIAR).vote(kind, said);
        let payload = codec::encode(said);
        let mut votes: Vec<SealedVote> = Vec::new();
        for vote in to_clients.chain(to_liar).chain([own]) {
            let fits = vote.kind == kind && vote.payload == payload;
            if fits && votes.iter().all(|known| known.replica != vote.replica) {
                votes.push(vote);
            }
        }
        votes
    }

    fn listen(&mut self) {
        for heard in self.c.heard(LIAR) {
            if let Heard::Peer(from, message) = heard {
                self.heard.push((from, message));
            }
        }
    }
}

fn vote_in(flight: &Flight) -> Option<SealedVote> {
    let Message::Reply(reply) = &flight.message else {
        return None;
    };
    match &reply.body {
        ReplyBody::FirstVote(vote) | ReplyBody::CommitVote(vote) => Some(vote.clone()),
        _ => None,
    }
}

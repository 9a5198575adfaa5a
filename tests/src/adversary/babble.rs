//! The random adversary: any well-formed message with any content that the gang can sign. Numbers,
//! ids, hashes, votes and certificates are mostly those that it came across, put together anew;
//! some are its own, some are of another epoch, ballot, space or cluster. It has no plan, so it
//! tries what nobody thought of.

mod parts;

use bts_core::consensus::certificate::VoteKind;
use bts_core::crypto::hash::Digest;
use bts_core::ids::{RequestId, WatchId};
use bts_core::message::{ClientBody, Compare, PeerMessage, ReplyBody, Since};

use super::gang::Gang;
use crate::sim::rng::Rng;

/// Puts messages together.
#[derive(Debug)]
pub(super) struct Babbler<'a> {
    pub(super) gang: &'a Gang,
    pub(super) rng: &'a mut Rng,
}

impl Babbler<'_> {
    /// Something that replicas say to each other.
    pub(super) fn peer_message(&mut self) -> Option<PeerMessage> {
        let id = self.id()?;
        Some(match self.rng.below(15) {
            0 | 1 => PeerMessage::Promise {
                promise: self.promise(&id)?,
                takes: self.takes(&id),
                released: self.maybe_certificate(&id),
            },
            2 | 3 => PeerMessage::Propose(self.proposal(id)?),
            4 => PeerMessage::PrepareVote(self.vote(VoteKind::Prepare, &id)?),
            5 => PeerMessage::Lock(self.lock(&id)?),
            6 => PeerMessage::CommitVote(self.vote(VoteKind::Commit, &id)?),
            7 => PeerMessage::Decide(self.decision(&id)?),
            8 => PeerMessage::Applied {
                after: self.rng.below(50),
                items: {
                    let number = self.rng.below(50);
                    let take = self.take(&id).map(|(op, _)| (number, id, op));
                    take.into_iter().collect()
                },
            },
            9 => PeerMessage::Relay {
                entry: self.entry()?,
            },
            10 => PeerMessage::Fetch(self.fetch_key(id)),
            11 => PeerMessage::Given(self.given(id)?),
            12 => match self.rng.chance(500) {
                true => PeerMessage::NotHeld(self.fetch_key(id)),
                false => PeerMessage::Resume {
                    next: self.rng.below(50),
                },
            },
            13 => match self.rng.chance(300) {
                true => PeerMessage::Compare(Compare {
                    from: self.rng.chance(300).then(|| id.clone()),
                    to: self.rng.chance(300).then_some(id),
                    count: self.rng.below(3),
                    digest: Digest(self.rng.bytes()),
                }),
                false => PeerMessage::Compared(self.compared(id)),
            },
            _ => match self.rng.chance(500) {
                true => PeerMessage::Removed {
                    removal: self.removal(&id),
                    id,
                },
                false => PeerMessage::Released {
                    certificate: self.certificate(&id)?,
                    id,
                },
            },
        })
    }

    /// Something that a replica answers.
    pub(super) fn reply(&mut self) -> Option<ReplyBody> {
        let id = self.id()?;
        Some(match self.rng.below(14) {
            0 => ReplyBody::Ack,
            1 | 2 => ReplyBody::Found {
                candidates: self.candidates(),
                watch: self.rng.chance(500).then(|| WatchId(self.rng.below(20))),
                moved: self.decisions(&id),
            },
            3 => ReplyBody::Status {
                status: self.status(&id),
                id,
            },
            4 => ReplyBody::EmptySince {
                nonce: self.rng.below(50),
                watch: WatchId(self.rng.below(20)),
                since: *self.rng.pick(&[Since::Yes, Since::No]).expect("two"),
                moved: self.decisions(&id),
            },
            5 => ReplyBody::FirstVote(self.vote(VoteKind::First, &id)?),
            6 => ReplyBody::CommitVote(self.vote(VoteKind::Commit, &id)?),
            7 => ReplyBody::Contended {
                status: self.status(&id),
                id,
            },
            8 => ReplyBody::Applied {
                op: self.take(&id)?.0,
                id,
            },
            9 => ReplyBody::Push(Box::new(self.candidate()?)),
            10 => ReplyBody::Removed {
                removal: self.removal(&id),
                id,
            },
            11 => ReplyBody::Released {
                certificate: self.certificate(&id)?,
                id,
            },
            12 => match self.rng.chance(500) {
                true => ReplyBody::Given(self.given(id)?),
                false => ReplyBody::NotHeld(self.fetch_key(id)),
            },
            _ => ReplyBody::Refused(self.refusal()),
        })
    }

    /// Something that a client asks.
    pub(super) fn request(&mut self) -> Option<ClientBody> {
        let id = self.id()?;
        Some(match self.rng.below(11) {
            0 => ClientBody::Out {
                entry: self.entry()?,
            },
            1 => ClientBody::WriteBack {
                entry: self.entry()?,
            },
            2 => ClientBody::Read(self.read()),
            3 => ClientBody::Take(self.take_request(&id)?),
            4 => ClientBody::Evidence(self.take_request(&id)?),
            5 => ClientBody::Lock(self.lock(&id)?),
            6 => ClientBody::Decide {
                decision: self.decision(&id)?,
                applied: self.rng.chance(500),
            },
            7 => ClientBody::Fetch(self.fetch_key(id)),
            8 => ClientBody::Dropped { id },
            9 => ClientBody::StillEmpty {
                watch: WatchId(self.rng.below(20)),
                nonce: self.rng.below(50),
                stable: self.take(&id).map(|(op, _)| op).into_iter().collect(),
            },
            _ => ClientBody::Cancel {
                waiter: RequestId(self.rng.below(50)),
            },
        })
    }
}

//! What a replica wants done, and the gate that holds back what is not yet durable: nothing leaves
//! before what it depends on is synced.

use std::collections::VecDeque;

use super::record::Record;
use crate::codec;
use crate::consensus::certificate::{SealedVote, Statement, VoteKind};
use crate::crypto::sign::Signer;
use crate::ids::{ClientRef, Lsn, ReplicaId, RequestId};
use crate::message::{PeerMessage, Reply, ReplyBody};
use crate::misbehavior::{Evidence, Forgery};

/// The results of one or more inputs. The owner empties it.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be appended to the log in this order, then synced, then told by `Input::Synced`.
    pub records: Vec<(Lsn, Record)>,
    /// Records that no replay needs any more as soon as all of `records`, and all before them, are
    /// durable. Deleting them late, or never, changes nothing but the room they take.
    pub obsolete: Vec<Obsolete>,
    /// To be sent, in any order; losing or doubling one is harmless.
    pub send: Vec<Outgoing>,
    /// To be logged for people.
    pub events: Vec<Event>,
}

/// a record that no replay needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obsolete {
    /// The record.
    pub lsn: Lsn,
    /// As long as this one, obsolete as well, is still there, the record must stay: a replay that
    /// met only the older of the two would take back what the younger says.
    pub after: Option<Lsn>,
}

impl Obsolete {
    /// A record that may be deleted whatever else is there.
    pub(super) fn now(lsn: Lsn) -> Self {
        Self { lsn, after: None }
    }
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// To a client session.
    Client(ClientRef, Reply),
    /// To a peer, on our own connection.
    Peer(ReplicaId, PeerMessage),
}

/// Whom something came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// A client.
    Client(ClientRef),
    /// A replica.
    Replica(ReplicaId),
}

/// Something people may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something forged or altered was relayed; refused and counted.
    Forged {
        /// By whom.
        by: Principal,
        /// What was wrong.
        what: Forgery,
    },
    /// Proof that a signer is faulty.
    Convicted(Box<Evidence>),
    /// A request was refused.
    Refused {
        /// Whose.
        by: Principal,
        /// Why.
        why: String,
    },
}

/// Whom a vote is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VoteTo {
    /// A client that asked.
    Client(ClientRef, RequestId),
    /// A co-proposer, possibly this replica itself.
    Replica(ReplicaId),
}

/// Something that waits for the disk.
#[derive(Debug)]
enum Held {
    Message(Box<Outgoing>),
    Vote(VoteTo, VoteKind, Statement),
}

/// What a released vote became.
#[derive(Debug)]
pub(super) struct ReleasedVote {
    pub(super) to: VoteTo,
    pub(super) vote: SealedVote,
}

/// Messages that promise something, each with the last record that it depends on.
#[derive(Debug, Default)]
pub(super) struct Gate {
    last: Lsn,
    synced: Lsn,
    held: VecDeque<(Lsn, Held)>,
}

impl Gate {
    /// The number of the next record.
    pub(super) fn log(&mut self) -> Lsn {
        self.last = Lsn(self.last.0 + 1);
        self.last
    }

    /// A record of an earlier run, which is durable. False if its number does not rise.
    pub(super) fn replay(&mut self, lsn: Lsn) -> bool {
        let rises = lsn > self.last;
        if rises {
            self.last = lsn;
            self.synced = lsn;
        }
        rises
    }

    /// Holds a message until everything logged so far is durable.
    pub(super) fn promise(&mut self, message: Outgoing) {
        self.held
            .push_back((self.last, Held::Message(Box::new(message))));
    }

    /// The same for a vote, which is signed together with others when it leaves.
    pub(super) fn vote(&mut self, to: VoteTo, kind: VoteKind, statement: Statement) {
        self.held
            .push_back((self.last, Held::Vote(to, kind, statement)));
    }

    /// The last record logged.
    pub(super) fn last(&self) -> Lsn {
        self.last
    }

    /// The last record known to be durable.
    pub(super) fn is_synced_to(&self) -> Lsn {
        self.synced
    }

    pub(super) fn synced(&mut self, lsn: Lsn) {
        assert!(
            lsn <= self.last,
            "{lsn} was never logged, the last was {}",
            self.last
        );
        self.synced = self.synced.max(lsn);
    }

    /// Lets go what is durable. All votes among it share one signature.
    pub(super) fn release(
        &mut self,
        me: ReplicaId,
        signer: &Signer,
        out: &mut Outputs,
    ) -> Vec<ReleasedVote> {
        let mut votes = Vec::new();
        let synced = self.synced;
        let may_leave = |lsn: Lsn| lsn <= synced || mutant!(SentBeforeSynced);
        while self.held.front().is_some_and(|(lsn, _)| may_leave(*lsn)) {
            match self.held.pop_front() {
                Some((_, Held::Message(message))) => out.send.push(*message),
                Some((_, Held::Vote(to, kind, statement))) => {
                    votes.push((to, kind, codec::encode(&statement)));
                }
                None => {}
            }
        }
        let payloads: Vec<_> = votes
            .iter()
            .map(|(_, kind, payload)| (kind.signed_kind(), payload.as_slice()))
            .collect();
        let seals = signer.seal(&payloads);
        let sealed = votes.into_iter().zip(seals);
        sealed
            .map(|((to, kind, payload), seal)| ReleasedVote {
                to,
                vote: SealedVote {
                    kind,
                    payload,
                    replica: me,
                    seal,
                },
            })
            .collect()
    }
}

impl ReleasedVote {
    /// The message that carries the vote, unless it is for this replica itself.
    pub(super) fn message(self, me: ReplicaId) -> Result<Outgoing, SealedVote> {
        match self.to {
            VoteTo::Client(client, request) => {
                let body = match self.vote.kind {
                    VoteKind::First => ReplyBody::FirstVote(self.vote),
                    VoteKind::Prepare | VoteKind::Commit => ReplyBody::CommitVote(self.vote),
                };
                Ok(Outgoing::Client(client, Reply { request, body }))
            }
            VoteTo::Replica(replica) if replica == me => Err(self.vote),
            VoteTo::Replica(replica) => {
                let message = match self.vote.kind {
                    VoteKind::Commit => PeerMessage::CommitVote(self.vote),
                    VoteKind::First | VoteKind::Prepare => PeerMessage::PrepareVote(self.vote),
                };
                Ok(Outgoing::Peer(replica, message))
            }
        }
    }
}

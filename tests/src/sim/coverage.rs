//! Coverage marks: what a batch of runs must have come across to prove anything. A simulation in
//! which nothing is contested passes every check.

use std::collections::BTreeMap;
use std::fmt;

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, Statement, Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::ids::{Ballot, Epoch, TakeNumber};
use bts_core::limits::EPOCH_MAX;
use bts_core::message::{
    ClientBody, FetchKey, PeerMessage, Proposal, Refused, ReplyBody, Since, Status,
};
use bts_core::quorum::ClusterSize;
use bts_core::replica::Event;

use super::node::Message;

/// How often each mark was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

/// Marks that a large batch must meet.
pub const DEMANDED: &[&str] = &[
    "None proven",
    "alike at once",
    "alike in the end",
    "applied",
    "choice (a): a lock",
    "choice (b): T first votes",
    "choice (c): a Take",
    "choice (c): release",
    "client reports a fault",
    "commit decision in a higher ballot",
    "client closed",
    "client crashed, and has heirs",
    "commit decision in ballot 0",
    "commit vote",
    "compare",
    "compared",
    "compared: not the same",
    "contended",
    "crash before a sync",
    "convicted",
    "crash before it takes part",
    "decision made stable",
    "disk lost",
    "disk lost before anybody knew it",
    "disowned",
    "decision on a put",
    "decision with puts",
    "dropped",
    "empty but for D",
    "empty since: no",
    "empty since: no such watch",
    "empty since: yes",
    "end session",
    "evidence",
    "fast decision",
    "fetch",
    "fetch of a Take",
    "fetch of a content",
    "fetch of a decision",
    "fetch of a release",
    "first vote",
    "forgery detected",
    "founded anew",
    "given",
    "left over",
    "list",
    "lock",
    "lying export refused",
    "lying export taken in",
    "newborn cluster",
    "not held",
    "older copy that is noticed",
    "older copy that may pass",
    "nothing kept",
    "nothing left over",
    "operation cancelled",
    "operator sent back",
    "page",
    "prepare vote",
    "promise",
    "promise in a later epoch",
    "propose",
    "push",
    "put forgotten",
    "read",
    "read sees a later epoch",
    "read sees a lock",
    "read sees a reservation",
    "refused",
    "relay",
    "release proposed",
    "released",
    "removed",
    "restart with a shortened log",
    "configuration changed",
    "concluded at the end",
    "resume",
    "root forgotten",
    "session ended",
    "sessions",
    "sessions told",
    "settled",
    "settled, but kept",
    "skipped",
    "still empty",
    "stream goes on",
    "take after the end of its session",
    "take in a later epoch",
    "too many sessions",
    "waiting operation cancelled",
    "warm take",
    "write-back",
];

impl Coverage {
    /// Met once more.
    pub fn mark(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    /// Adds what another run met.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// How often it was met.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// What should have been met and was not.
    pub fn missing(&self) -> Vec<&'static str> {
        DEMANDED
            .iter()
            .copied()
            .filter(|name| self.count(name) == 0)
            .collect()
    }

    /// What this message shows.
    pub(super) fn note(&mut self, message: &Message) {
        self.mark(message.kind());
        match message {
            Message::Request(_) => {}
            Message::Reply(reply) => self.note_reply(&reply.body),
            Message::Peer(PeerMessage::Propose(proposal)) if proposal.value == Value::Release => {
                self.mark("release proposed");
            }
            Message::Peer(_) => {}
        }
    }

    /// What this message of somebody correct shows.
    pub(super) fn note_honest(&mut self, size: ClusterSize, message: &Message) {
        match message {
            Message::Request(request) => {
                if request.settled_below > TakeNumber(0) {
                    self.mark("settled");
                }
                match &request.body {
                    ClientBody::Fetch(key) => self.note_fetch(key),
                    ClientBody::Decide { applied: true, .. } => self.mark("decision made stable"),
                    _ => {}
                }
            }
            Message::Reply(_) => {}
            Message::Peer(PeerMessage::Propose(proposal)) => self.note_choice(size, proposal),
            Message::Peer(PeerMessage::Fetch(key)) => self.note_fetch(key),
            Message::Peer(PeerMessage::Promise { released, .. }) if released.is_some() => {
                self.mark("promise in a later epoch");
            }
            Message::Peer(PeerMessage::Compared(answer)) if answer.items.is_some() => {
                self.mark("compared: not the same");
            }
            Message::Peer(PeerMessage::Resume { next }) if *next > 0 => self.mark("stream goes on"),
            Message::Peer(_) => {}
        }
    }

    /// By which case of the recovery rule a value was chosen.
    fn note_choice(&mut self, size: ClusterSize, proposal: &Proposal) {
        let promises = proposal.promises.iter();
        let promises =
            promises.filter_map(|p| codec::decode_payload::<PromisePayload>(&p.payload).ok());
        let promises: Vec<_> = promises.collect();
        let votes = |op| promises.iter().filter(|p| p.first == Some(op)).count();
        let forced =
            |p: &PromisePayload| p.first.is_some_and(|op| votes(op) >= size.forced_votes());
        self.mark(if promises.iter().any(|p| p.lock.is_some()) {
            "choice (a): a lock"
        } else if promises.iter().any(forced) {
            "choice (b): T first votes"
        } else if proposal.epoch >= Epoch(EPOCH_MAX) {
            "choice (c): the last epoch"
        } else if proposal.value == Value::Release {
            "choice (c): release"
        } else {
            "choice (c): a Take"
        });
    }

    fn note_fetch(&mut self, key: &FetchKey) {
        self.mark(match key {
            FetchKey::Content(..) => "fetch of a content",
            FetchKey::Take(..) => "fetch of a Take",
            FetchKey::Decision(_) => "fetch of a decision",
            FetchKey::Release(..) => "fetch of a release",
        });
    }

    pub(super) fn note_event(&mut self, event: &Event) {
        self.mark(match event {
            Event::Forged { .. } => "forgery detected",
            Event::Convicted(_) => "convicted",
            Event::Refused { .. } => "refused",
        });
    }

    pub(super) fn note_decision(&mut self, certificate: &Certificate, said: &Statement) {
        self.mark(match (certificate.kind, said.ballot) {
            (VoteKind::First, _) => "fast decision",
            (_, Ballot::ZERO) => "commit decision in ballot 0",
            _ => "commit decision in a higher ballot",
        });
        if !said.id.is_root() {
            self.mark("decision on a put");
        }
        if said.epoch > Epoch(0) {
            self.mark("take in a later epoch");
        }
    }

    fn note_reply(&mut self, body: &ReplyBody) {
        match body {
            ReplyBody::Found {
                candidates, moved, ..
            } => {
                let statuses = candidates.iter().map(|candidate| &candidate.status);
                statuses.for_each(|status| self.note_status(status));
                if !moved.is_empty() {
                    self.mark("empty but for D");
                }
            }
            ReplyBody::EmptySince { since, .. } => self.mark(match since {
                Since::Yes => "empty since: yes",
                Since::No => "empty since: no",
                Since::NoSuchWatch => "empty since: no such watch",
            }),
            ReplyBody::Status { status, .. } => self.note_status(status),
            ReplyBody::Refused(Refused::TooManySessions) => self.mark("too many sessions"),
            ReplyBody::Refused(Refused::SessionEnded) => {
                self.mark("take after the end of its session");
            }
            _ => {}
        }
    }

    fn note_status(&mut self, status: &Status) {
        if status.lock.is_some() {
            self.mark("read sees a lock");
        }
        if status.reserved {
            self.mark("read sees a reservation");
        }
        if status.epoch > Epoch(0) {
            self.mark("read sees a later epoch");
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(name, count)| writeln!(f, "{count:>10}  {name}"))
    }
}

//! What a replica knows of an open instance without being bound by it: Takes that others sent,
//! promises it heard, clients that wait for the end, its timers, and its work as the owner of a
//! ballot. All of it may be lost.

use std::collections::BTreeMap;

use crate::consensus::certificate::{Statement, VoteKind};
use crate::consensus::choose::take_order;
use crate::consensus::promise::ValidPromise;
use crate::consensus::tally::Tally;
use crate::content::TakePayload;
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::Verified;
use crate::ids::{Ballot, ClientRef, Epoch, OpId, PublicKey, ReplicaId, RequestId};
use crate::limits::TAKES_PER_INSTANCE_MAX;
use crate::message::{LockRequest, Proposal};
use crate::time::Time;

/// Clients told of the end of one instance without asking again.
const CONCERNED_MAX: usize = 64;

/// Whom an open instance is charged to: the client that told of a Take, or the client whose Take a
/// peer told of, together with that peer (C7).
pub(super) type Account = (PublicKey, Option<ReplicaId>);

/// An open instance.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// The epoch it is about.
    epoch: Epoch,
    /// When it was opened.
    pub(super) opened_at: Time,
    /// On whose account it was opened.
    pub(super) account: Option<Account>,
    /// Valid, allowed Takes.
    pub(super) takes: BTreeMap<OpId, Verified<TakePayload>>,
    /// The latest valid promise of each replica, with the Takes that came with it.
    pub(super) heard: BTreeMap<ReplicaId, Heard>,
    /// Clients to be told of the end.
    concerned: BTreeMap<ClientRef, RequestId>,
    /// When the window of the ballot ends, once it is open.
    pub(super) window_ends: Option<Time>,
    /// When two Takes will have been known for long enough to enter ballot 1.
    pub(super) rivals_since: Option<Time>,
    /// When to say everything again.
    pub(super) repeat_at: Option<Time>,
    /// The work as owner of a ballot.
    pub(super) own: Option<OwnBallot>,
}

/// A promise that was heard.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) promise: ValidPromise,
    pub(super) takes: Vec<Verified<TakePayload>>,
}

/// A ballot that this replica owns and proposed in.
#[derive(Debug)]
pub(super) struct OwnBallot {
    /// The ballot.
    pub(super) ballot: Ballot,
    /// What was proposed.
    pub(super) proposal: Proposal,
    /// The Take that goes along with its lock: the one it names, or any for `Release`.
    pub(super) evidence: SignedBytes,
    /// What was proposed, as a vote says it.
    pub(super) statement: Statement,
    /// Prepare votes.
    pub(super) prepared: Tally,
    /// The lock that followed from them.
    pub(super) lock: Option<LockRequest>,
    /// Commit votes.
    pub(super) committed: Tally,
}

impl OwnBallot {
    pub(super) fn new(proposal: Proposal, evidence: SignedBytes) -> Self {
        let statement = Statement {
            id: proposal.id.clone(),
            epoch: proposal.epoch,
            ballot: proposal.ballot,
            value: proposal.value,
        };
        Self {
            ballot: proposal.ballot,
            proposal,
            evidence,
            statement,
            prepared: Tally::new(VoteKind::Prepare),
            lock: None,
            committed: Tally::new(VoteKind::Commit),
        }
    }
}

impl Contest {
    /// Nothing known yet of this epoch.
    pub(super) fn new(epoch: Epoch, opened_at: Time, account: Option<Account>) -> Self {
        Self {
            epoch,
            opened_at,
            account,
            ..Self::default()
        }
    }

    /// Remembers a Take: the least by the order of the last epoch, and some more. `keep` is the
    /// Take of the own first vote, which stays.
    pub(super) fn learn(&mut self, take: Verified<TakePayload>, keep: Option<OpId>) {
        debug_assert_eq!(self.epoch, take.epoch, "an instance ends with its epoch");
        self.takes.insert(take.op(), take);
        if self.takes.len() > TAKES_PER_INSTANCE_MAX {
            let most = self
                .takes
                .values()
                .filter(|take| Some(take.op()) != keep)
                .max_by_key(|take| take_order(&take.id, take.epoch, &take.client, take.op()));
            let most = most.map(|take| take.op());
            most.and_then(|op| self.takes.remove(&op));
        }
    }

    /// The least Take known.
    pub(super) fn least(&self) -> Option<&Verified<TakePayload>> {
        self.takes
            .values()
            .min_by_key(|take| take_order(&take.id, take.epoch, &take.client, take.op()))
    }

    /// A Take in full, from wherever it is known.
    pub(super) fn take(&self, op: &OpId) -> Option<&Verified<TakePayload>> {
        let attached = || self.heard.values().flat_map(|heard| &heard.takes);
        self.takes
            .get(op)
            .or_else(|| attached().find(|take| take.op() == *op))
    }

    /// Remembers a client that wants to know the end.
    pub(super) fn concern(&mut self, client: ClientRef, request: RequestId) {
        if self.concerned.len() < CONCERNED_MAX || self.concerned.contains_key(&client) {
            self.concerned.insert(client, request);
        }
    }

    /// The clients that want to know the end.
    pub(super) fn concerned(&self) -> impl Iterator<Item = (ClientRef, RequestId)> + '_ {
        self.concerned
            .iter()
            .map(|(client, request)| (*client, *request))
    }

    /// How many replicas are known to have promised `ballot` or more.
    pub(super) fn promised_at_least(&self, ballot: Ballot) -> usize {
        self.heard
            .values()
            .filter(|heard| heard.promise.payload().ballot >= ballot)
            .count()
    }

    /// The `count`-th highest ballot promised.
    pub(super) fn nth_highest(&self, count: usize) -> Option<Ballot> {
        let mut ballots: Vec<_> = self
            .heard
            .values()
            .map(|heard| heard.promise.payload().ballot)
            .collect();
        ballots.sort_unstable_by(|a, b| b.cmp(a));
        ballots.get(count.checked_sub(1)?).copied()
    }

    /// When the next of its timers is due.
    pub(super) fn due(&self) -> Option<Time> {
        [self.window_ends, self.rivals_since, self.repeat_at]
            .into_iter()
            .flatten()
            .min()
    }
}

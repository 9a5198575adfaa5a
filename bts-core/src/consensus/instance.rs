//! the acceptor of one instance `I(id, e)`, what a replica has bound itself to. Pure
//! bookkeeping of promises; who may propose what is decided elsewhere.
//!
//! Invariants, each one a reason why two values are never decided: `promised` never falls; there is
//! one first vote, made at `promised = 0`; one prepare vote per ballot; `locked` is replaced by
//! higher ballots only.

use super::certificate::Value;
use crate::crypto::verified::ValidCertificate;
use crate::ids::{Ballot, OpId};

/// An acceptor's state. All of it is durable before a message reveals it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    promised: Ballot,
    first: Option<OpId>,
    voted: Option<(Ballot, Value)>,
    locked: Option<ValidCertificate>,
}

/// Why an acceptor does not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has promised this higher ballot.
    Promised(Ballot),
    /// It has voted for something else in this ballot.
    VotedOtherwise,
}

impl Instance {
    /// The highest ballot entered or joined.
    pub fn promised(&self) -> Ballot {
        self.promised
    }

    /// The vote of ballot 0.
    pub fn first(&self) -> Option<OpId> {
        self.first
    }

    /// The last prepare vote.
    pub fn voted(&self) -> Option<(Ballot, Value)> {
        self.voted
    }

    /// The highest lock accepted.
    pub fn locked(&self) -> Option<&ValidCertificate> {
        self.locked.as_ref()
    }

    /// True if the acceptor is bound to nothing.
    pub fn is_untouched(&self) -> bool {
        *self == Self::default()
    }

    /// May it vote for `op` in ballot 0? Repeating the vote it has given is always allowed.
    pub fn may_first_vote(&self, op: OpId) -> Result<(), Refusal> {
        match self.first {
            Some(first) if first == op => Ok(()),
            _ if self.promised > Ballot::ZERO && !mutant!(FirstVoteAfterPromise) => {
                Err(Refusal::Promised(self.promised))
            }
            Some(_) if !mutant!(FirstVoteTwice) => Err(Refusal::VotedOtherwise),
            Some(_) | None => Ok(()),
        }
    }

    /// Gives the vote of ballot 0.
    pub fn first_vote(&mut self, op: OpId) {
        assert_eq!(
            self.may_first_vote(op),
            Ok(()),
            "a first vote it may not give"
        );
        self.first = Some(op);
    }

    /// Enters a higher ballot: nothing is accepted in lower ones any more.
    pub fn enter(&mut self, ballot: Ballot) {
        assert!(
            ballot > self.promised,
            "{ballot} is not above {}",
            self.promised
        );
        self.promised = ballot;
    }

    /// May it vote for `value` in `ballot >= 1`?
    pub fn may_prepare(&self, ballot: Ballot, value: Value) -> Result<(), Refusal> {
        if ballot < self.promised || ballot == Ballot::ZERO {
            return Err(Refusal::Promised(self.promised));
        }
        match self.voted {
            Some((voted, other))
                if voted == ballot && other != value && !mutant!(PrepareVoteTwice) =>
            {
                Err(Refusal::VotedOtherwise)
            }
            _ => Ok(()),
        }
    }

    /// Gives a prepare vote. The ballot was entered before, so `promised` binds already (G3).
    pub fn prepare_vote(&mut self, ballot: Ballot, value: Value) {
        assert_eq!(
            self.may_prepare(ballot, value),
            Ok(()),
            "a prepare vote it may not give"
        );
        assert!(
            self.promised == ballot || mutant!(LockReplacedByLower),
            "a ballot is entered before it is voted in"
        );
        self.voted = Some((ballot, value));
    }

    /// May it accept a lock of this ballot?
    pub fn may_lock(&self, ballot: Ballot) -> Result<(), Refusal> {
        match self.promised > ballot && !mutant!(LockIgnoresPromised) {
            true => Err(Refusal::Promised(self.promised)),
            false => Ok(()),
        }
    }

    /// Accepts a lock. Its ballot was entered before. A lock of the same ballot says the same, as
    /// two certificates of one ballot share a correct voter; the one held is kept.
    pub fn lock(&mut self, certificate: ValidCertificate) {
        let ballot = certificate.statement().ballot;
        assert_eq!(self.may_lock(ballot), Ok(()), "a lock it may not accept");
        if mutant!(LockIgnoresPromised) || mutant!(LockReplacedByLower) {
            return self.lock_unbound(certificate);
        }
        assert_eq!(
            self.promised, ballot,
            "a ballot is entered before it is locked in"
        );
        let held = self.locked.as_ref().map(|held| held.statement());
        if let Some(held) = held.filter(|held| held.ballot == ballot) {
            assert_eq!(
                held.value,
                certificate.statement().value,
                "two locks of one ballot"
            );
            return;
        }
        assert!(
            held.is_none_or(|held| held.ballot < ballot),
            "a lock replaced by a lower one"
        );
        self.locked = Some(certificate);
    }

    /// Accepts a lock although its ballot was not entered, or a higher one was.
    fn lock_unbound(&mut self, certificate: ValidCertificate) {
        let ballot = |lock: &ValidCertificate| lock.statement().ballot;
        let is_lower = |held: &ValidCertificate| ballot(held) > ballot(&certificate);
        if mutant!(LockReplacedByLower) || !self.locked.as_ref().is_some_and(is_lower) {
            self.locked = Some(certificate);
        }
    }
}

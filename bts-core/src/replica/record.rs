//! What a replica logs. A `Change` is a verified step of the durable state; a [`Record`] is the
//! same step as it is written. `Store::apply` is the only writer of that state.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ranges::WriterSession;
use crate::consensus::certificate::{Certificate, Value};
use crate::consensus::promise::SignedPromise;
use crate::content::{
    DecidedTake, Decision, EndPayload, HeldContent, Outcome, Source, TakePayload,
};
use crate::crypto::hash::Digest;
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::{ValidCertificate, Verified, Verifier};
use crate::ids::{Ballot, ClientRef, EntryId, Epoch, TakeNumber};
use crate::misbehavior::Forgery;

/// One step of a replica's durable state, as written. Append-only, like the messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A content of an entry.
    Entry(SignedBytes),
    /// The first vote of an instance, for this Take.
    FirstVote(SignedBytes),
    /// A ballot was entered: the promise, and the Takes it names.
    Entered(SignedBytes, Vec<SignedBytes>),
    /// A prepare vote.
    Prepared(EntryId, Epoch, Ballot, Value),
    /// A lock was accepted, and with it a commit vote given; the Take that came with it.
    Locked(Certificate, SignedBytes),
    /// An entry was taken; its puts went live in the same step.
    Decided(Decision),
    /// An epoch was released.
    Released(Certificate),
    /// The decisions of these roots were forgotten: first and last counters.
    ForgotRoots(WriterSession, Vec<(u64, u64)>),
    /// The decision of a put was forgotten.
    ForgotPut(EntryId),
    /// An entry was dropped because `f + 1` peers had forgotten it.
    Skipped(EntryId),
    /// All Takes of the session below this number are settled.
    Settled(ClientRef, TakeNumber),
    /// The replica stopped for good, for this purpose. No record follows.
    Stopped(Digest),
    /// A session ended.
    Ended(SignedBytes),
}

/// One verified step.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A content of an entry. Puts come with their decision.
    Entry(HeldContent),
    /// The first vote of an instance.
    FirstVote(Verified<TakePayload>),
    /// A ballot was entered.
    Entered(SignedPromise, Vec<Verified<TakePayload>>),
    /// A prepare vote.
    Prepared(EntryId, Epoch, Ballot, Value),
    /// A lock was accepted.
    Locked(ValidCertificate, Verified<TakePayload>),
    /// An entry was taken.
    Decided(Arc<DecidedTake>),
    /// An epoch was released.
    Released(ValidCertificate),
    /// Decisions of roots were forgotten.
    ForgotRoots(WriterSession, Vec<(u64, u64)>),
    /// The decision of a put was forgotten.
    ForgotPut(EntryId),
    /// An entry was dropped because peers had forgotten it.
    Skipped(EntryId),
    /// Takes of a session are settled.
    Settled(ClientRef, TakeNumber),
    /// The replica stopped for good.
    Stopped(Digest),
    /// A session ended.
    Ended(Verified<EndPayload>),
}

impl Change {
    /// The change that was written, as `own` sees it: the verifier for the own log.
    pub(super) fn from_record(own: &Verifier, record: Record) -> Result<Self, Forgery> {
        let takes = |takes: Vec<SignedBytes>| takes.into_iter().map(|take| own.take(take));
        Ok(match record {
            Record::Entry(signed) => Self::Entry(HeldContent::from_entry(own.entry(signed)?)),
            Record::FirstVote(take) => Self::FirstVote(own.take(take)?),
            Record::Entered(promise, named) => {
                let named = takes(named).collect::<Result<_, _>>()?;
                Self::Entered(own.signed_promise(promise)?, named)
            }
            Record::Prepared(id, epoch, ballot, value) => Self::Prepared(id, epoch, ballot, value),
            Record::Locked(lock, take) => Self::Locked(own.certificate(lock)?, own.take(take)?),
            Record::Decided(decision) => match own.decision(decision)? {
                Outcome::Taken(decided) => Self::Decided(decided),
                Outcome::Released(_) => return Err(Forgery::TakeMissing),
            },
            Record::Released(certificate) => {
                let valid = own.decision_certificate(certificate)?;
                match valid.statement().value {
                    Value::Release => Self::Released(valid),
                    Value::Take(_) | Value::Expire => return Err(Forgery::WrongInstance),
                }
            }
            Record::ForgotRoots(session, ranges) => Self::ForgotRoots(session, ranges),
            Record::ForgotPut(id) => Self::ForgotPut(id),
            Record::Skipped(id) => Self::Skipped(id),
            Record::Settled(client, number) => Self::Settled(client, number),
            Record::Stopped(purpose) => Self::Stopped(purpose),
            Record::Ended(end) => Self::Ended(own.end(end)?),
        })
    }

    /// The change as it is written.
    pub(super) fn to_record(&self) -> Record {
        match self {
            Self::Entry(content) => match &content.source {
                Source::Entry(entry) => Record::Entry(entry.signed().clone()),
                Source::Put(decided) => Record::Decided(decided.to_wire()),
            },
            Self::FirstVote(take) => Record::FirstVote(take.signed().clone()),
            Self::Entered(promise, takes) => {
                let takes = takes.iter().map(|take| take.signed().clone()).collect();
                Record::Entered(promise.promise.signed().clone(), takes)
            }
            Self::Prepared(id, epoch, ballot, value) => {
                Record::Prepared(id.clone(), *epoch, *ballot, *value)
            }
            Self::Locked(lock, take) => {
                Record::Locked(lock.certificate().clone(), take.signed().clone())
            }
            Self::Decided(decided) => Record::Decided(decided.to_wire()),
            Self::Released(certificate) => Record::Released(certificate.certificate().clone()),
            Self::ForgotRoots(session, ranges) => {
                Record::ForgotRoots(session.clone(), ranges.clone())
            }
            Self::ForgotPut(id) => Record::ForgotPut(id.clone()),
            Self::Skipped(id) => Record::Skipped(id.clone()),
            Self::Settled(client, number) => Record::Settled(*client, *number),
            Self::Stopped(purpose) => Record::Stopped(*purpose),
            Self::Ended(end) => Record::Ended(end.signed().clone()),
        }
    }
}

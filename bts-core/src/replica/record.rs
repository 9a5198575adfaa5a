//! What a replica logs. A `Change` is a verified step of the durable state; a [`Record`] is the
//! same step as it is written. `Store::apply` is the only writer of that state.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::consensus::certificate::{Certificate, Value};
use crate::consensus::promise::SignedPromise;
use crate::content::{DecidedTake, Decision, HeldContent, Source, TakePayload};
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::{ValidCertificate, Verified};
use crate::ids::{Ballot, EntryId, Epoch};

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
}

impl Change {
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
        }
    }
}

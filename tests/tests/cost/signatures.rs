//! Finding signatures in messages.

use std::collections::BTreeSet;

use bts_core::consensus::certificate::SealedVote;
use bts_core::content::Content;
use bts_core::crypto::sign::SignedBytes;
use bts_core::crypto::verified::Verifier;
use bts_core::message::{Given, ReplyBody};
use serde::Serialize;
use serde_json::Value;

/// Adds all signatures in a message, wherever in it they are: no other part of one has this name.
pub(crate) fn collect(message: &impl Serialize, into: &mut BTreeSet<String>) {
    let value = serde_json::to_value(message).expect("messages have names and lists only");
    walk(&value, into);
}

fn walk(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| walk(value, into)),
        Value::Object(members) => {
            for (name, value) in members {
                match name == "signature" {
                    true => drop(into.insert(value.to_string())),
                    false => walk(value, into),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Something signed that a client is shown.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Vote(Box<SealedVote>),
    Entry(Box<SignedBytes>),
}

impl Shown {
    /// Votes and entries in an answer. Certificates are shown only where something was contested.
    pub(crate) fn of(body: &ReplyBody) -> Vec<Self> {
        let entry = |content: &Content| match content {
            Content::Signed(entry) => Some(Self::Entry(Box::new(entry.clone()))),
            Content::Put(_) => None,
        };
        match body {
            ReplyBody::FirstVote(vote) | ReplyBody::CommitVote(vote) => {
                vec![Self::Vote(Box::new(vote.clone()))]
            }
            ReplyBody::Found { candidates, .. } | ReplyBody::Page { candidates, .. } => {
                let contents = candidates.iter().filter_map(|one| one.full.as_ref());
                contents.filter_map(entry).collect()
            }
            ReplyBody::Push(candidate) => candidate.full.iter().filter_map(entry).collect(),
            ReplyBody::Given(Given::Content(_, content)) => entry(content).into_iter().collect(),
            ReplyBody::Given(_)
            | ReplyBody::Ack
            | ReplyBody::Status { .. }
            | ReplyBody::EmptySince { .. }
            | ReplyBody::Contended { .. }
            | ReplyBody::Applied { .. }
            | ReplyBody::Removed { .. }
            | ReplyBody::Released { .. }
            | ReplyBody::NotHeld(_)
            | ReplyBody::Refused(_)
            | ReplyBody::Report(_)
            | ReplyBody::Sessions { .. } => Vec::new(),
        }
    }

    /// Whether whoever shares the verifier's memory had checked it before.
    pub(crate) fn was_checked(&self, verifier: &Verifier) -> bool {
        let before = verifier.checks();
        let is_good = match self {
            Self::Vote(vote) => verifier.vote((**vote).clone()).is_ok(),
            Self::Entry(entry) => verifier.entry((**entry).clone()).is_ok(),
        };
        assert!(is_good, "nobody is hostile: {self:?}");
        verifier.checks() == before
    }

    pub(crate) fn signature(&self) -> [u8; 64] {
        match self {
            Self::Vote(vote) => vote.seal.signature,
            Self::Entry(entry) => entry.seal.signature,
        }
    }
}

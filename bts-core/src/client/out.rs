//! `out`: done when `q` replicas hold the entry. What "limit" or "starting" refuse is asked
//! again later.

use std::collections::BTreeSet;

use super::Outcome;
use super::replies::Refusals;
use super::step::Step;
use crate::content::{IllFormed, Put};
use crate::crypto::sign::SignedBytes;
use crate::ids::{EntryId, ReplicaId, SpaceName};
use crate::message::{ClientBody, ReplyBody};

/// An entry being written.
#[derive(Debug)]
pub(super) struct Out {
    id: EntryId,
    acknowledged: BTreeSet<ReplicaId>,
    refusals: Refusals,
}

impl Out {
    /// Has the entry signed, or says why it is malformed.
    pub(super) fn begin(
        step: &mut Step<'_>,
        space: SpaceName,
        put: Put,
    ) -> Result<Self, IllFormed> {
        Ok(Self {
            id: step.sign_entry(space, put)?,
            acknowledged: BTreeSet::new(),
            refusals: Refusals::default(),
        })
    }

    /// Sends the entry to all.
    pub(super) fn on_signed(&mut self, step: &mut Step<'_>, entry: SignedBytes) {
        step.ask_all(ClientBody::Out { entry });
    }

    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        body: ReplyBody,
    ) -> Option<Outcome> {
        let size = step.size();
        match body {
            ReplyBody::Ack => {
                self.acknowledged.insert(from);
                let is_done = self.acknowledged.len() >= size.ack_quorum();
                is_done.then(|| Outcome::Written(self.id.clone()))
            }
            ReplyBody::Refused(refused) => {
                let fact = self.refusals.count(from, refused, size);
                fact.map(Outcome::Refused)
            }
            _ => None,
        }
    }
}

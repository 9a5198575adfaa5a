//! `inspect`: how each replica says it is. No quorum is involved; operators want all of them.

use std::collections::BTreeMap;

use super::Outcome;
use super::step::Step;
use crate::ids::ReplicaId;
use crate::message::{ClientBody, ReplyBody, Report};

/// Reports being collected.
#[derive(Debug, Default)]
pub(super) struct Inspect {
    reports: BTreeMap<ReplicaId, Report>,
}

impl Inspect {
    /// Asks all.
    pub(super) fn begin(step: &mut Step<'_>) -> Self {
        step.ask_all(ClientBody::Inspect);
        Self::default()
    }

    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        body: ReplyBody,
    ) -> Option<Outcome> {
        if let ReplyBody::Report(report) = body {
            self.reports.insert(from, *report);
        }
        let is_done = self.reports.len() == step.size().replicas();
        is_done.then(|| self.collected())
    }

    /// The reports so far.
    pub(super) fn collected(&mut self) -> Outcome {
        let reports = std::mem::take(&mut self.reports);
        Outcome::Inspected(reports.into_iter().collect())
    }
}

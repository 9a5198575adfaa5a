//! Write-back: what fewer than a quorum report is made to be held by one, or turns out to be gone
//! (R-4.2b). An entry is sent as its writer signed it; a put is never sent alone but as the
//! decision of its origin, which is applied as a whole (A7).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::candidates::ring;
use super::case::Case;
use super::pace::{Backoff, Wake};
use super::step::Step;
use crate::content::{DecidedTake, HeldContent, Source};
use crate::ids::{ContentHash, OpId, ReplicaId, RequestId};
use crate::limits::CANDIDATES_MAX;
use crate::message::{ClientBody, FetchKey, ReadMode, ReadRequest};
use crate::template::Template;
use crate::time::Span;

/// How soon an answered write-back that did not suffice is made again.
const AGAIN: Span = Span::from_millis(20);
/// Requests whose answers still count when there are newer ones.
const EARLIER_MAX: usize = 8;
/// Nobody: all that a probe asks for is known but the status.
const NOBODY: ReplicaId = ReplicaId(u16::MAX);

/// A write-back under way.
#[derive(Debug)]
pub(super) struct WriteBack {
    request: RequestId,
    /// Requests before it, whose answers count as well.
    earlier: Vec<RequestId>,
    origin: Option<Arc<DecidedTake>>,
    probes: Vec<RequestId>,
    asked: BTreeSet<ReplicaId>,
    again: Backoff,
}

impl WriteBack {
    fn new(step: &Step<'_>, request: RequestId) -> Self {
        Self {
            request,
            earlier: Vec::new(),
            origin: None,
            probes: Vec::new(),
            asked: BTreeSet::new(),
            again: Backoff::starting(step.now + AGAIN.max(step.patience()), AGAIN),
        }
    }

    /// True if this is a request by which it was sent.
    pub(super) fn is_sent_by(&self, request: RequestId) -> bool {
        self.request == request || self.earlier.contains(&request)
    }

    /// True if this is the request by which a replica was asked for the status of a put.
    pub(super) fn is_probe(&self, request: RequestId) -> bool {
        self.probes.contains(&request)
    }

    /// Ends it.
    pub(super) fn close(self, step: &mut Step<'_>) {
        step.close(self.request);
        self.earlier
            .into_iter()
            .for_each(|earlier| step.close(earlier));
        self.probes.into_iter().for_each(|probe| step.close(probe));
    }
}

impl Case {
    /// Sends the content, once it is verified, to all that do not report it; and when some say that it
    /// is gone, but too few to be believed, to the others too: their reports may be old.
    pub(super) fn write_back(&mut self, step: &mut Step<'_>, hash: ContentHash, wake: &mut Wake) {
        let holders: BTreeSet<_> = self.holders(hash).collect();
        let is_doubted = !self.removed_by.is_empty();
        let is_asked = |r: &ReplicaId| match is_doubted {
            true => !self.removed_by.contains(r),
            false => !holders.contains(r),
        };
        let lacking: BTreeSet<_> = step.everyone().filter(is_asked).collect();
        if let Some(write_back) = &mut self.write_back {
            // Whoever reported it when this was sent, and does not any more, was not asked.
            let is_for_all = lacking.is_subset(&write_back.asked);
            let request = write_back.request;
            let silent = step.shared.requests.unanswered(request);
            if is_for_all && silent > step.size().faults() {
                return;
            }
            if !write_back.again.strike(step.now, step.patience()) {
                return wake.at(write_back.again.due_at());
            }
            if is_for_all && silent > 0 {
                // Who is silent keeps nobody from being asked again, and may still answer.
                for replica in lacking {
                    step.ask_again(request, replica);
                }
                return wake.at(write_back.again.due_at());
            }
        }
        let Some(held) = self.verified_content(step, hash) else {
            return self.fetch_content(step, hash, wake);
        };
        let body = match &held.source {
            Source::Entry(entry) => ClientBody::WriteBack {
                entry: entry.signed().clone(),
            },
            Source::Put(decided) => ClientBody::Decide {
                decision: decided.to_wire(),
                applied: true,
            },
        };
        let request = step.ask(lacking.iter().copied(), body);
        let origin = match held.source {
            Source::Entry(_) => None,
            Source::Put(decided) => Some(decided),
        };
        let before = self.write_back.take();
        let mut write_back = before.unwrap_or_else(|| WriteBack::new(step, request));
        if write_back.request != request {
            let earlier = std::mem::replace(&mut write_back.request, request);
            write_back.earlier.push(earlier);
        }
        if write_back.earlier.len() > EARLIER_MAX {
            step.close(write_back.earlier.remove(0));
        }
        (write_back.origin, write_back.asked) = (origin, lacking);
        self.write_back = Some(write_back);
    }

    /// A replica applied the decision that put this entry in place: how does the put stand there?
    pub(super) fn on_origin_applied(&mut self, step: &mut Step<'_>, from: ReplicaId, op: OpId) {
        let start = ring(&self.id);
        let Some(write_back) = &mut self.write_back else {
            return;
        };
        let ours = write_back
            .origin
            .as_ref()
            .is_some_and(|origin| origin.op() == op);
        let Some(fitted) = self.contents.values().next().filter(|_| ours) else {
            return;
        };
        let probe = ClientBody::Read(ReadRequest {
            space: self.id.space().clone(),
            template: Template::from(fitted.tuple.clone()),
            mode: ReadMode::Rdp,
            start,
            candidates: CANDIDATES_MAX as u8,
            full: NOBODY,
        });
        write_back.probes.push(step.ask([from], probe));
    }

    /// A replica that applied the origin does not name the put: it is asked how the put was removed.
    pub(super) fn on_probe_missed(&mut self, step: &mut Step<'_>, from: ReplicaId) {
        let key = FetchKey::Decision(self.id.clone());
        let request = step.ask([from], ClientBody::Fetch(key));
        if let Some(write_back) = &mut self.write_back {
            write_back.probes.push(request);
        }
    }

    /// The content with its signatures checked. If they are wrong, who sent it is a liar, and the
    /// others that report it, now or later, are asked: they may have it rightly signed.
    pub(super) fn verified_content(
        &mut self,
        step: &mut Step<'_>,
        hash: ContentHash,
    ) -> Option<HeldContent> {
        let fitted = self.contents.get_mut(&hash)?;
        match fitted.verified(&step.shared.verifier, &self.id) {
            Ok(held) => Some(held.clone()),
            Err(forgery) => {
                let liar = fitted.from;
                step.accuse(
                    liar,
                    format_args!("sent a content of {}: {forgery}", self.id),
                );
                self.contents.remove(&hash);
                self.spoilt.insert((hash, liar));
                self.fetch.on_failure(step.now);
                None
            }
        }
    }
}

//! Listing all that matches: all that was present throughout, plus some of what came or
//! went. What fewer than a quorum report is written back before it is listed.

use std::collections::BTreeMap;

use super::Outcome;
use super::candidates::Candidates;
use super::pace::{Wake, grace};
use super::replies::Refusals;
use super::step::Step;
use crate::crypto::hash::Digest;
use crate::ids::{ReplicaId, RequestId, SpaceName};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::message::{Candidate, ClientBody, Refused, ReplyBody};
use crate::template::Template;
use crate::time::Time;

/// A listing under way.
#[derive(Debug)]
pub(super) struct List {
    space: SpaceName,
    template: Template,
    candidates: Candidates,
    pages: BTreeMap<ReplicaId, Page>,
    refusals: Refusals,
    began: Time,
    settle_at: Option<Time>,
}

/// How far one replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    /// Asked for what comes after.
    Asked(RequestId, Option<Digest>),
    /// It has named all it has.
    Done,
}

impl List {
    /// Asks all replicas for their first page.
    pub(super) fn begin(step: &mut Step<'_>, space: SpaceName, template: Template) -> Self {
        let mut list = Self {
            candidates: Candidates::new(space.clone(), template.clone(), 0),
            space,
            template,
            pages: BTreeMap::new(),
            refusals: Refusals::default(),
            began: step.now,
            settle_at: None,
        };
        for replica in step.everyone() {
            list.ask(step, replica, None);
        }
        list
    }

    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        body: ReplyBody,
    ) -> Option<Outcome> {
        let asked = match self.pages.get(&from) {
            Some(Page::Asked(asked, after)) if *asked == request => Some(*after),
            _ => None,
        };
        match (body, asked) {
            (ReplyBody::Page { candidates, next }, Some(after)) => {
                self.on_page(step, from, candidates, after, next);
            }
            (ReplyBody::Refused(refused), Some(_)) => return self.on_refused(step, from, refused),
            (body, _) => self.candidates.on_reply(step, from, request, body),
        }
        None
    }

    /// Lists, once `q` replicas have named all and nothing is left to be settled.
    pub(super) fn advance(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> Option<Outcome> {
        let settle_at = self.settle_at?;
        let missing = self.pages.iter().filter(|(_, page)| **page != Page::Done);
        let mut missing = missing.map(|(replica, _)| *replica);
        let pace = &step.shared.pace;
        if step.now < settle_at && !missing.all(|r| pace.is_slow(r, step.now)) {
            wake.at(settle_at);
            return None;
        }
        self.candidates.settle(step, wake);
        if self.candidates.are_open(step) {
            return None;
        }
        Some(Outcome::Listed(self.candidates.all_present(step, wake)))
    }

    fn ask(&mut self, step: &mut Step<'_>, replica: ReplicaId, after: Option<Digest>) {
        let body = ClientBody::List {
            space: self.space.clone(),
            template: self.template.clone(),
            after,
        };
        let request = step.ask([replica], body);
        self.pages.insert(replica, Page::Asked(request, after));
    }

    fn on_page(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        candidates: Vec<Candidate>,
        after: Option<Digest>,
        next: Option<Digest>,
    ) {
        if candidates.len() > PAGE_ENTRIES_MAX || next.is_some_and(|next| after >= Some(next)) {
            return step.accuse(from, "sent a page that is too long or leads backwards");
        }
        let at_once = Time::ZERO;
        if self
            .candidates
            .on_more(step, from, candidates, at_once)
            .is_none()
        {
            return;
        }
        match next {
            Some(_) => self.ask(step, from, next),
            None => {
                self.pages.insert(from, Page::Done);
                let done = self.pages.values().filter(|page| **page == Page::Done);
                if done.count() >= step.size().ack_quorum() && self.settle_at.is_none() {
                    self.settle_at = Some(step.now + grace(step.now.since(self.began)));
                }
            }
        }
    }

    fn on_refused(
        &mut self,
        step: &Step<'_>,
        from: ReplicaId,
        refused: Refused,
    ) -> Option<Outcome> {
        let fact = self.refusals.count(from, refused, step.size());
        fact.map(Outcome::Refused)
    }
}

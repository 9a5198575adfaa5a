//! What replies do to the candidates of an operation: reports, statuses, contents, removals. A
//! certificate that does not verify makes the whole reply worthless.

use super::candidates::{Candidates, Dropped, close};
use super::case::{self, Case, Sighting};
use super::contents::Fitted;
use super::siblings::Taken;
use super::step::Step;
use crate::consensus::certificate::SealedVote;
use crate::content::{Content, Outcome};
use crate::crypto::verified::ValidCertificate;
use crate::ids::{ContentHash, EntryId, OpId, ReplicaId, RequestId};
use crate::limits::CANDIDATES_MAX;
use crate::message::{Candidate, ClientBody, FetchKey, Given, Refused, Removal, ReplyBody, Status};
use crate::template::Template;
use crate::time::Time;

/// Entries that one replica may have pushed and not yet taken back.
const PUSHED_MAX: usize = 4 * CANDIDATES_MAX;

/// A report of one entry, the certificates in it checked.
struct Checked {
    id: EntryId,
    hash: ContentHash,
    full: Option<Content>,
    sighting: Sighting,
    released: Option<ValidCertificate>,
}

impl Candidates {
    /// An answer of round 1, in place of what the replica reported before. `None` if a certificate
    /// in it is invalid, which makes all of it worthless.
    pub(super) fn on_report(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        candidates: Vec<Candidate>,
    ) -> Option<()> {
        let checked = self.check_all(step, from, candidates)?;
        self.withdraw(step, from);
        for report in checked {
            self.see(step, from, report, Time::ZERO);
        }
        Some(())
    }

    /// More of what a replica reports: a push, or a page of a listing.
    pub(super) fn on_more(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        candidates: Vec<Candidate>,
        ripe_at: Time,
    ) -> Option<()> {
        for report in self.check_all(step, from, candidates)? {
            self.see(step, from, report, ripe_at);
        }
        Some(())
    }

    /// True if the replica has pushed more than can be of use.
    pub(super) fn has_too_many_of(&self, from: ReplicaId) -> bool {
        let reports = |case: &&Case| case.sightings.contains_key(&from);
        self.cases.values().filter(reports).count() >= PUSHED_MAX
    }

    /// Nothing that was reported counts any more.
    pub(super) fn clear(&mut self, step: &mut Step<'_>) {
        for (_, case) in std::mem::take(&mut self.cases) {
            close(step, case);
        }
    }

    /// Every other answer that speaks of an entry.
    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        body: ReplyBody,
    ) {
        match body {
            ReplyBody::Status { id, status } | ReplyBody::Contended { id, status } => {
                self.on_status(step, from, &id, status);
            }
            ReplyBody::Removed { id, removal } => self.on_removed(step, from, request, id, removal),
            ReplyBody::Released { id, certificate } => {
                if let Some(valid) = step.release(from, certificate, &id) {
                    self.on_released(&valid);
                }
            }
            ReplyBody::Given(Given::Content(id, content)) => {
                self.on_content(step, from, &id, content);
            }
            ReplyBody::Given(Given::Take(take)) => {
                for case in self.cases.values_mut() {
                    case.on_take_given(step, from, take.clone());
                }
            }
            ReplyBody::Given(Given::Release(id, _, certificate)) => {
                if let Some(valid) = step.release(from, certificate, &id) {
                    self.on_released(&valid);
                }
            }
            ReplyBody::NotHeld(FetchKey::Content(id, _)) => {
                if let Some(case) = self.cases.get_mut(&id) {
                    case.fetch.on_failure(step.now);
                }
            }
            ReplyBody::CommitVote(vote) => self.on_commit_vote(step, from, vote),
            ReplyBody::Applied { id, op } => self.on_origin_applied(step, from, &id, op),
            ReplyBody::Found { candidates, .. } => {
                self.on_probe_answer(step, from, request, candidates);
            }
            ReplyBody::Refused(refused) => self.on_refused(step, from, request, refused),
            ReplyBody::Ack
            | ReplyBody::EmptySince { .. }
            | ReplyBody::FirstVote(_)
            | ReplyBody::Push(_)
            | ReplyBody::NotHeld(_)
            | ReplyBody::Report(_)
            | ReplyBody::Page { .. }
            | ReplyBody::Sessions { .. } => {}
        }
    }

    fn check_all(
        &self,
        step: &mut Step<'_>,
        from: ReplicaId,
        candidates: Vec<Candidate>,
    ) -> Option<Vec<Checked>> {
        let check = |candidate| self.check(step, from, candidate);
        candidates.into_iter().map(check).collect()
    }

    fn check(&self, step: &mut Step<'_>, from: ReplicaId, candidate: Candidate) -> Option<Checked> {
        let Candidate {
            id,
            hash,
            full,
            status,
        } = candidate;
        if !id.is_canonical() || *id.space() != self.space {
            step.accuse(
                from,
                format_args!("reported {id}, which is not of the space"),
            );
            return None;
        }
        let (mut sighting, released) = case::check(step, from, &id, status)?;
        sighting.contents.insert(hash);
        Some(Checked {
            id,
            hash,
            full,
            sighting,
            released,
        })
    }

    fn see(&mut self, step: &mut Step<'_>, from: ReplicaId, report: Checked, ripe_at: Time) {
        match step.shared.siblings.on_report(&report.id, step.now) {
            Some(Taken::Told) => return,
            Some(Taken::TellAgain(decided)) => return step.spread([from], decided.to_wire()),
            None => {}
        }
        match self.dropped.get(&report.id) {
            Some(Dropped::Decided(_)) if mutant!(MissedDecideNotAsked) => return,
            Some(Dropped::Decided(decided)) => return step.spread([from], decided.to_wire()),
            Some(Dropped::Removed) => {
                return step.tell([from], ClientBody::Dropped { id: report.id });
            }
            Some(Dropped::Refused) => return,
            None => {}
        }
        let new = || Case::new(report.id.clone(), step.now, ripe_at);
        let case = self.cases.entry(report.id.clone()).or_insert_with(new);
        case.sightings.insert(from, report.sighting);
        if let Some(released) = report.released {
            case.on_released(released);
        }
        if let Some(content) = report.full {
            add_content(&self.template, case, step, from, content, report.hash);
        }
    }

    fn withdraw(&mut self, step: &mut Step<'_>, from: ReplicaId) {
        let forgotten: Vec<_> = self
            .cases
            .values_mut()
            .filter_map(|case| {
                case.sightings.remove(&from);
                case.sightings.is_empty().then(|| case.id.clone())
            })
            .collect();
        for case in forgotten.iter().filter_map(|id| self.cases.remove(id)) {
            close(step, case);
        }
    }

    fn on_status(&mut self, step: &mut Step<'_>, from: ReplicaId, id: &EntryId, status: Status) {
        let Some(case) = self.cases.get_mut(id) else {
            return;
        };
        let Some((sighting, released)) = case::check(step, from, id, status) else {
            return;
        };
        case.sightings.insert(from, sighting);
        if let Some(released) = released {
            case.on_released(released);
        }
    }

    fn on_removed(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        id: EntryId,
        removal: Removal,
    ) {
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let is_written_back = case.is_written_back_by(request);
        match removal {
            Removal::Decision(decision) => {
                let decided = step.decided(from, *decision);
                if let Some(decided) = decided.filter(|decided| *decided.id() == id) {
                    self.on_decided(step, &decided);
                }
            }
            // Whoever has the content and does not store it knows that the entry is gone.
            Removal::Unknown if !is_written_back => {}
            Removal::Forgotten | Removal::Unknown => {
                case.removed_by.insert(from);
                if case.removed_by.len() >= step.size().fact_quorum() {
                    self.drop_removed(step, &id);
                }
            }
        }
    }

    fn on_commit_vote(&mut self, step: &mut Step<'_>, from: ReplicaId, vote: SealedVote) {
        let Some(vote) = step.vote(from, vote) else {
            return;
        };
        let case = self.cases.get_mut(&vote.statement().id);
        let end = case.and_then(|case| case.on_commit_vote(step, vote));
        self.on_helped(step, end);
    }

    fn on_origin_applied(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        applied: &EntryId,
        op: OpId,
    ) {
        for case in self.cases.values_mut() {
            let origin = case.id.origin().map(|(origin, _)| origin);
            if origin.as_ref() == Some(applied) {
                case.on_origin_applied(step, from, op);
            }
        }
    }

    /// `f+1` replicas that refuse to store an entry are reason enough to leave it alone (G6).
    fn on_refused(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        refused: Refused,
    ) {
        let size = step.size();
        let Some(case) = self.written_back_by(request) else {
            return;
        };
        if case.refusals.count(from, refused, size).is_some() {
            let id = case.id.clone();
            self.drop_refused(step, &id);
        }
    }

    fn on_content(&mut self, step: &mut Step<'_>, from: ReplicaId, id: &EntryId, content: Content) {
        let case = self.cases.get_mut(id);
        let asked = case.and_then(|case| Some((case.fetch.wanted()?, case)));
        if let Some((wanted, case)) = asked {
            add_content(&self.template, case, step, from, content, wanted);
        }
    }

    fn on_helped(&mut self, step: &mut Step<'_>, end: Option<Outcome>) {
        let Some(end) = end else {
            return;
        };
        step.spread(step.everyone(), end.to_wire());
        match end {
            Outcome::Taken(decided) => self.on_decided(step, &decided),
            Outcome::Released(certificate) => self.on_released(&certificate),
        }
    }

    fn on_probe_answer(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        candidates: Vec<Candidate>,
    ) {
        let is_probed = |case: &&Case| {
            let write_back = case.write_back.as_ref();
            write_back.is_some_and(|write_back| write_back.is_probe(request))
        };
        let Some(id) = self.cases.values().find(is_probed).map(|c| c.id.clone()) else {
            return;
        };
        let named = candidates.into_iter().find(|named| named.id == id);
        match named {
            Some(named) => self.on_status(step, from, &id, with_hash(named)),
            None => {
                if let Some(case) = self.cases.get_mut(&id) {
                    case.on_probe_missed(step, from);
                }
            }
        }
    }

    fn written_back_by(&mut self, request: RequestId) -> Option<&mut Case> {
        self.cases
            .values_mut()
            .find(|case| case.is_written_back_by(request))
    }
}

impl Case {
    fn is_written_back_by(&self, request: RequestId) -> bool {
        let write_back = self.write_back.as_ref();
        write_back.is_some_and(|write_back| write_back.is_sent_by(request))
    }
}

/// A status that lists the reported content among those held.
fn with_hash(candidate: Candidate) -> Status {
    let mut status = candidate.status;
    if !status.contents.contains(&candidate.hash) {
        status.contents.push(candidate.hash);
    }
    status
}

/// Keeps a content. `said` is the hash that its sender gave, or was asked, for it.
fn add_content(
    template: &Template,
    case: &mut Case,
    step: &mut Step<'_>,
    from: ReplicaId,
    content: Content,
    said: ContentHash,
) {
    case.forget_unreported();
    let context = step.shared.options.configuration.signing_context();
    let fitted = Fitted::new(context, &case.id, from, content);
    let fits = |(hash, _): &(ContentHash, Fitted)| *hash == said || mutant!(ContentUnchecked);
    let Some((_, fitted)) = fitted.filter(fits) else {
        case.fetch.on_failure(step.now);
        return step.accuse(
            from,
            format_args!("sent a content of {} that does not fit its hash", case.id),
        );
    };
    if case.spoilt.contains(&(said, from)) {
        return case.fetch.on_failure(step.now);
    }
    if template.matches(&fitted.tuple) {
        case.contents.entry(said).or_insert(fitted);
    } else {
        case.misfits.insert(said);
    }
}

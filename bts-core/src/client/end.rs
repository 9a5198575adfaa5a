//! The end of sessions: our own, when nothing of it is wanted any more, and those of processes of our key
//! that crashed, which cannot say so themselves. Whoever works can reach `n-f` replicas, so of any `q` that have
//! not seen a session for a while one would have: what `q` call absent is dead, or cut off for as long.

use std::collections::{BTreeMap, BTreeSet};

use super::Outcome;
use super::step::Step;
use crate::crypto::sign::SignedBytes;
use crate::ids::{ReplicaId, RequestId, Session};
use crate::limits::SESSIONS_ENDED_AT_ONCE_MAX;
use crate::message::{ClientBody, Refused, ReplyBody};

/// Sessions being ended.
#[derive(Debug)]
pub(super) struct End {
    /// Whether ours is among them: then what others left behind is not worth waiting for.
    own: bool,
    /// The question who is there, until that is known or given up.
    question: Option<RequestId>,
    told: BTreeMap<ReplicaId, Told>,
    /// Ends that wait to be signed.
    unsigned: usize,
    /// Ends that were sent, and who logged them.
    sent: BTreeMap<RequestId, BTreeSet<ReplicaId>>,
}

/// What a replica says of the sessions of our key.
#[derive(Debug)]
struct Told {
    present: BTreeSet<Session>,
    gone: BTreeSet<Session>,
}

impl End {
    /// Asks who is there, and has the end of our own session signed if that is wanted.
    pub(super) fn begin(step: &mut Step<'_>, own: bool) -> Self {
        if own {
            step.sign_end(step.shared.me.session);
        }
        Self {
            own,
            question: Some(step.ask_all(ClientBody::Sessions)),
            told: BTreeMap::new(),
            unsigned: usize::from(own),
            sent: BTreeMap::new(),
        }
    }

    /// Sends an end to all.
    pub(super) fn on_signed(&mut self, step: &mut Step<'_>, end: SignedBytes) {
        self.unsigned -= 1;
        let request = step.ask_all(ClientBody::EndSession(end));
        self.sent.insert(request, BTreeSet::new());
    }

    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        body: ReplyBody,
    ) -> Option<Outcome> {
        match body {
            ReplyBody::Ack => {
                self.sent.get_mut(&request)?.insert(from);
            }
            ReplyBody::Sessions { present, gone } => {
                let present = present.into_iter().collect();
                let gone = gone.into_iter().collect();
                self.told.insert(from, Told { present, gone });
                self.end_the_dead(step);
            }
            // It began a moment ago. Nobody waits at the end of a process until it knows more.
            ReplyBody::Refused(Refused::Starting) if self.own => self.ask_no_more(step),
            _ => {}
        }
        None
    }

    /// The end of it: `q` replicas know of each.
    pub(super) fn advance(&mut self, step: &mut Step<'_>) -> Option<Outcome> {
        let needed = step.size().ack_quorum();
        let mut sent = self.sent.values();
        let all_acknowledged = sent.all(|acks| acks.len() >= needed);
        let is_over = self.question.is_none() && self.unsigned == 0 && all_acknowledged;
        is_over.then_some(Outcome::Ended)
    }

    fn end_the_dead(&mut self, step: &mut Step<'_>) {
        if self.question.is_none() || self.told.len() < step.size().ack_quorum() {
            return;
        }
        let dead = self.dead(step);
        self.ask_no_more(step);
        self.unsigned += dead.len();
        dead.into_iter().for_each(|session| step.sign_end(session));
    }

    /// Sessions of which `f+1` replicas keep something, so that a correct one does, and that `q` do not see.
    fn dead(&self, step: &Step<'_>) -> Vec<Session> {
        let (size, me) = (step.size(), step.shared.me.session);
        let claims = |session: &Session| {
            let told = self.told.values();
            told.filter(|told| told.gone.contains(session)).count()
        };
        let absent = |session: &Session| {
            let told = self.told.values();
            let unseen = told.filter(|told| !told.present.contains(session));
            unseen.count() >= size.ack_quorum() || mutant!(LivingEnded)
        };
        let all = self.told.values().flat_map(|told| &told.gone);
        let all: BTreeSet<_> = all.copied().filter(|session| *session != me).collect();
        let known = |session: &Session| claims(session) >= size.fact_quorum();
        let dead = all
            .into_iter()
            .filter(|session| known(session) && absent(session));
        dead.take(SESSIONS_ENDED_AT_ONCE_MAX).collect()
    }

    fn ask_no_more(&mut self, step: &mut Step<'_>) {
        if let Some(question) = self.question.take() {
            step.close(question);
        }
    }
}

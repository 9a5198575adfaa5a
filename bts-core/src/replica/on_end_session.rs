//! The end of sessions (R-7.12; A5, C3, G7). Of a session that has ended nobody waits for what its Takes won, so
//! that may be forgotten; and its Takes get no first vote any more. Nothing else: what is known of them takes its
//! course. Its own key says so, the process itself or another one which is told here that it is gone.

use super::record::Change;
use super::{Outputs, Principal, Replica};
use crate::content::EndPayload;
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::Verified;
use crate::ids::{ClientRef, EntryId, Lsn, ReplicaId, RequestId, TakeNumber};
use crate::limits::SESSIONS_PER_CLIENT_MAX;
use crate::message::{PeerMessage, Refused, ReplyBody};

impl Replica {
    /// A client ends a session of its key, or tells what somebody of that key signed. The other replicas are
    /// told, so that all forget, though the client reached some of them only.
    pub(super) fn on_end_session(
        &mut self,
        from: ClientRef,
        request: RequestId,
        end: SignedBytes,
        out: &mut Outputs,
    ) {
        let end = match self.verifier.end(end) {
            Ok(end) => end,
            Err(forgery) => return self.blame_client(from, request, forgery, out),
        };
        if self.end_session(&end, out) {
            let signed = end.signed().clone();
            self.promise_peers(&PeerMessage::EndSession(signed));
        }
        self.promise(from, request, ReplyBody::Ack);
    }

    /// A peer was told of the end of a session.
    pub(super) fn on_session_ended(
        &mut self,
        from: ReplicaId,
        end: SignedBytes,
        out: &mut Outputs,
    ) {
        match self.verifier.end(end) {
            Ok(end) => {
                self.end_session(&end, out);
            }
            Err(forgery) => self.blame(Principal::Replica(from), forgery, out),
        }
    }

    /// Which sessions of the asker's key are connected, and which of those that are not are open. Who began a
    /// moment ago does not know yet who is there.
    pub(super) fn on_sessions(&mut self, from: ClientRef, request: RequestId, out: &mut Outputs) {
        let lingers = self.options.limits.session_lingers;
        if self.now.since(self.began.unwrap_or(self.now)) < lingers {
            return self.refuse(from, request, Refused::Starting, out);
        }
        let present = self.sessions.present(&from.key, self.now, lingers);
        let open = self.store.open_sessions_of(from.key);
        let gone = open.map(|open| open.session);
        let gone = gone.filter(|session| !present.contains(session));
        let gone = gone.take(SESSIONS_PER_CLIENT_MAX).collect();
        let present = present.into_iter().collect();
        self.reply(from, request, ReplyBody::Sessions { present, gone }, out);
    }

    /// Why Takes of this session get no first vote, if they do not.
    pub(super) fn refuses_session(&self, session: ClientRef) -> Option<Refused> {
        if self.store.has_ended(&session) && !mutant!(EndedVotedFor) {
            return Some(Refused::SessionEnded);
        }
        let limit = self.options.limits.gone_sessions_per_client;
        if self.store.has_won(&session) || self.store.open_sessions(&session.key) < limit {
            return None;
        }
        let open = self.store.open_sessions_of(session.key);
        let gone = open.filter(|open| !self.sessions.is_connected(open));
        (gone.take(limit).count() >= limit).then_some(Refused::TooManySessions)
    }

    /// Entries whose decisions are kept, and who won them.
    pub fn kept(&self) -> impl Iterator<Item = (EntryId, ClientRef)> {
        let kept = self.store.numbered(Lsn(0)).map(|(_, kept)| &kept.decided);
        kept.map(|decided| (decided.id().clone(), decided.take().taker()))
    }

    /// True if the entry was dropped without its decision, since `f+1` peers have forgotten that.
    pub fn has_skipped(&self, id: &EntryId) -> bool {
        self.store.is_skipped(id)
    }

    /// Notes when a session left.
    pub(super) fn leave(&mut self, client: ClientRef) {
        let lingers = self.options.limits.session_lingers;
        self.sessions.leave(client, self.now, lingers);
    }

    /// True if that is news.
    fn end_session(&mut self, end: &Verified<EndPayload>, out: &mut Outputs) -> bool {
        let session = end.session();
        if self.store.has_ended(&session) {
            return false;
        }
        self.log(Change::Ended(end.clone()), out);
        self.count("session ended");
        let all = TakeNumber(0)..TakeNumber(u64::MAX);
        let won = self.store.won_between(&session, all);
        let won: Vec<_> = won.cloned().collect();
        won.into_iter().for_each(|id| self.may_be_ripe(id));
        true
    }
}

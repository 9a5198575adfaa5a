//! What stands inside of messages: every signed thing, wherever a message may carry it. Observers
//! and liars alike learn from here.

use std::hash::{DefaultHasher, Hash, Hasher};

use bts_core::consensus::certificate::{Certificate, SealedVote};
use bts_core::content::{Content, Decision};
use bts_core::crypto::sign::SignedBytes;
use bts_core::message::{
    Candidate, ClientBody, Given, LockRequest, PeerMessage, Proposal, Removal, ReplyBody, Status,
    TakeRequest,
};

use super::node::Message;

/// One signed thing in a message, or one that consists of signed things.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// A signed entry.
    Entry(&'a SignedBytes),
    /// A signed Take.
    Take(&'a SignedBytes),
    /// A signed promise.
    Promise(&'a SignedBytes),
    /// The signed end of a session.
    End(&'a SignedBytes),
    /// A vote.
    Vote(&'a SealedVote),
    /// A certificate; those of decisions come as decisions only.
    Certificate(&'a Certificate),
    /// A decision; its Take comes apart as well.
    Decision(&'a Decision),
}

/// What tells one signed thing from all others: many may share a signature.
pub type Mark = ([u8; 64], u64);

/// That of this one.
pub fn mark(signed: &SignedBytes) -> Mark {
    let mut hasher = DefaultHasher::new();
    signed.payload.hash(&mut hasher);
    (signed.seal.signature, hasher.finish())
}

/// Shows every part of the message.
pub fn visit<'a>(message: &'a Message, see: &mut dyn FnMut(Part<'a>)) {
    match message {
        Message::Request(request) => of_request(&request.body, see),
        Message::Reply(reply) => of_reply(&reply.body, see),
        Message::Peer(message) => of_peer(message, see),
    }
}

type See<'s, 'a> = &'s mut dyn FnMut(Part<'a>);

fn of_request<'a>(body: &'a ClientBody, see: See<'_, 'a>) {
    match body {
        ClientBody::Out { entry } | ClientBody::WriteBack { entry } => see(Part::Entry(entry)),
        ClientBody::Take(take) | ClientBody::Evidence(take) => of_take(take, see),
        ClientBody::Lock(lock) => of_lock(lock, see),
        ClientBody::Decide { decision, .. } => of_decision(decision, see),
        ClientBody::EndSession(end) => see(Part::End(end)),
        ClientBody::Read(_)
        | ClientBody::StillEmpty { .. }
        | ClientBody::Fetch(_)
        | ClientBody::Dropped { .. }
        | ClientBody::Cancel { .. }
        | ClientBody::Inspect
        | ClientBody::Sessions
        | ClientBody::List { .. } => {}
    }
}

fn of_reply<'a>(body: &'a ReplyBody, see: See<'_, 'a>) {
    match body {
        ReplyBody::Found {
            candidates, moved, ..
        } => {
            candidates.iter().for_each(|c| of_candidate(c, see));
            moved.iter().for_each(|d| of_decision(d, see));
        }
        ReplyBody::Page { candidates, .. } => candidates.iter().for_each(|c| of_candidate(c, see)),
        ReplyBody::Push(candidate) => of_candidate(candidate, see),
        ReplyBody::Status { status, .. } | ReplyBody::Contended { status, .. } => {
            of_status(status, see);
        }
        ReplyBody::EmptySince { moved, .. } => moved.iter().for_each(|d| of_decision(d, see)),
        ReplyBody::FirstVote(vote) | ReplyBody::CommitVote(vote) => see(Part::Vote(vote)),
        ReplyBody::Removed { removal, .. } => of_removal(removal, see),
        ReplyBody::Released { certificate, .. } => see(Part::Certificate(certificate)),
        ReplyBody::Given(given) => of_given(given, see),
        ReplyBody::Ack
        | ReplyBody::Applied { .. }
        | ReplyBody::NotHeld(_)
        | ReplyBody::Refused(_)
        | ReplyBody::Report(_)
        | ReplyBody::Sessions { .. } => {}
    }
}

fn of_peer<'a>(message: &'a PeerMessage, see: See<'_, 'a>) {
    match message {
        PeerMessage::Promise {
            promise,
            takes,
            released,
        } => {
            see(Part::Promise(promise));
            takes.iter().for_each(|take| see(Part::Take(take)));
            of_certificate(released.as_ref(), see);
        }
        PeerMessage::Propose(proposal) => of_proposal(proposal, see),
        PeerMessage::PrepareVote(vote) | PeerMessage::CommitVote(vote) => see(Part::Vote(vote)),
        PeerMessage::Lock(lock) => of_lock(lock, see),
        PeerMessage::Decide(decision) => of_decision(decision, see),
        PeerMessage::Relay { entry } => see(Part::Entry(entry)),
        PeerMessage::EndSession(end) => see(Part::End(end)),
        PeerMessage::Given(given) => of_given(given, see),
        PeerMessage::Removed { removal, .. } => of_removal(removal, see),
        PeerMessage::Released { certificate, .. } => see(Part::Certificate(certificate)),
        PeerMessage::Applied { .. }
        | PeerMessage::Compare(_)
        | PeerMessage::Compared(_)
        | PeerMessage::Fetch(_)
        | PeerMessage::NotHeld(_)
        | PeerMessage::Resume { .. } => {}
    }
}

fn of_take<'a>(take: &'a TakeRequest, see: See<'_, 'a>) {
    see(Part::Take(&take.take));
    if let Some(content) = &take.content {
        of_content(content, see);
    }
    of_certificate(take.released.as_ref(), see);
}

fn of_lock<'a>(lock: &'a LockRequest, see: See<'_, 'a>) {
    see(Part::Certificate(&lock.certificate));
    see(Part::Take(&lock.take));
    of_certificate(lock.released.as_ref(), see);
}

fn of_proposal<'a>(proposal: &'a Proposal, see: See<'_, 'a>) {
    proposal
        .promises
        .iter()
        .for_each(|promise| see(Part::Promise(promise)));
    proposal.takes.iter().for_each(|take| see(Part::Take(take)));
    of_certificate(proposal.released.as_ref(), see);
}

fn of_decision<'a>(decision: &'a Decision, see: See<'_, 'a>) {
    see(Part::Decision(decision));
    if let Some(take) = &decision.take {
        see(Part::Take(take));
    }
}

fn of_removal<'a>(removal: &'a Removal, see: See<'_, 'a>) {
    match removal {
        Removal::Decision(decision) => of_decision(decision, see),
        Removal::Forgotten | Removal::Unknown => {}
    }
}

fn of_given<'a>(given: &'a Given, see: See<'_, 'a>) {
    match given {
        Given::Content(_, content) => of_content(content, see),
        Given::Take(take) => see(Part::Take(take)),
        Given::Release(_, _, certificate) => see(Part::Certificate(certificate)),
    }
}

fn of_content<'a>(content: &'a Content, see: See<'_, 'a>) {
    match content {
        Content::Signed(entry) => see(Part::Entry(entry)),
        Content::Put(decision) => of_decision(decision, see),
    }
}

fn of_candidate<'a>(candidate: &'a Candidate, see: See<'_, 'a>) {
    if let Some(content) = &candidate.full {
        of_content(content, see);
    }
    of_status(&candidate.status, see);
}

fn of_status<'a>(status: &'a Status, see: See<'_, 'a>) {
    of_certificate(status.lock.as_ref(), see);
    of_certificate(status.released.as_ref(), see);
}

fn of_certificate<'a>(certificate: Option<&'a Certificate>, see: See<'_, 'a>) {
    if let Some(certificate) = certificate {
        see(Part::Certificate(certificate));
    }
}

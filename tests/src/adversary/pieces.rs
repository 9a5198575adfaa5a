//! Where certificates and Takes stand in what a replica says, so that they can be changed in place.

use bts_core::consensus::certificate::Certificate;
use bts_core::content::{Content, Decision};
use bts_core::crypto::sign::SignedBytes;
use bts_core::message::{
    Candidate, Given, LockRequest, PeerMessage, Proposal, Removal, ReplyBody, Status,
};
use bts_core::replica::Outgoing;

/// What can be changed.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Certificate(&'a mut Certificate),
    Take(&'a mut SignedBytes),
}

type Change<'c> = &'c mut dyn FnMut(Piece<'_>);

/// Shows every piece.
pub(super) fn visit(outgoing: &mut Outgoing, change: Change<'_>) {
    match outgoing {
        Outgoing::Client(_, reply) => in_reply(&mut reply.body, change),
        Outgoing::Peer(_, message) => in_peer(message, change),
    }
}

fn in_reply(body: &mut ReplyBody, change: Change<'_>) {
    match body {
        ReplyBody::Found {
            candidates, moved, ..
        } => {
            candidates
                .iter_mut()
                .for_each(|one| in_candidate(one, change));
            moved.iter_mut().for_each(|one| in_decision(one, change));
        }
        ReplyBody::Page { candidates, .. } => {
            candidates
                .iter_mut()
                .for_each(|one| in_candidate(one, change));
        }
        ReplyBody::EmptySince { moved, .. } => {
            moved.iter_mut().for_each(|one| in_decision(one, change));
        }
        ReplyBody::Push(candidate) => in_candidate(candidate, change),
        ReplyBody::Status { status, .. } | ReplyBody::Contended { status, .. } => {
            in_status(status, change);
        }
        ReplyBody::Removed { removal, .. } => in_removal(removal, change),
        ReplyBody::Released { certificate, .. } => change(Piece::Certificate(certificate)),
        ReplyBody::Given(given) => in_given(given, change),
        ReplyBody::Ack
        | ReplyBody::Applied { .. }
        | ReplyBody::CommitVote(_)
        | ReplyBody::FirstVote(_)
        | ReplyBody::NotHeld(_)
        | ReplyBody::Refused(_)
        | ReplyBody::Report(_)
        | ReplyBody::Sessions { .. } => {}
    }
}

fn in_peer(message: &mut PeerMessage, change: Change<'_>) {
    match message {
        PeerMessage::Promise {
            takes, released, ..
        }
        | PeerMessage::Propose(Proposal {
            takes, released, ..
        }) => {
            takes.iter_mut().for_each(|take| change(Piece::Take(take)));
            released
                .iter_mut()
                .for_each(|one| change(Piece::Certificate(one)));
        }
        PeerMessage::Lock(LockRequest {
            certificate,
            take,
            released,
        }) => {
            change(Piece::Certificate(certificate));
            change(Piece::Take(take));
            released
                .iter_mut()
                .for_each(|one| change(Piece::Certificate(one)));
        }
        PeerMessage::Decide(decision) => in_decision(decision, change),
        PeerMessage::Given(given) => in_given(given, change),
        PeerMessage::Removed { removal, .. } => in_removal(removal, change),
        PeerMessage::Released { certificate, .. } => change(Piece::Certificate(certificate)),
        PeerMessage::Applied { .. }
        | PeerMessage::CommitVote(_)
        | PeerMessage::Compare(_)
        | PeerMessage::Compared(_)
        | PeerMessage::EndSession(_)
        | PeerMessage::Fetch(_)
        | PeerMessage::NotHeld(_)
        | PeerMessage::PrepareVote(_)
        | PeerMessage::Relay { .. }
        | PeerMessage::Resume { .. } => {}
    }
}

fn in_candidate(candidate: &mut Candidate, change: Change<'_>) {
    if let Some(content) = &mut candidate.full {
        in_content(content, change);
    }
    in_status(&mut candidate.status, change);
}

fn in_status(status: &mut Status, change: Change<'_>) {
    let certificates = [&mut status.released, &mut status.lock];
    certificates
        .into_iter()
        .flatten()
        .for_each(|one| change(Piece::Certificate(one)));
}

fn in_content(content: &mut Content, change: Change<'_>) {
    match content {
        Content::Signed(_) => {}
        Content::Put(decision) => in_decision(decision, change),
    }
}

fn in_decision(decision: &mut Decision, change: Change<'_>) {
    change(Piece::Certificate(&mut decision.certificate));
    if let Some(take) = &mut decision.take {
        change(Piece::Take(take));
    }
}

fn in_removal(removal: &mut Removal, change: Change<'_>) {
    if let Removal::Decision(decision) = removal {
        in_decision(decision, change);
    }
}

fn in_given(given: &mut Given, change: Change<'_>) {
    match given {
        Given::Content(_, content) => in_content(content, change),
        Given::Take(take) => change(Piece::Take(take)),
        Given::Release(_, _, certificate) => change(Piece::Certificate(certificate)),
    }
}

//! Things that look like what only others can make: entries in the name of a client, and
//! certificates of genuine votes that are too few, doubled, or about something else.

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, VoteKind};
use bts_core::content::{Content, Decision, EntryPayload};
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{EntryId, ReplicaId, Root, Seq};
use bts_core::message::{Candidate, ClientBody, PeerMessage, Removal, Reply, ReplyBody, Status};
use bts_core::replica::{Input, Outgoing};

use super::forge;
use super::liar::Hand;
use super::pieces::{self, Piece};

/// When an entry is written, its peers get another one; when somebody looks for one, so does he.
pub(super) fn spread_invented(hand: &mut Hand, input: &Input) -> Vec<Outgoing> {
    let Input::Client(client, request) = input else {
        return Vec::new();
    };
    match &request.body {
        ClientBody::Out { .. } => match invent(hand) {
            Some((_, entry)) => to_peers(hand, &PeerMessage::Relay { entry }),
            None => Vec::new(),
        },
        ClientBody::Read(_) => {
            let pushed = invented_candidate(hand).map(|candidate| {
                let body = ReplyBody::Push(Box::new(candidate));
                Outgoing::Client(
                    *client,
                    Reply {
                        request: request.request,
                        body,
                    },
                )
            });
            pushed.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Puts an invented entry before all others.
pub(super) fn add_invented(hand: &mut Hand, reply: &mut ReplyBody) {
    if let ReplyBody::Found {
        candidates, watch, ..
    } = reply
        && let Some(invented) = invented_candidate(hand)
    {
        *watch = None;
        candidates.insert(0, invented);
    }
}

/// Says of every Take that it has won: its own vote is genuine, but it is one, however often it
/// is counted.
pub(super) fn decide_alone(hand: &mut Hand, input: &Input) -> Vec<Outgoing> {
    let Input::Client(client, request) = input else {
        return Vec::new();
    };
    let ClientBody::Take(take) = &request.body else {
        return Vec::new();
    };
    let configuration = hand.gang.configuration();
    let Some(said) = forge::first_statement(configuration, &take.take) else {
        return Vec::new();
    };
    let own = hand.forge.vote(VoteKind::First, &said);
    let count = configuration.size().fast_quorum();
    let decision = Decision {
        certificate: Certificate {
            kind: own.kind,
            payload: own.payload,
            votes: vec![(own.replica, own.seal); count],
            carried: None,
        },
        take: Some(take.take.clone()),
    };
    let mut said_to = to_peers(hand, &PeerMessage::Decide(decision.clone()));
    let removal = Removal::Decision(Box::new(decision));
    let body = ReplyBody::Removed {
        id: said.id,
        removal,
    };
    said_to.push(Outgoing::Client(
        *client,
        Reply {
            request: request.request,
            body,
        },
    ));
    said_to
}

/// Spoils every certificate, or its Take, in what it says.
pub(super) fn miscertify(hand: &mut Hand, mut outgoing: Outgoing) -> Outgoing {
    let other = {
        let lore = hand.gang.lore();
        hand.rng
            .pick(&lore.certificates)
            .map(|(certificate, _)| certificate.clone())
    };
    let take = hand
        .gang
        .some_take(&mut hand.rng, None)
        .map(|(_, take)| take);
    let how = hand.rng.below(4);
    pieces::visit(&mut outgoing, &mut |piece| match (piece, &take) {
        (Piece::Certificate(certificate), _) => spoil(certificate, how, other.as_ref()),
        (Piece::Take(signed), Some(other)) if how == 0 => *signed = other.clone(),
        (Piece::Take(_), _) => {}
    });
    outgoing
}

fn spoil(certificate: &mut Certificate, how: u64, other: Option<&Certificate>) {
    match (how, other) {
        (0, _) => {}
        (1, Some(other)) if other != certificate => *certificate = other.clone(),
        (2, _) => certificate.votes.truncate(2),
        _ => {
            let twice = certificate.votes.first().cloned();
            certificate.votes.pop();
            certificate.votes.extend(twice);
        }
    }
}

/// Something like what was written before, under another number of the same writer.
fn invent(hand: &mut Hand) -> Option<(EntryId, SignedBytes)> {
    let model = {
        let lore = hand.gang.lore();
        let ids: Vec<_> = lore.contents.values().flatten().collect();
        hand.rng.pick(&ids).map(|(_, content)| content.clone())?
    };
    let Content::Signed(model) = model else {
        return None;
    };
    let model: EntryPayload = codec::decode_payload(&model.payload).ok()?;
    let Root::Written {
        space,
        writer,
        session,
        ..
    } = model.id.root()
    else {
        return None;
    };
    let seq = Seq(hand.rng.between(1, 200));
    let id = EntryId::written(space.clone(), *writer, *session, seq);
    let payload = EntryPayload {
        id: id.clone(),
        ..model.clone()
    };
    Some((id, hand.forge.entry_of(*writer, &payload)))
}

fn invented_candidate(hand: &mut Hand) -> Option<Candidate> {
    let (id, entry) = invent(hand)?;
    let hash = forge::content_hash(hand.gang.configuration(), &entry);
    Some(Candidate {
        id,
        hash,
        full: Some(Content::Signed(entry)),
        status: Status {
            contents: vec![hash],
            ..Status::default()
        },
    })
}

fn to_peers(hand: &Hand, message: &PeerMessage) -> Vec<Outgoing> {
    let is_peer = |replica: &ReplicaId| *replica != hand.me;
    let peers = hand.gang.configuration().replicas().filter(is_peer);
    peers
        .map(|peer| Outgoing::Peer(peer, message.clone()))
        .collect()
}

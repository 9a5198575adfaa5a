//! How a liar edits what its honest core says: statuses, candidates and votes that are not so, or
//! not signed.

use bts_core::codec;
use bts_core::consensus::certificate::SealedVote;
use bts_core::content::{Content, EntryPayload};
use bts_core::ids::{Ballot, ContentHash, EntryId, Epoch, OpId, WatchId};
use bts_core::message::{Candidate, PeerMessage, Reply, ReplyBody, Status};
use bts_core::replica::Outgoing;

use super::counterfeit::{add_invented, miscertify};
use super::habit::{Habit, withholds};
use super::liar::Hand;
use super::outburst::false_lock;

/// What the habit makes of a message of the core; `None`: it is not sent.
pub fn edit(habit: &Habit, hand: &mut Hand, outgoing: Outgoing) -> Option<Outgoing> {
    match (habit, outgoing) {
        (Habit::Withhold(salt), outgoing) => (!withholds(*salt, &outgoing)).then_some(outgoing),
        (Habit::Miscertify, outgoing) => Some(miscertify(hand, outgoing)),
        (Habit::Perjure, Outgoing::Peer(_, PeerMessage::Promise { .. })) => None,
        (Habit::Stall, Outgoing::Peer(_, PeerMessage::Propose(_) | PeerMessage::Lock(_))) => None,
        (Habit::Hoard, Outgoing::Peer(_, PeerMessage::Lock(_) | PeerMessage::Decide(_))) => None,
        (habit, Outgoing::Client(to, reply)) => {
            Some(Outgoing::Client(to, edit_reply(habit, hand, reply)))
        }
        (Habit::Garble, Outgoing::Peer(to, message)) => {
            Some(Outgoing::Peer(to, garble_peer(hand, message)))
        }
        (_, outgoing) => Some(outgoing),
    }
}

fn edit_reply(habit: &Habit, hand: &mut Hand, mut reply: Reply) -> Reply {
    if *habit == Habit::Invent {
        add_invented(hand, &mut reply.body);
    }
    if let ReplyBody::Found {
        candidates,
        watch,
        moved,
    } = &mut reply.body
    {
        match habit {
            Habit::Empty => {
                candidates.clear();
                moved.clear();
                *watch = Some(WatchId(hand.rng.number()));
            }
            Habit::Full => {
                *watch = None;
                candidates.extend(invent(hand));
            }
            Habit::FalseStatus => {
                candidates
                    .iter_mut()
                    .for_each(|c| falsify(hand, &c.id, &mut c.status));
            }
            Habit::Garble => candidates
                .iter_mut()
                .for_each(|c| garble_candidate(hand, c)),
            _ => {}
        }
    }
    match (habit, &mut reply.body) {
        (
            Habit::FalseStatus,
            ReplyBody::Status { id, status } | ReplyBody::Contended { id, status },
        ) => falsify(hand, &id.clone(), status),
        (Habit::Garble, ReplyBody::FirstVote(vote) | ReplyBody::CommitVote(vote)) => {
            garble_vote(hand, vote);
        }
        // Whoever is there is called gone.
        (Habit::FalseStatus, ReplyBody::Sessions { present, gone }) => gone.append(present),
        _ => {}
    }
    reply
}

/// An entry that is known to the gang, removed long ago or never written here.
fn invent(hand: &mut Hand) -> Option<Candidate> {
    let lore = hand.gang.lore();
    let contents: Vec<_> = lore.contents.iter().collect();
    let (id, held) = hand.rng.pick(&contents)?;
    let (hash, content) = hand.rng.pick(held)?;
    Some(Candidate {
        id: (*id).clone(),
        hash: *hash,
        full: hand.rng.chance(700).then(|| content.clone()),
        status: Status {
            contents: vec![*hash],
            ..Status::default()
        },
    })
}

fn falsify(hand: &mut Hand, id: &EntryId, status: &mut Status) {
    match hand.rng.below(5) {
        0 => {
            status.first = hand
                .gang
                .some_take(&mut hand.rng, Some(id))
                .map(|(op, _)| op)
        }
        1 => status.first = hand.gang.some_take(&mut hand.rng, None).map(|(op, _)| op),
        2 => status.promised = Ballot(hand.rng.number() as u32),
        3 => status.lock = false_lock(hand, id),
        _ => {
            status.epoch = Epoch(hand.rng.below(5) as u8);
            status.reserved = true;
        }
    }
}

fn garble_peer(hand: &mut Hand, mut message: PeerMessage) -> PeerMessage {
    match &mut message {
        PeerMessage::PrepareVote(vote) | PeerMessage::CommitVote(vote) => garble_vote(hand, vote),
        PeerMessage::Decide(decision) => {
            if let Some((_, seal)) = decision.certificate.votes.first_mut() {
                flip(hand, &mut seal.signature);
            }
        }
        PeerMessage::Applied { items, .. } => {
            for (_, _, OpId(digest)) in items {
                flip(hand, &mut digest.0);
            }
        }
        PeerMessage::Relay { entry } => flip(hand, &mut entry.payload),
        PeerMessage::EndSession(end) => flip(hand, &mut end.payload),
        PeerMessage::Promise { promise, .. } => flip(hand, &mut promise.payload),
        PeerMessage::Propose(proposal) => {
            if let Some(promise) = proposal.promises.first_mut() {
                flip(hand, &mut promise.payload);
            }
        }
        PeerMessage::Lock(lock) => {
            if let Some((_, seal)) = lock.certificate.votes.last_mut() {
                flip(hand, &mut seal.signature);
            }
        }
        PeerMessage::Compare(question) => flip(hand, &mut question.digest.0),
        PeerMessage::Compared(answer) => {
            for (_, ContentHash(digest)) in answer.items.iter_mut().flatten() {
                flip(hand, &mut digest.0);
            }
        }
        PeerMessage::Fetch(_)
        | PeerMessage::Given(_)
        | PeerMessage::NotHeld(_)
        | PeerMessage::Removed { .. }
        | PeerMessage::Released { .. }
        | PeerMessage::Resume { .. } => {}
    }
    message
}

/// Another tuple under the old signature, or another hash.
fn garble_candidate(hand: &mut Hand, candidate: &mut Candidate) {
    match &mut candidate.full {
        Some(Content::Signed(signed)) => {
            if let Ok(mut entry) = codec::decode_payload::<EntryPayload>(&signed.payload) {
                if let Some(field) = entry.tuple.0.last_mut() {
                    *field = hand.rng.below(1000).into();
                }
                signed.payload = codec::encode(&entry);
            }
        }
        _ => flip(hand, &mut candidate.hash.0.0),
    }
}

fn garble_vote(hand: &mut Hand, vote: &mut SealedVote) {
    match hand.rng.chance(500) {
        true => flip(hand, &mut vote.payload),
        false => flip(hand, &mut vote.seal.signature),
    }
}

fn flip(hand: &mut Hand, bytes: &mut [u8]) {
    let at = hand.rng.index(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << hand.rng.below(8);
    }
}

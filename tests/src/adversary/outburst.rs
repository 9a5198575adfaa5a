//! What a liar says by itself when it hears something: votes nobody asked for, proposals without
//! right, old messages, forged ones.

use bts_core::codec;
use bts_core::consensus::ballot;
use bts_core::consensus::certificate::{SealedVote, Statement, Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::Decision;
use bts_core::ids::{Ballot, ClientRef, EntryId, ReplicaId};
use bts_core::message::{
    ClientBody, ClientRequest, LockRequest, PeerMessage, Proposal, Reply, ReplyBody, Since,
};
use bts_core::replica::{Input, Outgoing};

use super::babble::Babbler;
use super::counterfeit::{decide_alone, spread_invented};
use super::forge;
use super::habit::Habit;
use super::liar::Hand;
use crate::sim::node::Message;

/// How often a flood says the same.
const FLOOD: usize = 30;

/// What the habit says by itself when it hears something.
pub fn volunteer(habit: &Habit, hand: &mut Hand, input: &Input) -> Vec<Outgoing> {
    match (habit, input) {
        (Habit::Agree, Input::Client(to, request)) => agree_with_client(hand, *to, request),
        (Habit::Agree, Input::Peer(to, message)) => agree_with_peer(hand, *to, message),
        (Habit::Boast, Input::Client(to, request)) => boast(*to, request),
        (Habit::Boast, Input::Peer(to, _)) => boast_to_peer(hand, *to),
        (Habit::Empty, Input::Client(to, request)) => still_empty(*to, request, Since::Yes),
        (Habit::Full, Input::Client(to, request)) => still_empty(*to, request, Since::No),
        (Habit::Forge, Input::Peer(to, _)) => forge_to_peer(hand, *to),
        (Habit::Forge, Input::Client(to, request)) => forge_to_client(hand, *to, request),
        (Habit::Babble, _) => babble(hand, input),
        (Habit::Flood, _) => flood(hand),
        (Habit::Hoard, Input::Peer(..)) => show_late(hand).into_iter().collect(),
        (Habit::Invent, _) => spread_invented(hand, input),
        (Habit::Miscertify, _) => decide_alone(hand, input),
        (Habit::Perjure, Input::Peer(_, PeerMessage::Promise { .. })) => perjure(hand),
        (Habit::Propose, Input::Peer(_, PeerMessage::Promise { .. })) => propose(hand),
        (Habit::Replay, _) => replay(hand, input),
        _ => Vec::new(),
    }
}

fn agree_with_client(hand: &mut Hand, to: ClientRef, request: &ClientRequest) -> Vec<Outgoing> {
    let body = match &request.body {
        ClientBody::Take(take) => {
            let vote = hand.forge.first_vote(hand.gang.configuration(), &take.take);
            vote.map(ReplyBody::FirstVote)
        }
        ClientBody::Lock(lock) => commit(hand, lock).map(ReplyBody::CommitVote),
        _ => None,
    };
    let body = body.into_iter();
    body.map(|body| answer(to, request, body)).collect()
}

fn agree_with_peer(hand: &mut Hand, to: ReplicaId, message: &PeerMessage) -> Vec<Outgoing> {
    let vote = match message {
        PeerMessage::Propose(proposal) => {
            let said = Statement {
                id: proposal.id.clone(),
                epoch: proposal.epoch,
                ballot: proposal.ballot,
                value: proposal.value,
            };
            Some(PeerMessage::PrepareVote(
                hand.forge.vote(VoteKind::Prepare, &said),
            ))
        }
        PeerMessage::Lock(lock) => commit(hand, lock).map(PeerMessage::CommitVote),
        _ => None,
    };
    vote.into_iter()
        .map(|vote| Outgoing::Peer(to, vote))
        .collect()
}

fn commit(hand: &Hand, lock: &LockRequest) -> Option<SealedVote> {
    let said = codec::decode_payload::<Statement>(&lock.certificate.payload).ok()?;
    Some(hand.forge.vote(VoteKind::Commit, &said))
}

fn boast(to: ClientRef, request: &ClientRequest) -> Vec<Outgoing> {
    let body = match &request.body {
        ClientBody::Out { .. } => Some(ReplyBody::Ack),
        ClientBody::Decide { decision, .. } => applied(decision),
        _ => None,
    };
    body.into_iter()
        .map(|body| answer(to, request, body))
        .collect()
}

fn applied(decision: &Decision) -> Option<ReplyBody> {
    let said = codec::decode_payload::<Statement>(&decision.certificate.payload).ok()?;
    match said.value {
        Value::Take(op) => Some(ReplyBody::Applied { id: said.id, op }),
        Value::Release | Value::Expire => None,
    }
}

/// Claims to have applied whatever Take it knows of.
fn boast_to_peer(hand: &mut Hand, to: ReplicaId) -> Vec<Outgoing> {
    if !hand.rng.chance(100) {
        return Vec::new();
    }
    let after = hand.rng.below(20);
    let number = after + 1 + hand.rng.below(2);
    let lore = hand.gang.lore();
    let items: Vec<_> = lore
        .takes
        .iter()
        .map(|(op, (_, take))| (number, take.id.clone(), *op))
        .collect();
    let items = hand.rng.pick(&items).cloned().into_iter().collect();
    vec![Outgoing::Peer(to, PeerMessage::Applied { after, items })]
}

fn still_empty(to: ClientRef, request: &ClientRequest, since: Since) -> Vec<Outgoing> {
    let ClientBody::StillEmpty { watch, nonce, .. } = &request.body else {
        return Vec::new();
    };
    let body = ReplyBody::EmptySince {
        nonce: *nonce,
        watch: *watch,
        since,
        moved: Vec::new(),
    };
    vec![answer(to, request, body)]
}

fn forge_to_peer(hand: &mut Hand, to: ReplicaId) -> Vec<Outgoing> {
    if !hand.rng.chance(200) {
        return Vec::new();
    }
    let decision = forged_decision(hand);
    let decide = decision.map(|decision| Outgoing::Peer(to, PeerMessage::Decide(decision)));
    decide.into_iter().collect()
}

fn forged_decision(hand: &mut Hand) -> Option<Decision> {
    let (_, take) = hand.gang.some_take(&mut hand.rng, None)?;
    let said = forge::first_statement(hand.gang.configuration(), &take)?;
    let kind = if hand.rng.chance(500) {
        VoteKind::First
    } else {
        VoteKind::Commit
    };
    let fast = hand.gang.configuration().size().fast_quorum();
    let certificate = hand.gang.forged_certificate(kind, &said, fast)?;
    Some(Decision {
        certificate,
        take: Some(take),
    })
}

/// Votes in the names of others, or a decision that nobody made.
fn forge_to_client(hand: &mut Hand, to: ClientRef, request: &ClientRequest) -> Vec<Outgoing> {
    let ClientBody::Take(take) = &request.body else {
        return Vec::new();
    };
    let configuration = hand.gang.configuration();
    let Some(said) = forge::first_statement(configuration, &take.take) else {
        return Vec::new();
    };
    let mut forged: Vec<_> = configuration
        .replicas()
        .map(|other| hand.forge.vote_of(other, VoteKind::First, &said))
        .map(|vote| answer(to, request, ReplyBody::FirstVote(vote)))
        .collect();
    if let Some(decision) = forged_decision(hand) {
        let removal = bts_core::message::Removal::Decision(Box::new(decision));
        forged.push(answer(
            to,
            request,
            ReplyBody::Removed {
                id: said.id,
                removal,
            },
        ));
    }
    forged
}

/// For the instance it heard of last: a promise of its own making for each of the others.
fn perjure(hand: &mut Hand) -> Vec<Outgoing> {
    let known = hand.gang.lore().promises.keys().next_back().cloned();
    let Some((id, epoch, ballot)) = known else {
        return Vec::new();
    };
    let ballot = if hand.rng.chance(100) {
        Ballot(hand.rng.number() as u32)
    } else {
        ballot
    };
    let others: Vec<_> = hand
        .gang
        .configuration()
        .replicas()
        .filter(|r| *r != hand.me)
        .collect();
    others
        .into_iter()
        .map(|to| {
            let first = hand.gang.some_take(&mut hand.rng, Some(&id));
            let takes = first.iter().map(|(_, take)| take.clone()).collect();
            let promise = PromisePayload {
                id: id.clone(),
                epoch,
                ballot,
                first: first
                    .as_ref()
                    .map(|(op, _)| *op)
                    .filter(|_| hand.rng.chance(500)),
                lock: false_lock(hand, &id),
                takes: first.iter().map(|(op, _)| *op).collect(),
            };
            let promise = PeerMessage::Promise {
                promise: hand.forge.promise(&promise),
                takes,
                released: None,
            };
            Outgoing::Peer(to, promise)
        })
        .collect()
}

/// A genuine lock of this entry, of whatever epoch and ballot, sometimes.
pub(super) fn false_lock(
    hand: &mut Hand,
    id: &EntryId,
) -> Option<bts_core::consensus::certificate::Certificate> {
    if !hand.rng.chance(300) {
        return None;
    }
    let lore = hand.gang.lore();
    let of_entry = lore.certificates.iter().filter(|(_, said)| said.id == *id);
    let of_entry: Vec<_> = of_entry.map(|(certificate, _)| certificate).collect();
    hand.rng
        .pick(&of_entry)
        .map(|certificate| (*certificate).clone())
}

/// In a ballot of its own: any value, on any promises, to each of the others.
fn propose(hand: &mut Hand) -> Vec<Outgoing> {
    let size = hand.gang.configuration().size();
    let lore = hand.gang.lore();
    let owned = lore
        .promises
        .iter()
        .filter(|((id, epoch, ballot), promises)| {
            // Another liar may have promised for ballot 0, which no replica owns.
            let owned = (*ballot).max(Ballot(1));
            let is_mine = ballot::owner(size, id, *epoch, owned) == hand.me;
            is_mine && promises.len() + 1 >= size.promise_quorum()
        });
    let owned: Vec<_> = owned.collect();
    let Some(((id, epoch, ballot), promises)) = hand.rng.pick(&owned) else {
        return Vec::new();
    };
    let of_entry = lore.takes.values().filter(|(_, take)| take.id == *id);
    let takes: Vec<_> = of_entry.map(|(signed, _)| signed.clone()).take(6).collect();
    let mut values: Vec<_> = lore
        .takes
        .iter()
        .filter(|(_, (_, take))| take.id == *id)
        .map(|(op, _)| Value::Take(*op))
        .collect();
    values.push(Value::Release);
    let mut all: Vec<_> = promises.values().cloned().collect();
    let mut sent = Vec::new();
    for to in hand
        .gang
        .configuration()
        .replicas()
        .filter(|to| *to != hand.me)
    {
        hand.rng.shuffle(&mut all);
        let proposal = Proposal {
            id: id.clone(),
            epoch: *epoch,
            ballot: *ballot,
            value: match hand.rng.chance(500) {
                true => Value::Release,
                false => *hand.rng.pick(&values).expect("Release at least"),
            },
            promises: all.iter().take(size.promise_quorum()).cloned().collect(),
            takes: takes.clone(),
            released: None,
        };
        sent.push(Outgoing::Peer(to, PeerMessage::Propose(proposal)));
    }
    sent
}

/// Any messages: to some peer, and to whoever asked.
fn babble(hand: &mut Hand, input: &Input) -> Vec<Outgoing> {
    let to = some_peer(hand);
    let mut babbler = Babbler {
        gang: &hand.gang,
        rng: &mut hand.rng,
    };
    let said = to.zip(babbler.peer_message());
    let said = said.map(|(to, message)| Outgoing::Peer(to, message));
    let answered = match input {
        Input::Client(to, request) => babbler.reply().map(|body| answer(*to, request, body)),
        _ => None,
    };
    said.into_iter().chain(answered).collect()
}

/// Something heard before, as often as there is breath for.
fn flood(hand: &mut Hand) -> Vec<Outgoing> {
    let to = some_peer(hand);
    let lore = hand.gang.lore();
    let messages = lore.messages.iter().filter_map(|message| match message {
        Message::Peer(message) => Some(message),
        Message::Request(_) | Message::Reply(_) => None,
    });
    let messages: Vec<_> = messages.collect();
    let said = to.zip(hand.rng.pick(&messages));
    let said = said.map(|(to, message)| Outgoing::Peer(to, (*message).clone()));
    std::iter::repeat_n(said, FLOOD).flatten().collect()
}

/// A certificate of genuine votes and the gang's own, perhaps long after they were given.
fn show_late(hand: &mut Hand) -> Option<Outgoing> {
    let to = some_peer(hand).filter(|_| hand.rng.chance(200))?;
    let quorum = hand.gang.configuration().size().ack_quorum();
    let lore = hand.gang.lore();
    let statements: Vec<_> = lore.votes.iter().collect();
    let (said, votes) = hand.rng.pick(&statements)?;
    let kinds = [VoteKind::First, VoteKind::Prepare, VoteKind::Commit];
    let kind = *hand.rng.pick(&kinds).expect("three");
    let genuine = votes.values().filter(|vote| vote.kind == kind).cloned();
    let own = lore.replicas.iter().map(|own| own.vote(kind, said));
    let mut all: Vec<_> = genuine.chain(own).collect();
    all.sort_by_key(|vote| vote.replica);
    all.dedup_by_key(|vote| vote.replica);
    let certificate = forge::certificate(&all).filter(|c| c.votes.len() >= quorum)?;
    let take = match said.value {
        Value::Take(op) => lore.takes.get(&op),
        Value::Release | Value::Expire => lore.takes.values().find(|(_, t)| t.id == said.id),
    };
    let take = take.map(|(take, _)| take.clone())?;
    let message = match kind {
        VoteKind::Commit => PeerMessage::Decide(Decision {
            certificate,
            take: Some(take),
        }),
        VoteKind::First | VoteKind::Prepare => PeerMessage::Lock(LockRequest {
            certificate,
            take,
            released: None,
        }),
    };
    Some(Outgoing::Peer(to, message))
}

fn some_peer(hand: &mut Hand) -> Option<ReplicaId> {
    let replicas = hand.gang.configuration().replicas();
    let others: Vec<_> = replicas.filter(|replica| *replica != hand.me).collect();
    hand.rng.pick(&others).copied()
}

/// Something heard before, to somebody.
fn replay(hand: &mut Hand, input: &Input) -> Vec<Outgoing> {
    let others: Vec<_> = hand
        .gang
        .configuration()
        .replicas()
        .filter(|r| *r != hand.me)
        .collect();
    let lore = hand.gang.lore();
    let message = hand.rng.pick(&lore.messages).cloned();
    match (message, input) {
        (Some(Message::Peer(message)), _) => {
            let to = hand.rng.pick(&others).copied();
            to.map(|to| Outgoing::Peer(to, message))
                .into_iter()
                .collect()
        }
        (Some(Message::Reply(reply)), Input::Client(to, request)) => {
            vec![answer(*to, request, reply.body)]
        }
        _ => {
            let decision = hand.rng.pick(&lore.decisions).cloned();
            let to = hand.rng.pick(&others).copied();
            let decide = to.zip(decision);
            let decide = decide.map(|(to, what)| Outgoing::Peer(to, PeerMessage::Decide(what)));
            decide.into_iter().collect()
        }
    }
}

fn answer(to: ClientRef, request: &ClientRequest, body: ReplyBody) -> Outgoing {
    Outgoing::Client(
        to,
        Reply {
            request: request.request,
            body,
        },
    )
}

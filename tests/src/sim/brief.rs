//! Messages in short form, one line each, for traces.

use std::fmt::{self, Display};

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{Decision, EndPayload, EntryPayload, TakePayload};
use bts_core::crypto::sign::SignedBytes;
use bts_core::message::{
    Candidate, ClientBody, Given, LockRequest, PeerMessage, Removal, ReplyBody, Status,
};

use super::node::Message;
use crate::check::history::{short, short_template};

impl Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => write!(f, "{} {}", request.request, body(&request.body)),
            Self::Reply(reply) => write!(f, "{} {}", reply.request, reply_body(&reply.body)),
            Self::Peer(message) => f.write_str(&peer(message)),
        }
    }
}

fn body(body: &ClientBody) -> String {
    match body {
        ClientBody::Out { entry } => format!("out {}", entry_of(entry)),
        ClientBody::Read(read) => {
            let template = short_template(&read.template);
            format!(
                "read {:?} {}{template} full {}",
                read.mode, read.space, read.full
            )
        }
        ClientBody::StillEmpty {
            watch,
            nonce,
            stable,
        } => format!("still-empty {watch} nonce {nonce} stable {}", list(stable)),
        ClientBody::WriteBack { entry } => format!("write-back {}", entry_of(entry)),
        ClientBody::Take(request) => format!("take {}", take_of(&request.take)),
        ClientBody::Evidence(request) => format!("evidence {}", take_of(&request.take)),
        ClientBody::Lock(request) => format!("lock {}", lock(request)),
        ClientBody::Decide {
            decision: what,
            applied,
        } => format!(
            "decide {}{}",
            decision(what),
            if *applied { " applied?" } else { "" }
        ),
        ClientBody::Fetch(key) => format!("fetch {key:?}"),
        ClientBody::Dropped { id } => format!("dropped {id}"),
        ClientBody::Cancel { waiter } => format!("cancel {waiter}"),
        ClientBody::Inspect => "inspect".to_owned(),
        ClientBody::List { template, .. } => format!("list {}", short_template(template)),
        ClientBody::EndSession(end) => end_of(end),
        ClientBody::Sessions => "sessions".to_owned(),
    }
}

fn reply_body(body: &ReplyBody) -> String {
    match body {
        ReplyBody::Ack => "ack".to_owned(),
        ReplyBody::Found {
            candidates,
            watch,
            moved,
        } => {
            let watch = watch.map_or(String::new(), |watch| format!(" empty {watch}"));
            let candidates: Vec<_> = candidates.iter().map(candidate).collect();
            format!("found {}{watch}{}", candidates.join(" | "), moved_by(moved))
        }
        ReplyBody::Status { id, status: state } => format!("status {id} {}", status(state)),
        ReplyBody::EmptySince {
            nonce,
            watch,
            since,
            moved,
        } => format!(
            "empty-since {watch} nonce {nonce} {since:?}{}",
            moved_by(moved)
        ),
        ReplyBody::FirstVote(of) | ReplyBody::CommitVote(of) => vote(of),
        ReplyBody::Contended { id, status: state } => format!("contended {id} {}", status(state)),
        ReplyBody::Applied { id, op } => format!("applied {id} {op}"),
        ReplyBody::Push(pushed) => format!("push {}", candidate(pushed)),
        ReplyBody::Removed { id, removal: how } => format!("removed {id} {}", removal(how)),
        ReplyBody::Released { id, certificate: c } => format!("released {id} {}", certificate(c)),
        ReplyBody::Given(what) => given(what),
        ReplyBody::NotHeld(key) => format!("not-held {key:?}"),
        ReplyBody::Refused(why) => format!("refused {why:?}"),
        ReplyBody::Report(_) => "report".to_owned(),
        ReplyBody::Page { candidates, .. } => format!("page of {}", candidates.len()),
        ReplyBody::Sessions { present, gone } => {
            format!("sessions: present {}, gone {}", list(present), list(gone))
        }
    }
}

fn peer(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Promise { promise, takes, .. } => {
            format!("promise {} with {} takes", promise_of(promise), takes.len())
        }
        PeerMessage::Propose(proposal) => {
            let promises: Vec<_> = proposal.promises.iter().map(promise_of).collect();
            let (value, id) = (proposal.value, &proposal.id);
            let (epoch, ballot) = (proposal.epoch, proposal.ballot);
            format!(
                "propose {value} of {id} {epoch} {ballot} [{}]",
                promises.join("; ")
            )
        }
        PeerMessage::PrepareVote(of) | PeerMessage::CommitVote(of) => vote(of),
        PeerMessage::Lock(request) => format!("lock {}", lock(request)),
        PeerMessage::Decide(what) => format!("decide {}", decision(what)),
        PeerMessage::Applied { after, items } => {
            let items = items.iter().map(|(l, id, op)| format!("l{l} {id} {op}"));
            let items: Vec<_> = items.collect();
            format!("applied after l{after}: {}", items.join(", "))
        }
        PeerMessage::Relay { entry } => format!("relay {}", entry_of(entry)),
        PeerMessage::EndSession(end) => end_of(end),
        PeerMessage::Fetch(key) => format!("fetch {key:?}"),
        PeerMessage::Given(what) => given(what),
        PeerMessage::NotHeld(key) => format!("not-held {key:?}"),
        PeerMessage::Removed { id, removal: how } => format!("removed {id} {}", removal(how)),
        PeerMessage::Released { id, certificate: c } => format!("released {id} {}", certificate(c)),
        PeerMessage::Resume { next } => format!("resume from {next}"),
        PeerMessage::Compare(question) => {
            let from = question.from.as_ref().map(ToString::to_string);
            format!("compare {} after {from:?}", question.count)
        }
        PeerMessage::Compared(answer) => {
            let count = answer.items.as_ref().map(Vec::len);
            let upto = answer.upto.as_ref().map(ToString::to_string);
            format!("compared up to {upto:?}: {count:?}")
        }
    }
}

fn end_of(signed: &SignedBytes) -> String {
    match codec::decode_payload::<EndPayload>(&signed.payload) {
        Ok(end) => format!("end session {}", end.session()),
        Err(_) => "end of garbage".to_owned(),
    }
}

fn entry_of(signed: &SignedBytes) -> String {
    match codec::decode_payload::<EntryPayload>(&signed.payload) {
        Ok(entry) => format!("{}{}", entry.id, short(&entry.tuple)),
        Err(error) => format!("({error})"),
    }
}

fn take_of(signed: &SignedBytes) -> String {
    match codec::decode_payload::<TakePayload>(&signed.payload) {
        Ok(take) => {
            let puts: Vec<_> = take.puts.iter().map(|put| short(&put.tuple)).collect();
            let (by, number) = (take.client, take.number);
            format!(
                "{} {} by {by}{number} -> [{}]",
                take.id,
                take.epoch,
                puts.join(",")
            )
        }
        Err(error) => format!("({error})"),
    }
}

fn promise_of(signed: &SignedBytes) -> String {
    match codec::decode_payload::<PromisePayload>(&signed.payload) {
        Ok(promise) => {
            let first = promise.first.map_or("-".to_owned(), |op| op.to_string());
            let lock = promise.lock.as_ref().map_or("-".to_owned(), certificate);
            let (id, epoch, ballot) = (&promise.id, promise.epoch, promise.ballot);
            format!(
                "{id} {epoch} {ballot} first {first} lock {lock} by {}",
                signed.signer
            )
        }
        Err(error) => format!("({error})"),
    }
}

fn statement(payload: &[u8]) -> String {
    match codec::decode_payload::<Statement>(payload) {
        Ok(statement) => statement.to_string(),
        Err(error) => format!("({error})"),
    }
}

fn vote(vote: &SealedVote) -> String {
    let kind = format!("{:?}", vote.kind).to_lowercase();
    format!(
        "{kind}-vote {} by {}",
        statement(&vote.payload),
        vote.replica
    )
}

fn certificate(of: &Certificate) -> String {
    let voters: Vec<_> = of
        .votes
        .iter()
        .map(|(replica, _)| replica.to_string())
        .collect();
    let kind = format!("{:?}", of.kind).to_lowercase();
    format!(
        "<{kind} {} of {}>",
        voters.join("+"),
        statement(&of.payload)
    )
}

fn lock(request: &LockRequest) -> String {
    certificate(&request.certificate)
}

fn decision(of: &Decision) -> String {
    certificate(&of.certificate)
}

fn moved_by(moved: &[Decision]) -> String {
    match moved.is_empty() {
        true => String::new(),
        false => format!(
            " but for {}",
            moved.iter().map(decision).collect::<Vec<_>>().join(" ")
        ),
    }
}

fn removal(how: &Removal) -> String {
    match how {
        Removal::Decision(of) => decision(of),
        Removal::Forgotten => "forgotten".to_owned(),
        Removal::Unknown => "unknown".to_owned(),
    }
}

fn given(what: &Given) -> String {
    match what {
        Given::Content(id, _) => format!("given content of {id}"),
        Given::Take(take) => format!("given take {}", take_of(take)),
        Given::Release(id, epoch, _) => format!("given release of {id} {epoch}"),
    }
}

fn candidate(of: &Candidate) -> String {
    let full = if of.full.is_some() { " full" } else { "" };
    format!("{}{full} {}", of.id, status(&of.status))
}

fn status(of: &Status) -> String {
    let mut text = format!("{{{} of {}", of.epoch, list(&of.contents));
    if let Some(first) = of.first {
        text += &format!(" first {first}");
    }
    if let Some(lock) = &of.lock {
        text += &format!(" lock {}", certificate(lock));
    }
    if of.reserved {
        text += " reserved";
    }
    text + &format!(" {}}}", of.promised)
}

fn list<T: Display>(all: &[T]) -> String {
    let shown: Vec<_> = all.iter().map(ToString::to_string).collect();
    format!("[{}]", shown.join(","))
}

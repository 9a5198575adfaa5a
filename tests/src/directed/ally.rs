//! A liar that helps whoever asks to believe the wrong thing: it has stored, voted for and applied
//! everything, and names every entry it ever heard of, or none, as the test likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bts_core::codec;
use bts_core::configuration::Configuration;
use bts_core::consensus::certificate::{Statement, VoteKind};
use bts_core::content::{EntryPayload, TakePayload, put_hash};
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{ContentHash, EntryId, OpId, WatchId};
use bts_core::message::{Candidate, ClientBody, Reply, ReplyBody, Since, Status};
use bts_core::replica::{Outgoing, Outputs};
use bts_core::template::Template;
use bts_core::tuple::Tuple;

use crate::adversary::forge::{ReplicaForge, content_hash, op_of};
use crate::adversary::puppet::{Heard, Puppet};
use crate::sim::cluster::Cluster;
use crate::sim::setup::Setup;

/// The liar's number.
pub const ALLY: u16 = 3;

/// Four replicas, the last of them the ally; it names entries as long as the switch is off.
pub fn cluster() -> (Cluster, Arc<AtomicBool>) {
    let setup = Setup::calm(4, 1);
    let configuration = setup.configuration();
    let key = setup.replica_key(ALLY);
    let forge = ReplicaForge::new(&configuration, bts_core::ids::ReplicaId(ALLY), key);
    let is_empty = Arc::new(AtomicBool::new(false));
    let mut ally = Ally {
        configuration,
        forge,
        is_empty: Arc::clone(&is_empty),
        known: Vec::new(),
    };
    let answer = move |heard: &Heard, out: &mut Outputs| ally.answer(heard, out);
    let (puppet, _) = Puppet::answering(answer);
    (
        Cluster::with(setup, vec![(ALLY, Box::new(puppet))]),
        is_empty,
    )
}

struct Ally {
    configuration: Arc<Configuration>,
    forge: ReplicaForge,
    is_empty: Arc<AtomicBool>,
    known: Vec<(EntryId, ContentHash, Tuple)>,
}

impl Ally {
    fn answer(&mut self, heard: &Heard, out: &mut Outputs) {
        let Heard::Client(from, request) = heard else {
            return;
        };
        if let Some(body) = self.body(&request.body) {
            let request = request.request;
            out.send
                .push(Outgoing::Client(*from, Reply { request, body }));
        }
    }

    fn body(&mut self, asked: &ClientBody) -> Option<ReplyBody> {
        Some(match asked {
            ClientBody::Out { entry } => {
                self.learn(entry)?;
                ReplyBody::Ack
            }
            ClientBody::WriteBack { entry } => {
                let (id, status) = self.learn(entry)?;
                ReplyBody::Status { id, status }
            }
            ClientBody::Read(read) => self.found(&read.template),
            ClientBody::StillEmpty { watch, nonce, .. } => ReplyBody::EmptySince {
                nonce: *nonce,
                watch: *watch,
                since: Since::Yes,
                moved: Vec::new(),
            },
            ClientBody::Take(request) => {
                let vote = self.forge.first_vote(&self.configuration, &request.take)?;
                ReplyBody::FirstVote(vote)
            }
            ClientBody::Lock(lock) => {
                let said: Statement = codec::decode_payload(&lock.certificate.payload).ok()?;
                ReplyBody::CommitVote(self.forge.vote(VoteKind::Commit, &said))
            }
            ClientBody::Decide { decision, applied } => {
                let (id, op) = self.learn_puts(decision.take.as_ref()?)?;
                return applied.then_some(ReplyBody::Applied { id, op });
            }
            _ => return None,
        })
    }

    fn learn(&mut self, entry: &SignedBytes) -> Option<(EntryId, Status)> {
        let hash = content_hash(&self.configuration, entry);
        let payload: EntryPayload = codec::decode_payload(&entry.payload).ok()?;
        self.known.push((payload.id.clone(), hash, payload.tuple));
        Some((payload.id, holding(hash)))
    }

    fn learn_puts(&mut self, take: &SignedBytes) -> Option<(EntryId, OpId)> {
        let op = op_of(&self.configuration, take);
        let payload: TakePayload = codec::decode_payload(&take.payload).ok()?;
        for (index, put) in (0..).zip(payload.puts) {
            let hash = put_hash(op, index);
            self.known.push((payload.id.put(index)?, hash, put.tuple));
        }
        Some((payload.id, op))
    }

    fn found(&self, template: &Template) -> ReplyBody {
        let matching = self
            .known
            .iter()
            .filter(|(_, _, tuple)| template.matches(tuple));
        let named = matching.map(|(id, hash, _)| Candidate {
            id: id.clone(),
            hash: *hash,
            full: None,
            status: holding(*hash),
        });
        let candidates: Vec<_> = match self.is_empty.load(Ordering::Relaxed) {
            true => Vec::new(),
            false => named.take(1).collect(),
        };
        ReplyBody::Found {
            watch: candidates.is_empty().then_some(WatchId(1)),
            candidates,
            moved: Vec::new(),
        }
    }
}

fn holding(hash: ContentHash) -> Status {
    Status {
        contents: vec![hash],
        ..Status::default()
    }
}

//! Whole messages of faulty replicas and clients, each kind of them, chosen by bytes.

use bts_core::codec;
use bts_core::consensus::certificate::{Statement, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::Decision;
use bts_core::crypto::hash::Digest;
use bts_core::ids::{ContentHash, EntryId, RequestId, TakeNumber, WatchId};
use bts_core::message::{
    ClientBody, ClientRequest, Compare, Compared, PeerMessage, Proposal, ReadMode, ReadRequest,
    Refused, Reply, ReplyBody, Since,
};

use super::words::Speaker;

impl Speaker<'_, '_> {
    /// A request; its number and those in it are small, so that they meet.
    pub(super) fn request(&mut self) -> ClientRequest {
        ClientRequest {
            request: RequestId(self.draw.below(8) as u64),
            settled_below: TakeNumber(self.draw.below(4) as u64),
            body: self.request_body(),
        }
    }

    fn request_body(&mut self) -> ClientBody {
        match self.draw.below(18) {
            0 => ClientBody::Out {
                entry: self.entry(),
            },
            1 => ClientBody::Read(self.read()),
            2 => self.still_empty(),
            3 => ClientBody::WriteBack {
                entry: self.entry(),
            },
            4..=6 => ClientBody::Take(self.take_request()),
            7 => ClientBody::Evidence(self.take_request()),
            8 => ClientBody::Lock(self.lock_request()),
            9 => ClientBody::Decide {
                decision: self.decision(),
                applied: self.draw.once_in(2),
            },
            10 => ClientBody::Fetch(self.fetch_key()),
            11 => ClientBody::Dropped { id: self.id() },
            12 => ClientBody::Cancel {
                waiter: RequestId(self.draw.below(8) as u64),
            },
            13 => ClientBody::Inspect,
            14 => ClientBody::List {
                space: self.space(),
                template: self.template(),
                after: self.draw.once_in(2).then(|| Digest([self.draw.byte(); 32])),
            },
            15 => ClientBody::EndSession(self.end()),
            16 => ClientBody::Sessions,
            _ => ClientBody::Out { entry: self.take() },
        }
    }

    fn read(&mut self) -> ReadRequest {
        let modes = [ReadMode::Rdp, ReadMode::Enter, ReadMode::Rd, ReadMode::In];
        ReadRequest {
            space: self.space(),
            template: self.template(),
            mode: modes[self.draw.below(4)],
            start: u64::from(self.draw.byte()) << 56,
            candidates: self.draw.byte(),
            full: self.replica(),
        }
    }

    fn still_empty(&mut self) -> ClientBody {
        ClientBody::StillEmpty {
            watch: WatchId(self.draw.below(8) as u64),
            nonce: u64::from(self.draw.byte()),
            stable: (0..self.draw.below(3)).map(|_| self.op()).collect(),
        }
    }

    /// An answer to this request, fitting or not.
    pub(super) fn reply(&mut self, asked: &ClientRequest) -> Reply {
        let request = match self.draw.once_in(16) {
            false => asked.request,
            true => RequestId(self.draw.below(16) as u64),
        };
        let body = match self.draw.once_in(2) {
            false => self.fitting(&asked.body),
            true => self.reply_body(),
        };
        Reply { request, body }
    }

    /// What somebody correct might answer, in form.
    fn fitting(&mut self, asked: &ClientBody) -> ReplyBody {
        match asked {
            ClientBody::Out { .. } | ClientBody::EndSession(_) => ReplyBody::Ack,
            ClientBody::Sessions => self.sessions(),
            ClientBody::Read(_) => self.found(),
            ClientBody::StillEmpty { watch, nonce, .. } => ReplyBody::EmptySince {
                nonce: *nonce,
                watch: *watch,
                since: self.since(),
                moved: self.moved(),
            },
            ClientBody::Take(take) => {
                let forge = self.draw.pick(self.replicas).expect("somebody can vote");
                let vote = forge.first_vote(self.gang.configuration(), &take.take);
                vote.map_or(ReplyBody::Ack, ReplyBody::FirstVote)
            }
            ClientBody::Lock(lock) => {
                let forge = self.draw.pick(self.replicas).expect("somebody can vote");
                let said = codec::decode_payload::<Statement>(&lock.certificate.payload);
                let vote = said.map(|said| forge.vote(VoteKind::Commit, &said));
                vote.map_or(ReplyBody::Ack, ReplyBody::CommitVote)
            }
            ClientBody::Decide { decision, .. } => {
                let said = codec::decode_payload::<Statement>(&decision.certificate.payload);
                let id = said.map_or_else(|_| self.id(), |said| said.id);
                ReplyBody::Applied { id, op: self.op() }
            }
            ClientBody::List { .. } => self.page(),
            ClientBody::Fetch(key) => match self.draw.once_in(3) {
                false => ReplyBody::Given(self.given()),
                true => ReplyBody::NotHeld(key.clone()),
            },
            ClientBody::WriteBack { .. } | ClientBody::Evidence(_) => {
                let id = self.id();
                let status = self.status(&id);
                ReplyBody::Status { id, status }
            }
            ClientBody::Inspect => ReplyBody::Report(Box::default()),
            ClientBody::Dropped { .. } | ClientBody::Cancel { .. } => self.reply_body(),
        }
    }

    fn reply_body(&mut self) -> ReplyBody {
        let id = self.id();
        match self.draw.below(17) {
            0 => ReplyBody::Ack,
            1 => self.found(),
            2 => ReplyBody::Status {
                status: self.status(&id),
                id,
            },
            3 => ReplyBody::EmptySince {
                nonce: u64::from(self.draw.byte()),
                watch: WatchId(self.draw.below(8) as u64),
                since: self.since(),
                moved: self.moved(),
            },
            4 => ReplyBody::FirstVote(self.vote()),
            5 => ReplyBody::CommitVote(self.vote()),
            6 => ReplyBody::Contended {
                status: self.status(&id),
                id,
            },
            7 => ReplyBody::Applied { id, op: self.op() },
            8 => ReplyBody::Push(Box::new(self.candidate())),
            9 => ReplyBody::Removed {
                id,
                removal: self.removal(),
            },
            10 => ReplyBody::Released {
                id,
                certificate: self.certificate(),
            },
            11 => ReplyBody::Given(self.given()),
            12 => ReplyBody::NotHeld(self.fetch_key()),
            13 => ReplyBody::Refused(self.refused()),
            14 => ReplyBody::Report(Box::default()),
            15 => self.sessions(),
            _ => self.page(),
        }
    }

    fn sessions(&mut self) -> ReplyBody {
        let count = self.draw.below(4);
        let mut some = || (0..count).map(|_| self.session()).collect();
        ReplyBody::Sessions {
            present: some(),
            gone: some(),
        }
    }

    fn found(&mut self) -> ReplyBody {
        ReplyBody::Found {
            candidates: (0..self.draw.below(4)).map(|_| self.candidate()).collect(),
            watch: (!self.draw.once_in(3)).then(|| WatchId(self.draw.below(8) as u64)),
            moved: self.moved(),
        }
    }

    fn page(&mut self) -> ReplyBody {
        ReplyBody::Page {
            candidates: (0..self.draw.below(4)).map(|_| self.candidate()).collect(),
            next: self.draw.once_in(2).then(|| Digest([self.draw.byte(); 32])),
        }
    }

    fn moved(&mut self) -> Vec<Decision> {
        let count = [0, 0, 0, 1, 2][self.draw.below(5)];
        (0..count).map(|_| self.decision()).collect()
    }

    fn since(&mut self) -> Since {
        [Since::Yes, Since::No, Since::NoSuchWatch][self.draw.below(3)]
    }

    fn refused(&mut self) -> Refused {
        match self.draw.below(8) {
            0 => Refused::Limit("full".into()),
            1 => Refused::Forbidden("no".into()),
            2 => Refused::IllFormed("what".into()),
            3 => Refused::SessionEnded,
            4 => Refused::Starting,
            5 => Refused::NoRoom("full".into()),
            6 => Refused::TooManySessions,
            _ => Refused::Forged("liar".into()),
        }
    }

    /// Something that a replica says to another one.
    pub(super) fn peer(&mut self) -> PeerMessage {
        match self.draw.below(17) {
            0 => PeerMessage::Promise {
                promise: self.promise(),
                takes: self.takes(),
                released: self.released(),
            },
            1 => PeerMessage::Propose(self.proposal()),
            2 => PeerMessage::PrepareVote(self.vote()),
            3 => PeerMessage::Lock(self.lock_request()),
            4 => PeerMessage::CommitVote(self.vote()),
            5 => PeerMessage::Decide(self.decision()),
            6 => PeerMessage::Applied {
                after: self.draw.below(4) as u64,
                items: (1..=self.draw.below(4) as u64)
                    .map(|number| (number, self.id(), self.op()))
                    .collect(),
            },
            7 => PeerMessage::Relay {
                entry: self.entry(),
            },
            8 => PeerMessage::Fetch(self.fetch_key()),
            9 => PeerMessage::Given(self.given()),
            10 => PeerMessage::NotHeld(self.fetch_key()),
            11 => PeerMessage::Removed {
                id: self.id(),
                removal: self.removal(),
            },
            12 => PeerMessage::Released {
                id: self.id(),
                certificate: self.certificate(),
            },
            13 => PeerMessage::Compare(Compare {
                from: self.draw.once_in(2).then(|| self.id()),
                to: self.draw.once_in(2).then(|| self.id()),
                count: self.draw.below(4) as u64,
                digest: Digest([self.draw.byte(); 32]),
            }),
            14 => PeerMessage::Compared(Compared {
                from: self.draw.once_in(2).then(|| self.id()),
                upto: self.draw.once_in(2).then(|| self.id()),
                items: self.draw.once_in(2).then(|| self.items()),
            }),
            15 => PeerMessage::EndSession(self.end()),
            _ => PeerMessage::Resume {
                next: u64::from(self.draw.byte()),
            },
        }
    }

    /// What somebody may claim to hold, in order.
    fn items(&mut self) -> Vec<(EntryId, ContentHash)> {
        let count = self.draw.below(4);
        let mut items: Vec<_> = (0..count).map(|_| self.item()).collect();
        items.sort();
        items
    }

    fn item(&mut self) -> (EntryId, ContentHash) {
        let id = self.id();
        let hash = self.hash(&id);
        (id, hash)
    }

    fn proposal(&mut self) -> Proposal {
        let promises = self.promises();
        let said = promises
            .first()
            .and_then(|promise| codec::decode_payload::<PromisePayload>(&promise.payload).ok());
        let (id, epoch, ballot) = match said {
            Some(said) => (said.id, said.epoch, said.ballot),
            None => (self.id(), self.epoch(), self.ballot()),
        };
        Proposal {
            id,
            epoch,
            ballot,
            value: self.value(),
            promises,
            takes: self.takes(),
            released: self.released(),
        }
    }
}

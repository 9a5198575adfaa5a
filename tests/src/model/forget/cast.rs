//! Who is there, and everything that is signed beforehand: an entry x that was taken, perhaps with a
//! put y in its place that is taken in its turn; their winners; somebody who writes x back, and
//! somebody who wants it as well.

use std::sync::Arc;

use bts_core::configuration::{Configuration, Policy};
use bts_core::consensus::certificate::{Statement, Value, VoteKind};
use bts_core::content::{Content, Decision, Put, put_hash};
use bts_core::crypto::sign::SignedBytes;
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::{
    Ballot, ClientRef, ClusterId, EntryId, Epoch, Incarnation, OpId, PublicKey, ReplicaId,
    RequestId, Session, SpaceName, TakeNumber,
};
use bts_core::message::{
    ClientBody, ClientRequest, PeerMessage, ReadMode, ReadRequest, Removal, TakeRequest,
};
use bts_core::replica::ranges::WriterSession;
use bts_core::replica::{Input, Limits, Options, Record};
use bts_core::template::{Pattern, Template};
use bts_core::time::Span;
use bts_core::tuple::Tuple;
use ed25519_dalek::SigningKey;

use super::act::Act;
use crate::adversary::forge::{self, ClientForge, ReplicaForge};

/// Correct replicas; the one after them is faulty.
pub(super) const CORRECT: usize = 3;
/// The faulty one.
pub(super) const LIAR: u8 = CORRECT as u8;
/// No window ends here: ballots are the business of the other models.
const WINDOW: Span = Span::from_millis(1_000_000_000);
/// The number of the winning Takes, and of x.
const NUMBER: u64 = 1;

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Entry {
    X,
    /// What was put in the place of x.
    Y,
}

impl Entry {
    pub(super) const ALL: [Self; 2] = [Self::X, Self::Y];

    pub(super) fn tuple(self) -> Tuple {
        Tuple(vec![(self as u64).into()])
    }
}

/// A Take that won.
struct Won {
    id: EntryId,
    op: OpId,
    winner: ClientRef,
    decision: Decision,
}

/// Everything that is signed beforehand.
pub(super) struct Cast {
    configuration: Arc<Configuration>,
    space: SpaceName,
    roots: VerifiedRoots,
    x: SignedBytes,
    won: [Won; 2],
    /// A Take of x that lost.
    rival: SignedBytes,
    stranger: ClientRef,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

impl Cast {
    /// With or without a put.
    pub(super) fn new(with_put: bool) -> Self {
        let public = |seed| PublicKey(key(seed).verifying_key().to_bytes());
        let keys = (0..=LIAR).map(public).collect();
        let configuration = Configuration::new(ClusterId([9; 32]), 1, keys, 1, Policy::default());
        let configuration = Arc::new(configuration.expect("a legal cluster"));
        let space = SpaceName::new("jobs").expect("a legal name");
        let writer = ClientForge::new(&configuration, key(100), Session(3));
        let id = writer.id(&space, NUMBER);
        let x = writer.entry(id.clone(), Entry::X.tuple());
        let hash = forge::content_hash(&configuration, &x);
        let put = with_put.then(|| Put::from(Entry::Y.tuple()));
        let won = |seed, id: &EntryId, hash, puts| {
            let client = ClientForge::new(&configuration, key(seed), Session(5));
            let take = client.take(NUMBER, id.clone(), hash, Epoch(0), puts);
            won(&configuration, &client, id, take)
        };
        let of_x = won(101, &id, hash, put.into_iter().collect());
        let y = id.put(0).expect("a short path");
        let of_y = won(102, &y, put_hash(of_x.op, 0), Vec::new());
        let stranger = ClientForge::new(&configuration, key(103), Session(6));
        Self {
            rival: stranger.take(7, id, hash, Epoch(0), Vec::new()),
            stranger: ClientRef {
                key: stranger.public(),
                session: stranger.session(),
            },
            x,
            won: [of_x, of_y],
            roots: VerifiedRoots::default(),
            space,
            configuration,
        }
    }

    pub(super) fn options(&self, number: u8) -> Options {
        Options {
            id: ReplicaId(u16::from(number)),
            configuration: Arc::clone(&self.configuration),
            key: key(number),
            incarnation: Incarnation(1 + u64::from(number)),
            window: WINDOW,
            reservation: Span::from_millis(100),
            limits: Limits::default(),
            run: 1,
            roots: self.roots.clone(),
        }
    }

    pub(super) fn clients(&self) -> [ClientRef; 3] {
        let [x, y] = &self.won;
        [x.winner, y.winner, self.stranger]
    }

    pub(super) fn id(&self, entry: Entry) -> &EntryId {
        &self.won[entry as usize].id
    }

    /// Which of both an id names.
    pub(super) fn entry(&self, id: &EntryId) -> Option<Entry> {
        Entry::ALL.into_iter().find(|entry| self.id(*entry) == id)
    }

    /// The Take that lost.
    pub(super) fn is_rival(&self, take: &SignedBytes) -> bool {
        self.rival == *take
    }

    /// What a replica logs that forgets x, or y.
    pub(super) fn forgot(&self, entry: Entry) -> Record {
        let x = self.id(Entry::X);
        let session = WriterSession {
            space: self.space.clone(),
            writer: self.x.signer,
            session: Session(3),
        };
        debug_assert!(x.is_root());
        match entry {
            Entry::X => Record::ForgotRoots(session, vec![(NUMBER, NUMBER)]),
            Entry::Y => Record::ForgotPut(self.id(entry).clone()),
        }
    }

    /// A reader asks.
    pub(super) fn read(&self, entry: Entry) -> Input {
        let template = Template(entry.tuple().0.into_iter().map(Pattern::Exact).collect());
        let read = ReadRequest {
            space: self.space.clone(),
            template,
            mode: ReadMode::Rdp,
            start: 0,
            candidates: 4,
            full: ReplicaId(0),
        };
        self.by(self.stranger, 90 + entry as u64, ClientBody::Read(read))
    }

    /// The input that an act is to a replica; `None` if nothing but time is.
    pub(super) fn input(&self, act: Act) -> Option<Input> {
        let removed = |entry: Entry, removal| PeerMessage::Removed {
            id: self.id(entry).clone(),
            removal,
        };
        let decision = |entry: Entry| self.won[entry as usize].decision.clone();
        let entry = self.x.clone();
        let stranger = |request, body| Some(self.by(self.stranger, request, body));
        match act {
            Act::Decided(entry) => {
                let decision = decision(entry);
                stranger(
                    10,
                    ClientBody::Decide {
                        decision,
                        applied: true,
                    },
                )
            }
            Act::Settled(entry) => {
                let waiter = RequestId(0);
                let request = ClientRequest {
                    request: RequestId(20),
                    settled_below: TakeNumber(NUMBER + 1),
                    body: ClientBody::Cancel { waiter },
                };
                Some(Input::Client(self.won[entry as usize].winner, request))
            }
            Act::Told(by, of) => {
                let told = |(number, entry): (u64, Entry)| {
                    let won = &self.won[entry as usize];
                    (number, won.id.clone(), won.op)
                };
                let told = of.numbered().map(told);
                let items = told.collect();
                peer(by, PeerMessage::Applied { after: 0, items })
            }
            Act::Given(by, entry) => peer(
                by,
                removed(entry, Removal::Decision(Box::new(decision(entry)))),
            ),
            Act::Forgotten(by, entry) => peer(by, removed(entry, Removal::Forgotten)),
            Act::Unknown(by, entry) => peer(by, removed(entry, Removal::Unknown)),
            Act::Relayed(by) => peer(by, PeerMessage::Relay { entry }),
            Act::WrittenBack => stranger(30, ClientBody::WriteBack { entry }),
            Act::Dropped(entry) => {
                let id = self.id(entry).clone();
                stranger(50, ClientBody::Dropped { id })
            }
            Act::TakenAgain => {
                let take = TakeRequest {
                    take: self.rival.clone(),
                    content: Some(Content::Signed(entry)),
                    released: None,
                };
                stranger(40, ClientBody::Take(take))
            }
            Act::Time | Act::Restarted { .. } | Act::Forgets(_) => None,
        }
    }

    fn by(&self, client: ClientRef, request: u64, body: ClientBody) -> Input {
        let request = ClientRequest {
            request: RequestId(request),
            settled_below: TakeNumber(0),
            body,
        };
        Input::Client(client, request)
    }

    /// x as it is written.
    pub(super) fn written(&self) -> Input {
        let entry = self.x.clone();
        self.by(self.stranger, 30, ClientBody::WriteBack { entry })
    }
}

fn peer(by: u8, message: PeerMessage) -> Option<Input> {
    Some(Input::Peer(ReplicaId(u16::from(by)), message))
}

/// Decided by commit votes of two correct replicas and the faulty one.
fn won(
    configuration: &Configuration,
    client: &ClientForge,
    id: &EntryId,
    take: SignedBytes,
) -> Won {
    let op = forge::op_of(configuration, &take);
    let said = Statement {
        id: id.clone(),
        epoch: Epoch(0),
        ballot: Ballot::ZERO,
        value: Value::Take(op),
    };
    let votes = [0, 1, LIAR].map(|i| {
        let replica = ReplicaForge::new(configuration, ReplicaId(u16::from(i)), key(i));
        replica.vote(VoteKind::Commit, &said)
    });
    Won {
        id: id.clone(),
        op,
        winner: ClientRef {
            key: client.public(),
            session: client.session(),
        },
        decision: Decision {
            certificate: forge::certificate(&votes).expect("votes"),
            take: Some(take),
        },
    }
}

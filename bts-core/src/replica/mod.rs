//! The server as a state machine: its inputs, its outputs, and the table that leads each message to
//! the file that handles it. Every handler filters first (a named reason to ignore or refuse), then
//! acts. What promises something goes through `Replica::promise`, and leaves when it is synced.

mod answer;
mod contest;
mod frozen;
pub mod handover;
mod id_map;
mod index;
mod on_applied;
mod on_compare;
mod on_decide;
mod on_end_session;
mod on_fetch;
mod on_forget;
mod on_index;
mod on_lock;
mod on_out;
mod on_promise;
mod on_propose;
mod on_read;
mod on_take;
mod on_timer;
pub mod outputs;
pub mod ranges;
pub mod record;
mod recover;
mod replay;
mod report;
mod sessions;
mod stash;
mod stop;
mod store;
mod sweep;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use crate::configuration::Configuration;
use crate::crypto::hash::Digest;
use crate::crypto::sign::Signer;
use crate::crypto::verified::{VerifiedRoots, Verifier};
use crate::ids::{ClientRef, Incarnation, Lsn, PublicKey, ReplicaId};
use crate::limits;
use crate::message::{ClientBody, ClientRequest, PeerMessage, ReplyBody};
use crate::quorum::ClusterSize;
use crate::time::{Estimate, Span, Time};

pub use outputs::{Event, Obsolete, Outgoing, Outputs, Principal};
pub use record::Record;
pub use replay::{BadRecord, LogReader, Logged, Unreplayable};

use contest::{Account, Contest};
use id_map::IdMap;
use on_applied::Streams;
use on_fetch::Fetches;
use on_forget::Forgetting;
use on_index::Indexing;
use on_timer::Timers;
use outputs::Gate;
use sessions::Sessions;
use stash::Stash;
use store::Store;
use sweep::Sweeps;
use wake::Hint;

/// What happens to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client connected and was welcomed.
    ClientConnected(ClientRef),
    /// Its last connection ended.
    ClientGone(ClientRef),
    /// A request of a connected client.
    Client(ClientRef, ClientRequest),
    /// Our connection to a peer is up; `stream_next` is from its Hello answer.
    PeerConnected(ReplicaId, u64),
    /// Our connection to a peer is down.
    PeerGone(ReplicaId),
    /// A message that a peer sent on its own connection.
    Peer(ReplicaId, PeerMessage),
    /// All records up to this one are on disk.
    Synced(Lsn),
    /// Nothing but time passed: a deadline is reached.
    Tick,
    /// The store has no room, for the reason told: from now on nothing is logged. `None`: it has
    /// room again. All that was logged before must be synced, so that the replica may have to be
    /// recovered first.
    Frozen(Option<String>),
    /// The configuration ends, for this purpose. The shell has checked who orders it.
    Stop(Digest),
}

/// What a replica is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which replica of the configuration.
    pub id: ReplicaId,
    /// The cluster.
    pub configuration: Arc<Configuration>,
    /// Its key; the public half stands in the configuration.
    pub key: SigningKey,
    /// Random identity of its store.
    pub incarnation: Incarnation,
    /// Random, another one for each start: what clients were told of watches of an earlier run says
    /// nothing about this one (B4).
    pub run: u64,
    /// Δ: the first window of a recovery. About ten times a round trip.
    pub window: Span,
    /// How long an entry stays reserved for the client that it was named to.
    pub reservation: Span,
    /// Limits that deployments may lower.
    pub limits: Limits,
    /// Signatures already checked; other machines of the process may share them.
    pub roots: VerifiedRoots,
}

/// Limits that a configuration file may set; the defaults are those of [`crate::limits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Undecided first votes per client key.
    pub open_votes_per_client: usize,
    /// Blocked operations per session.
    pub waiters_per_session: usize,
    /// Contents per writer key.
    pub live_contents_per_writer: usize,
    /// Sessions of one key that are gone, have not ended, and won what is kept.
    pub gone_sessions_per_client: usize,
    /// How long a session counts as present after its last connection ended.
    pub session_lingers: Span,
    /// How many entries are looked at in one go when the index of a new shape is made.
    pub index_slice: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_votes_per_client: limits::OPEN_VOTES_PER_CLIENT_MAX,
            waiters_per_session: limits::WAITERS_PER_SESSION_MAX,
            live_contents_per_writer: limits::LIVE_CONTENTS_PER_WRITER_MAX,
            gone_sessions_per_client: limits::GONE_SESSIONS_PER_CLIENT_MAX,
            session_lingers: Span::from_millis(limits::SESSION_LINGERS_MS),
            index_slice: limits::INDEX_SLICE,
        }
    }
}

/// The server.
#[derive(Debug)]
pub struct Replica {
    options: Options,
    size: ClusterSize,
    signer: Signer,
    verifier: Verifier,
    now: Time,
    /// When it took its first input.
    began: Option<Time>,
    /// Durable state; changed by [`Replica::log`] only.
    store: Store,
    gate: Gate,
    sessions: Sessions,
    /// Open instances with something to do.
    contests: IdMap<Contest>,
    /// How many of them were opened on each account.
    opened: BTreeMap<Account, usize>,
    /// Entries that blocked `in`s are being told of.
    hints: IdMap<Hint>,
    /// How long clients need to decide a Take.
    deciding: Estimate,
    streams: Streams,
    fetches: Fetches,
    forgetting: Forgetting,
    stash: Stash,
    indexing: Indexing,
    sweeps: Sweeps,
    timers: Timers,
    connected: BTreeSet<ReplicaId>,
    /// Why nothing can be logged at present.
    frozen: Option<String>,
    refused: u64,
    forged: BTreeMap<PublicKey, u64>,
    convicted: BTreeMap<PublicKey, u64>,
    evidence: Vec<crate::misbehavior::Evidence>,
    counters: BTreeMap<&'static str, u64>,
}

impl Replica {
    /// A replica without any entry.
    pub fn new(options: Options) -> Self {
        let configuration = Arc::clone(&options.configuration);
        let context = *configuration.signing_context();
        let signer = Signer::new(options.key.clone(), context).remembering(options.roots.clone());
        assert_eq!(
            configuration.key_of(options.id),
            Some(signer.public()),
            "the key of {} is another one in the configuration",
            options.id
        );
        let size = configuration.size();
        Self {
            size,
            signer,
            verifier: Verifier::sharing(configuration, options.roots.clone()),
            now: Time::ZERO,
            began: None,
            store: Store::default(),
            gate: Gate::default(),
            sessions: Sessions::new(options.run),
            contests: IdMap::default(),
            opened: BTreeMap::new(),
            hints: IdMap::default(),
            deciding: Estimate::default(),
            streams: Streams::default(),
            fetches: Fetches::default(),
            forgetting: Forgetting::default(),
            stash: Stash::default(),
            indexing: Indexing::default(),
            sweeps: Sweeps::default(),
            timers: Timers::default(),
            connected: BTreeSet::new(),
            frozen: None,
            refused: 0,
            forged: BTreeMap::new(),
            convicted: BTreeMap::new(),
            evidence: Vec::new(),
            counters: BTreeMap::new(),
            options,
        }
    }

    /// Takes one input to its end.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        self.now = self.now.max(now);
        self.began.get_or_insert(self.now);
        if self.stopped().is_some() && !mutant!(GoesOnAfterStop) {
            return self.handle_stopped(input, out);
        }
        match input {
            Input::ClientConnected(client) => {
                self.indexing.forget(client);
                self.sessions.connect(client);
            }
            Input::ClientGone(client) => self.on_client_gone(client),
            Input::Client(from, request) => self.on_client(from, request, out),
            Input::PeerConnected(peer, stream_next) => {
                self.on_peer_connected(peer, stream_next, out);
            }
            Input::PeerGone(peer) => {
                self.connected.remove(&peer);
                self.interrupt_comparing(peer);
            }
            Input::Peer(from, message) => self.on_peer(from, message, out),
            Input::Synced(lsn) => {
                self.gate.synced(lsn);
                self.settle_all_stable();
            }
            Input::Tick => {}
            Input::Frozen(why) => self.on_frozen(why),
            Input::Stop(purpose) => self.on_stop(purpose, out),
        }
        let goes_on = self.stopped().is_none() || mutant!(GoesOnAfterStop);
        if goes_on {
            // Also without room on the disk: reads are answered then as well.
            self.on_index_due(out);
        }
        if self.frozen.is_none() && goes_on {
            self.on_stashed(out);
            self.on_timers(out);
            self.on_stashed(out);
            self.on_answered(out);
        }
        self.release(out);
    }

    /// When the replica wants a [`Input::Tick`], and what for.
    pub fn deadline(&self) -> Option<(Time, &'static str)> {
        let has_ended = self.stopped().is_some();
        let rests = self.frozen.is_some() || has_ended;
        let timer = self.timers.next().filter(|_| !rests);
        let index = self.indexing.due().filter(|_| !has_ended);
        timer.into_iter().chain(index).min()
    }

    /// Number after the last decision of this peer's stream that was heard of, for the Hello.
    pub fn stream_next(&self, peer: ReplicaId) -> u64 {
        self.streams.heard_next(peer)
    }

    fn on_client(&mut self, from: ClientRef, message: ClientRequest, out: &mut Outputs) {
        if self.refuses_frozen(from, &message, out) {
            return;
        }
        let request = message.request;
        self.on_settled(from, message.settled_below);
        if self.waits_for_index(from, &message, out) {
            return;
        }
        match message.body {
            ClientBody::Out { entry } => self.on_out(from, request, entry, out),
            ClientBody::Read(read) => self.on_read(from, request, read, out),
            ClientBody::StillEmpty {
                watch,
                nonce,
                stable,
            } => {
                self.on_still_empty(from, request, watch, nonce, &stable, out);
            }
            ClientBody::WriteBack { entry } => self.on_write_back(from, request, entry, out),
            ClientBody::Take(take) => {
                self.on_take(from, request, take, message.settled_below, out);
            }
            ClientBody::Evidence(take) => self.on_evidence(from, request, take, out),
            ClientBody::Lock(lock) => self.on_client_lock(from, request, lock, out),
            ClientBody::Decide { decision, applied } => {
                self.on_client_decide(from, request, decision, applied, out);
            }
            ClientBody::Fetch(key) => self.on_client_fetch(from, request, key, out),
            ClientBody::Dropped { id } => self.on_dropped(from, &id, out),
            ClientBody::Cancel { waiter } => {
                self.indexing.cancel(from, waiter);
                self.sessions.cancel((from, waiter));
            }
            ClientBody::Inspect => {
                let report = Box::new(self.report());
                self.reply(from, request, ReplyBody::Report(report), out);
            }
            ClientBody::List {
                space,
                template,
                after,
            } => {
                self.on_list(from, request, &space, &template, after, out);
            }
            ClientBody::EndSession(end) => self.on_end_session(from, request, end, out),
            ClientBody::Sessions => self.on_sessions(from, request, out),
        }
    }

    fn on_peer(&mut self, from: ReplicaId, message: PeerMessage, out: &mut Outputs) {
        if self.drops_frozen(&message) {
            return;
        }
        match message {
            PeerMessage::Promise {
                promise,
                takes,
                released,
            } => {
                self.on_promise(from, promise, takes, released, out);
            }
            PeerMessage::Propose(proposal) => self.on_propose(from, proposal, out),
            PeerMessage::PrepareVote(vote) => self.on_prepare_vote(from, vote, out),
            PeerMessage::Lock(lock) => self.on_peer_lock(from, lock, out),
            PeerMessage::CommitVote(vote) => self.on_commit_vote(from, vote, out),
            PeerMessage::Decide(decision) => self.on_peer_decide(from, decision, out),
            PeerMessage::Applied { after, items } => {
                self.on_applied(from, after, items, out);
            }
            PeerMessage::Resume { next } => self.on_resume(from, next),
            PeerMessage::Compare(question) => self.on_compare(from, question),
            PeerMessage::Compared(answer) => self.on_compared(from, answer, out),
            PeerMessage::Relay { entry } => self.on_relay(from, entry, out),
            PeerMessage::Fetch(key) => self.on_peer_fetch(from, key, out),
            PeerMessage::Given(given) => self.on_given(from, given, out),
            PeerMessage::NotHeld(key) => self.on_not_held(from, key),
            PeerMessage::Removed { id, removal } => self.on_removed(from, &id, removal, out),
            PeerMessage::Released { id, certificate } => {
                self.on_released(from, &id, certificate, out);
            }
            PeerMessage::EndSession(end) => self.on_session_ended(from, end, out),
        }
    }

    fn on_client_gone(&mut self, client: ClientRef) {
        self.leave(client);
        self.stash.forget(Principal::Client(client));
        self.indexing.forget(client);
        self.forget_session(&client);
    }
}

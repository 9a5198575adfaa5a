//! The client as a state machine: its part of the protocol, which needs no coordinator.
//!
//! Inputs are led to the operation they concern; what an operation does is told in the file of its
//! name. Requests go to all replicas, connected or not, but for some reads (R-4.2g), and are repeated until they are
//! answered or not needed any more.

mod absent;
mod candidates;
mod case;
mod contents;
mod end;
mod engage;
mod fetch;
mod gathering;
mod help;
mod inspect;
mod list;
mod operation;
mod out;
mod pace;
mod read;
mod replies;
mod requests;
mod siblings;
mod spared;
mod step;
mod take;
mod takes;
mod testimony;
mod warm;
mod writeback;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use crate::configuration::Configuration;
use crate::content::{Access, Put};
use crate::crypto::verified::VerifiedRoots;
use crate::ids::{EntryId, ReplicaId, Session, SpaceName};
use crate::message::{ClientRequest, Found, Refused, Reply, Report};
use crate::template::Template;
use crate::time::{Span, Time};
use crate::tuple::Tuple;

use operation::{Cancelled, Operation};
use pace::Wake;
use requests::Key;
use step::{Shared, Step};

/// Names an operation from its invocation until its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// What a swap does with the tuple it is about to take: the puts that replace it, or `None` to
/// decline, which ends the swap without taking. It may be called several times, once per attempt.
pub type SwapWith = Box<dyn FnMut(&Tuple) -> Option<Vec<Put>> + Send>;

/// An operation (PROTOCOL section 4).
pub enum Op {
    /// Writes a tuple.
    Out {
        /// The space.
        space: SpaceName,
        /// The tuple, with access lists if wanted.
        put: Put,
    },
    /// Reads a matching tuple: `rdp`, or with `wait` `rd`.
    Read {
        /// The space.
        space: SpaceName,
        /// What to look for.
        template: Template,
        /// Whether to wait for one.
        wait: bool,
    },
    /// Takes a matching tuple: `inp`, or with `wait` `in`; with `with` a swap.
    Take {
        /// The space.
        space: SpaceName,
        /// What to look for.
        template: Template,
        /// Whether to wait for one.
        wait: bool,
        /// What to put in its place.
        with: Option<SwapWith>,
    },
    /// Lists all matching tuples; not a snapshot.
    List {
        /// The space.
        space: SpaceName,
        /// What to look for.
        template: Template,
    },
    /// Asks every replica how it is. Ends when all answered, or by `Cancel`.
    Inspect,
    /// Ends sessions of the client's key whose processes are gone, and with `own` the client's: nothing may
    /// be asked of it afterwards.
    End {
        /// Whether the client's own session ends too.
        own: bool,
    },
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Out { space, put } => write!(f, "out({space}, {:?})", put.tuple),
            Self::Read { space, wait, .. } => write!(f, "read({space}, wait {wait})"),
            Self::Take {
                space, wait, with, ..
            } => {
                write!(f, "take({space}, wait {wait}, swap {})", with.is_some())
            }
            Self::List { space, .. } => write!(f, "list({space})"),
            Self::Inspect => f.write_str("inspect"),
            Self::End { own } => write!(f, "end(own {own})"),
        }
    }
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `out`: `q` replicas hold the entry.
    Written(EntryId),
    /// A tuple was read, or taken by `in`/`inp`.
    Found(Found),
    /// A swap took the first and put the others in its place; `q` replicas applied it.
    Swapped {
        /// What was taken.
        taken: Found,
        /// Ids of the puts.
        put: Vec<EntryId>,
    },
    /// The swap's function declined this tuple, which was present.
    Declined(Found),
    /// Proven: at one instant during the operation nothing matched.
    None,
    /// All entries listed.
    Listed(Vec<Found>),
    /// What each replica reported, so far as it answered.
    Inspected(Vec<(ReplicaId, Report)>),
    /// Sessions ended: `q` replicas know it of each.
    Ended,
    /// `f+1` replicas refuse it for good. `SessionEnded`: it may have had an effect all the same.
    Refused(Refused),
    /// The tuple or template breaks the bounds of the protocol; nothing was sent.
    Malformed(String),
    /// Cancelled before it had an effect that others can see.
    Cancelled,
    /// Cancelled when it might already have had an effect. An `out` may become visible; a Take is
    /// finished in the background, and a tuple won by it is put back; a swap may take effect.
    Unknown,
}

/// What happens to a client.
#[expect(
    clippy::large_enum_variant,
    reason = "replies are most of the inputs; boxing each would cost more than it saves"
)]
#[derive(Debug)]
pub enum Input {
    /// The application wants something done.
    Invoke(Handle, Op),
    /// The application does not want the result any more. The operation still ends with an outcome.
    Cancel(Handle),
    /// A replica welcomed us.
    Connected(ReplicaId),
    /// The connection to it ended.
    Disconnected(ReplicaId),
    /// A replica answered.
    Reply(ReplicaId, Reply),
    /// Nothing but time passed: a deadline is reached.
    Tick,
}

/// What a client wants done. The owner empties it.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be sent, in order for each replica; losing or doubling one is harmless. What several are asked
    /// is one request, so that it need be encoded once.
    pub send: Vec<(ReplicaId, Arc<ClientRequest>)>,
    /// Operations that ended.
    pub done: Vec<(Handle, Outcome)>,
    /// Access lists of what the takes among them won, of those that have any: for an owner who
    /// cannot hand a tuple over and puts it back, as it was.
    pub won_access: Vec<(Handle, Access)>,
    /// Faults of replicas, to be logged for people.
    pub events: Vec<(ReplicaId, String)>,
}

/// What a client is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub configuration: Arc<Configuration>,
    /// Its key.
    pub key: SigningKey,
    /// Its session: start time in microseconds, low bits random.
    pub session: Session,
    /// Entries reported per replica in one read.
    pub candidates: u8,
    /// How often an unanswered request is repeated, at first; each repetition waits twice as long.
    pub resend: Span,
    /// With so many other requests open, reads that do not wait ask a quorum at first (R-4.2g).
    pub spare_from: usize,
    /// Signatures already checked; other machines of the process may share them.
    pub roots: VerifiedRoots,
}

/// The client.
#[derive(Debug)]
pub struct Client {
    shared: Shared,
    live: BTreeMap<Key, Live>,
    handles: BTreeMap<Handle, Key>,
    /// When which operation wants to be woken.
    timers: BTreeSet<(Time, Key)>,
    begun: u64,
}

/// An operation with what is kept about it.
#[derive(Debug)]
struct Live {
    operation: Operation,
    /// Who waits for it; nobody for one in the background.
    handle: Option<Handle>,
    answered: BTreeSet<ReplicaId>,
    /// What the operation itself waits for.
    wake: Option<Time>,
    /// When it is woken, for that or to repeat a request.
    timer: Option<Time>,
}

impl Client {
    /// A client without connections.
    pub fn new(options: Options) -> Self {
        Self {
            shared: Shared::new(options),
            live: BTreeMap::new(),
            handles: BTreeMap::new(),
            timers: BTreeSet::new(),
            begun: 0,
        }
    }

    /// Takes one input to its end.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        self.accept(now, input, out);
        self.sign(now, out);
    }

    /// Takes one input of several that came together. What it leads to waits to be signed with what the others
    /// lead to, by one signature, until [`Client::sign`].
    pub fn accept(&mut self, now: Time, input: Input, out: &mut Outputs) {
        match input {
            Input::Invoke(handle, op) => self.on_invoke(now, handle, op, out),
            Input::Cancel(handle) => self.on_cancel(now, handle, out),
            Input::Connected(replica) => self.on_connected(replica, out),
            Input::Disconnected(replica) => self.shared.pace.on_disconnected(replica),
            Input::Reply(from, reply) => self.on_reply(now, from, reply, out),
            Input::Tick => {}
        }
        self.on_time(now, out);
        self.wake_freed(now, out);
    }

    /// True if something waits to be signed.
    pub fn has_unsigned(&self) -> bool {
        self.shared.gathering.has_unsigned()
    }

    /// Until when what is to be signed and sent had better wait for more, if it had: while replicas are busy, what
    /// comes together costs them less. The wait is short beside the time that requests queue there anyway.
    pub fn gathers_until(&self) -> Option<Time> {
        self.shared.gathering.until(self.shared.queueing())
    }

    /// Signs what waits for it; then all of the outputs is to be sent.
    pub fn sign(&mut self, now: Time, out: &mut Outputs) {
        // An operation that finds its entry gone chooses another one, of which there are ever fewer.
        loop {
            let signed = self.shared.sign_waiting();
            if signed.is_empty() {
                return self.shared.on_sent(now);
            }
            for (key, signed) in signed {
                self.step(now, key, out, |operation, step| {
                    operation.on_signed(step, signed);
                    None
                });
            }
            self.wake_freed(now, out);
        }
    }

    /// When the client wants a [`Input::Tick`], and what for.
    pub fn deadline(&self) -> Option<(Time, &'static str)> {
        let (time, key) = self.timers.first()?;
        let wake = self.live.get(key).and_then(|live| live.wake);
        let what = match wake.is_some_and(|wake| wake <= *time) {
            true => "an operation goes on",
            false => "a request is repeated",
        };
        Some((*time, what))
    }

    /// Which replicas answered this operation so far, for error messages.
    pub fn answered(&self, handle: Handle) -> Vec<ReplicaId> {
        let key = self.handles.get(&handle);
        let live = key.and_then(|key| self.live.get(key));
        live.map_or_else(Vec::new, |live| live.answered.iter().copied().collect())
    }

    /// True if the session took something, or tried to: then replicas keep something for it until it ends.
    pub fn has_engaged(&self) -> bool {
        self.shared.takes.any_drawn()
    }

    /// True if nothing is left to be finished in the background.
    pub fn is_idle(&self) -> bool {
        self.live.values().all(|live| live.handle.is_some())
    }

    fn on_invoke(&mut self, now: Time, handle: Handle, op: Op, out: &mut Outputs) {
        assert!(
            !self.handles.contains_key(&handle),
            "{handle:?} names an operation that has not ended"
        );
        self.begin(now, Some(handle), op, out);
        if let Some(key) = self.handles.get(&handle).copied() {
            self.step(now, key, out, |_, _| None);
        }
    }

    fn on_cancel(&mut self, now: Time, handle: Handle, out: &mut Outputs) {
        let Some(key) = self.handles.remove(&handle) else {
            return;
        };
        let mut outcome = None;
        self.step(now, key, out, |operation, step| {
            match operation.cancel(step) {
                Cancelled::Ended(end) => {
                    outcome = Some(end.clone());
                    Some(end)
                }
                Cancelled::Detached(end) => {
                    outcome = Some(end);
                    None
                }
            }
        });
        if let Some(live) = self.live.get_mut(&key) {
            live.handle = None;
        }
        out.done.extend(outcome.map(|outcome| (handle, outcome)));
    }

    fn on_connected(&mut self, replica: ReplicaId, out: &mut Outputs) {
        self.shared.pace.on_connected(replica);
        let letters = self.shared.requests.on_connected(replica);
        self.shared.post(letters, out);
        let all: Vec<_> = self.live.keys().copied().collect();
        all.into_iter().for_each(|key| self.set_timer(key));
    }

    fn on_reply(&mut self, now: Time, from: ReplicaId, reply: Reply, out: &mut Outputs) {
        let Reply { request, body } = reply;
        let Some((key, asked)) = self.shared.requests.on_answer(request, from, &body) else {
            return;
        };
        if let Some(asked) = asked {
            self.shared.pace.on_answer(from, asked, now);
        }
        if let Some(live) = self.live.get_mut(&key) {
            live.answered.insert(from);
        }
        self.step(now, key, out, |operation, step| {
            operation.on_reply(step, from, request, body)
        });
    }

    /// Wakes whoever wanted to be woken by now.
    fn on_time(&mut self, now: Time, out: &mut Outputs) {
        let due = self.timers.range(..=(now, Key(u64::MAX)));
        let due: Vec<_> = due.map(|(_, key)| *key).collect();
        for key in due {
            let letters = self.shared.requests.repeat(key, now);
            self.shared.post(letters, out);
            self.step(now, key, out, |_, _| None);
        }
    }

    /// Lets operations go on that left an entry to another one. Each of these has come to an end with it, so
    /// that this ends too.
    fn wake_freed(&mut self, now: Time, out: &mut Outputs) {
        while let Some(key) = self.shared.siblings.next_freed() {
            self.step(now, key, out, |_, _| None);
        }
    }

    fn begin(&mut self, now: Time, handle: Option<Handle>, op: Op, out: &mut Outputs) {
        let key = Key(self.begun);
        self.begun += 1;
        let mut step = Step {
            now,
            key,
            shared: &mut self.shared,
            out,
        };
        match Operation::begin(&mut step, op) {
            Ok(operation) => {
                let live = Live {
                    operation,
                    handle,
                    answered: BTreeSet::new(),
                    wake: None,
                    timer: None,
                };
                self.live.insert(key, live);
                self.handles.extend(handle.map(|handle| (handle, key)));
                self.set_timer(key);
            }
            Err(why) => {
                let outcome = Outcome::Malformed(why.to_string());
                out.done.extend(handle.map(|handle| (handle, outcome)));
            }
        }
    }

    /// Lets an operation act, then do what is due; ends it if it has come to its end.
    fn step(
        &mut self,
        now: Time,
        key: Key,
        out: &mut Outputs,
        act: impl FnOnce(&mut Operation, &mut Step<'_>) -> Option<Outcome>,
    ) {
        let Some(live) = self.live.get_mut(&key) else {
            return;
        };
        let mut wake = Wake::default();
        let mut step = Step {
            now,
            key,
            shared: &mut self.shared,
            out,
        };
        let outcome = act(&mut live.operation, &mut step)
            .or_else(|| live.operation.advance(&mut step, &mut wake));
        live.wake = wake.time();
        match outcome {
            None => self.set_timer(key),
            Some(outcome) => self.end(key, outcome, out),
        }
        for op in std::mem::take(&mut self.shared.background) {
            self.begin(now, None, op, out);
        }
    }

    fn end(&mut self, key: Key, outcome: Outcome, out: &mut Outputs) {
        self.shared.requests.close_all(key);
        let Some(live) = self.live.remove(&key) else {
            return;
        };
        if matches!(live.operation, Operation::End(_)) {
            self.shared.is_ending = false;
        }
        if let Some(timer) = live.timer {
            self.timers.remove(&(timer, key));
        }
        let waiting = live
            .handle
            .filter(|handle| self.handles.remove(handle).is_some());
        if let (Some(handle), Operation::Take(take)) = (waiting, &live.operation) {
            let access = take.won_access().cloned();
            out.won_access.extend(access.map(|access| (handle, access)));
        }
        out.done.extend(waiting.map(|handle| (handle, outcome)));
    }

    fn set_timer(&mut self, key: Key) {
        let repeat_at = self.shared.requests.repeat_at(key);
        let Some(live) = self.live.get_mut(&key) else {
            return;
        };
        if let Some(timer) = live.timer.take() {
            self.timers.remove(&(timer, key));
        }
        live.timer = live.wake.into_iter().chain(repeat_at).min();
        self.timers.extend(live.timer.map(|timer| (timer, key)));
    }
}

//! The one owner of the client's state machine: feeds it what callers want and replicas answer, and
//! does what it says. It runs on a thread of the library's own, so that callers may use any runtime, or
//! none, and a busy program does not delay the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bts_certs::FrameWriter;
use bts_core::client::{Client, Handle, Input, Op, Outcome, Outputs};
use bts_core::codec;
use bts_core::content::Put;
use bts_core::ids::{ReplicaId, SpaceName};
use bts_core::message::ClientRequest;
use bts_core::time::{Span, Time};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::call::{Command, Ended, Invocation, put_back, takes_from};
use crate::config::Config;
use crate::connection::{Connection, Dialers, Event};
use crate::error::{ConnectError, Effect};
use crate::replicas::Board;

/// Batches of replies that may wait for the driver, of all replicas together.
pub(crate) const EVENTS_MAX: usize = 64;
/// Inputs taken before their outputs are sent.
const BATCH_MAX: usize = 64;
/// How long the background work may take after the client was closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long they may take to end our session.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the replicas may take to notice our goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// An operation that somebody waits for.
struct Waiting {
    answer: oneshot::Sender<Ended>,
    deadline: Option<Time>,
    takes_from: Option<SpaceName>,
}

/// The last request that was encoded: what several replicas are asked is encoded once.
#[derive(Default)]
struct Encoded {
    request: Option<Arc<ClientRequest>>,
    bytes: Vec<u8>,
}

impl Encoded {
    fn bytes(&mut self, request: Arc<ClientRequest>) -> &[u8] {
        let known = self.request.as_ref();
        if known.is_none_or(|known| !Arc::ptr_eq(known, &request)) {
            self.bytes.clear();
            codec::encode_into(&*request, &mut self.bytes);
            self.request = Some(request);
        }
        &self.bytes
    }
}

type Welcomed = oneshot::Sender<Result<(), ConnectError>>;

pub(crate) struct Driver {
    pub(crate) config: Arc<Config>,
    pub(crate) board: Arc<Board>,
    machine: Client,
    outputs: Outputs,
    started: Instant,
    writers: BTreeMap<ReplicaId, FrameWriter>,
    calls: BTreeMap<Handle, Waiting>,
    deadlines: BTreeSet<(Time, Handle)>,
    inspections: BTreeSet<Handle>,
    welcomed: Vec<(Time, Welcomed)>,
    closing: Option<(Time, Vec<oneshot::Sender<()>>)>,
    /// Whether the replicas were told that our session ends.
    ending: bool,
    /// Operations of our own, and the handle of the next.
    own: BTreeSet<Handle>,
    next_own: u64,
}

impl Driver {
    pub(crate) fn new(config: Arc<Config>, board: Arc<Board>, machine: Client) -> Self {
        Self {
            config,
            board,
            machine,
            outputs: Outputs::default(),
            started: Instant::now(),
            writers: BTreeMap::new(),
            calls: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            inspections: BTreeSet::new(),
            welcomed: Vec::new(),
            closing: None,
            ending: false,
            own: BTreeSet::new(),
            next_own: u64::MAX,
        }
    }

    /// Drives until the client is closed, or its last handle dropped, and the background work done.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut events: mpsc::Receiver<Event>,
        connections: Vec<Connection>,
        dialers: Arc<Dialers>,
    ) {
        let mut tasks = JoinSet::new();
        for connection in connections {
            tasks.spawn(connection.run());
        }
        let mut listening = true;
        let mut alarm = pin!(sleep_until(self.wake()));
        while !self.is_over() {
            // It may ring too early, which does no harm, but is not set anew for each later time.
            let wake = self.wake();
            if wake < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                command = commands.recv(), if listening => match command {
                    Some(command) => self.on_command(command),
                    None => {
                        listening = false;
                        self.close(None);
                    }
                },
                Some(event) = events.recv() => self.on_event(event),
                () = &mut alarm => self.on_time(),
            }
            for _ in 0..BATCH_MAX {
                match (commands.try_recv(), events.try_recv()) {
                    (Err(_), Err(_)) => break,
                    (command, event) => {
                        command
                            .into_iter()
                            .for_each(|command| self.on_command(command));
                        event.into_iter().for_each(|event| self.on_event(event));
                    }
                }
            }
            self.end_inspections();
            self.end_session();
            self.flush();
        }
        // Whoever comes from here on is told at once; those who came before are answered.
        commands.close();
        while let Ok(command) = commands.try_recv() {
            self.on_command(command);
        }
        self.send();
        self.leave(events, &dialers).await;
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Invoke(invocation) => self.invoke(invocation),
            Command::Cancel(handle) => {
                // It may have ended in the meantime; then it is too late to cancel it.
                self.deliver();
                self.forget(handle);
                self.input(Input::Cancel(handle));
            }
            Command::PutBack(space, put) => self.write(space, put),
            Command::Ready(within, welcomed) => {
                self.welcomed.push((self.in_time(within), welcomed));
                self.check_welcome();
            }
            Command::Close(closed) => self.close(Some(closed)),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected(replica, writer) => {
                self.writers.insert(replica, writer);
                self.input(Input::Connected(replica));
                self.check_welcome();
            }
            Event::Replies(replica, replies) => {
                for reply in replies {
                    self.input(Input::Reply(replica, reply));
                }
            }
            Event::Disconnected(replica) => {
                if self.writers.remove(&replica).is_some() {
                    self.input(Input::Disconnected(replica));
                }
                self.check_welcome();
            }
        }
    }

    fn on_time(&mut self) {
        let now = self.now();
        if self.machine.deadline().is_some_and(|(at, _)| at <= now) {
            self.input(Input::Tick);
        }
        while let Some(&(at, handle)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, handle));
            self.expire(handle);
        }
        self.check_welcome();
    }

    fn invoke(&mut self, invocation: Invocation) {
        let Invocation {
            handle,
            op,
            deadline,
            answer,
        } = invocation;
        if self.closing.is_some() {
            // It fails only if the caller left.
            let _ = answer.send(Ended::Closed(Effect::None));
            return;
        }
        let deadline = deadline.map(|deadline| self.in_time(deadline));
        self.deadlines.extend(deadline.map(|at| (at, handle)));
        let waiting = Waiting {
            answer,
            deadline,
            takes_from: takes_from(&op),
        };
        if matches!(op, Op::Inspect) {
            self.inspections.insert(handle);
        }
        self.calls.insert(handle, waiting);
        self.input(Input::Invoke(handle, op));
    }

    /// The deadline of an operation passed. What it says at that moment still counts.
    fn expire(&mut self, handle: Handle) {
        let answered = self.machine.answered(handle);
        let effect = match self.cancel(handle) {
            Some(Ended::Closed(effect)) => effect,
            Some(ended) => return self.answer(handle, ended),
            None => Effect::Possible,
        };
        self.answer(handle, Ended::Expired { effect, answered });
    }

    /// Cancels an operation whose caller waits, and returns how it ended, `Closed` if by this.
    fn cancel(&mut self, handle: Handle) -> Option<Ended> {
        self.input(Input::Cancel(handle));
        let done = &mut self.outputs.done;
        let position = done.iter().position(|(other, _)| *other == handle)?;
        Some(match done.swap_remove(position).1 {
            Outcome::Cancelled => Ended::Closed(Effect::None),
            Outcome::Unknown => Ended::Closed(Effect::Possible),
            other => self.ended(handle, other),
        })
    }

    /// An inspection need not wait for replicas that cannot be reached.
    fn end_inspections(&mut self) {
        if self.inspections.is_empty() || !self.board.is_settled() {
            return;
        }
        for handle in self.inspections.clone() {
            let answered = self.machine.answered(handle);
            if self
                .writers
                .keys()
                .all(|replica| answered.contains(replica))
            {
                self.expire(handle);
            }
        }
    }

    fn close(&mut self, closed: Option<oneshot::Sender<()>>) {
        if self.closing.is_none() {
            let handles: Vec<Handle> = self.calls.keys().copied().collect();
            for handle in handles {
                let ended = self.cancel(handle);
                self.answer(handle, ended.unwrap_or(Ended::Closed(Effect::Possible)));
            }
        }
        let until = self.in_time(CLOSE_TIMEOUT);
        let (_, waiting) = self.closing.get_or_insert((until, Vec::new()));
        waiting.extend(closed);
    }

    fn write(&mut self, space: SpaceName, put: Put) {
        self.invoke_own(Op::Out { space, put });
    }

    /// When all is done, the replicas may forget what we took, if a quorum can be told.
    fn end_session(&mut self) {
        let (now, size) = (self.now(), self.config.cluster.configuration().size());
        let is_wanted = !self.ending && self.machine.has_engaged();
        if !is_wanted || !self.is_idle() || self.writers.len() < size.ack_quorum() {
            return;
        }
        let at_most = self.in_time(END_TIMEOUT);
        let Some((until, _)) = self.closing.as_mut().filter(|(until, _)| *until > now) else {
            return;
        };
        *until = at_most.min(*until);
        self.ending = true;
        self.invoke_own(Op::End { own: true });
    }

    /// An operation of our own, whose outcome nobody waits for.
    fn invoke_own(&mut self, op: Op) {
        let handle = Handle(self.next_own);
        self.next_own -= 1;
        self.own.insert(handle);
        self.input(Input::Invoke(handle, op));
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        self.machine.accept(now, input, &mut self.outputs);
    }

    /// Tells callers how their operations ended.
    fn deliver(&mut self) {
        // A tuple that nobody waits for goes back, which makes new outputs.
        while !self.outputs.done.is_empty() {
            for (handle, outcome) in std::mem::take(&mut self.outputs.done) {
                self.own.remove(&handle);
                let ended = self.ended(handle, outcome);
                self.answer(handle, ended);
            }
        }
    }

    fn ended(&mut self, handle: Handle, outcome: Outcome) -> Ended {
        let waiting = self.calls.get(&handle);
        let is_take = waiting.is_some_and(|waiting| waiting.takes_from.is_some());
        let lists = &mut self.outputs.won_access;
        let position = lists.iter().position(|(other, _)| *other == handle);
        let access = position.map(|position| lists.swap_remove(position).1);
        match outcome {
            Outcome::Found(found) if is_take => Ended::Taken(found, access),
            other => Ended::Outcome(other),
        }
    }

    /// Does what the machine wants done, or lets it wait for more to be signed and sent with it.
    fn flush(&mut self) {
        self.deliver();
        let now = self.now();
        if self
            .machine
            .gathers_until()
            .is_none_or(|until| until <= now)
        {
            self.send();
        }
    }

    /// Signs what came together, with one signature, and sends it.
    fn send(&mut self) {
        self.machine.sign(self.now(), &mut self.outputs);
        while !self.outputs.done.is_empty() {
            // Callers who left give tuples back, which is signed too.
            self.deliver();
            self.machine.sign(self.now(), &mut self.outputs);
        }
        let mut encoded = Encoded::default();
        for (replica, request) in self.outputs.send.drain(..) {
            let Some(writer) = self.writers.get(&replica) else {
                continue;
            };
            let write = |frame: &mut Vec<u8>| frame.extend_from_slice(encoded.bytes(request));
            if let Err(error) = writer.try_send_with(write) {
                // The machine repeats what is not answered.
                tracing::debug!(%replica, "not sent: {error}");
            }
        }
        for (replica, fault) in self.outputs.events.drain(..) {
            tracing::warn!(%replica, "faulty replica: {fault}");
        }
    }

    fn answer(&mut self, handle: Handle, ended: Ended) {
        let Some(waiting) = self.forget(handle) else {
            return;
        };
        if let Err(Ended::Taken(found, access)) = waiting.answer.send(ended)
            && let Some(space) = waiting.takes_from
        {
            self.write(space, put_back(found, access));
        }
    }

    fn forget(&mut self, handle: Handle) -> Option<Waiting> {
        let waiting = self.calls.remove(&handle)?;
        self.inspections.remove(&handle);
        if let Some(at) = waiting.deadline {
            self.deadlines.remove(&(at, handle));
        }
        Some(waiting)
    }

    /// Tells those who wait for a quorum, when it is there or out of reach.
    fn check_welcome(&mut self) {
        if self.welcomed.is_empty() {
            return;
        }
        let (now, size) = (self.now(), self.config.cluster.configuration().size());
        let connected = self.writers.len() >= size.ack_quorum();
        let open = size.replicas().saturating_sub(self.board.firm_refusals());
        let refused = open < size.ack_quorum();
        let (over, waiting) = std::mem::take(&mut self.welcomed)
            .into_iter()
            .partition(|(at, _)| connected || refused || *at <= now);
        self.welcomed = waiting;
        let over: Vec<(Time, Welcomed)> = over;
        for (_, welcomed) in over {
            let roll = || {
                self.board
                    .roll_call(&self.config.cluster, self.writers.keys().copied().collect())
            };
            let result = match (connected, refused) {
                (true, _) => Ok(()),
                (false, true) => Err(ConnectError::Refused(roll())),
                (false, false) => Err(ConnectError::NoQuorum(roll())),
            };
            // It fails only if the caller left.
            let _ = welcomed.send(result);
        }
    }

    fn is_idle(&self) -> bool {
        self.own.is_empty() && self.machine.is_idle()
    }

    fn is_over(&self) -> bool {
        let closing = self.closing.as_ref();
        closing.is_some_and(|(until, _)| self.is_idle() || *until <= self.now())
    }

    /// Lets what is queued reach the replicas: each ends its side when it has seen our end.
    async fn leave(mut self, mut events: mpsc::Receiver<Event>, dialers: &Dialers) {
        self.board.leave();
        let mut open = std::mem::take(&mut self.writers)
            .into_keys()
            .collect::<BTreeSet<_>>();
        let until = Instant::now() + GOODBYE_TIMEOUT;
        while !open.is_empty() {
            match timeout_at(until, events.recv()).await {
                Ok(Some(Event::Disconnected(replica))) => open.remove(&replica),
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => break,
            };
        }
        dialers.shutdown().await;
        for closed in self.closing.into_iter().flat_map(|(_, waiting)| waiting) {
            // It fails only if the caller left.
            let _ = closed.send(());
        }
    }

    fn now(&self) -> Time {
        let micros = self.started.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn in_time(&self, duration: Duration) -> Time {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.now() + Span::from_micros(micros)
    }

    /// When something is due, at the latest in a minute.
    fn wake(&self) -> Instant {
        let due = self.machine.deadline().map(|(at, _)| at).into_iter();
        let due = due.chain(self.machine.gathers_until());
        let due = due.chain(self.deadlines.first().map(|(at, _)| *at));
        let due = due.chain(self.welcomed.iter().map(|(at, _)| *at));
        let due = due.chain(self.closing.iter().map(|(at, _)| *at));
        let now = self.now();
        let wait_us = due.map(|at| at.since(now).as_micros()).min();
        Instant::now() + Duration::from_micros(wait_us.unwrap_or(60_000_000).min(60_000_000))
    }
}

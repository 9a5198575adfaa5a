//! Requests that wait for answers: which operation asked, whom, and when to ask again. Messages may
//! be lost and connections end, so a request is repeated until it is answered or not needed any
//! more; an answer counts only from a replica that was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{ReplicaId, RequestId};
use crate::message::{ClientBody, Refused, ReplyBody};
use crate::time::{Span, Time};

/// Names an operation within a client, also one that works in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) u64);

/// Repetitions wait at most `resend` times two to this.
const DOUBLINGS_MAX: u32 = 6;

/// Requests looked at to see how much is under way: more under way than that changes nothing.
const COUNTED_MAX: usize = 512;

/// A message to one replica.
pub(super) type Letter = (ReplicaId, RequestId, Arc<ClientBody>);

/// All requests that are open.
#[derive(Debug, Default)]
pub(super) struct Requests {
    drawn: u64,
    owners: BTreeMap<RequestId, Key>,
    open: BTreeMap<(Key, RequestId), Exchange>,
}

/// When a replica was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Time,
    /// Whether it had to store something before it could answer.
    pub(super) is_logged: bool,
}

/// One request: what is asked of whom, and who has answered.
#[derive(Debug)]
struct Exchange {
    bodies: BTreeMap<ReplicaId, Arc<ClientBody>>,
    answered: BTreeSet<ReplicaId>,
    /// A waiter dies with its connection: the request is made anew even if it was answered.
    lasts: bool,
    /// When it was sent first, as long as answers to it tell how long answers take. What was repeated in
    /// vain counts: else those that always take longer than a repetition would teach nothing.
    sent_at: Option<Time>,
    /// Whose answers do not tell that.
    asked_later: Vec<ReplicaId>,
    repeat_at: Time,
    every: Span,
    doublings: u32,
}

impl Requests {
    /// A new request id.
    pub(super) fn draw(&mut self) -> RequestId {
        self.drawn += 1;
        RequestId(self.drawn)
    }

    /// Opens a request; the letters to be sent.
    pub(super) fn open(
        &mut self,
        owner: Key,
        request: RequestId,
        bodies: BTreeMap<ReplicaId, Arc<ClientBody>>,
        every: Span,
        now: Time,
    ) -> Vec<Letter> {
        let letters = letters(request, &bodies, |_| true);
        let lasts = bodies.values().any(|body| is_waiter(body));
        let exchange = Exchange {
            bodies,
            answered: BTreeSet::new(),
            lasts,
            sent_at: Some(now),
            asked_later: Vec::new(),
            repeat_at: now + every,
            every,
            doublings: 0,
        };
        self.owners.insert(request, owner);
        self.open.insert((owner, request), exchange);
        letters
    }

    /// Asks one replica again, as if it had not answered.
    pub(super) fn ask_again(
        &mut self,
        request: RequestId,
        replica: ReplicaId,
        now: Time,
    ) -> Option<Letter> {
        let exchange = self.exchange(request)?;
        let body = Arc::clone(exchange.bodies.get(&replica)?);
        exchange.sent_at = None;
        if exchange.is_complete() {
            exchange.doublings = 0;
            exchange.repeat_at = now + exchange.every;
        }
        exchange.answered.remove(&replica);
        Some((replica, request, body))
    }

    /// Asks these replicas as well what others were asked by this request.
    pub(super) fn ask_also(
        &mut self,
        request: RequestId,
        replicas: &[ReplicaId],
        now: Time,
    ) -> Vec<Letter> {
        let Some(exchange) = self.exchange(request) else {
            return Vec::new();
        };
        let Some(body) = exchange.bodies.values().next().cloned() else {
            return Vec::new();
        };
        if exchange.is_complete() {
            exchange.repeat_at = now + exchange.every;
        }
        exchange.asked_later.extend(replicas);
        let letter = |replica: &ReplicaId| (*replica, request, Arc::clone(&body));
        let letters: Vec<_> = replicas.iter().map(letter).collect();
        let bodies = replicas.iter().map(|replica| (*replica, Arc::clone(&body)));
        exchange.bodies.extend(bodies);
        letters
    }

    /// How many requests are open.
    pub(super) fn count(&self) -> usize {
        self.owners.len()
    }

    /// How many of the newest operations may soon have an answer that lets them go on: so many replicas have not
    /// answered what they asked. Those that are blocked wait for somebody else.
    pub(super) fn owners_waiting(&self, quorum: usize) -> usize {
        let newest = self.open.iter().rev().take(COUNTED_MAX);
        let waiting = newest.filter(|(_, asked)| !asked.lasts && asked.answered.len() < quorum);
        let mut owners: Vec<Key> = waiting.map(|((owner, _), _)| *owner).collect();
        owners.dedup();
        owners.len()
    }

    /// What was asked waited until now before it was sent.
    pub(super) fn on_sent(&mut self, request: RequestId, now: Time) {
        if let Some(exchange) = self.exchange(request) {
            exchange.sent_at = exchange.sent_at.map(|_| now);
        }
    }

    /// Asks one replica something else under the same request; nothing if that is what it was asked.
    pub(super) fn ask_instead(
        &mut self,
        request: RequestId,
        replica: ReplicaId,
        body: ClientBody,
        now: Time,
    ) -> Option<Letter> {
        let asked = self.exchange(request)?.bodies.get_mut(&replica)?;
        if **asked == body {
            return None;
        }
        *asked = Arc::new(body);
        self.ask_again(request, replica, now)
    }

    /// Whose request this is, if the replica was asked, and when it was sent if an answer to it tells how
    /// long answers take. Notes that the replica answered, unless it asks for patience.
    pub(super) fn on_answer(
        &mut self,
        request: RequestId,
        replica: ReplicaId,
        body: &ReplyBody,
    ) -> Option<(Key, Option<Asked>)> {
        let owner = self.owners.get(&request).copied()?;
        let exchange = self.exchange(request)?;
        if !exchange.bodies.contains_key(&replica) {
            return None;
        }
        let is_first = is_final(body) && exchange.answered.insert(replica);
        let tells = is_first && !exchange.asked_later.contains(&replica);
        let is_logged = exchange
            .bodies
            .get(&replica)
            .is_some_and(|body| body.asks_for_change());
        let asked = |at| Asked { at, is_logged };
        Some((owner, exchange.sent_at.filter(|_| tells).map(asked)))
    }

    /// True if all who were asked have answered, or the request is not open.
    pub(super) fn is_complete(&self, request: RequestId) -> bool {
        self.unanswered(request) == 0
    }

    /// True if this replica was asked, and the request is open.
    pub(super) fn was_asked(&self, request: RequestId, replica: ReplicaId) -> bool {
        let exchange = self.open_exchange(request);
        exchange.is_some_and(|exchange| exchange.bodies.contains_key(&replica))
    }

    /// True if it is worth waiting for answers: more than may be faulty are missing, or all.
    pub(super) fn is_awaited(&self, request: RequestId, faults: usize) -> bool {
        self.open_exchange(request).is_some_and(|exchange| {
            let silent = exchange.unanswered();
            silent > faults || (silent > 0 && exchange.answered.is_empty())
        })
    }

    /// How many of those who were asked have not answered; nobody if the request is not open.
    pub(super) fn unanswered(&self, request: RequestId) -> usize {
        self.open_exchange(request).map_or(0, Exchange::unanswered)
    }

    fn open_exchange(&self, request: RequestId) -> Option<&Exchange> {
        let owner = self.owners.get(&request)?;
        self.open.get(&(*owner, request))
    }

    /// Ends a request.
    pub(super) fn close(&mut self, request: RequestId) {
        if let Some(owner) = self.owners.remove(&request) {
            self.open.remove(&(owner, request));
        }
    }

    /// Ends all requests of an operation.
    pub(super) fn close_all(&mut self, owner: Key) {
        let requests: Vec<_> = self.of(owner).map(|(request, _)| request).collect();
        requests.into_iter().for_each(|request| self.close(request));
    }

    /// What has to be said to a replica on a new connection.
    pub(super) fn on_connected(&mut self, replica: ReplicaId) -> Vec<Letter> {
        let mut letters = Vec::new();
        for ((_, request), exchange) in &mut self.open {
            let Some(body) = exchange.bodies.get(&replica) else {
                continue;
            };
            if exchange.lasts {
                exchange.answered.remove(&replica);
            }
            if !exchange.answered.contains(&replica) {
                exchange.sent_at = None;
                letters.push((replica, *request, Arc::clone(body)));
            }
        }
        letters
    }

    /// What an operation has to repeat now.
    pub(super) fn repeat(&mut self, owner: Key, now: Time) -> Vec<Letter> {
        let mut repeated = Vec::new();
        let all = (owner, RequestId(0))..=(owner, RequestId(u64::MAX));
        for ((_, request), exchange) in self.open.range_mut(all) {
            if exchange.is_complete() || exchange.repeat_at > now {
                continue;
            }
            exchange.doublings = (exchange.doublings + 1).min(DOUBLINGS_MAX);
            exchange.repeat_at = now + exchange.every.doubled(exchange.doublings);
            let unanswered = |replica| !exchange.answered.contains(&replica);
            repeated.extend(letters(*request, &exchange.bodies, unanswered));
        }
        repeated
    }

    /// When an operation next has to repeat something.
    pub(super) fn repeat_at(&self, owner: Key) -> Option<Time> {
        let waiting = self
            .of(owner)
            .filter(|(_, exchange)| !exchange.is_complete());
        waiting.map(|(_, exchange)| exchange.repeat_at).min()
    }

    fn of(&self, owner: Key) -> impl Iterator<Item = (RequestId, &Exchange)> {
        let all = (owner, RequestId(0))..=(owner, RequestId(u64::MAX));
        self.open
            .range(all)
            .map(|((_, request), exchange)| (*request, exchange))
    }

    fn exchange(&mut self, request: RequestId) -> Option<&mut Exchange> {
        let owner = *self.owners.get(&request)?;
        self.open.get_mut(&(owner, request))
    }
}

impl Exchange {
    fn is_complete(&self) -> bool {
        self.unanswered() == 0
    }

    fn unanswered(&self) -> usize {
        self.bodies.len() - self.answered.len()
    }
}

fn letters(
    request: RequestId,
    bodies: &BTreeMap<ReplicaId, Arc<ClientBody>>,
    to: impl Fn(ReplicaId) -> bool,
) -> Vec<Letter> {
    let wanted = bodies.iter().filter(|(replica, _)| to(**replica));
    wanted
        .map(|(replica, body)| (*replica, request, Arc::clone(body)))
        .collect()
}

fn is_waiter(body: &ClientBody) -> bool {
    matches!(body, ClientBody::Read(read) if read.mode.waits())
}

/// "Later" is no answer, and a push may come before the answer does.
fn is_final(body: &ReplyBody) -> bool {
    !matches!(
        body,
        ReplyBody::Push(_)
            | ReplyBody::Refused(
                Refused::Limit(_)
                    | Refused::Starting
                    | Refused::NoRoom(_)
                    | Refused::Ended
                    | Refused::TooManySessions,
            )
    )
}

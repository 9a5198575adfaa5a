//! Model check of what the kernel does not know (A1, C4): a swap of x to y is decided, and replicas
//! learn of it one by one, while a client reads, first with one template, then with another. Real
//! replicas and a real client; every order in which messages can arrive, or not. A fourth replica
//! is faulty and says in each case that nothing is there, or that all is.
//!
//! Once a read saw the swap done (y found, or x absent), no later read may see it undone.
//!
//! Left out: what replicas tell one another besides decisions and "applied"; messages that arrive
//! twice, or requests that overtake each other; a client's time, but for so many awakenings.

mod cast;
mod machine;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::rc::Rc;

use bts_core::message::{ClientBody, ClientRequest, PeerMessage, ReplyBody};

use cast::{CORRECT, Cast, FromClient, FromReplica, RealClient, RealReplica, ToClient, ToReplica};
use machine::Automaton;

pub use cast::Read;

/// How much is explored.
#[derive(Clone, Copy, Debug)]
pub struct SwapBounds {
    /// The reads, one after the other.
    pub reads: [Read; 2],
    /// Correct replicas that hold x, and voted, from the first one on: two, or all.
    pub holders: usize,
    /// Correct replicas that applied the swap before the reads, by bit.
    pub applied: u8,
    /// Correct replicas that may get its decision at any time, by bit; the others get it from the
    /// client alone, if at all.
    pub free: u8,
    /// Whether the faulty replica says that all is there, instead of that nothing is. It answers at
    /// once.
    pub liar_finds: bool,
    /// To see that the check sees: replicas that applied the swap answer "empty" where "empty but for
    /// it" is the truth.
    pub hides_swap: bool,
    /// How often the client is woken by its timer.
    pub awakenings: u8,
    /// Whether replicas hear from one another who applied the swap.
    pub streams: bool,
    /// After so many states the search gives up.
    pub states_max: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwapVerdict {
    /// Distinct states.
    pub states: usize,
    /// Steps between them.
    pub transitions: u64,
    /// States in which the machines of a replica, and that of the client, were found.
    pub machines: (usize, usize),
    /// Whether all states were visited.
    pub is_complete: bool,
    /// The results of both reads that were met: whether something was found.
    pub results: Vec<(bool, bool)>,
    /// The way to two reads that contradict each other.
    pub violation: Option<Vec<String>>,
}

/// Something that may happen next. Messages are inputs of their receivers, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    Request(u8, u16),
    Reply(u16),
    Decided(u8),
    /// The first replica hears that the second applied the swap.
    Told(u8, u8),
    Wake,
    Begin,
}

/// What a machine does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    Request(u8, u16),
    Reply(u16),
    /// The faulty replica got this request.
    Asked(usize),
    Applied,
    Read(bool),
}

/// A state of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    replicas: [u32; CORRECT],
    client: u32,
    /// Requests arrive in the order in which they were sent.
    requests: [Vec<u16>; CORRECT],
    /// Replies arrive in any order.
    replies: Vec<u16>,
    /// Who applied the swap, by bit; the faulty replica says that it did.
    applied: u8,
    /// Who heard from whom that it did, by bit.
    told: u16,
    /// Who got the decision, by bit.
    decided: u8,
    awakenings: u8,
    begun: u8,
    done: Vec<bool>,
}

struct Search {
    bounds: SwapBounds,
    cast: Rc<Cast>,
    replicas: Vec<Automaton<RealReplica, Effect>>,
    client: Automaton<RealClient, Effect>,
    /// What the faulty replica was asked.
    told: Vec<ClientRequest>,
}

/// Visits every state within the bounds, or stops at the first contradiction.
pub fn run(bounds: &SwapBounds) -> SwapVerdict {
    let mut search = Search::new(bounds);
    let mut verdict = SwapVerdict::default();
    let start = State {
        replicas: [0; CORRECT],
        client: 0,
        requests: Default::default(),
        replies: Vec::new(),
        applied: 1 << CORRECT,
        told: 0,
        decided: 0,
        awakenings: 0,
        begun: 0,
        done: Vec::new(),
    };
    let applied = (0..CORRECT as u8).filter(|replica| bounds.applied >> replica & 1 == 1);
    let start = applied.fold(start, |state, replica| {
        search.after(&state, Step::Decided(replica))
    });
    let mut seen = HashSet::from([digest(&start)]);
    let mut ways = vec![(0, Step::Begin)];
    let mut queue = VecDeque::from([start]);
    let mut at = 0;
    while let Some(state) = queue.pop_front().filter(|_| ways.len() < bounds.states_max) {
        if let [one, two] = state.done[..] {
            if !verdict.results.contains(&(one, two)) {
                verdict.results.push((one, two));
            }
            if bounds.contradicts(one, two) {
                verdict.violation = Some(search.explain(&ways, at));
                break;
            }
            at += 1;
            continue;
        }
        for step in search.steps(&state) {
            verdict.transitions += 1;
            let next = search.after(&state, step);
            if seen.insert(digest(&next)) {
                ways.push((at, step));
                queue.push_back(next);
            }
        }
        at += 1;
    }
    verdict.results.sort_unstable();
    verdict.states = ways.len();
    verdict.is_complete = at == ways.len();
    let replicas = search.replicas.iter().map(Automaton::len).sum();
    verdict.machines = (replicas, search.client.len());
    verdict
}

/// 128 bits, of which no two of some million states share all.
fn digest(state: &State) -> (u64, u64) {
    let sip = BuildHasherDefault::<DefaultHasher>::default();
    (sip.hash_one(state), sip.hash_one((1, state)))
}

impl SwapBounds {
    fn contradicts(&self, one: bool, two: bool) -> bool {
        let saw_done = |read: Read, found: bool| found == (read == Read::Y);
        saw_done(self.reads[0], one) && !saw_done(self.reads[1], two)
    }
}

impl Search {
    fn new(bounds: &SwapBounds) -> Self {
        let cast = Rc::new(Cast::new());
        let replica = |number: usize| {
            let (cast, has_x) = (Rc::clone(&cast), number < bounds.holders);
            Automaton::new(move || cast.replica(number as u16, has_x))
        };
        let client = Rc::clone(&cast);
        Self {
            replicas: (0..CORRECT).map(replica).collect(),
            client: Automaton::new(move || client.client()),
            bounds: *bounds,
            told: Vec::new(),
            cast,
        }
    }

    fn steps(&self, state: &State) -> Vec<Step> {
        let queues = || (0..).zip(&state.requests);
        let heads = queues().filter_map(|(to, queue)| Some(Step::Request(to, *queue.first()?)));
        // A replica to which nothing else can happen may as well answer at once.
        let comes = self.bounds.free & !state.decided;
        let is_settled = |to: u8| comes >> to & 1 == 0 && !self.bounds.streams;
        let settled = |step: &Step| matches!(step, Step::Request(to, _) if is_settled(*to));
        if let Some(step) = heads.clone().find(settled) {
            return vec![step];
        }
        let mut steps: Vec<_> = heads.collect();
        let mut replies: Vec<_> = state
            .replies
            .iter()
            .map(|reply| Step::Reply(*reply))
            .collect();
        replies.dedup();
        steps.extend(replies);
        if usize::from(state.begun) == state.done.len() {
            steps.push(Step::Begin);
        } else if state.awakenings < self.bounds.awakenings {
            steps.push(Step::Wake);
        }
        for one in 0..CORRECT as u8 {
            if self.bounds.free >> one & 1 == 1 && state.decided >> one & 1 == 0 {
                steps.push(Step::Decided(one));
            }
            let others = (0..=CORRECT as u8).filter(|other| *other != one && self.bounds.streams);
            let news = others.filter(|other| {
                state.applied >> other & 1 == 1 && state.told >> (4 * one + other) & 1 == 0
            });
            steps.extend(news.map(|other| Step::Told(one, other)));
        }
        steps
    }

    fn after(&mut self, state: &State, step: Step) -> State {
        let mut next = state.clone();
        match step {
            Step::Request(replica, input) => {
                next.requests[usize::from(replica)].remove(0);
                self.replica(&mut next, replica, input);
            }
            Step::Reply(input) => {
                let place = next.replies.iter().position(|reply| *reply == input);
                place.map(|place| next.replies.remove(place));
                self.client(&mut next, input);
            }
            Step::Decided(replica) => {
                next.decided |= 1 << replica;
                let decide = PeerMessage::Decide(self.cast.decision.clone());
                self.peer(&mut next, replica, CORRECT as u16, decide);
            }
            Step::Told(replica, by) => {
                next.told |= 1 << (4 * replica + by);
                let applied = self.cast.applied();
                self.peer(&mut next, replica, u16::from(by), applied);
            }
            Step::Wake => {
                next.awakenings += 1;
                let input = self.client.number(ToClient::Wake);
                self.client(&mut next, input);
            }
            Step::Begin => {
                let read = self.bounds.reads[usize::from(next.begun)];
                next.begun += 1;
                let input = self
                    .client
                    .number(ToClient::Begin(u64::from(next.begun), read));
                self.client(&mut next, input);
            }
        }
        next.replies.sort_unstable();
        next
    }

    fn peer(&mut self, next: &mut State, replica: u8, from: u16, message: PeerMessage) {
        let machine = &mut self.replicas[usize::from(replica)];
        let input = machine.number(ToReplica::Peer(from, message));
        self.replica(next, replica, input);
    }

    fn replica(&mut self, next: &mut State, replica: u8, input: u16) {
        let client = &mut self.client;
        let at = usize::from(replica);
        let hides_swap = self.bounds.hides_swap;
        let (state, effects) =
            self.replicas[at].step(next.replicas[at], input, |output| match output {
                FromReplica::Applied => vec![Effect::Applied],
                FromReplica::Reply(mut reply) => {
                    if hides_swap
                        && let ReplyBody::Found { moved, .. } | ReplyBody::EmptySince { moved, .. } =
                            &mut reply.body
                    {
                        moved.clear();
                    }
                    let input = client.number(ToClient::Reply(u16::from(replica), reply));
                    vec![Effect::Reply(input)]
                }
            });
        next.replicas[at] = state;
        for effect in effects {
            match effect {
                Effect::Reply(input) => next.replies.push(input),
                Effect::Request(to, input) => next.requests[usize::from(to)].push(input),
                Effect::Applied => next.applied |= 1 << replica,
                Effect::Read(_) | Effect::Asked(_) => {}
            }
        }
    }

    fn client(&mut self, next: &mut State, input: u16) {
        let (replicas, told) = (&mut self.replicas, &mut self.told);
        let (state, effects) = self.client.step(next.client, input, |output| match output {
            FromClient::Read(found) => vec![Effect::Read(found)],
            FromClient::Request(to, request) if usize::from(to) < CORRECT => {
                let input = replicas[usize::from(to)].number(ToReplica::Client(request));
                vec![Effect::Request(to as u8, input)]
            }
            FromClient::Request(_, request) => {
                told.push(request);
                vec![Effect::Asked(told.len() - 1)]
            }
        });
        next.client = state;
        let mut asked = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply(input) => next.replies.push(input),
                Effect::Request(to, input) => next.requests[usize::from(to)].push(input),
                Effect::Asked(request) => asked.push(request),
                Effect::Applied => {}
                Effect::Read(found) => self.end_read(next, found),
            }
        }
        for request in asked {
            let lie = self.cast.lie(&self.told[request], self.bounds.liar_finds);
            if let Some(reply) = lie {
                let input = self.client.number(ToClient::Reply(CORRECT as u16, reply));
                self.client(next, input);
            }
        }
    }

    /// What only the read that ended wanted is not delivered any more.
    fn end_read(&self, next: &mut State, found: bool) {
        next.done.push(found);
        next.replies.clear();
        for (replica, queue) in self.replicas.iter().zip(&mut next.requests) {
            queue.retain(|input| match replica.input(*input) {
                ToReplica::Client(request) => !is_question(&request.body),
                ToReplica::Peer(..) => true,
            });
        }
    }

    fn explain(&self, ways: &[(usize, Step)], mut at: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while at != 0 {
            let (before, step) = &ways[at];
            lines.push(match step {
                Step::Request(to, input) => {
                    let input = self.replicas[usize::from(*to)].input(*input);
                    format!("s{to} gets {input:?}")
                }
                Step::Reply(input) => format!("the client gets {:?}", self.client.input(*input)),
                Step::Decided(to) => format!("s{to} gets the decision"),
                Step::Told(to, by) => format!("s{to} hears that s{by} applied it"),
                Step::Wake => "the client's timer".to_owned(),
                Step::Begin => "the client begins its next read".to_owned(),
            });
            at = *before;
        }
        lines.reverse();
        lines
    }
}

fn is_question(body: &ClientBody) -> bool {
    matches!(
        body,
        ClientBody::Read(_) | ClientBody::StillEmpty { .. } | ClientBody::Cancel { .. }
    )
}

impl SwapVerdict {
    /// True if everything was visited and nothing was wrong.
    pub fn holds(&self) -> bool {
        self.is_complete && self.violation.is_none()
    }
}

impl fmt::Display for SwapVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} transitions, machines {:?}, results {:?}: ",
            self.states, self.transitions, self.machines, self.results
        )?;
        match &self.violation {
            Some(_) => f.write_str("VIOLATION, a swap is seen undone"),
            None if self.is_complete => f.write_str("holds in every state"),
            None => f.write_str("holds so far, not complete"),
        }
    }
}

impl Default for SwapBounds {
    fn default() -> Self {
        Self {
            reads: [Read::X, Read::Y],
            holders: 2,
            applied: 1,
            free: 0,
            liar_finds: false,
            hides_swap: false,
            awakenings: 0,
            streams: false,
            states_max: 10_000_000,
        }
    }
}

impl fmt::Display for SwapBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let liar = if self.liar_finds { "all" } else { "nothing" };
        write!(
            f,
            "reads={:?} holders={} applied={:03b} free={:03b} liar-shows={liar} awakenings={}",
            self.reads, self.holders, self.applied, self.free, self.awakenings
        )
    }
}

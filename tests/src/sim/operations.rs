//! What clients of a world are asked to do, what they answer, and the history that follows from it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bts_core::client::{self, Handle, Op, Outcome, SwapWith};
use bts_core::content::{Put, TakePayload};
use bts_core::ids::{ClientRef, EntryId, SpaceName};
use bts_core::message::Found;
use bts_core::template::Template;
use bts_core::tuple::Tuple;

use super::node::Node;
use super::world::World;
use crate::check::history::{Answer, Call, Effect, Moment, Operation};

/// An operation that a correct client was asked for.
#[derive(Debug)]
pub struct Invocation {
    /// The client.
    pub client: usize,
    /// Its name there.
    pub handle: Handle,
    /// Whether it waits for what is not there yet.
    pub waits: bool,
    /// In which space.
    pub space: SpaceName,
    /// What was called; `Ghost` if histories do not speak of it.
    pub call: Call,
    /// When.
    pub started: Moment,
    /// When, in microseconds.
    pub started_us: u64,
    /// When and how it ended.
    pub ended: Option<(Moment, Outcome)>,
    /// The entry that the client sent for an `out`.
    entry: Option<EntryId>,
    offers: Offers,
}

/// What a swap's function answered for each tuple; the simulator has to know what was put.
type Offers = Arc<Mutex<BTreeMap<Tuple, Vec<Put>>>>;

impl World {
    /// Asks a client for an operation.
    pub fn invoke(&mut self, client: usize, op: Op) -> Handle {
        let handle = Handle(self.invocations.len() as u64);
        let offers = Offers::default();
        let (space, call, waits, op) = describe(op, &offers);
        self.moment += 1;
        self.trace.line(self.now_us(), || {
            format!("c{client} calls {} {call}", handle.0)
        });
        self.invocations.push(Invocation {
            client,
            handle,
            waits,
            space,
            call,
            started: self.moment,
            started_us: self.now_us(),
            ended: None,
            entry: None,
            offers,
        });
        let takes = self.observer.coverage.count("take");
        let sent = self.observer.sent_entries().len();
        self.drive_client(client, client::Input::Invoke(handle, op));
        // What an earlier operation had waited to be signed may be sent in the same moment.
        let invocation = &mut self.invocations[handle.0 as usize];
        let mut new = self.observer.sent_entries().iter().skip(sent);
        let own =
            new.find(|entry| matches!(&invocation.call, Call::Out(own) if *own == entry.tuple));
        invocation.entry = own.map(|entry| entry.id.clone());
        if self.observer.coverage.count("take") > takes {
            self.observer.coverage.mark("warm take");
        }
        handle
    }

    /// Tells a client that nobody wants the result any more.
    pub fn cancel(&mut self, handle: Handle) {
        let client = self.invocation(handle).client;
        self.trace
            .line(self.now_us(), || format!("c{client} cancels {}", handle.0));
        self.observer.coverage.mark("operation cancelled");
        let invocation = self.invocation(handle);
        if invocation.waits && invocation.ended.is_none() {
            self.observer.coverage.mark("waiting operation cancelled");
        }
        self.drive_client(client, client::Input::Cancel(handle));
    }

    /// An operation by its name.
    pub fn invocation(&self, handle: Handle) -> &Invocation {
        &self.invocations[handle.0 as usize]
    }

    /// How it ended.
    pub fn outcome(&self, handle: Handle) -> Option<&Outcome> {
        self.invocation(handle)
            .ended
            .as_ref()
            .map(|(_, outcome)| outcome)
    }

    /// Operations of living clients that did not end yet.
    pub fn unfinished(&self) -> impl Iterator<Item = &Invocation> {
        let open = self
            .invocations
            .iter()
            .filter(|invocation| invocation.ended.is_none());
        open.filter(|invocation| self.is_alive(Node::Client(invocation.client)))
    }

    pub(super) fn on_done(&mut self, client: usize, handle: Handle, outcome: Outcome) {
        self.moment += 1;
        let moment = self.moment;
        self.trace.line(self.now_us(), || {
            format!("c{client} ends {} {outcome:?}", handle.0)
        });
        if outcome == Outcome::None {
            self.observer.coverage.mark("None proven");
        }
        let invocation = self.invocations.get_mut(handle.0 as usize);
        let invocation = invocation.filter(|invocation| invocation.client == client);
        match invocation {
            Some(invocation) if invocation.ended.is_none() => {
                if matches!(outcome, Outcome::Swapped { .. }) {
                    self.observer.coverage.mark("decision with puts");
                }
                invocation.ended = Some((moment, outcome));
            }
            _ => self.violation(format!(
                "c{client} ends {handle:?} twice or unasked: {outcome:?}"
            )),
        }
    }

    /// The history so far: what correct clients called and were told, and ghosts for what hostile
    /// clients did, or what correct ones left behind.
    pub fn history(&self) -> Vec<Operation> {
        let invocations = self.invocations.iter().filter(|i| i.call != Call::Ghost);
        let mut history: Vec<_> = invocations.map(|i| self.operation(i)).collect();
        history.extend(self.put_back(&history));
        history.extend(self.foreign_takes());
        history.extend(self.foreign_entries(&history));
        history
    }

    fn operation(&self, invocation: &Invocation) -> Operation {
        let answer = match &invocation.ended {
            Some((_, outcome)) => invocation.answer(outcome),
            None => Answer::Open(Vec::new()),
        };
        let ended = invocation.ended.as_ref().map(|(moment, _)| *moment);
        let (ended, answer) = match answer {
            Answer::Open(_) => (None, Answer::Open(self.possible(invocation))),
            known => (ended, known),
        };
        Operation {
            who: format!("c{}", invocation.client),
            session: self.clients[invocation.client].identity.session.0,
            waits: invocation.waits,
            space: invocation.space.clone(),
            call: invocation.call.clone(),
            started: invocation.started,
            ended,
            answer,
        }
    }

    /// What an operation without answer may have done: written the entries, or won one of the
    /// Takes, that its client sent for it.
    fn possible(&self, invocation: &Invocation) -> Vec<Effect> {
        let client = self.clients[invocation.client].identity;
        let written = self.observer.sent_entries().iter().filter(|entry| {
            // By its id: the client may have put back an equal tuple that it had taken.
            let is_its = invocation.entry.as_ref() == Some(&entry.id);
            is_its && !self.is_acknowledged(&entry.id)
        });
        let written = written.map(|entry| {
            Effect::Write(Found {
                id: entry.id.clone(),
                tuple: entry.tuple.clone(),
            })
        });
        let takes = self.observer.takes().filter(|(op, take)| {
            let winner = self.observer.decided_on(&take.payload.id);
            let may_win = winner.is_none_or(|winner| winner == **op);
            is_by(&take.payload, client) && take.since >= invocation.started && may_win
        });
        let takes = takes.filter_map(|(_, take)| {
            let offered = || invocation.offered(&take.payload);
            let taken = self.content_of(&take.payload).or_else(offered)?;
            let template = invocation.call_template()?;
            let offered = invocation.put_for(&taken.tuple) == take.payload.puts;
            (template.matches(&taken.tuple) && offered).then(|| replace(&take.payload, taken))
        });
        written.chain(takes).collect()
    }

    fn is_acknowledged(&self, id: &EntryId) -> bool {
        let outcomes = self.invocations.iter().filter_map(|i| i.ended.as_ref());
        outcomes
            .into_iter()
            .any(|(_, outcome)| *outcome == Outcome::Written(id.clone()))
    }

    /// What an abandoned `in` won and put back is written by its client without being asked.
    fn put_back(&self, history: &[Operation]) -> Vec<Operation> {
        let known: Vec<_> = history.iter().flat_map(all_written).collect();
        let own = self.observer.sent_entries().iter();
        own.filter(|entry| !known.contains(&entry.id))
            .map(|entry| {
                let content = Found {
                    id: entry.id.clone(),
                    tuple: entry.tuple.clone(),
                };
                ghost(
                    "back",
                    &content.id.clone(),
                    entry.since,
                    Effect::Write(content),
                )
            })
            .collect()
    }

    /// Entries that only hostile clients can have written.
    fn foreign_entries(&self, history: &[Operation]) -> Vec<Operation> {
        let taken = history.iter().flat_map(Operation::possible);
        let taken = taken.filter_map(|effect| match effect {
            Effect::Replace(taken, _) => Some(taken),
            Effect::Write(_) => None,
        });
        let mut foreign: Vec<&Found> = Vec::new();
        for content in history.iter().flat_map(Operation::seen).chain(taken) {
            let is_foreign = content.id.is_root()
                && writer_of(&content.id).is_some_and(|writer| !self.observer.trusts(&writer));
            if is_foreign && !foreign.contains(&content) {
                foreign.push(content);
            }
        }
        let write = |content: &Found| ghost("evil", &content.id, 0, Effect::Write(content.clone()));
        foreign.into_iter().map(write).collect()
    }

    /// Takes by hostile clients that were decided.
    fn foreign_takes(&self) -> Vec<Operation> {
        let decided = self.observer.decided();
        let foreign = decided.filter(|(_, take)| !self.observer.trusts(&take.payload.client));
        let ghosts = foreign.filter_map(|(id, take)| {
            let taken = self.content_of(&take.payload)?;
            Some(ghost("evil", id, take.since, replace(&take.payload, taken)))
        });
        ghosts.collect()
    }

    /// The content that a Take names, as far as correct clients or decided Takes wrote it.
    fn content_of(&self, take: &TakePayload) -> Option<Found> {
        let tuple = match take.id.origin() {
            None => self.observer.tuple_of(&take.content).cloned(),
            Some((origin, index)) => {
                let mut decided = self.observer.decided().filter(|(id, _)| **id == origin);
                let puts = decided.next().map(|(_, take)| &take.payload.puts)?;
                puts.get(usize::from(index)).map(|put| put.tuple.clone())
            }
        };
        tuple.map(|tuple| Found {
            id: take.id.clone(),
            tuple,
        })
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            handle,
            space,
            call,
            started_us,
            ..
        } = self;
        write!(
            f,
            "c{client} {} {space} {call} since {started_us} us",
            handle.0
        )
    }
}

impl Invocation {
    fn call_template(&self) -> Option<&Template> {
        match &self.call {
            Call::Read(t) | Call::Take(t) | Call::Swap(t) | Call::List(t) => Some(t),
            Call::Out(_) | Call::Ghost => None,
        }
    }

    /// What it took, to judge by what it put in its place: a stranger's entry that nobody else saw.
    fn offered(&self, take: &TakePayload) -> Option<Found> {
        let offers = self.offers.lock().expect("nobody panics while holding it");
        let mut tuples = offers.iter().filter(|(_, puts)| **puts == take.puts);
        tuples.next().map(|(tuple, _)| Found {
            id: take.id.clone(),
            tuple: tuple.clone(),
        })
    }

    /// What it puts in place of this tuple.
    fn put_for(&self, tuple: &Tuple) -> Vec<Put> {
        let offers = self.offers.lock().expect("nobody panics while holding it");
        offers.get(tuple).cloned().unwrap_or_default()
    }

    fn answer(&self, outcome: &Outcome) -> Answer {
        match outcome {
            Outcome::Written(id) => Answer::Written(id.clone()),
            Outcome::Found(found) => Answer::Found(found.clone()),
            Outcome::Swapped { taken, put } => {
                let tuples = self.put_for(&taken.tuple).into_iter().map(|put| put.tuple);
                let puts = put.iter().cloned().zip(tuples);
                let puts = puts.map(|(id, tuple)| Found { id, tuple });
                Answer::Swapped(taken.clone(), puts.collect())
            }
            Outcome::Declined(found) => Answer::Declined(found.clone()),
            Outcome::None => Answer::None,
            Outcome::Listed(all) => Answer::Listed(all.clone()),
            Outcome::Unknown | Outcome::Refused(_) => Answer::Open(Vec::new()),
            Outcome::Inspected(_) | Outcome::Ended | Outcome::Malformed(_) | Outcome::Cancelled => {
                Answer::Nothing
            }
        }
    }
}

fn describe(op: Op, offers: &Offers) -> (SpaceName, Call, bool, Op) {
    match op {
        Op::Out { ref space, ref put } => (space.clone(), Call::Out(put.tuple.clone()), false, op),
        Op::Read {
            ref space,
            ref template,
            wait,
        } => (space.clone(), Call::Read(template.clone()), wait, op),
        Op::Take {
            space,
            template,
            wait,
            with,
        } => {
            let call = match &with {
                Some(_) => Call::Swap(template.clone()),
                None => Call::Take(template.clone()),
            };
            let op = Op::Take {
                space: space.clone(),
                template,
                wait,
                with: with.map(|with| overheard(with, offers)),
            };
            (space, call, wait, op)
        }
        Op::List {
            ref space,
            ref template,
        } => (space.clone(), Call::List(template.clone()), false, op),
        Op::Inspect | Op::End { .. } => (
            SpaceName::new("-").expect("a good name"),
            Call::Ghost,
            false,
            op,
        ),
    }
}

fn overheard(mut with: SwapWith, offers: &Offers) -> SwapWith {
    let offers = Arc::clone(offers);
    Box::new(move |tuple| {
        let puts = with(tuple);
        let mut offers = offers.lock().expect("nobody panics while holding it");
        offers.insert(tuple.clone(), puts.clone().unwrap_or_default());
        puts
    })
}

fn all_written(operation: &Operation) -> Vec<EntryId> {
    let possible = operation
        .possible()
        .iter()
        .filter_map(|effect| match effect {
            Effect::Write(content) => Some(content.id.clone()),
            Effect::Replace(..) => None,
        });
    let written = operation.written().into_iter().map(|content| content.id);
    written.chain(possible).collect()
}

fn replace(take: &TakePayload, taken: Found) -> Effect {
    let puts = (0..).zip(&take.puts).filter_map(|(index, put)| {
        Some(Found {
            id: take.id.put(index)?,
            tuple: put.tuple.clone(),
        })
    });
    let puts = puts.collect();
    Effect::Replace(taken, puts)
}

fn ghost(who: &str, id: &EntryId, started: Moment, effect: Effect) -> Operation {
    Operation {
        who: who.to_owned(),
        session: 0,
        waits: false,
        space: id.space().clone(),
        call: Call::Ghost,
        started,
        ended: None,
        answer: Answer::Open(vec![effect]),
    }
}

fn writer_of(id: &EntryId) -> Option<bts_core::ids::PublicKey> {
    match id.root() {
        bts_core::ids::Root::Written { writer, .. } => Some(*writer),
        bts_core::ids::Root::Genesis { .. } => None,
    }
}

fn is_by(take: &TakePayload, client: ClientRef) -> bool {
    take.client == client.key && take.session == client.session
}

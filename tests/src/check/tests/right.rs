//! Histories that are right by construction: one operation after the other on a plain bag, each
//! within an interval around its moment, and of some of them nobody saw the answer.

use bts_core::ids::{EntryId, PublicKey, Seq, Session, SpaceName};
use bts_core::message::Found;
use bts_core::template::{Pattern, Template};
use bts_core::tuple::Tuple;

use super::super::history::{Answer, Call, Effect, Operation};
use crate::sim::rng::Rng;

/// What a history is like.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) length: u64,
    /// How far an interval reaches beyond its moment; moments are 100 apart.
    pub(super) spread: u64,
    /// How many of a thousand answers nobody saw.
    pub(super) unknown_per_mille: u64,
    /// Whether there are listings, which the judge that tries every order has to take apart.
    pub(super) lists: bool,
}

impl Style {
    pub(super) fn of(length: u64) -> Self {
        Self {
            length,
            spread: 250,
            unknown_per_mille: 100,
            lists: true,
        }
    }
}

/// A history that is right.
pub(super) fn right(rng: &mut Rng, style: Style) -> Vec<Operation> {
    let mut bag: Vec<Found> = Vec::new();
    let acts = 1..=style.length;
    acts.map(|at| {
        let act = act(&mut bag, rng, at, style.lists);
        let started = at * 100 - rng.below(style.spread).min(at * 100);
        let ended = at * 100 + 1 + rng.below(style.spread);
        let unknown = rng.chance(style.unknown_per_mille);
        let (ended, answer) = match unknown && !matches!(act.call, Call::List(_)) {
            true => (None, Answer::Open(act.may(rng))),
            false => (Some(ended), act.answer),
        };
        Operation {
            waits: answer != Answer::None && rng.chance(500),
            ..op(started, ended, act.call, answer)
        }
    })
    .collect()
}

struct Act {
    call: Call,
    answer: Answer,
    effect: Option<Effect>,
}

impl Act {
    /// What it may have done for all that a client knows that saw no answer: what it did, and
    /// sometimes what it might have done instead.
    fn may(&self, rng: &mut Rng) -> Vec<Effect> {
        let mut may: Vec<_> = self.effect.iter().cloned().collect();
        if let (Some(Effect::Replace(taken, puts)), true) = (&self.effect, rng.chance(300)) {
            let other = Found {
                id: found(rng.below(9), "a").id,
                tuple: taken.tuple.clone(),
            };
            let moved = |put: &Found| {
                let (_, index) = put.id.origin().expect("a put");
                Found {
                    id: other.id.put(index).expect("few puts"),
                    tuple: put.tuple.clone(),
                }
            };
            may.push(Effect::Replace(
                other.clone(),
                puts.iter().map(moved).collect(),
            ));
        }
        may
    }
}

fn act(bag: &mut Vec<Found>, rng: &mut Rng, seq: u64, lists: bool) -> Act {
    let template = if rng.chance(400) {
        all()
    } else {
        only(key(rng))
    };
    let mut matching = bag.iter().filter(|c| template.matches(&c.tuple));
    let count = matching.clone().count();
    let chosen = matching.nth(rng.index(count.max(1))).cloned();
    match rng.below(if lists { 9 } else { 8 }) {
        0..=3 => {
            let new = found(seq, key(rng));
            bag.push(new.clone());
            Act {
                call: Call::Out(new.tuple.clone()),
                answer: Answer::Written(new.id.clone()),
                effect: Some(Effect::Write(new)),
            }
        }
        4 | 5 => Act {
            call: Call::Read(template),
            answer: chosen.map_or(Answer::None, Answer::Found),
            effect: None,
        },
        6 | 7 => take(bag, rng, template, chosen),
        _ => Act {
            answer: Answer::Listed(
                bag.iter()
                    .filter(|c| template.matches(&c.tuple))
                    .cloned()
                    .collect(),
            ),
            call: Call::List(template),
            effect: None,
        },
    }
}

/// A take, a swap that puts none, one or two entries, or one that declines.
fn take(bag: &mut Vec<Found>, rng: &mut Rng, template: Template, chosen: Option<Found>) -> Act {
    let Some(taken) = chosen else {
        return Act {
            call: Call::Take(template),
            answer: Answer::None,
            effect: None,
        };
    };
    let kind = rng.below(8);
    if kind == 0 {
        return Act {
            call: Call::Swap(template),
            answer: Answer::Declined(taken),
            effect: None,
        };
    }
    bag.retain(|content| content.id != taken.id);
    if kind < 4 {
        return Act {
            call: Call::Take(template),
            effect: Some(Effect::Replace(taken.clone(), Vec::new())),
            answer: Answer::Found(taken),
        };
    }
    let puts: Vec<_> = (0..rng.below(3))
        .map(|index| Found {
            id: taken.id.put(index as u16).expect("few puts"),
            tuple: tuple(key(rng)),
        })
        .collect();
    bag.extend(puts.iter().cloned());
    Act {
        call: Call::Swap(template),
        effect: Some(Effect::Replace(taken.clone(), puts.clone())),
        answer: Answer::Swapped(taken, puts),
    }
}

pub(super) fn op(started: u64, ended: Option<u64>, call: Call, answer: Answer) -> Operation {
    Operation {
        who: "c".to_owned(),
        session: 0,
        waits: false,
        space: space(),
        call,
        started,
        ended,
        answer,
    }
}

pub(super) fn space() -> SpaceName {
    SpaceName::new("s").expect("a good name")
}

pub(super) fn tuple(key: &str) -> Tuple {
    Tuple(vec![key.into()])
}

pub(super) fn found(seq: u64, key: &str) -> Found {
    Found {
        id: EntryId::written(space(), PublicKey([7; 32]), Session(1), Seq(seq)),
        tuple: tuple(key),
    }
}

pub(super) fn put(seq: u64, key: &str) -> Found {
    Found {
        id: found(seq, key).id.put(0).expect("few puts"),
        tuple: tuple(key),
    }
}

fn key(rng: &mut Rng) -> &'static str {
    rng.pick(&["a", "b"]).expect("two")
}

pub(super) fn all() -> Template {
    Template(vec![Pattern::Any])
}

pub(super) fn only(key: &str) -> Template {
    Template(vec![Pattern::Exact(key.into())])
}

pub(super) fn show(history: &[Operation]) -> String {
    history
        .iter()
        .map(|operation| format!("{operation}\n"))
        .collect()
}

//! What clients do in a run: a mix of operations on tuples `(key, number)`, with templates that
//! overlap. Few keys make contention, many make independence; numbers are unique in most runs, so
//! that who wrote an entry shows in what was read.

use bts_core::client::Op;
use bts_core::content::Put;
use bts_core::ids::SpaceName;
use bts_core::template::{Pattern, Template};
use bts_core::tuple::{Field, FieldType, Tuple};

use super::rng::Rng;
use super::swarm::{tame, wild};

/// What clients do, as drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Different keys.
    pub keys: u64,
    /// Operations of each client.
    pub operations: u64,
    /// Operations that a client has open at once.
    pub at_once: usize,
    /// Longest pause between two operations of a client, in microseconds.
    pub think_us: u64,
    /// How many of a thousand operations are cancelled at some time.
    pub cancelled_per_mille: u64,
    /// Whether tuples may be equal.
    pub equal_tuples: bool,
    /// Whether the space without hostile takers is used.
    pub tame: bool,
    /// Whether the other one is.
    pub wild: bool,
    /// How often each kind of operation is chosen.
    pub weights: Weights,
}

/// Relative frequencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// `out`.
    pub out: u64,
    /// `rdp`, `rd`.
    pub read: u64,
    /// `inp`, `in`.
    pub take: u64,
    /// `swapp`, `swap`.
    pub swap: u64,
    /// Listings.
    pub list: u64,
    /// How many of a thousand reads, takes and swaps wait.
    pub waiting_per_mille: u64,
}

impl Workload {
    /// Draws a workload.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut weights = Weights {
            out: rng.between(2, 6),
            read: rng.below(5),
            take: rng.below(6),
            swap: rng.below(6),
            list: rng.below(2),
            waiting_per_mille: rng.below(500),
        };
        weights.take += u64::from(weights.swap == 0);
        let tame = rng.chance(600);
        Self {
            keys: if rng.chance(700) {
                rng.between(1, 2)
            } else {
                rng.between(3, 20)
            },
            operations: rng.between(2, 10),
            at_once: 1 + rng.index(3),
            think_us: *rng.pick(&[100, 5_000, 100_000]).expect("a choice"),
            cancelled_per_mille: if rng.chance(300) {
                rng.between(50, 400)
            } else {
                0
            },
            equal_tuples: rng.chance(100),
            tame,
            wild: !tame || rng.chance(300),
            weights,
        }
    }

    /// The next operation of some client. `number` makes its tuple unique.
    pub fn next(&self, rng: &mut Rng, number: u64) -> Op {
        let space = self.space(rng);
        let Weights {
            out,
            read,
            take,
            swap,
            list,
            waiting_per_mille,
        } = self.weights;
        let wait = rng.chance(waiting_per_mille);
        let drawn = rng.below(out + read + take + swap + list);
        if drawn < out {
            let put = self.tuple(rng, number).into();
            return Op::Out { space, put };
        }
        let template = self.template(rng);
        match drawn - out {
            drawn if drawn < read => Op::Read {
                space,
                template,
                wait,
            },
            drawn if drawn < read + list => Op::List { space, template },
            drawn => Op::Take {
                space,
                template,
                wait,
                with: (drawn - read - list < swap).then(|| self.swap(rng, number)),
            },
        }
    }

    /// A template of this workload.
    pub fn template(&self, rng: &mut Rng) -> Template {
        let key = Pattern::Exact(self.key(rng));
        let number = match rng.below(3) {
            0 => Pattern::Typed(FieldType::Uint),
            _ => Pattern::Any,
        };
        match rng.below(4) {
            0 => anything(),
            _ => Template(vec![key, number]),
        }
    }

    fn space(&self, rng: &mut Rng) -> SpaceName {
        match self.tame && (!self.wild || rng.chance(500)) {
            true => tame(),
            false => wild(),
        }
    }

    fn tuple(&self, rng: &mut Rng, number: u64) -> Tuple {
        let number = if self.equal_tuples {
            number % 2
        } else {
            number
        };
        Tuple(vec![self.key(rng), number.into()])
    }

    fn key(&self, rng: &mut Rng) -> Field {
        format!("k{}", rng.below(self.keys)).into()
    }

    /// None, one or two puts, of other keys; or it declines every second tuple.
    fn swap(&self, rng: &mut Rng, number: u64) -> bts_core::client::SwapWith {
        let count = rng.pick(&[0, 1, 1, 1, 2]).copied().expect("a choice");
        let puts = (0..count).map(|put| self.tuple(rng, number + (put + 1) * 1_000_000));
        let puts: Vec<Put> = puts.map(Put::from).collect();
        let declines = rng.chance(150);
        Box::new(move |tuple| {
            let odd = matches!(tuple.fields().last(), Some(Field::Uint(number)) if number % 2 == 1);
            (!(declines && odd)).then(|| puts.clone())
        })
    }
}

/// The template that every tuple of a workload matches.
pub fn anything() -> Template {
    Template(vec![Pattern::Any, Pattern::Any])
}

/// A tuple that the template matches; its number is of no other operation.
pub fn matching(template: &Template, number: u64) -> Tuple {
    let field = |pattern: &Pattern| match pattern {
        Pattern::Exact(field) => field.clone(),
        Pattern::Typed(_) | Pattern::Any => Field::Uint(number),
    };
    template.patterns().iter().map(field).collect()
}

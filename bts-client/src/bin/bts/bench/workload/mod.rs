//! The workloads, and who does what in them.

mod contended;
mod exchange;
mod hand_off;
mod plain;

use bts_client::Template;
use clap::ValueEnum;

use super::hand::Hand;
use super::options::Load;
use super::tuples::{Tag, any_of};
use crate::exit::{Exit, Failure};

use exchange::Role;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// * Write tuples
    Out,
    /// * Read one of the live tuples, by its number
    RdpHit,
    /// * Ask for a tuple that is not there
    RdpMiss,
    /// * Take tuples, each worker from a queue of its own
    Inp,
    /// * Write a tuple for a worker that waits for it, until that one has it
    HandOff,
    /// * Replace a tuple by the next, each worker its own
    Swap,
    /// Take the one tuple that all want, and put it back
    Hot,
    /// Take from one queue that others fill
    Queue,
    /// Take from 32 queues that others fill
    Queues,
    /// Read, write, take and replace, 5 : 2 : 2 : 1
    Mixed,
    /// Connect as a new client, and read one of the live tuples
    Connect,
}

/// What a worker is told when it begins.
#[derive(Debug)]
pub(super) struct Post {
    /// Its number among all workers.
    worker: usize,
    /// Tuples that are there all the time.
    live: u64,
    /// A hand on another client, if there is another one.
    other: Hand,
    /// Its part in an exchange.
    role: Role,
}

impl Workload {
    /// The name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::RdpHit => "rdp-hit",
            Self::RdpMiss => "rdp-miss",
            Self::Inp => "inp",
            Self::HandOff => "hand-off",
            Self::Swap => "swap",
            Self::Hot => "hot",
            Self::Queue => "queue",
            Self::Queues => "queues",
            Self::Mixed => "mixed",
            Self::Connect => "connect",
        }
    }

    /// Whether it is measured if nobody says what should be.
    pub(super) fn is_usual(self) -> bool {
        match self {
            Self::Out | Self::RdpHit | Self::RdpMiss | Self::Inp | Self::HandOff | Self::Swap => {
                true
            }
            Self::Hot | Self::Queue | Self::Queues | Self::Mixed | Self::Connect => false,
        }
    }

    /// Whether it matters how evenly its workers are served.
    pub(super) fn is_contended(self) -> bool {
        matches!(self, Self::Hot | Self::Queue)
    }

    /// The load, with as many operations under way as it takes at least.
    pub(super) fn load(self, load: Load) -> Load {
        match self {
            Self::Queue | Self::Queues if load.workers() == 1 => Load {
                in_flight: 2,
                ..load
            },
            _ => load,
        }
    }

    /// What each worker is told.
    pub(super) fn posts(self, hands: &[Hand], live: u64, producers: Option<usize>) -> Vec<Post> {
        let roles = match self {
            Self::Queue => exchange::roles(hands.len(), producers, 1),
            Self::Queues => exchange::roles(hands.len(), producers, exchange::QUEUES),
            _ => hands.iter().map(|_| Role::None).collect(),
        };
        let post = |(worker, role)| Post {
            worker,
            live,
            other: hands[(worker + 1) % hands.len()].clone(),
            role,
        };
        roles.into_iter().enumerate().map(post).collect()
    }

    /// What has to be there before the work begins. Replicas make an index of a shape of templates when
    /// they first see one, and that is not what is measured.
    pub(super) async fn prepare(self, hand: &Hand, live: u64) -> Result<(), Failure> {
        match self {
            Self::Hot => Ok(hand.out(hand.new_tuple(Tag::Lock, 0)).await?),
            Self::RdpHit | Self::RdpMiss | Self::Mixed | Self::Connect => {
                plain::read_live(hand, live).await
            }
            Self::Inp | Self::HandOff | Self::Swap | Self::Queue | Self::Queues => {
                Ok(hand.rdp(&any_of(Tag::Live, 0)).await.map(drop)?)
            }
            Self::Out => Ok(()),
        }
    }

    /// Does the work of one worker, and returns the hand that did what is timed; none, if that is others'.
    pub(super) async fn work(self, hand: Hand, post: Post) -> Result<Option<Hand>, Failure> {
        match self {
            Self::Out => plain::out(hand, post).await.map(Some),
            Self::RdpHit => plain::rdp_hit(hand, post).await.map(Some),
            Self::RdpMiss => plain::rdp_miss(hand).await.map(Some),
            Self::Inp => plain::inp(hand, post).await.map(Some),
            Self::HandOff => hand_off::hand_off(hand, post).await.map(Some),
            Self::Swap => plain::swap(hand, post).await.map(Some),
            Self::Hot => contended::hot(hand).await.map(Some),
            Self::Queue | Self::Queues => exchange::exchange(hand, post).await,
            Self::Mixed => plain::mixed(hand, post).await.map(Some),
            Self::Connect => plain::connect(hand, post).await.map(Some),
        }
    }

    /// Takes away what would be in the way of the next load.
    pub(super) async fn clean(self, hand: &Hand) -> Result<(), Failure> {
        if self == Self::Hot {
            hand.inp(&the_lock()).await?;
        }
        Ok(())
    }
}

fn the_lock() -> Template {
    any_of(Tag::Lock, 0)
}

fn wrong(what: &str) -> Failure {
    Failure::new(Exit::Failed, format!("WRONG ANSWER: {what}"))
}

//! The workloads: what each worker of them does until it is over.

use std::time::Instant;

use clap::ValueEnum;
use tokio::sync::mpsc;

use super::hand::Hand;
use super::tuples::{Tag, any_of, the_one};
use crate::exit::{Exit, Failure};

/// Numbers that no tuple has.
const NOBODYS: u64 = 1 << 62;

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
}

/// What a worker is told when it begins.
#[derive(Debug)]
pub(super) struct Post {
    /// Its number among all workers.
    pub(super) worker: usize,
    /// Tuples that are there all the time.
    pub(super) live: u64,
    /// A hand on another client, if there is another one.
    pub(super) other: Hand,
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
        }
    }

    /// Whether it is measured if nobody says what should be.
    pub(super) fn is_usual(self) -> bool {
        match self {
            Self::Out | Self::RdpHit | Self::RdpMiss | Self::Inp | Self::HandOff | Self::Swap => {
                true
            }
        }
    }

    /// Does the work of one worker, and returns its hand.
    pub(super) async fn work(self, hand: Hand, post: Post) -> Result<Hand, Failure> {
        match self {
            Self::Out => out(hand, post).await,
            Self::RdpHit => rdp_hit(hand, post).await,
            Self::RdpMiss => rdp_miss(hand, post).await,
            Self::Inp => inp(hand, post).await,
            Self::HandOff => hand_off(hand, post).await,
            Self::Swap => swap(hand, post).await,
        }
    }
}

async fn out(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
    while !hand.clock.is_over() {
        let tuple = hand.new_tuple(Tag::Job, post.worker);
        let began = Instant::now();
        hand.out(tuple).await?;
        hand.count(began);
    }
    Ok(hand)
}

async fn rdp_hit(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
    while !hand.clock.is_over() {
        let template = the_one(Tag::Live, 0, rand::random_range(0..post.live));
        let began = Instant::now();
        if hand.rdp(&template).await?.is_none() {
            return Err(wrong("a tuple that nobody takes was not found"));
        }
        hand.count(began);
    }
    Ok(hand)
}

async fn rdp_miss(mut hand: Hand, _post: Post) -> Result<Hand, Failure> {
    while !hand.clock.is_over() {
        let template = the_one(Tag::Live, 0, NOBODYS + rand::random_range(0..NOBODYS));
        let began = Instant::now();
        if hand.rdp(&template).await?.is_some() {
            return Err(wrong("a tuple was found that nobody wrote"));
        }
        hand.count(began);
    }
    Ok(hand)
}

/// Takes what `out` has left, or what was put there before.
async fn inp(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
    let template = any_of(Tag::Job, post.worker);
    while !hand.clock.is_over() {
        let began = Instant::now();
        match hand.inp(&template).await? {
            Some(_) => hand.count(began),
            None => hand.clock.stop(),
        }
    }
    Ok(hand)
}

/// The taker waits before the giver writes, and the time is that from the writing to its end. The last
/// one is written when it is over already, so that nobody is left waiting.
async fn hand_off(taker: Hand, post: Post) -> Result<Hand, Failure> {
    let mut giver = post.other;
    let template = any_of(Tag::Hand, post.worker);
    let (waits, mut is_waiting) = mpsc::unbounded_channel();
    let (has, mut is_over) = mpsc::unbounded_channel();
    let clock = giver.clock.clone();
    let takes = async {
        loop {
            let say = async {
                // The giver is gone only after an error, which ends everything.
                let _ = waits.send(());
            };
            // In this order: the operation is on its way before anybody hears of it.
            let (taken, ()) = tokio::join!(biased; taker.take(&template), say);
            taken.map_err(Failure::from)?;
            let is_last = clock.is_over();
            let _ = has.send(is_last);
            if is_last {
                return Ok(());
            }
        }
    };
    let gives = async {
        while is_waiting.recv().await.is_some() {
            let tuple = giver.new_tuple(Tag::Hand, post.worker);
            let began = Instant::now();
            giver.out(tuple).await?;
            let Some(is_last) = is_over.recv().await else {
                break;
            };
            giver.count(began);
            if is_last {
                break;
            }
        }
        Ok(())
    };
    tokio::try_join!(takes, gives).map(|((), ())| giver)
}

async fn swap(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
    let template = any_of(Tag::Count, post.worker);
    hand.out(hand.new_tuple(Tag::Count, post.worker)).await?;
    while !hand.clock.is_over() {
        let next = hand.new_tuple(Tag::Count, post.worker);
        let began = Instant::now();
        if !hand.swapp(&template, next).await? {
            return Err(wrong("a tuple that nobody else takes was not found"));
        }
        hand.count(began);
    }
    // The next load begins with a tuple of its own.
    hand.inp(&template).await?;
    Ok(hand)
}

fn wrong(what: &str) -> Failure {
    Failure::new(Exit::Failed, format!("WRONG ANSWER: {what}"))
}

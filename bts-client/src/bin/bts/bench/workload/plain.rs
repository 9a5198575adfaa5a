//! Workers that have nothing to do with one another.

use std::time::Instant;

use bts_client::Client;

use super::{Post, wrong};
use crate::bench::hand::Hand;
use crate::bench::tuples::{Tag, any_of, the_one};
use crate::exit::{Exit, Failure};

/// Numbers that no tuple has.
const NOBODYS: u64 = 1 << 62;

pub(super) async fn out(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
    while !hand.clock.is_over() {
        let tuple = hand.new_tuple(Tag::Job, post.worker);
        let began = Instant::now();
        hand.out(tuple).await?;
        hand.count(began);
    }
    Ok(hand)
}

pub(super) async fn rdp_hit(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
    while !hand.clock.is_over() {
        let began = Instant::now();
        read_live(&hand, post.live).await?;
        hand.count(began);
    }
    Ok(hand)
}

/// What goes over the new links is not counted: they are not those of the load.
pub(super) async fn connect(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
    while !hand.clock.is_over() {
        let began = Instant::now();
        let client = Client::connect(hand.config.clone()).await?;
        let new = Hand {
            space: client
                .space(hand.space.name())
                .map_err(|error| Failure::new(Exit::Usage, error))?,
            ..hand.clone()
        };
        read_live(&new, post.live).await?;
        hand.count(began);
        // Its goodbyes need a while, for which nobody waits.
        tokio::spawn(async move { client.close().await });
    }
    Ok(hand)
}

/// Reads one of the live tuples.
pub(super) async fn read_live(hand: &Hand, live: u64) -> Result<(), Failure> {
    let template = the_one(Tag::Live, 0, rand::random_range(0..live));
    match hand.rdp(&template).await? {
        Some(_) => Ok(()),
        None => Err(wrong("a tuple that nobody takes was not found")),
    }
}

pub(super) async fn rdp_miss(mut hand: Hand) -> Result<Hand, Failure> {
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
pub(super) async fn inp(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
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

pub(super) async fn swap(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
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

pub(super) async fn mixed(mut hand: Hand, post: Post) -> Result<Hand, Failure> {
    let own = any_of(Tag::Mixed, post.worker);
    while !hand.clock.is_over() {
        let began = Instant::now();
        match rand::random_range(0..10) {
            0..5 => read_live(&hand, post.live).await?,
            5..7 => hand.out(hand.new_tuple(Tag::Mixed, post.worker)).await?,
            7..9 => drop(hand.inp(&own).await?),
            _ => {
                let put = hand.new_tuple(Tag::Mixed, post.worker);
                hand.swapp(&own, put).await?;
            }
        }
        hand.count(began);
    }
    Ok(hand)
}

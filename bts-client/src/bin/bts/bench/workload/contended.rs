//! Workers that all want one tuple.

use std::time::Instant;

use super::the_lock;
use crate::bench::hand::Hand;
use crate::bench::tuples::Tag;
use crate::exit::Failure;

/// Takes the lock and gives it back. Whoever waits when it is over gets it in turn, so nobody is left.
pub(super) async fn hot(mut hand: Hand) -> Result<Hand, Failure> {
    let lock = the_lock();
    while !hand.clock.is_over() {
        let began = Instant::now();
        hand.take(&lock).await?;
        hand.out(hand.new_tuple(Tag::Lock, 0)).await?;
        hand.count(began);
    }
    Ok(hand)
}

//! Workers that come in pairs: one waits for a tuple, the other writes it.

use std::time::Instant;

use tokio::sync::mpsc;

use super::Post;
use crate::bench::hand::Hand;
use crate::bench::tuples::{Tag, any_of};
use crate::exit::Failure;

/// The taker waits before the giver writes, and the time is that from the writing until both are done. The
/// last one is written when it is over already, so that nobody is left waiting.
pub(super) async fn hand_off(taker: Hand, post: Post) -> Result<Hand, Failure> {
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

//! Producers that fill queues, and takers that empty them. Each taker gives a producer credit for what it
//! took, so that there is always something to take and never much.

use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Post;
use crate::bench::hand::Hand;
use crate::bench::tuples::{Tag, any_of};
use crate::exit::Failure;

/// Queues, if there are several.
pub(super) const QUEUES: usize = 32;
/// Tuples that there may be, for each taker.
const AHEAD: usize = 2;

/// A worker's part.
#[derive(Debug)]
pub(super) enum Role {
    None,
    Producer {
        /// Queues into which one more may be written.
        credits: UnboundedReceiver<usize>,
        /// Queues of the takers that wait for its last tuples.
        takers: Vec<usize>,
    },
    Taker {
        queue: usize,
        credits: UnboundedSender<usize>,
    },
}

/// Makes half of the workers producers, or so many, and the others takers of so many queues.
pub(super) fn roles(workers: usize, producers: Option<usize>, queues: usize) -> Vec<Role> {
    let most = workers.saturating_sub(1).max(1);
    let producers = producers.unwrap_or(workers / 2).clamp(1, most);
    let takers = workers.saturating_sub(producers);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..producers).map(|_| unbounded_channel()).unzip();
    let queue_of = |taker: usize| taker % queues;
    let taker = |taker: usize| {
        let (queue, credits) = (queue_of(taker), senders[taker % producers].clone());
        for _ in 0..AHEAD {
            // The receiver is right here.
            let _ = credits.send(queue);
        }
        Role::Taker { queue, credits }
    };
    let all_takers: Vec<Role> = (0..takers).map(taker).collect();
    let producer = |(producer, credits)| Role::Producer {
        credits,
        takers: (producer..takers)
            .step_by(producers)
            .map(queue_of)
            .collect(),
    };
    let all_producers = receivers.into_iter().enumerate().map(producer);
    all_producers.chain(all_takers).collect()
}

pub(super) async fn exchange(hand: Hand, post: Post) -> Result<Option<Hand>, Failure> {
    match post.role {
        Role::None => Ok(None),
        Role::Producer { credits, takers } => produce(hand, credits, takers).await.map(|()| None),
        Role::Taker { queue, credits } => take(hand, queue, credits).await.map(Some),
    }
}

/// Writes into queues; when it is over, once more for each taker, which may be waiting.
async fn produce(
    hand: Hand,
    mut credits: UnboundedReceiver<usize>,
    takers: Vec<usize>,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            biased;
            _ = hand.clock.over() => break,
            Some(queue) = credits.recv() => hand.out(hand.new_tuple(Tag::Work, queue)).await?,
        }
    }
    for queue in takers {
        hand.out(hand.new_tuple(Tag::Work, queue)).await?;
    }
    Ok(())
}

async fn take(
    mut hand: Hand,
    queue: usize,
    credits: UnboundedSender<usize>,
) -> Result<Hand, Failure> {
    let template = any_of(Tag::Work, queue);
    while !hand.clock.is_over() {
        let began = Instant::now();
        hand.take(&template).await?;
        hand.count(began);
        // The producer may have ended already.
        let _ = credits.send(queue);
    }
    Ok(hand)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Producers, and for each taker its queue.
    fn dealt(workers: usize, producers: Option<usize>, queues: usize) -> (usize, Vec<usize>) {
        let (mut last, mut taken, mut credit) = (Vec::new(), Vec::new(), Vec::new());
        for role in roles(workers, producers, queues) {
            match role {
                Role::None => panic!("everybody has a part"),
                Role::Producer { credits, takers } => {
                    credit.push(credits);
                    last.extend(takers);
                }
                Role::Taker { queue, .. } => taken.push(queue),
            }
        }
        let mut given: Vec<usize> = Vec::new();
        for credits in &mut credit {
            given.extend(std::iter::from_fn(|| credits.try_recv().ok()));
        }
        let sorted = |mut queues: Vec<usize>| {
            queues.sort_unstable();
            queues
        };
        let twice = taken.iter().flat_map(|queue| [*queue; AHEAD]).collect();
        assert_eq!(
            sorted(last),
            sorted(taken.clone()),
            "one last tuple for each"
        );
        assert_eq!(sorted(given), sorted(twice), "and something to begin with");
        (credit.len(), taken)
    }

    #[test]
    fn exchange_every_taker_is_served() {
        assert_eq!(dealt(2, None, QUEUES), (1, vec![0]));
        assert_eq!(dealt(8, Some(3), 1), (3, vec![0; 5]));
        assert_eq!(dealt(5, Some(99), 2), (4, vec![0]));
        let (producers, takers) = dealt(256, None, QUEUES);
        assert_eq!((producers, takers.len(), takers[127]), (128, 128, 31));
    }
}

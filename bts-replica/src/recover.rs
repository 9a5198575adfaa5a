//! A start from a log of very many records, on all cores: this thread reads the store, others read what
//! the records say, and one applies them in their order.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use bts_core::ids::Lsn;
use bts_core::replica::{LogReader, Logged, Record, Replica, Unreplayable};

use crate::machine::Start;

/// Records that are handed over at a time.
const BATCH: usize = 128;
/// Batches that wait for a thread.
const AHEAD: usize = 4;
/// Threads that read what records say: more than this, and the one that applies them is slower.
const READERS_MAX: usize = 3;

type Batch<T> = Vec<(Lsn, T)>;

/// The replica that wrote the log.
pub(crate) fn recover(start: Start<'_>) -> Result<Replica, Unreplayable> {
    let Start {
        options,
        now,
        log,
        out,
    } = start;
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let readers = cores.saturating_sub(1).clamp(1, READERS_MAX);
    thread::scope(|scope| {
        let lane = |_| reader(scope, LogReader::new(options.configuration.clone()));
        let (lanes, read): (Vec<_>, Vec<_>) = (0..readers).map(lane).unzip();
        // Batch after batch goes to lane after lane, and comes back in the same order. The first lane
        // that ends is that of the end of the log, or its reader panicked, and then so does this scope.
        let read = (0..readers)
            .cycle()
            .map_while(move |lane| read.get(lane)?.recv().ok());
        let replica = scope.spawn(move || Replica::recover_read(options, now, read.flatten(), out));
        for lane in lanes.iter().cycle() {
            let batch: Batch<_> = (&mut *log).take(BATCH).collect();
            // Whoever reads no further has an error to tell.
            if batch.is_empty() || lane.send(batch).is_err() {
                break;
            }
        }
        drop(lanes);
        replica.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Starts a thread that reads records.
fn reader<'scope>(
    scope: &'scope Scope<'scope, '_>,
    mut reader: LogReader,
) -> (SyncSender<Batch<Record>>, Receiver<Batch<Logged>>) {
    let (lane, records) = sync_channel::<Batch<Record>>(AHEAD);
    let (done, read) = sync_channel(AHEAD);
    scope.spawn(move || {
        for batch in records {
            let read = |(lsn, record)| (lsn, reader.read(record));
            if done.send(batch.into_iter().map(read).collect()).is_err() {
                break;
            }
        }
    });
    (lane, read)
}

#[cfg(test)]
mod tests {
    use bts_core::ids::{ClientRef, Incarnation, PublicKey, Session, TakeNumber};
    use bts_core::replica::{BadRecord, Outputs};
    use bts_core::time::Time;

    use super::*;
    use crate::driver::tests::settings;
    use crate::run::options;

    const RECORDS: u64 = 10 * (BATCH as u64) + 7;

    /// Starts from records of these numbers, each of which says that more is settled than the one
    /// before it; and returns those that became obsolete.
    fn start(lsns: impl Iterator<Item = u64>) -> Result<Vec<u64>, Unreplayable> {
        let client = ClientRef {
            key: PublicKey([5; 32]),
            session: Session(6),
        };
        let settled = |lsn| (Lsn(lsn), Record::Settled(client, TakeNumber(lsn)));
        let (mut log, mut out) = (lsns.map(settled), Outputs::default());
        recover(Start {
            options: options(&settings(), Incarnation(1)),
            now: Time::ZERO,
            log: &mut log,
            out: &mut out,
        })?;
        Ok(out.obsolete.iter().map(|record| record.lsn.0).collect())
    }

    #[test]
    fn recover_applies_all_records_in_their_order() {
        let obsolete = start(1..=RECORDS).expect("a good log");
        // The last too, as no decision of that client is kept.
        assert_eq!(obsolete, (1..=RECORDS).collect::<Vec<_>>());
        assert_eq!(start(std::iter::empty()), Ok(Vec::new()));
    }

    #[test]
    fn recover_ends_at_the_first_record_that_is_wrong() {
        let bad = |lsn: u64| if lsn >= 700 { lsn - 100 } else { lsn };
        let wrong = start((1..=RECORDS).map(bad)).expect_err("a number comes twice");
        assert_eq!(wrong.lsn, Lsn(600));
        assert_eq!(wrong.why, BadRecord::OutOfOrder(Lsn(699)));
    }
}

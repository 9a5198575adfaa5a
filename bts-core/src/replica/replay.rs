//! Restart: a replica made from its log is bound by all that it ever told anybody, since
//! nothing left it before it was logged and synced. What was not durable is gone with the
//! process: sessions, watches, waiters, reservations, and what was heard of open instances, which
//! those who said it repeat.

use std::sync::Arc;

use thiserror::Error;

use super::ranges::WriterSession;
use super::record::{Change, Record};
use super::store::{Admitted, PackedRoot};
use super::{Options, Outputs, Replica};
use crate::configuration::Configuration;
use crate::crypto::verified::Verifier;
use crate::ids::{Ballot, EntryId, Lsn};
use crate::misbehavior::Forgery;
use crate::time::Time;

/// Why a log cannot be replayed. It was not written by a replica of this configuration, or something
/// changed it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{lsn} of the log cannot be replayed: {why}")]
pub struct Unreplayable {
    /// The record.
    pub lsn: Lsn,
    /// What is wrong with it.
    pub why: BadRecord,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadRecord {
    /// It is none that this cluster's messages lead to.
    #[error(transparent)]
    Forged(#[from] Forgery),
    /// Numbers of records rise.
    #[error("it follows {0}")]
    OutOfOrder(Lsn),
    /// It contradicts the records before it.
    #[error("it contradicts the records before it: {0}")]
    Contradicts(&'static str),
}

/// Reads what the records of a log say, which is most of the work of a replay. The shell vouches for
/// the records, as for its own memory: their signatures are not checked again. Each record can be read
/// by itself, so that who has several threads may use them.
#[derive(Debug)]
pub struct LogReader {
    verifier: Verifier,
    /// That of the last entry: neighbours share it.
    session: Option<Arc<WriterSession>>,
}

/// A record that was read, or what is wrong with it.
#[derive(Debug)]
pub struct Logged(Option<Result<Step, Forgery>>);

/// What a record says.
#[derive(Debug)]
enum Step {
    /// An entry, ready to be put where it belongs: most of what is in a large log.
    Entry(PackedRoot),
    /// Anything else.
    Other(Change),
}

impl LogReader {
    /// A reader of logs of this configuration.
    pub fn new(configuration: Arc<Configuration>) -> Self {
        Self {
            verifier: Verifier::of_own_log(configuration),
            session: None,
        }
    }

    /// Reads a record.
    pub fn read(&mut self, record: Record) -> Logged {
        let is_kept = !is_forgotten(&record);
        Logged(is_kept.then(|| self.step(record)))
    }

    fn step(&mut self, record: Record) -> Result<Step, Forgery> {
        let Record::Entry(signed) = record else {
            return Change::from_record(&self.verifier, record).map(Step::Other);
        };
        let entry = self.verifier.entry(signed)?;
        let known = self.session.take();
        let known = known.filter(|session| session.seq_of(&entry.id).is_some());
        let session = known.unwrap_or_else(|| {
            let (session, _) = WriterSession::of(&entry.id).expect("a verified entry is a root");
            Arc::new(session)
        });
        self.session = Some(Arc::clone(&session));
        Ok(Step::Entry(PackedRoot::pack(&entry, session)))
    }
}

impl Replica {
    /// A replica as it was when it wrote the last of these records, all of them durable.
    pub fn recover(
        options: Options,
        now: Time,
        log: impl IntoIterator<Item = (Lsn, Record)>,
        out: &mut Outputs,
    ) -> Result<Self, Unreplayable> {
        let mut reader = LogReader::new(options.configuration.clone());
        let log = log.into_iter();
        let read = log.map(|(lsn, record)| (lsn, reader.read(record)));
        Self::recover_read(options, now, read, out)
    }

    /// The same from records that were read, in the order of the log.
    pub fn recover_read(
        options: Options,
        now: Time,
        log: impl IntoIterator<Item = (Lsn, Logged)>,
        out: &mut Outputs,
    ) -> Result<Self, Unreplayable> {
        let mut replica = Self::new(options);
        replica.now = now;
        replica.store.begin_replay();
        for (lsn, logged) in log {
            replica
                .replay(lsn, logged)
                .map_err(|why| Unreplayable { lsn, why })?;
        }
        replica.store.end_replay();
        if replica.stopped().is_some() {
            return Ok(replica);
        }
        replica.settle_forgotten();
        replica.store.drop_leftovers();
        replica.store.unsettle_idle();
        replica.reopen_all(out);
        out.obsolete.append(&mut replica.store.take_obsolete());
        Ok(replica)
    }

    fn replay(&mut self, lsn: Lsn, Logged(step): Logged) -> Result<(), BadRecord> {
        let last = self.gate.last();
        if !self.gate.replay(lsn) {
            return Err(BadRecord::OutOfOrder(last));
        }
        let Some(step) = step.transpose()? else {
            return Ok(());
        };
        let admitted = match &step {
            Step::Entry(entry) => self.store.admits_entry(&entry.id()),
            Step::Other(change) => self.store.admits(change),
        };
        match (admitted.map_err(BadRecord::Contradicts)?, step) {
            (Admitted::Fits, Step::Entry(entry)) => self.store.load(lsn, entry),
            (Admitted::Fits, Step::Other(change)) => self.redo(lsn, change),
            (Admitted::Leftover, _) => self.store.discard(vec![lsn]),
        }
        Ok(())
    }

    fn redo(&mut self, lsn: Lsn, change: Change) {
        let Change::Decided(decided) = &change else {
            return self.store.apply(lsn, &change);
        };
        let held = self.contents_of(decided.id());
        self.store.apply(lsn, &change);
        self.applied(decided, held);
    }

    /// Instances that are bound and not over run their timers again.
    fn reopen_all(&mut self, out: &mut Outputs) {
        let bound: Vec<_> = self.store.bound_ids().cloned().collect();
        for id in bound {
            self.reopen(&id, out);
        }
        self.count("restart");
    }

    fn reopen(&mut self, id: &EntryId, out: &mut Outputs) {
        let Some(bound) = self.store.bound(id) else {
            return;
        };
        let (epoch, promised) = (bound.epoch, bound.instance.promised());
        let promise = bound.promise.clone();
        let named = promise.iter().flat_map(|(_, takes)| takes.clone());
        let takes = bound.first.clone().into_iter().chain(bound.locked.clone());
        let takes: Vec<_> = takes.chain(named).collect();
        self.open_contest(id, epoch, None);
        for take in takes {
            if self.allows(&take) {
                self.learn(take, None);
            }
        }
        let window_ends = self.now + self.window_of(promised);
        if let Some(contest) = self.contests.get_mut(id) {
            match promised {
                Ballot::ZERO => contest.window_ends = Some(window_ends),
                _ => contest.repeat_at = Some(window_ends),
            }
        }
        self.arm_contest(id);
        if let Some((promise, takes)) = promise {
            self.hear(promise, takes, out);
        }
    }
}

/// No record is, unless a rule is broken on purpose.
fn is_forgotten(record: &Record) -> bool {
    match record {
        Record::FirstVote(_) => mutant!(FirstVoteForgotten),
        Record::Entered(..) => mutant!(PromiseForgotten),
        Record::Prepared(..) => mutant!(PrepareVoteForgotten),
        Record::Locked(..) => mutant!(LockForgotten),
        Record::Entry(_)
        | Record::Decided(_)
        | Record::Released(_)
        | Record::ForgotRoots(..)
        | Record::ForgotPut(_)
        | Record::Skipped(_)
        | Record::Settled(..)
        | Record::Stopped(_)
        | Record::Ended(_) => false,
    }
}

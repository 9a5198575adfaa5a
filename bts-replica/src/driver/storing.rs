//! The driver and its store: commits, what waits for them, and a store that has no room.

use std::time::Duration;

use bts_core::ids::{Lsn, ReplicaId};
use bts_core::memory::{Opinion, Standing};
use bts_core::replica::{Input, Options, Outputs, Unreplayable};
use bts_core::time::Time;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Driver;
use crate::hello::Place;
use crate::machine::{Machine, Start};
use crate::shell::DISOWNED;
use crate::store::{Batch, Store, StoreError};
use crate::writer::{Done, Writer};

/// How often it is looked whether there is room again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often what peers told of their logs is stored, when something else is.
const POSITIONS_INTERVAL: Duration = Duration::from_secs(1);

/// Makes machines from stores.
pub(crate) struct Maker<S, F> {
    options: Options,
    make: F,
    employ: fn(S) -> std::io::Result<Writer<S>>,
}

/// A commit under way.
#[derive(Debug)]
pub(super) struct Flight {
    has_peers: bool,
    confirms: bool,
    greeters: Vec<Greeter>,
}

/// A connection to or from a peer that is not answered before the store has what was met so far.
#[derive(Debug)]
pub(super) struct Greeter {
    pub(super) peer: ReplicaId,
    pub(super) answer: oneshot::Sender<Place>,
}

/// Since the store found no room.
#[derive(Debug)]
pub(super) struct Frozen {
    since: Instant,
    /// When it is looked at again.
    pub(super) look_at: Instant,
}

impl<S: Store, F> Maker<S, F> {
    /// One that calls `make`.
    pub(crate) fn new(
        options: Options,
        make: F,
        employ: fn(S) -> std::io::Result<Writer<S>>,
    ) -> Self {
        Self {
            options,
            make,
            employ,
        }
    }

    /// The machine that wrote what is in the store, and its last record.
    pub(super) fn make<M>(
        &mut self,
        store: &mut S,
        now: Time,
        out: &mut Outputs,
    ) -> Result<(M, Lsn), StoreError>
    where
        F: FnMut(Start<'_>) -> Result<M, Unreplayable>,
    {
        let Self { options, make, .. } = self;
        // What clients were told of watches before says nothing about this one (B4).
        options.run = rand::random();
        let (mut made, mut last) = (None, Lsn(0));
        let began = Instant::now();
        let count = store.replay(&mut |log| {
            let mut log = log.inspect(|(lsn, _)| last = *lsn);
            made = Some(make(Start {
                options: options.clone(),
                now,
                log: &mut log,
                out: &mut *out,
            }));
        })?;
        if count > 0 {
            tracing::info!("{count} records replayed in {:.1?}", began.elapsed());
        }
        match made {
            Some(Ok(machine)) => Ok((machine, last)),
            Some(Err(why)) => Err(store.unreplayable(why)),
            None => unreachable!("a store that is replayed calls back"),
        }
    }

    pub(super) fn employ(&self, store: S) -> Result<Writer<S>, StoreError> {
        (self.employ)(store).map_err(|error| StoreError::Engine {
            path: "bts-store".into(),
            what: format!("the thread of the store cannot be started: {error}"),
        })
    }
}

impl<M: Machine, S: Store, F> Driver<M, S, F>
where
    F: FnMut(Start<'_>) -> Result<M, Unreplayable>,
{
    /// What the core wants logged goes into the next commit.
    pub(super) fn collect(&mut self) {
        self.batch.records.append(&mut self.out.records);
        self.batch.obsolete.append(&mut self.out.obsolete);
    }

    /// Begins a commit, if there is something to commit and nothing under way.
    pub(super) fn commit(&mut self) {
        if self.writer.is_busy() || self.frozen.is_some() || self.batch.is_idle() {
            return;
        }
        self.note_positions();
        let batch = std::mem::take(&mut self.batch);
        self.flight = Some(Flight {
            has_peers: batch.peers.is_some(),
            confirms: batch.confirmed,
            greeters: std::mem::take(&mut self.greeters),
        });
        self.writer.commit(batch);
    }

    /// How far the logs of peers are durable, as the streams of their decisions tell, goes with a commit
    /// now and then: so it is noticed when one comes back with an older copy of its store (A8).
    fn note_positions(&mut self) {
        if self.positions_noted.elapsed() < POSITIONS_INTERVAL {
            return;
        }
        self.positions_noted = Instant::now();
        for peer in self.peers.keys() {
            let told = self.machine.stream_next(*peer).saturating_sub(1);
            self.shell.gate.hear(*peer, Lsn(told));
        }
        if let Some(peers) = self.shell.gate.news() {
            self.batch.peers = Some(peers);
        }
    }

    pub(super) fn on_done(&mut self, done: Option<Done<S>>) -> Result<(), StoreError> {
        match done {
            Some(Done::Committed(last)) => self.on_committed(last),
            Some(Done::Failed(store, error @ StoreError::Full { .. })) => {
                return self.freeze(store, &error);
            }
            Some(Done::Failed(_, error)) => return Err(error),
            Some(Done::Room(Ok(()))) => self.thaw(),
            Some(Done::Room(Err(error))) => {
                tracing::debug!("no room yet: {error}");
                if let Some(frozen) = &mut self.frozen {
                    frozen.look_at = Instant::now() + LOOK_INTERVAL;
                }
            }
            Some(Done::Ended(_)) | None => {
                let (path, what) = ("bts-store".into(), "the store panicked".into());
                return Err(StoreError::Engine { path, what });
            }
        }
        Ok(())
    }

    fn on_committed(&mut self, last: Option<Lsn>) {
        if let Some(last) = last.filter(|last| *last > self.position) {
            self.position = last;
            self.handle(Input::Synced(last));
        }
        let Some(flight) = self.flight.take() else {
            return;
        };
        if flight.confirms {
            tracing::info!("enough peers remember this store: it is used from now on");
            let before = self.shell.standing();
            self.shell.learn(Standing::confirmed);
            self.begin_after(before);
        }
        for greeter in flight.greeters {
            self.answer(greeter);
        }
    }

    /// A peer is answered when the store has what was met so far: it counts on being remembered.
    pub(super) fn on_greet(&mut self, greeter: Greeter) {
        if let Some(peers) = self.shell.gate.news() {
            self.batch.peers = Some(peers);
        }
        if self.batch.peers.is_some() {
            return self.greeters.push(greeter);
        }
        match &mut self.flight {
            Some(flight) if flight.has_peers => flight.greeters.push(greeter),
            Some(_) | None => self.answer(greeter),
        }
    }

    fn answer(&self, greeter: Greeter) {
        let place = Place {
            stream_next: self.machine.stream_next(greeter.peer),
            position: self.position,
        };
        // Whoever asked may have gone.
        let _ = greeter.answer.send(place);
    }

    /// What the peers think of this store: it may be used, once it says so itself; or it has lost something,
    /// and nobody is served, nothing is promised any more (A8).
    pub(super) fn on_judged(&mut self, opinion: Opinion) {
        let before = self.shell.standing();
        self.batch.confirmed |= self.shell.learn(|standing| standing.judged(opinion));
        self.begin_after(before);
        if before != Standing::Disowned && self.shell.standing() == Standing::Disowned {
            self.end_service();
        }
    }

    /// The machine hears of the peers when it begins to take part.
    fn begin_after(&mut self, before: Standing) {
        if !before.takes_part() && self.takes_part() {
            self.announce_peers();
        }
    }

    fn end_service(&mut self) {
        tracing::error!(
            "THIS REPLICA HAS LOST ITS MEMORY: {} peers say that its store is not, or not all \
             of, what it was. It may have forgotten promises, so it serves nobody any more. \
             Replace it: see `When a replica lost its memory` in docs/operations.md",
            self.shell.configuration().size().fact_quorum()
        );
        self.batch.confirmed = false;
        for client in self.clients.keys().copied().collect::<Vec<_>>() {
            if let Some(connection) = self.drop_client(&client) {
                connection.closer.close(DISOWNED);
            }
        }
    }

    fn announce_peers(&mut self) {
        let peers = self.peers.iter();
        let peers: Vec<_> = peers.map(|(peer, (_, next))| (*peer, *next)).collect();
        for (peer, next) in peers {
            self.handle(Input::PeerConnected(peer, next));
        }
    }

    /// The disk is full: the machine goes back to what is durable, and promises nothing.
    fn freeze(&mut self, mut store: S, error: &StoreError) -> Result<(), StoreError> {
        tracing::error!(
            "{error}. Until there is room this replica stores nothing, so it votes for nothing and \
             answers reads only"
        );
        self.batch = Batch::default();
        self.flight = None;
        self.greeters.clear();
        self.shell.gate.forget_handed_over();
        self.out = Outputs::default();
        let (now, mut out) = (self.now(), Outputs::default());
        let (machine, position) = self.maker.make(&mut store, now, &mut out)?;
        (self.machine, self.position, self.out) = (machine, position, out);
        self.writer = self.maker.employ(store)?;
        let now = Instant::now();
        self.frozen = Some(Frozen {
            since: now,
            look_at: now + LOOK_INTERVAL,
        });
        self.handle(Input::Frozen(Some(error.to_string())));
        for client in self.clients.keys().copied().collect::<Vec<_>>() {
            self.handle(Input::ClientConnected(client));
        }
        if self.takes_part() {
            self.announce_peers();
        }
        Ok(())
    }

    /// Looks whether there is room again.
    pub(super) fn find_room(&mut self) {
        if let Some(frozen) = &mut self.frozen {
            frozen.look_at = Instant::now() + LOOK_INTERVAL;
        }
        if !self.writer.is_busy() {
            self.writer.find_room();
        }
    }

    fn thaw(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            tracing::warn!("there is room again, after {:.1?}", frozen.since.elapsed());
            self.handle(Input::Frozen(None));
            // What was to be confirmed went with what found no room.
            self.on_judged(self.shell.opinion());
        }
    }

    /// Commits what waits, and closes the store.
    pub(crate) async fn close(mut self) -> Result<(), StoreError> {
        loop {
            self.collect();
            self.commit();
            if !self.writer.is_busy() {
                break;
            }
            let done = self.writer.done().await;
            self.on_done(done)?;
        }
        match self.writer.end().await {
            Some(store) => store.close(),
            None => Ok(()),
        }
    }
}

//! From settings to a running replica, and to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bts_certs::{LinkError, Listener};
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::Incarnation;
use bts_core::memory::{Peers, Standing};
use bts_core::replica::{Options, Unreplayable};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::driver::{Driver, Maker};
use crate::endpoint::{Again, accept, listen};
use crate::machine::{Machine, Start};
use crate::peers::keep_connected;
use crate::settings::{Durability, MemberError, Settings};
use crate::shell::Shell;
use crate::store::{DiskStore, Found, MemoryStore, Store, StoreError};
use crate::writer::Writer;
use crate::{handover, home};

/// How long the goodbyes may take. They are on their way at once; only lost ones are repeated.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(1);

/// Why a replica stopped, or did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: LinkError,
    },
    /// The store cannot be used, or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cluster file is of a later configuration than what the data directory holds.
    #[error(
        "there is no {}: configuration {number} has not begun at this replica. If it was replaced \
         just now, start it with the cluster file of before and run `bts admin replace` again; if its data \
         directory is lost, it has to be replaced", dir.display()
    )]
    NotBegun {
        /// Where its store would be.
        dir: PathBuf,
        /// Which configuration.
        number: u64,
    },
    /// The next configuration has no place for it.
    #[error("not a member of the next configuration: {0}")]
    Member(#[from] MemberError),
    /// The runtime or the signals of the process cannot be set up.
    #[error("cannot set up the process: {0}")]
    Process(io::Error),
}

/// Runs a replica in this task until `shutdown` is over, then closes all connections, within a
/// second, and the store; from one configuration of the cluster to the next, as operators change it. `make`
/// makes what is driven from its log: [`crate::replica`], or something else; it is called again when the
/// store had to be opened again. To be called within a tokio runtime, best one of a single thread.
pub async fn run<M: Machine>(
    mut settings: Settings,
    mut make: impl FnMut(Start<'_>) -> Result<M, Unreplayable>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let (mut shutdown, mut again) = (pin!(shutdown), Again::No);
    loop {
        let one = (settings.clone(), again);
        let end = run_in_configuration(one, &mut make, &mut shutdown).await?;
        again = Again::Yes;
        let Durability::Sync(home) = &settings.durability else {
            return Ok(());
        };
        if end == End::Shutdown {
            return Ok(());
        }
        let home = home.clone();
        match handover::serve(settings.clone(), &home, &mut shutdown).await? {
            Some(next) => settings = settings.in_configuration(next)?,
            None => return Ok(()),
        }
    }
}

/// Why a replica does not run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was told to stop.
    Shutdown,
    /// Its configuration has ended.
    Configuration,
}

async fn run_in_configuration<M: Machine>(
    (settings, again): (Settings, Again),
    make: impl FnMut(Start<'_>) -> Result<M, Unreplayable>,
    shutdown: impl Future<Output = ()>,
) -> Result<End, RunError> {
    match settings.durability.clone() {
        Durability::Memory => {
            let store = Opened {
                store: MemoryStore::default(),
                incarnation: Incarnation(rand::random()),
                peers: Peers::new(),
                is_confirmed: false,
            };
            run_with((settings, again), store, Writer::memory, make, shutdown).await
        }
        Durability::Sync(home) => {
            let dir = dir_of(&settings, &home)?;
            let (store, found) = DiskStore::open(&dir, &settings.owner())?;
            introduce_store(&dir, &store, &found);
            let store = Opened {
                incarnation: store.incarnation(),
                peers: store.peers().clone(),
                is_confirmed: store.is_confirmed(),
                store,
            };
            run_with((settings, again), store, Writer::thread, make, shutdown).await
        }
    }
}

/// Where the store is. That of a later configuration is made by an operator, but for a replica that begins
/// with nothing: all others hold what was acknowledged before.
fn dir_of(settings: &Settings, home: &Path) -> Result<PathBuf, RunError> {
    let number = settings.cluster.configuration().number();
    let dir = home::store_dir(home, number);
    let founding = settings.cluster.founding();
    let begins_empty = founding.is_none_or(|founding| founding.empty.contains(&settings.id));
    match begins_empty || dir.exists() {
        true => Ok(dir),
        false => Err(RunError::NotBegun { dir, number }),
    }
}

/// A store, and what it says.
struct Opened<S> {
    store: S,
    incarnation: Incarnation,
    peers: Peers,
    is_confirmed: bool,
}

async fn run_with<M: Machine, S: Store>(
    (settings, again): (Settings, Again),
    opened: Opened<S>,
    employ: fn(S) -> io::Result<Writer<S>>,
    make: impl FnMut(Start<'_>) -> Result<M, Unreplayable>,
    shutdown: impl Future<Output = ()>,
) -> Result<End, RunError> {
    let Opened {
        store,
        incarnation,
        peers,
        is_confirmed,
    } = opened;
    let standing = Standing::of_store(is_confirmed);
    let shell = Arc::new(Shell::new(settings, incarnation, peers, standing));
    let listener = listen(&shell.settings, again).await?;
    introduce(&shell, &listener, incarnation);
    let maker = Maker::new(options(&shell.settings, incarnation), make, employ);
    let mut driver = Driver::start(shell.clone(), store, maker)?;
    let (stop, stopped) = watch::channel(None);
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(shell.clone(), listener, stopped.clone()));
    for peer in shell.is_up.keys() {
        tasks.spawn(keep_connected(shell.clone(), *peer, stopped.clone()));
    }
    let result = tokio::select! {
        () = shutdown => Ok(End::Shutdown),
        ended = driver.run() => ended.map(|()| End::Configuration),
    };
    tracing::info!("stopping");
    let closed = match result {
        Ok(end) => driver.close().await.map(|()| end),
        Err(error) => Err(error),
    };
    let goodbye = match &closed {
        Ok(End::Configuration) => "this configuration of the cluster has ended",
        Ok(End::Shutdown) | Err(_) => "this replica stops",
    };
    stop.send_replace(Some(goodbye.into()));
    let goodbyes = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(SHUTDOWN_PATIENCE, goodbyes).await;
    Ok(closed?)
}

/// Runs a replica in this process: with a runtime of its own, until SIGTERM or SIGINT.
pub fn serve<M: Machine>(
    settings: Settings,
    make: impl FnMut(Start<'_>) -> Result<M, Unreplayable>,
) -> Result<(), RunError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Process)?
        .block_on(async {
            let signal = signal().map_err(RunError::Process)?;
            run(settings, make, signal).await
        })
}

pub(crate) fn options(settings: &Settings, incarnation: Incarnation) -> Options {
    Options {
        id: settings.id,
        configuration: settings.cluster.configuration().clone(),
        key: settings.identity.signing_key().clone(),
        incarnation,
        run: rand::random(),
        window: settings.window,
        reservation: settings.reservation,
        limits: settings.limits.clone(),
        roots: VerifiedRoots::default(),
    }
}

/// Who am I, in one line; and what it means that nothing is stored.
fn introduce(shell: &Shell, listener: &Listener, incarnation: Incarnation) {
    let Settings {
        id,
        cluster,
        identity,
        listen,
        ..
    } = &shell.settings;
    let size = cluster.configuration().size();
    let address = listener.local_addr().unwrap_or(*listen);
    tracing::info!(
        "{} is replica {id} of cluster {}: n = {}, f = {}, q = {}, F = {}; listening on {address}",
        identity.identity(),
        cluster.id(),
        size.replicas(),
        size.faults(),
        size.ack_quorum(),
        size.fast_quorum(),
    );
    if shell.settings.durability == Durability::Memory {
        tracing::warn!(
            "durability = memory: NOTHING IS STORED. A replica that stops has lost its memory and its \
             promises; its peers remember its incarnation ({incarnation}) and will refuse the next one"
        );
    }
}

/// What was found on the disk.
fn introduce_store(dir: &Path, store: &DiskStore, found: &Found) {
    let (path, incarnation) = (dir.display(), store.incarnation());
    match found {
        Found::Nothing => tracing::info!(
            "{path}: a new store, incarnation {incarnation}. It is used as soon as enough peers \
             remember it"
        ),
        Found::Closed => tracing::info!("{path}: incarnation {incarnation}, as it was closed"),
        Found::Left => tracing::warn!(
            "{path}: incarnation {incarnation}; it was not closed, so the process or the machine \
             ended at once. What had not been synced then, had not been promised either"
        ),
    }
}

/// Over at the first SIGTERM or SIGINT.
#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Over at the first Ctrl-C.
#[cfg(not(unix))]
fn signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

//! From settings to a running replica, and to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bts_certs::{LinkError, Listener};
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::Incarnation;
use bts_core::replica::Options;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::driver::Driver;
use crate::endpoint::{accept, listen};
use crate::machine::Machine;
use crate::peers::keep_connected;
use crate::settings::Settings;
use crate::shell::Shell;
use crate::store::MemoryStore;

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
    /// The store failed; what it holds is unknown now.
    #[error("the store failed, so nothing more can be promised: {0}")]
    Store(io::Error),
    /// The runtime or the signals of the process cannot be set up.
    #[error("cannot set up the process: {0}")]
    Process(io::Error),
}

/// Runs a replica in this task until `shutdown` is over, then closes all connections, within a
/// second. `machine` makes what is driven: `Replica::new`, or something that wraps it. To be called
/// within a tokio runtime, best one of a single thread.
pub async fn run<M: Machine>(
    settings: Settings,
    machine: impl FnOnce(Options) -> M,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let incarnation = Incarnation(rand::random());
    let machine = machine(options(&settings, incarnation));
    let shell = Arc::new(Shell::new(settings, incarnation));
    let listener = listen(&shell).map_err(|source| RunError::Listen {
        address: shell.settings.listen,
        source,
    })?;
    introduce(&shell, &listener, incarnation);
    let (stop, stopped) = watch::channel(None);
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(shell.clone(), listener, stopped.clone()));
    for peer in shell.is_up.keys() {
        tasks.spawn(keep_connected(shell.clone(), *peer, stopped.clone()));
    }
    let mut driver = Driver::new(shell, machine, MemoryStore::default());
    let result = tokio::select! {
        () = shutdown => Ok(()),
        error = driver.run() => Err(RunError::Store(error)),
    };
    tracing::info!("stopping");
    stop.send_replace(Some("this replica stops".into()));
    let goodbyes = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(SHUTDOWN_PATIENCE, goodbyes).await;
    result
}

/// Runs a replica in this process: with a runtime of its own, until SIGTERM or SIGINT.
pub fn serve<M: Machine>(
    settings: Settings,
    machine: impl FnOnce(Options) -> M,
) -> Result<(), RunError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Process)?
        .block_on(async {
            let signal = signal().map_err(RunError::Process)?;
            run(settings, machine, signal).await
        })
}

fn options(settings: &Settings, incarnation: Incarnation) -> Options {
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
    tracing::warn!(
        "durability = memory: nothing is stored. A replica that stops has lost its memory and its \
         promises; its peers remember its incarnation ({incarnation}) and will refuse the next one"
    );
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

//! Replicas that misbehave, as real processes: the shell of `bts-replica` around a machine of
//! [`adversary`](crate::adversary), or no replica at all but bytes.
//!
//! [`serve`] is to a hostile replica what `bts_replica::serve` is to a correct one.

mod behaviour;
mod noise;
mod shelled;

use std::future::Future;
use std::io;

use bts_replica::{RunError, Settings, Start};

pub use behaviour::{Behaviour, UnknownBehaviour};

use noise::Noise;
use shelled::Shelled;

/// Runs a hostile replica in this task until `shutdown` is over.
pub async fn run(
    settings: Settings,
    behaviour: Behaviour,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    tracing::warn!("this replica is hostile: {behaviour}");
    match Noise::of(behaviour) {
        Some(noise) => noise::run(settings, noise, shutdown).await,
        None => {
            let machine = |start: Start<'_>| Ok(Shelled::new(start.options, behaviour));
            bts_replica::run(settings, machine, shutdown).await
        }
    }
}

/// Runs a hostile replica in this process: with a runtime of its own, until SIGTERM or SIGINT.
pub fn serve(settings: Settings, behaviour: Behaviour) -> Result<(), RunError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Process)?
        .block_on(async {
            let signal = signal().map_err(RunError::Process)?;
            run(settings, behaviour, signal).await
        })
}

#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
}

#[cfg(not(unix))]
fn signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

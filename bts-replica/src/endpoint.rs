//! The door: accepts connections until the replica stops.

use std::sync::Arc;

use bts_certs::{LinkLimits, Listener};
use bts_core::limits::CLIENT_FRAME_BYTES_MAX;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::run::RunError;
use crate::session::serve;
use crate::settings::Settings;
use crate::shell::Shell;

/// How long the socket of a listener that is closed may still be there.
const REBIND_PATIENCE: Duration = Duration::from_secs(10);
/// How long until it is tried again.
const REBIND_PAUSE: Duration = Duration::from_millis(5);

/// Listens where the settings say. What is written on accepted connections are answers to clients,
/// and to peers only that to their Hello.
pub(crate) async fn listen(settings: &Settings, again: Again) -> Result<Listener, RunError> {
    let limits = LinkLimits {
        frame_bytes_max: CLIENT_FRAME_BYTES_MAX,
        queue_bytes_max: settings.connections.queue_bytes,
    };
    bind(settings, limits, again).await
}

/// Whether this process has listened there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It has not: somebody else who does is a mistake of the operator's.
    No,
    /// It has, until just now: its socket may live a moment longer than its listener.
    Yes,
}

/// Listens where the settings say.
pub(crate) async fn bind(
    settings: &Settings,
    limits: LinkLimits,
    again: Again,
) -> Result<Listener, RunError> {
    let address = settings.listen;
    let began = Instant::now();
    loop {
        match Listener::bind(address, &settings.identity, limits) {
            Ok(listener) => return Ok(listener),
            Err(_) if again == Again::Yes && began.elapsed() < REBIND_PATIENCE => {
                sleep(REBIND_PAUSE).await;
            }
            Err(source) => return Err(RunError::Listen { address, source }),
        }
    }
}

/// Serves whoever comes, each in a task of its own, until `stop` says why not any more.
pub(crate) async fn accept(
    shell: Arc<Shell>,
    mut listener: Listener,
    mut stop: watch::Receiver<Option<String>>,
) {
    let mut sessions = JoinSet::new();
    let reason = loop {
        tokio::select! {
            reason = stopped(&mut stop) => break reason,
            Some(_) = sessions.join_next() => {}
            peer = listener.accept() => match peer {
                Some(peer) => drop(sessions.spawn(serve(shell.clone(), peer))),
                None => break String::new(),
            },
        }
    };
    listener.shutdown(&reason).await;
}

/// Waits until the replica stops, and says why.
pub(crate) async fn stopped(stop: &mut watch::Receiver<Option<String>>) -> String {
    match stop.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => "this replica stops".into(),
    }
}

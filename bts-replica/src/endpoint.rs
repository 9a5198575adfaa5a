//! The door: accepts connections until the replica stops.

use std::sync::Arc;

use bts_certs::{LinkError, LinkLimits, Listener};
use bts_core::limits::CLIENT_FRAME_BYTES_MAX;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::session::serve;
use crate::shell::Shell;

/// Listens where the settings say. What is written on accepted connections are answers to clients,
/// and to peers only that to their Hello.
pub(crate) fn listen(shell: &Shell) -> Result<Listener, LinkError> {
    let limits = LinkLimits {
        frame_bytes_max: CLIENT_FRAME_BYTES_MAX,
        queue_bytes_max: shell.settings.connections.queue_bytes,
        ..LinkLimits::default()
    };
    Listener::bind(shell.settings.listen, &shell.settings.identity, limits)
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

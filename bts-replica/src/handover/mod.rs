//! A replica whose configuration has ended: it votes, answers and dials no more. It waits for
//! an operator, hands over all that it holds, and is given what the next configuration begins with.

mod archive;
mod beginning;
mod talk;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use bts_certs::cluster::Cluster;
use bts_certs::{Authenticated, LinkLimits};
use bts_core::codec;
use bts_core::crypto::sign::{PROTOCOL_VERSION, Signer};
use bts_core::limits::PEER_FRAME_BYTES_MAX;
use bts_core::message::{AdminReply, AdminRequest, HelloReply, HelloRole, Standing};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::endpoint::{Again, bind};
use crate::hello::admit_operator;
use crate::run::RunError;
use crate::session::{HELLO_BYTES_MAX, read_hello};
use crate::settings::Settings;
use archive::Archive;
use beginning::Beginning;
use talk::refuse;
pub(crate) use talk::{hear, say};

/// What everybody but operators is told.
const ENDED: &str = "this configuration of the cluster has ended: a member was replaced, or is being \
                     replaced. Ask the operator for the next cluster file";

/// What the conversations share.
struct Desk {
    settings: Settings,
    archive: Archive,
    /// The beginning that is being received. One at a time, the newest.
    beginning: Mutex<Option<Beginning>>,
    begun: mpsc::Sender<Cluster>,
}

/// Serves operators until the next configuration has begun here, or `shutdown` is over (`None`).
pub(crate) async fn serve(
    settings: Settings,
    home: &Path,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<Cluster>, RunError> {
    let archive = Archive::open(&settings, home)?;
    let limits = LinkLimits {
        frame_bytes_max: PEER_FRAME_BYTES_MAX,
        ..LinkLimits::default()
    };
    let mut listener = bind(&settings, limits, Again::Yes).await?;
    tracing::warn!(
        "configuration {} has ended for replica {}: it waits for an operator (bts admin replace)",
        settings.cluster.configuration().number(),
        settings.id,
    );
    let (begun, mut beginnings) = mpsc::channel(1);
    let desk = Arc::new(Desk {
        settings,
        archive,
        beginning: Mutex::new(None),
        begun,
    });
    let mut visits = JoinSet::new();
    tokio::pin!(shutdown);
    let next = loop {
        tokio::select! {
            () = &mut shutdown => break None,
            next = beginnings.recv() => break next,
            Some(_) = visits.join_next() => {}
            visitor = listener.accept() => match visitor {
                Some(visitor) => drop(visits.spawn(receive(desk.clone(), visitor))),
                None => break None,
            },
        }
    };
    listener.shutdown("this replica begins anew").await;
    visits.shutdown().await;
    Ok(next)
}

async fn receive(desk: Arc<Desk>, visitor: Authenticated) {
    let Authenticated { identity, mut link } = visitor;
    link.reader.set_frame_bytes_max(HELLO_BYTES_MAX);
    let hello = match read_hello(&mut link.reader).await {
        Ok(hello) => hello,
        Err(why) => return link.closer.close(&why),
    };
    let context = desk.settings.cluster.configuration().signing_context();
    let is_ours = hello.version == PROTOCOL_VERSION && hello.cluster == context.cluster;
    if !is_ours || hello.role != HelloRole::Operator {
        return refuse(link, ENDED).await;
    }
    if let Err(error) = admit_operator(&desk.settings.cluster, &identity) {
        return refuse(link, &error.to_string()).await;
    }
    let welcome = HelloReply::Ack {
        version: PROTOCOL_VERSION,
        replica: desk.settings.id,
        incarnation: desk.archive.incarnation(),
        stream_next: 0,
        position: desk.archive.position(),
        run: 0,
    };
    // It fails only if the link has ended, and then reading ends too.
    let _ = link.writer.try_send(codec::encode(&welcome));
    while let Some(request) = hear(&mut link).await {
        say(&link, &desk.answer(request).await);
    }
}

impl Desk {
    async fn answer(&self, request: AdminRequest) -> AdminReply {
        match request {
            // It has stopped, for whatever: the operator sees for what.
            AdminRequest::Standing | AdminRequest::Stop { .. } => {
                AdminReply::Standing(self.standing())
            }
            AdminRequest::Seal => AdminReply::Sealed {
                seal: self.archive.seal(&self.signer()),
                records: self.archive.len(),
            },
            AdminRequest::Records { skip } => AdminReply::Records(self.archive.page(skip)),
            AdminRequest::Begin { cluster } => self.begin(cluster).await,
            AdminRequest::Part { skip, records } => self.take(skip, records).await,
            AdminRequest::Finish => self.finish().await,
        }
    }

    fn standing(&self) -> Standing {
        let configuration = self.settings.cluster.configuration();
        Standing {
            configuration: configuration.signing_context().configuration,
            number: configuration.number(),
            stopped: Some(self.archive.purpose()),
        }
    }

    fn signer(&self) -> Signer {
        let context = *self.settings.cluster.configuration().signing_context();
        Signer::new(self.settings.identity.signing_key().clone(), context)
    }

    async fn begin(&self, text: String) -> AdminReply {
        let mut beginning = self.beginning.lock().await;
        // Its store is closed before another one takes its place.
        *beginning = None;
        match Beginning::new(&self.settings, self.archive.purpose(), text) {
            Ok(new) => {
                *beginning = Some(new);
                AdminReply::Taken(0)
            }
            Err(why) => AdminReply::Refused(why),
        }
    }

    async fn take(&self, skip: u64, records: Vec<serde_bytes::ByteBuf>) -> AdminReply {
        match self.beginning.lock().await.as_mut() {
            Some(beginning) => match beginning.take(skip, records) {
                Ok(taken) => AdminReply::Taken(taken),
                Err(why) => AdminReply::Refused(why),
            },
            None => AdminReply::Refused("nothing was begun".into()),
        }
    }

    async fn finish(&self) -> AdminReply {
        let Some(beginning) = self.beginning.lock().await.take() else {
            return AdminReply::Refused("nothing was begun".into());
        };
        match beginning.finish() {
            Ok(cluster) => {
                let begun = self.begun.clone();
                // The answer leaves before the listener closes.
                tokio::spawn(async move {
                    tokio::time::sleep(talk::FAREWELL).await;
                    let _ = begun.send(cluster).await;
                });
                AdminReply::Begun
            }
            Err(why) => AdminReply::Refused(why),
        }
    }
}

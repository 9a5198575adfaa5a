//! One connection that somebody else dialed: from its Hello to its end.
//!
//! Before the Hello a frame may be short only, and must come soon. After it frames are decoded here,
//! in the task of their connection, so that a stranger's bytes cost the stranger's time; what is no
//! message ends the connection, with a reason, and is counted against the key.

use std::sync::Arc;
use std::time::Duration;

use bts_certs::{Authenticated, FrameReader, Identity, Link, LinkError};
use bts_core::codec::{self, DecodeError};
use bts_core::ids::{ClientRef, PublicKey, ReplicaId};
use bts_core::limits::{CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX};
use bts_core::memory;
use bts_core::message::{AdminReply, AdminRequest, Hello, HelloReply, Standing};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::handover::{hear, say};
use crate::hello::{Place, Visitor};
use crate::inbox::{Batch, Lane, Owner};
use crate::journal::Kind;
use crate::roster::Greeting;
use crate::settings::Durability;
use crate::shell::{Arrival, Connection, Shell};

/// Longest Hello, in bytes; a real one has some 130.
pub(crate) const HELLO_BYTES_MAX: usize = 1024;
/// How long a connection may take to say Hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(3);
/// How long a client waits at most for this replica to become ready.
const READY_PATIENCE: Duration = Duration::from_secs(4);
/// How long a refusal may take to be read before the connection is closed.
const GOODBYE_PATIENCE: Duration = Duration::from_millis(500);
/// How long one frame may take to arrive; it is looked at so often, thus up to twice as long.
const FRAME_PATIENCE: Duration = Duration::from_secs(60);

/// Serves a connection to its end.
pub(crate) async fn serve(shell: Arc<Shell>, peer: Authenticated) {
    let Authenticated { identity, mut link } = peer;
    let key = PublicKey(identity.key);
    let greeting = match shell.roster.greet(key) {
        Ok(greeting) => greeting,
        Err(no_place) => return link.closer.close(&no_place.to_string()),
    };
    link.reader.set_frame_bytes_max(HELLO_BYTES_MAX);
    let hello = match read_hello(&mut link.reader).await {
        Ok(hello) => hello,
        Err(why) => {
            shell.journal.note(Kind::Broke, key, &identity, &why);
            return link.closer.close(&why);
        }
    };
    match shell.gate.admit(&identity, &hello) {
        Ok(Visitor::Client(client)) => {
            serve_client(&shell, client, &identity, link, greeting).await;
        }
        Ok(Visitor::Replica(peer)) => {
            drop(greeting);
            serve_peer(&shell, peer, &identity, link).await;
        }
        Ok(Visitor::Operator) => {
            drop(greeting);
            let note = "as an operator";
            shell.journal.note(Kind::Connected, key, &identity, &note);
            let _ = link
                .writer
                .try_send(codec::encode(&shell.gate.welcome(Place::default())));
            while let Some(request) = hear(&mut link).await {
                say(&link, &answer_operator(&shell, &request));
            }
        }
        Err(error) => refuse(&shell, &identity, link, error.reply()).await,
    }
}

async fn serve_client(
    shell: &Shell,
    client: ClientRef,
    identity: &Identity,
    link: Link,
    greeting: Greeting,
) {
    let _place = match shell.roster.enter(client) {
        Ok(place) => place,
        Err(no_place) => {
            let reply = HelloReply::Refused(no_place.to_string());
            return refuse(shell, identity, link, reply).await;
        }
    };
    drop(greeting);
    let ready = timeout(READY_PATIENCE, shell.ready()).await;
    let not_ready = "this replica is not ready: too few of its peers have welcomed it so far";
    if let Err(why) = ready.unwrap_or(Err(not_ready)) {
        return refuse(shell, identity, link, HelloReply::Refused(why.into())).await;
    }
    let (mut reader, writer, closer) = link.split();
    reader.set_frame_bytes_max(CLIENT_FRAME_BYTES_MAX);
    // It fails only if the link has ended, and then reading ends too.
    let _ = writer.try_send(codec::encode(&shell.gate.welcome(Place::default())));
    let lane = shell.inbox.lane(Owner::Client(client.key));
    let id = shell.connection_id();
    let connection = Connection {
        id,
        name: identity.name.clone(),
        writer,
        closer,
    };
    lane.tell(Arrival::ClientOpened(client, connection));
    let decode = |frame: &[u8]| {
        codec::decode_client(frame).map(|request| Arrival::Client(client, id, request))
    };
    read(shell, &mut reader, &lane, identity, decode).await;
    lane.tell(Arrival::ClientClosed(client, id));
}

/// A replica that has not stopped can only be told to. When it has, the connection ends.
fn answer_operator(shell: &Shell, request: &AdminRequest) -> AdminReply {
    let configuration = shell.configuration();
    let standing = Standing {
        configuration: configuration.signing_context().configuration,
        number: configuration.number(),
        stopped: None,
    };
    match request {
        AdminRequest::Standing => AdminReply::Standing(standing),
        AdminRequest::Stop { .. } if shell.settings.durability == Durability::Memory => {
            AdminReply::Refused("it stores nothing, so it has nothing to hand over".into())
        }
        AdminRequest::Stop { .. } if shell.standing() == memory::Standing::Disowned => {
            AdminReply::Refused(
                "it lost its memory, as its peers say, so it has nothing to hand over: give it up"
                    .into(),
            )
        }
        AdminRequest::Stop {
            configuration,
            purpose,
        } if *configuration == standing.configuration => {
            shell.tell(Arrival::Stop(*purpose));
            AdminReply::Standing(standing)
        }
        AdminRequest::Stop { .. } => {
            AdminReply::Refused("it is in another configuration than the one to be ended".into())
        }
        AdminRequest::Seal
        | AdminRequest::Records { .. }
        | AdminRequest::Begin { .. }
        | AdminRequest::Part { .. }
        | AdminRequest::Finish => AdminReply::Refused("it has not stopped".into()),
    }
}

async fn serve_peer(shell: &Shell, peer: ReplicaId, identity: &Identity, link: Link) {
    let lane = shell.inbox.lane(Owner::Replica(peer));
    let Some(place) = greet(&lane, peer).await else {
        return;
    };
    let (mut reader, writer, closer) = link.split();
    reader.set_frame_bytes_max(PEER_FRAME_BYTES_MAX);
    shell.roster.hear(peer, closer);
    // It fails only if the link has ended, and then reading ends too.
    let _ = writer.try_send(codec::encode(&shell.gate.welcome(place)));
    if let Some(is_up) = shell.is_up.get(&peer) {
        is_up.notify_one();
    }
    let decode =
        |frame: &[u8]| codec::decode_peer(frame).map(|message| Arrival::Peer(peer, message));
    read(shell, &mut reader, &lane, identity, decode).await;
}

/// Where the logs stand, when the peers met so far are durably remembered; `None` if this replica is
/// about to stop, or has no room.
pub(crate) async fn greet(lane: &Lane<Arrival>, peer: ReplicaId) -> Option<Place> {
    let (answer, answered) = oneshot::channel();
    lane.tell(Arrival::Greet(peer, answer));
    answered.await.ok()
}

/// Hands over what arrives until the connection ends, or is ended for what arrives.
async fn read(
    shell: &Shell,
    reader: &mut FrameReader,
    lane: &Lane<Arrival>,
    identity: &Identity,
    decode: impl Fn(&[u8]) -> Result<Arrival, DecodeError>,
) {
    let key = PublicKey(identity.key);
    let broke = |reader: &FrameReader, why: &str| {
        shell.journal.note(Kind::Broke, key, identity, &why);
        reader.close(why);
    };
    let mut looks = interval_at(Instant::now() + FRAME_PATIENCE, FRAME_PATIENCE);
    // When we were late ourselves, two looks do not follow one another at once.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut batch, mut patience) = (Batch::new(), Patience::default());
    loop {
        let arrived = take_arrived(reader, &decode, &mut batch);
        patience.on_frames(batch.len());
        // What came before something bad is as good as ever.
        lane.send(&mut batch).await;
        match arrived {
            Ok(Arrived::Some) => continue,
            Ok(Arrived::All) => {}
            Err(Bad::Link(error)) => return shell.on_ended(key, &identity.name, &error),
            Err(Bad::Message(error)) => {
                return broke(reader, &format!("you sent what is no message: {error}"));
            }
        }
        tokio::select! {
            biased;
            more = reader.more() => match more {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return shell.on_ended(key, &identity.name, &error),
            },
            _ = looks.tick() => if patience.ends(reader.is_within_frame()) {
                return broke(reader, "you left a frame unfinished for too long");
            },
        }
    }
}

/// With who is within a frame: it ends when that was so at the last look already, and no frame has been
/// completed since.
#[derive(Debug, Default)]
struct Patience {
    was_within: bool,
}

impl Patience {
    fn on_frames(&mut self, frames: usize) {
        self.was_within &= frames == 0;
    }

    fn ends(&mut self, is_within: bool) -> bool {
        std::mem::replace(&mut self.was_within, is_within) && is_within
    }
}

/// How much of what had arrived was taken.
enum Arrived {
    All,
    Some,
}

/// Why nothing more is taken from a connection.
enum Bad {
    Link(LinkError),
    Message(DecodeError),
}

/// Decodes the frames that came together, as long as the batch has room.
fn take_arrived(
    reader: &mut FrameReader,
    decode: impl Fn(&[u8]) -> Result<Arrival, DecodeError>,
    batch: &mut Batch<Arrival>,
) -> Result<Arrived, Bad> {
    while !batch.is_full() {
        match reader.arrived().map_err(Bad::Link)? {
            Some(frame) => batch.add(decode(frame).map_err(Bad::Message)?, frame.len()),
            None => return Ok(Arrived::All),
        }
    }
    Ok(Arrived::Some)
}

pub(crate) async fn read_hello(reader: &mut FrameReader) -> Result<Hello, String> {
    match timeout(HELLO_PATIENCE, reader.next()).await {
        Ok(Ok(Some(frame))) => codec::decode_client(&frame)
            .map_err(|error| format!("your first frame is no Hello: {error}")),
        Ok(Ok(None)) => Err("you said no Hello".into()),
        Ok(Err(error)) => Err(format!("you said no Hello: {error}")),
        Err(_) => Err("you said no Hello in time".into()),
    }
}

/// Says no, gives the other side a moment to read it, and closes.
async fn refuse(shell: &Shell, identity: &Identity, link: Link, reply: HelloReply) {
    let key = PublicKey(identity.key);
    let why = match &reply {
        HelloReply::Refused(why) | HelloReply::LostMemory(why) => why.clone(),
        HelloReply::Ack { .. } => String::new(),
    };
    shell.journal.note(Kind::TurnedAway, key, identity, &why);
    let (_reader, writer, closer) = link.split();
    let _ = writer.try_send(codec::encode(&reply));
    drop(writer);
    let _ = timeout(GOODBYE_PATIENCE, closer.closed()).await;
    closer.close(&why);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_patience_ends_with_one_frame_that_is_open_at_two_looks() {
        let mut patience = Patience::default();
        assert!(!patience.ends(true), "it may have begun just now");
        patience.on_frames(0);
        assert!(patience.ends(true));
    }

    #[test]
    fn session_patience_begins_anew_with_every_frame() {
        let mut patience = Patience::default();
        for _ in 0..3 {
            assert!(!patience.ends(true));
            patience.on_frames(1);
        }
        assert!(!patience.ends(false));
        assert!(!patience.ends(true), "nothing was open at the last look");
    }
}

//! The way to one replica: dials it, says who we are, reads what it answers, and when the link ends
//! tries again, for ever, each time after a longer and somewhat random pause.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bts_certs::cluster::Member;
use bts_certs::{Closer, Dialer, FrameReader, FrameWriter, LinkError, LinkLimits, LocalIdentity};
use bts_core::codec;
use bts_core::crypto::sign::PROTOCOL_VERSION;
use bts_core::ids::{PublicKey, ReplicaId};
use bts_core::limits::CLIENT_FRAME_BYTES_MAX;
use bts_core::message::{Hello, HelloReply, Reply};
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::replicas::{Board, LinkState};

/// How long a replica may take to answer our Hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause before another attempt.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause; a link that lasted so long makes the next pause short again.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// From so many bytes on, replies that came together are handed over before more are decoded.
const BATCH_BYTES: usize = 64 << 10;
/// What a reply counts at least: small ones become larger when they are decoded.
const REPLY_BYTES_MIN: usize = 1 << 10;
/// Most characters of a replica's reason that are shown.
const REASON_CHARS_MAX: usize = 300;

/// What a connection tells the driver.
#[derive(Debug)]
pub(crate) enum Event {
    /// The replica welcomed us; this is the way to it.
    Connected(ReplicaId, FrameWriter),
    /// It answered; these came together.
    Replies(ReplicaId, Vec<Reply>),
    /// The link ended.
    Disconnected(ReplicaId),
}

/// One replica, and what is needed to reach it.
pub(crate) struct Connection {
    pub(crate) replica: ReplicaId,
    pub(crate) member: Member,
    pub(crate) hello: Hello,
    pub(crate) dialers: Arc<Dialers>,
    pub(crate) board: Arc<Board>,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Connection {
    /// Keeps the replica connected until the driver is gone.
    pub(crate) async fn run(self) {
        let mut pause = PAUSE_MIN;
        loop {
            let began = Instant::now();
            let state = match self.connect().await {
                Ok((reader, writer, closer)) => {
                    self.board.set_link(self.replica, Some(closer));
                    let ended = self.serve(reader, writer).await;
                    self.board.set_link(self.replica, None);
                    match ended {
                        Some(why) => LinkState::Unreachable(format!("the link was lost: {why}")),
                        None => return,
                    }
                }
                Err(state) => state,
            };
            if self.board.is_leaving() {
                // Nobody listens if the driver has left already.
                let _ = self.events.send(Event::Disconnected(self.replica)).await;
                return;
            }
            if self.board.set(self.replica, state.clone()) {
                tracing::info!(replica = %self.replica, address = self.member.address, "{state}");
            }
            if self
                .events
                .send(Event::Disconnected(self.replica))
                .await
                .is_err()
            {
                return;
            }
            if began.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            pause = self.rest(pause).await;
        }
    }

    /// Until the next attempt; returns the pause after that one.
    async fn rest(&self, pause: Duration) -> Duration {
        tokio::select! {
            () = sleep(pause.mul_f64(rand::random_range(0.5..1.5))) => (pause * 2).min(PAUSE_MAX),
            () = self.board.somebody_comes_up() => PAUSE_MIN,
        }
    }

    /// A link on which the replica has welcomed us, so that it has accepted our certificate.
    async fn connect(&self) -> Result<(FrameReader, FrameWriter, Closer), LinkState> {
        let peer = self.dialers.dial(&self.member).await?;
        if PublicKey(peer.identity.key) != self.member.key {
            let reason = format!("{} answers with another key", peer.identity);
            peer.link
                .closer
                .close("you have another key than the cluster file says");
            return Err(LinkState::NotTrusted(reason));
        }
        let (mut reader, writer, closer) = peer.link.split();
        let of = |error: LinkError| LinkState::of(&error);
        writer
            .try_send(codec::encode(&self.hello))
            .map_err(|error| LinkState::Unreachable(error.to_string()))?;
        let answer = timeout(HELLO_TIMEOUT, reader.next())
            .await
            .map_err(|_| LinkState::Unreachable("it does not answer our hello".into()))?
            .map_err(of)?
            .ok_or_else(|| LinkState::Unreachable("it ended the link unasked".into()))?;
        self.welcome(&answer)?;
        Ok((reader, writer, closer))
    }

    fn welcome(&self, answer: &[u8]) -> Result<(), LinkState> {
        let strange = |what: String| Err(LinkState::NotTrusted(what));
        match codec::decode_client(answer) {
            Ok(HelloReply::Ack {
                version, replica, ..
            }) => match (version, replica) {
                (PROTOCOL_VERSION, replica) if replica == self.replica => Ok(()),
                (PROTOCOL_VERSION, other) => strange(format!("it says that it is {other}")),
                (other, _) => strange(format!("it speaks version {other} of the protocol")),
            },
            Ok(HelloReply::Refused(reason) | HelloReply::LostMemory(reason)) => {
                Err(LinkState::RefusesUs(printable(&reason)))
            }
            Err(error) => strange(format!("its answer to our hello is unreadable: {error}")),
        }
    }

    /// Hands on all replies. Returns why the link ended, or `None` if the driver did.
    async fn serve(&self, mut reader: FrameReader, writer: FrameWriter) -> Option<String> {
        tracing::info!(replica = %self.replica, address = self.member.address, "connected");
        self.board.set(self.replica, LinkState::Connected);
        let connected = Event::Connected(self.replica, writer);
        self.events.send(connected).await.ok()?;
        loop {
            let mut replies = Vec::new();
            let arrived = take_arrived(&mut reader, &mut replies);
            if !replies.is_empty() {
                let replies = Event::Replies(self.replica, replies);
                self.events.send(replies).await.ok()?;
            }
            match arrived {
                Ok(Arrived::Some) => continue,
                Ok(Arrived::All) => {}
                Err(why) => return Some(why),
            }
            match reader.more().await {
                Ok(true) => {}
                Ok(false) => return Some("the replica ended it".into()),
                Err(error) => return Some(error.to_string()),
            }
        }
    }
}

/// How much of what had arrived was taken.
enum Arrived {
    All,
    Some,
}

/// Decodes the replies that came together, but not too much of them at once; or says why the link is of no
/// use any more.
fn take_arrived(reader: &mut FrameReader, replies: &mut Vec<Reply>) -> Result<Arrived, String> {
    let mut bytes = 0;
    while bytes < BATCH_BYTES {
        let Some(frame) = reader.arrived().map_err(|error| error.to_string())? else {
            return Ok(Arrived::All);
        };
        bytes += frame.len().max(REPLY_BYTES_MIN);
        let reply = codec::decode_client(frame);
        replies.push(reply.map_err(|error| format!("the replica sent garbage: {error}"))?);
    }
    Ok(Arrived::Some)
}

/// The sockets that replicas are dialed from, one for each version of IP that this host has.
pub(crate) struct Dialers {
    v4: Result<Dialer, LinkError>,
    v6: Result<Dialer, LinkError>,
}

impl Dialers {
    /// Binds the sockets. To be called within a tokio runtime.
    pub(crate) fn bind(local: &LocalIdentity) -> Result<Self, LinkError> {
        let limits = LinkLimits {
            frame_bytes_max: CLIENT_FRAME_BYTES_MAX,
            ..LinkLimits::default()
        };
        let bind = |ip: IpAddr| Dialer::bind(SocketAddr::new(ip, 0), local, limits);
        let v4 = bind(Ipv4Addr::UNSPECIFIED.into());
        let v6 = bind(Ipv6Addr::UNSPECIFIED.into());
        match (v4, v6) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => Ok(Self { v4, v6 }),
        }
    }

    /// Says goodbye on all links.
    pub(crate) async fn shutdown(&self) {
        for dialer in [&self.v4, &self.v6].into_iter().flatten() {
            dialer.shutdown("the client is leaving").await;
        }
    }

    /// Dials each address of the replica's host until one answers.
    pub(crate) async fn dial(
        &self,
        member: &Member,
    ) -> Result<bts_certs::Authenticated, LinkState> {
        let addresses = lookup_host(&member.address)
            .await
            .map_err(|error| LinkState::Unreachable(error.to_string()))?;
        let mut failed = LinkState::Unreachable("its name has no address".into());
        for address in addresses {
            let dialer = if address.is_ipv4() {
                &self.v4
            } else {
                &self.v6
            };
            let dialed = match dialer {
                Ok(dialer) => dialer.connect(address, &member.name).await,
                Err(error) => {
                    failed = LinkState::of(error);
                    continue;
                }
            };
            match dialed {
                Ok(peer) => return Ok(peer),
                Err(error) => failed = LinkState::of(&error),
            }
        }
        Err(failed)
    }
}

/// A replica's text, cut, and without anything that could play tricks on a terminal or a log.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        other => other.escape_debug().to_string(),
    };
    text.chars().take(REASON_CHARS_MAX).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_reason_of_a_replica_is_cut_and_cleaned() {
        assert_eq!(
            printable("no \"you\"\x1b[31m\n\u{202e}"),
            "no \"you\"\\u{1b}[31m\\n\\u{202e}"
        );
        assert_eq!(printable(&"x".repeat(5000)).len(), REASON_CHARS_MAX);
    }
}

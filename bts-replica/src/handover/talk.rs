//! One conversation with an operator: requests and answers in turn.

use std::time::Duration;

use bts_certs::Link;
use bts_core::codec;
use bts_core::limits::PEER_FRAME_BYTES_MAX;
use bts_core::message::{AdminReply, AdminRequest, HelloReply};
use tokio::time::timeout;

/// How long an operator may think. It can come again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the last words of a connection may take to be read.
pub(super) const FAREWELL: Duration = Duration::from_millis(300);

/// The next request; `None` when the operator has left, or is made to.
pub(crate) async fn hear(link: &mut Link) -> Option<AdminRequest> {
    link.reader.set_frame_bytes_max(PEER_FRAME_BYTES_MAX);
    let frame = match timeout(PATIENCE, link.reader.next()).await {
        Ok(heard) => heard.ok().flatten()?,
        Err(_) => {
            link.closer.close("you have asked nothing for too long");
            return None;
        }
    };
    let request = codec::decode_peer(&frame);
    let why = |error| format!("this is no request: {error}");
    request.map_err(|error| link.closer.close(&why(error))).ok()
}

/// Answers it.
pub(crate) fn say(link: &Link, reply: &AdminReply) {
    if let Err(error) = link.writer.try_send(codec::encode(reply)) {
        let why = format!("the answer cannot be sent: {error}");
        link.closer.close(&why);
    }
}

/// Says no, gives the other side a moment to read it, and closes.
pub(crate) async fn refuse(link: Link, why: &str) {
    let (_reader, writer, closer) = link.split();
    let _ = writer.try_send(codec::encode(&HelloReply::Refused(why.into())));
    drop(writer);
    let _ = timeout(FAREWELL, closer.closed()).await;
    closer.close(why);
}

//! What is said of the end of sessions, as golden vectors.

use bts_core::content::EndPayload;
use bts_core::crypto::sign::{Kind, SignedBytes};
use bts_core::ids::Session;
use bts_core::message::{ClientBody, Refused, ReplyBody};

use crate::samples::{Named, Samples};
use crate::support::signed;

const SESSION: Session = Session(1_700_000_000_000_000);

impl Samples {
    /// The end of a session of the client.
    pub(crate) fn end(&self) -> SignedBytes {
        let client = self.cluster().client(41);
        let end = EndPayload {
            key: client.public(),
            session: SESSION,
        };
        signed(&client, Kind::EndSession, &end)
    }

    pub(crate) fn endings(&self) -> Vec<Named<ClientBody>> {
        vec![
            ("request.end-session", ClientBody::EndSession(self.end())),
            ("request.sessions", ClientBody::Sessions),
        ]
    }

    pub(crate) fn told_endings(&self) -> Vec<Named<ReplyBody>> {
        let sessions = ReplyBody::Sessions {
            present: vec![SESSION],
            gone: vec![Session(1), Session(2)],
        };
        let (ended, too_many) = (Refused::SessionEnded, Refused::TooManySessions);
        vec![
            ("reply.refused-session-ended", ReplyBody::Refused(ended)),
            (
                "reply.refused-too-many-sessions",
                ReplyBody::Refused(too_many),
            ),
            ("reply.sessions", sessions),
        ]
    }
}

//! A replica that does what a test tells it: it hears everything and says nothing by itself, or
//! answers as a function says.

use std::fmt;
use std::sync::{Arc, Mutex};

use bts_core::ids::{ClientRef, ReplicaId};
use bts_core::message::{ClientRequest, PeerMessage};
use bts_core::replica::{Input, Outputs};
use bts_core::time::Time;

use crate::sim::machine::ReplicaMachine;

/// What a puppet heard.
#[derive(Clone, Debug)]
pub enum Heard {
    /// From a client.
    Client(ClientRef, ClientRequest),
    /// From a replica.
    Peer(ReplicaId, PeerMessage),
}

/// Everything that a puppet heard, shared with the test.
pub type Inbox = Arc<Mutex<Vec<Heard>>>;

type Answer = Box<dyn FnMut(&Heard, &mut Outputs) + Send>;

/// The puppet.
pub struct Puppet {
    inbox: Inbox,
    answer: Answer,
}

impl fmt::Debug for Puppet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("puppet")
    }
}

impl Puppet {
    /// A puppet that says nothing by itself, and where to find what it heard.
    pub fn mute() -> (Self, Inbox) {
        Self::answering(|_, _| {})
    }

    /// A puppet that answers so.
    pub fn answering(answer: impl FnMut(&Heard, &mut Outputs) + Send + 'static) -> (Self, Inbox) {
        let inbox = Inbox::default();
        let puppet = Self {
            inbox: Arc::clone(&inbox),
            answer: Box::new(answer),
        };
        (puppet, inbox)
    }
}

impl ReplicaMachine for Puppet {
    fn handle(&mut self, _now: Time, input: Input, out: &mut Outputs) {
        let heard = match input {
            Input::Client(from, request) => Heard::Client(from, request),
            Input::Peer(from, message) => Heard::Peer(from, message),
            Input::ClientConnected(_)
            | Input::ClientGone(_)
            | Input::PeerConnected(..)
            | Input::PeerGone(_)
            | Input::Synced(_)
            | Input::Tick
            | Input::Frozen(_)
            | Input::Stop(_) => return,
        };
        (self.answer)(&heard, out);
        self.inbox
            .lock()
            .expect("nobody panics while holding it")
            .push(heard);
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        None
    }

    fn stream_next(&self, _peer: ReplicaId) -> u64 {
        0
    }
}

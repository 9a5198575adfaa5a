//! A client whose shell lets some time pass before it has signed what came meanwhile, all of it by one
//! signature. The real shell does so while it has more to read.

use bts_core::client::{self, Client};
use bts_core::time::{Span, Time};

use super::machine::ClientMachine;

/// The client and its shell.
#[derive(Debug)]
pub struct Gathering {
    client: Client,
    within: Span,
    signs_at: Option<Time>,
}

impl Gathering {
    /// A client that gathers for so long; not at all, if that is nothing.
    pub fn new(client: Client, within: Span) -> Self {
        Self {
            client,
            within,
            signs_at: None,
        }
    }
}

impl ClientMachine for Gathering {
    fn handle(&mut self, now: Time, input: client::Input, out: &mut client::Outputs) {
        self.client.accept(now, input, out);
        if !self.client.has_unsigned() {
            return;
        }
        let signs_at = *self.signs_at.get_or_insert(now + self.within);
        if signs_at <= now {
            self.client.sign(now, out);
            self.signs_at = None;
        }
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let signs_at = self.signs_at.map(|at| (at, "what was gathered"));
        let deadlines = [self.client.deadline(), signs_at];
        deadlines.into_iter().flatten().min()
    }

    fn is_idle(&self) -> bool {
        self.client.is_idle()
    }
}

//! A correct replica of bts-core with its log, what is seen of it from outside, and how it is told
//! from others.

use std::collections::BTreeSet;
use std::rc::Rc;

use bts_core::codec;
use bts_core::consensus::certificate::Statement;
use bts_core::ids::{Lsn, ReplicaId};
use bts_core::message::{FetchKey, PeerMessage, Removal, ReplyBody};
use bts_core::replica::{Input, Obsolete, Outgoing, Outputs, Record, Replica};
use bts_core::time::{Span, Time};

use super::act::Act;
use super::cast::{Cast, Entry};
use crate::sim::batch::quietly;

const BEGIN: Time = Time::from_micros(1_000_000);
/// Longer than what may be forgotten is collected, and shorter than anything else takes.
const A_MOMENT: Span = Span::from_millis(200);

/// What a replica says of an entry when it is asked, and whether it holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Standing {
    /// It never heard of it, or hears of it only.
    Unknown,
    Present,
    /// Removed, the decision being kept.
    Kept,
    /// Removed, and the decision forgotten.
    Forgotten,
    /// Dropped, as others had forgotten it.
    Skipped,
}

/// What is seen of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Facts {
    pub(super) standing: [Standing; 2],
    /// Whether it holds it.
    pub(super) live: [bool; 2],
    /// What its log ever said.
    pub(super) said: Said,
    /// Whether it answers readers "empty", and not "empty but for".
    pub(super) empty: [bool; 2],
    /// It stopped at an assertion of its own, or does not understand its log.
    pub(super) stopped: bool,
}

/// What a log ever said, also where it was deleted since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Said {
    /// The decision was stored.
    pub(super) decided: [bool; 2],
    /// It was dropped.
    pub(super) skipped: [bool; 2],
    /// A first vote for who wanted x as well.
    pub(super) voted: bool,
    /// And that after x had been removed.
    pub(super) voted_late: bool,
}

impl Facts {
    /// Whether an entry was ever removed here.
    pub(super) fn removed(&self, entry: Entry) -> bool {
        let at = entry as usize;
        self.said.decided[at] || self.said.skipped[at]
    }

    pub(super) fn standing(&self, entry: Entry) -> Standing {
        self.standing[entry as usize]
    }
}

/// A replica of bts-core whose disk is as fast as it is.
pub(super) struct RealReplica {
    cast: Rc<Cast>,
    number: u8,
    replica: Replica,
    now: Time,
    log: Vec<(Lsn, Record)>,
    obsolete: Vec<Obsolete>,
    last: Lsn,
    said: Said,
    stopped: bool,
    /// By a broken rule, what it forgot is not stored.
    loses_forgotten: bool,
    with_put: bool,
    sent: Vec<(ReplicaId, PeerMessage)>,
    told: Vec<ReplyBody>,
}

/// What of a replica's state makes no difference here: when it asks again, for whom and how often. A
/// fetch for a client, which is given up in time, counts as one that is not.
const HIDDEN: &[&str] = &[
    "options",
    "signer",
    "verifier",
    "now",
    "timers",
    "sweeps",
    "counters",
    "asked",
    "due",
    "by",
    "open_of",
    "tries",
    "again_at",
    "positions_left",
    "window_ends",
    "rivals_since",
    "repeat_at",
];

impl RealReplica {
    /// One that holds x, or not.
    pub(super) fn new(
        cast: Rc<Cast>,
        number: u8,
        has_x: bool,
        with_put: bool,
        loses: bool,
    ) -> Self {
        let replica = Replica::new(cast.options(number));
        let mut new = Self {
            replica,
            number,
            now: BEGIN,
            log: Vec::new(),
            obsolete: Vec::new(),
            last: Lsn(0),
            said: Said::default(),
            stopped: false,
            loses_forgotten: loses,
            with_put,
            sent: Vec::new(),
            told: Vec::new(),
            cast,
        };
        new.welcome();
        if has_x {
            new.feed(new.cast.written());
        }
        new
    }

    /// Takes what happens to its end.
    pub(super) fn take(&mut self, act: Act) {
        if self.stopped {
            return;
        }
        if quietly(|| self.act(act)).is_err() {
            self.stopped = true;
        }
    }

    fn act(&mut self, act: Act) {
        self.sent.clear();
        self.told.clear();
        match act {
            Act::Time => {
                self.now = self.now + A_MOMENT;
                self.feed(Input::Tick);
            }
            Act::Restarted { pruned } => self.restart(pruned),
            Act::Forgets(entry) => {
                self.last = Lsn(self.last.0 + 1);
                self.log.push((self.last, self.cast.forgot(entry)));
                self.restart(false);
            }
            Act::Decided(_)
            | Act::Settled(_)
            | Act::Told(..)
            | Act::Given(..)
            | Act::Forgotten(..)
            | Act::Unknown(..)
            | Act::Relayed(_)
            | Act::WrittenBack
            | Act::Dropped(_)
            | Act::TakenAgain => {
                let input = self.cast.input(act);
                input.into_iter().for_each(|input| self.feed(input));
            }
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        let mut out = Outputs::default();
        self.replica.handle(self.now, input, &mut out);
        self.gather(out);
    }

    fn gather(&mut self, mut out: Outputs) {
        loop {
            self.obsolete.append(&mut out.obsolete);
            let Some((last, _)) = out.records.last() else {
                break;
            };
            self.last = *last;
            for (lsn, record) in std::mem::take(&mut out.records) {
                self.note(&record);
                self.log.push((lsn, record));
            }
            self.replica
                .handle(self.now, Input::Synced(self.last), &mut out);
        }
        for sent in out.send {
            match sent {
                Outgoing::Peer(to, message) => self.sent.push((to, message)),
                Outgoing::Client(_, reply) => self.told.push(reply.body),
            }
        }
    }

    fn note(&mut self, record: &Record) {
        let cast = Rc::clone(&self.cast);
        if let Record::Decided(decision) = record {
            let said: Result<Statement, _> = codec::decode_payload(&decision.certificate.payload);
            if let Some(entry) = said.ok().and_then(|said| cast.entry(&said.id)) {
                self.said.decided[entry as usize] = true;
            }
        }
        if let Record::Skipped(id) = record
            && let Some(entry) = cast.entry(id)
        {
            self.said.skipped[entry as usize] = true;
        }
        if let Record::FirstVote(take) = record
            && cast.is_rival(take)
        {
            let x = Entry::X as usize;
            self.said.voted = true;
            self.said.voted_late |= self.said.decided[x] || self.said.skipped[x];
        }
    }

    fn welcome(&mut self) {
        for client in self.cast.clients() {
            self.feed(Input::ClientConnected(client));
        }
    }

    /// The power fails, and it starts again with what is stored.
    fn restart(&mut self, pruned: bool) {
        if pruned {
            self.prune();
        }
        if self.loses_forgotten {
            let is_range = |record: &Record| matches!(record, Record::ForgotRoots(..));
            self.log.retain(|(_, record)| !is_range(record));
        }
        let options = self.cast.options(self.number);
        let mut out = Outputs::default();
        let log = self.log.clone();
        self.obsolete.clear();
        let recovered = Replica::recover(options, self.now, log, &mut out);
        self.replica = recovered.unwrap_or_else(|bad| panic!("its own log: {bad:?}"));
        self.gather(out);
        self.welcome();
    }

    /// Deletes what is obsolete, but the last record, and what must stay for another.
    fn prune(&mut self) {
        let mut there: BTreeSet<_> = self.log.iter().map(|(lsn, _)| *lsn).collect();
        for _ in 0..2 {
            for obsolete in &self.obsolete {
                let is_held = obsolete.after.is_some_and(|after| there.contains(&after));
                if obsolete.lsn != self.last && !is_held {
                    there.remove(&obsolete.lsn);
                }
            }
        }
        self.log.retain(|(lsn, _)| there.contains(lsn));
    }

    /// Asks it, which it does not survive as it was.
    pub(super) fn facts(&mut self) -> Facts {
        let mut facts = Facts {
            standing: [Standing::Unknown; 2],
            live: [false; 2],
            said: self.said,
            empty: [false; 2],
            stopped: self.stopped,
        };
        if self.stopped {
            return facts;
        }
        for entry in Entry::ALL {
            let at = entry as usize;
            facts.live[at] = self.holds(entry);
            facts.standing[at] = self.standing(entry);
        }
        for entry in Entry::ALL {
            self.told.clear();
            self.feed(self.cast.read(entry));
            let is_empty = |told: &ReplyBody| {
                matches!(told, ReplyBody::Found { candidates, moved, .. }
                    if candidates.is_empty() && moved.is_empty())
            };
            facts.empty[entry as usize] = self.told.iter().any(is_empty);
        }
        facts
    }

    /// Whether it holds an entry.
    pub(super) fn holds(&self, entry: Entry) -> bool {
        self.replica
            .live()
            .any(|(id, _)| id == *self.cast.id(entry))
    }

    fn standing(&mut self, entry: Entry) -> Standing {
        self.sent.clear();
        let key = FetchKey::Decision(self.cast.id(entry).clone());
        let asker = ReplicaId((u16::from(self.number) + 1) % 3);
        self.feed(Input::Peer(asker, PeerMessage::Fetch(key)));
        let removal = self.sent.iter().find_map(|(_, message)| {
            if let PeerMessage::Removed { removal, .. } = message {
                return Some(removal);
            }
            None
        });
        match removal {
            Some(Removal::Decision(_)) => Standing::Kept,
            Some(Removal::Forgotten) => Standing::Forgotten,
            Some(Removal::Unknown) | None if self.holds(entry) => Standing::Present,
            Some(Removal::Unknown) | None if self.said.skipped[entry as usize] => Standing::Skipped,
            Some(Removal::Unknown) | None => Standing::Unknown,
        }
    }

    /// What tells it from others.
    pub(super) fn print(&self, with_log: bool) -> String {
        let said = (self.stopped, self.said);
        let mut print = format!("{said:?} ");
        if self.stopped {
            return print;
        }
        let mut hidden = HIDDEN.to_vec();
        // How far streams were heard shows in what was heard, if there is one thing to hear of.
        hidden.extend((!self.with_put).then_some("heard"));
        // Everything is on disk at once, so that numbers of records are of no use but to a restart, nor
        // is it whether what a winner said is stored. Whatever may be forgotten is looked at in time.
        hidden.extend(["Lsn", "settled", "ripe"].into_iter().filter(|_| !with_log));
        strip(&format!("{:?}", self.replica), &hidden, &mut print);
        if with_log {
            let lsns: Vec<_> = self.log.iter().map(|(lsn, _)| *lsn).collect();
            print.push_str(&format!("{lsns:?} {:?}", self.obsolete));
        }
        print
    }

    pub(super) fn said(&self) -> Said {
        self.said
    }

    /// What it sent since something happened to it last.
    pub(super) fn take_sent(&mut self) -> Vec<(ReplicaId, PeerMessage)> {
        std::mem::take(&mut self.sent)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.replica.deadline().map(|(at, _)| at)
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn wait_until(&mut self, time: Time) {
        self.now = self.now.max(time);
    }

    pub(super) fn stream_next(&self, of: u8) -> u64 {
        self.replica.stream_next(ReplicaId(u16::from(of)))
    }
}

/// Copies what a `Debug` prints, but for the values of fields and the insides of tuples of these
/// names.
fn strip(text: &str, names: &[&str], into: &mut String) {
    let bytes = text.as_bytes();
    let (mut at, mut word) = (0, 0);
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            continue;
        }
        let is_hidden = matches!(byte, b':' | b'(') && names.contains(&&text[word..at - 1]);
        into.push_str(&text[word..at]);
        if is_hidden {
            at = end_of_value(bytes, at);
        }
        word = at;
    }
    into.push_str(&text[word..]);
}

/// Where the comma or bracket stands that ends the value of a field.
fn end_of_value(bytes: &[u8], from: usize) -> usize {
    let (mut depth, mut quoted) = (0_usize, false);
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b',' if depth == 0 => return at,
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' if depth == 0 => return at,
            b'}' | b']' | b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::strip;

    #[test]
    fn hidden_fields_are_left_out() {
        let mut print = String::new();
        let text = "A { now: Time(3), b: [Lsn(1), {2: \"},\"}], due: {(1, \"]\")}, nower: 4 }";
        strip(text, &["now", "due", "Lsn"], &mut print);
        assert_eq!(print, "A { now:, b: [Lsn(), {2: \"},\"}], due:, nower: 4 }");
    }
}

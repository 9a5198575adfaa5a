//! Readers that began after a Take was decided: the client of bts-core is given replies and watched
//! whether it returns the entry.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bts_core::client::{Client, Handle, Input, Op, Options, Outcome, Outputs};
use bts_core::content::Content;
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::{Epoch, ReplicaId, Session};
use bts_core::message::{Candidate, Reply, ReplyBody, Status};
use bts_core::template::{Pattern, Template};
use bts_core::time::{Span, Time};
use ed25519_dalek::SigningKey;

use super::material::{Material, Told};
use super::seen::BuildFx;
use super::{Bounds, Pick, Twist};

/// A report that puts nothing in doubt: no vote and no lock that means anything.
pub(super) const PLAIN: u8 = 1 << 7;

/// How the entry stands at a replica, as far as a reader is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Report {
    epoch: u8,
    told: Told,
}

impl Report {
    fn plain(epoch: u8) -> Self {
        Self {
            epoch,
            told: Told::default(),
        }
    }
}

/// What readers make of reports.
pub(super) struct Readers {
    bounds: Bounds,
    quorum: usize,
    uses: BTreeMap<(u8, Report), u8>,
    returned: HashMap<(u8, u64), bool, BuildFx>,
    asked: usize,
}

impl Readers {
    pub(super) fn new(bounds: &Bounds, material: &Material) -> Self {
        let quorum = material.size().ack_quorum();
        let fewer = usize::from(bounds.twist == Some(Twist::FewerQuorum));
        Self {
            bounds: bounds.clone(),
            quorum: quorum - fewer,
            uses: BTreeMap::new(),
            returned: HashMap::default(),
            asked: 0,
        }
    }

    /// How many questions were asked.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// What a report by a replica in `epoch` is good for, to a reader of an entry whose Take was
    /// decided in `decided`: nothing, a vote for one Take (its bit), or [`PLAIN`].
    ///
    /// A report is plain if a quorum of such reports returns the entry, and good for nothing if it
    /// spoils even a quorum of otherwise plain ones.
    pub(super) fn use_of(&mut self, material: &Material, decided: u8, epoch: u8, told: Told) -> u8 {
        let report = Report { epoch, told };
        if let Some(used) = self.uses.get(&(decided, report)) {
            return *used;
        }
        let mut all = vec![report; self.quorum];
        if epoch < decided {
            all.push(Report::plain(decided));
        }
        let mut spoilt = vec![Report::plain(decided); self.quorum - 1];
        spoilt.push(report);
        let used = if self.returns(material, &all) {
            PLAIN
        } else if self.returns(material, &spoilt) {
            told.first.map_or(PLAIN, |pick| 1 << pick)
        } else {
            0
        };
        self.uses.insert((decided, report), used);
        used
    }

    /// True if some quorum of reports returns the entry: any `q-f` of what correct replicas have
    /// shown, and `f` plain ones by the faulty.
    pub(super) fn is_misled(&mut self, material: &Material, decided: u8, shown: &[u8]) -> bool {
        let wanted = self.quorum - self.bounds.faults;
        let mut useful: Vec<_> = shown.iter().copied().filter(|shown| *shown > 0).collect();
        if useful.len() < wanted {
            return false;
        }
        useful.sort_unstable();
        let key = useful
            .iter()
            .fold(0, |key, shown| key << 8 | u64::from(*shown));
        if let Some(known) = self.returned.get(&(decided, key)) {
            return *known;
        }
        let found = self.some_subset(material, decided, &useful, &mut Vec::new(), wanted);
        self.returned.insert((decided, key), found);
        found
    }

    fn some_subset(
        &mut self,
        material: &Material,
        decided: u8,
        rest: &[u8],
        chosen: &mut Vec<Report>,
        wanted: usize,
    ) -> bool {
        if chosen.len() == wanted {
            let liars = vec![Report::plain(decided); self.bounds.faults];
            return self.returns(material, &[chosen.as_slice(), &liars].concat());
        }
        let Some((shown, rest)) = rest.split_first() else {
            return false;
        };
        let votes = (0..self.bounds.takes).filter(|pick| shown >> pick & 1 == 1);
        let plain = (shown & PLAIN > 0).then_some(None);
        for first in votes.map(Some).chain(plain) {
            let told = Told { first, lock: None };
            chosen.push(Report {
                epoch: decided,
                told,
            });
            let found = self.some_subset(material, decided, rest, chosen, wanted);
            chosen.pop();
            if found {
                return true;
            }
        }
        self.some_subset(material, decided, rest, chosen, wanted)
    }

    fn returns(&mut self, material: &Material, reports: &[Report]) -> bool {
        self.asked += 1;
        match self.bounds.transcribed || self.bounds.twist.is_some() {
            true => self.transcribed(material, reports),
            false => (0..self.bounds.contents).any(|content| real(material, content, reports)),
        }
    }

    /// R-4.2a with every reply there is, of which any `q` may be chosen.
    fn transcribed(&self, material: &Material, reports: &[Report]) -> bool {
        let more = usize::from(self.bounds.twist == Some(Twist::MoreDoubt));
        let doubt = material.size().doubt_votes() + more;
        let newest = reports.iter().map(|report| report.epoch).max();
        let mut harmless = 0;
        let mut votes = [0; 8];
        for report in reports {
            let is_over = newest.is_some_and(|newest| report.epoch < newest);
            let lock = report.told.lock.map(|(_, pick)| pick);
            let is_locked = lock.is_some_and(|pick| pick != self.bounds.release())
                && self.bounds.twist != Some(Twist::LocksUnread);
            match report.told.first {
                _ if is_over => harmless += 1,
                _ if is_locked => {}
                Some(pick) => votes[usize::from(pick)] += 1,
                None => harmless += 1,
            }
        }
        harmless += votes
            .iter()
            .map(|count| (*count).min(doubt - 1))
            .sum::<usize>();
        harmless >= self.quorum
    }
}

/// Whether a client that reads this content gets it on these replies.
fn real(material: &Material, content: u8, reports: &[Report]) -> bool {
    let mut client = Client::new(Options {
        configuration: Arc::clone(&material.configuration),
        key: SigningKey::from_bytes(&[120; 32]),
        session: Session(7),
        candidates: 4,
        resend: Span::from_millis(500),
        spare_from: usize::MAX,
        roots: VerifiedRoots::default(),
    });
    let (mut now, mut out) = (Time::from_micros(1_000_000), Outputs::default());
    for replica in 0..material.size().replicas() {
        client.handle(now, Input::Connected(ReplicaId(replica as u16)), &mut out);
    }
    let tuple = material.tuple(content);
    let op = Op::Read {
        space: material.space.clone(),
        template: Template(tuple.0.into_iter().map(Pattern::Exact).collect()),
        wait: false,
    };
    client.handle(now, Input::Invoke(Handle(1), op), &mut out);
    let (_, read) = out.send.first().cloned().expect("a read is sent");
    now = Time::from_micros(1_001_000);
    for (replica, report) in (0..).zip(reports) {
        let body = ReplyBody::Found {
            candidates: vec![candidate(material, content, *report)],
            watch: None,
            moved: Vec::new(),
        };
        let reply = Reply {
            request: read.request,
            body,
        };
        client.handle(now, Input::Reply(ReplicaId(replica), reply), &mut out);
    }
    for _ in 0..4 {
        if let Some((deadline, _)) = client.deadline() {
            now = now.max(deadline);
            client.handle(now, Input::Tick, &mut out);
        }
    }
    assert!(out.events.is_empty(), "nobody lied: {:?}", out.events);
    out.done
        .iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Found(_)))
}

fn candidate(material: &Material, content: u8, report: Report) -> Candidate {
    let Report { epoch, told } = report;
    let lock = |(ballot, pick): (u8, Pick)| material.lock(epoch, ballot, pick);
    let (hash, entry) = &material.contents[usize::from(content)];
    Candidate {
        id: material.id.clone(),
        hash: *hash,
        full: Some(Content::Signed(entry.clone())),
        status: Status {
            contents: material.contents.iter().map(|(hash, _)| *hash).collect(),
            epoch: Epoch(epoch),
            released: epoch.checked_sub(1).map(|before| material.released(before)),
            first: told.first.map(|pick| material.op(epoch, pick)),
            lock: told.lock.map(|held| lock(held).certificate().clone()),
            ..Status::default()
        },
    }
}

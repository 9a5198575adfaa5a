//! Whether replicas have what the others have, as `bts status` shows it.
//!
//! A replica tells how far it has got with each peer, not how far there is to go: for that it is compared with
//! what the peer itself reports to hold.

use bts_client::{Comparing, ReplicaStatus, Report};
use serde_json::{Value, json};

/// How a replica stands to what the others hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// With itself a quorum had nothing that it has not: everything that was acknowledged is there.
    UpToDate,
    /// On its way there: so many of a hundred, by estimate.
    CatchingUp(u64),
    /// Too few peers are in reach to tell.
    CutOff,
}

impl Progress {
    /// That of a replica with this report, in a cluster of this quorum.
    pub(crate) fn of(report: &Report, replicas: &[ReplicaStatus], quorum: usize) -> Self {
        let Some(last) = quorum.saturating_sub(1).checked_sub(1) else {
            return Self::UpToDate;
        };
        let done = |with: &Comparing| percent(with, replicas);
        let mut done: Vec<_> = report.comparing.iter().map(done).collect();
        done.sort_unstable_by(|one, other| other.cmp(one));
        match done.get(last) {
            Some(100) => Self::UpToDate,
            Some(percent) => Self::CatchingUp(*percent),
            None => Self::CutOff,
        }
    }

    /// In a table.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::UpToDate => "up to date".into(),
            Self::CatchingUp(percent) => format!("catching up, {percent}%"),
            Self::CutOff => "cut off".into(),
        }
    }

    /// For programs.
    pub(crate) fn as_json(self) -> Value {
        let (state, percent) = match self {
            Self::UpToDate => ("up to date", Some(100)),
            Self::CatchingUp(percent) => ("catching up", Some(percent)),
            Self::CutOff => ("cut off", None),
        };
        json!({ "state": state, "percent": percent })
    }
}

/// How much of what a peer has was gone over; all of it only if that is certain.
fn percent(with: &Comparing, replicas: &[ReplicaStatus]) -> u64 {
    if with.is_caught_up {
        return 100;
    }
    let peer = replicas.iter().find(|peer| peer.replica == with.peer);
    let theirs = peer.and_then(|peer| peer.report.as_ref());
    let all = with
        .began_with
        .max(theirs.map_or(0, |theirs| theirs.entries));
    let done = with.passed.saturating_add(with.fetched);
    (u128::from(done) * 100 / u128::from(all.max(1))).min(99) as u64
}

/// What a replica that catches up is doing, a line for the peer with which it has got farthest among those
/// that it has not caught up with.
pub(crate) fn describe(replica: &ReplicaStatus, progress: Progress) -> Option<String> {
    let report = replica.report.as_ref()?;
    let Progress::CatchingUp(_) = progress else {
        return None;
    };
    let open = report.comparing.iter().filter(|with| !with.is_caught_up);
    let with = open.max_by_key(|with| with.passed.saturating_add(with.fetched))?;
    Some(format!(
        "{}: catching up with {}: {} of {} entries gone over, {} fetched, {} being fetched, {} in doubt",
        replica.replica,
        with.peer,
        with.passed,
        with.began_with,
        with.fetched,
        with.fetching,
        with.doubted
    ))
}

/// All of it, for programs.
pub(crate) fn as_json(comparing: &[Comparing]) -> Value {
    let one = |with: &Comparing| {
        json!({
            "peer": with.peer.0,
            "caught_up": with.is_caught_up,
            "began_with": with.began_with,
            "passed": with.passed,
            "fetched": with.fetched,
            "fetching": with.fetching,
            "doubted": with.doubted,
            "complete_at_us": with.complete_at_us,
        })
    };
    comparing.iter().map(one).collect()
}

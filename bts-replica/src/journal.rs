//! What people should know of the others: counted per key, and logged in bounded amounts.
//!
//! One bad packet costs its sender nothing, so a line per packet would let it fill our disk. Each
//! kind and key has a small budget of lines that grows back, all together have another; what is not
//! printed is counted and said with the next line that is.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bts_core::ids::PublicKey;
use bts_core::message::Report;

/// Lines at once, and the time in which one more is earned: of one kind about one key.
const OWN_BUDGET: (u32, Duration) = (5, Duration::from_secs(10));
/// The same for all lines together.
const ALL_BUDGET: (u32, Duration) = (100, Duration::from_millis(200));
/// Keys that are told apart, per kind, so that no crowd of one kind hides who did another. The other
/// keys share one tally.
const KEYS_MAX: usize = 1024;
/// Keys named in a report, per kind.
const REPORTED_KEYS_MAX: usize = 16;

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Sent what is no frame or no message.
    Broke,
    /// Came.
    Connected,
    /// Contradicted itself under its own signature.
    Convicted,
    /// Relayed something forged or altered.
    Forged,
    /// Went.
    Left,
    /// Asked for what was refused.
    Refused,
    /// Did not read what it had asked for.
    TooSlow,
    /// Was turned away at the Hello.
    TurnedAway,
    /// Turned us away.
    TurnedUsAway,
    /// Was dialed in vain.
    Unreached,
}

/// The book.
#[derive(Debug)]
pub(crate) struct Journal {
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    tallies: BTreeMap<Kind, BTreeMap<Option<PublicKey>, Tally>>,
    all: Budget,
}

#[derive(Debug)]
struct Tally {
    total: u64,
    unsaid: u64,
    budget: Budget,
}

/// Lines that may be printed now, and since when the next is being earned.
#[derive(Debug)]
struct Budget {
    lines: u32,
    lines_max: u32,
    interval: Duration,
    since: Instant,
}

impl Journal {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let pages = Pages {
            tallies: BTreeMap::new(),
            all: Budget::new(ALL_BUDGET, Instant::now()),
        };
        Self {
            pages: Mutex::new(pages),
        }
    }

    /// Notes what `who`, whose key is `key`, did.
    pub(crate) fn note(&self, kind: Kind, key: PublicKey, who: &dyn Display, why: &dyn Display) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(unsaid) = pages.note(kind, key, Instant::now()) else {
            return;
        };
        drop(pages);
        let did = kind.did();
        let key = hex(&key);
        if kind.is_usual() {
            tracing::info!(%key, unsaid, "{who} {did}: {why}");
        } else {
            tracing::warn!(%key, unsaid, "{who} {did}: {why}");
        }
    }

    /// Adds the totals to what the core reports.
    pub(crate) fn add_to(&self, report: &mut Report) {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        for kind in Kind::ALL {
            let of_kind = pages.tallies.get(&kind).into_iter().flatten();
            let total = of_kind.clone().map(|(_, tally)| tally.total).sum();
            report.counters.push((kind.did().into(), total));
            for (key, tally) in of_kind.take(REPORTED_KEYS_MAX) {
                let whose = key.map_or("others".into(), |key| key.to_string());
                let name = format!("{} ({whose})", kind.did());
                report.counters.push((name, tally.total));
            }
        }
    }
}

impl Pages {
    /// Counts; if a line may be printed, the number of those like it that were not.
    fn note(&mut self, kind: Kind, key: PublicKey, now: Instant) -> Option<u64> {
        let of_kind = self.tallies.entry(kind).or_default();
        let named = of_kind.contains_key(&Some(key)) || of_kind.len() < KEYS_MAX;
        let tally = of_kind
            .entry(named.then_some(key))
            .or_insert_with(|| Tally {
                total: 0,
                unsaid: 0,
                budget: Budget::new(OWN_BUDGET, now),
            });
        tally.total += 1;
        if tally.budget.has_line(now) && self.all.has_line(now) {
            tally.budget.lines -= 1;
            self.all.lines -= 1;
            Some(std::mem::take(&mut tally.unsaid))
        } else {
            tally.unsaid += 1;
            None
        }
    }
}

impl Budget {
    fn new((lines_max, interval): (u32, Duration), now: Instant) -> Self {
        Self {
            lines: lines_max,
            lines_max,
            interval,
            since: now,
        }
    }

    fn has_line(&mut self, now: Instant) -> bool {
        let earned = now
            .duration_since(self.since)
            .div_duration_f64(self.interval);
        if earned >= 1.0 {
            let lines = earned.min(f64::from(self.lines_max)) as u32;
            self.lines = self.lines.saturating_add(lines).min(self.lines_max);
            self.since = now;
        }
        self.lines > 0
    }
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Broke,
        Self::Connected,
        Self::Convicted,
        Self::Forged,
        Self::Left,
        Self::Refused,
        Self::TooSlow,
        Self::TurnedAway,
        Self::TurnedUsAway,
        Self::Unreached,
    ];

    fn did(self) -> &'static str {
        match self {
            Self::Broke => "broke the protocol",
            Self::Connected => "connected",
            Self::Convicted => "contradicted itself",
            Self::Forged => "relayed a forgery",
            Self::Left => "left",
            Self::Refused => "was refused",
            Self::TooSlow => "was too slow",
            Self::TurnedAway => "was turned away",
            Self::TurnedUsAway => "turned this replica away",
            Self::Unreached => "was dialed in vain",
        }
    }

    /// Nobody's fault, and no matter for an operator.
    fn is_usual(self) -> bool {
        matches!(self, Self::Connected | Self::Left | Self::Unreached)
    }
}

fn hex(key: &PublicKey) -> String {
    key.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_flood_prints_few_lines_and_counts_all() {
        let journal = Journal::new();
        let mut pages = journal.pages.lock().expect("nobody panicked");
        let now = Instant::now();
        let key = |seed| PublicKey([seed; 32]);
        let lines = (0..1000).filter(|_| pages.note(Kind::Forged, key(1), now).is_some());
        assert_eq!(lines.count(), 5);
        assert_eq!(pages.note(Kind::Forged, key(2), now), Some(0));
        let later = now + OWN_BUDGET.1;
        assert_eq!(pages.note(Kind::Forged, key(1), later), Some(995));
        assert_eq!(pages.note(Kind::Forged, key(1), later), None);
        drop(pages);
        let mut report = Report::default();
        journal.add_to(&mut report);
        let of = |name: &str| report.counters.iter().find(|(n, _)| n == name).map(|c| c.1);
        assert_eq!(of("relayed a forgery"), Some(1003));
        assert_eq!(of("relayed a forgery (01010101)"), Some(1002));
        assert_eq!(of("was too slow"), Some(0));
    }

    #[test]
    fn journal_crowd_of_keys_is_bounded_in_lines_and_memory() {
        let journal = Journal::new();
        let mut pages = journal.pages.lock().expect("nobody panicked");
        let now = Instant::now();
        let key = |i: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&i.to_be_bytes());
            PublicKey(key)
        };
        let all = 2 * KEYS_MAX;
        let lines = (0..all).filter(|i| pages.note(Kind::Broke, key(*i), now).is_some());
        assert_eq!(lines.count(), ALL_BUDGET.0 as usize);
        let broke = &pages.tallies[&Kind::Broke];
        assert_eq!(broke.len(), KEYS_MAX + 1);
        let total: u64 = broke.values().map(|tally| tally.total).sum();
        assert_eq!(total, all as u64);
        pages.note(Kind::Forged, key(all), now);
        assert!(pages.tallies[&Kind::Forged].contains_key(&Some(key(all))));
    }
}

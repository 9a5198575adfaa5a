//! on random histories: what all replicas held when their configuration ended becomes one state, in
//! which nothing is lost and nothing is there twice, whatever one of them says.

use bts_core::ids::{EntryId, Root};
use bts_core::replica::Record;
use bts_core::replica::handover::{BadExport, United};
use bts_core::replica::ranges::WriterSession;

use crate::handover::{export, log_of, united};
use crate::support::World;
use crate::turmoil::{Dice, Truth, Turmoil, said};

/// What a liar exports instead of its log: nothing that convicts it.
fn lie(world: &World, liar: u16, dice: &mut Dice) -> Vec<Record> {
    let log = log_of(world, liar);
    let all: Vec<_> = (0..4).flat_map(|i| log_of(world, i)).collect();
    let mut lie = match dice.below(5) {
        0 => log[..dice.below(log.len() as u64 + 1) as usize].to_vec(),
        1 => log.into_iter().filter(|_| dice.below(3) > 0).collect(),
        2 => Vec::new(),
        3 => (0..100).filter_map(|_| dice.pick(&all).cloned()).collect(),
        _ => all.iter().rev().cloned().collect(),
    };
    if dice.below(2) == 0 {
        lie.extend(all.iter().filter_map(|record| gone(world, record, dice)));
    }
    legal(world, liar, lie)
}

/// The word that what this record speaks of is gone.
fn gone(world: &World, record: &Record, dice: &mut Dice) -> Option<Record> {
    let id = match record {
        Record::Entry(entry) => world
            .verifier
            .entry(entry.clone())
            .expect("logged")
            .id
            .clone(),
        Record::Decided(decision) => said(&decision.certificate).id.put(dice.below(2) as u16)?,
        _ => return None,
    };
    Some(match (dice.below(3), id.root()) {
        (0, _) => Record::Skipped(id),
        (
            1,
            Root::Written {
                space,
                writer,
                session,
                ..
            },
        ) => {
            let session = WriterSession {
                space: space.clone(),
                writer: *writer,
                session: *session,
            };
            Record::ForgotRoots(session, vec![(0, u64::MAX)])
        }
        _ => Record::ForgotPut(id),
    })
}

/// Without the records that no replica can have logged.
fn legal(world: &World, liar: u16, mut lie: Vec<Record>) -> Vec<Record> {
    loop {
        let bad = match export(world, liar, &lie) {
            Ok(_) => return lie,
            Err(BadExport::Forged(lsn, _) | BadExport::Contradicts(lsn, _)) => lsn,
            Err(other) => panic!("{other}"),
        };
        lie.remove(bad.0 as usize - 1);
    }
}

/// Nothing lost, nothing twice.
fn judge(truth: &Truth, united: &United, whose: &str) {
    let is_gone = |id: &EntryId| {
        !united.is_present(id) && united.taken(id).is_none() && truth.removed.contains(id)
    };
    for (id, op) in &truth.won {
        let taken = united.taken(id).map(|take| take.op());
        assert!(
            !united.is_present(id),
            "{whose}: {id} was taken, and is there"
        );
        assert!(
            taken == Some(*op) || is_gone(id),
            "{whose}: {id} has another winner: {taken:?}"
        );
    }
    for id in &truth.acknowledged {
        let is_taken = united.taken(id).is_some();
        assert!(
            united.is_present(id) || is_taken || is_gone(id),
            "{whose}: {id} is lost"
        );
    }
    for (id, take) in united.takes() {
        assert!(!united.is_present(id), "{whose}: {id} is there and taken");
        for index in 0..take.puts.len() as u16 {
            let put = id.put(index).expect("short");
            let is_taken = united.taken(&put).is_some();
            let ends = [united.is_present(&put), is_taken, is_gone(&put)];
            assert_eq!(
                ends.iter().filter(|end| **end).count(),
                1,
                "{whose}: {put}: {ends:?}"
            );
        }
    }
    for id in &united.gone_puts {
        assert!(is_gone(id), "{whose}: {id} was given up");
    }
    for (id, epoch) in truth
        .released
        .iter()
        .filter(|(id, _)| united.is_present(id))
    {
        assert!(
            united.epoch(id) > *epoch,
            "{whose}: {epoch} of {id} begins again"
        );
    }
}

/// The liar may be any, or a memory is lost, and not a liar's word too.
fn judge_all(turmoil: &Turmoil, dice: &mut Dice, seen: &mut Seen) {
    let world = &turmoil.world;
    let all = [0, 1, 2, 3];
    for given_up in [vec![], vec![0], vec![1], vec![2], vec![3]] {
        let truth = Truth::of(world, &all, 0);
        let united = united(world, &given_up, |i| log_of(world, i)).expect("no liar");
        judge(&truth, &united, &format!("without {given_up:?}"));
        seen.note(&united);
    }
    for liar in all {
        let correct: Vec<_> = all.into_iter().filter(|i| *i != liar).collect();
        let truth = Truth::of(world, &correct, 1);
        for _ in 0..3 {
            let lie = lie(world, liar, dice);
            let said = |i| match i == liar {
                true => lie.clone(),
                false => log_of(world, i),
            };
            let united = united(world, &[], said).expect("one liar");
            judge(&truth, &united, &format!("with liar {liar}"));
            seen.note(&united);
        }
    }
}

/// What was met, so that the histories show what they shall.
#[derive(Debug, Default)]
struct Seen {
    present: usize,
    puts: usize,
    decided: usize,
    concluded: usize,
    released: usize,
    gone_roots: usize,
    gone_puts: usize,
}

impl Seen {
    fn note(&mut self, united: &United) {
        self.present += united.written.len();
        self.puts += united.puts.len();
        self.decided += united.decided.len();
        self.concluded += united.concluded.len();
        self.released += united.released.len();
        self.gone_roots += united.gone_roots.values().map(Vec::len).sum::<usize>();
        self.gone_puts += united.gone_puts.len();
    }

    fn least(&self) -> usize {
        let Self {
            present,
            puts,
            decided,
            concluded,
            released,
            gone_roots,
            gone_puts,
        } = *self;
        let all = [
            present, puts, decided, concluded, released, gone_roots, gone_puts,
        ];
        all.into_iter().min().expect("seven")
    }
}

/// C8, A8: whatever one replica says, or if one says nothing.
#[test]
fn handover_c8_nothing_is_lost_or_doubled_in_random_histories() {
    let mut seen = Seen::default();
    for seed in 0..24 {
        let turmoil = Turmoil::run(seed, 80);
        judge_all(&turmoil, &mut Dice(1_000 + seed), &mut seen);
    }
    assert!(seen.least() > 0, "{seen:?}");
}

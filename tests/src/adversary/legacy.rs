//! What a hostile replica hands over when its configuration ends: the log of a correct one, with
//! lies, under its own signature.

use bts_core::codec;
use bts_core::consensus::certificate::Statement;
use bts_core::content::{EntryPayload, TakePayload};
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{SignedBytes, Signer};
use bts_core::ids::{EntryId, Root, TakeNumber};
use bts_core::replica::Record;
use bts_core::replica::handover::sign_export;
use bts_core::replica::ranges::WriterSession;

use crate::sim::rng::Rng;

/// What hostile replicas know when they hand over: all that anybody has logged.
#[derive(Debug)]
pub struct Legacies {
    /// What each correct replica logged, and its seal.
    pub correct: Vec<(SignedBytes, Vec<Record>)>,
    /// What all are to stop for.
    pub purpose: Digest,
}

/// A seal, and the records under it as they are encoded.
pub type HandedOver = (SignedBytes, Vec<Vec<u8>>);

#[derive(Clone, Copy, Debug)]
enum Lie {
    /// Records are left out, so many of a thousand.
    Omit(u64),
    /// It ends earlier.
    Cut,
    /// Nothing was voted for, or locked.
    Unbound,
    /// Nothing was decided.
    Undecided,
    /// First votes for whatever others were asked to vote for.
    Voted,
    /// Locks of others.
    Locked,
    /// Entries are gone, and were forgotten, so many of a thousand.
    Gone(u64),
    /// Every session settled everything.
    Settled,
    /// What another replica holds is added to it.
    Mixed,
    /// A signed record is not as it was signed.
    Forged,
    /// Records change their places.
    Shuffled,
}

impl Lie {
    fn draw(rng: &mut Rng) -> Self {
        let often = |rng: &mut Rng| *rng.pick(&[30, 300, 1000]).expect("a choice");
        match rng.below(14) {
            0 => Self::Omit(often(rng)),
            1 => Self::Cut,
            2 | 3 => Self::Unbound,
            4 => Self::Undecided,
            5 | 6 => Self::Voted,
            7 => Self::Locked,
            8 | 9 => Self::Gone(often(rng)),
            10 => Self::Settled,
            11 => Self::Mixed,
            12 => Self::Forged,
            _ => Self::Shuffled,
        }
    }
}

impl Legacies {
    /// What a hostile replica with this key hands over.
    pub fn lie(&self, signer: &Signer, rng: &mut Rng) -> HandedOver {
        let Some((seal, log)) = rng.pick(&self.correct) else {
            return self.seal(signer, Vec::new());
        };
        // Another one's, word for word.
        if rng.chance(30) {
            let bytes = log.iter().map(codec::encode);
            return (seal.clone(), bytes.collect());
        }
        let mut records = log.clone();
        records.retain(|record| !matches!(record, Record::Stopped(_)));
        for _ in 0..=rng.below(3) {
            let lie = Lie::draw(rng);
            self.tell(lie, &mut records, rng);
        }
        if !rng.chance(30) {
            records.push(Record::Stopped(self.purpose));
        }
        let (seal, mut bytes) = self.seal(signer, records);
        // Changed after it was signed.
        if rng.chance(30) {
            bytes.pop();
        }
        (seal, bytes)
    }

    fn seal(&self, signer: &Signer, records: Vec<Record>) -> HandedOver {
        let bytes: Vec<_> = records.iter().map(codec::encode).collect();
        let seal = sign_export(signer, self.purpose, bytes.iter().map(Vec::as_slice));
        (seal, bytes)
    }

    fn tell(&self, lie: Lie, records: &mut Vec<Record>, rng: &mut Rng) {
        match lie {
            Lie::Omit(often) => records.retain(|_| !rng.chance(often)),
            Lie::Cut => records.truncate(rng.index(records.len() + 1)),
            Lie::Unbound => records.retain(|record| !binds(record)),
            Lie::Undecided => records.retain(|record| !matches!(record, Record::Decided(_))),
            Lie::Voted => {
                let mut takes: Vec<_> = self.all().flat_map(takes_of).collect();
                rng.shuffle(&mut takes);
                records.retain(|record| !binds(record));
                records.extend(takes.into_iter().map(Record::FirstVote));
            }
            Lie::Locked => {
                let locks = self.all().filter(|r| matches!(r, Record::Locked(..)));
                let locks: Vec<_> = locks.filter(|_| rng.chance(500)).cloned().collect();
                records.extend(locks);
            }
            Lie::Gone(often) => {
                let ids = self.all().filter_map(entry_of);
                let ids: Vec<_> = ids.filter(|_| rng.chance(often)).collect();
                let gone = |id: EntryId| match rng.chance(500) {
                    true => Record::Skipped(id),
                    false => forgotten(id),
                };
                records.extend(ids.into_iter().map(gone));
            }
            Lie::Settled => {
                let clients = self.all().flat_map(takes_of);
                let clients = clients
                    .filter_map(|take| codec::decode_payload::<TakePayload>(&take.payload).ok());
                let settled =
                    |take: TakePayload| Record::Settled(take.taker(), TakeNumber(u64::MAX));
                records.extend(clients.map(settled));
            }
            Lie::Mixed => {
                let other = rng.pick(&self.correct).map(|(_, log)| log);
                let added: Vec<_> = other
                    .into_iter()
                    .flatten()
                    .filter(|record| !records.contains(record))
                    .filter(|record| !matches!(record, Record::Stopped(_)))
                    .cloned()
                    .collect();
                records.extend(added);
            }
            Lie::Forged => {
                let at = rng.index(records.len().max(1));
                if let Some(record) = records.get_mut(at) {
                    forge(record, rng);
                }
            }
            Lie::Shuffled => rng.shuffle(records),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Record> {
        self.correct.iter().flat_map(|(_, log)| log)
    }
}

fn binds(record: &Record) -> bool {
    matches!(
        record,
        Record::FirstVote(_) | Record::Entered(..) | Record::Prepared(..) | Record::Locked(..)
    )
}

/// The Takes that a record holds.
pub(super) fn takes_of(record: &Record) -> Vec<SignedBytes> {
    match record {
        Record::FirstVote(take) | Record::Locked(_, take) => vec![take.clone()],
        Record::Entered(_, takes) => takes.clone(),
        Record::Decided(decision) => decision.take.iter().cloned().collect(),
        Record::Entry(_)
        | Record::Prepared(..)
        | Record::Released(_)
        | Record::ForgotRoots(..)
        | Record::ForgotPut(_)
        | Record::Skipped(_)
        | Record::Settled(..)
        | Record::Ended(_)
        | Record::Stopped(_) => Vec::new(),
    }
}

/// The entry that a record is about, if it names one.
fn entry_of(record: &Record) -> Option<EntryId> {
    match record {
        Record::Entry(entry) => {
            let entry = codec::decode_payload::<EntryPayload>(&entry.payload).ok()?;
            Some(entry.id)
        }
        Record::Decided(decision) => {
            let said = codec::decode_payload::<Statement>(&decision.certificate.payload).ok()?;
            Some(said.id)
        }
        Record::ForgotPut(id) | Record::Skipped(id) | Record::Prepared(id, ..) => Some(id.clone()),
        Record::FirstVote(_)
        | Record::Entered(..)
        | Record::Locked(..)
        | Record::Released(_)
        | Record::ForgotRoots(..)
        | Record::Settled(..)
        | Record::Ended(_)
        | Record::Stopped(_) => None,
    }
}

/// That its decision was forgotten.
fn forgotten(id: EntryId) -> Record {
    match id.root() {
        Root::Written {
            space,
            writer,
            session,
            seq,
        } if id.is_root() => {
            let session = WriterSession {
                space: space.clone(),
                writer: *writer,
                session: *session,
            };
            Record::ForgotRoots(session, vec![(seq.0, seq.0)])
        }
        Root::Written { .. } | Root::Genesis { .. } => Record::ForgotPut(id),
    }
}

/// Turns a bit of what somebody else signed.
fn forge(record: &mut Record, rng: &mut Rng) {
    let bytes = match record {
        Record::Entry(signed)
        | Record::FirstVote(signed)
        | Record::Entered(signed, _)
        | Record::Ended(signed) => &mut signed.payload,
        Record::Locked(certificate, _) | Record::Released(certificate) => &mut certificate.payload,
        Record::Decided(decision) => &mut decision.certificate.payload,
        Record::Prepared(..)
        | Record::ForgotRoots(..)
        | Record::ForgotPut(_)
        | Record::Skipped(_)
        | Record::Settled(..)
        | Record::Stopped(_) => return,
    };
    let at = rng.index(bytes.len().max(1));
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
}

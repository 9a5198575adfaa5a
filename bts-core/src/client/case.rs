//! What is known of one entry that replicas report, and whether that suffices to return it
//! (R-4.2a). Reports count whenever they were made since the operation began; any `q` of them may
//! be chosen.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::Fitted;
use super::fetch::Fetch;
use super::help::Help;
use super::replies::Refusals;
use super::step::Step;
use super::writeback::WriteBack;
use crate::consensus::certificate::Value;
use crate::content::HeldContent;
use crate::crypto::verified::ValidCertificate;
use crate::ids::{ContentHash, EntryId, Epoch, OpId, ReplicaId};
use crate::limits::{CONTENTS_PER_STATUS_MAX, EPOCH_MAX};
use crate::message::Status;
use crate::misbehavior::Forgery;
use crate::quorum::ClusterSize;
use crate::time::Time;

/// How an entry stands at one replica, as that replica says; certificates in it are checked.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) contents: BTreeSet<ContentHash>,
    pub(super) epoch: Epoch,
    pub(super) first: Option<OpId>,
    pub(super) lock: Option<ValidCertificate>,
    pub(super) reserved: bool,
}

/// An entry that somebody reports.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) id: EntryId,
    pub(super) sightings: BTreeMap<ReplicaId, Sighting>,
    pub(super) contents: BTreeMap<ContentHash, Fitted>,
    /// Contents that are not what the operation looks for.
    pub(super) misfits: BTreeSet<ContentHash>,
    /// Contents under this hash were badly signed when this replica sent them.
    pub(super) spoilt: BTreeSet<(ContentHash, ReplicaId)>,
    pub(super) first_seen: Time,
    /// From then on work is put into it: before, others may yet report it by themselves.
    pub(super) ripe_at: Time,
    pub(super) removed_by: BTreeSet<ReplicaId>,
    pub(super) refusals: Refusals,
    pub(super) fetch: Fetch,
    pub(super) write_back: Option<WriteBack>,
    pub(super) help: Option<Help>,
    released: Option<ValidCertificate>,
}

/// Whether an entry may be returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// By rule 2.
    Present,
    /// `q` replicas hold it, but it may be taken already: rule 4.
    Contested,
    /// Fewer than `q` replicas hold it: rule 3.
    Few,
}

impl Case {
    pub(super) fn new(id: EntryId, now: Time, ripe_at: Time) -> Self {
        Self {
            id,
            sightings: BTreeMap::new(),
            contents: BTreeMap::new(),
            misfits: BTreeSet::new(),
            spoilt: BTreeSet::new(),
            first_seen: now,
            ripe_at,
            removed_by: BTreeSet::new(),
            refusals: Refusals::default(),
            fetch: Fetch::default(),
            write_back: None,
            help: None,
            released: None,
        }
    }

    /// A put of a decision of ours, which these replicas applied.
    pub(super) fn of_put(
        step: &Step<'_>,
        put: &HeldContent,
        holders: impl Iterator<Item = ReplicaId>,
    ) -> Self {
        let mut case = Self::new(put.id.clone(), step.now, step.now);
        let sighting = Sighting {
            contents: BTreeSet::from([put.hash]),
            epoch: Epoch(0),
            first: None,
            lock: None,
            reserved: false,
        };
        case.sightings = holders.map(|holder| (holder, sighting.clone())).collect();
        case.contents.insert(put.hash, Fitted::of(put));
        case
    }

    /// Ends what was under way about it: another operation may go on with it.
    pub(super) fn put_at_rest(mut self, step: &mut Step<'_>) -> Self {
        self.fetch.close(step);
        self.fetch = Fetch::default();
        self.write_back
            .take()
            .into_iter()
            .for_each(|it| it.close(step));
        self.help.take().into_iter().for_each(|it| it.close(step));
        self
    }

    /// The content that most replicas hold, of those that the operation may be looking for.
    pub(super) fn leading(&self) -> Option<ContentHash> {
        let all = self.sightings.values().flat_map(|s| &s.contents);
        let wanted = all.filter(|hash| !self.misfits.contains(hash));
        let held = wanted.map(|hash| (self.holders(*hash).count(), *hash));
        let most = held.filter(|(holders, _)| *holders > 0).max();
        most.map(|(_, hash)| hash)
    }

    /// Replicas that hold this content. One that sent it badly signed does not.
    pub(super) fn holders(&self, hash: ContentHash) -> impl Iterator<Item = ReplicaId> {
        self.holdings(hash).map(|(replica, _)| replica)
    }

    fn holdings(&self, hash: ContentHash) -> impl Iterator<Item = (ReplicaId, &Sighting)> {
        let all = self.sightings.iter();
        let all = all.map(|(replica, sighting)| (*replica, sighting));
        all.filter(move |(replica, sighting)| {
            sighting.contents.contains(&hash) && !self.spoilt.contains(&(hash, *replica))
        })
    }

    /// Forgets contents that nobody reports any more.
    pub(super) fn forget_unreported(&mut self) {
        let all = self.sightings.values().flat_map(|s| &s.contents);
        let reported: BTreeSet<_> = all.copied().collect();
        self.contents.retain(|hash, _| reported.contains(hash));
        self.misfits.retain(|hash| reported.contains(hash));
        self.spoilt.retain(|(hash, _)| reported.contains(hash));
    }

    /// How the entry stands with this content.
    pub(super) fn standing(&self, size: ClusterSize, hash: ContentHash) -> Standing {
        let enough = match mutant!(NoWriteBack) {
            true => 1,
            false => size.ack_quorum(),
        };
        if self.holders(hash).count() < enough {
            return Standing::Few;
        }
        match self.undoubted(size, hash) >= enough {
            true => Standing::Present,
            false => Standing::Contested,
        }
    }

    /// The size of the largest set of reports of this content, none with a lock for anything but
    /// Release (C2), in which no Take has `R` first votes.
    fn undoubted(&self, size: ClusterSize, hash: ContentHash) -> usize {
        let mut votes = BTreeMap::<OpId, usize>::new();
        let mut without_vote = 0;
        for (_, sighting) in self.holdings(hash) {
            match self.doubts(sighting) {
                (Some(Value::Take(_) | Value::Expire), _) => {}
                (_, Some(op)) => *votes.entry(op).or_default() += 1,
                (_, None) => without_vote += 1,
            }
        }
        let doubt_votes = size.doubt_votes();
        let harmless = votes.values().map(|count| match mutant!(ReadIgnoresVotes) {
            true => *count,
            false => (*count).min(doubt_votes - 1),
        });
        without_vote + harmless.sum::<usize>()
    }

    /// The lock and the first vote in a report, as far as they mean anything: those of an epoch
    /// whose release is known do not (B5).
    fn doubts(&self, sighting: &Sighting) -> (Option<Value>, Option<OpId>) {
        if self.is_over(sighting.epoch) {
            return (None, None);
        }
        let lock = sighting
            .lock
            .as_ref()
            .filter(|_| !mutant!(ReadIgnoresLocks));
        (lock.map(|lock| lock.statement().value), sighting.first)
    }

    /// True if anybody reports a vote or a lock that means something.
    pub(super) fn is_touched(&self) -> bool {
        let mut doubts = self
            .sightings
            .values()
            .map(|sighting| self.doubts(sighting));
        doubts.any(|doubts| doubts != (None, None))
    }

    /// True if the entry is reserved for somebody else, as a fact.
    pub(super) fn is_reserved(&self, size: ClusterSize) -> bool {
        let reserved = self.sightings.values().filter(|s| s.reserved);
        reserved.count() >= size.fact_quorum()
    }

    /// True if this epoch was released.
    pub(super) fn is_over(&self, epoch: Epoch) -> bool {
        self.epoch() > epoch
    }

    /// The epoch that the known releases lead to.
    pub(super) fn epoch(&self) -> Epoch {
        let released = self.released.as_ref();
        released.map_or(Epoch(0), |valid| Epoch(valid.statement().epoch.0 + 1))
    }

    /// The proof of that epoch.
    pub(super) fn released(&self) -> Option<&ValidCertificate> {
        self.released.as_ref()
    }

    /// R-4.2c. Learns of a release: it proves those of all lower epochs.
    pub(super) fn on_released(&mut self, certificate: ValidCertificate) {
        if certificate.statement().epoch >= self.epoch() {
            self.released = Some(certificate);
        }
    }

    /// The certificates that a message about this epoch needs.
    pub(super) fn proof_of(&self, epoch: Epoch) -> Option<ValidCertificate> {
        let fits = |valid: &&ValidCertificate| valid.statement().epoch.0 + 1 == epoch.0;
        self.released.as_ref().filter(fits).cloned()
    }
}

/// A status with the certificates in it checked; `None` makes the whole reply worthless, and its
/// sender is accused.
pub(super) fn check(
    step: &mut Step<'_>,
    from: ReplicaId,
    id: &EntryId,
    status: Status,
) -> Option<(Sighting, Option<ValidCertificate>)> {
    let checked = try_check(step, id, status);
    step.checked(from, checked)
}

fn try_check(
    step: &Step<'_>,
    id: &EntryId,
    status: Status,
) -> Result<(Sighting, Option<ValidCertificate>), Forgery> {
    let epoch = status.epoch;
    if epoch.0 > EPOCH_MAX || status.contents.len() > CONTENTS_PER_STATUS_MAX {
        return Err(Forgery::WrongInstance);
    }
    let verifier = &step.shared.verifier;
    let released = match (epoch.0.checked_sub(1), status.released) {
        (None, _) => None,
        (Some(_), None) => return Err(Forgery::WrongInstance),
        (Some(before), Some(proof)) => Some(verifier.release(proof, id, Epoch(before))?),
    };
    let lock = status
        .lock
        .map(|lock| verifier.lock(lock, id, epoch))
        .transpose()?;
    let sighting = Sighting {
        contents: status.contents.into_iter().collect(),
        epoch,
        first: status.first,
        lock,
        reserved: status.reserved,
    };
    Ok((sighting, released))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::Digest;
    use crate::ids::{PublicKey, Seq, Session, SpaceName};

    const HASH: ContentHash = ContentHash(Digest([1; 32]));

    fn case(firsts: &[Option<u8>]) -> Case {
        let space = SpaceName::new("s").expect("legal");
        let id = EntryId::written(space, PublicKey([1; 32]), Session(1), Seq(0));
        let mut case = Case::new(id, Time::ZERO, Time::ZERO);
        for (replica, first) in (0..).zip(firsts) {
            let sighting = Sighting {
                contents: BTreeSet::from([HASH]),
                epoch: Epoch(0),
                first: first.map(|op| OpId(Digest([op; 32]))),
                lock: None,
                reserved: false,
            };
            case.sightings.insert(ReplicaId(replica), sighting);
        }
        case
    }

    fn standing(n: usize, f: usize, firsts: &[Option<u8>]) -> Standing {
        let size = ClusterSize::new(n, f).expect("legal");
        case(firsts).standing(size, HASH)
    }

    /// R-4.2a
    #[test]
    fn case_rule2_counts_r_first_votes_per_take() {
        let (none, a, b) = (None, Some(1), Some(2));
        assert_eq!(standing(4, 1, &[none, none]), Standing::Few);
        assert_eq!(standing(4, 1, &[none, none, none]), Standing::Present);
        assert_eq!(
            standing(4, 1, &[a, none, none]),
            Standing::Present,
            "R-1 votes"
        );
        assert_eq!(
            standing(4, 1, &[a, a, none]),
            Standing::Contested,
            "R votes"
        );
        assert_eq!(
            standing(4, 1, &[a, a, none, none]),
            Standing::Present,
            "one of them is left out"
        );
        assert_eq!(
            standing(4, 1, &[a, b, none]),
            Standing::Present,
            "one vote each"
        );
        assert_eq!(standing(4, 1, &[a, a, b, b]), Standing::Contested);
        assert_eq!(standing(7, 2, &[a, a, none, none, none]), Standing::Present);
        assert_eq!(standing(7, 2, &[a, a, a, none, none]), Standing::Contested);
    }

    /// The stupid twin: every subset of `q` reports, looked at one by one.
    #[test]
    fn case_rule2_agrees_with_all_subsets() {
        for (n, f) in [(4usize, 1), (5, 1), (6, 1), (7, 2)] {
            let size = ClusterSize::new(n, f).expect("legal");
            for code in 0..3u32.pow(n as u32) {
                let digit = |i: usize| (code / 3u32.pow(i as u32) % 3) as u8;
                let firsts: Vec<_> = (0..n).map(|i| Some(digit(i)).filter(|d| *d > 0)).collect();
                let is_fine = |subset: u32| {
                    let chosen = || (0..n).filter(move |i| subset >> i & 1 == 1);
                    let votes = |op| chosen().filter(|i| firsts[*i] == Some(op)).count();
                    chosen().count() == size.ack_quorum()
                        && [1, 2].iter().all(|op| votes(*op) < size.doubt_votes())
                };
                let expected = (0..1 << n).any(is_fine);
                let got = standing(n, f, &firsts) == Standing::Present;
                assert_eq!(got, expected, "{firsts:?} of {n}, {f}");
            }
        }
    }
}

//! Changing the members of a cluster: the configuration ends, and the next begins with what
//! all of its replicas held.
//!
//! 1. Every replica but those whose memory is lost is *stopped*, for good and for this change alone.
//! 2. What each holds is fetched and *checked*: contents, votes and decisions prove themselves.
//! 3. It is *united* to one state, which becomes, with its hash, a part of the next configuration: from
//!    here on there is one next configuration, in the working directory.
//! 4. Each replica that goes on is *given* that state, and begins anew with it.
//!
//! Each step is found done when it is begun again, whether the operator's machine or a replica was interrupted. The
//! working directory must not be lost between 3 and the end of 4: the state could be made again, but a liar may hand
//! over something else, so nothing is founded once a replica is found to have begun (`may_hand_over`).

mod error;
mod line;
mod work;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bts_certs::cluster::{Cluster, FoundedOn, Member, purpose_of};
use bts_core::crypto::hash::Digest;
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{PublicKey, ReplicaId};
use bts_core::message::{AdminReply, AdminRequest, Standing};
use bts_core::replica::handover::{Astray, Export, Founding, may_hand_over, unite};
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::connection::Dialers;
pub use error::ReplaceError;
use line::Line;
use work::Work;

/// How long until it is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// Records after which it is told how many there are: a faulty replica may have no end of them.
const TELL_EVERY: u64 = 100_000;

/// A change of one member.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Whose place.
    pub seat: ReplicaId,
    /// The key of who takes it; `None` for the same key with a new data directory.
    pub key: Option<PublicKey>,
    /// Where it listens; `None` for where the old one did.
    pub address: Option<String>,
    /// Replicas whose memory is lost: they have nothing to hand over, and begin with nothing.
    pub lost: BTreeSet<ReplicaId>,
    /// How long a replica may take to be reached, and to stop.
    pub patience: Duration,
}

/// Replaces a member, as an operator of the cluster; returns the next configuration, whose file is
/// then in `work`. Can be called again when it failed. `tell` is told how it goes on.
pub async fn replace(
    config: &Config,
    change: &Replacement,
    work: &Path,
    tell: &mut dyn FnMut(String),
) -> Result<Cluster, ReplaceError> {
    let work = Work::open(work, &config.cluster)?;
    let dialers = Dialers::bind(&config.identity).map_err(ReplaceError::Start)?;
    let done = async {
        let (ending, tell) = (work.ending().clone(), &mut *tell);
        let mut operator = Operator {
            dialers: &dialers,
            work: &work,
            ending,
            patience: change.patience,
            tell,
        };
        let next = match work.next()? {
            Some(next) if work.is_done() => return Ok(next),
            Some(next) => next,
            None => operator.found(change).await?,
        };
        operator.begin(&next).await?;
        work.finish()?;
        Ok(next)
    };
    let done = done.await;
    dialers.shutdown().await;
    done
}

struct Operator<'a> {
    dialers: &'a Dialers,
    work: &'a Work,
    ending: Cluster,
    patience: Duration,
    tell: &'a mut dyn FnMut(String),
}

impl Operator<'_> {
    /// Steps 1 to 3.
    async fn found(&mut self, change: &Replacement) -> Result<Cluster, ReplaceError> {
        let members = members_after(&self.ending, change)?;
        let purpose = purpose_of(&self.ending, &members);
        let seats: Vec<_> = self.ending.members().map(|(id, _)| id).collect();
        let holders: Vec<_> = seats
            .into_iter()
            .filter(|id| !change.lost.contains(id))
            .collect();
        // Nobody is stopped before it is clear that all can be.
        for seat in &holders {
            self.standing(*seat, purpose).await?;
        }
        for seat in &holders {
            self.order_stop(*seat, purpose).await?;
        }
        for seat in &holders {
            self.wait_until_stopped(*seat, purpose).await?;
            self.fetch(*seat).await?;
        }
        let given_up = (&change.lost, empty_after(change));
        self.unite(&holders, purpose, &members, given_up)
    }

    /// Where a replica stands, if that is where this change can find it.
    async fn standing(&self, seat: ReplicaId, purpose: Digest) -> Result<Standing, ReplaceError> {
        let began = Instant::now();
        let standing = loop {
            match self.ask_standing(seat).await {
                Err(ReplaceError::Unreachable { .. }) if began.elapsed() <= self.patience => {
                    sleep(PAUSE).await;
                }
                known => break known?,
            }
        };
        let ours = self.ending.configuration().signing_context().configuration;
        match may_hand_over(ours, purpose, &standing) {
            Err(Astray::Elsewhere(number)) => Err(ReplaceError::Elsewhere { seat, number }),
            Err(Astray::OtherChange) => Err(ReplaceError::OtherChange { seat }),
            Ok(()) => Ok(standing),
        }
    }

    async fn ask_standing(&self, seat: ReplicaId) -> Result<Standing, ReplaceError> {
        self.dial(seat).await?.standing().await
    }

    /// Whether it heard is found out later.
    async fn order_stop(&mut self, seat: ReplicaId, purpose: Digest) -> Result<(), ReplaceError> {
        let configuration = self.ending.configuration().signing_context().configuration;
        let stop = AdminRequest::Stop {
            configuration,
            purpose,
        };
        let asked = match self.dial(seat).await {
            Ok(mut line) => line.ask(&stop).await.map(|_| ()),
            Err(error) => Err(error),
        };
        match asked {
            Err(ReplaceError::Unreachable { .. }) => Ok(()),
            heard => heard,
        }
    }

    async fn wait_until_stopped(
        &mut self,
        seat: ReplicaId,
        purpose: Digest,
    ) -> Result<(), ReplaceError> {
        let began = Instant::now();
        while self.standing(seat, purpose).await?.stopped.is_none() {
            if began.elapsed() > self.patience {
                let why = "it goes on, though it was told to stop".into();
                return Err(ReplaceError::Unreachable { seat, why });
            }
            self.order_stop(seat, purpose).await?;
            sleep(PAUSE).await;
        }
        (self.tell)(format!("replica {} has stopped", seat.0));
        Ok(())
    }

    /// Step 2, for one replica.
    async fn fetch(&mut self, seat: ReplicaId) -> Result<(), ReplaceError> {
        if self.work.has_export(seat) {
            return Ok(());
        }
        let mut line = self.dial(seat).await?;
        let AdminReply::Sealed { seal, records } = line.ask(&AdminRequest::Seal).await? else {
            return Err(line.strange());
        };
        let mut export = self.work.write_export(seat, &seal)?;
        let mut told = 0;
        while export.count() < records {
            if export.count() - told >= TELL_EVERY {
                told = export.count();
                let seat = seat.0;
                (self.tell)(format!(
                    "replica {seat}: {told} of {records} records so far"
                ));
            }
            let ask = AdminRequest::Records {
                skip: export.count(),
            };
            match line.ask(&ask).await? {
                AdminReply::Records(page) if !page.is_empty() => {
                    page.iter().try_for_each(|record| export.add(record))?;
                }
                _ => return Err(line.strange()),
            }
        }
        export.finish()?;
        (self.tell)(format!("replica {} handed over {records} records", seat.0));
        Ok(())
    }

    /// Step 3.
    fn unite(
        &mut self,
        holders: &[ReplicaId],
        purpose: Digest,
        members: &[Member],
        (given_up, empty): (&BTreeSet<ReplicaId>, BTreeSet<ReplicaId>),
    ) -> Result<Cluster, ReplaceError> {
        let verifier = Verifier::new(self.ending.configuration().clone());
        let mut exports = Vec::new();
        for seat in holders {
            let (seal, records) = self.work.read_export(*seat)?;
            let export = Export::verify(&verifier, *seat, purpose, seal, records);
            let export = export.map_err(|why| ReplaceError::BadExport { seat: *seat, why })?;
            exports.push(export);
        }
        let configuration = self.ending.configuration();
        let united = unite(configuration.size(), &exports, given_up)?;
        let founding = Founding::of(&united, configuration.signing_context());
        let founded_on = FoundedOn {
            proofs: founding.proofs,
            state: founding.state,
            empty,
        };
        let next = self.ending.next(members, founded_on)?;
        self.work.write_next(&founding.records, &next)?;
        (self.tell)(format!(
            "united: {} entries are present, {} records make configuration {}",
            united.present(),
            founding.records.len(),
            next.configuration().number(),
        ));
        Ok(next)
    }

    /// Step 4. What one replica refuses, or whoever is not reached, does not keep the others from beginning.
    async fn begin(&mut self, next: &Cluster) -> Result<(), ReplaceError> {
        let founding = next.founding().ok_or(ReplaceError::NotFounded)?.clone();
        let mut first_failure = None;
        for (seat, member) in next.members() {
            if founding.empty.contains(&seat) {
                continue;
            }
            match self.give(next, seat, member).await {
                Ok(()) => (self.tell)(format!("replica {} has begun anew", seat.0)),
                Err(error) => {
                    (self.tell)(format!("replica {} has not begun: {error}", seat.0));
                    first_failure = first_failure.or(Some(error));
                }
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// Until the replica is in the next configuration.
    async fn give(
        &self,
        next: &Cluster,
        seat: ReplicaId,
        member: &Member,
    ) -> Result<(), ReplaceError> {
        let began = Instant::now();
        loop {
            match self.try_to_give(next, seat, member).await {
                Ok(true) => return Ok(()),
                Err(ReplaceError::Unreachable { .. }) | Ok(false)
                    if began.elapsed() < self.patience => {}
                Ok(false) => {
                    let why = "it has all it needs, and does not begin".into();
                    return Err(ReplaceError::Unreachable { seat, why });
                }
                Err(error) => return Err(error),
            }
            sleep(PAUSE).await;
        }
    }

    /// True if the replica has begun; false if it has what it needs to.
    async fn try_to_give(
        &self,
        next: &Cluster,
        seat: ReplicaId,
        member: &Member,
    ) -> Result<bool, ReplaceError> {
        let mut line = self.line(seat, member).await?;
        let standing = line.standing().await?;
        let context = next.configuration().signing_context();
        if standing.configuration == context.configuration {
            return Ok(true);
        }
        let ending = self.ending.configuration().signing_context();
        if standing.configuration != ending.configuration {
            return Err(ReplaceError::Elsewhere {
                seat,
                number: standing.number,
            });
        }
        let begin = AdminRequest::Begin {
            cluster: next.to_toml(),
        };
        let mut taken = give_part(&mut line, &begin).await?;
        for records in self.work.read_state()? {
            let part = AdminRequest::Part {
                skip: taken,
                records: records?,
            };
            taken = give_part(&mut line, &part).await?;
        }
        match line.ask(&AdminRequest::Finish).await? {
            AdminReply::Begun => Ok(false),
            _ => Err(line.strange()),
        }
    }

    /// A line to a member of the configuration that ends.
    async fn dial(&self, seat: ReplicaId) -> Result<Line, ReplaceError> {
        match self.ending.member(seat) {
            Some(member) => self.line(seat, member).await,
            None => Err(ReplaceError::NoSuchReplica(seat)),
        }
    }

    async fn line(&self, seat: ReplicaId, member: &Member) -> Result<Line, ReplaceError> {
        Line::open(self.dialers, self.ending.id(), seat, member).await
    }
}

/// How many records of the beginning are there after this.
async fn give_part(line: &mut Line, part: &AdminRequest) -> Result<u64, ReplaceError> {
    match line.ask(part).await? {
        AdminReply::Taken(taken) => Ok(taken),
        _ => Err(line.strange()),
    }
}

/// Who begins with nothing.
fn empty_after(change: &Replacement) -> BTreeSet<ReplicaId> {
    let new = change.key.is_some().then_some(change.seat);
    change.lost.iter().copied().chain(new).collect()
}

/// The members of the next configuration.
fn members_after(ending: &Cluster, change: &Replacement) -> Result<Vec<Member>, ReplaceError> {
    let is_there = |seat: &ReplicaId| ending.member(*seat).is_some();
    let seats = change.lost.iter().chain([&change.seat]);
    if let Some(seat) = seats.into_iter().find(|seat| !is_there(seat)) {
        return Err(ReplaceError::NoSuchReplica(*seat));
    }
    let empty = empty_after(change);
    let most = ending.configuration().size().faults();
    if empty.len() > most {
        return Err(ReplaceError::TooManyLost(empty.len(), most));
    }
    if change.key.is_none() && !change.lost.contains(&change.seat) {
        return Err(ReplaceError::NothingChanges(change.seat));
    }
    let mut members: Vec<_> = ending.members().map(|(_, member)| member.clone()).collect();
    let member = &mut members[usize::from(change.seat.0)];
    if let Some(key) = change.key {
        member.key = key;
    }
    if let Some(address) = &change.address {
        member.address.clone_from(address);
    }
    Ok(members)
}

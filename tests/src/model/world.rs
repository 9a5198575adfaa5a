//! States, the steps between them, and what must hold in each.
//!
//! What is left out of a state, because nothing depends on it any more: the promises for a ballot in
//! which no further value can be locked, and what its voters may still do there; votes that cannot
//! become a certificate, or have become one; all of an epoch that every correct replica has left.
//! Each rests on counting who may still vote, which the acceptors themselves are asked; that what
//! one refuses now it refuses for ever is the only thing taken for granted.

use super::acceptor::{Act, Table};
use super::choice::Choices;
use super::local::{Local, Said, State};
use super::material::{Enough, Material, Told};
use super::reader::{PLAIN, Readers};
use super::{BALLOTS_MAX, Bounds, EPOCHS_MAX, Met, Pick, Picks, Twist, Violation};

/// What one correct replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Act(Act),
    NextEpoch,
    /// It loses its power and starts again.
    Restart,
    /// It does this, and loses its power when that is logged and before anybody is told.
    Kept(Act),
    /// It does this, tells everybody, and loses its power before that is logged: a broken rule.
    Lost(Act),
}

/// Where a step leads.
pub(super) type Next = (usize, Step, Result<State, Violation>);

/// Everything that steps depend on.
pub(super) struct World {
    pub(super) bounds: Bounds,
    material: Material,
    enough: Enough,
    tables: Vec<Table>,
    choices: Vec<Choices>,
    readers: Readers,
}

impl World {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let material = Material::new(bounds);
        let mut enough = material.enough();
        match bounds.twist {
            Some(Twist::FewerFast) => enough.fast -= 1,
            Some(Twist::FewerQuorum) => {
                enough.first_lock -= 1;
                enough.prepare_lock -= 1;
                enough.slow -= 1;
            }
            _ => {}
        }
        let epochs = 0..bounds.epochs;
        Self {
            enough,
            tables: epochs
                .clone()
                .map(|e| Table::new(bounds, &material, e))
                .collect(),
            choices: epochs.map(|e| Choices::new(bounds, &material, e)).collect(),
            readers: Readers::new(bounds, &material),
            bounds: bounds.clone(),
            material,
        }
    }

    pub(super) fn start(&self) -> State {
        State {
            correct: self.bounds.correct(),
            locals: Default::default(),
            made: Default::default(),
        }
    }

    /// What a promise of this number tells.
    pub(super) fn told(&self, epoch: u8, local: &Local) -> Told {
        self.tables[usize::from(epoch)].answers(local.acceptor).told
    }

    /// How many questions the code of bts-core was asked.
    pub(super) fn asked(&self) -> [usize; 4] {
        [
            self.tables.iter().map(Table::asked).sum(),
            self.choices.iter().map(Choices::asked).sum(),
            self.readers.asked(),
            self.tables.iter().map(Table::restarted).sum(),
        ]
    }

    /// Every step of every correct replica; of those that are alike, of the first one only.
    pub(super) fn successors(&mut self, state: &State, next: &mut Vec<Next>) {
        let mut permitted = [[None; BALLOTS_MAX]; EPOCHS_MAX];
        let mut acts = Vec::new();
        for who in 0..state.correct {
            if state.locals[..who].contains(&state.locals[who]) {
                continue;
            }
            let local = state.locals[who];
            let epoch = usize::from(local.epoch);
            acts.clear();
            self.acts(state, &local, &mut permitted[epoch], &mut acts);
            for act in &acts {
                self.push(state, who, Step::Act(*act), next);
            }
            if self.bounds.restarts {
                self.push(state, who, Step::Restart, next);
                for act in &acts {
                    self.push(state, who, self.cut_short(*act), next);
                }
            }
            let is_released = state.made[epoch].decided == self.bounds.release() + 1;
            if is_released && local.epoch + 1 < self.bounds.epochs {
                self.push(state, who, Step::NextEpoch, next);
            }
        }
    }

    /// What this replica may do in its epoch.
    fn acts(
        &mut self,
        state: &State,
        local: &Local,
        permitted: &mut [Option<Picks>; BALLOTS_MAX],
        acts: &mut Vec<Act>,
    ) {
        let epoch = usize::from(local.epoch);
        let may = *self.tables[epoch].answers(local.acceptor);
        let said = local.said[epoch];
        acts.extend(picks_in(may.may_first & !said.firsts).map(Act::First));
        acts.extend((may.promised + 1..=self.bounds.ballots).map(Act::Enter));
        for ballot in 0..=may.promised {
            let at = usize::from(ballot);
            let locked = state.made[epoch].locks[at].checked_sub(1);
            let locked = locked.filter(|_| may.may_lock[at]);
            acts.extend(locked.map(|pick| Act::Lock(ballot, pick)));
            let is_closed = state.made[epoch].closed >> ballot & 1 == 1;
            if ballot == 0 || is_closed || may.may_prepare[at] == 0 {
                continue;
            }
            let permitted =
                permitted[at].get_or_insert_with(|| self.permitted(state, local.epoch, ballot));
            let picks = *permitted & may.may_prepare[at] & !said.prepared[at];
            acts.extend(picks_in(picks).map(|pick| Act::Prepare(ballot, pick)));
        }
    }

    /// The power fails while a replica does this. What nobody was told and is not logged might as
    /// well not have happened; and since what one may do the others never take back, what is logged
    /// or told late might as well begin late. So these are the only orders that matter.
    fn cut_short(&self, act: Act) -> Step {
        match self.bounds.twist {
            Some(Twist::SentBeforeSynced) => Step::Lost(act),
            _ => Step::Kept(act),
        }
    }

    /// What the owner of this ballot may propose.
    fn permitted(&mut self, state: &State, epoch: u8, ballot: u8) -> Picks {
        let at = usize::from(epoch);
        let mut given = [0; super::CORRECT_MAX];
        for (code, local) in given.iter_mut().zip(state.locals()) {
            *code = local.said[at].told[usize::from(ballot)];
        }
        let given = &given[..state.correct];
        let locks = &state.made[at].locks;
        self.choices[at].permitted(&self.material, ballot, given, locks)
    }

    fn push(&mut self, state: &State, who: usize, step: Step, next: &mut Vec<Next>) {
        let mut after = *state;
        let local = &mut after.locals[who];
        let stepped = match self.step(local, step) {
            Ok(()) => self.settle(&mut after).map(|()| after),
            Err(violation) => Err(violation),
        };
        if stepped.as_ref() != Ok(state) {
            next.push((who, step, stepped));
        }
    }

    fn step(&mut self, local: &mut Local, step: Step) -> Result<(), Violation> {
        match step {
            Step::Act(act) => {
                self.tell(local, act);
                self.log(local, act)
            }
            Step::NextEpoch => {
                local.epoch += 1;
                local.acceptor = 0;
                Ok(())
            }
            Step::Restart => self.restart(local),
            Step::Kept(act) => {
                // A promise that is logged is repeated.
                if let Act::Enter(_) = act {
                    self.tell(local, act);
                }
                self.log(local, act)?;
                self.restart(local)
            }
            Step::Lost(act) => {
                self.tell(local, act);
                self.restart(local)
            }
        }
    }

    fn restart(&mut self, local: &mut Local) -> Result<(), Violation> {
        let table = &mut self.tables[usize::from(local.epoch)];
        let next = table.restart(&self.material, local.acceptor);
        local.acceptor = next.ok_or(Violation::Forgot)?;
        Ok(())
    }

    fn log(&mut self, local: &mut Local, act: Act) -> Result<(), Violation> {
        let table = &mut self.tables[usize::from(local.epoch)];
        let next = table.step(&self.material, local.acceptor, act);
        local.acceptor = next.ok_or(Violation::Stopped)?;
        Ok(())
    }

    fn tell(&mut self, local: &mut Local, act: Act) {
        let epoch = usize::from(local.epoch);
        let mut told = self.tables[epoch].answers(local.acceptor).told;
        let said = &mut local.said[epoch];
        match act {
            Act::First(pick) => said.firsts |= 1 << pick,
            Act::Prepare(ballot, pick) => said.prepared[usize::from(ballot)] |= 1 << pick,
            Act::Lock(ballot, pick) => said.commits[usize::from(ballot)] |= 1 << pick,
            Act::Enter(ballot) => {
                if self.bounds.twist == Some(Twist::PromiseWithoutLock) {
                    told.lock = None;
                }
                said.told[usize::from(ballot)] = self.choices[epoch].code(told);
            }
        }
    }

    /// Draws the conclusions of a step, checks them, and leaves out what cannot matter any more.
    fn settle(&mut self, state: &mut State) -> Result<(), Violation> {
        for epoch in 0..self.bounds.epochs {
            self.make(state, epoch)?;
            if self.bounds.is_reduced() {
                self.reduce(state, epoch);
            }
            self.show(state, epoch)?;
        }
        Ok(())
    }

    /// What enough votes now make. At most one value per ballot is locked, and one decided.
    fn make(&self, state: &mut State, epoch: u8) -> Result<(), Violation> {
        let at = usize::from(epoch);
        let made = state.made[at];
        let liars = self.bounds.faults;
        let count = |is_in: &dyn Fn(&Said) -> bool| {
            let voters = state.locals().iter().filter(|local| is_in(&local.said[at]));
            voters.count() + liars
        };
        let mut decided = mask(made.decided);
        let mut locks = made.locks;
        for (ballot, lock) in locks.iter_mut().enumerate() {
            let mut locked = mask(*lock);
            for pick in self.bounds.values() {
                let has = |set: Picks| set >> pick & 1 == 1;
                let is_locked = match ballot {
                    0 => {
                        let firsts = count(&|said| has(said.firsts));
                        decided |= Picks::from(firsts >= self.enough.fast) << pick;
                        firsts >= self.enough.first_lock
                    }
                    _ => count(&|said| has(said.prepared[ballot])) >= self.enough.prepare_lock,
                };
                locked |= Picks::from(is_locked) << pick;
                let commits = count(&|said| has(said.commits[ballot]));
                decided |= Picks::from(commits >= self.enough.slow) << pick;
            }
            *lock = single(locked).ok_or(Violation::TwoLocks {
                epoch,
                ballot: ballot as u8,
            })?;
        }
        let decided = single(decided).ok_or(Violation::Disagreement { epoch })?;
        state.made[at].decided = decided;
        state.made[at].locks = locks;
        Ok(())
    }

    /// A reader that begins after a Take was decided sees what correct replicas show from then on.
    fn show(&mut self, state: &mut State, epoch: u8) -> Result<(), Violation> {
        let decided = state.made[usize::from(epoch)].decided;
        if decided == 0 || decided == self.bounds.release() + 1 {
            return Ok(());
        }
        let mut shown = [0; super::CORRECT_MAX];
        for (shown, local) in shown.iter_mut().zip(state.locals_mut()) {
            let told = self.tables[usize::from(local.epoch)]
                .answers(local.acceptor)
                .told;
            local.shown |= self
                .readers
                .use_of(&self.material, epoch, local.epoch, told);
            if local.shown & PLAIN > 0 {
                local.shown = PLAIN;
            }
            *shown = local.shown;
        }
        match self
            .readers
            .is_misled(&self.material, epoch, &shown[..state.correct])
        {
            true => Err(Violation::WrongRead { epoch }),
            false => Ok(()),
        }
    }

    /// If a value is decided, and all entered the ballot above the bound now, only that value could
    /// be proposed there.
    pub(super) fn look(&mut self, state: &State) -> Result<(), Violation> {
        for epoch in (0..self.bounds.epochs).filter(|_| self.bounds.look) {
            let at = usize::from(epoch);
            let Some(decided) = state.made[at].decided.checked_sub(1) else {
                continue;
            };
            let mut given = [0; super::CORRECT_MAX];
            for (code, local) in given.iter_mut().zip(state.locals()) {
                if local.epoch == epoch {
                    *code = self.choices[at].code(self.told(epoch, local));
                }
            }
            let (given, locks) = (&given[..state.correct], &state.made[at].locks);
            let locks = &locks[..=usize::from(self.bounds.ballots)];
            let above = self.bounds.ballots + 1;
            let permitted = self.choices[at].permitted(&self.material, above, given, locks);
            if permitted & !(1 << decided) > 0 {
                return Err(Violation::Open { epoch });
            }
        }
        Ok(())
    }

    fn reduce(&mut self, state: &mut State, epoch: u8) {
        let at = usize::from(epoch);
        if state.locals().iter().all(|local| local.epoch > epoch) {
            state.made[at].locks = Default::default();
            state.made[at].closed = 0;
            state
                .locals_mut()
                .iter_mut()
                .for_each(|l| l.said[at] = Said::default());
            return;
        }
        let before = *state;
        let tables = &self.tables;
        let liars = self.bounds.faults;
        // How many may yet have voted so: those that have, and those that still may.
        let possible = |has: &dyn Fn(&Said) -> bool,
                        may: &dyn Fn(&super::acceptor::Answers) -> bool| {
            let could = |local: &&Local| {
                let row = || tables[at].answers(local.acceptor);
                has(&local.said[at]) || (local.epoch == epoch && may(row()))
            };
            before.locals().iter().filter(could).count() + liars
        };
        let made = state.made[at];
        let mut keep = Said::default();
        let mut closed = made.closed;
        for pick in self.bounds.values() {
            let in_set = |set: Picks| set >> pick & 1 == 1;
            let is_decided = made.decided == pick + 1;
            let firsts = possible(&|said| in_set(said.firsts), &|row| in_set(row.may_first));
            let locks = firsts >= self.enough.first_lock && made.locks[0] != pick + 1;
            let decides = firsts >= self.enough.fast && !is_decided;
            keep.firsts |= Picks::from(locks || decides) << pick;
            for ballot in 0..=usize::from(self.bounds.ballots) {
                let commits = possible(&|said| in_set(said.commits[ballot]), &|row| {
                    row.may_lock[ballot]
                });
                let decides = commits >= self.enough.slow && !is_decided;
                keep.commits[ballot] |= Picks::from(decides) << pick;
                let prepared = possible(&|said| in_set(said.prepared[ballot]), &|row| {
                    in_set(row.may_prepare[ballot])
                });
                let locks = prepared >= self.enough.prepare_lock && made.locks[ballot] != pick + 1;
                let is_open = ballot > 0 && made.closed >> ballot & 1 == 0;
                keep.prepared[ballot] |= Picks::from(locks && is_open) << pick;
            }
        }
        for ballot in 1..=usize::from(self.bounds.ballots) {
            closed |= Picks::from(keep.prepared[ballot] == 0) << ballot;
        }
        state.made[at].closed = closed;
        for local in state.locals_mut() {
            let said = &mut local.said[at];
            said.firsts &= keep.firsts;
            for ballot in 0..BALLOTS_MAX {
                said.prepared[ballot] &= keep.prepared[ballot];
                said.commits[ballot] &= keep.commits[ballot];
                if closed >> ballot & 1 == 1 {
                    said.told[ballot] = 0;
                }
            }
            if local.epoch == epoch {
                local.acceptor = self.tables[at].alike(local.acceptor, closed);
            }
        }
    }

    /// Notes what this state shows.
    pub(super) fn note(&self, state: &State, met: &mut Met) {
        for (epoch, made) in state.made.iter().enumerate() {
            if made.decided == 0 {
                continue;
            }
            let is_take = made.decided <= self.bounds.takes;
            let firsts = state.locals().iter().filter(|local| {
                let told = self.tables[usize::from(local.epoch)]
                    .answers(local.acceptor)
                    .told;
                local.epoch as usize == epoch && told.first == made.decided.checked_sub(1)
            });
            let is_fast = is_take && firsts.count() + self.bounds.faults >= self.enough.fast;
            met.fast += u64::from(is_fast);
            met.slow += u64::from(is_take && !is_fast);
            met.released += u64::from(!is_take);
            met.second_epoch += u64::from(is_take && epoch > 0);
            met.readable += u64::from(is_take && state.locals().iter().any(|l| l.shown > 0));
        }
    }
}

fn picks_in(set: Picks) -> impl Iterator<Item = Pick> {
    (0..Picks::BITS as Pick).filter(move |pick| set >> pick & 1 == 1)
}

fn mask(one: u8) -> Picks {
    one.checked_sub(1).map_or(0, |pick| 1 << pick)
}

/// The only value of the set, plus one; `None` if there are two.
fn single(set: Picks) -> Option<u8> {
    match set.count_ones() {
        0 => Some(0),
        1 => Some(set.trailing_zeros() as u8 + 1),
        _ => None,
    }
}

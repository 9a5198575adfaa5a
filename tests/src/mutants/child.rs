//! The half that is built with broken rules: breaks one, and looks for somebody who notices.

use std::time::{Duration, Instant};

use bts_core::mutant::Mutant;

use super::{Findings, Known, NOBODY};
use crate::directed;
use crate::model::forget::{self, ForgetBounds, InPlace};
use crate::model::{self, Bounds};
use crate::sim::batch::quietly;
use crate::sim::run::Run;
use crate::sim::swarm::Swarm;

/// How hard to look.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The first seed.
    pub from: u64,
    /// Seeds that are tried in any case.
    pub least_seeds: u64,
    /// Seeds that are tried if nothing else noticed it.
    pub most_seeds: u64,
    /// States of the model that are visited.
    pub states: usize,
    /// When to give up.
    pub time: Duration,
}

/// All mutants.
pub fn list() -> Vec<Known> {
    let known = |mutant: &Mutant| Known {
        name: format!("{mutant:?}"),
        rule: mutant.rule().to_owned(),
        breaks: mutant.breaks().to_owned(),
    };
    Mutant::ALL.iter().map(known).collect()
}

/// Breaks the rule of this name, or with the name of nobody none, and looks for somebody who
/// notices; `None` if there is no such mutant.
pub fn hunt(name: &str, effort: Effort) -> Option<Findings> {
    let mut all = Mutant::ALL.iter();
    let mutant = all.find(|mutant| format!("{mutant:?}") == name);
    if mutant.is_none() && name != NOBODY {
        return None;
    }
    Mutant::activate(mutant.copied());
    let began = Instant::now();
    let mut findings = Findings {
        schedules: schedules(),
        states: states(effort.states),
        ..Findings::default()
    };
    seeds(&mut findings, effort, began, mutant.copied());
    Mutant::activate(None);
    Some(findings)
}

fn schedules() -> Vec<(String, String)> {
    let failed = directed::all().filter_map(|schedule| {
        let why = quietly(schedule.run).err()?;
        Some((schedule.name.to_owned(), why))
    });
    failed.collect()
}

/// With the usual bounds, then with restarts and one ballot less, then of forgetting.
fn states(most: usize) -> Option<(u64, String)> {
    let usual = Bounds {
        states_max: most,
        ..Bounds::default()
    };
    let restarts = Bounds {
        restarts: true,
        ballots: 1,
        ..usual
    };
    objection(&usual)
        .or_else(|| objection(&restarts))
        .or_else(|| forgetting(most))
}

/// Without a put, then a part of what can happen with one.
fn forgetting(most: usize) -> Option<(u64, String)> {
    let puts = [(InPlace::Nothing, most), (InPlace::Put, most.min(20_000))];
    puts.into_iter().find_map(|(in_place, states_max)| {
        let bounds = ForgetBounds {
            in_place,
            states_max,
            ahead: in_place == InPlace::Put,
            ..ForgetBounds::default()
        };
        match quietly(|| forget::run(&bounds)) {
            Ok(verdict) => {
                let (violation, _) = verdict.violation?;
                Some((verdict.states as u64, format!("{violation} (forgetting)")))
            }
            Err(panic) => Some((0, panic)),
        }
    })
}

fn objection(bounds: &Bounds) -> Option<(u64, String)> {
    match quietly(|| model::run(bounds)) {
        Ok(verdict) => {
            let (violation, _) = verdict.violation?;
            Some((verdict.states as u64, violation.to_string()))
        }
        Err(panic) => Some((0, panic)),
    }
}

/// Rules of are met by few runs, as most have one configuration.
fn is_of_a_handover(mutant: Mutant) -> bool {
    ["R-7.9", "R-7.10", "R-7.11"].contains(&mutant.rule())
}

/// The run of a seed, which may be made to change its configuration.
fn draw(seed: u64, hands_over: bool) -> Swarm {
    let mut swarm = Swarm::draw(seed);
    swarm.hands_over |= hands_over;
    swarm
}

fn seeds(findings: &mut Findings, effort: Effort, began: Instant, mutant: Option<Mutant>) {
    let count = match findings.is_caught() {
        true => effort.least_seeds,
        false => effort.most_seeds,
    };
    let hands_over = mutant.is_some_and(is_of_a_handover);
    for seed in effort.from..effort.from + count {
        if began.elapsed() > effort.time {
            return;
        }
        findings.tried += 1;
        let failed = match quietly(|| Run::of(draw(seed, hands_over)).finish().0) {
            Ok(report) => report.violations.first().cloned(),
            Err(panic) => Some(panic),
        };
        if let Some(why) = failed {
            findings.seeds = Some((findings.tried, format!("seed {seed}: {why}")));
            return;
        }
    }
}

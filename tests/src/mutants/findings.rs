//! What the two halves of the command tell each other, one line each.

use std::fmt;
use std::time::Duration;

/// A mutant, as its half of the command lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// The rule it breaks.
    pub rule: String,
    /// What it does.
    pub breaks: String,
}

impl Known {
    /// From a line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split('\t').map(str::to_owned);
        Some(Self {
            name: parts.next()?,
            rule: parts.next()?,
            breaks: parts.next()?,
        })
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}", self.name, self.rule, self.breaks)
    }
}

/// What noticed one mutant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The directed schedules that fail, and why.
    pub schedules: Vec<(String, String)>,
    /// After how many seeds a simulated run failed, and why.
    pub seeds: Option<(u64, String)>,
    /// Seeds that were tried.
    pub tried: u64,
    /// How many states the model check had visited when it objected, and to what.
    pub states: Option<(u64, String)>,
    /// How long all of it took.
    pub took: Duration,
}

impl Findings {
    /// True if anything noticed it.
    pub fn is_caught(&self) -> bool {
        !self.schedules.is_empty() || self.seeds.is_some() || self.states.is_some()
    }

    /// Takes in a line of the other half.
    pub fn note(&mut self, line: &str) {
        let parts: Vec<_> = line.split('\t').collect();
        let number = |text: &str| text.parse().unwrap_or(0);
        match parts[..] {
            ["schedule", name, why] => self.schedules.push((name.to_owned(), why.to_owned())),
            ["seed", count, why] => self.seeds = Some((number(count), why.to_owned())),
            ["states", count, why] => self.states = Some((number(count), why.to_owned())),
            ["tried", count] => self.tried = number(count),
            _ => {}
        }
    }

    /// The lines that tell them.
    pub fn lines(&self) -> Vec<String> {
        let flat = |text: &str| text.replace(['\n', '\t'], " ");
        let schedules = self.schedules.iter();
        let schedules = schedules.map(|(name, why)| format!("schedule\t{name}\t{}", flat(why)));
        let seeds = self.seeds.iter();
        let seeds = seeds.map(|(count, why)| format!("seed\t{count}\t{}", flat(why)));
        let states = self.states.iter();
        let states = states.map(|(count, why)| format!("states\t{count}\t{}", flat(why)));
        let tried = format!("tried\t{}", self.tried);
        schedules
            .chain(seeds)
            .chain(states)
            .chain([tried])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_findings_survive_the_pipe() {
        let findings = Findings {
            schedules: vec![("a1".to_owned(), "None\nwas wrong".to_owned())],
            seeds: Some((7, "two Takes won".to_owned())),
            tried: 7,
            states: Some((100, "disagreement".to_owned())),
            took: Duration::ZERO,
        };
        let mut heard = Findings::default();
        findings.lines().iter().for_each(|line| heard.note(line));
        assert_eq!(heard.schedules[0].1, "None was wrong");
        assert_eq!((heard.seeds, heard.tried), (findings.seeds, 7));
        assert_eq!(heard.states, findings.states);
    }

    #[test]
    fn mutants_list_survives_the_pipe() {
        let known = Known {
            name: "FirstVoteTwice".to_owned(),
            rule: "R-3.1".to_owned(),
            breaks: "votes twice".to_owned(),
        };
        assert_eq!(Known::parse(&known.to_string()), Some(known));
        assert_eq!(Known::parse("half"), None);
    }
}

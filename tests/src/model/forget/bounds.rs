//! How much is explored, and what was found.

use std::fmt;

use super::cast::CORRECT;
use super::{ForgetTwist, ForgetViolation};

/// What comes in the place of the entry that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InPlace {
    /// Nothing.
    Nothing,
    /// Another entry, which stays.
    Put,
    /// Another entry, which may be taken in its turn.
    Taken,
}

/// Of what can happen around a put that is taken in its turn, so many states are visited.
const TAKEN_STATES_MAX: usize = 5_000_000;

/// How much is explored.
#[derive(Clone, Copy, Debug)]
pub struct ForgetBounds {
    /// What the decision puts.
    pub in_place: InPlace,
    /// Whether the last correct replica holds the entry in the beginning, as the others do.
    pub late_holds: bool,
    /// Whether in the beginning not one replica but two have applied the decision, and that of the put
    /// if it is taken, know of each other that they applied the first, and that its winner knows.
    pub ahead: bool,
    /// Whether the faulty replica says at once that it applied everything, instead of at any time.
    pub liar_at_once: bool,
    /// Whether hostile clients say that entries are gone.
    pub dropped: bool,
    /// How many times a correct replica loses its power, at any time.
    pub restarts: u8,
    /// A rule to break, to see that the check sees it.
    pub twist: Option<ForgetTwist>,
    /// Whether it is wrong already to forget against the rules, and not only what comes of it.
    pub strict: bool,
    /// Whether from one state of each kind real replicas are left to themselves.
    pub finish: bool,
    /// After so many states the search gives up.
    pub states_max: usize,
}

impl Default for ForgetBounds {
    fn default() -> Self {
        Self {
            in_place: InPlace::Nothing,
            late_holds: true,
            ahead: false,
            liar_at_once: true,
            dropped: true,
            restarts: 0,
            twist: None,
            strict: true,
            finish: true,
            states_max: 200_000_000,
        }
    }
}

impl ForgetBounds {
    /// All that is explored as a matter of course: a put or none, and one that is taken in its turn; a
    /// late replica that holds the entry, or lacks it.
    pub fn usual() -> impl Iterator<Item = Self> {
        let puts = [InPlace::Nothing, InPlace::Put, InPlace::Taken];
        let each = |in_place| {
            [true, false].map(|late_holds| Self {
                in_place,
                late_holds,
                ahead: in_place != InPlace::Nothing,
                dropped: in_place == InPlace::Nothing,
                states_max: match in_place {
                    InPlace::Nothing | InPlace::Put => Self::default().states_max,
                    InPlace::Taken => TAKEN_STATES_MAX,
                },
                ..Self::default()
            })
        };
        puts.into_iter().flat_map(each)
    }

    /// Where this broken rule shows.
    pub fn breaking(twist: ForgetTwist) -> Self {
        let in_place = match twist {
            ForgetTwist::Unsettled | ForgetTwist::Unlogged | ForgetTwist::RangeNotStored => {
                InPlace::Nothing
            }
            ForgetTwist::PutLives | ForgetTwist::OneBelieved | ForgetTwist::UnknownForgotten => {
                InPlace::Put
            }
        };
        Self {
            in_place,
            twist: Some(twist),
            ..Self::default()
        }
    }
}

impl fmt::Display for ForgetBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = if self.late_holds { "holds" } else { "lacks" };
        write!(
            f,
            "in-place={:?} late={late} restarts={}",
            self.in_place, self.restarts
        )?;
        for (is_so, name) in [
            (self.ahead, " ahead"),
            (!self.liar_at_once, " liar-any-time"),
        ] {
            f.write_str(if is_so { name } else { "" })?;
        }
        if !self.dropped {
            f.write_str(" no-dropped")?;
        }
        if !self.strict {
            f.write_str(" consequences")?;
        }
        self.twist.map_or(Ok(()), |twist| write!(f, " {twist}"))
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForgetVerdict {
    /// Distinct states.
    pub states: usize,
    /// Steps between them.
    pub transitions: u64,
    /// Steps to the farthest state.
    pub depth: usize,
    /// States in which each replica was found.
    pub machines: [usize; CORRECT],
    /// Whether all states were visited.
    pub is_complete: bool,
    /// States in which all correct replicas have forgotten the entry, or dropped it.
    pub forgotten: u64,
    /// States in which one has dropped it without its decision.
    pub skipped: u64,
    /// Runs to the end of real replicas.
    pub finished: usize,
    /// What is wrong, and the way there.
    pub violation: Option<(ForgetViolation, Vec<String>)>,
}

impl ForgetVerdict {
    /// True if everything was visited and nothing was wrong.
    pub fn holds(&self) -> bool {
        self.is_complete && self.violation.is_none()
    }
}

impl fmt::Display for ForgetVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} transitions, depth {}, machines {:?}, forgotten in {}, skipped in {}, {} runs to the end: ",
            self.states,
            self.transitions,
            self.depth,
            self.machines,
            self.forgotten,
            self.skipped,
            self.finished
        )?;
        match &self.violation {
            Some((violation, _)) => write!(f, "VIOLATION, {violation}"),
            None if self.is_complete => f.write_str("holds in every state"),
            None => f.write_str("holds so far, not complete"),
        }
    }
}

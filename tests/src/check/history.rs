//! Histories: what correct clients called, when, and what they were told; and the *ghosts* that
//! stand for what hostile clients may have done meanwhile.

use std::fmt;

use bts_core::ids::{EntryId, SpaceName};
use bts_core::message::Found;
use bts_core::template::Template;
use bts_core::tuple::{Field, Tuple};

/// A position in the one order in which everything observable happened.
pub type Moment = u64;

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whose it is, for people.
    pub who: String,
    /// Which process of this client; histories of many processes need it to tell them apart.
    pub session: u64,
    /// In which space.
    pub space: SpaceName,
    /// What was called.
    pub call: Call,
    /// Whether it waits for what is not there yet, so that it never finds nothing.
    pub waits: bool,
    /// When.
    pub started: Moment,
    /// When the answer came; `None`: it did not, or says nothing about the effect, which may
    /// therefore happen at any later time.
    pub ended: Option<Moment>,
    /// The answer.
    pub answer: Answer,
}

/// What can be called. A blocking operation takes effect once, as the attempt that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `out`.
    Out(Tuple),
    /// `rd`, `rdp`.
    Read(Template),
    /// `in`, `inp`.
    Take(Template),
    /// `swap`, `swapp`.
    Swap(Template),
    /// A listing, which is no snapshot.
    List(Template),
    /// Something that no correct client called but that may have happened.
    Ghost,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The entry of an `out` is written.
    Written(EntryId),
    /// A read or a take found this.
    Found(Found),
    /// A swap took one entry and put others in its place.
    Swapped(Found, Vec<Found>),
    /// The swap's function declined this entry.
    Declined(Found),
    /// Nothing matched.
    None,
    /// All of these were there at some time.
    Listed(Vec<Found>),
    /// Nobody was told: one of these effects, or none, at any time after the start.
    Open(Vec<Effect>),
    /// It surely had no effect, and says nothing.
    Nothing,
}

/// A change of the space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An entry appears.
    Write(Found),
    /// An entry goes, others come in its place.
    Replace(Found, Vec<Found>),
}

impl Operation {
    /// True if it could have preceded `other` in every order: it ended before that one started.
    pub fn precedes(&self, other: &Self) -> bool {
        self.ended.is_some_and(|ended| ended < other.started)
    }

    /// True if no order of any operations explains the answer: what it names is not what was
    /// asked for, or it waits and found nothing.
    pub fn is_nonsense(&self) -> bool {
        let fits = |content: &Found| {
            let matches = self.template().is_none_or(|t| t.matches(&content.tuple));
            matches && *content.id.space() == self.space
        };
        self.waits && self.answer == Answer::None || !self.seen().iter().all(fits)
    }

    /// What it asked for, if it was no `out`.
    pub fn template(&self) -> Option<&Template> {
        match &self.call {
            Call::Read(t) | Call::Take(t) | Call::Swap(t) | Call::List(t) => Some(t),
            Call::Out(_) | Call::Ghost => None,
        }
    }

    /// What it surely wrote.
    pub fn written(&self) -> Vec<Found> {
        match (&self.call, &self.answer) {
            (Call::Out(tuple), Answer::Written(id)) => vec![Found {
                id: id.clone(),
                tuple: tuple.clone(),
            }],
            (_, Answer::Swapped(_, puts)) => puts.clone(),
            _ => Vec::new(),
        }
    }

    /// What it surely took.
    pub fn taken(&self) -> Option<&Found> {
        match (&self.call, &self.answer) {
            (Call::Take(_), Answer::Found(found)) | (_, Answer::Swapped(found, _)) => Some(found),
            _ => None,
        }
    }

    /// True if it saw this entry, with whatever content: one that a faulty writer gave several is
    /// listed once.
    pub fn saw(&self, id: &EntryId) -> bool {
        self.seen().iter().any(|seen| seen.id == *id)
    }

    /// What it saw, taken or not.
    pub fn seen(&self) -> &[Found] {
        match &self.answer {
            Answer::Found(found) | Answer::Swapped(found, _) | Answer::Declined(found) => {
                std::slice::from_ref(found)
            }
            Answer::Listed(all) => all,
            _ => &[],
        }
    }

    /// What it may have done, for all that is known.
    pub fn possible(&self) -> &[Effect] {
        match &self.answer {
            Answer::Open(effects) => effects,
            _ => &[],
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:>6} ", self.started)?;
        match self.ended {
            Some(ended) => write!(f, "{ended:>6}]")?,
            None => write!(f, "   ...]")?,
        }
        let Self { who, space, .. } = self;
        write!(f, " {who:<5} {space} {} -> {}", self.call, self.answer)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Out(tuple) => write!(f, "out {}", short(tuple)),
            Self::Read(template) => write!(f, "read {}", short_template(template)),
            Self::Take(template) => write!(f, "take {}", short_template(template)),
            Self::Swap(template) => write!(f, "swap {}", short_template(template)),
            Self::List(template) => write!(f, "list {}", short_template(template)),
            Self::Ghost => f.write_str("ghost"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(id) => write!(f, "written {id}"),
            Self::Found(found) => write!(f, "{}", Shown(found)),
            Self::Swapped(taken, puts) => {
                write!(f, "{} became", Shown(taken))?;
                puts.iter().try_for_each(|put| write!(f, " {}", Shown(put)))
            }
            Self::Declined(found) => write!(f, "declined {}", Shown(found)),
            Self::None => f.write_str("none"),
            Self::Listed(all) => {
                write!(f, "{} listed", all.len())?;
                all.iter().try_for_each(|one| write!(f, " {}", Shown(one)))
            }
            Self::Open(effects) => {
                f.write_str("?")?;
                effects.iter().try_for_each(|effect| write!(f, " {effect}"))
            }
            Self::Nothing => f.write_str("no effect"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(found) => write!(f, "+{}", Shown(found)),
            Self::Replace(taken, puts) => {
                write!(f, "-{}", Shown(taken))?;
                puts.iter().try_for_each(|put| write!(f, "+{}", Shown(put)))
            }
        }
    }
}

/// An entry with its tuple, in one word.
#[derive(Debug)]
pub struct Shown<'a>(pub &'a Found);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.id, short(&self.0.tuple))
    }
}

/// A tuple as people write it.
pub fn short(tuple: &Tuple) -> String {
    let fields: Vec<_> = tuple.fields().iter().map(short_field).collect();
    format!("({})", fields.join(","))
}

/// A template as people write it.
pub fn short_template(template: &Template) -> String {
    use bts_core::template::Pattern;
    let pattern = |pattern: &Pattern| match pattern {
        Pattern::Exact(field) => short_field(field),
        Pattern::Typed(kind) => format!("{kind:?}").to_lowercase(),
        Pattern::Any => "*".to_owned(),
    };
    let patterns: Vec<_> = template.patterns().iter().map(pattern).collect();
    format!("({})", patterns.join(","))
}

fn short_field(field: &Field) -> String {
    match field {
        Field::Int(number) => format!("{number}i"),
        Field::Uint(number) => number.to_string(),
        Field::Float(number) => format!("{number:?}"),
        Field::Bool(truth) => truth.to_string(),
        Field::Text(text) => text.clone(),
        Field::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

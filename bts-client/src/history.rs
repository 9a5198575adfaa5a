//! Histories as JSON lines: what clients called and were told, when, and which entries that
//! concerned. `docs/histories.md` describes the format for other programs.
//!
//! ```
//! use bts_client::history::Record;
//!
//! # fn main() -> Result<(), bts_client::history::BadRecord> {
//! let text = r#"{"client":"c1","session":1,"space":"jobs","op":"inp","arg":["a",{"type":"uint"}],"puts":null,"start_ns":5,"end_ns":9,"outcome":"none","tuple":null,"id":null,"new_ids":[]}"#;
//! let Record::Operation(line) = Record::parse(text)? else {
//!     panic!("a line of an operation");
//! };
//! assert_eq!(line.space, "jobs");
//! assert_eq!(Record::Operation(line).to_string(), text);
//! # Ok(())
//! # }
//! ```
//!
//! Whoever writes histories fills [`Line`]s; whoever judges them reads them back. Nothing here
//! knows what a right history is.

mod id;
mod raw;

use std::fmt;

use bts_core::ids::EntryId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::template::Template;
use crate::tuple::Tuple;

pub use id::{BadId, parse_id, show_id};

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Another history begins, of this name.
    Begin(String),
    /// An operation of the history.
    Operation(Box<Line>),
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose it is, for people.
    pub client: String,
    /// Which process of this client.
    pub session: u64,
    /// In which space.
    pub space: String,
    /// What was called.
    pub op: Op,
    /// What it was called with.
    pub arg: Argument,
    /// What a swap put in place of what it took; `None`: it put nothing since it declined, or it
    /// is not known, or the operation is no swap.
    pub puts: Option<Vec<Tuple>>,
    /// When it was called, by a clock that all lines of the history share.
    pub start_ns: u64,
    /// When it ended; `None`: nobody knows whether and when it takes effect.
    pub end_ns: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The tuple that was written, read or taken.
    pub tuple: Option<Tuple>,
    /// The identity of the entry that was written, read or taken.
    pub id: Option<EntryId>,
    /// The identities of the entries that a swap put, in the order of `puts`.
    pub new_ids: Vec<EntryId>,
    /// What a listing listed.
    pub listed: Vec<Entry>,
    /// What an operation whose outcome is unknown may have done: one of these, or nothing.
    pub may: Vec<Effect>,
}

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// `out`.
    Out,
    /// `rd`: waits.
    Rd,
    /// `rdp`: does not.
    Rdp,
    /// `in`: waits.
    In,
    /// `inp`: does not.
    Inp,
    /// `swap`: waits.
    Swap,
    /// `swapp`: does not.
    Swapp,
    /// A listing.
    List,
    /// Nothing that a correct client called, but something that may have happened.
    Ghost,
}

/// What an operation was called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A tuple, of an `out`.
    Tuple(Tuple),
    /// A template, of whatever looks for something.
    Template(Template),
    /// Nothing, of a ghost.
    Nothing,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did what it should; a swap without `puts` declined what it found.
    Ok,
    /// Nothing matched.
    None,
    /// It surely had no effect, and says nothing else.
    Refused,
    /// It may have had one of the effects in `may`, at any time after it was called.
    Unknown,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub id: EntryId,
    /// Its tuple.
    pub tuple: Tuple,
}

/// One step that may have been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What went, if anything.
    pub takes: Option<Entry>,
    /// What came, in the same step.
    pub puts: Vec<Entry>,
}

/// Why a line is none of a history.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BadRecord {
    /// It is not JSON, or has not the members of a line.
    #[error("no line of a history: {0}")]
    Json(#[from] serde_json::Error),
    /// A tuple or a template is none.
    #[error("{member}: {source}")]
    Text {
        /// Which member.
        member: &'static str,
        /// What is wrong with it.
        source: crate::text::ParseError,
    },
    /// An identity is none.
    #[error(transparent)]
    Id(#[from] BadId),
    /// The members contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl Record {
    /// Reads a line.
    pub fn parse(text: &str) -> Result<Self, BadRecord> {
        raw::parse(text)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&raw::show(self))
    }
}

#[cfg(test)]
mod tests {
    use bts_core::ids::{PublicKey, Seq, Session, SpaceName};
    use proptest::prelude::*;

    use super::*;
    use crate::template::Pattern;
    use crate::tuple::tests::any_field;

    fn any_id() -> impl Strategy<Value = EntryId> {
        let path = prop::collection::vec(0..3u16, 0..5);
        let root = (any::<[u8; 32]>(), any::<u64>(), any::<u64>());
        (root, path).prop_map(|((key, session, seq), path)| {
            let space = SpaceName::new("jobs").expect("a good name");
            let root = EntryId::written(space, PublicKey(key), Session(session), Seq(seq));
            path.into_iter()
                .fold(root, |id, index| id.put(index).expect("few runs"))
        })
    }

    fn any_tuple() -> impl Strategy<Value = Tuple> {
        prop::collection::vec(any_field(), 0..4).prop_map(Tuple)
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        (any_id(), any_tuple()).prop_map(|(id, tuple)| Entry { id, tuple })
    }

    fn any_effect() -> impl Strategy<Value = Effect> {
        let takes = prop::option::of(any_entry());
        let puts = prop::collection::vec(any_entry(), 0..3);
        (takes, puts).prop_map(|(takes, puts)| Effect { takes, puts })
    }

    fn any_template() -> impl Strategy<Value = Template> {
        let pattern = prop_oneof![
            any_field().prop_map(Pattern::Exact),
            any_field().prop_map(|field| Pattern::Typed(field.field_type())),
            Just(Pattern::Any),
        ];
        prop::collection::vec(pattern, 0..4).prop_map(Template)
    }

    fn any_line() -> impl Strategy<Value = Line> {
        let call = prop_oneof![
            any_tuple().prop_map(|tuple| (Op::Out, Argument::Tuple(tuple))),
            (
                prop::sample::select(vec![Op::Rd, Op::Rdp, Op::In, Op::Inp, Op::Swap, Op::List]),
                any_template().prop_map(Argument::Template),
            ),
            Just((Op::Ghost, Argument::Nothing)),
        ];
        let new = prop::collection::vec(any_entry(), 0..3);
        let may = prop::collection::vec(any_effect(), 0..3);
        let listed = prop::collection::vec(any_entry(), 0..3);
        let times = (any::<u32>(), any::<u32>(), any::<bool>());
        let what = (any_entry(), new, listed, may, any::<bool>());
        (call, times, what, any::<String>()).prop_map(
            |((op, arg), (start, span, ended), what, client)| {
                let (entry, new, listed, may, declined) = what;
                let puts = (!declined).then(|| new.iter().map(|put| put.tuple.clone()).collect());
                let new_ids = new.into_iter().filter(|_| !declined).map(|put| put.id);
                let (start, end) = (u64::from(start), u64::from(start) + u64::from(span));
                Line {
                    client,
                    session: u64::from(span),
                    space: "jobs".to_owned(),
                    op,
                    arg,
                    puts,
                    start_ns: start,
                    end_ns: ended.then_some(end),
                    outcome: if ended { Outcome::Ok } else { Outcome::Unknown },
                    tuple: Some(entry.tuple),
                    id: Some(entry.id),
                    new_ids: new_ids.collect(),
                    listed,
                    may,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn history_line_reads_back(line in any_line()) {
            let record = Record::Operation(Box::new(line));
            let text = record.to_string();
            prop_assert!(!text.contains('\n'), "one line: {text}");
            prop_assert_eq!(Record::parse(&text).expect("it was written so"), record);
        }

        #[test]
        fn history_header_reads_back(name in any::<String>()) {
            let record = Record::Begin(name);
            prop_assert_eq!(Record::parse(&record.to_string()).expect("written so"), record);
        }
    }

    #[test]
    fn history_lines_without_sense_are_refused() {
        let line = |change: (&str, &str)| {
            let good = r#"{"client":"c","session":1,"space":"s","op":"out","arg":["a"],"start_ns":5,"end_ns":null,"outcome":"unknown"}"#;
            Record::parse(&good.replace(change.0, change.1)).map_err(|error| error.to_string())
        };
        assert!(line(("", "")).is_ok());
        for (change, told) in [
            (("unknown", "ok"), "\"ok\" needs \"id\" and \"tuple\""),
            (("unknown", "none"), "what was answered has an \"end_ns\""),
            (("null", "4"), "it ended before it started"),
            (("[\"a\"]", "7"), "\"arg\" is a list"),
            (
                ("[\"a\"]", "[null]"),
                "arg: field 0: a wildcard can stand in templates only",
            ),
        ] {
            assert_eq!(line(change), Err(told.to_owned()));
        }
        assert!(line(("\"space\"", "\"place\"")).is_err());
        assert!(Record::parse(r#"{"history":"x","format":2}"#).is_err());
    }
}

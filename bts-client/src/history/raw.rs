//! The members of a line, in JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Argument, BadRecord, Effect, Entry, Line, Op, Outcome, Record, parse_id, show_id};
use crate::text;
use crate::tuple::Tuple;

/// The format that this program writes, and the only one that it reads.
const FORMAT: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    history: String,
    format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    client: String,
    session: u64,
    space: String,
    op: Op,
    #[serde(default)]
    arg: Value,
    #[serde(default)]
    puts: Option<Vec<Vec<Value>>>,
    start_ns: u64,
    #[serde(default)]
    end_ns: Option<u64>,
    outcome: Outcome,
    #[serde(default)]
    tuple: Option<Vec<Value>>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    new_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    listed: Vec<Named>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    may: Vec<Step>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    id: String,
    tuple: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    takes: Option<Named>,
    puts: Vec<Named>,
}

pub(super) fn show(record: &Record) -> String {
    let text = match record {
        Record::Begin(name) => serde_json::to_string(&Header {
            history: name.clone(),
            format: FORMAT,
        }),
        Record::Operation(line) => serde_json::to_string(&members(line)),
    };
    text.expect("keys are strings and nothing else can fail")
}

pub(super) fn parse(text: &str) -> Result<Record, BadRecord> {
    let value: Value = serde_json::from_str(text)?;
    if value.get("history").is_some() {
        let header: Header = serde_json::from_value(value)?;
        return match header.format {
            FORMAT => Ok(Record::Begin(header.history)),
            _ => Err(BadRecord::Contradiction("a format of another version")),
        };
    }
    let line = line(serde_json::from_value(value)?)?;
    Ok(Record::Operation(Box::new(line)))
}

fn members(line: &Line) -> Members {
    Members {
        client: line.client.clone(),
        session: line.session,
        space: line.space.clone(),
        op: line.op,
        arg: match &line.arg {
            Argument::Tuple(tuple) => Value::Array(text::tuple_values(tuple)),
            Argument::Template(template) => Value::Array(text::template_values(template)),
            Argument::Nothing => Value::Null,
        },
        puts: line
            .puts
            .as_ref()
            .map(|puts| puts.iter().map(text::tuple_values).collect()),
        start_ns: line.start_ns,
        end_ns: line.end_ns,
        outcome: line.outcome,
        tuple: line.tuple.as_ref().map(text::tuple_values),
        id: line.id.as_ref().map(show_id),
        new_ids: line.new_ids.iter().map(show_id).collect(),
        listed: line.listed.iter().map(named).collect(),
        may: line
            .may
            .iter()
            .map(|effect| Step {
                takes: effect.takes.as_ref().map(named),
                puts: effect.puts.iter().map(named).collect(),
            })
            .collect(),
    }
}

fn line(members: Members) -> Result<Line, BadRecord> {
    let puts = members.puts.map(|puts| all(puts, |put| tuple("puts", put)));
    let line = Line {
        arg: argument(members.op, members.arg)?,
        client: members.client,
        session: members.session,
        space: members.space,
        op: members.op,
        puts: puts.transpose()?,
        start_ns: members.start_ns,
        end_ns: members.end_ns,
        outcome: members.outcome,
        tuple: members
            .tuple
            .map(|fields| tuple("tuple", fields))
            .transpose()?,
        id: members.id.as_deref().map(parse_id).transpose()?,
        new_ids: all(members.new_ids, |id| Ok(parse_id(&id)?))?,
        listed: all(members.listed, entry)?,
        may: all(members.may, |step| {
            Ok(Effect {
                takes: step.takes.map(entry).transpose()?,
                puts: all(step.puts, entry)?,
            })
        })?,
    };
    match objection(&line) {
        Some(why) => Err(BadRecord::Contradiction(why)),
        None => Ok(line),
    }
}

/// What no reader could make sense of.
fn objection(line: &Line) -> Option<&'static str> {
    let names_entry = line.id.is_some() && line.tuple.is_some();
    let puts = line.puts.as_ref().map_or(0, Vec::len);
    let is_single = !matches!(line.op, Op::List | Op::Ghost);
    match line.outcome {
        _ if line.end_ns.is_some_and(|end| end < line.start_ns) => {
            Some("it ended before it started")
        }
        Outcome::Ok if is_single && !names_entry => Some("\"ok\" needs \"id\" and \"tuple\""),
        Outcome::Ok | Outcome::None if line.end_ns.is_none() => {
            Some("what was answered has an \"end_ns\"")
        }
        Outcome::Ok if puts != line.new_ids.len() => {
            Some("each of \"puts\" has one of \"new_ids\"")
        }
        _ => None,
    }
}

fn argument(op: Op, value: Value) -> Result<Argument, BadRecord> {
    let text = |source| BadRecord::Text {
        member: "arg",
        source,
    };
    match (op, value) {
        (Op::Ghost, _) => Ok(Argument::Nothing),
        (Op::Out, Value::Array(fields)) => tuple("arg", fields).map(Argument::Tuple),
        (_, Value::Array(patterns)) => {
            let template = text::template_of(patterns).map_err(text)?;
            Ok(Argument::Template(template))
        }
        (_, _) => Err(BadRecord::Contradiction("\"arg\" is a list")),
    }
}

fn named(entry: &Entry) -> Named {
    Named {
        id: show_id(&entry.id),
        tuple: text::tuple_values(&entry.tuple),
    }
}

fn entry(named: Named) -> Result<Entry, BadRecord> {
    Ok(Entry {
        id: parse_id(&named.id)?,
        tuple: tuple("tuple", named.tuple)?,
    })
}

fn tuple(member: &'static str, fields: Vec<Value>) -> Result<Tuple, BadRecord> {
    text::tuple_of(fields).map_err(|source| BadRecord::Text { member, source })
}

fn all<T, U>(items: Vec<T>, read: impl Fn(T) -> Result<U, BadRecord>) -> Result<Vec<U>, BadRecord> {
    items.into_iter().map(read).collect()
}

//! Histories in files: operations as lines of `bts_client::history`, and back. A file holds any
//! number of histories, each after a line with its name.

use std::fmt::Write;

use bts_client::history::{Argument, BadRecord, Effect, Entry, Line, Op, Outcome, Record};
use bts_core::ids::SpaceName;
use bts_core::message::Found;

use super::history::{self, Answer, Call, Operation};

/// A history with its name.
pub type Named = (String, Vec<Operation>);

/// Why a text holds no histories.
#[derive(Debug)]
pub struct BadLine {
    /// Which line, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub why: String,
}

/// A history as text, after a line with its name.
pub fn write(name: &str, history: &[Operation]) -> String {
    let mut text = String::new();
    let lines = history
        .iter()
        .map(|one| Record::Operation(Box::new(line(one))));
    for record in [Record::Begin(name.to_owned())].into_iter().chain(lines) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{record}");
    }
    text
}

/// The histories of a text.
pub fn read(text: &str) -> Result<Vec<Named>, BadLine> {
    let mut histories: Vec<Named> = Vec::new();
    for (number, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.is_empty()) {
        let bad = |why: String| BadLine { number, why };
        match Record::parse(text).map_err(|error: BadRecord| bad(error.to_string()))? {
            Record::Begin(name) => histories.push((name, Vec::new())),
            Record::Operation(line) => {
                let operation = operation(*line).map_err(bad)?;
                match histories.last_mut() {
                    Some((_, history)) => history.push(operation),
                    None => histories.push((String::new(), vec![operation])),
                }
            }
        }
    }
    Ok(histories)
}

fn line(operation: &Operation) -> Line {
    let (outcome, entry) = match &operation.answer {
        Answer::Written(_) => (Outcome::Ok, operation.written().first().map(entry)),
        Answer::Found(found) | Answer::Declined(found) | Answer::Swapped(found, _) => {
            (Outcome::Ok, Some(entry(found)))
        }
        Answer::Listed(_) => (Outcome::Ok, None),
        Answer::None => (Outcome::None, None),
        Answer::Open(_) => (Outcome::Unknown, None),
        Answer::Nothing => (Outcome::Refused, None),
    };
    let puts = match &operation.answer {
        Answer::Swapped(_, puts) => Some(puts.as_slice()),
        _ => None,
    };
    let tuples = |puts: &[Found]| puts.iter().map(|put| put.tuple.clone()).collect();
    Line {
        client: operation.who.clone(),
        session: operation.session,
        space: operation.space.as_str().to_owned(),
        op: op(operation),
        arg: match &operation.call {
            Call::Out(tuple) => Argument::Tuple(tuple.clone()),
            Call::Read(t) | Call::Take(t) | Call::Swap(t) | Call::List(t) => {
                Argument::Template(t.clone())
            }
            Call::Ghost => Argument::Nothing,
        },
        puts: puts.map(tuples),
        start_ns: operation.started,
        end_ns: operation.ended,
        outcome,
        id: entry.as_ref().map(|entry| entry.id.clone()),
        tuple: entry.map(|entry| entry.tuple),
        new_ids: puts
            .into_iter()
            .flatten()
            .map(|put| put.id.clone())
            .collect(),
        listed: match &operation.answer {
            Answer::Listed(all) => all.iter().map(self::entry).collect(),
            _ => Vec::new(),
        },
        may: operation.possible().iter().map(effect).collect(),
    }
}

fn op(operation: &Operation) -> Op {
    match (&operation.call, operation.waits) {
        (Call::Out(_), _) => Op::Out,
        (Call::Read(_), true) => Op::Rd,
        (Call::Read(_), false) => Op::Rdp,
        (Call::Take(_), true) => Op::In,
        (Call::Take(_), false) => Op::Inp,
        (Call::Swap(_), true) => Op::Swap,
        (Call::Swap(_), false) => Op::Swapp,
        (Call::List(_), _) => Op::List,
        (Call::Ghost, _) => Op::Ghost,
    }
}

fn entry(found: &Found) -> Entry {
    Entry {
        id: found.id.clone(),
        tuple: found.tuple.clone(),
    }
}

fn effect(effect: &history::Effect) -> Effect {
    let (takes, puts) = match effect {
        history::Effect::Write(found) => (None, std::slice::from_ref(found)),
        history::Effect::Replace(taken, puts) => (Some(entry(taken)), puts.as_slice()),
    };
    Effect {
        takes,
        puts: puts.iter().map(entry).collect(),
    }
}

fn operation(line: Line) -> Result<Operation, String> {
    let space = SpaceName::new(&line.space).map_err(|error| error.to_string())?;
    Ok(Operation {
        answer: answer(&line)?,
        who: line.client,
        session: line.session,
        waits: matches!(line.op, Op::Rd | Op::In | Op::Swap),
        space,
        call: call(line.op, line.arg)?,
        started: line.start_ns,
        ended: line.end_ns,
    })
}

fn call(op: Op, arg: Argument) -> Result<Call, String> {
    match (op, arg) {
        (Op::Ghost, _) => Ok(Call::Ghost),
        (Op::Out, Argument::Tuple(tuple)) => Ok(Call::Out(tuple)),
        (Op::Rd | Op::Rdp, Argument::Template(template)) => Ok(Call::Read(template)),
        (Op::In | Op::Inp, Argument::Template(template)) => Ok(Call::Take(template)),
        (Op::Swap | Op::Swapp, Argument::Template(template)) => Ok(Call::Swap(template)),
        (Op::List, Argument::Template(template)) => Ok(Call::List(template)),
        (op, arg) => Err(format!("{op:?} is not called with {arg:?}")),
    }
}

fn answer(line: &Line) -> Result<Answer, String> {
    let found = line.id.clone().zip(line.tuple.clone());
    let found = found.map(|(id, tuple)| Found { id, tuple });
    let answer = match (line.outcome, line.op) {
        (Outcome::None, _) => Answer::None,
        (Outcome::Refused, _) => Answer::Nothing,
        (Outcome::Unknown, _) => {
            let effects: Result<_, _> = line.may.iter().map(possible).collect();
            Answer::Open(effects?)
        }
        (Outcome::Ok, Op::List) => Answer::Listed(line.listed.iter().map(content).collect()),
        (Outcome::Ok, Op::Ghost) => return Err("a ghost has no answer".to_owned()),
        (Outcome::Ok, op) => {
            let found = found.ok_or("\"ok\" needs \"id\" and \"tuple\"")?;
            match (op, &line.puts) {
                (Op::Out, _) => Answer::Written(found.id),
                (Op::Swap | Op::Swapp, None) => Answer::Declined(found),
                (Op::Swap | Op::Swapp, Some(puts)) => {
                    let puts = line.new_ids.iter().cloned().zip(puts.iter().cloned());
                    let puts = puts.map(|(id, tuple)| Found { id, tuple });
                    Answer::Swapped(found, puts.collect())
                }
                _ => Answer::Found(found),
            }
        }
    };
    Ok(answer)
}

fn possible(effect: &Effect) -> Result<history::Effect, String> {
    let puts: Vec<_> = effect.puts.iter().map(content).collect();
    match (&effect.takes, puts.as_slice()) {
        (Some(taken), _) => Ok(history::Effect::Replace(content(taken), puts)),
        (None, [written]) => Ok(history::Effect::Write(written.clone())),
        (None, _) => Err("what takes nothing puts one entry".to_owned()),
    }
}

fn content(entry: &Entry) -> Found {
    Found {
        id: entry.id.clone(),
        tuple: entry.tuple.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::run::Run;

    /// Runs with hostile clients, cancelled and unanswered operations, swaps and listings.
    #[test]
    fn lines_of_simulated_histories_read_back() {
        let mut text = String::new();
        let mut histories = Vec::new();
        for seed in 1..30 {
            let history = Run::new(seed).finish().0.history;
            text += &write(&format!("seed {seed}"), &history);
            histories.push((format!("seed {seed}"), history));
        }
        let back = read(&text).unwrap_or_else(|bad| panic!("line {}: {}", bad.number, bad.why));
        assert_eq!(back, histories);
        for part in [
            "\"outcome\":\"none\"",
            "\"outcome\":\"unknown\"",
            "\"op\":\"ghost\"",
            "\"op\":\"list\"",
            "\"op\":\"in\"",
            "\"may\":[{\"takes\":{",
        ] {
            assert!(text.contains(part), "no {part} in any of them");
        }
    }

    #[test]
    fn lines_that_are_wrong_are_named() {
        let bad = read("{\"history\":\"x\",\"format\":1}\n\n{}\n").expect_err("an empty line");
        assert_eq!(bad.number, 3);
    }
}

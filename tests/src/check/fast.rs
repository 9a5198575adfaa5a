//! The fast judge: rules about single entries, each a reason why *no* order can explain the
//! answers. It never tries orders, so it suits long histories; what it passes may still be wrong,
//! what it objects to is wrong.
//!
//! An id is written once and taken once, and every operation is one step somewhere between its
//! start and its end. So of each entry a history proves, by single answers, *moments*: not before
//! this one was it written, after that one it was, after a third it is gone, before a fourth it is
//! not. `evidence` collects them; each rule below is two of them that exclude each other.
//!
//! | rule | says |
//! |---|---|
//! | nonsense | the answer does not fit the question, whatever happened |
//! | never written | somebody saw what nobody can have written |
//! | too early | somebody saw what was written later, or descends from what was |
//! | too late | somebody saw what was gone: taken, replaced, or missed by somebody before |
//! | taken twice | answers prove that an entry was taken, and by nobody who can have done it alone |
//! | done twice | one operation would have to have had two effects |
//! | overlooked | "none" or a listing missed what was there all the time |
//!
//! "Missed by somebody" and "overlooked" together see a swap that is half done: who finds `x` gone
//! proves that what took its place is there (A1).

mod evidence;

use std::collections::{BTreeMap, BTreeSet};

use bts_core::ids::EntryId;
use bts_core::message::Found;

use super::history::{Answer, Moment, Operation, Shown};
use evidence::{Content, Evidence, NEVER, Taking, is_blind};

/// What a history did wrong, in words that name the operations.
pub fn violations(history: &[Operation]) -> Vec<String> {
    let evidence = Evidence::of(history);
    let mut found = Vec::new();
    for operation in history {
        found.extend(nonsense(operation));
        for content in operation.seen() {
            let content = evidence.content(content);
            found.extend(never_written(operation, content));
            found.extend(too_early(operation, content));
            found.extend(too_late(&evidence, operation, content));
        }
        found.extend(overlooked(&evidence, operation));
    }
    found.extend(taken_twice(&evidence));
    found.extend(done_twice(&evidence));
    found
}

/// What is returned matches what was asked for, in the space it was asked of; and what waits until
/// there is something does not end with nothing.
fn nonsense(operation: &Operation) -> Option<String> {
    let wrong = operation.is_nonsense();
    wrong.then(|| format!("does not match: {operation}"))
}

/// An entry exists because somebody wrote it, with this very tuple.
fn never_written(seen: &Operation, content: &Content<'_>) -> Option<String> {
    let nobody = content.writers.is_empty();
    nobody.then(|| format!("never written: {} in {seen}", Shown(&content.found)))
}

/// Whoever sees it comes after the step that wrote it, and a step comes after the start of its
/// operation. A put comes after whatever it descends from.
fn too_early(seen: &Operation, content: &Content<'_>) -> Option<String> {
    let early = seen.ended.unwrap_or(NEVER) < content.written_after;
    early.then(|| format!("seen before it was written: {seen}"))
}

/// Once gone an entry never comes back, as ids are written once. It is gone once somebody was told
/// that he took it; or saw what was put in its place, which came in the same step; or found nothing
/// although it had been written.
fn too_late(evidence: &Evidence<'_>, seen: &Operation, content: &Content<'_>) -> Option<String> {
    let Taking {
        gone_by, gone_for, ..
    } = evidence.takings[&content.found.id];
    let late = gone_by < seen.started;
    late.then(|| {
        let by = gone_for.map_or_else(String::new, ToString::to_string);
        let id = &content.found.id;
        format!("seen after it was gone: {id} in {seen}\n  gone for {by}")
    })
}

/// An entry has one taker. Every answer that proves a taking says who it can have been: the
/// operation that was told so, or one of those that can have put what was seen in its place. If
/// nobody fits all of them, two have taken it.
fn taken_twice(evidence: &Evidence<'_>) -> Vec<String> {
    let impossible = evidence
        .takings
        .iter()
        .filter(|(_, taking)| !taking.is_possible);
    let tell = |id: &EntryId| {
        let takes = |operation: &&Operation| {
            let sure = operation.taken().is_some_and(|taken| taken.id == *id);
            let puts = |put: &Found| put.id.origin().is_some_and(|(origin, _)| origin == *id);
            sure || operation.seen().iter().any(puts)
        };
        let takers = evidence.history.iter().filter(takes);
        let takers: Vec<_> = takers.map(ToString::to_string).collect();
        format!("taken twice: {id}\n  {}", takers.join("\n  "))
    };
    impossible.map(|(id, _)| tell(id)).collect()
}

/// An operation without answer had one effect at most. What was seen, and only it can have
/// written, proves that it had one of those that write that; what is gone, and only it can have
/// taken, one of those that take that.
fn done_twice(evidence: &Evidence<'_>) -> Vec<String> {
    let written = evidence.contents.values().filter(|c| c.written_by != NEVER);
    let written = written.map(|content| &content.writers);
    let gone = evidence.takings.values().filter(|t| t.gone_by != NEVER);
    let gone = gone.map(|taking| &taking.ways);
    let mut left: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut found = Vec::new();
    for ways in written.chain(gone) {
        let operations: BTreeSet<usize> =
            ways.iter().map(|way| evidence.ways[*way].number).collect();
        let (1, Some(operation)) = (operations.len(), operations.first()) else {
            continue;
        };
        let left = left.entry(*operation).or_insert_with(|| ways.clone());
        let was_possible = !left.is_empty();
        left.retain(|way| ways.contains(way));
        if let (true, true, Some(way)) = (was_possible, left.is_empty(), ways.first()) {
            found.push(format!("two effects: {}", evidence.ways[*way].operation));
        }
    }
    found
}

/// "None" is a moment between start and end at which nothing that matches is there. Each entry
/// that matches takes away the moments at which it surely was; if together they leave none, it is
/// a violation. A listing has a moment for each entry, so there one of them must take away all.
fn overlooked(evidence: &Evidence<'_>, operation: &Operation) -> Option<String> {
    let ended = operation.ended.filter(|_| is_blind(operation))?;
    let matching = evidence.matching(operation).into_iter();
    let missed = matching.filter(|content| !operation.saw(&content.found.id));
    let mut there: Vec<_> = missed
        .map(|content| (content.written_by, evidence.there_until(content), content))
        .filter(|(from, until, _)| *from < ended && operation.started < *until && from < until)
        .collect();
    there.sort_by_key(|(from, ..)| *from);
    let covering = match operation.answer {
        Answer::None => covering(&there, operation.started, ended)?,
        _ => there
            .iter()
            .find_map(|one| covering(std::slice::from_ref(one), operation.started, ended))?,
    };
    let names: Vec<_> = covering
        .iter()
        .map(|one| Shown(&one.found).to_string())
        .collect();
    Some(format!("overlooked {}: {operation}", names.join(" ")))
}

/// When a content is there: after the first moment and before the second.
type There<'c, 'a> = (Moment, Moment, &'c Content<'a>);

/// Contents, sorted by their first moment, of which one is there at each moment from start to end.
fn covering<'c, 'a>(
    there: &[There<'c, 'a>],
    started: Moment,
    ended: Moment,
) -> Option<Vec<&'c Content<'a>>> {
    let mut used = Vec::new();
    let mut at = started;
    while at <= ended {
        let covers = |(from, until, _): &&There<'_, '_>| *from < at && at < *until;
        let farthest = there
            .iter()
            .filter(covers)
            .max_by_key(|(_, until, _)| *until);
        let (_, until, content) = farthest?;
        used.push(*content);
        if *until == NEVER {
            break;
        }
        at = *until;
    }
    Some(used)
}

//! What the benchmark's clients called and were told, for judges. A program is told tuples and not
//! entries; here every tuple has a number of its own, which names the entry.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bts_client::history::{Argument, Effect, Entry, Line, Op, Outcome, Record};
use bts_client::{EntryId, PublicKey, SpaceName, Tuple};
use bts_core::ids::{Seq, Session};

use super::tuples::number_of;

/// The diary of all clients.
#[derive(Debug)]
pub(super) struct Diary {
    space: SpaceName,
    began: Instant,
    notes: Mutex<Vec<(Note, Instant)>>,
}

/// An operation that ended.
#[derive(Debug)]
pub(super) struct Note {
    /// The number of its client.
    pub(super) client: usize,
    pub(super) op: Op,
    pub(super) arg: Argument,
    pub(super) began: Instant,
    pub(super) told: Told,
}

/// What a client was told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Written(EntryId),
    Found(Tuple),
    /// The first was taken and the second put.
    Swapped(Tuple, Tuple),
    Nothing,
    /// An error: it may have done something, or not.
    Unknown,
}

impl Diary {
    /// An empty one, about this space.
    pub(super) fn new(space: SpaceName) -> Self {
        Self {
            space,
            began: Instant::now(),
            notes: Mutex::default(),
        }
    }

    /// Notes what ended now.
    pub(super) fn note(&self, note: Note) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push((note, Instant::now()));
    }

    /// Writes all of it to a file.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(file)?);
        writeln!(file, "{}", Record::Begin("bench".into()))?;
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let index = Index::new(&self.space, notes.iter().map(|(note, _)| note));
        for (note, ended) in notes.iter() {
            let line = self.line(&index, note, *ended);
            writeln!(file, "{}", Record::Operation(Box::new(line)))?;
        }
        file.flush()
    }

    fn line(&self, index: &Index<'_>, note: &Note, ended: Instant) -> Line {
        let (outcome, entry) = match (&note.told, &note.arg) {
            (Told::Written(_), Argument::Tuple(tuple)) => (Outcome::Ok, Some(tuple)),
            (Told::Found(tuple) | Told::Swapped(tuple, _), _) => (Outcome::Ok, Some(tuple)),
            (Told::Nothing, _) => (Outcome::None, None),
            (Told::Written(_) | Told::Unknown, _) => (Outcome::Unknown, None),
        };
        let put = match &note.told {
            Told::Swapped(_, put) => Some(put),
            _ => None,
        };
        let is_known = outcome != Outcome::Unknown;
        Line {
            client: format!("client-{}", note.client),
            session: 0,
            space: self.space.to_string(),
            op: note.op,
            arg: note.arg.clone(),
            puts: put.map(|put| vec![put.clone()]),
            start_ns: self.ns(note.began),
            end_ns: is_known.then(|| self.ns(ended)),
            outcome,
            tuple: entry.cloned(),
            id: entry.map(|tuple| index.id_of(tuple)),
            new_ids: put.into_iter().map(|put| index.id_of(put)).collect(),
            listed: Vec::new(),
            may: match is_known {
                true => Vec::new(),
                false => index.effects(&note.arg),
            },
        }
    }

    fn ns(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Which entry a number names, and what is left.
struct Index<'a> {
    space: &'a SpaceName,
    ids: HashMap<u64, EntryId>,
    /// Tuples that may be there, of numbers that nobody was told to have taken.
    left: Vec<&'a Tuple>,
}

impl<'a> Index<'a> {
    fn new(space: &'a SpaceName, notes: impl Iterator<Item = &'a Note> + Clone) -> Self {
        let (mut ids, mut written, mut taken) = (HashMap::new(), Vec::new(), HashSet::new());
        let mut origins = HashMap::new();
        for note in notes {
            match (&note.told, &note.arg) {
                (Told::Written(id), Argument::Tuple(tuple)) => {
                    ids.insert(number(tuple), id.clone());
                    written.push(tuple);
                }
                (Told::Unknown, Argument::Tuple(tuple)) => written.push(tuple),
                (Told::Found(tuple), _) if matches!(note.op, Op::In | Op::Inp) => {
                    taken.insert(number(tuple));
                }
                (Told::Swapped(from, to), _) => {
                    taken.insert(number(from));
                    written.push(to);
                    origins.insert(number(to), number(from));
                }
                _ => {}
            }
        }
        written.retain(|tuple| !taken.contains(&number(tuple)));
        let mut index = Self {
            space,
            ids,
            left: written,
        };
        for put in origins.keys() {
            index.follow(&origins, *put);
        }
        index
    }

    /// Learns the identities of a put and of all that it descends from.
    fn follow(&mut self, origins: &HashMap<u64, u64>, put: u64) {
        let mut line = vec![put];
        while let Some(last) = line.last().copied()
            && !self.ids.contains_key(&last)
            && let Some(origin) = origins.get(&last)
        {
            line.push(*origin);
        }
        let Some(mut id) = line.pop().map(|first| self.id_of_number(first)) else {
            return;
        };
        for number in line.into_iter().rev() {
            id = id.put(0).unwrap_or_else(|| self.made_up(number));
            self.ids.insert(number, id.clone());
        }
    }

    fn id_of(&self, tuple: &Tuple) -> EntryId {
        self.id_of_number(number(tuple))
    }

    fn id_of_number(&self, number: u64) -> EntryId {
        let known = self.ids.get(&number).cloned();
        known.unwrap_or_else(|| self.made_up(number))
    }

    /// Of an entry whose writer was not told what it is called.
    fn made_up(&self, number: u64) -> EntryId {
        EntryId::written(
            self.space.clone(),
            PublicKey([0; 32]),
            Session(0),
            Seq(number),
        )
    }

    /// What an operation may have done that was called with this.
    fn effects(&self, arg: &Argument) -> Vec<Effect> {
        let entry = |tuple: &Tuple| Entry {
            id: self.id_of(tuple),
            tuple: tuple.clone(),
        };
        match arg {
            Argument::Tuple(tuple) => vec![Effect {
                takes: None,
                puts: vec![entry(tuple)],
            }],
            Argument::Template(template) => {
                let matching = self.left.iter().filter(|tuple| template.matches(tuple));
                let effect = |tuple: &&Tuple| Effect {
                    takes: Some(entry(tuple)),
                    puts: Vec::new(),
                };
                matching.map(effect).collect()
            }
            Argument::Nothing => Vec::new(),
        }
    }
}

/// Nothing but tuples of the benchmark is in its space.
fn number(tuple: &Tuple) -> u64 {
    number_of(tuple).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tuples::{Tag, any_of, tuple};

    fn note(op: Op, arg: Argument, told: Told) -> Note {
        Note {
            client: 1,
            op,
            arg,
            began: Instant::now(),
            told,
        }
    }

    #[test]
    fn diary_names_entries_by_their_numbers_and_suspects_what_failed() {
        let space = SpaceName::new("bench").expect("a good name");
        let diary = Diary::new(space.clone());
        let job = |number| tuple(Tag::Job, 0, number, 64);
        let jobs = || Argument::Template(any_of(Tag::Job, 0));
        let id = EntryId::written(space, PublicKey([1; 32]), Session(5), Seq(9));
        // A reader may be told before the writer, and a swap before the one that it builds upon.
        diary.note(note(Op::Rdp, jobs(), Told::Found(job(7))));
        diary.note(note(Op::Swap, jobs(), Told::Swapped(job(8), job(9))));
        diary.note(note(Op::Swap, jobs(), Told::Swapped(job(7), job(8))));
        diary.note(note(
            Op::Out,
            Argument::Tuple(job(7)),
            Told::Written(id.clone()),
        ));
        diary.note(note(Op::Inp, jobs(), Told::Unknown));
        diary.note(note(Op::Out, Argument::Tuple(job(1)), Told::Unknown));
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        diary.write(file.path()).expect("it can be written");
        let text = std::fs::read_to_string(file.path()).expect("it was just written");
        let lines: Vec<Line> = text
            .lines()
            .filter_map(|line| match Record::parse(line).expect("a line") {
                Record::Begin(_) => None,
                Record::Operation(line) => Some(*line),
            })
            .collect();
        let put = |id: &EntryId| id.put(0).expect("few puts");
        let (second, third) = (put(&id), put(&put(&id)));
        assert_eq!(lines[0].id.as_ref(), Some(&id));
        assert_eq!(lines[1].id.as_ref(), Some(&second));
        assert_eq!(lines[1].new_ids, std::slice::from_ref(&third));
        assert_eq!(lines[2].new_ids, [second]);
        let taken = lines[4].may.iter().flat_map(|effect| &effect.takes);
        let taken: Vec<u64> = taken.map(|entry| number(&entry.tuple)).collect();
        assert_eq!(taken, [9, 1], "what is gone for sure was not taken by it");
        assert_eq!(lines[4].end_ns, None);
        assert_eq!(lines[5].may[0].puts[0].tuple, job(1));
    }
}

//! What correct clients called and were told, with times, written down for the judges of
//! [`check`](crate::check).
//!
//! Programs see tuples, the judges want entries. In these workloads every tuple that is written
//! carries a number of its own in its second field, so the number names the entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{env, fs, process};

use bts_core::ids::{EntryId, PublicKey, Seq, Session, SpaceName};
use bts_core::message::Found;
use bts_core::tuple::{Field, Tuple};

use crate::check::history::{Answer, Call, Effect, Moment, Operation};
use crate::check::{self, Judgement, lines};

/// The diary of all clients of a test.
#[derive(Debug)]
pub struct Diary {
    space: SpaceName,
    began: Instant,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    numbers: u64,
    /// What became of a tuple: these numbers took the place of that one.
    replaced: BTreeMap<u64, (u64, u16)>,
    told: Vec<Line>,
}

/// Who called what, from when to when, and what was told.
type Line = (String, Call, Moment, Option<Moment>, Told);

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The `out` is done.
    Written,
    /// This was read, or taken.
    Found(Tuple),
    /// This was taken, and these put.
    Swapped(Tuple, Vec<Tuple>),
    /// Nothing matched.
    None,
    /// Somebody may have written this, or not.
    MaybeWritten(Tuple),
    /// Somebody may have taken this and put those, or not.
    MaybeTaken(Tuple, Vec<Tuple>),
}

/// Who judged, and found nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Both judges: there is an order in which all this could have been answered.
    Exactly,
    /// Only the one that looks for answers that are wrong by themselves.
    Fast,
}

impl Diary {
    /// An empty one, about this space.
    pub fn new(space: &SpaceName) -> Self {
        Self {
            space: space.clone(),
            began: Instant::now(),
            lines: Mutex::default(),
        }
    }

    /// A number for a new tuple.
    pub fn number(&self) -> u64 {
        let mut lines = self.lines();
        lines.numbers += 1;
        lines.numbers
    }

    /// Now.
    pub fn moment(&self) -> Moment {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(Moment::MAX)
    }

    /// Operations that ended.
    pub fn ended(&self) -> usize {
        self.lines().told.len()
    }

    /// Operations of this client that ended.
    pub fn ended_by(&self, who: &str) -> usize {
        let lines = self.lines();
        lines.told.iter().filter(|line| line.0 == who).count()
    }

    /// Notes an operation that began then and ended now.
    pub fn note(&self, who: &str, call: Call, began: Moment, told: Told) {
        let ended = Some(self.moment());
        self.write(who, call, began, ended, told);
    }

    /// Notes what a client without scruples, or one that died, may have done since then.
    pub fn suspect(&self, who: &str, began: Moment, told: Told) {
        self.write(who, Call::Ghost, began, None, told);
    }

    /// Judges everything; panics with the reasons if a space that is one thing cannot have
    /// answered so. How much clients do at once depends on the machine: if it is too much for the
    /// exact judge, the verdict of the fast one stands, and that is said.
    pub fn judge(&self) -> Judged {
        self.judgement().unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, with the reasons as an error.
    pub fn judgement(&self) -> Result<Judged, String> {
        let history = self.history();
        accept(&history, &check::judge(&history))
    }

    /// The numbers of the tuples that somebody was told to have written, and of those that somebody
    /// was told to have taken, each as often as somebody was told so.
    pub fn told(&self) -> (Vec<u64>, Vec<u64>) {
        let (mut written, mut taken) = (Vec::new(), Vec::new());
        for (_, call, _, _, told) in &self.lines().told {
            match (call, told) {
                (Call::Out(tuple), Told::Written) => written.push(number_of(tuple)),
                (Call::Take(_), Told::Found(tuple)) => taken.push(number_of(tuple)),
                (_, Told::Swapped(tuple, puts)) => {
                    taken.push(number_of(tuple));
                    written.extend(puts.iter().map(number_of));
                }
                _ => {}
            }
        }
        (written, taken)
    }

    fn write(&self, who: &str, call: Call, began: Moment, ended: Option<Moment>, told: Told) {
        let mut lines = self.lines();
        if let Told::Swapped(taken, puts) | Told::MaybeTaken(taken, puts) = &told {
            for (index, put) in (0..).zip(puts) {
                lines
                    .replaced
                    .insert(number_of(put), (number_of(taken), index));
            }
        }
        lines.told.push((who.to_owned(), call, began, ended, told));
    }

    fn history(&self) -> Vec<Operation> {
        let lines = self.lines();
        let taken = lines.surely_taken();
        let found = |tuple: &Tuple| Found {
            id: self.id_of(&lines, number_of(tuple)),
            tuple: tuple.clone(),
        };
        let all = |tuples: &[Tuple]| tuples.iter().map(found).collect();
        // Nobody else can have taken what somebody took, so that the judge need not try it.
        let is_possible = |told: &Told| match told {
            Told::MaybeTaken(tuple, _) => !taken.contains(&number_of(tuple)),
            _ => true,
        };
        let possible = lines
            .told
            .iter()
            .filter(|(_, _, _, _, told)| is_possible(told));
        let operations = possible.map(|(who, call, started, ended, told)| {
            let answer = match (told, call) {
                (Told::Written, Call::Out(tuple)) => Answer::Written(found(tuple).id),
                (Told::Written, _) => Answer::Nothing,
                (Told::Found(tuple), _) => Answer::Found(found(tuple)),
                (Told::Swapped(taken, puts), _) => Answer::Swapped(found(taken), all(puts)),
                (Told::None, _) => Answer::None,
                (Told::MaybeWritten(tuple), _) => Answer::Open(vec![Effect::Write(found(tuple))]),
                (Told::MaybeTaken(taken, puts), _) => {
                    Answer::Open(vec![Effect::Replace(found(taken), all(puts))])
                }
            };
            Operation {
                who: who.clone(),
                session: 0,
                waits: false,
                space: self.space.clone(),
                call: call.clone(),
                started: *started,
                ended: *ended,
                answer,
            }
        });
        operations.collect()
    }

    fn id_of(&self, lines: &Lines, number: u64) -> EntryId {
        let nobody = PublicKey([0; 32]);
        let root = |seq| EntryId::written(self.space.clone(), nobody, Session(0), Seq(seq));
        match lines.replaced.get(&number) {
            Some((origin, index)) => {
                let origin = self.id_of(lines, *origin);
                origin.put(*index).unwrap_or_else(|| root(number))
            }
            None => root(number),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// The numbers of what a client was told that it has taken.
    fn surely_taken(&self) -> BTreeSet<u64> {
        let taken = |(_, call, _, _, told): &Line| match (call, told) {
            (Call::Take(_), Told::Found(tuple)) | (_, Told::Swapped(tuple, _)) => {
                Some(number_of(tuple))
            }
            _ => None,
        };
        self.told.iter().filter_map(taken).collect()
    }
}

/// Takes the judges at their word; the error is what is wrong.
fn accept(history: &[Operation], judgement: &Judgement) -> Result<Judged, String> {
    if !judgement.violations.is_empty() {
        let why = judgement.violations.join("\n");
        return Err(format!("{why}\n{}", keep(history)));
    }
    Ok(match judgement.undecided {
        false => Judged::Exactly,
        true => {
            let count = history.len();
            eprintln!("{count} operations, too much for the exact judge, pass the fast one");
            Judged::Fast
        }
    })
}

/// Leaves a history that should not be where somebody can look at it. Where that is, in words.
fn keep(history: &[Operation]) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test").to_owned();
    let file = format!(
        "bts-history-{}-{}.jsonl",
        process::id(),
        name.replace("::", "-")
    );
    let path = env::temp_dir().join(file);
    match fs::write(&path, lines::write(&name, history)) {
        Ok(()) => format!("the history is in {}", path.display()),
        Err(error) => format!("the history could not be kept: {error}"),
    }
}

/// The number in the second field; nobody writes 0.
pub(crate) fn number_of(tuple: &Tuple) -> u64 {
    match tuple.fields().get(1) {
        Some(Field::Uint(number)) => *number,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use bts_core::template::{Pattern, Template};

    use std::panic::{self, AssertUnwindSafe};

    use super::*;

    #[test]
    fn diary_good_history_passes() {
        let diary = diary();
        out(&diary, 1);
        take(&diary, Told::Swapped(tuple(1), vec![tuple(2)]));
        take(&diary, Told::Found(tuple(2)));
        take(&diary, Told::None);
        assert_eq!(diary.judge(), Judged::Exactly);
    }

    #[test]
    #[should_panic(expected = "taken twice")]
    fn diary_tuple_taken_twice_is_seen() {
        let diary = diary();
        out(&diary, 1);
        take(&diary, Told::Found(tuple(1)));
        take(&diary, Told::Found(tuple(1)));
        diary.judge();
    }

    #[test]
    #[should_panic(expected = "overlooked")]
    fn diary_lost_put_is_seen() {
        let diary = diary();
        out(&diary, 1);
        take(&diary, Told::Swapped(tuple(1), vec![tuple(2)]));
        take(&diary, Told::None);
        diary.judge();
    }

    #[test]
    #[should_panic(expected = "never written")]
    fn diary_invented_tuple_is_seen() {
        let diary = diary();
        take(&diary, Told::Found(tuple(7)));
        diary.judge();
    }

    #[test]
    #[should_panic(expected = "never written")]
    fn diary_suspect_who_cannot_have_taken_cannot_have_put() {
        let diary = diary();
        out(&diary, 1);
        let taken = Told::MaybeTaken(tuple(1), vec![tuple(2)]);
        diary.suspect("villain", diary.moment(), taken);
        take(&diary, Told::Found(tuple(2)));
        take(&diary, Told::Found(tuple(1)));
        diary.judge();
    }

    /// What a busy machine lets happen at once can be too much for the exact judge, which then
    /// says nothing: it used to fail the test. The fast judge's word stands, and not for more.
    #[test]
    fn diary_too_much_at_once_is_judged_fast() {
        let diary = diary();
        out(&diary, 1);
        let gave_up = Judgement {
            violations: Vec::new(),
            undecided: true,
        };
        assert_eq!(accept(&diary.history(), &gave_up), Ok(Judged::Fast));
    }

    #[test]
    fn diary_of_a_failure_can_be_judged_again() {
        let diary = diary();
        out(&diary, 1);
        take(&diary, Told::None);
        let failed = panic::catch_unwind(AssertUnwindSafe(|| diary.judge()));
        let why = failed.expect_err("an entry was overlooked");
        let why = why.downcast_ref::<String>().expect("a text");
        let (_, path) = why.rsplit_once("the history is in ").expect("a path");
        let kept = lines::read(&fs::read_to_string(path).expect("it is there"));
        fs::remove_file(path).expect("it is there");
        let [(_, history)] = kept
            .expect("a file of lines")
            .try_into()
            .expect("one history");
        assert_eq!(history, diary.history());
    }

    #[test]
    fn diary_suspect_may_have_done_it_or_not() {
        for told in [Told::Found(tuple(1)), Told::None] {
            let diary = diary();
            out(&diary, 1);
            let taken = Told::MaybeTaken(tuple(1), Vec::new());
            diary.suspect("villain", diary.moment(), taken);
            take(&diary, told);
            diary.judge();
        }
    }

    fn diary() -> Diary {
        Diary::new(&SpaceName::new("jobs").expect("a good name"))
    }

    fn tuple(number: u64) -> Tuple {
        Tuple(vec!["a".into(), number.into()])
    }

    fn out(diary: &Diary, number: u64) {
        diary.note(
            "c1",
            Call::Out(tuple(number)),
            diary.moment(),
            Told::Written,
        );
    }

    fn take(diary: &Diary, told: Told) {
        let all = Template(vec![Pattern::Any, Pattern::Any]);
        diary.note("c2", Call::Take(all), diary.moment(), told);
    }
}

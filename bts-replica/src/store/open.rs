//! Finding out how a log stands, without changing anything: which file was written last, up to where,
//! and what its commits say. And making a new one.
//!
//! A commit that is not whole is cut off if nothing follows it: it was not durable when the power failed or
//! the process ended, as far as one can tell. If a later one follows, it was, and was damaged since.

use bts_core::codec;
use bts_core::ids::{Incarnation, Lsn};
use bts_core::memory::Peers;

use super::StoreError;
use super::compact::set_records_length;
use super::folder::{Access, Blob};
use super::format::{
    self, ANY_FORMAT, Changes, FORMAT, FileId, Identity, Kind, Owner, Part, State,
};
use super::frame::{
    self, Binding, FRAME_BYTES, Frame, FrameReader, HEADER_BYTES, Salt, Seal, Tail,
};
use super::segments::{PAGE_BYTES, Place};

/// The name of a file that is being made.
const UNFINISHED: &str = "log.new";
/// The file of a store of an older version, and what that called its format.
const OLD_FILE: &str = "store.redb";
const OLD_FORMAT: &str = "bts store 1";

/// How a log was found.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) salt: Salt,
    pub(super) state: State,
    /// The file of the last commit and where that ends, and where it begins.
    pub(super) last: Tail,
    pub(super) last_begins: u64,
    /// Where something stands that is no whole commit.
    pub(super) torn: Option<Tail>,
    /// Files that are not part of the log.
    pub(super) others: Vec<String>,
}

/// A file that begins with an intact commit.
struct Candidate {
    reader: FrameReader,
    salt: Salt,
    first: Frame,
}

/// The last commit of a file says that the next is in another one.
struct Turn {
    next: FileId,
    records: Records,
}

/// The records of a file.
#[derive(Default)]
struct Records {
    count: u64,
    first: Lsn,
    last: Lsn,
}

impl Records {
    fn add(&mut self, lsn: u64) {
        if self.count == 0 {
            self.first = Lsn(lsn);
        }
        self.count += 1;
        self.last = Lsn(lsn);
    }

    /// The file, if there are any.
    fn part(&self, at: Tail, seal: Seal) -> Option<Part> {
        let Self { count, first, last } = *self;
        let Tail { file, end } = at;
        (count > 0).then_some(Part {
            file,
            end,
            seal,
            records: count,
            first,
            last,
        })
    }
}

/// How the log stands. `None`: there is none.
pub(super) fn examine(place: &Place) -> Result<Option<Examined>, StoreError> {
    let names = place.folder.names().map_err(place.error("", "list"))?;
    if names.iter().any(|name| name == OLD_FILE) {
        return Err(StoreError::Version {
            path: place.path.join(OLD_FILE),
            found: OLD_FORMAT.into(),
            known: FORMAT,
        });
    }
    let files: Vec<FileId> = names
        .iter()
        .filter_map(|name| FileId::of_name(name))
        .collect();
    let Some(newest) = newest(place, &files)? else {
        let rest = names.iter().find(|name| is_of_log(name));
        return match rest {
            Some(name) => {
                Err(place.damaged(name, "no file of the log begins with an intact commit"))
            }
            None => Ok(None),
        };
    };
    let (mut examined, turn) = read_commits(place, newest)?;
    if let Some(turn) = turn {
        follow(place, &files, &mut examined, turn)?;
    }
    let State { parts, tail, .. } = &examined.state;
    for part in parts {
        if !files.contains(&part.file) {
            return Err(place.damaged(part.file, "the file is gone"));
        }
        let length = open(place, part.file)?.length();
        if length.map_err(place.error(part.file, "open"))? < part.end {
            return Err(place.damaged(part.file, "the file is cut off"));
        }
    }
    let is_part = |file: &FileId| *file == tail.file || parts.iter().any(|part| part.file == *file);
    let is_ours = |name: &String| name.starts_with("spare-") || *name == UNFINISHED;
    let others = names
        .into_iter()
        .filter(|name| match FileId::of_name(name) {
            Some(file) => !is_part(&file),
            None => is_ours(name),
        });
    examined.others = others.collect();
    Ok(Some(examined))
}

/// Whether there was a log if there is a file of this name.
fn is_of_log(name: &str) -> bool {
    name.starts_with("spare-") || FileId::of_name(name).is_some()
}

fn open(place: &Place, file: FileId) -> Result<Box<dyn Blob>, StoreError> {
    let opened = place.folder.open(&file.to_string(), Access::Read);
    opened.map_err(place.error(file, "open"))
}

/// Of the files that begin with an intact commit that with the latest.
fn newest(place: &Place, files: &[FileId]) -> Result<Option<Candidate>, StoreError> {
    let mut newest: Option<Candidate> = None;
    let mut other_version = None;
    for file in files.iter().filter(|file| file.kind == Kind::Log) {
        let binding = Binding {
            salt: Salt::default(),
            file: *file,
        };
        let mut reader = FrameReader::new(open(place, *file)?, binding);
        let wrong = place.error(file, "read");
        let Some(header) = reader.header().map_err(wrong.clone())? else {
            continue;
        };
        let Some(salt) = frame::salt_of(&header) else {
            let text = String::from_utf8_lossy(&header);
            let text = text.split('\0').next().unwrap_or_default();
            if text.starts_with(ANY_FORMAT) && text != FORMAT {
                other_version = Some((file, text.to_owned()));
            }
            continue;
        };
        reader.bind(salt);
        let Some(first) = reader.read().map_err(wrong)? else {
            continue;
        };
        let is_newer = |newest: &Candidate| first.number > newest.first.number;
        if newest.as_ref().is_none_or(is_newer) {
            newest = Some(Candidate {
                reader,
                salt,
                first,
            });
        }
    }
    match (&newest, other_version) {
        (None, Some((file, found))) => Err(StoreError::Version {
            path: place.path.join(file.to_string()),
            found,
            known: FORMAT,
        }),
        _ => Ok(newest),
    }
}

/// What the commits of a file say, one after the other.
fn read_commits(place: &Place, newest: Candidate) -> Result<(Examined, Option<Turn>), StoreError> {
    let Candidate {
        mut reader,
        salt,
        first,
    } = newest;
    let file = reader.file();
    let wrong = place.error(file, "read");
    let mut records = Records::default();
    let changes = read_changes(place, &reader, &first, &mut records)?;
    let mut turn = changes.turn;
    let mut state = begin(changes, &first, file)
        .ok_or_else(|| place.damaged(file, "its first commit does not say what the log is"))?;
    let mut last_begins = first.at;
    while let Some(frame) = reader.read().map_err(wrong.clone())? {
        let follows = (frame.number, frame.previous) == (state.commits + 1, state.seal);
        if turn.is_some() || !follows {
            let what = format!("the commit at byte {} is out of order", frame.at);
            return Err(place.damaged(file, what));
        }
        let changes = read_changes(place, &reader, &frame, &mut records)?;
        (state.commits, state.seal) = (frame.number, frame.seal);
        (state.last, state.confirmed) = (changes.last, changes.confirmed);
        state.tail.end = frame.end;
        state.parts = changes.parts.unwrap_or(state.parts);
        state.peers = changes.peers.unwrap_or(state.peers);
        (turn, last_begins) = (changes.turn, frame.at);
    }
    refuse_later(place, &mut reader, state.commits)?;
    let last = state.tail;
    let is_torn = turn.is_none() && reader.is_torn(PAGE_BYTES).map_err(wrong)?;
    let turn = turn.map(|next| Turn { next, records });
    let examined = Examined {
        salt,
        torn: is_torn.then_some(last),
        state,
        last,
        last_begins,
        others: Vec::new(),
    };
    Ok((examined, turn))
}

fn begin(changes: Changes, first: &Frame, file: FileId) -> Option<State> {
    Some(State {
        owner: changes.owner?,
        commits: first.number,
        seal: first.seal,
        last: changes.last,
        confirmed: changes.confirmed,
        peers: changes.peers?,
        parts: changes.parts?,
        tail: Tail {
            file,
            end: first.end,
        },
    })
}

/// The last file is full, and the next one has no commit yet.
fn follow(
    place: &Place,
    files: &[FileId],
    examined: &mut Examined,
    turn: Turn,
) -> Result<(), StoreError> {
    let Turn { next, records } = turn;
    if !files.contains(&next) {
        return Err(place.damaged(next, "the file is gone"));
    }
    let binding = Binding {
        salt: examined.salt,
        file: next,
    };
    let mut reader = FrameReader::new(open(place, next)?, binding);
    refuse_later(place, &mut reader, examined.state.commits)?;
    let end = HEADER_BYTES as u64;
    let tail = Tail { file: next, end };
    // Bytes that are no commit may be those of an earlier use of the file.
    let is_torn = reader.is_torn(1).map_err(place.error(next, "read"))?;
    examined.torn = is_torn.then_some(tail);
    let State { seal, parts, .. } = &mut examined.state;
    parts.extend(records.part(examined.last, *seal));
    examined.state.tail = tail;
    Ok(())
}

/// No commit begins before the one before it is durable. So if there is a later one, what stands where the
/// reader is was whole once.
fn refuse_later(place: &Place, reader: &mut FrameReader, commits: u64) -> Result<(), StoreError> {
    let (file, bad) = (reader.file(), reader.at());
    match reader.later(commits).map_err(place.error(file, "read"))? {
        Some(at) => {
            let what =
                format!("the commit at byte {bad} is not intact, one at byte {at} follows it");
            Err(place.damaged(file, what))
        }
        None => Ok(()),
    }
}

/// What a commit says besides its records, which are counted.
fn read_changes(
    place: &Place,
    reader: &FrameReader,
    frame: &Frame,
    records: &mut Records,
) -> Result<Changes, StoreError> {
    let mut read = || {
        let (mut rest, changes) = format::split_body(reader.body(frame))?;
        while !rest.is_empty() {
            let (lsn, _, after) = format::split_record(rest)?;
            records.add(lsn);
            rest = after;
        }
        codec::decode_peer(changes).ok()
    };
    read().ok_or_else(|| {
        let what = format!("the commit at byte {} is none", frame.at);
        place.damaged(reader.file(), what)
    })
}

/// Makes a log under another name first: a crash in between leaves none.
pub(super) fn create(place: &Place, identity: &Identity) -> Result<(), StoreError> {
    let said = |doing| place.error(UNFINISHED, doing);
    let owner = Owner {
        identity: identity.clone(),
        incarnation: Incarnation(rand::random()),
    };
    let changes = Changes {
        owner: Some(owner),
        parts: Some(Vec::new()),
        peers: Some(Peers::new()),
        ..Changes::default()
    };
    let (salt, file) = (rand::random(), FileId::draw(Kind::Log));
    let mut frame = vec![0; FRAME_BYTES + 4];
    set_records_length(&mut frame, FRAME_BYTES);
    frame.extend(codec::encode(&changes));
    let binding = Binding { salt, file };
    frame::seal(&mut frame, 0, &binding, HEADER_BYTES as u64, (1, 0));
    let mut bytes = frame::header(&salt).to_vec();
    bytes.extend(frame);
    bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES as usize), 0);
    let mut blob = place.folder.create(UNFINISHED).map_err(said("create"))?;
    blob.write(0, &bytes)
        .and_then(|()| blob.sync())
        .map_err(said("create"))?;
    let renamed = place.folder.rename(UNFINISHED, &file.to_string());
    renamed
        .and_then(|()| place.folder.sync())
        .map_err(said("rename"))
}

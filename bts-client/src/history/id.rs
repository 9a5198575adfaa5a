//! Identities of entries as text: `jobs:<key of the writer, in hexadecimal>/5.17+0x3+1`, which is
//! entry 17 of session 5 of that writer in space `jobs`, then three times put 0, then put 1.

use std::fmt::Write;

use bts_core::ids::{EntryId, PublicKey, Root, Seq, Session, SpaceName};
use thiserror::Error;

/// Descents that are read. A line of entries that is longer belongs to no history that could be
/// judged.
const DEPTH_MAX: u64 = 100_000;

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no identity of an entry, as in jobs:0707...07/5.17+0")]
pub struct BadId(String);

/// An identity as text; two are equal if and only if their texts are.
pub fn show_id(id: &EntryId) -> String {
    let mut text = match id.root() {
        Root::Written {
            space,
            writer,
            session,
            seq,
        } => {
            let key: String = writer.0.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{space}:{key}/{}.{}", session.0, seq.0)
        }
        Root::Genesis { space, key } => format!("{space}:genesis/{}", key.len()),
    };
    for (index, times) in runs(id) {
        // Writing to a string cannot fail.
        let _ = match times {
            1 => write!(text, "+{index}"),
            times => write!(text, "+{index}x{times}"),
        };
    }
    text
}

/// Reads what [`show_id`] wrote.
pub fn parse_id(text: &str) -> Result<EntryId, BadId> {
    read(text).ok_or_else(|| BadId(text.chars().take(200).collect()))
}

fn runs(id: &EntryId) -> Vec<(u16, u64)> {
    let mut runs: Vec<(u16, u64)> = Vec::new();
    let mut at = id.origin();
    while let Some((parent, index)) = at {
        match runs.last_mut() {
            Some((same, times)) if *same == index => *times += 1,
            _ => runs.push((index, 1)),
        }
        at = parent.origin();
    }
    runs.reverse();
    runs
}

fn read(text: &str) -> Option<EntryId> {
    let (space, rest) = text.rsplit_once(':')?;
    let (key, rest) = rest.split_once('/')?;
    let mut places = rest.split('+');
    let (session, seq) = places.next()?.split_once('.')?;
    let root = EntryId::written(
        SpaceName::new(space).ok()?,
        PublicKey(key_of(key)?),
        Session(session.parse().ok()?),
        Seq(seq.parse().ok()?),
    );
    places.try_fold(root, |id, run| {
        let (index, times) = run.split_once('x').unwrap_or((run, "1"));
        let (index, times) = (index.parse().ok()?, times.parse().ok()?);
        let is_sane = (1..=DEPTH_MAX).contains(&times);
        (0..times)
            .take_while(|_| is_sane)
            .try_fold(id, |id, _| id.put(index))
            .filter(|_| is_sane)
    })
}

fn key_of(hex: &str) -> Option<[u8; 32]> {
    let bytes = crate::text::from_hex(hex)?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_identity_reads_back() {
        let space = SpaceName::new("a:b/c+d").expect("a good name");
        let mut id = EntryId::written(space, PublicKey([7; 32]), Session(5), Seq(17));
        assert_eq!(parse_id(&show_id(&id)), Ok(id.clone()));
        for index in [0, 0, 0, 1, 2, 2] {
            id = id.put(index).expect("few runs");
            assert_eq!(parse_id(&show_id(&id)), Ok(id.clone()));
        }
        assert!(
            show_id(&id).ends_with("/5.17+0x3+1+2x2"),
            "{}",
            show_id(&id)
        );
    }

    #[test]
    fn history_text_that_is_no_identity_is_refused() {
        let key = "07".repeat(32);
        for bad in [
            String::new(),
            "jobs".to_owned(),
            "jobs:07/5.17".to_owned(),
            format!("{key}/5.17"),
            format!("jobs:{key}/5"),
            format!("jobs:{key}/5.17+"),
            format!("jobs:{key}/5.17+0x0"),
            format!("jobs:{key}/5.17+0x18446744073709551615"),
        ] {
            assert_eq!(parse_id(&bad), Err(BadId(bad.clone())));
        }
    }
}

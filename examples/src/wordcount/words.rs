//! What a word is, and pieces of text small enough for a tuple. A word is a maximal run of
//! `char::is_alphanumeric`, lower-cased.

use std::collections::BTreeMap;

/// How often each word occurs.
pub type Counts = BTreeMap<String, u64>;

/// Bytes of text in one task. The counts of a piece are sent back as text too, and stay below the
/// bound of a tuple even if every word in it differs.
pub const PIECE_BYTES: usize = 12 * 1024;

/// Counts the words of a text.
pub fn count(text: &str) -> Counts {
    let mut counts = Counts::new();
    for word in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

/// Adds `more` to `counts`.
pub fn merge(counts: &mut Counts, more: Counts) {
    for (word, times) in more {
        *counts.entry(word).or_default() += times;
    }
}

/// A text cut between words. A single word that is longer than a piece cannot travel in a tuple;
/// such words are handed back apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces<'a> {
    /// Pieces of at most [`PIECE_BYTES`] bytes.
    pub pieces: Vec<&'a str>,
    /// Words longer than that.
    pub giants: Vec<&'a str>,
}

/// Cuts a text into pieces without cutting a word.
pub fn cut(mut text: &str) -> Pieces<'_> {
    let mut cut = Pieces::default();
    while text.len() > PIECE_BYTES {
        match last_boundary(text, PIECE_BYTES) {
            Some(end) => {
                let (piece, rest) = text.split_at(end);
                cut.pieces.push(piece);
                text = rest;
            }
            None => {
                let end = text
                    .find(|c: char| !c.is_alphanumeric())
                    .unwrap_or(text.len());
                let (giant, rest) = text.split_at(end);
                cut.giants.push(giant);
                text = rest;
            }
        }
    }
    if text.contains(char::is_alphanumeric) {
        cut.pieces.push(text);
    }
    cut
}

/// Where the text may be cut at or before `limit`: behind a character that belongs to no word.
fn last_boundary(text: &str, limit: usize) -> Option<usize> {
    let fits = |(start, c): &(usize, char)| start + c.len_utf8() <= limit;
    let characters = text.char_indices().take_while(fits);
    let ends = characters.filter(|(_, c)| !c.is_alphanumeric());
    ends.last().map(|(start, c)| start + c.len_utf8())
}

/// Counts as text, one `word count` per line, for the way back in a tuple.
pub fn show(counts: &Counts) -> String {
    counts
        .iter()
        .map(|(word, times)| format!("{word} {times}\n"))
        .collect()
}

/// The counts that [`show`] wrote; `None` if this is not such a text.
pub fn read(text: &str) -> Option<Counts> {
    let line = |line: &str| {
        let (word, times) = line.split_once(' ')?;
        Some((word.to_owned(), times.parse().ok()?))
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        let counts = count("Die Straße, die STRASSE; 3x 3X -- ÄRGER\u{fffd}ärger");
        let expected = [
            ("3x", 2),
            ("die", 2),
            ("strasse", 1),
            ("straße", 1),
            ("ärger", 2),
        ];
        let expected = expected.map(|(word, times)| (word.to_owned(), times));
        assert_eq!(counts, Counts::from(expected));
    }

    #[test]
    fn words_cut_text_counts_the_same() {
        let mut text = String::new();
        for number in 0..9000 {
            text.push_str(["word", "Wörter ", "naïve\n", "日本語、", "x"][number % 5]);
        }
        let giant = "g".repeat(PIECE_BYTES * 2);
        let text = format!("{text} {giant} {text}");
        let cut = cut(&text);
        assert_eq!(cut.giants, [giant.as_str()]);
        assert!(cut.pieces.len() > 3 && cut.pieces.iter().all(|p| p.len() <= PIECE_BYTES));
        let mut counts = Counts::new();
        let parts = cut.pieces.iter().chain(&cut.giants);
        parts.for_each(|part| merge(&mut counts, count(part)));
        assert_eq!(counts, count(&text));
    }

    #[test]
    fn words_nothing_to_count_makes_no_piece() {
        assert_eq!(cut("  --- \n"), Pieces::default());
        assert_eq!(cut(""), Pieces::default());
    }

    #[test]
    fn words_counts_survive_their_text() {
        let counts = count("to be or not to be");
        assert_eq!(read(&show(&counts)), Some(counts));
        assert_eq!(read("no number\n"), None);
        assert_eq!(read("x"), None);
    }

    #[test]
    fn words_counts_of_a_piece_fit_a_tuple() {
        let many: String = (0..4000u32)
            .filter_map(|n| char::from_u32(0x4e00 + n))
            .fold(String::new(), |text, c| format!("{text}{c} "));
        let longest = cut(&many)
            .pieces
            .iter()
            .map(|piece| show(&count(piece)).len())
            .max();
        assert!(
            longest.is_some_and(|bytes| bytes < 60 * 1024),
            "{longest:?}"
        );
    }
}

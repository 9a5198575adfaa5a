//! The text to be counted: files and folders given by name, valid UTF-8 or not, or the text files
//! below the current folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why there is no text.
#[derive(Debug, Error)]
pub enum CorpusError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Reads all files named, and all files in the folders named. Bytes that are no UTF-8 stand
/// between words.
pub fn given(paths: &[PathBuf]) -> Result<Vec<String>, CorpusError> {
    let mut files = Vec::new();
    paths
        .iter()
        .try_for_each(|path| collect(path, &mut files))?;
    files
        .iter()
        .map(|path| Ok(String::from_utf8_lossy(&read(path)?).into_owned()))
        .collect()
}

/// Reads the text files below a folder: those that are UTF-8 and hold no NUL. Hidden folders and
/// build results are left out.
pub fn text_files_below(folder: &Path) -> Result<Vec<String>, CorpusError> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    let mut texts = Vec::new();
    for path in files {
        if let Ok(text) = String::from_utf8(read(&path)?)
            && !text.contains('\0')
        {
            texts.push(text);
        }
    }
    Ok(texts)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), CorpusError> {
    let unreadable = |error| CorpusError::Unreadable {
        path: path.to_owned(),
        error,
    };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut children = Vec::new();
    for child in fs::read_dir(path).map_err(unreadable)? {
        children.push(child.map_err(unreadable)?);
    }
    children.sort_by_key(fs::DirEntry::file_name);
    for child in children {
        let name = child.file_name();
        let is_left_out = name.to_string_lossy().starts_with('.') || name == "target";
        let kind = child.file_type().map_err(unreadable)?;
        if !is_left_out && (kind.is_dir() || kind.is_file()) {
            collect(&child.path(), files)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CorpusError> {
    fs::read(path).map_err(|error| CorpusError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpus_reads_what_is_no_utf8_if_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("good.txt"), "one two").expect("written");
        fs::write(folder.path().join("bad.bin"), b"one\xfftwo").expect("written");
        fs::create_dir(folder.path().join(".hidden")).expect("made");
        fs::write(folder.path().join(".hidden/more"), "three").expect("written");
        let named = given(&[folder.path().to_owned()]).expect("readable");
        assert_eq!(named, ["one\u{fffd}two", "one two"]);
        assert_eq!(
            text_files_below(folder.path()).expect("readable"),
            ["one two"]
        );
        let missing = given(&[folder.path().join("missing")]).expect_err("not there");
        assert!(missing.to_string().contains("missing"), "{missing}");
    }
}

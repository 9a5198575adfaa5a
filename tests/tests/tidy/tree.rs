//! The files of the repository, read from disk: what the other checks look at.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file: its path from the root with `/` between the parts, and what is in it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The lines with their numbers, counted from 1 as editors do.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

/// The folder of the workspace's Cargo.toml.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package lies in a folder of the workspace")
        .to_owned()
}

/// All files with this extension, sorted by path.
pub(crate) fn files(extension: &str) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths.iter().map(|path| read_from(&root, path)).collect()
}

/// One file, by its path from the root.
pub(crate) fn read(path: &str) -> Source {
    read_from(&root(), &root().join(path))
}

fn read_from(root: &Path, path: &Path) -> Source {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let relative = path.strip_prefix(root).expect("found below the root");
    Source {
        path: relative.to_string_lossy().replace('\\', "/"),
        text,
    }
}

/// Hidden folders and those that cargo fills (marked by a CACHEDIR.TAG) are not part of the
/// project.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    if folder.join("CACHEDIR.TAG").exists() {
        return;
    }
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("the folder is readable").path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !is_hidden {
            collect(&path, paths);
        } else if path.is_file() {
            paths.push(path);
        }
    }
}

#[test]
fn tree_files_are_found() {
    let paths: Vec<String> = files("rs").into_iter().map(|file| file.path).collect();
    assert!(
        paths.iter().any(|path| path == "bts-core/src/lib.rs"),
        "{paths:?}"
    );
    assert!(
        paths.iter().all(|path| !path.starts_with("target/")),
        "{paths:?}"
    );
}

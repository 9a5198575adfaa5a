//! Configuration files in TOML, and what is wrong with them: file, line and reason.
//!
//! [`TomlFile`] keeps the text beside what was read from it, so that a contradiction between two
//! settings, found long after parsing, still names its line. Paths in a file are relative to the
//! folder of the file, so that a deployment can be moved as a whole.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Largest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A configuration file: where it is and what stands in it.
#[derive(Clone, Debug)]
pub struct TomlFile {
    path: PathBuf,
    text: String,
}

/// Why a configuration file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {file}: {reason}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// Something in it is wrong.
    #[error("{file}:{line}: {reason}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl TomlFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let failed = |reason: String| FileError::Read {
            file: path.display().to_string(),
            reason,
        };
        let bytes = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(failed(format!(
                "{} bytes are no configuration",
                bytes.len()
            )));
        }
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Ok(Self::given(path, text))
    }

    /// A text that stands, or will stand, in the file `path`.
    pub fn given(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// What the file says. Types should deny unknown fields: a misspelt setting must not be silent.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        toml::from_str(&self.text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            self.wrong(span, error.message().trim().replace('\n', ", "))
        })
    }

    /// The error that what stands at `span` (bytes; of a [`toml::Spanned`]) is wrong.
    pub fn wrong(&self, span: Range<usize>, reason: impl Into<String>) -> FileError {
        let before = self.text.as_bytes().iter().take(span.start);
        FileError::Line {
            file: self.path.display().to_string(),
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
            reason: reason.into(),
        }
    }

    /// The path that the file means by `relative`.
    pub fn resolve(&self, relative: &str) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        folder.join(relative)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        size: toml::Spanned<u8>,
    }

    fn errors(text: &str) -> String {
        let parsed = TomlFile::given("a/b.toml", text).parse::<Settings>();
        parsed.expect_err("the text is wrong").to_string()
    }

    #[test]
    fn toml_error_names_file_line_and_reason() {
        assert!(errors("\n\nsize = 1\nsise = 2\n").starts_with("a/b.toml:4: unknown field `sise`"));
        assert!(errors("size = 1\nsize = 2\n").starts_with("a/b.toml:2: duplicate key"));
        assert!(errors("# big\nsize = 256\n").starts_with("a/b.toml:2: invalid value"));
        assert!(errors("").starts_with("a/b.toml:1: missing field `size`"));
        assert!(errors("size = \"\n").starts_with("a/b.toml:1: "));
        assert!(!errors("size = [\n1\n").contains('\n'));
    }

    #[test]
    fn toml_span_leads_back_to_the_line_and_paths_to_the_folder() {
        let file = TomlFile::given("a/b.toml", "# one\n# two\nsize = 3\n");
        let settings: Settings = file.parse().expect("the text is right");
        let error = file.wrong(settings.size.span(), "three is odd");
        assert_eq!(error.to_string(), "a/b.toml:3: three is odd");
        assert_eq!(file.resolve("c.toml"), Path::new("a/c.toml"));
        assert_eq!(file.resolve("/c.toml"), Path::new("/c.toml"));
    }

    #[test]
    fn toml_missing_file_is_named() {
        let error = TomlFile::read(Path::new("no/such.toml")).expect_err("it does not exist");
        assert!(error.to_string().starts_with("cannot read no/such.toml: "));
    }
}

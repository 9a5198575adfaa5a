//! What is printed, and where. Who reads the output may stop reading; that is no failure.

use std::io::{self, ErrorKind, Write};

use bts_client::Tuple;
use bts_client::text::{show_tuple, show_tuple_as_json};

use crate::exit::{Exit, Failure};

pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// A tuple on a line.
    pub(crate) fn tuple(&self, tuple: &Tuple) -> Result<(), Failure> {
        self.line(&self.show(tuple))
    }

    /// A tuple as text.
    pub(crate) fn show(&self, tuple: &Tuple) -> String {
        match self.json {
            true => show_tuple_as_json(tuple),
            false => show_tuple(tuple),
        }
    }

    /// A line of results.
    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                let lost = format!("cannot print: {error}\nwhat should have been printed: {line}");
                Err(Failure::new(Exit::Failed, lost))
            }
            _ => Ok(()),
        }
    }

    /// A message for the user.
    pub(crate) fn complain(&self, message: &str) -> io::Result<()> {
        writeln!(io::stderr(), "bts: {message}")
    }
}

//! `bts load`: writes all tuples of a file, many at a time.

use std::io::{Read, stdin};
use std::path::Path;

use bts_client::text::{parse_tuple, parse_tuples};
use bts_client::{Space, Tuple};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Tuples that are being written at the same time.
const CONCURRENT: usize = 64;

pub(crate) async fn run(space: &Space, file: &Path, output: &Output) -> Result<Exit, Failure> {
    let text = read(file)?;
    let tuples = parse(&text)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))?;
    let total = tuples.len();
    let mut loaded = 0;
    let written = write(space, tuples, &mut loaded).await;
    written.map_err(|failure| {
        let message = format!(
            "{}\n{loaded} of {total} tuples were loaded",
            failure.message
        );
        Failure::new(failure.exit, message)
    })?;
    output.line(&match output.json {
        true => format!("{{\"loaded\":{loaded}}}"),
        false => format!("{loaded} tuples loaded"),
    })?;
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("cannot read {}: {error}", file.display()),
        )
    })
}

/// A JSON list of lists, or a tuple on each line.
fn parse(text: &str) -> Result<Vec<Tuple>, String> {
    if text.trim_start().starts_with('[') {
        return parse_tuples(text).map_err(|error| error.to_string());
    }
    let lines = (1..).zip(text.lines());
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let tuple =
        |(number, line)| parse_tuple(line).map_err(|error| format!("line {number}: {error}"));
    lines.map(tuple).collect()
}

async fn write(space: &Space, tuples: Vec<Tuple>, loaded: &mut usize) -> Result<(), Failure> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} tuples, {per_sec}, {eta} left");
    let bar = ProgressBar::new(tuples.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut writing = JoinSet::new();
    let mut tuples = tuples.into_iter();
    loop {
        while writing.len() < CONCURRENT
            && let Some(tuple) = tuples.next()
        {
            let space = space.clone();
            writing.spawn(async move { space.out(&tuple).await });
        }
        match writing.join_next().await {
            Some(Ok(written)) => written?,
            Some(Err(error)) => return Err(Failure::new(Exit::Failed, error)),
            None => break,
        };
        *loaded += 1;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_reads_json_and_lines() {
        let json = parse("\n[[\"a\", 1],\n [\"b\", 2]]\n");
        let lines = parse("(\"a\", 1)\n\n(\"b\", 2)\n");
        assert_eq!(json, lines);
        assert_eq!(json.map(|tuples| tuples.len()), Ok(2));
        assert_eq!(parse("\n"), Ok(Vec::new()));
        let error = parse("(1)\n\n(b)\n").expect_err("b has no quotes");
        assert!(
            error.starts_with("line 3: column 2: b is no value"),
            "{error}"
        );
    }
}

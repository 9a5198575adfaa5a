//! `bts dump`: prints all tuples of a space, or all that match, so that `bts load` can read them.

use bts_client::template::Pattern;
use bts_client::{Space, Template, Tuple};
use bts_core::limits::FIELDS_MAX;
use tokio::task::JoinSet;

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Listings under way at the same time.
const CONCURRENT: usize = 8;

pub(crate) async fn run(
    space: &Space,
    template: Option<&Template>,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut tuples = match template {
        Some(template) => space.rd_all(template).await?,
        None => all(space).await?,
    };
    tuples.sort_unstable();
    print(&tuples, output)?;
    Ok(Exit::Done)
}

/// A template matches tuples of one length, so there is one listing for each.
async fn all(space: &Space) -> Result<Vec<Tuple>, Failure> {
    let (mut tuples, mut listing) = (Vec::new(), JoinSet::new());
    let mut lengths = 0..=FIELDS_MAX;
    loop {
        while listing.len() < CONCURRENT
            && let Some(length) = lengths.next()
        {
            let (space, template) = (space.clone(), Template(vec![Pattern::Any; length]));
            listing.spawn(async move { space.rd_all(template).await });
        }
        match listing.join_next().await {
            Some(Ok(listed)) => tuples.extend(listed?),
            Some(Err(error)) => return Err(Failure::new(Exit::Failed, error)),
            None => return Ok(tuples),
        }
    }
}

fn print(tuples: &[Tuple], output: &Output) -> Result<(), Failure> {
    let lines: Vec<String> = tuples.iter().map(|tuple| output.show(tuple)).collect();
    match (output.json, lines.is_empty()) {
        (true, true) => output.line("[]"),
        (true, false) => output.line(&format!("[\n{}\n]", lines.join(",\n"))),
        (false, true) => Ok(()),
        (false, false) => output.line(&lines.join("\n")),
    }
}

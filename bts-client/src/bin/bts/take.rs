//! `bts in` and `bts inp`: take a matching tuple and print it.

use bts_client::{Space, Template};

use crate::exit::{Exit, Failure};
use crate::output::Output;

pub(crate) async fn take(
    space: &Space,
    template: &Template,
    output: &Output,
) -> Result<Exit, Failure> {
    output.tuple(&space.take(template).await?)?;
    Ok(Exit::Done)
}

pub(crate) async fn inp(
    space: &Space,
    template: &Template,
    output: &Output,
) -> Result<Exit, Failure> {
    let Some(tuple) = space.inp(template).await? else {
        return Ok(Exit::NotFound);
    };
    output.tuple(&tuple)?;
    Ok(Exit::Done)
}

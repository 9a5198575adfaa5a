//! `bts rd` and `bts rdp`: print a matching tuple, which stays where it is.

use bts_client::{Space, Template};

use crate::exit::{Exit, Failure};
use crate::output::Output;

pub(crate) async fn rd(
    space: &Space,
    template: &Template,
    output: &Output,
) -> Result<Exit, Failure> {
    output.tuple(&space.rd(template).await?)?;
    Ok(Exit::Done)
}

pub(crate) async fn rdp(
    space: &Space,
    template: &Template,
    output: &Output,
) -> Result<Exit, Failure> {
    let Some(tuple) = space.rdp(template).await? else {
        return Ok(Exit::NotFound);
    };
    output.tuple(&tuple)?;
    Ok(Exit::Done)
}

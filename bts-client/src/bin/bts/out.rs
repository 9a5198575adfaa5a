//! `bts out`: writes tuples, one after the other.

use bts_client::{Space, Tuple};

use crate::exit::{Exit, Failure};

pub(crate) async fn run(space: &Space, tuples: &[Tuple]) -> Result<Exit, Failure> {
    for tuple in tuples {
        space.out(tuple).await?;
    }
    Ok(Exit::Done)
}

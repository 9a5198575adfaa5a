//! `bts swap` and `bts swapp`: take a matching tuple, put others in its place, print what was taken.

use bts_client::text::Replacement;
use bts_client::{Puts, Space, Swapped, Tuple};

use crate::args::Swap;
use crate::exit::{Exit, Failure};
use crate::output::Output;

pub(crate) async fn swap(space: &Space, swap: &Swap, output: &Output) -> Result<Exit, Failure> {
    check(swap)?;
    print(
        space.swap(&swap.template, fill(swap.puts.clone())).await?,
        output,
    )
}

pub(crate) async fn swapp(space: &Space, swap: &Swap, output: &Output) -> Result<Exit, Failure> {
    check(swap)?;
    match space.swapp(&swap.template, fill(swap.puts.clone())).await? {
        Some(swapped) => print(swapped, output),
        None => Ok(Exit::NotFound),
    }
}

/// All that matches has as many fields as the template, so a field that is not there is a mistake
/// that shows before anything is taken.
fn check(swap: &Swap) -> Result<(), Failure> {
    let arity = swap.template.arity();
    let checked = swap.puts.iter().try_for_each(|put| put.check(arity));
    checked.map_err(|error| Failure::new(Exit::Usage, error))
}

fn fill(puts: Vec<Replacement>) -> impl FnMut(Tuple) -> Option<Puts> + Send + 'static {
    move |taken| {
        puts.iter().try_fold(Puts::none(), |filled, put| {
            put.fill(&taken).ok().map(|tuple| filled.and(tuple))
        })
    }
}

fn print(swapped: Swapped<Tuple>, output: &Output) -> Result<Exit, Failure> {
    match swapped {
        Swapped::Taken(tuple) => {
            output.tuple(&tuple)?;
            Ok(Exit::Done)
        }
        Swapped::Declined(tuple) => {
            let why = format!(
                "found, but not what the replacement needs: {}",
                output.show(&tuple)
            );
            Err(Failure::new(Exit::Failed, why))
        }
    }
}

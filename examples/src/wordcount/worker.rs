//! A worker: swaps a task into "doing, by me", counts, and swaps that into its result.

use std::time::Duration;

use bts_client::{Client, Config, Space, template};

use super::words::{count, show};
use super::{JobError, SPACE};
use crate::wordcount::options::Options;

/// Works until the master says that all is done.
pub async fn run(options: &Options) -> Result<(), JobError> {
    let settings = options.settings.clone().unwrap_or_default();
    let config = Config::load(&settings).map_err(|error| JobError::Settings(error.to_string()))?;
    let client = Client::connect(config).await?;
    let space = client
        .space(SPACE)
        .expect("the name of the space is legal")
        .without_deadline();
    tokio::select! {
        result = work(&space, &options.name, options.stall_in_task) => result?,
        finished = space.rd(template!["finished"]) => {
            finished?;
        }
    }
    client.close().await;
    Ok(())
}

async fn work(space: &Space, me: &str, stall_in_task: Option<u32>) -> Result<(), JobError> {
    let mut tasks = 0;
    loop {
        let name = me.to_owned();
        let swapped = space
            .swap(
                template!["todo", ?u64, ?String],
                move |(_, number, text)| Some(("doing", number, name.clone(), text)),
            )
            .await?;
        let Some((_, number, text)) = swapped.taken() else {
            continue;
        };
        tasks += 1;
        if stall_in_task == Some(tasks) {
            // A stand-in for any way to hang or crash: the task is taken, its result not written.
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        let counts = show(&count(&text));
        let name = me.to_owned();
        // Nothing is there to be swapped if the task was given to somebody else meanwhile, because
        // this worker was believed dead: then its result is not wanted.
        let _ = space
            .swapp(template!["doing", number, me, ?String], move |_| {
                Some(("done", number, name.clone(), counts.clone()))
            })
            .await?;
    }
}

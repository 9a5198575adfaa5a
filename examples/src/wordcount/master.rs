//! The master: writes the tasks, gives those of dead workers to others, and collects the results.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use bts_client::{Client, Config, Space, Swapped, template};
use indicatif::ProgressBar;

use super::words::{Counts, cut, merge, read};
use super::{JobError, SPACE};
use crate::lab::{Lab, LabError};

/// Tasks written and results taken at the same time.
const IN_FLIGHT: usize = 16;

/// Longer than a worker needs for a task.
const A_WHILE: Duration = Duration::from_millis(200);

/// How often the master looks whether workers live.
const LOOK_AFTER_WORKERS: Duration = Duration::from_millis(100);

/// What came out of a job.
#[derive(Debug, Default)]
pub struct Result {
    /// The counts.
    pub counts: Counts,
    /// Tasks per worker.
    pub tasks: BTreeMap<String, u64>,
    /// Workers that died, and how many of their tasks were given to others.
    pub died: BTreeMap<String, u64>,
}

/// Counts the words of these texts.
pub async fn run(
    lab: &mut Lab,
    texts: &[String],
    victim: Option<usize>,
    bar: &ProgressBar,
) -> std::result::Result<Result, JobError> {
    let config = Config::load(lab.master_settings())
        .map_err(|error| JobError::Settings(error.to_string()))?;
    let client = Client::connect(config).await?;
    let space = client
        .space(SPACE)
        .expect("the name of the space is legal")
        .without_deadline();

    let mut result = Result::default();
    let mut tasks = Vec::new();
    for text in texts {
        let cut = cut(text);
        tasks.extend(cut.pieces.into_iter().map(str::to_owned));
        cut.giants
            .into_iter()
            .for_each(|word| merge(&mut result.counts, super::words::count(word)));
    }
    bar.set_length(tasks.len() as u64);
    let total = tasks.len();
    let writing = write_tasks(&space, tasks);
    let collecting = collect(&space, total, bar);
    let watching = watch_workers(&space, lab, victim);
    let ((), (counts, per_worker), died) = tokio::try_join!(writing, collecting, watching)?;
    merge(&mut result.counts, counts);
    result.tasks = per_worker;
    result.died = died;
    client.close().await;
    Ok(result)
}

/// Writes all tasks, several at a time.
async fn write_tasks(space: &Space, tasks: Vec<String>) -> std::result::Result<(), JobError> {
    let mut writing = tokio::task::JoinSet::new();
    for (number, text) in (0u64..).zip(tasks) {
        if writing.len() >= IN_FLIGHT {
            joined(writing.join_next().await)?;
        }
        let space = space.clone();
        writing.spawn(async move { space.out(("todo", number, text)).await.map(|_| ()) });
    }
    while let Some(written) = writing.join_next().await {
        joined(Some(written))?;
    }
    Ok(())
}

/// Takes so many results, several at a time, then tells everybody that the job is finished.
async fn collect(
    space: &Space,
    total: usize,
    bar: &ProgressBar,
) -> std::result::Result<(Counts, BTreeMap<String, u64>), JobError> {
    let (mut counts, mut tasks) = (Counts::new(), BTreeMap::new());
    let mut taking = tokio::task::JoinSet::new();
    let mut asked = 0;
    while asked < total || !taking.is_empty() {
        while asked < total && taking.len() < IN_FLIGHT {
            let space = space.clone();
            asked += 1;
            taking
                .spawn(async move { space.take(template!["done", ?u64, ?String, ?String]).await });
        }
        let Some((_, number, worker, text)) = joined(taking.join_next().await)? else {
            break;
        };
        merge(&mut counts, read(&text).ok_or(JobError::BadResult(number))?);
        *tasks.entry(worker).or_default() += 1;
        bar.inc(1);
    }
    space.out(("finished",)).await?;
    Ok((counts, tasks))
}

/// Kills the victim as soon as it is in the middle of a task, and gives the tasks of dead workers
/// to others, until the job is finished.
async fn watch_workers(
    space: &Space,
    lab: &mut Lab,
    victim: Option<usize>,
) -> std::result::Result<BTreeMap<String, u64>, JobError> {
    let mut died = BTreeMap::new();
    if let Some(worker) = victim.and_then(|index| lab.workers.get_mut(index)) {
        tokio::select! {
            stuck = stuck_in_task(space, &worker.name) => {
                stuck?;
                worker.kill().map_err(LabError::from)?;
            }
            finished = space.rd(template!["finished"]) => {
                finished?;
                return Ok(died);
            }
        }
    }
    let mut finished = pin!(space.rd(template!["finished"]));
    loop {
        for worker in &mut lab.workers {
            if !died.contains_key(&worker.name) && worker.has_ended() {
                let given = give_back(space, &worker.name).await?;
                died.insert(worker.name.clone(), given);
            }
        }
        if died.len() == lab.workers.len() {
            return Err(JobError::NoWorkers);
        }
        tokio::select! {
            finished = &mut finished => {
                finished?;
                return Ok(died);
            }
            () = tokio::time::sleep(LOOK_AFTER_WORKERS) => {}
        }
    }
}

/// Waits until a worker has been in one task for a while.
async fn stuck_in_task(space: &Space, worker: &str) -> std::result::Result<(), JobError> {
    loop {
        let (_, number, _, _) = space.rd(template!["doing", ?u64, worker, ?String]).await?;
        tokio::time::sleep(A_WHILE).await;
        if space
            .rdp(template!["doing", number, worker, ?String])
            .await?
            .is_some()
        {
            return Ok(());
        }
    }
}

/// Swaps all that a dead worker was doing back to "todo".
async fn give_back(space: &Space, worker: &str) -> std::result::Result<u64, JobError> {
    let mut given = 0;
    loop {
        let swapped = space
            .swapp(
                template!["doing", ?u64, worker, ?String],
                |(_, number, _, text)| Some(("todo", number, text)),
            )
            .await?;
        match swapped {
            Some(Swapped::Taken(_)) => given += 1,
            Some(Swapped::Declined(_)) | None => return Ok(given),
        }
    }
}

fn joined<T>(
    done: Option<
        std::result::Result<std::result::Result<T, bts_client::Error>, tokio::task::JoinError>,
    >,
) -> std::result::Result<Option<T>, JobError> {
    match done {
        None => Ok(None),
        Some(Ok(result)) => Ok(Some(result?)),
        Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

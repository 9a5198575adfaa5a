//! `bts bench`: how fast a cluster is, and what an operation costs. See docs/performance.md.

mod diary;
mod echo;
mod field;
mod floors;
mod hand;
mod histogram;
mod machine;
mod measure;
mod node;
mod options;
mod own;
mod plot;
mod process;
mod report;
mod setting;
mod tuples;
mod workload;

use std::path::Path;

use bts_client::{Config, SpaceName};

use crate::exit::{Exit, Failure};
use crate::output::Output;

use field::Field;
use floors::Floors;
use measure::Figures;
use report::Report;
use setting::Setting;

pub(crate) use options::Bench;

/// What the rest of the command line says.
pub(crate) struct Context {
    pub(crate) space: SpaceName,
    /// Puts the timeout into settings.
    pub(crate) limit: Box<dyn Fn(Config) -> Config>,
    /// Whether there is one.
    pub(crate) is_limited: bool,
}

/// Measures, and prints each figure when it is there.
pub(crate) async fn run(options: &Bench, context: Context) -> Result<Exit, Failure> {
    options.check()?;
    let mut field = Field::prepare(options, context)?;
    field.open().await?;
    let cluster = field.config_of_all()?;
    let size = cluster.cluster().configuration().size();
    let floors = match field.own() {
        Some(own) => {
            let name = own::client_name(0);
            let (folder, loads) = (own.folder(), options.loads());
            Some(Floors::measure(folder, &name, size, options.durability, &loads).await?)
        }
        None => None,
    };
    let mut report = Report::new(Setting::of(options, size), floors);
    let mut all = Vec::new();
    let measured = measure_all(options, &mut field, &mut report, &mut all).await;
    if let (Some(file), Some(diary)) = (&options.history, field.diary()) {
        let written = diary.write(file);
        written.map_err(|error| cannot_write(file, &error))?;
    }
    let cleared = field.clear().await;
    field.close().await;
    measured.and(cleared)?;
    if let Some(file) = &options.plot {
        write(file, &plot::svg(&all, &report.circumstances()))?;
    }
    if let Some(file) = &options.json {
        write(file, &format!("{}\n", report.as_json(&all)))?;
    }
    Ok(Exit::Done)
}

/// All figures, each printed when it is there; those before a failure as well.
async fn measure_all(
    options: &Bench,
    field: &mut Field,
    report: &mut Report,
    all: &mut Vec<Figures>,
) -> Result<(), Failure> {
    let output = Output { json: false };
    let is_quiet = [&options.json, &options.plot]
        .iter()
        .any(|file| is_stdout(file.as_deref()));
    let print = |text: &str| match is_quiet {
        true => Ok(()),
        false => output.line(text),
    };
    print(&report.circumstances())?;
    report.bytes_per_tuple = field.fill().await?;
    print(&report.head())?;
    if let Some(own) = field.own() {
        own.slow_down(&options.slow);
    }
    for load in options.loads() {
        for workload in options.workloads() {
            let figures = measure::measure(field, options, workload, load).await;
            let figures = figures.map_err(|failure| {
                let what = format!("{} with {} clients", workload.name(), load.clients);
                Failure::new(failure.exit, format!("{what}: {}", failure.message))
            })?;
            report
                .rows(&figures)
                .iter()
                .try_for_each(|row| print(row))?;
            all.push(figures);
        }
    }
    Ok(())
}

fn is_stdout(file: Option<&Path>) -> bool {
    file == Some(Path::new("-"))
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    if is_stdout(Some(file)) {
        return Output { json: true }.line(text.trim_end());
    }
    std::fs::write(file, text).map_err(|error| cannot_write(file, &error))
}

fn cannot_write(file: &Path, error: &std::io::Error) -> Failure {
    let why = format!("cannot write {}: {error}", file.display());
    Failure::new(Exit::Failed, why)
}

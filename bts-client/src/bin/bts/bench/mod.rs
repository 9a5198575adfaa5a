//! `bts bench`: how fast a cluster is, and what an operation costs. See docs/performance.md.

mod cpu;
mod diary;
mod field;
mod hand;
mod histogram;
mod machine;
mod measure;
mod node;
mod options;
mod own;
mod report;
mod tuples;
mod workload;

use std::path::Path;

use bts_client::{Config, SpaceName};
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::output::Output;

use field::Field;
use report::Setting;

pub(crate) use options::Bench;

/// Measures, and prints each figure when it is there. `limit` puts the timeout of the command line into
/// settings.
pub(crate) async fn run(
    options: &Bench,
    space: SpaceName,
    limit: Box<dyn Fn(Config) -> Config>,
) -> Result<Exit, Failure> {
    options.check()?;
    let mut field = Field::prepare(options, space, limit)?;
    field.open().await?;
    let setting = Setting::of(options, &field.config_of_all()?);
    let mut workloads = Vec::new();
    let measured = measure_all(options, &mut field, &setting, &mut workloads).await;
    if let (Some(file), Some(diary)) = (&options.history, field.diary()) {
        diary
            .write(file)
            .map_err(|error| cannot_write(file, &error))?;
    }
    let cleared = field.clear().await;
    field.close().await;
    measured.and(cleared)?;
    if let Some(file) = &options.json {
        write_json(file, &setting.as_json(workloads))?;
    }
    Ok(Exit::Done)
}

async fn measure_all(
    options: &Bench,
    field: &mut Field,
    setting: &Setting,
    workloads: &mut Vec<Value>,
) -> Result<(), Failure> {
    let output = Output { json: false };
    let is_quiet = options.json.as_deref() == Some(Path::new("-"));
    let print = |text: &str| match is_quiet {
        true => Ok(()),
        false => output.line(text),
    };
    field.fill().await?;
    print(&format!("{}\n\n{}", setting.as_text(), report::head()))?;
    for load in options.loads() {
        for workload in options.workloads() {
            let figures = measure::measure(field, workload, load, options.seconds).await?;
            print(&report::row(&figures))?;
            workloads.push(report::as_json(&figures));
        }
    }
    Ok(())
}

fn write_json(file: &Path, value: &Value) -> Result<(), Failure> {
    if file == Path::new("-") {
        return Output { json: true }.line(&value.to_string());
    }
    std::fs::write(file, format!("{value}\n")).map_err(|error| cannot_write(file, &error))
}

fn cannot_write(file: &Path, error: &std::io::Error) -> Failure {
    let why = format!("cannot write {}: {error}", file.display());
    Failure::new(Exit::Failed, why)
}

//! Figures as a table for people and as JSON for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::floors::Floors;
use super::measure::Figures;
use super::setting::Setting;

/// What is needed to tell figures.
#[derive(Debug)]
pub(super) struct Report {
    setting: Setting,
    /// Not of a given cluster, which may be anywhere.
    floors: Option<Floors>,
    /// Memory that a replica has more for each live tuple, where that is known.
    pub(super) bytes_per_tuple: Option<f64>,
}

/// A column of the table: its title, in two lines, its width, and what is in it.
type Column = (
    &'static str,
    &'static str,
    usize,
    fn(&Report, &Figures) -> Option<String>,
);

const COLUMNS: &[Column] = &[
    ("", "clients", 8, |_, it| Some(it.load.clients.to_string())),
    ("in", "flight", 7, |_, it| {
        Some(it.load.workers().to_string())
    }),
    ("", "ops/s", 8, |_, it| whole(it.per_second())),
    ("p50", "us", 8, |_, it| whole(it.us(500)?)),
    ("p99", "us", 8, |_, it| whole(it.us(990)?)),
    ("p99.9", "us", 8, |_, it| whole(it.us(999)?)),
    ("x", "floor", 7, |report, it| {
        Some(format!("{:.1}", report.ratio(it)?))
    }),
    ("replicas", "CPU us/op", 10, |_, it| {
        whole(it.us_per_op(it.replicas_cpu)?)
    }),
    ("clients", "CPU us/op", 10, |_, it| {
        whole(it.us_per_op(it.clients_cpu)?)
    }),
    ("messages", "CPU us/op", 10, |report, it| {
        whole(micros(report.cpu_floor(it)?))
    }),
    ("wire", "B/op", 7, |_, it| whole(it.bytes_per_op()?)),
    ("fast", "%", 6, |_, it| whole(it.fast? * 100.0)),
];

/// Width of the names.
const NAMES: usize = 10;

impl Report {
    pub(super) fn new(setting: Setting, floors: Option<Floors>) -> Self {
        Self {
            setting,
            floors,
            bytes_per_tuple: None,
        }
    }

    /// The circumstances, in words.
    pub(super) fn circumstances(&self) -> String {
        let floors = self
            .floors
            .as_ref()
            .map(|floors| format!("\n{}", floors.as_text()));
        format!("{}{}", self.setting.as_text(), floors.unwrap_or_default())
    }

    /// What stands above the rows.
    pub(super) fn head(&self) -> String {
        let line = |first: &str, titles: fn(&Column) -> (&'static str, usize)| {
            let cells = COLUMNS.iter().map(titles);
            let cells = cells.map(|(title, width)| format!("{title:>width$}"));
            format!("{first:NAMES$}{}", cells.collect::<String>())
        };
        let above = line("", |column| (column.0, column.2));
        let below = line("workload", |column| (column.1, column.2));
        let bytes = self
            .bytes_per_tuple
            .map(|bytes| format!("memory of a replica for each live tuple: {bytes:.0} bytes\n"));
        format!("{}\n{above}\n{below}", bytes.unwrap_or_default())
    }

    /// The row of the figures, and what else is to be said of them.
    pub(super) fn rows(&self, figures: &Figures) -> Vec<String> {
        let cells = COLUMNS.iter().map(|(_, _, width, of)| {
            let text = of(self, figures).unwrap_or_else(|| "-".into());
            format!("{text:>width$}")
        });
        let name = figures.workload.name();
        let mut rows = vec![format!("{name:NAMES$}{}", cells.collect::<String>())];
        if let Some(evenness) = figures.evenness {
            let share = evenness * 100.0;
            rows.push(format!(
                "{:NAMES$}  the slowest worker had {share:.0} % of the mean",
                ""
            ));
        }
        rows
    }

    pub(super) fn as_json(&self, all: &[Figures]) -> Value {
        let mut value = self.setting.as_json();
        value["version"] = env!("CARGO_PKG_VERSION").into();
        value["memory_bytes_per_live_tuple"] = self.bytes_per_tuple.into();
        value["floors"] = self.floors.as_ref().map_or(Value::Null, floors_as_json);
        value["workloads"] = all
            .iter()
            .map(|figures| self.figures_as_json(figures))
            .collect();
        value
    }

    fn floor(&self, figures: &Figures) -> Option<Duration> {
        self.floors.as_ref()?.of(figures.workload)
    }

    /// What its messages alone cost.
    fn cpu_floor(&self, figures: &Figures) -> Option<Duration> {
        let floors = self.floors.as_ref()?;
        floors.cpu_of(figures.workload, figures.load)
    }

    /// The median as a multiple of the floor.
    fn ratio(&self, figures: &Figures) -> Option<f64> {
        Some(figures.us(500)? / micros(self.floor(figures)?))
    }

    fn figures_as_json(&self, figures: &Figures) -> Value {
        let replicas = figures.us_per_op(figures.replicas_cpu);
        let clients = figures.us_per_op(figures.clients_cpu);
        json!({
            "name": figures.workload.name(),
            "clients": figures.load.clients,
            "in_flight": figures.load.workers(),
            "ops": figures.took.total(),
            "seconds": figures.elapsed.as_secs_f64(),
            "ops_per_s": figures.per_second(),
            "p50_us": figures.us(500),
            "p99_us": figures.us(990),
            "p999_us": figures.us(999),
            "cpu_us_per_op": replicas.zip(clients).map(|(replicas, clients)| replicas + clients),
            "replicas_cpu_us_per_op": replicas,
            "clients_cpu_us_per_op": clients,
            "messages_cpu_us_per_op": self.cpu_floor(figures).map(micros),
            "wire_bytes_per_op": figures.bytes_per_op(),
            "fast_share": figures.fast,
            "slowest_worker_share": figures.evenness,
            "floor_us": self.floor(figures).map(micros),
            "ratio_to_floor": self.ratio(figures),
        })
    }
}

fn floors_as_json(floors: &Floors) -> Value {
    json!({
        "echo_us": micros(floors.echo),
        "sign_us": micros(floors.sign),
        "verify_us": micros(floors.verify),
        "fdatasync_us": floors.sync.map(micros),
        "loaded": floors.loaded.iter().map(|echoed| json!({
            "clients": echoed.load.clients,
            "in_flight": echoed.load.in_flight,
            "echo_us": micros(echoed.took),
            "message_cpu_us": echoed.cpu.map(micros),
        })).collect::<Vec<_>>(),
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn whole(number: f64) -> Option<String> {
    Some(format!("{number:.0}"))
}

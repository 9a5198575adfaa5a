//! A picture of how long operations took: for each load a panel, for each workload a curve over the
//! share of operations that took no longer. Both axes are logarithmic, so that the slow few can be seen.

use std::fmt::Write;

use super::measure::Figures;

const PANEL_WIDTH: f64 = 520.0;
const PANEL_HEIGHT: f64 = 380.0;
const MARGIN: f64 = 60.0;
const LEGEND_LINE: f64 = 16.0;
/// Nines that are shown: 0 is none of the operations, 1 is 90 %, 4 is 99.99 %.
const NINES_MAX: f64 = 4.0;
const STEPS: u32 = 80;
const COLOURS: [&str; 10] = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f",
    "#bcbd22", "#17becf",
];

/// Draws all figures.
pub(super) fn svg(all: &[Figures], below: &str) -> String {
    let mut loads: Vec<(usize, usize)> = Vec::new();
    for figures in all {
        let load = key(figures);
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    let width = (PANEL_WIDTH + MARGIN) * loads.len().max(1) as f64 + MARGIN;
    let lines = below.lines().count() as f64;
    let height = PANEL_HEIGHT + 2.0 * MARGIN + LEGEND_LINE * (lines + 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let scale = Scale::of(all);
    for (index, load) in loads.iter().enumerate() {
        let of_load: Vec<&Figures> = all.iter().filter(|one| key(one) == *load).collect();
        let left = MARGIN + index as f64 * (PANEL_WIDTH + MARGIN);
        panel(&mut svg, left, &scale, *load, &of_load);
    }
    for (number, line) in below.lines().enumerate() {
        let y = PANEL_HEIGHT + 2.0 * MARGIN + LEGEND_LINE * number as f64;
        text(&mut svg, MARGIN, y, "start", "#444", line);
    }
    svg + "</svg>\n"
}

fn key(figures: &Figures) -> (usize, usize) {
    (figures.load.clients, figures.load.workers())
}

/// Powers of ten, in microseconds, between which everything is.
struct Scale {
    from: i32,
    to: i32,
}

impl Scale {
    fn of(all: &[Figures]) -> Self {
        let decade = |nines: f64, figures: &Figures| Some(micros(figures, nines)?.log10());
        let lowest = all.iter().filter_map(|one| decade(0.05, one));
        let highest = all.iter().filter_map(|one| decade(NINES_MAX, one));
        let from = lowest
            .fold(f64::INFINITY, f64::min)
            .floor()
            .clamp(-1.0, 8.0) as i32;
        let to = highest
            .fold(f64::NEG_INFINITY, f64::max)
            .ceil()
            .clamp(-1.0, 9.0) as i32;
        Self {
            from,
            to: to.max(from + 1),
        }
    }

    fn y(&self, micros: f64) -> f64 {
        let share = (micros.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        MARGIN + PANEL_HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    }
}

fn micros(figures: &Figures, nines: f64) -> Option<f64> {
    let share = 1.0 - 10_f64.powf(-nines);
    let took = figures.took.quantile(share)?;
    Some((took.as_secs_f64() * 1e6).max(0.1))
}

fn panel(svg: &mut String, left: f64, scale: &Scale, load: (usize, usize), all: &[&Figures]) {
    let x = |nines: f64| left + PANEL_WIDTH * nines / NINES_MAX;
    let bottom = MARGIN + PANEL_HEIGHT;
    let title = format!("{} clients, {} in flight", load.0, load.1);
    text(
        svg,
        left + PANEL_WIDTH / 2.0,
        MARGIN - 20.0,
        "middle",
        "black",
        &title,
    );
    for decade in scale.from..=scale.to {
        let y = scale.y(10_f64.powi(decade));
        line(svg, (left, y), (left + PANEL_WIDTH, y));
        let label = match decade {
            ..=2 => format!("{} us", 10_f64.powi(decade)),
            3..=5 => format!("{} ms", 10_f64.powi(decade - 3)),
            6.. => format!("{} s", 10_f64.powi(decade - 6)),
        };
        text(svg, left - 5.0, y + 4.0, "end", "black", &label);
    }
    for (nines, label) in [
        (0.301, "50 %"),
        (1.0, "90 %"),
        (2.0, "99 %"),
        (3.0, "99.9 %"),
        (4.0, "99.99 %"),
    ] {
        line(svg, (x(nines), MARGIN), (x(nines), bottom));
        text(svg, x(nines), bottom + 16.0, "middle", "black", label);
    }
    for (number, figures) in all.iter().enumerate() {
        let colour = COLOURS[figures.workload as usize % COLOURS.len()];
        let points = (0..=STEPS).filter_map(|step| {
            let nines = NINES_MAX * f64::from(step) / f64::from(STEPS);
            Some(format!(
                "{:.1},{:.1}",
                x(nines),
                scale.y(micros(figures, nines)?)
            ))
        });
        let points: Vec<String> = points.collect();
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            points.join(" ")
        );
        let label = format!(
            "{} ({:.0}/s)",
            figures.workload.name(),
            figures.per_second()
        );
        let y = MARGIN + LEGEND_LINE * (number as f64 + 1.0);
        text(svg, left + 10.0, y, "start", colour, &label);
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, colour: &str, text: &str) {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{escaped}</text>"
    );
}

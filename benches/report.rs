//! The results: a table of the figures, and every value as JSON.

use std::io::Write;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::progress;
use crate::settings::Settings;
use crate::stats::median;

/// A figure, with one value for each run.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) values: Vec<f64>,
    pub(crate) baseline: Option<Baseline>,
}

/// The values that a figure is compared with, measured in the same runs.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit, values, baseline: None }
    }

    pub(crate) fn compared_to(mut self, name: impl Into<String>, values: Vec<f64>) -> Self {
        self.baseline = Some(Baseline { name: name.into(), values });
        self
    }

    /// The median of the ratios within each run. Noise that lasts longer than a run does not affect it.
    fn ratio(&self) -> Option<f64> {
        let baseline = self.baseline.as_ref()?;
        Some(median(&self.values.iter().zip(&baseline.values).map(|(value, base)| value / base).collect::<Vec<_>>()))
    }
}

/// Prints the figures as one table.
pub(crate) fn print(figures: &[Figure]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header([
        "FIGURE",
        "UNIT",
        "MIN",
        "MEDIAN",
        "MAX",
        "COMPARED TO",
        "MIN",
        "MEDIAN",
        "MAX",
        "RATIO",
    ]);
    for figure in figures {
        let mut row = vec![figure.name.clone(), figure.unit.to_owned()];
        row.extend(spread(&figure.values));
        match &figure.baseline {
            Some(baseline) => {
                row.push(baseline.name.clone());
                row.extend(spread(&baseline.values));
            }
            None => row.extend(std::iter::repeat_n(String::new(), 4)),
        }
        row.push(figure.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")));
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if !matches!(index, 0 | 1 | 5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = std::io::stdout().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Writes the figures and how they were measured to the file in the settings.
pub(crate) fn write_json(settings: &Settings, figures: &[Figure]) -> Result<()> {
    let figures: Vec<Value> = figures
        .iter()
        .map(|figure| {
            json!({
                "figure": figure.name, "unit": figure.unit, "median": median(&figure.values), "values": figure.values,
                "baseline": figure.baseline.as_ref().map(|baseline| json!({
                    "name": baseline.name, "median": median(&baseline.values), "values": baseline.values,
                })),
                "ratio": figure.ratio(),
            })
        })
        .collect();
    let report = json!({
        "at": chrono::Utc::now().to_rfc3339(),
        "banklink": env!("CARGO_PKG_VERSION"),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "repeat": settings.repeat,
        "count": settings.count,
        "figures": figures,
    });
    let written = std::fs::write(&settings.json, format!("{report:#}\n"));
    written.with_context(|| format!("cannot write {}", settings.json.display()))?;
    progress::print(&format!("every value: {}", settings.json.display()));
    Ok(())
}

/// Minimum, median and maximum.
fn spread(values: &[f64]) -> [String; 3] {
    let (min, max) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    [format_value(min), format_value(median(values)), format_value(max)]
}

/// Formats a value with at least three significant digits.
pub(crate) fn format_value(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

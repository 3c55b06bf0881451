//! The table at the end, and every single value as JSON.

use std::io::Write;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::progress;
use crate::settings::Settings;
use crate::stats::median;

/// Something measured, once in each run.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) values: Vec<f64>,
    pub(crate) beside: Option<Beside>,
}

/// What a figure is compared with, measured in the same runs.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit, values, beside: None }
    }

    pub(crate) fn beside(mut self, name: impl Into<String>, values: Vec<f64>) -> Self {
        self.beside = Some(Beside { name: name.into(), values });
        self
    }

    /// The median of the ratios within each run, which noise that lasts longer than a run does not touch.
    fn ratio(&self) -> Option<f64> {
        let beside = self.beside.as_ref()?;
        Some(median(&self.values.iter().zip(&beside.values).map(|(value, beside)| value / beside).collect::<Vec<_>>()))
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
        "BESIDE IT",
        "MIN",
        "MEDIAN",
        "MAX",
        "RATIO",
    ]);
    for figure in figures {
        let mut row = vec![figure.name.clone(), figure.unit.to_owned()];
        row.extend(spread(&figure.values));
        match &figure.beside {
            Some(beside) => {
                row.push(beside.name.clone());
                row.extend(spread(&beside.values));
            }
            None => row.extend(std::iter::repeat_n(String::new(), 4)),
        }
        row.push(figure.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")));
        table.add_row(row);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if !matches!(place, 0 | 1 | 5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = std::io::stdout().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Writes the figures, and what they were measured on, to the file that the settings name.
pub(crate) fn write_json(settings: &Settings, figures: &[Figure]) -> Result<()> {
    let figures: Vec<Value> = figures
        .iter()
        .map(|figure| {
            json!({
                "figure": figure.name, "unit": figure.unit, "median": median(&figure.values), "values": figure.values,
                "beside": figure.beside.as_ref().map(|beside| json!({
                    "name": beside.name, "median": median(&beside.values), "values": beside.values,
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
    progress::say(&format!("every value: {}", settings.json.display()));
    Ok(())
}

fn spread(values: &[f64]) -> [String; 3] {
    let (least, most) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    [shown(least), shown(median(values)), shown(most)]
}

/// Three or four digits that count.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

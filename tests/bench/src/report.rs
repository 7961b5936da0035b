//! What a measurement found: one JSON object for scripts, and a table for people.

use crate::{pairs::Latencies, process::Memory};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};
use std::{fmt::Write as _, time::Duration};

/// Room for latencies in nanoseconds, from a microsecond to ten minutes; what is outside counts as the nearest of them.
pub(crate) fn latencies() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1000, 600_000_000_000, 3)?)
}

/// The quantiles of a latency, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Quantiles {
    /// Of nanoseconds; none if nothing was measured.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| milliseconds(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(histogram.max()),
        })
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    round(nanoseconds as f64 / 1e6)
}

/// Four digits are more than any measurement is worth.
pub(crate) fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    if scale > 1.0 { (value * scale).round() / scale } else { value.round() }
}

/// What one load found at one server or floor.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Measured {
    /// Messages (or whatever the workload counts) per second.
    pub(crate) throughput: f64,
    /// How long one took, in milliseconds, until it was done for all.
    pub(crate) quantiles: Option<Quantiles>,
    /// Until it was acknowledged to its sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledged: Option<Quantiles>,
    /// Until it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received: Option<Quantiles>,
    /// The server's processor seconds for a thousand.
    pub(crate) cpu_per_1000: Option<f64>,
    /// The server's memory at the end.
    pub(crate) memory: Option<Memory>,
}

impl Measured {
    pub(crate) fn of(latencies: &Latencies, duration: Duration, cpu: Option<f64>, memory: Option<Memory>) -> Self {
        let count = latencies.both.len() as f64;
        Self {
            throughput: round(count / duration.as_secs_f64()),
            quantiles: Quantiles::of(&latencies.both),
            acknowledged: Quantiles::of(&latencies.acknowledged),
            received: Quantiles::of(&latencies.received),
            cpu_per_1000: cpu.filter(|_| count > 0.0).map(|cpu| round(cpu * 1000.0 / count)),
            memory,
        }
    }
}

/// The floors of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Floors {
    /// Each by its name, the one that counts last.
    #[serde(flatten)]
    pub(crate) by_name: Map<String, Value>,
    /// The measured server's figures, each as a ratio to the floor that counts.
    pub(crate) ratios: Ratios,
}

/// See [`Floors`]. Of throughput more is better, of the others less.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Ratios {
    pub(crate) throughput: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) cpu_per_1000: Option<f64>,
}

impl Ratios {
    pub(crate) fn of(measured: &Measured, floor: &Measured) -> Self {
        let ratio = |one: f64, other: f64| (other > 0.0).then(|| round(one / other));
        let quantile = |which: fn(&Quantiles) -> f64| {
            let (one, other) = (measured.quantiles.as_ref()?, floor.quantiles.as_ref()?);
            ratio(which(one), which(other))
        };
        Self {
            throughput: ratio(measured.throughput, floor.throughput),
            p50: quantile(|quantiles| quantiles.p50),
            p99: quantile(|quantiles| quantiles.p99),
            cpu_per_1000: measured.cpu_per_1000.zip(floor.cpu_per_1000).and_then(|(one, other)| ratio(one, other)),
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) workload: &'static str,
    /// What was asked for.
    pub(crate) settings: Map<String, Value>,
    /// What a throughput counts.
    pub(crate) unit: &'static str,
    #[serde(flatten)]
    pub(crate) measured: Measured,
    /// Further figures, by name; each name ends with its unit.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) figures: Map<String, Value>,
    /// The throughput as a ratio to the floor's of the same run.
    pub(crate) ratio_to_floor: Option<f64>,
    pub(crate) floor: Option<Floors>,
}

impl Report {
    pub(crate) fn new(workload: &'static str, unit: &'static str, measured: Measured) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut settings = Map::new();
        settings.insert("cores".into(), cores.into());
        settings.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        Self { workload, settings, unit, measured, figures: Map::new(), ratio_to_floor: None, floor: None }
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    pub(crate) fn figure(mut self, name: &str, value: f64) -> Self {
        self.figures.insert(name.into(), round(value).into());
        self
    }

    /// Adds the floors; the last one counts.
    pub(crate) fn floors(mut self, floors: &[(&str, Measured)]) -> Self {
        let Some((_, last)) = floors.last() else { return self };
        let ratios = Ratios::of(&self.measured, last);
        self.ratio_to_floor = ratios.throughput;
        let value = |one: &Measured| serde_json::to_value(one).unwrap_or_default();
        let by_name = floors.iter().map(|(name, one)| ((*name).to_owned(), value(one))).collect();
        self.floor = Some(Floors { by_name, ratios });
        self
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut rows =
            vec![["", "per second", "p50 ms", "p99 ms", "max ms", "CPU s/1,000", "memory"].map(str::to_owned)];
        rows.push(row("server", &self.measured));
        if let Some(floors) = &self.floor {
            for (name, floor) in &floors.by_name {
                rows.push(value_row(&format!("floor ({name})"), floor));
            }
            let Ratios { throughput, p50, p99, cpu_per_1000 } = &floors.ratios;
            let cell = |value: &Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.2}"));
            let cells = [throughput, p50, p99].map(cell);
            let [throughput, p50, p99] = cells;
            rows.push(["ratio to the floor".into(), throughput, p50, p99, "".into(), cell(cpu_per_1000), "".into()]);
        }
        let mut text = format!("{} ({})\n", self.workload, self.unit);
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
        let _ = writeln!(text, "  {}", settings.join(", "));
        if self.measured.throughput > 0.0 || self.measured.quantiles.is_some() {
            text += &aligned(&rows);
        }
        for (name, value) in &self.figures {
            let _ = writeln!(text, "  {:<44}{}", name.replace('_', " "), plain(value));
        }
        text
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), number_text),
        other => other.to_string(),
    }
}

/// A number as people write it.
pub(crate) fn number_text(number: f64) -> String {
    if number.fract() != 0.0 {
        return format!("{}", round(number));
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn row(name: &str, measured: &Measured) -> [String; 7] {
    value_row(name, &serde_json::to_value(measured).unwrap_or_default())
}

fn value_row(name: &str, value: &Value) -> [String; 7] {
    let cell = |path: &str| value.pointer(path).and_then(Value::as_f64).map_or_else(|| "–".into(), number_text);
    let memory = value.pointer("/memory/resident_kib").and_then(Value::as_f64);
    [
        name.to_owned(),
        cell("/throughput"),
        cell("/quantiles/p50"),
        cell("/quantiles/p99"),
        cell("/quantiles/max"),
        cell("/cpu_per_1000"),
        memory.map_or_else(|| "–".into(), |kib| format!("{:.1} MiB", kib / 1024.0)),
    ]
}

/// Columns, the first to the left, the others to the right.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("  {cell:<width$}", width = width(0)),
            _ => format!("  {cell:>width$}", width = width(column)),
        });
        let _ = writeln!(text, "{}", cells.collect::<String>().trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_find_what_they_rely_on() {
        let measured = Measured { throughput: 900.0, cpu_per_1000: Some(0.02), ..Measured::default() };
        let floor = Measured { throughput: 1000.0, cpu_per_1000: Some(0.01), ..Measured::default() };
        let bare = serde_json::to_value(Report::new("direct", "messages", measured.clone())).unwrap();
        for name in ["throughput", "quantiles", "cpu_per_1000", "ratio_to_floor"] {
            assert!(bare.get(name).is_some(), "{name}");
        }
        let report = Report::new("direct", "messages", measured).floors(&[("sqlite", floor)]);
        let value = serde_json::to_value(&report).unwrap();
        assert_eq!(value["ratio_to_floor"], 0.9);
        assert_eq!(value["floor"]["sqlite"]["throughput"], 1000.0);
        assert_eq!(value["floor"]["ratios"]["cpu_per_1000"], 2.0);
        assert!(report.table().contains("ratio to the floor"));
    }

    #[test]
    fn numbers_have_four_digits_and_thousands_are_apart() {
        assert_eq!([0.123456, 12345.6, 9.87654, 0.0].map(round), [0.1235, 12346.0, 9.877, 0.0]);
        assert_eq!([1234567.0, 12.5, 999.0, 1000.0].map(number_text), ["1,234,567", "12.5", "999", "1,000"]);
    }
}

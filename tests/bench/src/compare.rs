//! Two reports beside each other.

use crate::{
    failure::Failure,
    report::{aligned, number_text},
};
use anyhow::Result;
use serde_json::{Map, Value};
use std::{fs, path::Path};

/// Prints every figure that both have, and how many times the first the second is.
pub(crate) fn run(first: &Path, second: &Path, json: bool) -> Result<()> {
    let (a, b) = (read(first)?, read(second)?);
    let (one, other) = (a.get("workload"), b.get("workload"));
    if one != other {
        let name = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("nothing").to_owned();
        let message = format!("the first file measures {}, the second {}", name(one), name(other));
        return Err(Failure::user(message, "compare two runs of the same workload"));
    }
    let mut rows = Vec::new();
    figures("", &a, &b, &mut rows);
    let ratio = |a: f64, b: f64| (a != 0.0).then(|| b / a);
    if json {
        let row = |(name, a, b): (String, f64, f64)| {
            (name, serde_json::json!({"first": a, "second": b, "ratio": ratio(a, b)}))
        };
        println!("{}", Value::Object(rows.into_iter().map(row).collect::<Map<_, _>>()));
        return Ok(());
    }
    let mut table = vec![["", "first", "second", "second / first"].map(str::to_owned)];
    for (name, a, b) in rows {
        let ratio = ratio(a, b).map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}"));
        table.push([name, number_text(a), number_text(b), ratio]);
    }
    print!("{}", aligned(&table));
    for (name, value) in a.get("settings").and_then(Value::as_object).into_iter().flatten() {
        let second = b.get("settings").and_then(|settings| settings.get(name));
        if second != Some(value) {
            println!("  differs: {name} was {value}, then {}", second.unwrap_or(&Value::Null));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Value> {
    let next = "give two files that `waxwing-bench … --json` has written";
    let text = fs::read(path).map_err(|error| Failure::user(format!("{}: {error}", path.display()), next))?;
    let value: Option<Value> = serde_json::from_slice(&text).ok();
    let value = value.filter(|value| value.get("workload").is_some());
    value.ok_or_else(|| Failure::user(format!("{} is no report", path.display()), next))
}

/// All numbers that stand at the same place in both.
fn figures(place: &str, a: &Value, b: &Value, rows: &mut Vec<(String, f64, f64)>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a {
                if name != "settings"
                    && let Some(other) = b.get(name)
                {
                    let inner = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                    figures(&inner, value, other, rows);
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                figures(&format!("{place}[{index}]"), a, b, rows);
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            if let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) {
                rows.push((place.to_owned(), a, b));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_stands_in_both_is_compared() {
        let a = json!({"throughput": 10.0, "floor": null, "quantiles": {"p50": 1.0}, "settings": {"pairs": 1}});
        let b = json!({"throughput": 20.0, "floor": {"x": 1}, "quantiles": {"p50": 2.0}, "settings": {"pairs": 2}});
        let mut rows = Vec::new();
        figures("", &a, &b, &mut rows);
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(rows, [("quantiles.p50".to_owned(), 1.0, 2.0), ("throughput".to_owned(), 10.0, 20.0)]);
    }
}

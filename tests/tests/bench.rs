//! The load tool works: what scripts rely on is in its report, and two reports can be compared.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{path::Path, process::Command};
use waxwing_tests::{MariaDb, Nats, program};

fn bench(words: &[&str]) -> Result<Command> {
    let mut command = Command::new(program("waxwing-bench")?);
    command.args(words);
    Ok(command)
}

/// A short measurement, written to this file.
fn measure(file: &Path, chart: &Path) -> Result<Value> {
    let mut command = bench(&["direct", "--raw", "--pairs", "2", "--window", "8", "--seconds", "1", "--warm-up", "0"])?;
    let output = command.args(["--floor", "--json", "--chart"]).arg(chart).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(file, &output.stdout)?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_short_load_is_measured_beside_its_floor_and_compared() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, chart) = (folder.path().join("a.json"), folder.path().join("a.svg"));
    let report = measure(&file, &chart)?;
    let number = |path: &str| report.pointer(path).and_then(Value::as_f64).with_context(|| format!("{path}: {report}"));
    assert!(number("/throughput")? > 0.0 && number("/ratio_to_floor")? > 0.0);
    assert!(number("/quantiles/p50")? <= number("/quantiles/p99")?);
    assert!(number("/cpu_per_1000")? >= 0.0 && number("/memory/resident_kib")? > 0.0);
    assert!(number("/floor/sqlite/throughput")? > 0.0 && number("/floor/tls/throughput")? > 0.0);
    assert!(std::fs::read_to_string(chart)?.starts_with("<svg"));

    let compared = bench(&["compare"])?.arg(&file).arg(&file).arg("--json").output()?;
    ensure!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stderr));
    let compared: Value = serde_json::from_slice(&compared.stdout)?;
    assert_eq!(compared["throughput"]["ratio"], 1.0);
    Ok(())
}

#[test]
fn what_cannot_be_measured_says_why() -> Result<()> {
    let refused = bench(&["direct", "--raw", "--server-program", "/nowhere/waxwing-server"])?.output()?;
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr)?;
    assert!(text.contains("/nowhere/waxwing-server") && text.contains("Next:"), "{text}");
    let no_link = bench(&["direct", "--raw", "--server", "example.org", "--json"])?.output()?;
    assert_eq!(no_link.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&no_link.stderr)?;
    assert!(error["error"]["message"].as_str().is_some_and(|message| message.contains("--server")), "{error}");
    let no_report = bench(&["compare", "/dev/null", "/dev/null"])?.output()?;
    assert_eq!(no_report.status.code(), Some(1));
    Ok(())
}

#[test]
fn nodes_of_a_cluster_are_measured_with_their_database() -> Result<()> {
    let (database, nats) = (MariaDb::start()?, Nats::start()?);
    let words =
        ["cluster", "--nodes", "2", "--pairs", "2", "--window", "4", "--seconds", "1", "--warm-up", "0", "--json"];
    let mut command = bench(&words)?;
    let output = command.args(["--database", database.url(), "--nats", &nats.url()]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    for path in
        ["/throughput", "/figures/database_statements_per_message", "/figures/database_transactions_per_message"]
    {
        ensure!(report.pointer(path).and_then(Value::as_f64).is_some_and(|figure| figure > 0.0), "{path}: {report}");
    }
    let alone = bench(&["cluster"])?.output()?;
    ensure!(String::from_utf8(alone.stderr)?.contains("--database mysql://"), "it says what is missing");
    Ok(())
}

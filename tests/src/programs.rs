//! Where the programs under test are: freshly built, never what lay about.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The path of `waxwing`, `waxwing-server` or `waxwing-setup`.
///
/// # Errors
/// They do not build. `WAXWING_TEST_BINARIES` names a folder with programs that somebody has just built.
pub fn program(name: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("WAXWING_TEST_BINARIES") {
        return Ok(PathBuf::from(folder).join(name));
    }
    static BUILT: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    match BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))) {
        Ok(programs) => programs.get(name).cloned().with_context(|| format!("no program {name} was built")),
        Err(error) => bail!("{error}"),
    }
}

fn build() -> Result<BTreeMap<String, PathBuf>> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    build.args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics"]);
    let output = build.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cargo build")?;
    if !output.status.success() {
        bail!("the programs do not build");
    }
    let built = String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let path = message.get("executable")?.as_str()?;
            Some((message.get("target")?.get("name")?.as_str()?.to_owned(), PathBuf::from(path)))
        })
        .collect();
    Ok(built)
}

//! The architecture as a test: which crate may depend on which, and what the server must not be able to do.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// Each crate of ours, and which others of ours it may use.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("waxwing-crash", &[]),
    ("waxwing-protocol", &[]),
    ("waxwing-e2ee", &[]),
    ("waxwing-manual", &[]),
    ("waxwing-server", &["waxwing-crash", "waxwing-protocol", "waxwing-manual"]),
    ("waxwing-core", &["waxwing-crash", "waxwing-protocol", "waxwing-e2ee"]),
    ("waxwing-terminal", &["waxwing-core", "waxwing-manual"]),
    ("waxwing-setup", &["waxwing-server", "waxwing-core", "waxwing-terminal", "waxwing-manual"]),
    ("waxwing-tests", &["waxwing-protocol"]),
    ("waxwing-torture", &["waxwing-tests"]),
    ("waxwing-fuzz", &["waxwing-core", "waxwing-e2ee", "waxwing-protocol", "waxwing-server", "waxwing-terminal"]),
    ("waxwing-bench", &["waxwing-core", "waxwing-protocol", "waxwing-server", "waxwing-setup"]),
];

/// What must not be anywhere below a crate, directly or not.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    // What can encrypt or decrypt messages: the server only relays them.
    ("waxwing-server", &["waxwing-e2ee", "waxwing-core", "openmls", "openmls_traits", "hpke-rs"]),
    // No I/O, no SQL, no cryptography.
    ("waxwing-protocol", &["tokio", "rustls", "rusqlite", "sqlx", "rsa", "aes-gcm", "openmls"]),
    // No sockets and no async.
    ("waxwing-e2ee", &["tokio", "rustls", "sqlx"]),
    // Nothing is compressed before it is encrypted: the length would tell whether what others wrote stands beside a secret.
    ("waxwing-e2ee", COMPRESSORS),
    // The program for users has no server in it.
    ("waxwing-terminal", &["waxwing-server", "sqlx"]),
];

/// What a crate must not use itself, because the crate below it is there to hide it.
const HIDDEN: [(&str, &[&str]); 3] = [
    ("waxwing-terminal", &["openmls", "minicbor", "rusqlite", "rustls", "tokio-rustls"]),
    ("waxwing-core", &["openmls", "openmls_traits", "openmls_sqlite_storage", "rsa"]),
    // Pictures that others sent are decoded, which links some of them; messages and backups pass none.
    ("waxwing-core", COMPRESSORS),
];

/// Whatever compresses.
const COMPRESSORS: &[&str] =
    &["flate2", "miniz_oxide", "zstd", "brotli", "lz4_flex", "snap", "lzma-rs", "async-compression"];

struct Graph {
    /// Package names by package id.
    names: BTreeMap<String, String>,
    /// Ids that a package links into what users run: normal and build dependencies, no development ones.
    links: BTreeMap<String, BTreeSet<String>>,
    /// The ids of our own packages.
    ours: BTreeSet<String>,
}

impl Graph {
    fn read() -> Result<Self> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["metadata", "--format-version", "1", "--all-features"]);
        let output = command.output()?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let packages = list(&metadata["packages"]);
        let nodes = list(&metadata["resolve"]["nodes"]);
        let linked = |dependency: &Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
        Ok(Self {
            names: packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect(),
            links: nodes
                .iter()
                .map(|node| {
                    let linked = list(&node["deps"]).into_iter().filter(linked).map(|one| text(&one["pkg"]));
                    (text(&node["id"]), linked.collect())
                })
                .collect(),
            ours: list(&metadata["workspace_members"]).iter().map(text).collect(),
        })
    }

    fn id(&self, name: &str) -> Result<&String> {
        let mut ours = self.ours.iter().filter(|id| self.names.get(*id).is_some_and(|other| other == name));
        ours.next().with_context(|| format!("no crate {name} in the workspace"))
    }

    fn name(&self, id: &str) -> &str {
        self.names.get(id).map_or("", String::as_str)
    }

    fn direct(&self, name: &str) -> Result<BTreeSet<&str>> {
        Ok(self.links[self.id(name)?].iter().map(|id| self.name(id)).collect())
    }

    /// Everything below a crate.
    fn closure(&self, name: &str) -> Result<BTreeSet<&str>> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.id(name)?];
        while let Some(id) = open.pop() {
            for next in self.links.get(id).into_iter().flatten() {
                if found.insert(next) {
                    open.push(next);
                }
            }
        }
        Ok(found.into_iter().map(|id| self.name(id)).collect())
    }
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    let graph = Graph::read()?;
    let ours: BTreeSet<&str> = graph.ours.iter().map(|id| graph.name(id)).collect();
    assert_eq!(ours, ALLOWED.iter().map(|(name, _)| *name).collect(), "a crate of ours has no rule here");
    for (name, allowed) in ALLOWED {
        let used: BTreeSet<&str> = graph.direct(name)?.intersection(&ours).copied().collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(used.is_subset(&allowed), "{name} uses {used:?} and may use {allowed:?} only");
    }
    Ok(())
}

#[test]
fn the_server_cannot_decrypt_and_others_stay_what_they_are() -> Result<()> {
    let graph = Graph::read()?;
    for (name, forbidden) in FORBIDDEN {
        let closure = graph.closure(name)?;
        ensure!(!closure.is_empty(), "{name} would depend on nothing: the test reads the graph wrongly");
        for other in forbidden {
            assert!(!closure.contains(other), "{name} links {other}");
        }
    }
    // The same question has the other answer where it should: so it is asked rightly.
    assert!(graph.closure("waxwing-core")?.contains("openmls"));
    Ok(())
}

/// The points at which tests let programs die are for tests: what is built without asking for them has none.
#[test]
fn ordinary_programs_have_no_crash_points() -> Result<()> {
    let points = |bytes: &[u8]| bytes.windows(16).any(|window| window == b"WAXWING_CRASH_AT");
    ensure!(points(include_bytes!("../crash/src/lib.rs")), "the variable has another name");
    for program in ["waxwing", "waxwing-server"] {
        let path = waxwing_tests::program(program)?;
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        ensure!(bytes.windows(7).any(|window| window == b"WAXWING"), "{} is none of ours", path.display());
        ensure!(!points(&bytes), "{} was built with crash points", path.display());
    }
    Ok(())
}

#[test]
fn front_ends_see_no_foreign_types() -> Result<()> {
    let graph = Graph::read()?;
    for (name, hidden) in HIDDEN {
        let direct = graph.direct(name)?;
        for other in hidden {
            assert!(!direct.contains(other), "{name} uses {other} directly");
        }
    }
    Ok(())
}

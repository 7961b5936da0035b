//! The part of the configuration that is about several servers on one database: the section `cluster`.
//!
//! It is read and written like the rest, by [`super::Config`]. It must not know how nodes talk.

use std::path::{Path, PathBuf};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Where NATS is, several addresses of one NATS cluster; none: this server is alone on its database.
    pub nats: Vec<String>,
    /// A file with `USER:PASSWORD` or a token for NATS.
    pub credentials_file: Option<PathBuf>,
    /// The authority that signed NATS' certificate.
    pub ca_file: Option<PathBuf>,
    /// What this node is called; empty: by where it listens.
    pub name: String,
}

impl ClusterSettings {
    /// Sets one value; none if there is no such setting here.
    pub(super) fn set(&mut self, setting: &str, value: &str) -> Option<Result<(), String>> {
        Some(match setting {
            "cluster.nats" => parse_nats(value).map(|nats| self.nats = nats),
            "cluster.credentials_file" => file(value).map(|file| self.credentials_file = file),
            "cluster.ca_file" => file(value).map(|file| self.ca_file = file),
            "cluster.name" => parse_name(value).map(|name| self.name = name),
            _ => return None,
        })
    }

    /// Its section of the configuration file.
    pub(super) fn render(&self) -> String {
        let path =
            |path: &Option<PathBuf>| super::toml_text(&path.as_deref().map(Path::to_string_lossy).unwrap_or_default());
        let nats: Vec<String> = self.nats.iter().map(|url| super::toml_text(url)).collect();
        format!(
            include_str!("cluster.toml.in"),
            nats = nats.join(", "),
            credentials_file = path(&self.credentials_file),
            ca_file = path(&self.ca_file),
            name = super::toml_text(&self.name),
        )
    }
}

/// `nats://HOST[:PORT]` or `tls://HOST[:PORT]`, several separated by commas; `off` or nothing for none.
pub fn parse_nats(text: &str) -> Result<Vec<String>, String> {
    let parse = |url: &str| {
        let rest = url.strip_prefix("nats://").or_else(|| url.strip_prefix("tls://"));
        let wrong = || format!("{url:?} is not an address of NATS, such as nats://10.0.0.5:4222");
        let rest = rest.ok_or_else(wrong)?;
        if rest.contains('@') {
            // Not quoted: it holds a secret.
            return Err("the address of NATS holds a password or token: put that into cluster.credentials_file".into());
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        match !rest.is_empty() && rest.chars().all(fits) {
            true => Ok(url.to_owned()),
            false => Err(wrong()),
        }
    };
    let all = text.split(',').map(str::trim).filter(|url| !matches!(*url, "" | "off"));
    all.map(parse).collect()
}

fn parse_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    match name.len() <= 64 && !name.chars().any(char::is_control) {
        true => Ok(name.to_owned()),
        false => Err("a node's name has at most 64 bytes, in one line".into()),
    }
}

fn file(text: &str) -> Result<Option<PathBuf>, String> {
    match text.trim() {
        "" | "off" => Ok(None),
        path if Path::new(path).is_absolute() => Ok(Some(path.into())),
        path => Err(format!("{path:?} is not an absolute path")),
    }
}

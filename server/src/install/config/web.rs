//! The part of the configuration that is about HTTP on the server's port: the section `http`.
//!
//! It is read and written like the rest, by [`super::Config`]. It must not know who serves it.

use super::{Tickets, parse_listen};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// This machine.
const LOOPBACK: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
];

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// The certificate (PEM, with its chain) that is shown to whoever speaks HTTP; none: the server's own.
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
    /// Where proxies that end TLS hand on plain HTTP.
    pub listen: Option<SocketAddr>,
    /// Where those proxies are: nobody else may use that door, and they say where a request came from.
    pub trusted_proxies: Vec<IpNet>,
    /// Whom the WebSocket is opened for.
    pub tickets: Tickets,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            listen: None,
            trusted_proxies: Vec::from(LOOPBACK),
            tickets: Tickets::Optional,
        }
    }
}

impl Web {
    /// Sets one value; none if there is no such setting here.
    pub(super) fn set(&mut self, setting: &str, value: &str) -> Option<Result<(), String>> {
        Some(match setting {
            "http.certificate" => optional(value, path).map(|file| self.certificate = file),
            "http.key" => optional(value, path).map(|file| self.key = file),
            "http.listen" => optional(value, parse_listen).map(|address| self.listen = address),
            "http.trusted_proxies" => parse_networks(value).map(|networks| self.trusted_proxies = networks),
            "http.tickets" => value.parse().map(|tickets| self.tickets = tickets),
            _ => return None,
        })
    }

    /// Checks what concerns several values.
    pub(super) fn validate(&self) -> Result<(), String> {
        match self.certificate.is_some() == self.key.is_some() {
            true => Ok(()),
            false => Err("http.certificate and http.key belong together: name both or neither".into()),
        }
    }

    /// Its section of the configuration file.
    pub(super) fn render(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let path = |path: &Option<PathBuf>| quoted(&path.as_deref().map(Path::to_string_lossy).unwrap_or_default());
        let proxies: Vec<String> = self.trusted_proxies.iter().map(|network| quoted(&network.to_string())).collect();
        format!(
            include_str!("web.toml.in"),
            certificate = path(&self.certificate),
            key = path(&self.key),
            listen = quoted(&self.listen.map_or_else(|| "off".to_owned(), |listen| listen.to_string())),
            trusted_proxies = proxies.join(", "),
            tickets = self.tickets,
        )
    }
}

/// Networks or single addresses, several separated by commas.
fn parse_networks(text: &str) -> Result<Vec<IpNet>, String> {
    let parse = |text: &str| {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.ok_or_else(|| format!("{text:?} is not an IP address or a network such as 10.0.0.0/8"))
    };
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(parse).collect()
}

/// Nothing for an empty value, or `off`.
pub(super) fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if matches!(text.trim(), "" | "off") { Ok(None) } else { parse(text).map(Some) }
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    match Path::new(text).is_absolute() {
        true => Ok(text.into()),
        false => Err(format!("{text:?} is not an absolute path")),
    }
}

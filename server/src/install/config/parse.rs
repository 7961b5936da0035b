//! Values as they are written in settings, whatever the source. An error is one line, for users.

use super::YesNo;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};
use toml::de::DeValue;
use waxwing_protocol::{Address, DEFAULT_PORT, RoomName, RoomNameError};

pub(super) fn parse_room(text: &str) -> Result<Option<RoomName>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: RoomNameError| format!("{text:?} is not a room: {error}"))
}

/// A text as TOML has it.
pub(super) fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A TOML value as the text that [`Config::set`] takes; lists are joined by commas.
pub(super) fn plain(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(integer) if integer.radix() == 10 => Ok(integer.as_str().to_owned()),
        DeValue::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| plain(item.get_ref())).collect();
            Ok(items?.join(","))
        }
        DeValue::Table(_) => Err("there are no sections in sections".into()),
        _ => Err("the value must be a text in quotes or a number".into()),
    }
}

/// An address to listen on: `IP:PORT`, `localhost:PORT`, or one of them without a port for the usual one.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let numeric = match text.strip_prefix("localhost") {
        Some(rest) => format!("127.0.0.1{rest}"),
        None => text.to_owned(),
    };
    let without_port = || numeric.parse().map(|ip| SocketAddr::new(ip, DEFAULT_PORT));
    numeric.parse().or_else(|_| without_port()).map_err(|_| {
        format!("{text:?} is not an IP address with a port, such as 127.0.0.1:{DEFAULT_PORT}, 0.0.0.0:{DEFAULT_PORT} or [::]:{DEFAULT_PORT}")
    })
}

/// Whether an address is neither this machine's nor a private network's. "Every address" counts as public.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_private() || v4.is_link_local()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

/// Yes or no, also as scripts say it in variables.
pub(super) fn parse_yes(text: &str) -> Result<YesNo, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" => Ok(YesNo::Yes),
        "false" | "0" | "off" => Ok(YesNo::No),
        word => word.parse(),
    }
}

/// Where health is told: `off`, or an address with a port.
pub(super) fn parse_health(text: &str) -> Result<Option<SocketAddr>, String> {
    match text.trim() {
        "" | "off" => Ok(None),
        address => {
            let numeric = address.strip_prefix("localhost").map(|rest| format!("127.0.0.1{rest}"));
            let parsed = numeric.as_deref().unwrap_or(address).parse();
            let reason = |_| format!("{text:?} is neither \"off\" nor an address with a port, such as 127.0.0.1:7480");
            parsed.map(Some).map_err(reason)
        }
    }
}

/// Where people reach the server: `HOST[:PORT]`, several separated by commas.
pub fn parse_public(text: &str) -> Result<Vec<Address>, String> {
    let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
    let parse = |address: &str| {
        let reason =
            |_| format!("{address:?} is not a host name or address with an optional port, such as chat.example.org");
        address.parse::<Address>().map_err(reason)
    };
    addresses.map(parse).collect()
}

/// A schema's name (it stands in SQL text, where nothing can be bound).
pub fn parse_schema(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte);
    match (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not a schema name of 1 to 64 letters, digits, _, - and $")),
    }
}

pub(super) fn word(text: &str) -> Result<String, String> {
    match !text.trim().is_empty() && text.len() <= 255 && !text.chars().any(char::is_control) {
        true => Ok(text.trim().to_owned()),
        false => Err("the value must not be empty".into()),
    }
}

/// So many MiB, in bytes.
pub(super) fn mebibytes(text: &str, most: u64) -> Result<u64, String> {
    number(text, 0, most).map(|mib| mib << 20)
}

pub(super) fn number<N: FromStr + PartialOrd + fmt::Display>(text: &str, least: N, most: N) -> Result<N, String> {
    let parsed = text.trim().replace('_', "").parse().ok().filter(|number| *number >= least && *number <= most);
    parsed.ok_or_else(|| format!("{text:?} is not a number from {least} to {most}"))
}

//! What is known of an account, made readable: what the data key seals is opened, what it cannot open is called what it is.
//!
//! Invariant: no hash, key wrap or ciphertext leaves, only their size and meaning. It must not know tables or SQL.

use super::{DisclosedTable, Problem};
use crate::{
    sealing::{DataKey, Purpose},
    store::{
        Disclosed, Value,
        columns::{Column, Protection},
    },
};
use serde_json::{Map, Value as Json};
use waxwing_protocol::Username;

/// Longer bytes are told by their length.
const SHORT: usize = 32;

pub(super) fn readable(key: &DataKey, username: &Username, disclosed: Disclosed) -> Result<DisclosedTable, Problem> {
    let Disclosed { table, rows } = disclosed;
    let mut columns = Map::new();
    for (name, _) in rows.iter().flatten() {
        let meaning = match (Column::find(table, name), name.as_str()) {
            (Some(Column { protection: Protection::Clear | Protection::Public, meaning, .. }), _) => {
                (*meaning).to_owned()
            }
            (Some(Column { protection, meaning, .. }), _) => format!("{meaning} ({protection})"),
            (None, "number") => "how many".to_owned(),
            (None, "bytes") => "their length together".to_owned(),
            (None, "day") => "on which day, counted from 1970".to_owned(),
            (None, _) => continue,
        };
        columns.entry(name.clone()).or_insert(Json::String(meaning));
    }
    let row = |row: Vec<(String, Value)>| {
        let cells = row.into_iter();
        cells.map(|(name, value)| Ok((name.clone(), cell(key, username, table, &name, value)?))).collect()
    };
    let rows = rows.into_iter().map(row).collect::<Result<_, Problem>>()?;
    Ok(DisclosedTable { table: table.to_owned(), columns, rows })
}

fn cell(key: &DataKey, username: &Username, table: &str, name: &str, value: Value) -> Result<Json, Problem> {
    let protection = Column::find(table, name).map_or(Protection::Clear, |column| column.protection);
    Ok(match (value, protection) {
        (Value::Null, _) => Json::Null,
        (Value::Integer(number), _) => number.into(),
        (Value::Text(text), _) => text.into(),
        (Value::Bytes(bytes), Protection::Sealed) => {
            let purpose = if name == "full_name" { Purpose::FullName } else { Purpose::Email };
            let opened = key.open(purpose, username, &bytes).map_err(Problem::unexpected)?;
            String::from_utf8_lossy(&opened).into()
        }
        (Value::Bytes(bytes), Protection::Clear | Protection::Public) if bytes.len() <= SHORT => hex(&bytes).into(),
        (Value::Bytes(bytes), _) => format!("{} bytes", bytes.len()).into(),
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Between columns and the protocol's types: ids are BINARY(16), every number a signed BIGINT. A value that the server
//! never writes is reported as damage. It must not know any table.

use crate::store::StoreError;
use sqlx::{MySql, QueryBuilder, mysql::MySqlArguments, query::Query};
use waxwing_protocol::limits;

/// A number for a column; beyond its range it is as good as infinite.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A length for a column.
pub(super) fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// A number from a column of `table`.
pub(super) fn unsigned(value: i64, table: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Inconsistent(table))
}

/// A fixed number of bytes (an id, a key) from a column of `table`.
pub(super) fn bytes<const N: usize>(value: &[u8], table: &'static str) -> Result<[u8; N], StoreError> {
    value.try_into().map_err(|_| StoreError::Inconsistent(table))
}

/// Appends `(?, ?, …)` with one binary value each. An empty list matches nothing.
pub(super) fn push_list<'v>(query: &mut QueryBuilder<MySql>, values: impl IntoIterator<Item = &'v [u8]>) {
    query.push("(");
    let mut list = query.separated(", ");
    let mut empty = true;
    for value in values {
        list.push_bind(value);
        empty = false;
    }
    query.push(if empty { "NULL)" } else { ")" });
}

/// The statement of a builder with `rows` variable parts. Only small ones are worth a place in the cache of prepared
/// statements: large ones rarely come again in the same size.
pub(super) fn built(query: &mut QueryBuilder<MySql>, rows: usize) -> Query<'_, MySql, MySqlArguments> {
    query.build().persistent(rows <= 4)
}

/// Splits rows so that each part's payloads stay below `limit` bytes (a single larger row is a part of its own) and
/// its placeholders below the protocol's 65,535.
pub(super) fn parts<'r, T>(
    mut rows: &'r [T],
    limit: usize,
    payload: impl Fn(&T) -> usize,
) -> impl Iterator<Item = &'r [T]> {
    std::iter::from_fn(move || {
        let mut size = 0_usize;
        let fitting = rows.iter().take(1000).take_while(|row| {
            let before = size;
            size = size.saturating_add(payload(row)).saturating_add(128);
            before == 0 || size <= limit
        });
        let (part, rest) = rows.split_at(fitting.count());
        rows = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// Where a page of (seq, payload size) rows ends: before it exceeds `PAGE_BYTES`, but never before its first row.
pub(super) fn page_end(rows: &[(i64, i64)]) -> Option<i64> {
    let limit = i64::try_from(limits::PAGE_BYTES).unwrap_or(i64::MAX);
    let mut sum = 0_i64;
    let fitting = rows.iter().enumerate().take_while(|(place, (_, size))| {
        sum = sum.saturating_add(*size);
        *place == 0 || sum <= limit
    });
    fitting.last().map(|(_, (seq, _))| *seq)
}

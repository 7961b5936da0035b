//! Between columns and the protocol's types: ids are BINARY(16), every number a signed BIGINT. A value that the server
//! never writes is reported as damage. It must not know any table.

use crate::store::StoreError;
use sqlx::{MySql, QueryBuilder};
use waxwing_protocol::limits;

/// The most rows of one statement: well below the protocol's 65,535 placeholders.
pub(super) const ROWS: usize = 512;

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

/// Appends `(?, ?, …)` with one binary value each, padded. An empty list matches nothing.
pub(super) fn push_list<'v>(query: &mut QueryBuilder<MySql>, values: impl IntoIterator<Item = &'v [u8]>) {
    let values: Vec<&[u8]> = values.into_iter().collect();
    query.push("(");
    let mut list = query.separated(", ");
    for value in padded(&values) {
        list.push_bind(*value);
    }
    query.push(if values.is_empty() { "NULL)" } else { ")" });
}

/// The items, the last one repeated until they are a power of two: where a repetition changes nothing, statements of any
/// size then come from a small set. They must be few enough to stay prepared, since the driver closes those that do not
/// with a packet that has no answer, and (without TCP_NODELAY) its next one waits some 40 ms for that to be acknowledged.
pub(super) fn padded<T>(items: &[T]) -> impl Iterator<Item = &T> {
    let missing = items.len().next_power_of_two() - items.len();
    items.iter().chain(items.last().into_iter().cycle().take(if items.is_empty() { 0 } else { missing }))
}

/// Splits rows so that each part's payloads stay below `limit` bytes (a single larger row is a part of its own) and its
/// size is a power of two, for the same reason as with [`padded`].
pub(super) fn parts<T>(mut rows: &[T], limit: usize, payload: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let mut size = 0_usize;
        let fitting = rows.iter().take(ROWS).take_while(|row| {
            let before = size;
            size = size.saturating_add(payload(row)).saturating_add(128);
            before == 0 || size <= limit
        });
        let count = fitting.count().checked_ilog2().map_or(0, |power| 1 << power);
        let (part, rest) = rows.split_at(count);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_powers_of_two_within_the_limit_and_lose_nothing() {
        let rows: Vec<usize> = (0..77).map(|row| row * 100).chain([1_000_000, 5]).collect();
        let parts: Vec<&[usize]> = parts(&rows, 20_000, |row| *row).collect();
        assert_eq!(parts.concat(), rows);
        assert!(parts.iter().all(|part| part.len().is_power_of_two()));
        assert!(parts.iter().all(|part| part.len() == 1 || part.iter().sum::<usize>() <= 20_000));
    }

    #[test]
    fn padding_repeats_the_last() {
        assert_eq!(padded(&[1, 2, 3, 4, 5]).copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 5, 5, 5]);
        assert_eq!(padded(&[1]).count(), 1);
        assert_eq!(padded::<u8>(&[]).count(), 0);
    }

    #[test]
    fn a_page_has_at_least_one_row() {
        assert_eq!(page_end(&[]), None);
        assert_eq!(page_end(&[(7, 1 << 40), (8, 1)]), Some(7));
        assert_eq!(page_end(&[(7, 1), (8, 1 << 19), (9, 1)]), Some(7));
    }
}

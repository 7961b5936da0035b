//! The key packages by which others add this device to their chats: making them, and keeping the server in stock.

use crate::{
    Error,
    account::bytes,
    own_device,
    store::own::Own,
    transport::{CallError, Connection, unexpected},
};
use rusqlite::Connection as Database;
use waxwing_e2ee::mls::{self, Mls};
use waxwing_protocol::{KeyPackageStock, Request, Response, limits};

/// How many a new device starts with.
pub(crate) const FIRST: usize = limits::KEY_PACKAGES_PER_REQUEST;
/// Below this, more are made.
const LOW: u32 = 20;

/// Key packages whose private halves are in the database, ready to be published.
pub(crate) struct Batch {
    one_time: Vec<Vec<u8>>,
    last_resort: Option<Vec<u8>>,
}

/// Makes key packages in the caller's transaction.
pub(crate) fn make(tx: &Database, own: &Own, count: usize, last_resort: bool) -> Result<Batch, Error> {
    let mls = Mls::new(tx);
    let device = own_device(&mls, own)?;
    let make = |last_resort| mls::key_package(&mls, &device, last_resort).map_err(|error| crate::mls_error(&error));
    Ok(Batch {
        one_time: (0..count).map(|_| make(false)).collect::<Result<_, _>>()?,
        last_resort: last_resort.then(|| make(true)).transpose()?,
    })
}

/// Gives them to the server.
pub(crate) async fn publish(connection: &Connection, batch: Batch) -> Result<KeyPackageStock, Error> {
    let request =
        Request::PublishKeyPackages { one_time: bytes(batch.one_time), last_resort: batch.last_resort.map(Into::into) };
    stock(connection.call(request).await)
}

/// How many to make, and whether a last-resort one is missing; none if the server has enough.
pub(crate) async fn missing(connection: &Connection) -> Result<Option<(usize, bool)>, Error> {
    let stock = stock(connection.call(Request::KeyPackageStock).await)?;
    let few = stock.one_time < LOW;
    let count = if few { FIRST.saturating_sub(stock.one_time as usize) } else { 0 };
    Ok((few || !stock.last_resort).then_some((count, !stock.last_resort)))
}

fn stock(answer: Result<Response, CallError>) -> Result<KeyPackageStock, Error> {
    match answer.map_err(CallError::into_error)? {
        Response::KeyPackageStock(stock) => Ok(stock),
        _ => Err(unexpected()),
    }
}

//! The relay as its peers meet it: real sockets, real TLS, embedded storage.

mod accounts;
mod delivery;
mod peer;
mod transport;

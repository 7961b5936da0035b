//! The relay as its peers meet it: real sockets, real TLS, embedded storage.

mod accounts;
mod attachments;
mod backups;
mod delivery;
mod joining;
mod limits;
mod peer;
mod revisions;
mod transport;

//! Groups: MLS (RFC 9420, by openmls) inside the caller's database transaction, and the rules of who may be in one.
//!
//! The invariants: no leaf enters a group, and none leaves it, that the gate ([`Refused`]) has not judged, by what all
//! members share and nothing else; every call is one step, which happens whole or leaves database and group as they
//! were. This module must not know the server, who is pinned, or what the messages say; no openmls type leaves it.
//!
//! A [`Group`] borrows the transaction, so that it cannot outlive a rollback that it does not know of. Keep one for as
//! many messages as a transaction has; loading it costs more than decrypting a message. Each of its calls is wrapped in
//! a SAVEPOINT: after an error the group is as before the call and can be used further, without anything to reload:
//!
//! ```
//! # use waxwing_e2ee::mls::{Group, Identities, Mls, MlsError, Received};
//! # fn store(_: &rusqlite::Transaction, _: Received) -> Result<(), MlsError> { Ok(()) }
//! # fn placeholder(_: &rusqlite::Transaction, _: MlsError) -> Result<(), MlsError> { Ok(()) }
//! fn page(db: &mut rusqlite::Connection, known: &dyn Identities, id: &[u8; 16], page: &[Vec<u8>]) -> Result<(), MlsError> {
//!     let tx = db.transaction()?;
//!     let mls = Mls::new(&tx);
//!     let Some(mut group) = Group::load(&mls, id)? else { return Ok(()) };
//!     for entry in page {
//!         match group.receive(known, entry) {
//!             Ok(received) => store(&tx, received)?,
//!             Err(error) if error.is_fault_of_entry() => placeholder(&tx, error)?,
//!             // An unknown identity: fetch it and take the page again. The database: stop.
//!             Err(error) => return Err(error), // and `tx` rolls back
//!         }
//!     }
//!     drop(group); // it borrows the transaction, and undoes it if a batch was not ended
//!     Ok(tx.commit()?)
//! }
//! ```
//!
//! Bytes that a call returns may leave the machine after the commit only: after a rollback the next message reuses the
//! same key.

mod device;
mod error;
mod group;
mod join_key;
mod key_package;
mod leave;
mod policy;
mod provider;
mod refused;
mod rules;
mod signed_list;
mod storage;

pub use device::{Device, SignatureKey};
pub use error::MlsError;
pub use group::{Amendment, Change, Group, KeptGroup, Newcomer, Outdated, Prepared, Received, Roll, Signal, Signals};
pub use join_key::JoinKey;
pub use key_package::key_package;
pub use leave::Leave;
pub use policy::{Identities, Member};
pub use provider::{Mls, forget, migrate, savepoint};
pub use refused::Refused;
pub use rules::{About, GroupRules, InvalidRules, Kind, NAME, PARTICIPANTS, Participant, Role, TOPIC};
pub use signed_list::SignedList;

use openmls::prelude::Ciphersuite;

/// Hybrid post-quantum key exchange (ML-KEM-768 with X25519), AES-256-GCM, Ed25519 signatures: 0x004E, the only suite.
const SUITE: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519;

/// The number of the cipher suite in the IANA registry; to be kept with stored groups, since the code point is provisional.
pub const SUITE_ID: u16 = 0x004E;

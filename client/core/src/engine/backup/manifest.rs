//! The newest manifest: asking for it, and going on with what it is asked for.
//!
//! The invariant: nothing of it is taken over before it holds against all that this device has seen.

use super::{Engine, State, Then, Work};
use crate::{
    Error,
    backup::{self, Shown},
    store::{self, backup::Restored},
    transport::{Answer, CallError, unexpected},
};
use waxwing_protocol::{Manifest, Request, Response};

impl Engine {
    pub(super) async fn ask_for_manifest(&mut self, then: Then) -> Result<(), Error> {
        self.backup.work = Work::Manifest(then);
        self.backup.run += 1;
        self.post_backup(Request::FetchManifest, 0).await;
        Ok(())
    }

    pub(super) async fn manifest_answered(&mut self, then: Then, answer: Answer) -> Result<(), Error> {
        let shown = match answer.map_err(CallError::into_error)? {
            Response::Manifest(shown) => shown,
            _ => return Err(unexpected()),
        };
        if then == Then::Off {
            return self.manifest_for_off(&shown).await;
        }
        let State::Online(online) = &self.reach else { return Ok(()) };
        let incarnation = online.connection.greeting.incarnation;
        let checked = match backup::check(&self.db, &self.own, &shown, &incarnation) {
            // Perhaps a device signed it that this one has not heard of yet.
            Err(Error::BackupRefused(_)) => {
                let own = self.own.username.clone();
                self.meet(&own).await?;
                backup::check(&self.db, &self.own, &shown, &incarnation)
            }
            checked => checked,
        };
        let checked = checked?;
        if then == Then::Drill {
            return self.begin_drill(checked).await;
        }
        self.take_over(&shown, &checked, &incarnation)?;
        match then {
            Then::Restore => Ok(()),
            _ => self.begin_upload().await,
        }
    }

    /// Takes over what the server shows, once it holds.
    fn take_over(&mut self, shown: &Manifest, checked: &Shown, incarnation: &[u8; 16]) -> Result<(), Error> {
        let (own, beginning) = (&self.own, self.backup.beginning);
        store::in_transaction(&mut self.db, |tx| {
            let off = match checked {
                Shown::Some(manifest, body) => {
                    backup::adopt(tx, own, manifest, body, incarnation)?;
                    backup::is_off(body)
                }
                Shown::None => {
                    // Deleted, or never made: everything has to go there (again).
                    store::backup::replace(tx, &[], &[], |_| Ok(Restored::Yes), Restored::Yes)?;
                    store::backup::clear_uploads(tx)?;
                    false
                }
            };
            store::backup::update(tx, |standing| {
                if matches!(checked, Shown::None) {
                    standing.version = shown.version;
                    standing.state_digest = None;
                }
                // Another device of the account has switched it off.
                standing.enabled = !off || beginning;
                (standing.used, standing.quota) = (shown.used, shown.quota);
            })
        })?;
        self.backup.restoring |= store::backup::count(&self.db, Some(Restored::Not))?.0 > 0;
        Ok(())
    }
}

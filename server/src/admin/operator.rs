//! What the operator's commands do, beside a running server or instead of it.
//!
//! Invariant: whoever is locked out, signed out or deleted is so in the database first, and then their connections end. It
//! must not know where a request came from.

use super::{
    Answer, Device, Disclosure, Hidden, Problem, Request, Room, Session, User, UserDetails,
    disclosure::{hex, readable},
};
use crate::{
    cluster::Cluster,
    connection::outbox::End,
    hub::Hub,
    install::{Config, Folder},
    relay::now_ms,
    sealing::{DataKey, Purpose},
    store::{AccountSummary, DeviceSummary, SharedOperatorStore, StoreError},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp, civil::Date};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};
use waxwing_protocol::{DeviceId, Link, Pin, RoomInfo, RoomName, Username, limits};
use zeroize::Zeroizing;

/// What only a running server has.
#[derive(Clone)]
pub struct Live {
    /// Who is connected.
    pub hub: Arc<Hub>,
    /// Since when it runs.
    pub started: Instant,
    /// Takes what was changed.
    pub reload: Arc<dyn Reload>,
    /// This node among others, if there may be others.
    pub cluster: Option<Arc<Cluster>>,
}

/// A running server that can be changed.
#[async_trait::async_trait]
pub trait Reload: Send + Sync {
    /// Reads configuration and certificate anew; gives the configuration that counts now, too.
    async fn reload(&self) -> Result<(Config, Answer), Problem>;
    /// Takes another secret for sign-ups.
    fn sign_up_secret(&self, secret: Hidden) -> Result<(), Problem>;
    /// Shows another certificate from now on, with its key; whoever is connected connects anew.
    fn identity(&self, certificate_der: Vec<u8>, private_key_der: Zeroizing<Vec<u8>>) -> Result<(), Problem>;
    /// The pin of the certificate that is shown now.
    fn pin(&self) -> Pin;
}

/// Whoever does what the operator asks.
pub struct Operator {
    /// The database.
    pub store: SharedOperatorStore,
    /// Opens what is sealed there.
    pub data_key: DataKey,
    /// The configuration.
    pub config: RwLock<Config>,
    /// The server's link when it was started.
    pub link: Link,
    /// The server's folder.
    pub folder: Folder,
    /// If the server runs.
    pub live: Option<Live>,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::unexpected(error)
    }
}

impl Operator {
    /// Does it.
    pub async fn handle(&self, request: Request) -> Result<Answer, Problem> {
        match request {
            Request::ListUsers => self.users().await,
            Request::ShowUser { username } | Request::Sessions { username } => self.user(&username).await,
            Request::DisableUser { username } => self.disable(&username).await,
            Request::EnableUser { username } => self.enable(&username).await,
            Request::DeleteUser { username } => self.delete(&username).await,
            Request::Logout { username, device } => self.logout(&username, device.as_deref()).await,
            Request::Stats => self.stats().await,
            Request::Announce { text } => self.announce(&text),
            Request::Disclose { username } => self.disclose(&username).await,
            Request::CollectGarbage { dry_run } => self.collect_garbage(dry_run).await,
            Request::ListRooms => self.rooms().await,
            Request::DeleteRoom { room } => self.delete_room(&room).await,
            Request::Invite { uses, days, note } => self.invite(uses, days, &note).await,
            Request::ListInvites => self.invites().await,
            Request::RevokeInvite { invite } => self.revoke_invite(&invite).await,
            Request::Attachments => self.files().await,
            Request::Identity { certificate, key } => {
                let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(Problem::unexpected);
                let (certificate, key) = (decode(&certificate)?, Zeroizing::new(decode(&key.0)?));
                self.live()?.reload.identity(certificate, key)?;
                Ok(Answer::Done { devices: 0, connections: self.live()?.hub.count() })
            }
            Request::Reload => self.reload().await,
            Request::SignUpSecret { secret } => {
                self.live()?.reload.sign_up_secret(secret)?;
                Ok(Answer::Done { devices: 0, connections: 0 })
            }
            Request::ClusterStatus => self.cluster().await,
            // The socket's part: it is no single answer.
            Request::Backup => Ok(Answer::Backup),
        }
    }

    /// The configuration that counts now.
    pub fn config(&self) -> Config {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server's link now.
    pub fn link(&self) -> Link {
        let pin = self.live.as_ref().map_or(self.link.pin, |live| live.reload.pin());
        Link { pin, ..self.link.clone() }
    }

    pub(super) fn live(&self) -> Result<&Live, Problem> {
        self.live.as_ref().ok_or_else(|| Problem::unexpected("the server does not run"))
    }

    /// Reads configuration and certificate anew.
    ///
    /// # Errors
    /// They do not serve; then all stays as it is.
    pub async fn reload(&self) -> Result<Answer, Problem> {
        let (config, answer) = self.live()?.reload.reload().await?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(answer)
    }

    async fn find(&self, username: &str) -> Result<AccountSummary, Problem> {
        let unknown = || {
            let message = format!("there is no user {username:?}");
            Problem::user("unknown-user", message, "see: waxwing-server user list")
        };
        let name: Username = username.parse().map_err(|_| unknown())?;
        self.store.account_summary(&name).await?.ok_or_else(unknown)
    }

    async fn rooms(&self) -> Result<Answer, Problem> {
        let mut all: Vec<RoomInfo> = Vec::new();
        loop {
            let page = self.store.rooms(all.last().map(|room| &room.name)).await?;
            if page.is_empty() {
                let room = |info: RoomInfo| Room { room: info.name.to_string(), members: info.members };
                return Ok(Answer::Rooms(all.into_iter().map(room).collect()));
            }
            all.extend(page);
        }
    }

    async fn delete_room(&self, room: &str) -> Result<Answer, Problem> {
        let unknown = || {
            let message = format!("there is no room {room:?}");
            Problem::user("unknown-room", message, "see: waxwing-server room list")
        };
        let name: RoomName = room.parse().map_err(|_| unknown())?;
        match self.store.delete_room(&name).await? {
            true => Ok(Answer::Done { devices: 0, connections: 0 }),
            false => Err(unknown()),
        }
    }

    async fn users(&self) -> Result<Answer, Problem> {
        let mut users = Vec::new();
        for account in self.store.accounts().await? {
            let connections = match &self.live {
                Some(live) if live.hub.count() > 0 => self.connections(&account).await?,
                _ => 0,
            };
            users.push(self.summary(&account, connections)?);
        }
        Ok(Answer::Users(users))
    }

    fn summary(&self, account: &AccountSummary, connections: usize) -> Result<User, Problem> {
        Ok(User {
            username: account.username.to_string(),
            full_name: self.open(account, Purpose::FullName, account.full_name.as_ref())?,
            created_at: time(account.created_ms),
            disabled_at: account.disabled_ms.map(time),
            seen_on: account.seen_day.map(day),
            devices: account.devices,
            connections,
        })
    }

    /// How many connections the account's devices have now.
    async fn connections(&self, account: &AccountSummary) -> Result<usize, Problem> {
        let Some(live) = &self.live else { return Ok(0) };
        let devices = self.store.devices(account.account).await?;
        Ok(devices.iter().map(|one| live.hub.sessions(one.device).len()).sum())
    }

    /// A sealed column, opened.
    fn open(
        &self,
        account: &AccountSummary,
        purpose: Purpose,
        sealed: Option<&Vec<u8>>,
    ) -> Result<Option<String>, Problem> {
        let opened = sealed.map(|sealed| self.data_key.open(purpose, &account.username, sealed)).transpose();
        Ok(opened.map_err(Problem::unexpected)?.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    async fn user(&self, username: &str) -> Result<Answer, Problem> {
        let account = self.find(username).await?;
        let email = self.open(&account, Purpose::Email, account.email.as_ref())?;
        let connected = |device| self.live.as_ref().map(|live| live.hub.sessions(device)).unwrap_or_default();
        let device = |one: DeviceSummary| Device {
            device: hex(&one.device.0),
            created_at: time(one.created_ms),
            seen_on: one.seen_day.map(day),
            connections: connected(one.device).into_iter().map(|since| Session { since: time(since) }).collect(),
        };
        let sessions: Vec<Device> = self.store.devices(account.account).await?.into_iter().map(device).collect();
        let connections = sessions.iter().map(|one| one.connections.len()).sum();
        let (user, usage) = (self.summary(&account, connections)?, self.usage(&account).await?);
        Ok(Answer::User(Box::new(UserDetails { user, email, usage, sessions })))
    }

    /// Ends connections of a running server.
    fn cut(&self, devices: &[DeviceId], reason: End) -> usize {
        self.live.as_ref().map_or(0, |live| live.hub.cut(devices, reason))
    }

    async fn disable(&self, username: &str) -> Result<Answer, Problem> {
        let account = self.find(username).await?;
        let since = account.disabled_ms.unwrap_or_else(now_ms);
        self.store.set_disabled(account.account, Some(since)).await?;
        // After that: who signs in from here on is refused, who did before is found.
        let devices: Vec<DeviceId> =
            self.store.devices(account.account).await?.into_iter().map(|one| one.device).collect();
        let connections = self.cut(&devices, End::Disabled);
        Ok(Answer::Done { devices: 0, connections })
    }

    async fn enable(&self, username: &str) -> Result<Answer, Problem> {
        let account = self.find(username).await?;
        self.store.set_disabled(account.account, None).await?;
        Ok(Answer::Done { devices: 0, connections: 0 })
    }

    async fn delete(&self, username: &str) -> Result<Answer, Problem> {
        let account = self.find(username).await?;
        let devices = self.store.delete_account(account.account, now_ms()).await?.unwrap_or_default();
        let connections = self.cut(&devices, End::Removed);
        Ok(Answer::Done { devices: devices.len(), connections })
    }

    async fn logout(&self, username: &str, named: Option<&str>) -> Result<Answer, Problem> {
        let account = self.find(username).await?;
        let device = match named {
            Some(named) => Some(self.named_device(&account, named).await?),
            None => None,
        };
        let devices = self.store.sign_out(account.account, device).await?;
        let connections = self.cut(&devices, End::Removed);
        Ok(Answer::Done { devices: devices.len(), connections })
    }

    /// The device whose id begins like this.
    async fn named_device(&self, account: &AccountSummary, named: &str) -> Result<DeviceId, Problem> {
        let named = named.to_ascii_lowercase();
        let devices = self.store.devices(account.account).await?;
        let mut found = devices.iter().filter(|one| !named.is_empty() && hex(&one.device.0).starts_with(&named));
        let next = format!("see: waxwing-server user sessions {}", account.username);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.device),
            (None, _) => {
                let message = format!("{} has no device whose id begins with {named:?}", account.username);
                Err(Problem::user("unknown-device", message, next))
            }
            _ => Err(Problem::user("ambiguous-device", format!("several ids begin with {named:?}"), next)),
        }
    }

    fn announce(&self, text: &str) -> Result<Answer, Problem> {
        let text = text.trim();
        if text.is_empty() || text.len() > limits::ANNOUNCEMENT {
            let message = format!("an announcement has 1 to {} bytes, not {}", limits::ANNOUNCEMENT, text.len());
            return Err(Problem::user("wrong-value", message, "say it in other words"));
        }
        Ok(Answer::Announced { devices: self.live()?.hub.announce(text, now_ms()) })
    }

    async fn disclose(&self, username: &str) -> Result<Answer, Problem> {
        let account = self.find(username).await?;
        let tables = self.store.disclose(account.account).await?;
        let known = tables.into_iter().filter(|one| !one.rows.is_empty());
        let tables = known.map(|one| readable(&self.data_key, &account.username, one)).collect::<Result<_, _>>()?;
        let connections = self.connections(&account).await?;
        Ok(Answer::Disclosure(Disclosure { username: account.username.to_string(), connections, tables }))
    }
}

/// This moment as RFC 3339.
pub fn now() -> String {
    time(now_ms())
}

/// Milliseconds since 1970 as RFC 3339.
pub(crate) fn time(milliseconds: u64) -> String {
    let known = i64::try_from(milliseconds).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    known.unwrap_or(Timestamp::MAX).to_string()
}

/// A day counted from 1970 as RFC 3339 has it.
fn day(day: u32) -> String {
    let since = SignedDuration::from_hours(i64::from(day) * 24);
    Date::constant(1970, 1, 1).checked_add(since).unwrap_or(Date::MAX).to_string()
}

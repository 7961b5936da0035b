//! The server's folder: its configuration, its sealed secrets, its identity and its link.
//!
//! Invariants: every file is written whole (temporary file, fsync, rename, fsync of the folder) and readable by its owner
//! alone; a key that exists is never replaced but by one that it vouches for; whatever the folder holds half-way, the next
//! set-up run can complete. It must not know connections, SQL or terminals: it reads and writes files, hands the database's
//! settings on, and says what is wrong.

mod attachments;
pub mod config;
pub mod database;
mod error;
mod folder;
mod identity;
pub mod password;
mod rotation;
mod sealed;
mod web;

pub use attachments::{examine as examine_attachments, open as open_attachments};
pub use config::{
    CodesFor, Config, Database, LogFormat, LogLevel, MysqlSettings, Policy, SignUp, Tickets, TlsMode, Web, YesNo,
};
pub use error::{DatabaseFault, InstallError, Status};
pub use folder::{Folder, Lock, private_file};
pub use identity::{Identity, pem, pin};
pub use sealed::{SealError, Secrets, open, seal};
pub use web::certificate as web_certificate;

use waxwing_protocol::{Link, Pin};
use zeroize::Zeroizing;

/// What stands in a folder that is set up, opened and checked.
pub struct Installation {
    /// Where.
    pub folder: Folder,
    /// The configuration: file, then environment, then the flags that were given.
    pub config: Config,
    /// The opened secrets.
    pub secrets: Secrets,
    /// The server's identity.
    pub pin: Pin,
}

/// What a finished set-up tells, read without any password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The server's link.
    pub link: Link,
    /// The link with the first invite, where people need one.
    pub invite: Option<Link>,
}

impl Folder {
    /// What the set-up left, if it was finished.
    pub fn finished(&self) -> Result<Option<Finished>, InstallError> {
        let link = |path: &std::path::Path| -> Result<Option<Link>, InstallError> {
            let damaged = || InstallError::Damaged { file: path.to_owned() };
            let Some(bytes) = self.read(path)? else { return Ok(None) };
            let text = String::from_utf8(bytes).map_err(|_| damaged())?;
            text.trim().parse().map(Some).map_err(|_| damaged())
        };
        let Some(config) = self.config_file()? else { return Ok(None) };
        let whole = self.sealed().exists() && self.certificate().exists();
        let Some(finished) = link(&self.link())?.filter(|_| whole) else { return Ok(None) };
        let invite = link(&self.invite())?;
        // Where nothing is on disk, invites are made while the server runs.
        let needs_invite = config.sign_up == SignUp::Invite && config.in_memory == YesNo::No;
        match needs_invite && invite.is_none() {
            true => Ok(None),
            false => Ok(Some(Finished { link: finished, invite: invite.filter(|_| config.sign_up == SignUp::Invite) })),
        }
    }

    /// The configuration as it stands in the file, if there is one.
    pub fn config_file(&self) -> Result<Option<Config>, InstallError> {
        let path = self.config();
        let Some(bytes) = self.read(&path)? else { return Ok(None) };
        let no_text =
            |_| InstallError::Config { file: path.clone(), line: None, reason: "it is not UTF-8 text".into() };
        let text = String::from_utf8(bytes).map_err(no_text)?;
        Config::parse(&text).map(Some).map_err(|error| error.in_file(&path))
    }
}

impl Installation {
    /// Reads the configuration of a folder: the file, then `environment`, then `flags` (setting and value; later ones win).
    ///
    /// Fails if the folder or one of its files is missing, open to others, or wrong.
    pub fn read_config(
        folder: &Folder,
        environment: impl Fn(&str) -> Option<String>,
        flags: &[(&str, &str)],
    ) -> Result<Config, InstallError> {
        folder.verify()?;
        let path = folder.config();
        let mut config = folder.config_file()?.ok_or_else(|| folder.incomplete(&path))?;
        config.apply_environment(environment)?;
        for (setting, value) in flags {
            let failed = |reason| InstallError::Flag { flag: setting.replace(['_', '.'], "-"), reason };
            config.set(setting, value).map_err(failed)?;
        }
        config.validate().map_err(|reason| InstallError::Config { file: path, line: None, reason })?;
        Ok(config)
    }

    /// Opens a folder whose configuration was read, with the server's password.
    pub fn open(folder: Folder, config: Config, password: &Zeroizing<String>) -> Result<Self, InstallError> {
        let path = folder.sealed();
        let bytes = folder.read(&path)?.ok_or_else(|| folder.incomplete(&path))?;
        let secrets =
            sealed::open(&bytes, password).map_err(|reason| InstallError::Sealed { file: path.clone(), reason })?;
        let damaged = |_| InstallError::Sealed { file: path.clone(), reason: SealError::Damaged };
        let pin = identity::pin(&secrets.certificate_der).map_err(damaged)?;
        Ok(Self { folder, config, secrets, pin })
    }

    /// The link that people need to find this server and to know that it is the right one.
    pub fn link(&self) -> Link {
        Link { addresses: self.config.addresses(), pin: self.pin, invite: None }
    }
}

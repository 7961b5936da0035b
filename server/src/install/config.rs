//! The server's configuration: `config.toml`, overridden by `WAXWING_…` variables, overridden by flags.
//!
//! Invariant: whatever the source, a value goes through [`Config::set`], so all sources accept and refuse the same. It
//! holds no secret and must not know where it is stored.

mod attachments;
mod choices;
mod cluster;
mod mail;
mod parse;
mod policy;
mod web;

pub use attachments::AttachmentPlace;
pub use choices::{Database, LogFormat, LogLevel, SignUp, Tickets, TlsMode, YesNo};
pub use cluster::{ClusterSettings, parse_nats};
pub use mail::{CodesFor, Mail, MailTls};
pub use parse::{parse_listen, parse_public, parse_schema};
pub use policy::Policy;
pub use web::Web;

use super::InstallError;
use crate::rules::{AttachmentRules, Retention};
use choices::words;
use parse::{is_public, mebibytes, number, parse_health, parse_room, parse_yes, plain, toml_text, word};
use std::{collections::HashMap, net::SocketAddr, path::Path};
use toml::de::{DeTable, DeValue};
use waxwing_protocol::{Address, DEFAULT_PORT, RoomName, limits};

/// Each setting, and the environment variable that overrides it.
pub const SETTINGS: &[(&str, &str)] = &[
    ("listen", "WAXWING_LISTEN"),
    ("public", "WAXWING_PUBLIC"),
    ("sign_up", "WAXWING_SIGN_UP"),
    ("yes_open_to_the_world", "WAXWING_YES_OPEN_TO_THE_WORLD"),
    ("retention_days", "WAXWING_RETENTION_DAYS"),
    ("relay_only", "WAXWING_RELAY_ONLY"),
    ("in_memory", "WAXWING_IN_MEMORY"),
    ("waiting_quota_mib", "WAXWING_WAITING_QUOTA_MIB"),
    ("backup_quota_mib", "WAXWING_BACKUP_QUOTA_MIB"),
    ("members_limit", "WAXWING_MEMBERS_LIMIT"),
    ("default_room", "WAXWING_DEFAULT_ROOM"),
    ("max_connections", "WAXWING_MAX_CONNECTIONS"),
    ("retention.inbox_days", "WAXWING_RETENTION_INBOX_DAYS"),
    ("retention.invites_days", "WAXWING_RETENTION_INVITES_DAYS"),
    ("attachments.quota_mib", "WAXWING_ATTACHMENTS_QUOTA_MIB"),
    ("attachments.largest_mib", "WAXWING_ATTACHMENTS_LARGEST_MIB"),
    ("attachments.days", "WAXWING_ATTACHMENTS_DAYS"),
    ("attachments.store", "WAXWING_ATTACHMENTS_STORE"),
    ("attachments.s3_endpoint", "WAXWING_ATTACHMENTS_S3_ENDPOINT"),
    ("attachments.s3_region", "WAXWING_ATTACHMENTS_S3_REGION"),
    ("attachments.s3_ca_file", "WAXWING_ATTACHMENTS_S3_CA_FILE"),
    ("health.listen", "WAXWING_HEALTH_LISTEN"),
    ("health.beyond_loopback", "WAXWING_HEALTH_BEYOND_LOOPBACK"),
    ("http.certificate", "WAXWING_HTTP_CERTIFICATE"),
    ("http.key", "WAXWING_HTTP_KEY"),
    ("http.listen", "WAXWING_HTTP_LISTEN"),
    ("http.trusted_proxies", "WAXWING_HTTP_TRUSTED_PROXIES"),
    ("http.tickets", "WAXWING_HTTP_TICKETS"),
    ("log.format", "WAXWING_LOG_FORMAT"),
    ("log.level", "WAXWING_LOG_LEVEL"),
    ("database.kind", "WAXWING_DATABASE_KIND"),
    ("database.host", "WAXWING_DATABASE_HOST"),
    ("database.port", "WAXWING_DATABASE_PORT"),
    ("database.user", "WAXWING_DATABASE_USER"),
    ("database.schema", "WAXWING_DATABASE_SCHEMA"),
    ("database.tls", "WAXWING_DATABASE_TLS"),
    ("limits.loopback", "WAXWING_LIMITS_LOOPBACK"),
    ("limits.sign_ups", "WAXWING_LIMITS_SIGN_UPS"),
    ("limits.login_failures", "WAXWING_LIMITS_LOGIN_FAILURES"),
    ("limits.account_login_failures", "WAXWING_LIMITS_ACCOUNT_LOGIN_FAILURES"),
    ("limits.probes", "WAXWING_LIMITS_PROBES"),
    ("limits.tunnels", "WAXWING_LIMITS_TUNNELS"),
    ("limits.look_ups", "WAXWING_LIMITS_LOOK_UPS"),
    ("limits.key_packages", "WAXWING_LIMITS_KEY_PACKAGES"),
    ("limits.key_packages_of_one", "WAXWING_LIMITS_KEY_PACKAGES_OF_ONE"),
    ("limits.messages", "WAXWING_LIMITS_MESSAGES"),
    ("limits.upload_kib", "WAXWING_LIMITS_UPLOAD_KIB"),
    ("sessions.per_account", "WAXWING_SESSIONS_PER_ACCOUNT"),
    ("sessions.per_address", "WAXWING_SESSIONS_PER_ADDRESS"),
    ("sessions.lifetime_days", "WAXWING_SESSIONS_LIFETIME_DAYS"),
    ("sessions.idle_days", "WAXWING_SESSIONS_IDLE_DAYS"),
    ("usernames.least", "WAXWING_USERNAMES_LEAST"),
    ("usernames.most", "WAXWING_USERNAMES_MOST"),
    ("usernames.reserved", "WAXWING_USERNAMES_RESERVED"),
    ("limits.codes", "WAXWING_LIMITS_CODES"),
    ("codes.for", "WAXWING_CODES_FOR"),
    ("codes.digits", "WAXWING_CODES_DIGITS"),
    ("codes.minutes", "WAXWING_CODES_MINUTES"),
    ("codes.tries", "WAXWING_CODES_TRIES"),
    ("codes.resend_seconds", "WAXWING_CODES_RESEND_SECONDS"),
    ("codes.domains", "WAXWING_CODES_DOMAINS"),
    ("codes.template", "WAXWING_CODES_TEMPLATE"),
    ("smtp.host", "SMTP_HOST"),
    ("smtp.port", "SMTP_PORT"),
    ("smtp.email", "SMTP_EMAIL"),
    ("smtp.user", "SMTP_USER"),
    ("smtp.password_file", "SMTP_PASSWORD_FILE"),
    ("smtp.tls", "SMTP_TLS"),
    ("smtp.ca_file", "SMTP_CA_FILE"),
    ("cluster.nats", "WAXWING_CLUSTER_NATS"),
    ("cluster.credentials_file", "WAXWING_CLUSTER_CREDENTIALS_FILE"),
    ("cluster.ca_file", "WAXWING_CLUSTER_CA_FILE"),
    ("cluster.name", "WAXWING_CLUSTER_NAME"),
    ("room.disk_mib", "WAXWING_ROOM_DISK_MIB"),
    ("room.memory_mib", "WAXWING_ROOM_MEMORY_MIB"),
];

/// How to reach MySQL; its password is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlSettings {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Account.
    pub user: String,
    /// Database name.
    pub schema: String,
    /// Encryption of the connection.
    pub tls: TlsMode,
}

/// A valid configuration (after [`Config::validate`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Where people reach it; empty: where it listens.
    pub public: Vec<Address>,
    /// Who may make an account.
    pub sign_up: SignUp,
    /// Whether that may be anyone although other networks reach the server.
    pub open_to_the_world: YesNo,
    /// Days that things are kept which nobody fetches or uses.
    pub retention: Retention,
    /// Whether messages are kept for nobody who is not connected.
    pub relay_only: YesNo,
    /// Whether there is no database but one in memory, which is gone with the server.
    pub in_memory: YesNo,
    /// Mebibytes of what one account has sent that may wait to be fetched.
    pub waiting_quota_mib: u32,
    /// Mebibytes that the backup of one account may take.
    pub backup_quota_mib: u32,
    /// Accounts that one group or room may have.
    pub members_limit: u32,
    /// The room that new accounts come into; none if there is none.
    pub default_room: Option<RoomName>,
    /// What accounts may leave for others to fetch.
    pub attachments: AttachmentRules,
    /// Where they lie.
    pub attachment_place: AttachmentPlace,
    /// Connections at one time.
    pub max_connections: usize,
    /// Where health and metrics are told; nowhere if there is none.
    pub health: Option<SocketAddr>,
    /// Whether that may be an address that other machines reach.
    pub health_beyond_loopback: YesNo,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which ones are written.
    pub log_level: LogLevel,
    /// Which database.
    pub database: Database,
    /// Used if that is MySQL.
    pub mysql: MysqlSettings,
    /// Who gets in, and how much.
    pub policy: Policy,
    /// HTTP on the server's port.
    pub web: Web,
    /// One-time codes and e-mail.
    pub mail: Mail,
    /// Other servers on the same database.
    pub cluster: ClusterSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)),
            public: Vec::new(),
            sign_up: SignUp::Invite,
            open_to_the_world: YesNo::No,
            retention: Retention::default(),
            relay_only: YesNo::No,
            in_memory: YesNo::No,
            waiting_quota_mib: 1024,
            backup_quota_mib: 1024,
            members_limit: 250,
            default_room: None,
            attachments: AttachmentRules::default(),
            attachment_place: AttachmentPlace::default(),
            max_connections: 10_000,
            health: None,
            health_beyond_loopback: YesNo::No,
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
            database: Database::Sqlite,
            mysql: MysqlSettings {
                host: "127.0.0.1".into(),
                port: 3306,
                user: "waxwing".into(),
                schema: "waxwing".into(),
                tls: TlsMode::Preferred,
            },
            policy: Policy::default(),
            web: Web::default(),
            mail: Mail::default(),
            cluster: ClusterSettings::default(),
        }
    }
}

/// What is wrong with a configuration's text, and in which line (from 1).
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    line: Option<usize>,
    reason: String,
}

impl ConfigError {
    pub(super) fn in_file(self, file: &Path) -> InstallError {
        InstallError::Config { file: file.to_owned(), line: self.line, reason: self.reason }
    }
}

impl Config {
    /// Reads the text of a configuration file; what it does not name keeps its default.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let at = |offset: usize, reason: String| {
            let before = text.as_bytes().iter().take(offset);
            ConfigError { line: Some(1 + before.filter(|byte| **byte == b'\n').count()), reason }
        };
        let document = DeTable::parse(text).map_err(|error| {
            let reason = error.message().lines().collect::<Vec<_>>().join(": ");
            at(error.span().map_or(0, |span| span.start), reason)
        })?;
        let mut config = Self::default();
        for (key, value) in document.get_ref() {
            let name = key.get_ref().as_ref();
            match value.get_ref() {
                DeValue::Table(table) => {
                    for (inner, value) in table {
                        let name = format!("{name}.{}", inner.get_ref());
                        let set = plain(value.get_ref()).and_then(|value| config.set(&name, &value));
                        set.map_err(|reason| at(inner.span().start, reason))?;
                    }
                }
                value => {
                    let set = plain(value).and_then(|value| config.set(name, &value));
                    set.map_err(|reason| at(key.span().start, reason))?;
                }
            }
        }
        Ok(config)
    }

    /// Overrides values by the environment variables of [`SETTINGS`]; empty ones count as unset.
    pub fn apply_environment(&mut self, environment: impl Fn(&str) -> Option<String>) -> Result<(), InstallError> {
        for &(setting, variable) in SETTINGS {
            let failed = |reason| InstallError::Environment { variable, reason };
            let set = environment(variable).filter(|value| !value.is_empty());
            // As mail servers' settings are often handed to programs.
            let file = variable.starts_with("SMTP_").then(|| environment(&format!("{variable}_FILE"))).flatten();
            let value = match (set, file.filter(|file| !file.is_empty())) {
                (None, Some(file)) => {
                    let read = std::fs::read_to_string(&file);
                    Some(read.map_err(|error| failed(format!("cannot read {file}: {error}")))?.trim().to_owned())
                }
                (set, _) => set,
            };
            if let Some(value) = value {
                self.set(setting, &value).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Sets one value by the setting's name. The error is one line, for users.
    pub fn set(&mut self, setting: &str, value: &str) -> Result<(), String> {
        match setting {
            "listen" => self.listen = parse_listen(value)?,
            "public" => self.public = parse_public(value)?,
            "sign_up" => self.sign_up = value.parse()?,
            "yes_open_to_the_world" => self.open_to_the_world = parse_yes(value)?,
            "retention_days" => self.retention.messages = number(value, 0, 3650)?,
            "retention.inbox_days" => self.retention.inbox = number(value, 0, 3650)?,
            "retention.invites_days" => self.retention.invites = number(value, 0, 3650)?,
            "relay_only" => self.relay_only = parse_yes(value)?,
            "in_memory" => self.in_memory = parse_yes(value)?,
            "waiting_quota_mib" => self.waiting_quota_mib = number(value, 1, 1024 * 1024)?,
            "backup_quota_mib" => self.backup_quota_mib = number(value, 0, 1024 * 1024)?,
            "members_limit" => self.members_limit = number(value, 2, 1000)?,
            "default_room" => self.default_room = parse_room(value)?,
            "max_connections" => self.max_connections = number(value, 1, 1_000_000)?,
            "attachments.quota_mib" => self.attachments.quota = mebibytes(value, 1024 * 1024)?,
            "attachments.largest_mib" => self.attachments.largest = mebibytes(value, limits::ATTACHMENT >> 20)?,
            "attachments.days" => self.attachments.days = number(value, 0, 3650)?,
            "health.listen" => self.health = parse_health(value)?,
            "health.beyond_loopback" => self.health_beyond_loopback = value.parse()?,
            "log.format" => self.log_format = value.parse()?,
            "log.level" => self.log_level = value.parse()?,
            "database.kind" => self.database = value.parse()?,
            "database.host" => self.mysql.host = word(value)?,
            "database.port" => self.mysql.port = number(value, 1, u16::MAX)?,
            "database.user" => self.mysql.user = word(value)?,
            "database.schema" => self.mysql.schema = parse_schema(value)?,
            "database.tls" => self.mysql.tls = value.parse()?,
            _ => {
                if self.mail.set(setting, value)? {
                    return Ok(());
                }
                let set = self.policy.set(setting, value).or_else(|| self.web.set(setting, value));
                let set = set.or_else(|| self.cluster.set(setting, value));
                let set = set.or_else(|| self.attachment_place.set(setting, value));
                return set.unwrap_or_else(|| {
                    let known: Vec<&str> = SETTINGS.iter().map(|(setting, _)| *setting).collect();
                    Err(format!("there is no setting {setting:?}; the settings are: {}", known.join(", ")))
                });
            }
        }
        Ok(())
    }

    /// Checks what concerns several values.
    pub fn validate(&self) -> Result<(), String> {
        self.policy.validate()?;
        self.web.validate()?;
        if self.in_memory == YesNo::Yes && self.database == Database::Mysql {
            return Err("in_memory is yes, so there is no MySQL to use: set database.kind to sqlite".into());
        }
        if !self.cluster.nats.is_empty() && self.database != Database::Mysql {
            return Err("cluster.nats is set, but only MySQL can be shared: set database.kind to mysql".into());
        }
        if !self.cluster.nats.is_empty() && self.relay_only == YesNo::Yes {
            return Err("relay_only and cluster.nats do not go together: a node cannot know who is connected to \
                        another one"
                .into());
        }
        self.mail.validate()?;
        if let Some(health) = self.health.filter(|health| !health.ip().is_loopback())
            && self.health_beyond_loopback == YesNo::No
        {
            return Err(format!(
                "health.listen is {health}, which other machines may reach; anyone there could read the server's \
                 numbers: listen on 127.0.0.1, or set health.beyond_loopback to \"yes\""
            ));
        }
        match self.public.is_empty() && self.listen.ip().is_unspecified() {
            true => Err(format!(
                "listen is {}, every address of this machine, so public must say by which name people reach it",
                self.listen
            )),
            false => Ok(()),
        }
    }

    /// What holds for files: they wait for those who are away, and they wait on the disk.
    pub fn kept_attachments(&self) -> AttachmentRules {
        match self.relay_only == YesNo::Yes || self.in_memory == YesNo::Yes {
            true => AttachmentRules { quota: 0, ..self.attachments },
            false => self.attachments,
        }
    }

    /// The names of the settings that differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let (one, other) = (Self::values(&self.render()), Self::values(&other.render()));
        let differs = |name: &&str| one.get(*name) != other.get(*name);
        SETTINGS.iter().map(|(name, _)| *name).filter(differs).collect()
    }

    /// What a text of our own making says, by setting.
    fn values(text: &str) -> HashMap<String, String> {
        let mut section = String::new();
        let mut values = HashMap::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = format!("{name}.");
            } else if let Some((name, value)) = line.split_once(" = ") {
                // What stands behind a # is what another choice would use.
                values.insert(format!("{section}{}", name.trim_start_matches("# ")), value.to_owned());
            }
        }
        values
    }

    /// Whether anyone on other networks could make accounts although nobody has said that this is meant.
    pub fn is_open_by_oversight(&self) -> bool {
        self.sign_up == SignUp::Open && self.open_to_the_world == YesNo::No && self.reaches_the_world()
    }

    /// Whether people elsewhere than on this machine and in private networks may reach the server, as far as its own
    /// addresses and names tell.
    pub fn reaches_the_world(&self) -> bool {
        let home = ["localhost", "local", "lan", "internal", "home.arpa", "test"];
        let is_home = |name: &str| home.iter().any(|end| name == *end || name.ends_with(&format!(".{end}")));
        let named = |host: &str| host.parse().map_or_else(|_| !is_home(&host.to_ascii_lowercase()), is_public);
        match self.public.as_slice() {
            [] => is_public(self.listen.ip()),
            public => is_public(self.listen.ip()) || public.iter().any(|address| named(&address.host)),
        }
    }

    /// The addresses that stand in the link.
    pub fn addresses(&self) -> Vec<Address> {
        match self.public.as_slice() {
            [] => vec![Address { host: self.listen.ip().to_string(), port: self.listen.port() }],
            public => public.to_vec(),
        }
    }

    /// The commented text of the configuration file.
    pub fn render(&self) -> String {
        let quoted = toml_text;
        let public: Vec<String> = self.public.iter().map(|address| quoted(&address.to_string())).collect();
        let mysql = if self.database == Database::Mysql { "" } else { "# " };
        let [store, s3_endpoint, s3_region, s3_ca_file] = self.attachment_place.rendered();
        let mut text = format!(
            include_str!("config.toml.in"),
            listen = self.listen,
            public = public.join(", "),
            sign_up = self.sign_up,
            yes_open_to_the_world = self.open_to_the_world,
            retention_days = self.retention.messages,
            relay_only = self.relay_only,
            in_memory = self.in_memory,
            waiting_quota_mib = self.waiting_quota_mib,
            backup_quota_mib = self.backup_quota_mib,
            members_limit = self.members_limit,
            default_room = self.default_room.as_ref().map_or("off", RoomName::as_str),
            inbox_days = self.retention.inbox,
            invites_days = self.retention.invites,
            attachments_quota_mib = self.attachments.quota >> 20,
            attachments_largest_mib = self.attachments.largest >> 20,
            attachments_days = self.attachments.days,
            store = store,
            s3_endpoint = s3_endpoint,
            s3_region = s3_region,
            s3_ca_file = s3_ca_file,
            max_connections = self.max_connections,
            health = self.health.map_or_else(|| "off".to_owned(), |health| health.to_string()),
            health_beyond_loopback = self.health_beyond_loopback,
            log_format = self.log_format,
            log_level = self.log_level,
            kind = self.database,
            mysql = mysql,
            host = quoted(&self.mysql.host),
            port = self.mysql.port,
            user = quoted(&self.mysql.user),
            schema = quoted(&self.mysql.schema),
            tls = self.mysql.tls,
        );
        text.push_str(&self.policy.render());
        text.push_str(&self.web.render());
        text.push_str(&self.mail.render());
        text.push_str(&self.cluster.render());
        text
    }
}

#[cfg(test)]
mod tests;

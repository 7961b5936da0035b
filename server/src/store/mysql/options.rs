//! How to reach the MySQL or MariaDB server. It owns the options and their URL form, keeps the password out of every
//! `Debug` output, and must not know the schema.

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions, MySqlConnection};
use std::{fmt, str::FromStr, time::Duration};
use zeroize::Zeroizing;

use super::error::OpenError;

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Prepared statements that a connection keeps: all of the store's, in all their sizes.
const STATEMENTS: usize = 256;

/// Whether the connection to the database is encrypted. Certificates are not verified: that protects against listening,
/// not against somebody who takes the database server's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MysqlTls {
    /// Never.
    Off,
    /// If the database server can.
    #[default]
    Preferred,
    /// Or there is no connection.
    Required,
}

/// Where the database is and as whom to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct MysqlOptions {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The database user.
    pub user: String,
    /// Its password, maybe empty.
    pub password: Zeroizing<String>,
    /// The database ("schema").
    pub database: String,
    /// Encryption on the way there.
    pub tls: MysqlTls,
}

impl fmt::Debug for MysqlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlOptions")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &"<secret>")
            .field("database", &self.database)
            .field("tls", &self.tls)
            .finish()
    }
}

impl fmt::Display for MysqlOptions {
    /// For messages: `user@host:port/database`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

/// Why a text is no database URL. It never quotes the text: a password may be in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MysqlUrlError {
    /// Not of the form at all.
    #[error("not of the form mysql://user:password@host:port/database (encode special characters as %XX)")]
    Form,
    /// No database after the host.
    #[error("the URL names no database: mysql://user:password@host:port/database")]
    Database,
}

impl FromStr for MysqlOptions {
    type Err = MysqlUrlError;

    /// Reads `mysql://user:password@host:port/database`, with `?ssl-mode=disabled|preferred|required` optionally.
    fn from_str(text: &str) -> Result<Self, MysqlUrlError> {
        let rest = text.strip_prefix("mysql://").ok_or(MysqlUrlError::Form)?;
        let parsed = MySqlConnectOptions::from_str(text).map_err(|_| MysqlUrlError::Form)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let password = authority
            .rsplit_once('@')
            .and_then(|(login, _)| login.split_once(':'))
            .map_or(Some(Zeroizing::default()), |(_, password)| percent_decoded(password))
            .ok_or(MysqlUrlError::Form)?;
        Ok(Self {
            host: parsed.get_host().trim_matches(['[', ']']).to_owned(),
            port: parsed.get_port(),
            user: parsed.get_username().to_owned(),
            password,
            database: parsed.get_database().ok_or(MysqlUrlError::Database)?.to_owned(),
            tls: match parsed.get_ssl_mode() {
                MySqlSslMode::Disabled => MysqlTls::Off,
                MySqlSslMode::Preferred => MysqlTls::Preferred,
                MySqlSslMode::Required | MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity => MysqlTls::Required,
            },
        })
    }
}

fn percent_decoded(text: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                after
            }
            _ => {
                bytes.push(first);
                after
            }
        };
    }
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

impl MysqlOptions {
    /// The driver's options, without a database if `database` is false.
    pub(super) fn driver(&self, database: bool) -> MySqlConnectOptions {
        let options = MySqlConnectOptions::new()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .password(&self.password)
            .ssl_mode(match self.tls {
                MysqlTls::Off => MySqlSslMode::Disabled,
                MysqlTls::Preferred => MySqlSslMode::Preferred,
                MysqlTls::Required => MySqlSslMode::Required,
            })
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging();
        if database { options.database(&self.database) } else { options }
    }

    /// One connection, set up as all of them are.
    pub(super) async fn connect(&self, database: bool) -> Result<MySqlConnection, OpenError> {
        let driver = self.driver(database);
        match tokio::time::timeout(CONNECT_TIMEOUT, driver.connect()).await {
            Ok(Ok(mut connection)) => {
                prepare(&mut connection).await.map_err(|error| OpenError::from_driver(self, error))?;
                Ok(connection)
            }
            Ok(Err(error)) => Err(OpenError::from_driver(self, error)),
            Err(_) => Err(OpenError::Unreachable { target: self.to_string(), reason: "no answer in time".to_owned() }),
        }
    }
}

/// What every connection starts with, whatever the server's own settings are: nothing is cut off silently, a
/// transaction sees what is committed, and a lock that does not come is an error that is tried again.
pub(super) async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    for statement in [
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY', \
         autocommit = 1, innodb_lock_wait_timeout = 5",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ] {
        sqlx::raw_sql(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_in_full() {
        let options: MysqlOptions = "mysql://wax:p%40s%2Fs@[::1]:3307/wing?ssl-mode=required".parse().unwrap();
        assert_eq!(options.to_string(), "wax@::1:3307/wing");
        assert_eq!(options.password.as_str(), "p@s/s");
        assert_eq!(options.tls, MysqlTls::Required);
        assert!(!format!("{options:?}").contains("p@s/s"));
    }

    #[test]
    fn a_url_without_password_or_port_is_fine_but_not_without_a_database() {
        let options: MysqlOptions = "mysql://wax@db/wing".parse().unwrap();
        assert_eq!((options.port, options.password.as_str()), (3306, ""));
        assert_eq!("mysql://wax:pw@db".parse::<MysqlOptions>(), Err(MysqlUrlError::Database));
        assert_eq!("postgres://wax:pw@db/wing".parse::<MysqlOptions>(), Err(MysqlUrlError::Form));
        assert_eq!("mysql://wax:%zz@db/wing".parse::<MysqlOptions>(), Err(MysqlUrlError::Form));
    }
}

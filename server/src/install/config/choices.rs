//! The choices among words that settings offer.

use std::{fmt, str::FromStr};

/// A choice among words, written in lower case in files, variables and flags.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All words, in the order in which they are offered.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("{text:?} is not one of: {}", Self::WORDS.join(", "))),
                }
            }
        }
    };
}

pub(super) use words;

words! {
    /// Who may make an account.
    SignUp {
        /// Whoever has an invite.
        Invite = "invite",
        /// Anyone who reaches the server.
        Open = "open",
        /// Whoever knows the sign-up secret.
        Secret = "secret",
        /// Nobody.
        Closed = "closed"
    }
}

words! {
    /// An answer that must be given in words.
    YesNo {
        /// So be it.
        Yes = "yes",
        /// Rather not.
        No = "no"
    }
}

words! {
    /// Whom the WebSocket is opened for.
    Tickets {
        /// Everybody, a few at a time; devices with a ticket always.
        Optional = "optional",
        /// Devices with a ticket alone: nobody signs up or logs in there.
        Required = "required"
    }
}

words! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json"
    }
}

words! {
    /// The least severe lines that are logged.
    LogLevel {
        /// What failed.
        Error = "error",
        /// What may fail soon.
        Warn = "warn",
        /// What the server does.
        Info = "info",
        /// For finding faults.
        Debug = "debug",
        /// Everything.
        Trace = "trace"
    }
}

words! {
    /// Which database.
    Database {
        /// Embedded, in the server's folder.
        Sqlite = "sqlite",
        /// MySQL 8.0 and later, or MariaDB 10.6 and later.
        Mysql = "mysql"
    }
}

words! {
    /// TLS towards MySQL.
    TlsMode {
        /// If the database offers it.
        Preferred = "preferred",
        /// Or no connection.
        Required = "required",
        /// Never: for a database on the same machine.
        Off = "off"
    }
}

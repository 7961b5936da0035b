//! What will be set up: the answers, from flags or from the wizard, made whole and checked.
//!
//! Invariants: making a plan changes nothing, and a plan that exists can be applied (as far as one can know without
//! trying). It must not know terminals.

use std::{fmt, net::SocketAddr};
use waxwing_server::install::{
    Config, Database, Folder, MysqlSettings, Secrets, SignUp, YesNo,
    config::{parse_listen, parse_nats, parse_public},
};
use zeroize::Zeroizing;

/// A shorter server's password is refused: whoever has a copy of the folder can guess without limit.
pub const PASSWORD_FLOOR: usize = 10;

/// What was answered so far.
#[derive(Clone, Default)]
pub struct Answers {
    /// Embedded, or how to reach MySQL.
    pub database: Option<Option<MysqlSettings>>,
    /// Of the MySQL account.
    pub database_password: Option<Zeroizing<String>>,
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// Where people reach the server, as they typed it: `HOST[:PORT]`, several separated by commas.
    pub public: Option<String>,
    /// Who may sign up.
    pub sign_up: Option<SignUp>,
    /// What people must know to sign up.
    pub sign_up_secret: Option<Zeroizing<String>>,
    /// That an open sign-up on a network is meant.
    pub open_to_the_world: bool,
    /// That there is no database but one in memory.
    pub in_memory: bool,
    /// Where NATS is, if further servers are to share the database.
    pub nats: Vec<String>,
}

/// Everything that [`crate::apply`] needs.
pub struct Plan {
    /// Where the server's files go.
    pub folder: Folder,
    /// The configuration that is written, or the one that was found.
    pub config: Config,
    /// Whether a configuration was found there, which then stays as it is.
    pub config_found: bool,
    /// Seals the secrets.
    pub server_password: Zeroizing<String>,
    /// Of the MySQL account.
    pub database_password: Option<Zeroizing<String>>,
    /// What people must know to sign up.
    pub sign_up_secret: Option<Zeroizing<String>>,
    /// The keys of the server whose node this becomes; none: new ones are made.
    pub secrets: Option<Secrets>,
}

/// A wrong or missing answer, for users; and the flag that would give it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct WrongAnswer {
    /// Why, in one line.
    pub reason: String,
    /// What to do.
    pub next: String,
}

impl WrongAnswer {
    /// An answer that does not serve.
    pub fn new(reason: impl Into<String>, next: impl Into<String>) -> Self {
        Self { reason: reason.into(), next: next.into() }
    }
}

impl Answers {
    /// Where to listen if nobody says otherwise: this machine only.
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or(Config::default().listen)
    }

    /// Who may sign up if nobody says otherwise: anyone on this machine, the invited from elsewhere.
    pub fn sign_up(&self) -> SignUp {
        let proposed = if self.listen().ip().is_loopback() { SignUp::Open } else { SignUp::Invite };
        self.sign_up.unwrap_or(proposed)
    }

    /// The configuration that these answers make, with the defaults for what was not asked.
    pub fn config(&self) -> Result<Config, WrongAnswer> {
        let listen = self.listen();
        let open_to_the_world = if self.open_to_the_world { YesNo::Yes } else { YesNo::No };
        let mut config = Config { listen, sign_up: self.sign_up(), open_to_the_world, ..Config::default() };
        if self.in_memory {
            config.in_memory = YesNo::Yes;
            if matches!(self.database, Some(Some(_))) {
                let reason = "--in-memory means that there is no database, but one was named";
                return Err(WrongAnswer::new(reason, "leave one of them out"));
            }
        }
        if let Some(Some(mysql)) = &self.database {
            config.database = Database::Mysql;
            config.mysql = mysql.clone();
        }
        if !self.nats.is_empty() && config.database != Database::Mysql {
            let reason = "--nats is for servers that share a database, and only MySQL can be shared";
            return Err(WrongAnswer::new(reason, "add --database mysql://user@host:port/schema, or leave --nats out"));
        }
        config.cluster.nats.clone_from(&self.nats);
        if let Some(public) = &self.public {
            let hint = "give a host name with --public HOST[:PORT]";
            config.public = parse_public(public).map_err(|reason| WrongAnswer::new(reason, hint))?;
            for (address, text) in config.public.iter_mut().zip(public.split(',')) {
                // A name without a port means the port that the server listens on.
                if address.to_string() != text.trim() {
                    address.port = listen.port();
                }
            }
        }
        if listen.ip().is_unspecified() && config.public.is_empty() {
            return Err(WrongAnswer::new(
                format!(
                    "the server would listen on {listen}, every address of this machine, but its link needs a name"
                ),
                "say by which host name people reach it with --public HOST[:PORT]",
            ));
        }
        if config.is_open_by_oversight() {
            let link: Vec<_> = config.addresses().iter().map(ToString::to_string).collect();
            return Err(WrongAnswer::new(
                format!("anyone who reaches {} could make accounts", link.join(", ")),
                "add --yes-open-to-the-world if that is meant, or choose --signup invite",
            ));
        }
        match (config.sign_up, &self.sign_up_secret) {
            (SignUp::Secret, None) => Err(WrongAnswer::new(
                "--signup secret needs the secret",
                "name a file with it: --signup-secret-file FILE",
            )),
            (SignUp::Secret, Some(_)) | (_, None) => Ok(config),
            (other, Some(_)) => Err(WrongAnswer::new(
                format!("a sign-up secret was given, but sign-up is {other}"),
                "choose --signup secret, or leave --signup-secret-file out",
            )),
        }
    }
}

/// Checks a server's password against the floor.
pub fn check_password(password: &str) -> Result<(), WrongAnswer> {
    match password.chars().count() {
        PASSWORD_FLOOR.. => Ok(()),
        found => Err(WrongAnswer::new(
            format!("the server's password has {found} characters; it needs at least {PASSWORD_FLOOR}"),
            "choose a longer one, such as four words",
        )),
    }
}

/// Reads `--listen`.
pub fn listen(text: &str) -> Result<SocketAddr, WrongAnswer> {
    parse_listen(text).map_err(|reason| WrongAnswer::new(reason, "give an address with --listen ADDR:PORT"))
}

/// Reads `--nats`.
pub fn nats(text: &str) -> Result<Vec<String>, WrongAnswer> {
    parse_nats(text).map_err(|reason| WrongAnswer::new(reason, "give it with --nats nats://HOST:PORT"))
}

/// Reads `--database`: none for the embedded one, else settings, and the password if it stands in the URL.
pub fn database(text: &str) -> Result<(Option<MysqlSettings>, Option<Zeroizing<String>>), WrongAnswer> {
    if text == "sqlite" {
        return Ok((None, None));
    }
    let wrong = |reason| {
        let next = "give --database sqlite or --database mysql://user@host:port/schema";
        WrongAnswer::new(format!("the database is {reason}"), next)
    };
    if !text.starts_with("mysql://") && !text.starts_with("mariadb://") {
        return Err(wrong("neither sqlite nor a mysql:// URL".to_owned()));
    }
    let (settings, password) = MysqlSettings::from_url(text).map_err(wrong)?;
    Ok((Some(settings), password))
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        let found = if self.config_found { " (completing what was begun; its configuration stays)" } else { "" };
        writeln!(f, "  Folder     {}{found}", self.folder.path().display())?;
        writeln!(f, "  Database   {}", waxwing_server::install::database::place(&self.folder, config))?;
        let reach = if config.listen.ip().is_loopback() { " (this machine only)" } else { "" };
        if !config.cluster.nats.is_empty() {
            writeln!(f, "  Shared     with further nodes, through {}", config.cluster.nats.join(", "))?;
        }
        writeln!(f, "  Listens    {}{reach}", config.listen)?;
        if !config.public.is_empty() {
            let public: Vec<_> = config.public.iter().map(ToString::to_string).collect();
            writeln!(f, "  Public     {}", public.join(", "))?;
        }
        let who = match config.sign_up {
            SignUp::Invite => "whoever has an invite; the first one is made now",
            SignUp::Open => "anyone who reaches the server",
            SignUp::Secret => "whoever knows the sign-up secret",
            SignUp::Closed => "nobody",
        };
        writeln!(f, "  Sign-up    {who}")?;
        write!(f, "  Secrets    sealed under the server's password; without it the server cannot start")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(listen: &str) -> Answers {
        Answers { listen: Some(listen.parse().unwrap()), ..Answers::default() }
    }

    #[test]
    fn only_loopback_is_open_by_itself() {
        assert_eq!(answers("127.0.0.1:1").config().unwrap().sign_up, SignUp::Open);
        assert_eq!(answers("10.0.0.1:1").config().unwrap().sign_up, SignUp::Invite);
        let private = Answers { sign_up: Some(SignUp::Open), ..answers("10.0.0.1:1") };
        assert_eq!(private.config().unwrap().sign_up, SignUp::Open);
        let mut open = Answers { sign_up: Some(SignUp::Open), ..answers("203.0.113.1:1") };
        assert!(open.config().unwrap_err().next.contains("--yes-open-to-the-world"));
        open.open_to_the_world = true;
        let config = open.config().unwrap();
        assert_eq!((config.sign_up, config.open_to_the_world), (SignUp::Open, YesNo::Yes));
    }

    #[test]
    fn a_public_name_takes_the_port_that_is_listened_on() {
        let mut plan = answers("0.0.0.0:9000");
        assert!(plan.config().unwrap_err().next.contains("--public"));
        plan.public = Some("chat.example.org, [::1], other.example:443".into());
        let texts: Vec<_> = plan.config().unwrap().public.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["chat.example.org:9000", "[::1]:9000", "other.example:443"]);
        plan.public = Some("a b".into());
        assert!(plan.config().is_err());
    }

    #[test]
    fn a_secret_and_its_policy_come_together() {
        let mut plan = Answers { sign_up: Some(SignUp::Secret), ..answers("127.0.0.1:1") };
        assert!(plan.config().unwrap_err().next.contains("--signup-secret-file"));
        plan.sign_up_secret = Some(Zeroizing::new("open sesame".into()));
        plan.config().unwrap();
        plan.sign_up = Some(SignUp::Closed);
        assert!(plan.config().is_err());
    }

    #[test]
    fn a_database_url_never_stands_in_its_error() {
        let (settings, password) = database("mariadb://wax:p%40ss@[::1]:3307/chat").unwrap();
        assert_eq!((settings.unwrap().port, password.unwrap().as_str()), (3307, "p@ss"));
        for wrong in ["mysql://wax:hunter2@host", "postgres://wax:hunter2@host/x", "mysql://a:hunter2@h/b`c", "oracle"]
        {
            let error = database(wrong).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn short_passwords_are_refused() {
        assert!(check_password("").is_err());
        assert!(check_password("ninechars").is_err());
        check_password("ten chars!").unwrap();
        check_password("äöüäöüäöüä").unwrap();
    }
}

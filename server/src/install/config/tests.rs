use super::*;

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.limits.messages = None;
    policy.limits.loopback = true;
    policy.sessions.per_address = 1;
    policy.usernames.reserved = vec!["chef".into()];
    policy
}

fn mail() -> Mail {
    Mail {
        codes_for: CodesFor::NewDevice,
        domains: vec!["example.org".into()],
        host: "mail.example.org".into(),
        email: "waxwing@example.org".into(),
        password_file: "/run/secrets/a \"quoted\" file".into(),
        ..Mail::default()
    }
}

#[test]
fn codes_need_a_mail_server_and_a_private_way_to_it() {
    let mut config = Config { mail: mail(), ..Config::default() };
    config.validate().unwrap();
    config.set("smtp.tls", "off").unwrap();
    assert!(config.validate().unwrap_err().contains("could read the codes"));
    config.set("smtp.host", "127.0.0.1").unwrap();
    config.validate().unwrap();
    config.set("smtp.host", "").unwrap();
    assert!(config.validate().unwrap_err().contains("smtp.host"));
    for (setting, wrong) in
        [("codes.digits", "5"), ("codes.digits", "9"), ("codes.domains", "a b"), ("smtp.tls", "ssl")]
    {
        assert!(config.set(setting, wrong).is_err(), "{setting} {wrong}");
    }
}

#[test]
fn mail_settings_are_also_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host");
    std::fs::write(&file, "mail.example.org\n").unwrap();
    let mut config = Config::default();
    let path = file.to_str().unwrap().to_owned();
    config.apply_environment(|name| (name == "SMTP_HOST_FILE").then(|| path.clone())).unwrap();
    assert_eq!(config.mail.host, "mail.example.org");
    let gone = config.apply_environment(|name| (name == "SMTP_PORT_FILE").then(|| "/no/such".to_owned()));
    assert!(gone.unwrap_err().to_string().contains("/no/such"));
}

fn mysql() -> Config {
    let mysql = MysqlSettings {
        host: "db.example".into(),
        port: 3307,
        user: "a \"quoted\" user".into(),
        schema: "chat_1".into(),
        tls: TlsMode::Required,
    };
    Config {
        listen: "[::]:7443".parse().unwrap(),
        public: parse_public("chat.example.org, [::1]:99").unwrap(),
        sign_up: SignUp::Secret,
        retention: Retention { messages: 7, inbox: 8, invites: 9 },
        waiting_quota_mib: 12,
        backup_quota_mib: 64,
        members_limit: 30,
        default_room: Some("general".parse().unwrap()),
        relay_only: YesNo::Yes,
        in_memory: YesNo::No,
        log_format: LogFormat::Json,
        log_level: LogLevel::Debug,
        open_to_the_world: YesNo::Yes,
        policy: policy(),
        mail: mail(),
        database: Database::Mysql,
        mysql,
        ..Config::default()
    }
}

#[test]
fn what_is_rendered_reads_back() {
    for config in [Config::default(), mysql()] {
        assert_eq!(Config::parse(&config.render()).unwrap(), config);
    }
}

#[test]
fn every_setting_is_documented_with_its_variable() {
    let text = mysql().render();
    for (setting, variable) in SETTINGS {
        let name = setting.rsplit('.').next().unwrap();
        assert!(text.contains(variable), "{variable}");
        assert!(text.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
    }
}

#[test]
fn mistakes_name_their_line() {
    let cases = [
        ("listen = \"127.0.0.1:1\"\nlisen = 1\n", 2, "there is no setting \"lisen\""),
        ("# comment\n\nlisten = \"chat\"", 3, "\"chat\" is not an IP address with a port"),
        ("[log]\nformat = \"xml\"", 2, "\"xml\" is not one of: text, json"),
        ("[database]\nkind = \"sqlite\"\npassword = \"x\"", 3, "there is no setting \"database.password\""),
        ("retention_days = 3651", 1, "\"3651\" is not a number from 0 to 3650"),
        ("retention_days = -1", 1, "\"-1\" is not a number"),
        ("retention_days = true", 1, "the value must be a text in quotes or a number"),
        ("[a.b]\nc = 1", 1, "there are no sections in sections"),
        ("\nlisten = ", 2, ""),
        ("[database]\nschema = \"a`; DROP\"", 2, "is not a schema name"),
        ("[limits]\nmessages = \"many\"", 2, "is neither \"off\" nor a limit"),
        ("[usernames]\nreserved = [\"a b\"]", 2, "cannot be a username"),
        ("[usernames]\nleast = 2", 2, "is not a number from 3 to 32"),
    ];
    for (text, line, reason) in cases {
        let error = Config::parse(text).unwrap_err();
        assert_eq!(error.line, Some(line), "{text}: {error:?}");
        assert!(error.reason.contains(reason) && !error.reason.contains('\n'), "{text}: {error:?}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_is_checked_alike() {
    let mut config = Config::default();
    let set = |name: &str| match name {
        "WAXWING_LISTEN" => Some("localhost:9".to_owned()),
        "WAXWING_PUBLIC" => Some(String::new()),
        "WAXWING_DATABASE_PORT" => Some("33060".to_owned()),
        _ => None,
    };
    config.apply_environment(set).unwrap();
    assert_eq!((config.listen.to_string().as_str(), config.mysql.port), ("127.0.0.1:9", 33060));
    let wrong = config.apply_environment(|name| (name == "WAXWING_LOG_LEVEL").then(|| "loud".to_owned())).unwrap_err();
    assert!(wrong.to_string().starts_with("the environment variable WAXWING_LOG_LEVEL: \"loud\" is not one of"));
}

#[test]
fn what_differs_is_named() {
    let mut config = Config::default();
    assert!(config.differences(&Config::default()).is_empty());
    config.set("sessions.per_address", "1").unwrap();
    config.set("database.host", "db.example").unwrap();
    config.set("retention_days", "3").unwrap();
    let named = config.differences(&Config::default());
    assert_eq!(named, ["retention_days", "database.host", "sessions.per_address"]);
}

#[test]
fn an_open_server_is_noticed_where_the_world_reaches_it() {
    let open = |listen: &str, public: &str| {
        let mut config = Config { sign_up: SignUp::Open, ..Config::default() };
        config.set("listen", listen).unwrap();
        config.set("public", public).unwrap();
        config
    };
    for (listen, public) in [
        ("127.0.0.1", ""),
        ("[::1]:7", "localhost"),
        ("192.168.1.7", "chat.lan"),
        ("10.0.0.1:9", "10.0.0.1"),
        ("[fd00::1]:7", ""),
    ] {
        assert!(!open(listen, public).is_open_by_oversight(), "{listen} {public}");
    }
    for (listen, public) in [
        ("0.0.0.0", "chat.lan"),
        ("203.0.113.5", ""),
        ("127.0.0.1", "chat.example.org"),
        ("127.0.0.1", "localhost.example.org"),
        ("[2001:db8::1]:7", ""),
        ("192.168.1.7", "203.0.113.5"),
    ] {
        let mut config = open(listen, public);
        assert!(config.is_open_by_oversight(), "{listen} {public}");
        config.set("yes_open_to_the_world", "true").unwrap();
        assert!(!config.is_open_by_oversight());
    }
    let invite = Config { sign_up: SignUp::Invite, ..open("0.0.0.0", "chat.example.org") };
    assert!(!invite.is_open_by_oversight());
}

#[test]
fn listening_everywhere_needs_a_public_name() {
    let mut config = Config { listen: parse_listen("0.0.0.0").unwrap(), ..Config::default() };
    assert!(config.validate().is_err());
    config.set("public", "chat.example.org").unwrap();
    config.validate().unwrap();
    assert_eq!(config.addresses()[0].to_string(), "chat.example.org:7443");
    assert_eq!(Config::default().addresses()[0].to_string(), "127.0.0.1:7443");
}

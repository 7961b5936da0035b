//! `waxwing-server run`.

use super::{
    Failure, block_on, environment, notify,
    reload::{Reloading, Source, identity},
};
use crate::{
    admin::{Door, Live, Operator},
    cluster::{Cluster, ClusterError, ClusterRules},
    health,
    install::{
        Config, Folder, Installation, LogFormat, Secrets, SignUp, Status, Tickets, YesNo, database, open_attachments,
        web_certificate,
    },
    log,
    relay::{DataKey, Hub, Relay, RelayConfig, SignUpRule},
    retention,
    rules::{HttpRules, RoomRule, Rules},
    store::{SharedOperatorStore, SharedStore},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    convert::Infallible,
    io,
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, RwLock},
    time::Instant,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use zeroize::Zeroizing;

pub(super) fn run(command: &super::Run) -> Result<ExitCode, Failure> {
    let flags = command.overrides.settings();
    let (installation, _lock) = command.common.open(&flags)?;
    refuse_oversight(&installation.config)?;
    installation.publish_identity()?;
    block_on(serve(installation, &flags, command.common.password_file.clone()))?
}

/// Whoever lets everybody in must have said so.
pub(super) fn refuse_oversight(config: &Config) -> Result<(), Failure> {
    if !config.is_open_by_oversight() {
        return Ok(());
    }
    let message = "sign_up is \"open\", and the server is reached from other networks: anyone could make accounts";
    let next = "set sign_up = \"invite\"; or, if that is meant, yes_open_to_the_world = \"yes\" in config.toml, or give \
                --yes-open-to-the-world";
    Err(Failure::user("open-to-the-world", message, next))
}

async fn serve(
    installation: Installation,
    flags: &[(&str, &str)],
    password_file: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    let config = &installation.config;
    let format = match config.log_format {
        LogFormat::Text => log::LogFormat::Text,
        LogFormat::Json => log::LogFormat::Json,
    };
    // A process that embeds the server may log already.
    let _ = log::init(format, &config.log_level.to_string());
    raise_file_limit();
    let listener = bind(config.listen).await?;
    let health_listener = match config.health {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let listener_for_proxies = match config.web.listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let address = listener.local_addr().map_err(Failure::unexpected)?;
    let hub = Hub::new();
    let password = installation.secrets.database_password.as_deref();
    let data_key = DataKey::from_bytes(installation.secrets.data_key);
    let (store, joined) = match rules_of_cluster(config) {
        None => (database::start(&installation.folder, config, password, Arc::clone(&hub) as _).await?, None),
        Some(rules) => {
            let shared = database::start_shared(&installation.folder, config, password, Arc::clone(&hub) as _).await?;
            let joined = Cluster::start(rules, &data_key, Arc::clone(&hub), Arc::clone(&shared) as _).await;
            (shared as SharedOperatorStore, Some(joined.map_err(no_cluster)?))
        }
    };
    let (cluster, among_others) = joined.unzip();
    let door = Door::open(&installation.folder)?;
    let attachments = open_attachments(&installation.folder, config, environment, true)?;
    let relay = RelayConfig {
        attachments,
        identity: identity(&installation.secrets),
        data_key: data_key.clone(),
        rules: rules(&installation.folder, config, &installation.secrets)?,
    };
    let relay = Relay::new(relay, Arc::clone(&hub), Arc::clone(&store) as _).map_err(Failure::unexpected)?;
    let reloader = relay.reloader();
    if let Some(cluster) = &cluster {
        cluster.share(reloader.clone());
    }
    let operator = Operator {
        store: Arc::clone(&store),
        data_key,
        config: RwLock::new(config.clone()),
        link: installation.link(),
        folder: installation.folder.clone(),
        live: None,
    };
    let source = Source::new(installation, flags, password_file, reloader.clone());
    let reload = Arc::new(Reloading(Arc::new(source)));
    let live = Live { hub: Arc::clone(&hub), started: Instant::now(), reload, cluster: cluster.clone() };
    let operator = Arc::new(Operator { live: Some(live), ..operator });
    let (drain, draining) = watch::channel(false);
    let health = async {
        match health_listener {
            Some(listener) => health::serve(listener, Arc::clone(&operator.store) as SharedStore, draining).await,
            None => std::future::pending().await,
        }
    };
    let relay = match listener_for_proxies {
        Some(listener) => relay.behind_proxy(listener),
        None => relay,
    };
    let among_others = async {
        match among_others {
            Some(run) => run.await,
            None => std::future::pending().await,
        }
    };
    let sessions = retention::sign_out_stale(store, hub, || reloader.rules().sessions);

    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::unexpected)?;
    let hangup = signal(SignalKind::hangup()).map_err(Failure::unexpected)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::unexpected)?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify::stopping();
        if let Some(cluster) = cluster {
            cluster.leave().await;
        }
        let _ = drain.send(true);
    };
    // Whoever started this may have closed the pipe; the server serves all the same.
    let _ = writeln!(io::stdout(), "waxwing-server listening on {address}");
    notify::ready();
    // The relay closes the store; the operator's door closes with it.
    let served = tokio::select! {
        served = relay.serve(listener, shutdown) => served,
        never = door.serve(Arc::clone(&operator)) => match never {},
        never = notify::stay_alive() => match never {},
        never = health => match never {},
        never = sessions => match never {},
        never = hear_hangups(hangup, &operator) => match never {},
        never = among_others => match never {},
    };
    served.map(|()| ExitCode::SUCCESS).map_err(Failure::unexpected)
}

/// Lets this process have as many sockets as the system allows: shells usually begin with 1024, fewer than the connections of
/// the usual configuration.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, current = limit.current, "could not raise the limit of open files");
    }
}

/// Reads the configuration anew with every SIGHUP. One that does not serve changes nothing.
async fn hear_hangups(mut hangup: Signal, operator: &Operator) -> Infallible {
    loop {
        if hangup.recv().await.is_none() {
            return std::future::pending().await;
        }
        if let Err(problem) = operator.reload().await {
            tracing::error!(reason = problem.message, next = problem.next, "the configuration was not read anew");
        }
    }
}

/// How this node reaches the others, if there may be others.
fn rules_of_cluster(config: &Config) -> Option<ClusterRules> {
    let settings = &config.cluster;
    (!settings.nats.is_empty()).then(|| ClusterRules {
        nats: settings.nats.clone(),
        credentials_file: settings.credentials_file.clone(),
        ca_file: settings.ca_file.clone(),
        name: if settings.name.is_empty() { config.listen.to_string() } else { settings.name.clone() },
    })
}

fn no_cluster(error: ClusterError) -> Failure {
    Failure::user("cluster", error.to_string(), "check the section [cluster] in config.toml")
}

/// What a configuration and the secrets allow.
pub(super) fn rules(folder: &Folder, config: &Config, secrets: &Secrets) -> Result<Rules, Failure> {
    refuse_oversight(config)?;
    let sign_up = match (config.sign_up, &secrets.sign_up_secret) {
        (SignUp::Invite, _) => SignUpRule::Invite,
        (SignUp::Open, _) => SignUpRule::Open,
        (SignUp::Closed, _) => SignUpRule::Closed,
        (SignUp::Secret, Some(secret)) => SignUpRule::Secret(Zeroizing::new(secret.clone())),
        (SignUp::Secret, None) => return Err(secret_missing(config)),
    };
    Ok(Rules {
        sign_up,
        usernames: config.policy.usernames.clone(),
        limits: config.policy.limits,
        sessions: config.policy.sessions,
        codes: config.mail.codes(),
        mailer: super::smtp::mailer(folder, config)?.map(Arc::new),
        email_domains: config.mail.domains.clone(),
        room: config.policy.room(folder.path()),
        retention: config.retention,
        relay_only: config.relay_only == YesNo::Yes,
        waiting_quota: u64::from(config.waiting_quota_mib) * 1024 * 1024,
        backup_quota: u64::from(config.backup_quota_mib) * 1024 * 1024,
        rooms: RoomRule { members: config.members_limit, default: config.default_room.clone() },
        attachments: config.kept_attachments(),
        max_connections: config.max_connections,
        http: HttpRules {
            certificate: web_certificate(&config.web)?.map(Arc::new),
            trusted_proxies: config.web.trusted_proxies.clone(),
            tickets_only: config.web.tickets == Tickets::Required,
        },
    })
}

pub(super) fn secret_missing(config: &Config) -> Failure {
    let message = format!("sign_up is {:?}, but there is no sign-up secret", config.sign_up.to_string());
    Failure::user("bad-configuration", message, "make one: waxwing-server sign-up-secret change")
}

/// Listens, or says why not.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    Relay::bind(address).await.map_err(|error| {
        let port = address.port();
        match error.kind() {
            io::ErrorKind::AddrInUse => Failure::user(
                "port-taken",
                format!("another program is listening on {address}"),
                format!("stop it, or choose another port than {port} with --listen or in config.toml"),
            ),
            io::ErrorKind::PermissionDenied => Failure::user(
                "port-refused",
                format!("this user may not listen on {address}"),
                "choose a port from 1024 up with --listen or in config.toml",
            ),
            io::ErrorKind::AddrNotAvailable => Failure::user(
                "address-unknown",
                format!("this machine does not have the address {}", address.ip()),
                "choose one that it has with --listen or in config.toml; 0.0.0.0 means all",
            ),
            _ => Failure {
                code: "listen".into(),
                message: format!("cannot listen on {address}: {error}"),
                next: "check the address with --listen or in config.toml".into(),
                status: Status::Network,
            },
        }
    })
}

//! `waxwing-server run`.

use super::{Failure, block_on};
use crate::{
    admin::{Door, Live, Operator},
    health,
    install::{Config, Installation, LogFormat, SignUp, Status, database},
    log,
    relay::{DataKey, Hub, Relay, RelayConfig, ServerIdentity, SignUpRule},
    store::SharedStore,
};
use std::{io, io::Write, net::SocketAddr, process::ExitCode, sync::Arc, time::Instant};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use zeroize::Zeroizing;

pub(super) fn run(command: &super::Run) -> Result<ExitCode, Failure> {
    let (installation, _lock) = command.common.open(&command.overrides.settings())?;
    installation.publish_identity()?;
    block_on(serve(installation))?
}

async fn serve(installation: Installation) -> Result<ExitCode, Failure> {
    let config = &installation.config;
    let format = match config.log_format {
        LogFormat::Text => log::LogFormat::Text,
        LogFormat::Json => log::LogFormat::Json,
    };
    // A process that embeds the server may log already.
    let _ = log::init(format, &config.log_level.to_string());
    let listener = bind(config.listen).await?;
    let health_listener = match config.health {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let address = listener.local_addr().map_err(Failure::unexpected)?;
    let hub = Hub::new();
    let password = installation.secrets.database_password.as_deref();
    let store = database::open(&installation.folder, config, password, Arc::clone(&hub) as _).await?;
    let door = Door::open(&installation.folder)?;
    let operator = Arc::new(Operator {
        store: Arc::clone(&store),
        data_key: DataKey::from_bytes(installation.secrets.data_key),
        config: config.clone(),
        link: installation.link(),
        folder: installation.folder.clone(),
        live: Some(Live { hub: Arc::clone(&hub), started: Instant::now() }),
    });
    let (drain, draining) = watch::channel(false);
    let health = async {
        match health_listener {
            Some(listener) => health::serve(listener, Arc::clone(&operator.store) as SharedStore, draining).await,
            None => std::future::pending().await,
        }
    };
    let relay = Relay::new(relay_config(&installation)?, hub, store).map_err(Failure::unexpected)?;

    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::unexpected)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::unexpected)?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = drain.send(true);
    };
    // Whoever started this may have closed the pipe; the server serves all the same.
    let _ = writeln!(io::stdout(), "waxwing-server listening on {address}");
    // The relay closes the store; the operator's door closes with it.
    let served = tokio::select! {
        served = relay.serve(listener, shutdown) => served,
        never = door.serve(Arc::clone(&operator)) => match never {},
        never = health => match never {},
    };
    served.map(|()| ExitCode::SUCCESS).map_err(Failure::unexpected)
}

fn relay_config(installation: &Installation) -> Result<RelayConfig, Failure> {
    let Installation { config, secrets, .. } = installation;
    let sign_up = match (config.sign_up, &secrets.sign_up_secret) {
        (SignUp::Invite, _) => SignUpRule::Invite,
        (SignUp::Open, _) => SignUpRule::Open,
        (SignUp::Closed, _) => SignUpRule::Closed,
        (SignUp::Secret, Some(secret)) => SignUpRule::Secret(Zeroizing::new(secret.clone())),
        (SignUp::Secret, None) => return Err(secret_missing(config)),
    };
    Ok(RelayConfig {
        identity: ServerIdentity {
            certificate_der: secrets.certificate_der.clone(),
            private_key_der: Zeroizing::new(secrets.private_key_der.clone()),
        },
        data_key: DataKey::from_bytes(secrets.data_key),
        sign_up,
        retention_days: config.retention_days,
        backup_quota: u64::from(config.backup_quota_mib) * 1024 * 1024,
        max_connections: config.max_connections,
    })
}

pub(super) fn secret_missing(config: &Config) -> Failure {
    let message = format!("sign_up is {:?}, but no sign-up secret was given at set-up", config.sign_up.to_string());
    Failure::user("bad-configuration", message, "set sign_up to invite, open or closed")
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

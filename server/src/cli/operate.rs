//! Having the operator's commands done: by the server that runs on the folder, else here, under the folder's lock.
//!
//! Invariant: a command never touches the embedded database beside a running server. It must not know what a command means.

use super::{Common, Failure, block_on};
use crate::{
    admin::{self, Answer, Operator, Problem, Reply, Request},
    install::{InstallError, Installation, Status, database},
    relay::DataKey,
};
use std::{
    io::Read,
    sync::{Arc, RwLock},
};

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = match problem.status {
            1 => Status::User,
            3 => Status::Network,
            _ => Status::Unexpected,
        };
        Self { code: problem.code.into(), message: problem.message, next: problem.next, status }
    }
}

/// Has it done by whoever can.
pub(super) fn operate(common: &Common, request: &Request) -> Result<Answer, Failure> {
    match ask(common, request)? {
        Some(answer) => Ok(answer),
        None => directly(common, request),
    }
}

/// Has it done by the running server, or says that there is none.
pub(super) fn operate_live(common: &Common, request: &Request) -> Result<Answer, Failure> {
    ask(common, request)?.ok_or_else(|| not_running(common))
}

fn not_running(common: &Common) -> Failure {
    let folder = common.folder().map(|folder| folder.path().display().to_string()).unwrap_or_default();
    let message = format!("no server runs on {folder}");
    Failure { status: Status::Network, ..Failure::user("not-running", message, "start it: waxwing-server run") }
}

pub(super) fn lost(error: std::io::Error) -> Failure {
    Failure {
        code: "server-lost".into(),
        message: format!("the running server did not answer ({error})"),
        next: "look at its log, and try again".into(),
        status: Status::Network,
    }
}

/// Asks the running server; none if no server runs.
fn ask(common: &Common, request: &Request) -> Result<Option<Answer>, Failure> {
    let folder = common.folder()?;
    folder.verify()?;
    let Some(connected) = admin::connect(&folder)? else { return Ok(None) };
    match connected.ask(request).map_err(lost)? {
        Reply::Ok(answer) => Ok(Some(answer)),
        Reply::Error(problem) => Err(problem.into()),
    }
}

/// The running server's backup as it comes; none if no server runs.
pub(super) fn ask_for_backup(common: &Common) -> Result<Option<impl Read>, Failure> {
    let folder = common.folder()?;
    folder.verify()?;
    let Some(connected) = admin::connect(&folder)? else { return Ok(None) };
    match connected.open(&Request::Backup).map_err(lost)? {
        (Reply::Ok(Answer::Backup), stream) => Ok(Some(stream)),
        (Reply::Ok(_), _) => Err(Failure::unexpected("the server answered something else than was asked")),
        (Reply::Error(problem), _) => Err(problem.into()),
    }
}

fn directly(common: &Common, request: &Request) -> Result<Answer, Failure> {
    directly_with(common, async |operator| Ok(operator.handle(request.clone()).await?))
}

/// Does something on the database of a stopped server, under the folder's lock.
pub(super) fn directly_with<T>(
    common: &Common,
    work: impl AsyncFnOnce(&Operator) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (installation, _lock) = common.open(&[]).map_err(|failure| match failure.code.as_ref() {
        // A server runs and has no socket: it is starting or stopping.
        "locked" => Failure { next: "wait until the server has started or stopped, and try again".into(), ..failure },
        _ => failure,
    })?;
    block_on(async {
        let operator = stopped(&installation).await?;
        let done = work(&operator).await;
        operator.store.close().await;
        done
    })?
}

/// The operator of a server that does not run.
async fn stopped(installation: &Installation) -> Result<Operator, InstallError> {
    let Installation { folder, config, secrets, .. } = installation;
    let publish = Arc::new(database::NobodyListens);
    Ok(Operator {
        store: database::open(folder, config, secrets.database_password.as_deref(), publish).await?,
        data_key: DataKey::from_bytes(secrets.data_key),
        config: RwLock::new(config.clone()),
        link: installation.link(),
        folder: folder.clone(),
        live: None,
    })
}

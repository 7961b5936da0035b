//! The health listener: whether the server lives, whether it is ready, and its numbers, by HTTP on a loopback address.
//!
//! Invariant: it tells nothing of anybody, and listens beyond this machine only if the configuration says so twice. It must
//! not know what the numbers mean.

use crate::{metrics::METRICS, store::SharedStore};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, timeout},
};

/// A database that takes longer is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

struct Context {
    store: SharedStore,
    draining: watch::Receiver<bool>,
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, store: SharedStore, draining: watch::Receiver<bool>) -> Infallible {
    let router = Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Context { store, draining }));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the health listener failed");
    }
    std::future::pending().await
}

/// Whether the database answers, in time.
async fn database_answers(store: &SharedStore) -> bool {
    let asked = Instant::now();
    let answers = matches!(timeout(PATIENCE, store.ping()).await, Ok(Ok(())));
    METRICS.database_up.set(answers.into());
    METRICS.database_answer.observe(asked.elapsed().as_secs_f64());
    answers
}

async fn ready(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let draining = *context.draining.borrow();
    match (draining, database_answers(&context.store).await) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
        (false, true) => (StatusCode::OK, "ready\n"),
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    database_answers(&context.store).await;
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], METRICS.text())
}

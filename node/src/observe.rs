//! What an operator's tools see: the log, `/metrics` and `/health` on a loopback port.
//!
//! Both pages are for this machine alone and show neither cargo nor persons.

use std::{io::IsTerminal as _, sync::Arc};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use prometheus_client::{encoding::text, registry::Registry};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    config::{LogFormat, LogSettings},
    core::Core,
    health,
};

/// Starts the log on standard error. The environment's `PORTCULLIS_LOG`, a filter such as
/// `portcullis_node=debug`, overrides the configured level.
pub fn start_log(settings: LogSettings) {
    let configured = || EnvFilter::new(settings.level.to_string());
    let filter = EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| configured());
    let builder = fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(error, "the log was started before");
    }
}

/// Serves `/metrics` and `/health` until `shutdown`.
///
/// # Errors
///
/// An I/O error if the listener fails.
pub async fn serve(
    listener: TcpListener,
    core: Arc<Core>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let mut registry = Registry::default();
    core.metrics().register(&mut registry);
    let pages = Pages {
        core,
        registry: Arc::new(registry),
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health_page))
        .with_state(pages);
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

#[derive(Clone)]
struct Pages {
    core: Arc<Core>,
    registry: Arc<Registry>,
}

async fn metrics(State(pages): State<Pages>) -> Result<String, StatusCode> {
    let mut page = String::new();
    text::encode(&mut page, &pages.registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(page)
}

#[derive(Serialize)]
struct HealthPage {
    ok: bool,
    problems: Vec<ProblemView>,
}

#[derive(Serialize)]
struct ProblemView {
    what: String,
    remedy: &'static str,
}

async fn health_page(State(pages): State<Pages>) -> (StatusCode, Json<HealthPage>) {
    let problems: Vec<ProblemView> = health::problems(&pages.core)
        .into_iter()
        .map(|problem| ProblemView {
            what: problem.what,
            remedy: problem.remedy,
        })
        .collect();
    let status = if problems.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let page = HealthPage {
        ok: problems.is_empty(),
        problems,
    };
    (status, Json(page))
}

//! Views for an operator's tools: the log, and `/metrics` and `/health` on a loopback port.
//!
//! Both pages are for this machine alone and show neither cargo nor persons.

use std::{
    io::IsTerminal as _,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use portcullis_admin::local::{self, Bounds, WhenFull};
use portcullis_home::config::{LogFormat, LogSettings, dns_name::DnsName};
use portcullis_kernel::{
    Kernel,
    health::{self, Health, Problem},
};

use crate::{
    exposition,
    readings::Readings,
    repeated::{OncePerCause, Repeated},
};

/// Environment variable that names a filter.
const FILTER: &str = "PORTCULLIS_LOG";

/// Handle on the level of the log that this process started. It is unset if the environment names a
/// filter.
static LEVEL: OnceLock<LevelHandle> = OnceLock::new();

/// Lines of the log that this process started, counted by cause.
static REPEATED: OnceLock<Arc<Repeated>> = OnceLock::new();

/// Interval at which lines that were left out are told.
const TELLING: Duration = Duration::from_secs(10);

type LevelHandle = reload::Handle<EnvFilter, Registry>;

/// Starts the log on standard error. The environment's `PORTCULLIS_LOG`, a filter such as
/// `portcullis=debug` for all of it or `portcullis_exchange=debug` for one part, overrides the configured level, and that of a reload as well.
pub fn start_log(settings: LogSettings) {
    let (named, mistaken) = match EnvFilter::try_from_env(FILTER) {
        Ok(named) => (Some(named), None),
        Err(error) if std::env::var_os(FILTER).is_some() => (None, Some(error)),
        Err(_) => (None, None),
    };
    let is_named = named.is_some();
    let filter = named.unwrap_or_else(|| of_level(settings.level));
    let repeated = REPEATED.get_or_init(Arc::default);
    let (log, level) = log(
        filter,
        settings.format,
        Arc::clone(repeated),
        std::io::stderr,
    );
    match log.try_init() {
        Ok(()) if is_named => {}
        Ok(()) => {
            if LEVEL.set(level).is_err() {
                tracing::debug!("the level of the log could be moved before");
            }
        }
        Err(error) => tracing::debug!(%error, "the log was started before"),
    }
    if let Some(error) = mistaken {
        tracing::warn!(%error, "`{FILTER}` is no filter; the configured level holds");
    }
}

/// Writes lines of this level and above from now on, unless the environment names a filter.
pub fn move_level(level: tracing::Level) {
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.reload(of_level(level))
    {
        tracing::error!(%error, "the level of the log stays what it was");
    }
}

fn of_level(level: tracing::Level) -> EnvFilter {
    EnvFilter::new(level.to_string())
}

/// Tells of lines that were left out of the log, until `shutdown`.
pub async fn tell_repeated(shutdown: CancellationToken) {
    let Some(repeated) = REPEATED.get() else {
        // Nothing is counted where no log was started.
        return shutdown.cancelled().await;
    };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(TELLING) => repeated.tell(),
        }
    }
}

/// Makes a log, and the handle that moves its level.
fn log<W>(
    filter: EnvFilter,
    format: LogFormat,
    repeated: Arc<Repeated>,
    writer: W,
) -> (impl tracing::Subscriber + Send + Sync, LevelHandle)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer);
    let lines = match format {
        LogFormat::Human => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    (
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .with(OncePerCause(repeated)),
        handle,
    )
}

/// Bounds of the port: a page is asked for and read at once.
const BOUNDS: Bounds = Bounds {
    connections: 16,
    when_full: WhenFull::CutOldest,
    head: Duration::from_secs(5),
    pause: Duration::from_secs(5),
    whole: Some(Duration::from_secs(30)),
};

/// Serves `/metrics` and `/health` until `shutdown`. A request must name this machine, an address of it or the node.
pub async fn serve(
    listener: TcpListener,
    kernel: Arc<Kernel>,
    name: DnsName,
    shutdown: CancellationToken,
) {
    let pages = Pages { kernel };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health_page))
        .with_state(pages)
        .layer(middleware::from_fn_with_state(
            Arc::new(name),
            refuse_other_host,
        ));
    local::serve(listener, router, BOUNDS, shutdown).await;
}

/// Refuses requests for other hosts. A web page elsewhere can point its own name at this machine (DNS rebinding), and
/// would otherwise read the answers in the browser of whoever sits here.
async fn refuse_other_host(
    State(name): State<Arc<DnsName>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(header::HOST);
    let asked = host.map(|host| host.to_str().unwrap_or_default());
    // A browser always says which host it asks for.
    if asked.is_none_or(|asked| names_this_machine(asked, name.as_str())) {
        next.run(request).await
    } else {
        let remedy = "ask for `localhost`, an address of this machine, or the node's name\n";
        (StatusCode::MISDIRECTED_REQUEST, remedy).into_response()
    }
}

fn names_this_machine(asked: &str, name: &str) -> bool {
    let Ok(asked) = asked.parse::<Authority>() else {
        return false;
    };
    let host = asked.host();
    let bare = host.strip_prefix('[').and_then(|of| of.strip_suffix(']'));
    let is_address = bare.unwrap_or(host).parse::<IpAddr>().is_ok();
    is_address || host.eq_ignore_ascii_case("localhost") || host.eq_ignore_ascii_case(name)
}

#[derive(Clone)]
struct Pages {
    kernel: Arc<Kernel>,
}

async fn metrics(State(pages): State<Pages>) -> Result<Response, StatusCode> {
    let readings = Readings::taken(&pages.kernel).await;
    let page = exposition::page(pages.kernel.metrics(), readings)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CONTENT_TYPE, exposition::FORMAT)], page).into_response())
}

/// Health of the node. Nobody who looks at `ok` alone takes a hindered node for one that is well;
/// who looks at the status code alone hears of what keeps the node from its work.
#[derive(Serialize)]
struct HealthPage {
    ok: bool,
    state: &'static str,
    problems: Vec<ProblemView>,
    hindrances: Vec<ProblemView>,
}

#[derive(Serialize)]
struct ProblemView {
    kind: &'static str,
    what: String,
    remedy: &'static str,
}

async fn health_page(State(pages): State<Pages>) -> (StatusCode, Json<HealthPage>) {
    let health = health::health_apart(&pages.kernel).await;
    let status = if health.problems.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(HealthPage::from(health)))
}

impl From<Health> for HealthPage {
    fn from(health: Health) -> Self {
        let state = health.state();
        let view = |problem: Problem| ProblemView {
            kind: problem.kind.name(),
            what: problem.what,
            remedy: problem.remedy,
        };
        Self {
            ok: state == "ok",
            state,
            problems: health.problems.into_iter().map(view).collect(),
            hindrances: health.hindrances.into_iter().map(view).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use portcullis_kernel::health::ProblemKind;

    /// Attack L8: a web page whose name pointed here read `/health`.
    #[test]
    fn a_page_is_shown_to_who_asks_for_this_machine_and_no_other_name() {
        for (asked, shown) in [
            ("localhost:9464", true),
            ("LOCALHOST", true),
            ("127.0.0.1:9464", true),
            ("[::1]:9464", true),
            ("antwerp.customs.example", true),
            ("evil.example:9464", false),
            ("localhost.evil.example", false),
            ("antwerp.customs.example.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("user@evil.example", false),
            ("", false),
        ] {
            let name = "antwerp.customs.example";
            assert_eq!(names_this_machine(asked, name), shown, "{asked}");
        }
    }

    /// Newcomer B15: the page said ok while nothing was released to a peer.
    #[test]
    fn a_hindered_node_is_not_ok_on_the_page() {
        let problem = || Problem {
            kind: ProblemKind::Disk,
            what: "release is stopped".to_owned(),
            remedy: "resume it",
        };
        let page = |problems: usize, hindrances: usize| {
            let page = HealthPage::from(Health {
                problems: (0..problems).map(|_| problem()).collect(),
                hindrances: (0..hindrances).map(|_| problem()).collect(),
            });
            (page.ok, page.state)
        };
        assert_eq!(page(0, 0), (true, "ok"));
        assert_eq!(page(0, 1), (false, "hindered"));
        assert_eq!(page(1, 0), (false, "failing"));
    }

    #[test]
    fn a_filter_of_portcullis_means_every_crate_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = Arc::new(file.reopen().unwrap());
        let filter = EnvFilter::new("portcullis=debug");
        let (log, _) = log(filter, LogFormat::Human, Arc::default(), written);
        tracing::subscriber::with_default(log, || {
            tracing::debug!(target: "portcullis_exchange::dispatch", "one");
            tracing::debug!(target: "portcullis_store_sqlite", "two");
            tracing::debug!(target: "tonic::transport", "three");
        });
        let written = std::fs::read_to_string(file.path()).unwrap();
        let said = ["one", "two", "three"].map(|word| written.contains(word));
        assert_eq!(said, [true, true, false], "{written}");
    }

    #[test]
    fn the_level_of_a_log_moves_while_it_is_written() {
        for format in [LogFormat::Human, LogFormat::Json] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let written = Arc::new(file.reopen().unwrap());
            let (log, level) = log(of_level(Level::INFO), format, Arc::default(), written);
            tracing::subscriber::with_default(log, || {
                tracing::debug!("before");
                level.reload(of_level(Level::DEBUG)).unwrap();
                tracing::debug!("between");
                level.reload(of_level(Level::ERROR)).unwrap();
                tracing::info!("after");
            });
            let written = std::fs::read_to_string(file.path()).unwrap();
            let said = ["before", "between", "after"].map(|word| written.contains(word));
            assert_eq!(said, [false, true, false], "{written}");
        }
    }
}

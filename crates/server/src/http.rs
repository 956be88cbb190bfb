//! The side port: health for orchestrators, metrics for Prometheus, and a page for people.
//!
//! Read-only, and without a token; see [`crate::ServerOptions::http_listen`] for what it may show.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use axum::response::IntoResponse;
use axum::routing::get;
use envfarm_proto::v1;
use envfarm_rollout::Farm;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{ServeError, telemetry, unary};

#[derive(Clone)]
struct Side {
    farm: Arc<Farm>,
    memory_budget_bytes: u64,
}

pub(crate) async fn serve(
    listener: TcpListener,
    farm: Arc<Farm>,
    memory_budget_bytes: u64,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let app = Router::new()
        .route("/", get(page))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(Side { farm, memory_budget_bytes });
    axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).await.map_err(ServeError::Http)
}

async fn health(State(side): State<Side>) -> (StatusCode, &'static str) {
    if side.farm.draining().borrow().is_some() { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") } else { (StatusCode::OK, "ok\n") }
}

async fn metrics() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::render())
}

async fn page(State(side): State<Side>) -> impl IntoResponse {
    const HEADERS: [(HeaderName, &str); 3] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ];
    (HEADERS, render(&unary::status(&side.farm, side.memory_budget_bytes)))
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>\
<meta name=viewport content='width=device-width'><title>envfarm</title><style>\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}th,td{padding:.25rem .75rem;text-align:right;\
border-bottom:1px solid #8884;font-variant-numeric:tabular-nums}th{font-weight:600}th:first-child,td:first-child{text-align:left}\
.trouble{color:#c33}</style>";

fn render(status: &v1::GetStatusResponse) -> String {
    let mut html = String::from(HEAD);
    let state = if status.draining { "draining" } else { "serving" };
    let budget = match status.memory_budget_bytes {
        0 => String::new(),
        budget => format!(" of {}", bytes(budget)),
    };
    // Writing to a string does not fail.
    let _ = write!(
        html,
        "<h1>envfarm</h1><p>Version {}, {state}, up {}. {} leases; hosts use {}{budget}.</p>\
         <table><tr><th>environment<th>leased slots<th>busy<th>warm<th>waiting<th>episodes<th>steps<th>failures",
        escape(&status.version),
        span(status.uptime_ms),
        status.leases,
        bytes(status.memory_bytes),
    );
    for pool in &status.pools {
        let v1::PoolStatus { leased_slots, busy, warm, waiting, episodes, steps, failures, .. } = pool;
        let name = escape(&pool.environment);
        let _ = write!(html, "<tr><td>{name}<td>{leased_slots}<td>{busy}<td>{warm}<td>{waiting}<td>{episodes}<td>{steps}<td>{failures}");
        if !pool.trouble.is_empty() {
            let _ = write!(html, "<tr><td colspan=8 class=trouble>{name}: {}", escape(&pool.trouble));
        }
    }
    html.push_str("</table><table><tr><th>host<th>state<th>sandboxes<th>served<th>memory<th>age<th>pid");
    for host in status.pools.iter().flat_map(|pool| &pool.hosts) {
        let pid = if host.pid == 0 { String::new() } else { host.pid.to_string() };
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{pid}",
            escape(&host.id),
            escape(&host.state),
            host.sandboxes,
            host.served,
            bytes(host.memory_bytes),
            span(host.age_ms),
        );
    }
    html.push_str("</table></html>");
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0 => "–".to_owned(),
        bytes if bytes < 1 << 30 => format!("{} MiB", bytes.div_ceil(1 << 20)),
        bytes => format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64),
    }
}

fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_pools_and_hosts_and_escapes_names() {
        let host = v1::HostStatus { id: "web-1".into(), memory_bytes: 150 << 20, age_ms: 61_000, pid: 42, ..Default::default() };
        let pool = v1::PoolStatus {
            environment: "<b>web</b>".into(),
            hosts: vec![host],
            trouble: "no browser & no luck".into(),
            ..Default::default()
        };
        let html = render(&v1::GetStatusResponse { pools: vec![pool], memory_budget_bytes: 3 << 30, ..Default::default() });
        for shown in ["&lt;b&gt;web&lt;/b&gt;", "150 MiB", "1 min 1 s", "of 3.0 GiB", "no browser &amp; no luck", "<td>42"] {
            assert!(html.contains(shown), "{shown} in {html}");
        }
        assert!(!html.contains("<b>"));
    }
}

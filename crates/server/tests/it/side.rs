//! The HTTP side port.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::farm::{Served, begin, command, noop, options, run};

async fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: farm\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_turns_from_ok_to_unavailable_when_the_farm_drains() {
    let served = Served::start(options()).await;
    assert!(get(served.http, "/healthz").await.starts_with("HTTP/1.1 200 "));
    served.farm.drain(Duration::ZERO).await;
    let draining = get(served.http, "/healthz").await;
    assert!(draining.starts_with("HTTP/1.1 503 ") && draining.contains("draining"), "{draining}");
}

#[tokio::test]
async fn metrics_count_steps_and_time_them_in_buckets() {
    let (served, _client, mut rollout) = Served::attached(1).await;
    begin(&mut rollout).await;
    run(&mut rollout, command(2, 0, 1, 0, noop())).await;
    let metrics = get(served.http, "/metrics").await;
    for line in [
        "envfarm_steps_total{environment=\"null\"} 1",
        "envfarm_step_seconds_bucket{",
        "envfarm_outcomes_per_message_bucket{",
        "envfarm_streams 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn the_page_shows_the_pool_and_no_lease() {
    let (served, _client, mut rollout) = Served::attached(3).await;
    begin(&mut rollout).await;
    let page = get(served.http, "/").await;
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<td>null<td>3<td>1"), "{page}");
    assert!(!page.contains(&rollout.lease.id));
}

//! How the farm and the server end.

use std::time::Duration;

use envfarm_core::FailureCode;
use envfarm_proto::{Client, ClientError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::farm::{ANY, Served, begin, command, failure, noop, options, run, transition};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_drain_is_told_lets_episodes_run_and_refuses_new_ones() {
    let (served, client, mut rollout) = Served::attached(2).await;
    begin(&mut rollout).await;
    let drain = tokio::spawn({
        let farm = served.farm.clone();
        async move { farm.drain(Duration::from_secs(60)).await }
    });
    let mut draining = served.farm.draining();
    timeout(SOON, draining.wait_for(Option::is_some)).await.unwrap().unwrap();

    transition(run(&mut rollout, command(2, 0, 1, 0, noop())).await);
    let notice = rollout.receiver.take_notice().expect("a notice before the next outcome");
    assert!(notice.draining && (1..=60_000).contains(&notice.deadline_ms), "{notice:?}");
    let refused = failure(run(&mut rollout, command(3, 0, 1, 1, crate::farm::reset("noop"))).await);
    assert_eq!(refused.code, FailureCode::ShuttingDown);
    let Err(ClientError::Status(status)) = client.acquire("other", "null", 1, Duration::ZERO).await else { panic!("granted") };
    assert_eq!(status.code(), Code::Unavailable);

    served.farm.drain(Duration::ZERO).await;
    timeout(SOON, drain).await.unwrap().unwrap();
    let mut outcomes = Vec::new();
    let ended = timeout(SOON, rollout.recv_many(&mut outcomes)).await.unwrap();
    assert!(matches!(&ended, Err(ClientError::Status(status)) if status.code() == Code::Unavailable), "{ended:?}");
}

#[tokio::test]
async fn shutdown_ends_streams_and_the_server() {
    let (served, _client, mut rollout) = Served::attached(1).await;
    served.shutdown.cancel();
    let mut outcomes = Vec::new();
    let ended = timeout(SOON, rollout.recv_many(&mut outcomes)).await.unwrap();
    assert!(matches!(&ended, Err(ClientError::Status(status)) if status.code() == Code::Unavailable), "{ended:?}");
    timeout(SOON, served.running).await.unwrap().unwrap();
}

/// Takes one connection to `target`, and hangs between the two once told to, as a cable that was pulled would.
async fn cable(target: std::net::SocketAddr, pulled: CancellationToken) -> std::net::SocketAddr {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(target).await.unwrap();
        if pulled.run_until_cancelled(copy_bidirectional(&mut near, &mut far)).await.is_none() {
            std::future::pending::<()>().await;
        }
    });
    addr
}

#[tokio::test]
async fn a_client_that_vanished_is_noticed_and_its_lease_runs_out() {
    let served = Served::start(options()).await;
    let pulled = CancellationToken::new();
    let addr = cable(served.addr, pulled.clone()).await;
    let client = Client::connect(&format!("http://{addr}"), None, None).await.unwrap();
    let lease = client.acquire("test", "null", 1, Duration::from_secs(1)).await.unwrap();
    let mut rollout = client.rollout(&lease.id, &[]).await.unwrap();
    begin(&mut rollout).await;
    pulled.cancel();
    let gone = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        while served.farm.status().leases > 0 {
            ticks.tick().await;
        }
    };
    timeout(Duration::from_secs(40), gone).await.expect("the lease to run out");
}

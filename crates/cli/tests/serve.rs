//! A farm's life, from its ready file to its end, over the null environment.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::os::unix::fs::DirBuilderExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Farm, NULL, PATIENCE, serve, serve_by};
use envfarm_core::TaskRef;
use envfarm_core::command::{Command, Done, Op, Reset, ResetFrom};
use envfarm_proto::{Client, ClientError, Rollout};
use rustix::process::Signal;
use tempfile::TempDir;

/// A session with one running episode that does not end by itself.
async fn running_episode(client: &Client) -> Rollout {
    let lease = client.acquire("test", "null", 1, Duration::ZERO).await.unwrap();
    let mut rollout = client.rollout(&lease.id, &[]).await.unwrap();
    let from = ResetFrom::Task(TaskRef { id: "noop".to_owned(), seed: 1 });
    let op = Op::Reset(Reset { from, mode: None, step_limit: None, time_limit: None });
    let command = Command { request_id: 1, slot: 0, expected_episode: 0, expected_step: 0, timeout: PATIENCE, observations: None, op };
    rollout.send(vec![command]).await.unwrap();
    let mut outcomes = Vec::new();
    rollout.recv_many(&mut outcomes).await.unwrap();
    assert!(matches!(outcomes[0].result, Ok(Done::Transition(_))), "{:?}", outcomes[0].result);
    rollout
}

#[tokio::test]
async fn it_says_where_it_listens_and_ends_in_order_on_sigint() {
    let mut farm = Farm::start(NULL, &[]).await;
    let environments = farm.client().await.environments().await.unwrap();
    assert_eq!(environments.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["null"]);
    let http = tokio::net::TcpStream::connect(&farm.http).await;
    assert!(http.is_ok(), "{http:?}");

    farm.signal(Signal::INT);
    assert_eq!(farm.ended().await.code(), Some(0));
    assert!(!farm.dir.path().join("ready.json").exists(), "the ready file outlived the farm");
}

#[tokio::test]
async fn it_ends_in_order_on_sigterm() {
    let mut farm = Farm::start(NULL, &[]).await;
    farm.signal(Signal::TERM);
    assert_eq!(farm.ended().await.code(), Some(0));
}

#[tokio::test]
async fn it_ends_in_order_when_its_terminal_goes() {
    let mut farm = Farm::start(NULL, &[]).await;
    farm.signal(Signal::HUP);
    assert_eq!(farm.ended().await.code(), Some(0));
    assert!(!farm.dir.path().join("ready.json").exists(), "the ready file outlived the farm");
}

#[tokio::test]
async fn under_nohup_it_outlives_its_terminal() {
    let dir = TempDir::new().unwrap();
    let mut nohup = tokio::process::Command::new("nohup");
    nohup.arg(env!("CARGO_BIN_EXE_envfarm")).kill_on_drop(true).stdout(Stdio::null()).stderr(Stdio::null());
    let mut farm = Farm::start_by(serve_by(nohup, dir.path(), NULL), dir).await;
    farm.signal(Signal::HUP);
    let client = farm.client().await;
    // Long enough for a farm that heeds it to be gone.
    for _ in 0..50 {
        let lease = client.acquire("test", "null", 1, Duration::ZERO).await.expect("it serves on");
        client.release(&lease.id).await.expect("it serves on");
    }
    farm.signal(Signal::TERM);
    assert_eq!(farm.ended().await.code(), Some(0));
}

#[tokio::test]
async fn without_anyone_to_read_its_log_it_serves_and_ends_in_order() {
    for (args, signal) in [(&[][..], Some(Signal::TERM)), (&["--until-stdin-closes"], None)] {
        let dir = TempDir::new().unwrap();
        let (log, unread) = std::io::pipe().unwrap();
        let mut command = serve(dir.path(), &format!("{NULL}drain_timeout = \"1s\"\n"));
        command.env("RUST_LOG", "debug").stderr(unread).args(args);
        let mut farm = Farm::start_by(command, dir).await;
        drop(log);
        let client = farm.client().await;
        for _ in 0..3 {
            let lease = client.acquire("test", "null", 1, Duration::ZERO).await.unwrap();
            client.release(&lease.id).await.unwrap();
        }
        drop(running_episode(&client).await);
        match signal {
            Some(signal) => farm.signal(signal),
            None => drop(farm.stdin.take()),
        }
        assert_eq!(farm.ended().await.code(), Some(0), "{args:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_of_another_farm_does_not_keep_it_from_starting() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    std::fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    std::fs::create_dir(state.join("farm-broken")).unwrap();
    std::os::unix::fs::symlink("farm-broken.lock", state.join("farm-broken.lock")).unwrap();
    let farm = Farm::start_in(dir, NULL, &[]).await;
    farm.client().await.status().await.unwrap();
}

#[tokio::test]
async fn it_lives_while_stdin_is_open_and_ends_in_order_when_it_closes() {
    let mut farm = Farm::start(NULL, &["--until-stdin-closes"]).await;
    farm.client().await.status().await.unwrap();
    drop(farm.stdin.take());
    assert_eq!(farm.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_idle_lease_does_not_hold_the_end_up() {
    let mut farm = Farm::start(NULL, &[]).await;
    let client = farm.client().await;
    let lease = client.acquire("test", "null", 4, Duration::ZERO).await.unwrap();
    let _rollout = client.rollout(&lease.id, &[]).await.unwrap();
    let told = Instant::now();
    farm.signal(Signal::INT);
    assert_eq!(farm.ended().await.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(15), "it waited for nothing: {:?}", told.elapsed());
}

#[tokio::test]
async fn a_running_episode_gets_its_deadline_and_no_more() {
    let mut farm = Farm::start(&format!("{NULL}drain_timeout = \"1s\"\n"), &[]).await;
    let client = farm.client().await;
    let rollout = running_episode(&client).await;
    farm.signal(Signal::INT);
    let told = Instant::now();
    let drains = async {
        while !client.status().await.unwrap().draining {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, drains).await.expect("the farm never drains");
    let refused = client.acquire("late", "null", 1, Duration::ZERO).await;
    assert!(matches!(&refused, Err(ClientError::Status(status)) if status.code() == tonic::Code::Unavailable), "{refused:?}");
    assert_eq!(farm.ended().await.code(), Some(0));
    assert!(told.elapsed() >= Duration::from_secs(1), "the running episode got no time: {:?}", told.elapsed());
    drop(rollout);
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once() {
    let mut farm = Farm::start(&format!("{NULL}drain_timeout = \"1h\"\n"), &[]).await;
    let client = farm.client().await;
    let _rollout = running_episode(&client).await;
    farm.signal(Signal::INT);
    let drains = async {
        while !client.status().await.unwrap().draining {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, drains).await.expect("the farm never drains");
    farm.signal(Signal::INT);
    assert_eq!(farm.ended().await.code(), Some(0));
}

#[tokio::test]
async fn with_a_token_only_those_who_show_it_are_served() {
    let dir = TempDir::new().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "open-sesame\n").unwrap();
    let farm = Farm::start(NULL, &["--token-file", token.to_str().unwrap()]).await;
    let endpoint = format!("http://{}", farm.grpc);
    for (shown, served) in [(None, false), (Some("open-sesam"), false), (Some("open-sesame"), true)] {
        let client = Client::connect(&endpoint, shown, None).await.unwrap();
        assert_eq!(client.environments().await.is_ok(), served, "{shown:?}");
    }
}

//! A client that holds a lease and steps its slots for ever: for tests that kill it.
//!
//! `holder ENDPOINT ENVIRONMENT TASK SLOTS TTL_MS`; prints `holding` once every slot runs.

#![allow(clippy::unwrap_used, reason = "a part of a test")]

use std::time::Duration;

use envfarm_proto::Client;
use envfarm_tests::{Session, done, session, step_op};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, environment, task, slots, ttl_ms] = arguments.as_slice() else { panic!("five arguments, not {arguments:?}") };
    let (slots, ttl) = (slots.parse().unwrap(), Duration::from_millis(ttl_ms.parse().unwrap()));
    let client = Client::connect(endpoint, None, None).await.unwrap();
    let lease = client.acquire("holder", environment, slots, ttl).await.unwrap();
    let mut session = Session::attach(&client, &lease.id, &[]).await;
    session.all((0..slots).map(|slot| (slot, session::reset_op(task, 1)))).await.into_iter().for_each(|outcome| drop(done(outcome)));
    println!("holding");
    loop {
        session.all((0..slots).map(|slot| (slot, step_op("noop(0)")))).await.into_iter().for_each(|outcome| drop(done(outcome)));
    }
}

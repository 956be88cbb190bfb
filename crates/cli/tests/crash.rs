//! What a farm that was killed leaves behind, and what the next one makes of it. Needs Chromium.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::path::Path;

use common::{Farm, PATIENCE};
use rustix::process::Signal;

const WEB: &str = r#"
farm.state_dir = "STATE"
[environments.web]
backend = "chromium"
suite = "pages"
max_slots = 4
hosts = { min = 2, max = 2, sandboxes = 4 }
pages.tasks = [{ id = "nothing", url = "http://127.0.0.1:9/", goal = "" }]
"#;

/// Processes whose command line names something in `folder`.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let command_line = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("cmdline")).ok();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| command_line(entry.ok()?));
    all.filter(|line| line.contains(folder)).collect()
}

async fn all_hosts_ready(farm: &Farm) {
    let client = farm.client().await;
    let ready = async {
        loop {
            let status = client.status().await.unwrap();
            if status.pools[0].hosts.iter().filter(|host| host.state == "ready").count() == 2 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("the hosts never get ready");
}

#[tokio::test]
async fn a_farm_that_ends_in_order_leaves_no_process_and_no_file() {
    let mut farm = Farm::start(WEB, &[]).await;
    all_hosts_ready(&farm).await;
    let state = farm.dir.path().join("state");
    assert!(!processes_of(&state).is_empty());
    farm.signal(Signal::INT);
    assert_eq!(farm.ended().await.code(), Some(0));
    assert_eq!(processes_of(&state), [""; 0]);
    let left: Vec<_> = std::fs::read_dir(&state).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn hosts_of_a_killed_farm_are_gone_once_the_next_one_is_ready() {
    let mut farm = Farm::start(WEB, &[]).await;
    all_hosts_ready(&farm).await;
    farm.signal(Signal::KILL);
    farm.ended().await;
    let Farm { dir, .. } = farm;
    let orphans = processes_of(&dir.path().join("state"));
    assert!(!orphans.is_empty(), "nothing to collect: this test shows nothing");

    let config = WEB.replace("min = 2", "min = 0");
    let mut next = Farm::start_in(dir, &config, &[]).await;
    let state = next.dir.path().join("state");
    assert_eq!(processes_of(&state), [""; 0]);
    next.signal(Signal::INT);
    assert_eq!(next.ended().await.code(), Some(0));
}

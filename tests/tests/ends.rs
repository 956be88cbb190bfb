//! How a farm ends, in order or not, and that nothing of it is left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;

use envfarm_core::{FailureCode, ObservationKind};
use envfarm_proto::ClientError;
use envfarm_tests::farm::state_of;
use envfarm_tests::session::reset_op;
use envfarm_tests::{Farm, PATIENCE, Session, Site, Web, eventually, failure, process, report, step_op};
use rustix::process::Signal;
use tonic::Code;

fn entries(state: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder and a lock: one farm, and nothing of any other.
fn assert_one_farm(state: &Path) {
    let names = entries(state);
    assert!(names.len() == 2 && names[1] == format!("{}.lock", names[0]), "{names:?}");
}

fn assert_nothing_is_left(state: &Path) {
    assert_eq!(entries(state), Vec::<String>::new());
    assert_eq!(process::of_folder(state), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_farm_leaves_no_browser_once_another_starts() {
    let site = Site::start().await;
    let config = Web { slots: 4, hosts: (2, 2, 4), ..Web::default() }.pages(&site);
    let farm = Farm::start(&config).await;
    farm.until_ready(2).await;
    let mut session = Session::open(&farm.client().await, "web", 4, &[]).await;
    session.all((0..4).map(|slot| (slot, reset_op("counter", 1)))).await;
    let old = farm.processes();
    assert!(old.len() >= 2, "{old:?}");
    farm.signal(Signal::KILL);
    let (_, dir) = farm.ended().await;

    let farm = Farm::start_in(dir, &config).await;
    let left: Vec<_> = farm.processes().into_iter().filter(|pid| old.contains(pid)).collect();
    assert_eq!(left, Vec::<u32>::new(), "of {old:?}");
    assert_one_farm(&farm.state());
    let mut session = Session::open(&farm.client().await, "web", 4, &[]).await;
    session.reset(0, "counter", 1).await;

    farm.signal(Signal::TERM);
    let (status, dir) = farm.ended().await;
    assert_eq!(status.code(), Some(0));
    assert_nothing_is_left(&state_of(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_killed_while_browsers_start_leaves_none_either() {
    let site = Site::start().await;
    let config = Web { hosts: (2, 2, 8), ..Web::default() }.pages(&site);
    let farm = Farm::start(&config).await;
    eventually("a browser starts", PATIENCE, async || (!farm.processes().is_empty()).then_some(())).await;
    farm.signal(Signal::KILL);
    let (_, dir) = farm.ended().await;
    let old = process::of_folder(&state_of(dir.path()));
    let farm = Farm::start_in(dir, &config).await;
    assert!(farm.processes().iter().all(|pid| !old.contains(pid)), "of {old:?}");
    assert_one_farm(&farm.state());
    // Told to stop while its own start.
    farm.signal(Signal::TERM);
    let (status, dir) = farm.ended().await;
    assert_eq!(status.code(), Some(0));
    assert_nothing_is_left(&state_of(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_told_to_stop_says_so_and_ends_what_runs() {
    let site = Site::start().await;
    let farm = Farm::start(&Web { slots: 2, ..Web::default() }.pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 2, &[ObservationKind::Title]).await;
    session.reset(0, "counter", 1).await;
    let long = session.send(0, step_op("noop(20000)")).await;
    farm.signal(Signal::TERM);
    let client = farm.client().await;
    eventually("the farm drains", PATIENCE, async || client.status().await.unwrap().draining.then_some(())).await;
    // No new episode, and what runs is cut short at the deadline of the drain, a second here.
    let refused = failure(session.run(1, reset_op("counter", 1)).await);
    assert_eq!(refused.code, FailureCode::ShuttingDown, "{refused}");
    let cut = failure(session.outcome(long).await);
    assert_eq!(cut.code, FailureCode::ShuttingDown, "{cut}");
    assert!(session.rollout.receiver.take_notice().is_some_and(|notice| notice.draining));
    let mut rest = Vec::new();
    let end = tokio::time::timeout(PATIENCE, session.rollout.recv_many(&mut rest)).await.expect("the stream ends").unwrap_err();
    assert!(matches!(&end, ClientError::Status(status) if status.code() == Code::Unavailable), "{end}");
    drop((session, client));
    let (status, dir) = farm.ended().await;
    assert_eq!(status.code(), Some(0));
    assert_nothing_is_left(&state_of(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_lease_gives_its_pages_back() {
    /// Renderers of a browser without sandboxes: one, of its first window, which may take a while to start.
    const OWN: usize = 1;
    let site = Site::start().await;
    let farm = Farm::start(&Web { slots: 4, warm: 0, hosts: (1, 1, 4), ..Web::default() }.pages(&site)).await;
    let client = farm.client().await;
    let host = farm.until_ready(1).await.remove(0);
    for _ in 0..2 {
        let mut session = Session::open(&client, "web", 4, &[]).await;
        session.all((0..4).map(|slot| (slot, reset_op("counter", 1)))).await;
        assert_eq!(report(&session.reset(0, "counter", 2).await).host, host.id);
        assert!(process::renderers(host.pid).len() > OWN + 2);
        client.release(&session.rollout.lease.id).await.unwrap();
        eventually("its pages are gone", PATIENCE, async || (process::renderers(host.pid).len() <= OWN).then_some(())).await;
    }
    let pool = farm.pool().await;
    assert_eq!((pool.busy, pool.leased_slots, pool.waiting), (0, 0, 0), "{pool:?}");
}

//! What the end-to-end tests share: a farm as a child process, a session that keeps track of its slots, pages of the tests'
//! own, and what `/proc` tells.
//!
//! Every test has its own farm on free ports in a folder of its own, and leaves no process behind, however it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

pub mod cut;
pub mod farm;
pub mod process;
pub mod session;
pub mod site;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

pub use farm::{Farm, NULL, Web};
pub use session::{Session, bid, done, failure, report, step_op, text};
pub use site::Site;

/// Everything is quicker by far, unless the machine is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until there is something to see; how long that took. For what can only be polled.
pub async fn eventually<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> (T, Duration) {
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(seen) = look().await {
            return (seen, began.elapsed());
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
    }
}

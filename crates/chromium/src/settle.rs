//! When a page has come to rest after an action: no load under way, no request in flight, no change in the DOM.
//!
//! Driven by events, with a cap and no fixed wait: a click that changes nothing costs one round trip.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::cdp::{CdpError, Session};
use crate::context::ContextState;
use crate::tab::Tab;

/// Resolves once pending tasks of the page have run and, if they changed the DOM, once it has been quiet for a while.
const QUIET: &str = include_str!("settle.js");

/// How long a page may take to say that it lives.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// An animation by script moves every frame (16 ms), less often where the processor is short.
const REST_QUIET: Duration = Duration::from_millis(60);
const REST_LIMIT: Duration = Duration::from_secs(1);

/// How long settling may take, and what counts as settled.
#[derive(Clone, Copy)]
pub struct Patience {
    /// For the server's first answer to a navigation of the page.
    pub load: Duration,
    /// For everything after it.
    pub cap: Duration,
    /// How long the DOM must not change, once it changed.
    pub quiet: Duration,
}

/// Waits until the active tab is at rest. True if it came to rest.
pub async fn settle(context: &ContextState, patience: Patience) -> bool {
    let answered_by = Instant::now() + patience.load;
    let mut deadline = Instant::now() + patience.cap;
    loop {
        let Some(tab) = context.active() else { return true };
        if tab.navigating() {
            // Chromium holds calls to a page back while its next document is on the way.
            if timeout_at(answered_by, tab.wait_until(|t| !t.navigating())).await.is_err() {
                return false;
            }
            deadline = Instant::now() + patience.cap;
        }
        if timeout_at(deadline, tab.wait_until(|t| t.busy().is_none() || t.navigating())).await.is_err() {
            return false;
        }
        if tab.lost().is_some() {
            // Closed itself: another tab may be the active one now. Crashed: nothing to wait for.
            match context.active() {
                Some(other) if other.target != tab.target => continue,
                _ => return true,
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        if tab.navigating() {
            continue;
        }
        match dom_is_quiet(&tab, patience.quiet, left, false).await {
            Ok(()) => {}
            Err(error) if error.is_gone() || error.is_target_gone() => continue,
            Err(CdpError::Timeout { .. }) if tab.navigating() => continue,
            Err(CdpError::Timeout { .. }) => return false,
            Err(_) => return true,
        }
        let same_tab = context.active().is_some_and(|now| now.target == tab.target);
        if same_tab && tab.busy().is_none() {
            return true;
        }
    }
}

/// Waits until the DOM has not changed for [`REST_QUIET`], at most [`REST_LIMIT`]: longer than `settle`, which lets a page
/// that moves between two frames pass.
pub async fn rest(tab: &Tab) {
    // A page that went away meanwhile, or does not answer, is the next command's affair.
    let _ = dom_is_quiet(tab, REST_QUIET, REST_LIMIT, true).await;
}

async fn dom_is_quiet(tab: &Tab, quiet: Duration, limit: Duration, patient: bool) -> Result<(), CdpError> {
    let frames = tab.frames();
    let Some(main) = frames.main() else { return Ok(()) };
    let mut main = main.clone();
    main.session = main.session.with_limit(limit + ANSWER_LIMIT);
    let expression = format!("({QUIET})({}, {}, {patient})", quiet.as_millis(), limit.as_millis());
    frames.wait_for(&main, &expression, limit).await
}

/// Whether the page answers at all.
pub async fn answers(session: &Session) -> bool {
    answers_within(session, ANSWER_LIMIT).await
}

/// Whether the page answers within `limit`.
pub async fn answers_within(session: &Session, limit: Duration) -> bool {
    session.with_limit(limit).call_raw("Runtime.evaluate", json!({"expression": "0"})).await.is_ok()
}

//! A sandbox's stored state: saving it, putting it back, hashing what a page shows, and looking for leftovers.
//!
//! Cookies travel through CDP; what belongs to an origin (local and session storage, IndexedDB) through a script in a page of
//! that origin, since CDP offers no way to write it without one. To write it, a blank page of the origin is served from here
//! and not from the site, so restoring changes nothing there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envfarm_core::BackendError;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use xxhash_rust::xxh3::xxh3_128;

use crate::act::allowed_url;
use crate::cdp::Session;
use crate::sandbox::ChromiumSandbox;
use crate::tab::{Busy, Tab};

const LOAD_LIMIT: Duration = Duration::from_secs(20);
/// What a saved state may weigh.
const MAX_STATE_BYTES: usize = 64 << 20;

const DUMP: &str = include_str!("storage_dump.js");
const FILL: &str = include_str!("storage_fill.js");
const FINGERPRINT: &str = include_str!("fingerprint.js");
/// Names what an origin has stored; a document without storage (about:blank) has nothing.
const LEFTOVERS: &str = "(async () => {
  const found = [];
  try {
    if (localStorage.length) found.push(`${localStorage.length} local storage keys`);
    if (sessionStorage.length) found.push(`${sessionStorage.length} session storage keys`);
    const databases = await indexedDB.databases();
    if (databases.length) found.push(`${databases.length} databases`);
  } catch {}
  if (history.length > 2) found.push(`${history.length} history entries`);
  return found;
})()";

#[derive(Serialize, Deserialize)]
struct State {
    cookies: Vec<Value>,
    tabs: Vec<TabState>,
    active: usize,
}

#[derive(Serialize, Deserialize)]
struct TabState {
    url: String,
    scroll: (f64, f64),
    /// Of the tab's frames, one entry an origin.
    origins: Vec<OriginState>,
}

#[derive(Serialize, Deserialize, Clone)]
struct OriginState {
    origin: String,
    local: Vec<(String, String)>,
    session: Vec<(String, String)>,
    databases: Value,
    #[serde(default)]
    scroll: (f64, f64),
}

async fn evaluate(session: &Session, context: Option<i64>, expression: &str) -> Result<Value, BackendError> {
    let mut params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
    if let Some(context) = context {
        params["contextId"] = context.into();
    }
    let mut answer: Value = session.call_as("Runtime.evaluate", params).await?;
    match answer.get("exceptionDetails") {
        Some(details) => Err(BackendError::Protocol(format!("storage script: {}", details["exception"]["description"]))),
        None => Ok(answer["result"]["value"].take()),
    }
}

/// A script context of our own in a frame, which the page's scripts cannot reach.
async fn isolated(session: &Session, frame: &str) -> Result<i64, BackendError> {
    let made: Value = session.call_as("Page.createIsolatedWorld", json!({"frameId": frame, "worldName": "envfarm-storage"})).await?;
    made["executionContextId"].as_i64().ok_or_else(|| BackendError::Protocol("no execution context".to_owned()))
}

/// Cookies, storage of every origin that is open, and the tabs with URL and scroll position.
pub async fn save(browser: &Session, context: &str, tabs: &[Arc<Tab>], active: usize) -> Result<Bytes, BackendError> {
    let cookies: Value = browser.call_as("Storage.getCookies", json!({"browserContextId": context})).await?;
    let mut state = State { cookies: cookies["cookies"].as_array().cloned().unwrap_or_default(), tabs: Vec::new(), active };
    for tab in tabs {
        let mut saved = TabState { url: tab.url(), scroll: (0.0, 0.0), origins: Vec::new() };
        for (i, frame) in tab.frames().frames.iter().enumerate() {
            let world = isolated(&frame.session, &frame.frame_id).await?;
            let dump = evaluate(&frame.session, Some(world), DUMP).await?;
            // A document without an origin (about:blank, a sandboxed frame) stores nothing.
            let Ok(origin) = serde_json::from_value::<OriginState>(dump) else { continue };
            if i == 0 {
                saved.scroll = origin.scroll;
            }
            if !saved.origins.iter().any(|o| o.origin == origin.origin) {
                saved.origins.push(origin);
            }
        }
        state.tabs.push(saved);
    }
    let bytes = serde_json::to_vec(&state).map_err(|e| BackendError::Protocol(format!("encode state: {e}")))?;
    if bytes.len() > MAX_STATE_BYTES {
        return Err(BackendError::Protocol(format!("state of {} bytes is above the limit of {MAX_STATE_BYTES}", bytes.len())));
    }
    Ok(Bytes::from(bytes))
}

/// Puts a saved state into a fresh sandbox.
pub async fn restore(sandbox: &mut ChromiumSandbox, state: &[u8]) -> Result<(), BackendError> {
    let state: State = serde_json::from_slice(state).map_err(|e| BackendError::Protocol(format!("decode state: {e}")))?;
    let cookies: Vec<Value> = state.cookies.iter().map(settable).collect();
    let browser = sandbox.host.browser().clone();
    if !cookies.is_empty() {
        let params = json!({"cookies": cookies, "browserContextId": sandbox.context.id});
        browser.call_raw("Storage.setCookies", params).await?;
    }
    for (i, saved) in state.tabs.iter().enumerate() {
        if i > 0 {
            sandbox.new_tab("about:blank").await.map_err(|e| BackendError::Protocol(format!("open tab: {e:?}")))?;
        }
        let tab = sandbox.context.active().ok_or_else(|| BackendError::SandboxLost("no tab is open".to_owned()))?;
        for origin in saved.origins.iter().filter(|o| allowed_url(&o.origin)) {
            fill_origin(&tab, origin).await?;
        }
        if allowed_url(&saved.url) {
            load(&tab, &saved.url).await?;
            let (x, y) = saved.scroll;
            let world = isolated(&tab.session, &tab.target).await?;
            evaluate(&tab.session, Some(world), &format!("window.scrollTo({{left: {x}, top: {y}, behavior: 'instant'}})")).await?;
        }
    }
    let (tabs, _) = sandbox.context.tabs();
    if let Some(tab) = tabs.get(state.active) {
        sandbox.context.activate(&tab.target);
    }
    Ok(())
}

/// A cookie as `Storage.setCookies` wants it: what `getCookies` adds is left out, and a session cookie has no expiry.
fn settable(cookie: &Value) -> Value {
    const KEPT: [&str; 10] =
        ["name", "value", "domain", "path", "secure", "httpOnly", "sameSite", "priority", "sourceScheme", "partitionKey"];
    let mut kept: serde_json::Map<String, Value> =
        KEPT.iter().filter_map(|key| cookie.get(*key).map(|value| ((*key).to_owned(), value.clone()))).collect();
    if cookie["session"] == json!(false) {
        kept.insert("expires".to_owned(), cookie["expires"].clone());
    }
    Value::Object(kept)
}

async fn load(tab: &Tab, url: &str) -> Result<(), BackendError> {
    let session = tab.session.with_limit(LOAD_LIMIT);
    let answer: Value = session.call_as("Page.navigate", json!({"url": url})).await?;
    if let Some(error) = answer["errorText"].as_str().filter(|e| !e.is_empty()) {
        return Err(BackendError::Protocol(format!("load {}: {error}", crate::tab::clip(url))));
    }
    timeout(LOAD_LIMIT, tab.wait_until(|t| t.busy() != Some(Busy::Loading)))
        .await
        .map_err(|_| BackendError::Timeout { what: "page load", limit: LOAD_LIMIT })
}

/// Writes one origin's storage from a blank page of that origin, which is answered here instead of by the site.
async fn fill_origin(tab: &Tab, origin: &OriginState) -> Result<(), BackendError> {
    if origin.local.is_empty() && origin.session.is_empty() && origin.databases.as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let url = format!("{}/.envfarm-restore", origin.origin);
    tab.intercept_blank(true);
    tab.session.call_raw("Fetch.enable", json!({"patterns": [{"urlPattern": url}]})).await?;
    let filled = async {
        load(tab, &url).await?;
        let world = isolated(&tab.session, &tab.target).await?;
        let data = serde_json::to_string(origin).map_err(|e| BackendError::Protocol(e.to_string()))?;
        evaluate(&tab.session, Some(world), &format!("({FILL})({data})")).await
    }
    .await;
    tab.intercept_blank(false);
    tab.session.call_raw("Fetch.disable", json!({})).await?;
    filled.map(drop)
}

/// Hash of what the active tab shows: URL and DOM of every frame, form values included, element ids and other marks of ours
/// left out.
pub async fn fingerprint(tab: &Tab) -> Result<String, BackendError> {
    let frames = tab.frames().frames;
    let texts = join_all(frames.iter().map(|frame| async {
        let world = isolated(&frame.session, &frame.frame_id).await?;
        evaluate(&frame.session, Some(world), FINGERPRINT).await
    }))
    .await;
    let mut all = String::new();
    for text in texts {
        all.push_str(text?.as_str().unwrap_or_default());
        all.push('\u{1}');
    }
    Ok(format!("{:032x}", xxh3_128(all.as_bytes())))
}

/// What an earlier episode could have left in this context, in words; empty if nothing.
pub async fn residue(browser: &Session, context: &str, tab: &Tab, tabs: usize) -> Result<Vec<String>, BackendError> {
    let params = json!({"browserContextId": context});
    let (cookies, stored) = futures::join!(browser.call_as::<Value>("Storage.getCookies", params), evaluate(&tab.session, None, LEFTOVERS));
    let mut found: Vec<String> = serde_json::from_value(stored?).unwrap_or_default();
    match cookies?["cookies"].as_array().map_or(0, Vec::len) {
        0 => {}
        n => found.push(format!("{n} cookies")),
    }
    if tabs != 1 {
        found.push(format!("{tabs} tabs"));
    }
    Ok(found)
}

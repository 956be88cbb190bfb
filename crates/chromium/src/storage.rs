//! A sandbox's stored state: saving it, putting it back, hashing what a page shows, and looking for leftovers.
//!
//! Cookies travel through CDP; what belongs to an origin (local and session storage, IndexedDB) through a script in a page of
//! that origin, since CDP offers no way to write it without one. To write it, a blank page of the origin is served from here
//! and not from the site, so restoring changes nothing there.
//!
//! What a frame of another site than its page has stored is apart from its origin's own storage, and is not saved.

use std::sync::Arc;

use bytes::Bytes;
use envfarm_core::{BackendError, WebPage};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::act::allowed_url;
use crate::cdp::{CdpError, Session};
use crate::observe::FrameRef;
use crate::sandbox::ChromiumSandbox;
use crate::tab::Tab;

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

#[derive(Serialize, Deserialize)]
struct OriginState {
    origin: String,
    /// JSON for the scripts only: its texts need not be Unicode, nor its depth be bounded.
    stored: String,
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

/// The origin whose storage a frame uses; `None` if it has none, or one apart for the page that holds it.
async fn stores_as(frame: &FrameRef) -> Result<Option<String>, BackendError> {
    let asked = frame.session.call_as::<Value>("Storage.getStorageKey", json!({"frameId": frame.frame_id})).await;
    match asked {
        Ok(answer) => Ok(own_origin(answer["storageKey"].as_str().unwrap_or_default())),
        Err(CdpError::Refused { message, .. }) if message.contains("opaque origin") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The origin of a storage key as Chromium writes it: `https://a.test/`, or `https://a.test/^` and what sets it apart.
fn own_origin(key: &str) -> Option<String> {
    let origin = key.strip_suffix('/')?;
    (origin.starts_with("http") && !key.contains('^')).then(|| origin.to_owned())
}

/// What was read of a frame; nothing of one in a page that cannot be read, since it is not worth the episode.
fn if_readable<T>(frame: &FrameRef, read: Result<T, BackendError>) -> Result<Option<T>, BackendError> {
    match read {
        Err(error) if frame.parent.is_some() && !matches!(error, BackendError::HostLost(_)) => {
            tracing::debug!(%error, "a frame is left out");
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// Cookies, storage of every origin that is open, and the tabs with URL and scroll position.
pub async fn save(browser: &Session, context: &str, tabs: &[Arc<Tab>], active: usize) -> Result<Bytes, BackendError> {
    let cookies: Value = browser.call_as("Storage.getCookies", json!({"browserContextId": context})).await?;
    let mut state = State { cookies: cookies["cookies"].as_array().cloned().unwrap_or_default(), tabs: Vec::new(), active };
    for tab in tabs {
        state.tabs.push(save_tab(tab).await?);
    }
    let bytes = serde_json::to_vec(&state).map_err(|e| BackendError::Protocol(format!("encode state: {e}")))?;
    if bytes.len() > MAX_STATE_BYTES {
        return Err(BackendError::Protocol(format!("state of {} bytes is above the limit of {MAX_STATE_BYTES}", bytes.len())));
    }
    Ok(Bytes::from(bytes))
}

async fn save_tab(tab: &Tab) -> Result<TabState, BackendError> {
    let world = isolated(&tab.session, &tab.target).await?;
    let scroll = evaluate(&tab.session, Some(world), "[scrollX, scrollY]").await?;
    let scroll = serde_json::from_value(scroll).unwrap_or_default();
    let mut saved = TabState { url: tab.url(), scroll, origins: Vec::new() };
    for frame in tab.frames().frames {
        let read = save_frame(&frame, &saved.origins).await;
        saved.origins.extend(if_readable(&frame, read)?.flatten());
    }
    Ok(saved)
}

/// Storage of a frame's origin, unless it is none of its own or among those that are `known`.
async fn save_frame(frame: &FrameRef, known: &[OriginState]) -> Result<Option<OriginState>, BackendError> {
    let origin = stores_as(frame).await?.filter(|origin| known.iter().all(|k| k.origin != *origin));
    let Some(origin) = origin else { return Ok(None) };
    let world = isolated(&frame.session, &frame.frame_id).await?;
    let dump = evaluate(&frame.session, Some(world), DUMP).await?;
    let stored = dump.as_str().ok_or_else(|| BackendError::Protocol("storage script: no text".to_owned()))?.to_owned();
    Ok(Some(OriginState { origin, stored }))
}

/// Puts a saved state into a fresh sandbox, in place of what the set-up of its task left there.
pub async fn restore(sandbox: &mut ChromiumSandbox, state: &[u8]) -> Result<(), BackendError> {
    let state: State = serde_json::from_slice(state).map_err(|e| BackendError::Protocol(format!("decode state: {e}")))?;
    replace_cookies(sandbox, &state.cookies).await?;
    // No page of a site runs before everything is in place.
    let mut tabs = Vec::with_capacity(state.tabs.len());
    for (i, saved) in state.tabs.iter().enumerate() {
        if i > 0 {
            sandbox.new_tab("about:blank").await.map_err(|e| BackendError::Protocol(format!("open tab: {e:?}")))?;
        }
        let tab = sandbox.context.active().ok_or_else(|| BackendError::SandboxLost("no tab is open".to_owned()))?;
        sandbox.navigate("about:blank").await?;
        for origin in saved.origins.iter().filter(|o| allowed_url(&o.origin)) {
            fill_origin(sandbox, &tab, origin).await?;
        }
        tabs.push(tab);
    }
    for (tab, saved) in tabs.iter().zip(&state.tabs) {
        sandbox.context.activate(&tab.target);
        show(sandbox, tab, saved).await?;
    }
    if let Some(tab) = tabs.get(state.active) {
        sandbox.context.activate(&tab.target);
    }
    Ok(())
}

async fn replace_cookies(sandbox: &ChromiumSandbox, cookies: &[Value]) -> Result<(), BackendError> {
    let (browser, context) = (sandbox.host.browser(), &sandbox.context.id);
    browser.call_raw("Storage.clearCookies", json!({"browserContextId": context})).await?;
    if !cookies.is_empty() {
        let cookies: Vec<Value> = cookies.iter().map(settable).collect();
        browser.call_raw("Storage.setCookies", json!({"cookies": cookies, "browserContextId": context})).await?;
    }
    Ok(())
}

/// Loads what the active tab showed, scrolled as it was. The pages that restored it are not part of its history.
async fn show(sandbox: &mut ChromiumSandbox, tab: &Tab, saved: &TabState) -> Result<(), BackendError> {
    if allowed_url(&saved.url) {
        sandbox.visit(&saved.url).await?;
        let (x, y) = saved.scroll;
        let world = isolated(&tab.session, &tab.target).await?;
        evaluate(&tab.session, Some(world), &format!("window.scrollTo({{left: {x}, top: {y}, behavior: 'instant'}})")).await?;
    }
    // Refused while the page goes elsewhere by itself: no reason to fail.
    tab.session.notify("Page.resetNavigationHistory", json!({}));
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

/// Replaces one origin's storage from a blank page of that origin, which is answered here instead of by the site.
async fn fill_origin(sandbox: &mut ChromiumSandbox, tab: &Tab, origin: &OriginState) -> Result<(), BackendError> {
    let url = format!("{}/.envfarm-restore", origin.origin);
    tab.intercept_blank(true);
    tab.session.call_raw("Fetch.enable", json!({"patterns": [{"urlPattern": url}]})).await?;
    let filled = async {
        sandbox.navigate(&url).await?;
        let world = isolated(&tab.session, &tab.target).await?;
        evaluate(&tab.session, Some(world), &format!("({FILL})({})", Value::from(&*origin.stored))).await
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
    for (frame, text) in frames.iter().zip(texts) {
        let text = if_readable(frame, text)?.unwrap_or_default();
        all.push_str(text.as_str().unwrap_or_default());
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

//! One tab as its events tell it: frames, loads, requests in flight, dialogs, crashes.
//!
//! [`Tab`] is the [`EventSink`] of its session. Events update its state in place and wake whoever waits for it; nothing is
//! queued. What a page does unasked (dialogs, downloads, file choosers) is answered here and noted for the agent.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::cdp::{EventSink, Session};
use crate::context::ContextState;
use crate::devtools;
use crate::events::{
    AttachedToTarget, DetachedFromTarget, DialogOpening, DownloadBegins, DragIntercepted, FrameEvent, FrameNavigated, RequestEvent, read,
};
use crate::observe::{FrameRef, FrameTable, Worlds};

/// Requests tracked at once; a page with more in flight is never quiet anyway.
const MAX_TRACKED_REQUESTS: usize = 1024;
/// Frames tracked in one tab; those beyond it exist in the page but are not observed.
const MAX_FRAMES: usize = 256;

/// A page target of a sandbox.
pub struct Tab {
    pub target: String,
    pub session: Session,
    state: Mutex<TabState>,
    changed: Notify,
    context: Arc<ContextState>,
    worlds: Arc<Worlds>,
    tracks_requests: AtomicBool,
}

#[derive(Default)]
struct TabState {
    /// In the order of their appearance, the main frame first.
    frames: Vec<Frame>,
    /// The page itself is on its way to another document, whose server has not answered yet.
    navigating: bool,
    /// Frames between the start of a navigation and the end of its load.
    loading: HashSet<String>,
    /// The document of the page has been parsed.
    parsed: bool,
    requests: HashSet<String>,
    url: String,
    title: String,
    lost: Option<String>,
    crashed: Option<String>,
    drag_data: Option<Box<RawValue>>,
    /// Requests that pause are answered with a blank page: see [`Tab::intercept_blank`].
    answers_blank: bool,
    /// Sessions of frames that live in processes of their own.
    child_sessions: HashMap<String, Session>,
}

struct Frame {
    id: String,
    parent: Option<String>,
}

/// What keeps a tab from being settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    Loading,
    Requests(usize),
}

impl Tab {
    pub fn new(target: String, session: Session, url: String, context: Arc<ContextState>) -> Arc<Self> {
        let main = Frame { id: target.clone(), parent: None };
        let state = TabState { frames: vec![main], url, ..TabState::default() };
        Arc::new(Self {
            target,
            session,
            state: Mutex::new(state),
            changed: Notify::new(),
            context,
            worlds: Arc::default(),
            tracks_requests: AtomicBool::new(false),
        })
    }

    /// Commands that every tab gets before its first use, as (method, parameters). Sent without waiting: a session
    /// answers in order, so whatever comes after them finds them done.
    pub fn prepare(&self, viewport: (u32, u32), dedicated_frames: bool) {
        let none = || json!({});
        self.session.notify("Page.enable", none());
        self.session.notify(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": viewport.0, "height": viewport.1, "deviceScaleFactor": 1, "mobile": false}),
        );
        // Pages of a background tab must behave as if the agent looked at them.
        self.session.notify("Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        self.session.notify("Page.setInterceptFileChooserDialog", json!({"enabled": true}));
        if dedicated_frames {
            self.session.notify("Target.setAutoAttach", json!({"autoAttach": true, "waitForDebuggerOnStart": false, "flatten": true}));
        }
        self.session.notify("Runtime.runIfWaitingForDebugger", none());
    }

    /// From the first call on, requests in flight count for [`Tab::busy`]. Left until an episode acts: the events of a page
    /// load cost a tenth of the load.
    pub fn track_requests(&self) {
        if !self.tracks_requests.swap(true, Ordering::Relaxed) {
            let state = self.state();
            state.child_sessions.values().chain([&self.session]).for_each(enable_network);
        }
    }

    fn state(&self) -> MutexGuard<'_, TabState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn url(&self) -> String {
        self.state().url.clone()
    }

    pub fn title(&self) -> String {
        self.state().title.clone()
    }

    /// Updates what the browser tells of the target.
    pub fn set_info(&self, url: String, title: String) {
        let mut state = self.state();
        state.url = url;
        state.title = title;
    }

    /// Why this tab cannot be used any more, if so.
    pub fn lost(&self) -> Option<String> {
        self.state().lost.clone()
    }

    pub fn mark_lost(&self, why: &str) {
        self.state().lost.get_or_insert_with(|| why.to_owned());
        self.changed.notify_waiters();
    }

    /// Resolves when the page's process died, with what the browser said of it. Calls to such a page are never answered.
    pub async fn crashed(&self) -> String {
        self.told(|state| state.crashed.clone()).await
    }

    /// Resolves when the page cannot be used any more: its process died, or it was closed.
    pub async fn gone(&self) -> String {
        self.told(|state| state.lost.clone()).await
    }

    async fn told(&self, what: impl Fn(&TabState) -> Option<String>) -> String {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let told = what(&self.state());
            if let Some(told) = told {
                return told;
            }
            changed.await;
        }
    }

    pub fn mark_crashed(&self, why: &str) {
        self.state().crashed.get_or_insert_with(|| why.to_owned());
        self.mark_lost(why);
    }

    /// Whether the page waits for the server of its next document.
    pub fn navigating(&self) -> bool {
        self.state().navigating
    }

    /// Whether the page's document is there, if not all that it loads.
    pub fn parsed(&self) -> bool {
        self.state().parsed
    }

    pub fn busy(&self) -> Option<Busy> {
        let state = self.state();
        if !state.loading.is_empty() {
            return Some(Busy::Loading);
        }
        match state.requests.len() {
            0 => None,
            n => Some(Busy::Requests(n)),
        }
    }

    /// Waits until `done` holds; checked at every event of the tab. The caller sets the deadline.
    pub async fn wait_until(&self, mut done: impl FnMut(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the check, so that an event in between is not missed.
            changed.as_mut().enable();
            if done(self) || self.lost().is_some() {
                return;
            }
            changed.await;
        }
    }

    pub fn take_drag_data(&self) -> Option<Box<RawValue>> {
        self.state().drag_data.take()
    }

    /// While on, requests paused by `Fetch.enable` get an empty page; while off they go on to their server.
    pub fn intercept_blank(&self, on: bool) {
        self.state().answers_blank = on;
    }

    /// Forgets loads and requests that never ended, so that one hung picture or poll does not cost every later step its cap.
    pub fn forget_pending(&self) {
        let mut state = self.state();
        state.requests.clear();
        state.loading.clear();
        state.navigating = false;
    }

    /// Hears nothing any more.
    pub fn unlisten(&self) {
        let state = self.state();
        for id in state.child_sessions.values().chain([&self.session]).filter_map(Session::id) {
            self.session.connection().unlisten(id);
        }
    }

    pub fn frames(&self) -> FrameTable {
        let state = self.state();
        let ids: HashMap<&str, usize> = state.frames.iter().enumerate().map(|(i, f)| (f.id.as_str(), i)).collect();
        let frames = state
            .frames
            .iter()
            .map(|frame| FrameRef {
                frame_id: frame.id.clone(),
                session: self.session_of(&state, frame),
                parent: frame.parent.as_deref().and_then(|p| ids.get(p).copied()),
            })
            .collect();
        FrameTable { frames, worlds: self.worlds.clone() }
    }

    /// The session that serves a frame: its own, or that of the nearest ancestor which has one.
    fn session_of(&self, state: &TabState, frame: &Frame) -> Session {
        let mut at = Some(frame);
        while let Some(frame) = at {
            if let Some(session) = state.child_sessions.get(&frame.id) {
                return session.clone();
            }
            at = frame.parent.as_ref().and_then(|p| state.frames.iter().find(|f| f.id == *p));
        }
        self.session.clone()
    }

    fn on_dialog(&self, event: DialogOpening) {
        // An alert can only be accepted; a question is declined, as a user in doubt would; leaving a page is allowed.
        let accept = matches!(event.kind.as_ref(), "alert" | "beforeunload");
        self.session.notify("Page.handleJavaScriptDialog", json!({"accept": accept}));
        let text: String = event.message.chars().take(500).collect();
        let verb = if accept { "accepted" } else { "dismissed" };
        self.context.note(format!("{} dialog {verb}: {text}", event.kind));
    }

    fn on_child(&self, event: AttachedToTarget) {
        let connection = self.session.connection();
        let child = Session::attached(connection.clone(), &event.session_id);
        if event.target_info.kind != "iframe" {
            return;
        }
        child.notify("Page.enable", json!({}));
        child.notify("Target.setAutoAttach", json!({"autoAttach": true, "waitForDebuggerOnStart": false, "flatten": true}));
        if let Some(this) = self.context.tab(&self.target) {
            connection.listen(&event.session_id, this);
        }
        let frame = event.target_info.target_id.into_owned();
        self.worlds.forget(&frame);
        let mut state = self.state();
        if self.tracks_requests.load(Ordering::Relaxed) {
            enable_network(&child);
        }
        state.child_sessions.insert(frame, child);
    }

    /// A frame went, or came back into its parent's process.
    fn on_child_gone(&self, event: DetachedFromTarget) {
        self.session.connection().unlisten(&event.session_id);
        let mut state = self.state();
        let frame = state.child_sessions.iter().find(|(_, s)| s.id() == Some(&*event.session_id)).map(|(frame, _)| frame.clone());
        if let Some(frame) = frame {
            state.child_sessions.remove(&frame);
            self.worlds.forget(&frame);
        }
    }
}

fn enable_network(session: &Session) {
    session.notify("Network.enable", json!({"maxTotalBufferSize": 0, "maxResourceBufferSize": 0, "maxPostDataSize": 0}));
}

impl EventSink for Tab {
    fn event(&self, session: Option<&str>, method: &str, params: &RawValue) {
        match method {
            "Network.requestWillBeSent" => {
                let Some(event) = read::<RequestEvent>(params) else { return };
                // Streams stay open by design: they say nothing about whether the page still loads.
                if matches!(event.kind.as_deref(), Some("EventSource" | "WebSocket" | "Media" | "Ping" | "Prefetch")) {
                    return;
                }
                let mut state = self.state();
                if state.requests.len() < MAX_TRACKED_REQUESTS {
                    state.requests.insert(event.request_id.into_owned());
                }
                return;
            }
            "Network.loadingFinished" | "Network.loadingFailed" => {
                let Some(event) = read::<RequestEvent>(params) else { return };
                self.state().requests.remove(event.request_id.as_ref());
            }
            "Page.frameStartedLoading" | "Page.frameStartedNavigating" => {
                let Some(event) = read::<FrameEvent>(params) else { return };
                if event.navigation_type.as_deref().is_some_and(|t| t.contains("SameDocument") || t.contains("sameDocument")) {
                    return;
                }
                let mut state = self.state();
                // Only a navigation waits for a server: a document that is written by script loads, too.
                state.navigating |= method == "Page.frameStartedNavigating" && event.frame_id == self.target;
                state.loading.insert(event.frame_id.into_owned());
            }
            "Page.frameStoppedLoading" => {
                let Some(event) = read::<FrameEvent>(params) else { return };
                let mut state = self.state();
                state.navigating &= event.frame_id != self.target;
                state.loading.remove(event.frame_id.as_ref());
            }
            "Page.frameAttached" => {
                let Some(event) = read::<FrameEvent>(params) else { return };
                let mut state = self.state();
                if state.frames.len() < MAX_FRAMES && !state.frames.iter().any(|f| f.id == event.frame_id) {
                    state.frames.push(Frame { id: event.frame_id.into_owned(), parent: event.parent_frame_id.map(Cow::into_owned) });
                }
                return;
            }
            "Page.frameDetached" => {
                let Some(event) = read::<FrameEvent>(params) else { return };
                // A swap moves the frame into a process of its own; it stays part of the page.
                if event.reason.as_deref() == Some("swap") {
                    return;
                }
                self.state().remove_frame(&event.frame_id);
            }
            "Page.frameNavigated" => {
                let Some(event) = read::<FrameNavigated>(params) else { return };
                self.worlds.forget(&event.frame.id);
                if devtools::leads_there(&event.frame.url) {
                    self.session.notify("Page.navigate", json!({"url": "about:blank", "frameId": event.frame.id}));
                    self.context.note(format!("left {:?}, which is the farm's own", clip(&event.frame.url)));
                }
                let mut state = self.state();
                if event.frame.parent_id.is_none() && event.frame.id == self.target {
                    state.url = event.frame.url.into_owned();
                    state.navigating = false;
                    state.parsed = false;
                    // Of the document that is gone: some of them never tell their end.
                    state.requests.clear();
                    state.frames.truncate(1);
                    state.child_sessions.clear();
                    let main = self.target.clone();
                    state.loading.retain(|f| *f == main);
                } else {
                    let children: Vec<String> =
                        state.frames.iter().filter(|f| f.parent.as_deref() == Some(&event.frame.id)).map(|f| f.id.clone()).collect();
                    for child in children {
                        state.remove_frame(&child);
                    }
                }
            }
            "Page.domContentEventFired" if session == self.session.id() => self.state().parsed = true,
            "Page.navigatedWithinDocument" | "Page.loadEventFired" | "Page.domContentEventFired" => {}
            "Page.javascriptDialogOpening" => {
                if let Some(event) = read::<DialogOpening>(params) {
                    self.on_dialog(event);
                }
            }
            "Page.downloadWillBegin" => {
                if let Some(event) = read::<DownloadBegins>(params) {
                    self.context.note(format!("download of {} refused: {}", event.suggested_filename, clip(&event.url)));
                }
            }
            "Page.fileChooserOpened" => {
                self.context.note("a file chooser opened and was closed: use upload_file on the element".to_owned());
            }
            "Input.dragIntercepted" => {
                if let Some(event) = read::<DragIntercepted>(params) {
                    self.state().drag_data = Some(event.data);
                }
            }
            "Fetch.requestPaused" => {
                let Some(event) = read::<RequestEvent>(params) else { return };
                if self.state().answers_blank {
                    let headers = json!([{"name": "content-type", "value": "text/html"}]);
                    self.session.notify(
                        "Fetch.fulfillRequest",
                        json!({"requestId": event.request_id, "responseCode": 200, "responseHeaders": headers, "body": ""}),
                    );
                } else {
                    self.session.notify("Fetch.continueRequest", json!({"requestId": event.request_id}));
                }
                return;
            }
            "Inspector.targetCrashed" if session == self.session.id() => self.mark_crashed("the page's process crashed"),
            "Target.attachedToTarget" => {
                if let Some(event) = read::<AttachedToTarget>(params) {
                    self.on_child(event);
                }
            }
            "Target.detachedFromTarget" => {
                if let Some(event) = read::<DetachedFromTarget>(params) {
                    self.on_child_gone(event);
                }
            }
            _ => return,
        }
        self.changed.notify_waiters();
    }
}

impl TabState {
    fn remove_frame(&mut self, id: &str) {
        let mut gone = vec![id.to_owned()];
        while let Some(id) = gone.pop() {
            self.loading.remove(&id);
            self.child_sessions.remove(&id);
            self.frames.retain(|f| f.id != id || f.parent.is_none());
            gone.extend(self.frames.iter().filter(|f| f.parent.as_deref() == Some(id.as_str())).map(|f| f.id.clone()));
        }
    }
}

/// A URL short enough for a note.
pub fn clip(url: &str) -> String {
    match url.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &url[..at]),
        None => url.to_owned(),
    }
}

//! One browser context as its browser tells it: which tabs it has, which is active, what happened on the side.
//!
//! A [`ContextState`] is shared by the sandbox, its tabs and the browser's event sink ([`BrowserEvents`]), which attaches to
//! every page that appears in the context, popups included, and closes those beyond the bound.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dashmap::DashMap;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::cdp::{Connection, EventSink, Session};
use crate::events::{AttachedToTarget, TargetInfo};
use crate::tab::{Tab, clip};

/// Tabs that a sandbox may have; a page that opens more has them closed.
pub const MAX_TABS: usize = 16;
/// Notes kept for one action.
const MAX_NOTES: usize = 32;

pub struct ContextState {
    /// CDP's browserContextId.
    pub id: String,
    viewport: (u32, u32),
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    /// In the order in which they were opened.
    tabs: Vec<Arc<Tab>>,
    /// Target id of the active tab.
    active: String,
    notes: Vec<String>,
    notes_dropped: usize,
    /// The context is being disposed of: new pages are nobody's.
    closing: bool,
}

impl ContextState {
    pub fn new(id: String, viewport: (u32, u32)) -> Arc<Self> {
        Arc::new(Self { id, viewport, inner: Mutex::default(), changed: Notify::new() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn viewport(&self) -> (u32, u32) {
        self.viewport
    }

    /// All tabs in order, and the index of the active one. Empty while the context has none.
    pub fn tabs(&self) -> (Vec<Arc<Tab>>, usize) {
        let inner = self.inner();
        let active = inner.tabs.iter().position(|t| t.target == inner.active).unwrap_or(inner.tabs.len().saturating_sub(1));
        (inner.tabs.clone(), active)
    }

    pub fn tab(&self, target: &str) -> Option<Arc<Tab>> {
        self.inner().tabs.iter().find(|t| t.target == target).cloned()
    }

    pub fn active(&self) -> Option<Arc<Tab>> {
        let (tabs, active) = self.tabs();
        tabs.get(active).cloned()
    }

    pub fn activate(&self, target: &str) {
        self.inner().active = target.to_owned();
    }

    /// Waits until `done` holds; checked whenever a tab comes or goes. The caller sets the deadline.
    pub async fn wait_until(&self, mut done: impl FnMut(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if done(self) {
                return;
            }
            changed.await;
        }
    }

    /// Remembers something that happened on the side, for the result of the current action.
    pub fn note(&self, text: String) {
        let mut inner = self.inner();
        if inner.notes.len() < MAX_NOTES {
            inner.notes.push(text);
        } else {
            inner.notes_dropped += 1;
        }
    }

    pub fn take_notes(&self) -> Vec<String> {
        let mut inner = self.inner();
        let mut notes = std::mem::take(&mut inner.notes);
        let dropped = std::mem::take(&mut inner.notes_dropped);
        if dropped > 0 {
            notes.push(format!("and {dropped} more"));
        }
        notes
    }

    /// Marks the context as ending and takes its tabs.
    pub fn close(&self) -> Vec<Arc<Tab>> {
        let mut inner = self.inner();
        inner.closing = true;
        std::mem::take(&mut inner.tabs)
    }

    fn add(&self, tab: Arc<Tab>) -> Admitted {
        let mut inner = self.inner();
        if inner.closing || inner.tabs.len() >= MAX_TABS {
            return Admitted::No;
        }
        // What opens last has the focus, as with a person's browser.
        inner.active = tab.target.clone();
        inner.tabs.push(tab);
        drop(inner);
        self.changed.notify_waiters();
        Admitted::Yes
    }

    fn remove(&self, target: &str) -> Option<Arc<Tab>> {
        let mut inner = self.inner();
        let at = inner.tabs.iter().position(|t| t.target == target)?;
        let tab = inner.tabs.remove(at);
        drop(inner);
        self.changed.notify_waiters();
        Some(tab)
    }
}

enum Admitted {
    Yes,
    No,
}

/// The sink of everything that belongs to no session: targets that come, change, crash and go.
pub struct BrowserEvents {
    connection: std::sync::OnceLock<Weak<Connection>>,
    contexts: DashMap<String, Arc<ContextState>>,
    /// Which context a target is in.
    targets: DashMap<String, Arc<ContextState>>,
    dedicated_frames: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetEvent<'a> {
    #[serde(borrow)]
    target_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    target_info: Option<TargetInfo<'a>>,
    #[serde(borrow)]
    status: Option<std::borrow::Cow<'a, str>>,
}

impl BrowserEvents {
    /// `dedicated_frames`: whether cross-site frames may live in processes of their own in this browser.
    pub fn new(dedicated_frames: bool) -> Arc<Self> {
        Arc::new(Self { connection: std::sync::OnceLock::new(), contexts: DashMap::new(), targets: DashMap::new(), dedicated_frames })
    }

    pub fn bind(&self, connection: &Arc<Connection>) {
        let _ = self.connection.set(Arc::downgrade(connection));
    }

    pub fn register(&self, context: Arc<ContextState>) {
        self.contexts.insert(context.id.clone(), context);
    }

    pub fn forget(&self, context: &ContextState) {
        self.contexts.remove(&context.id);
        self.targets.retain(|_, c| c.id != context.id);
    }

    fn on_attached(&self, event: AttachedToTarget) {
        let Some(connection) = self.connection.get().and_then(Weak::upgrade) else { return };
        let info = event.target_info;
        let context = info.browser_context_id.as_deref().and_then(|id| self.contexts.get(id)).map(|c| c.value().clone());
        let Some(context) = context.filter(|_| info.kind == "page") else {
            // The browser's first window, workers and the like: nobody's business.
            connection.notify(None, "Target.detachFromTarget", json!({"sessionId": event.session_id}));
            return;
        };
        let session = Session::attached(connection.clone(), &event.session_id);
        let target = info.target_id.into_owned();
        let tab = Tab::new(target.clone(), session, info.url.into_owned(), context.clone());
        connection.listen(&event.session_id, tab.clone());
        // A tab beside others was opened by an episode.
        if context.active().is_some() {
            tab.track_requests();
        }
        tab.prepare(context.viewport(), self.dedicated_frames);
        match context.add(tab) {
            Admitted::Yes => {
                self.targets.insert(target, context);
            }
            Admitted::No => {
                connection.unlisten(&event.session_id);
                connection.notify(None, "Target.closeTarget", json!({"targetId": target}));
                context.note(format!("a tab beyond the limit of {MAX_TABS} was closed: {}", clip(&info.title)));
            }
        }
    }

    fn on_gone(&self, target: &str) {
        if let Some((_, context)) = self.targets.remove(target)
            && let Some(tab) = context.remove(target)
        {
            tab.mark_lost("the tab was closed");
            tab.unlisten();
        }
    }
}

impl EventSink for BrowserEvents {
    fn event(&self, _session: Option<&str>, method: &str, params: &RawValue) {
        match method {
            "Target.attachedToTarget" => {
                if let Ok(event) = serde_json::from_str::<AttachedToTarget>(params.get()) {
                    self.on_attached(event);
                }
            }
            "Target.targetInfoChanged" | "Target.targetDestroyed" | "Target.targetCrashed" => {
                let Ok(event) = serde_json::from_str::<TargetEvent>(params.get()) else { return };
                if let Some(info) = event.target_info {
                    let context = self.targets.get(info.target_id.as_ref()).map(|c| c.value().clone());
                    if let Some(tab) = context.and_then(|c| c.tab(&info.target_id)) {
                        tab.set_info(info.url.into_owned(), info.title.into_owned());
                    }
                } else if let Some(target) = event.target_id {
                    match event.status {
                        None => self.on_gone(&target),
                        Some(status) => {
                            let context = self.targets.get(target.as_ref()).map(|c| c.value().clone());
                            if let Some(tab) = context.and_then(|c| c.tab(&target)) {
                                tab.mark_crashed(&format!("the page's process ended: {status}"));
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

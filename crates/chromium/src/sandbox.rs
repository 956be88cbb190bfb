//! A sandbox: one browser context of its own, with its tabs.
//!
//! ```text
//! opened ──act/observe──> opened ──close──> disposed
//!    └── the page's process crashes, or stops answering for good ──> lost: every call says so
//! ```
//!
//! The sandbox owns what an agent's hands are (pointer, keys); what the page does is told by its tabs ([`crate::tab`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use envfarm_core::{Action, ActionResult, ActionStatus, BackendError, Observation, ObservationRequest, Sandbox, SandboxSpec, WebPage};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{timeout, timeout_at};

use crate::act::input::Devices;
use crate::act::{self, ActError, allowed_url};
use crate::cdp::{CdpError, Session};
use crate::context::ContextState;
use crate::host::{ChromiumOptions, HostInner};
use crate::observe::{self, PageState};
use crate::settle::{self, Patience};
use crate::storage;
use crate::tab::{Busy, Tab, clip};

/// How long a fresh page target may take to appear.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// How long a page load of a suite may take.
const NAVIGATE_LIMIT: Duration = Duration::from_secs(20);
/// How long a tab that no longer answers may take to be gone, and how many of them one observation outlives.
const CLOSING_LIMIT: Duration = Duration::from_millis(500);
const CLOSING_TABS: usize = 3;
/// How long a tab in the background may take to tell its title.
const TITLE_LIMIT: Duration = Duration::from_millis(500);
/// How long what a parsed page loads beside itself may then take.
const SUBRESOURCES_LIMIT: Duration = Duration::from_secs(8);
/// How long closing may take; what is left then dies with the host.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How long a page may take to answer once its script was ended.
const UNSTUCK_LIMIT: Duration = Duration::from_secs(5);

pub struct ChromiumSandbox {
    pub(crate) host: Arc<HostInner>,
    pub(crate) context: Arc<ContextState>,
    pub(crate) devices: Devices,
    /// The page that the sandbox waited on before its first episode; no part of any episode's history.
    waiting_page: String,
    disposed: bool,
}

impl ChromiumSandbox {
    pub(crate) async fn open(host: Arc<HostInner>, spec: &SandboxSpec) -> Result<Self, BackendError> {
        let browser = host.browser();
        let made: Value = browser.call_as("Target.createBrowserContext", json!({"disposeOnDetach": true})).await?;
        let id = made["browserContextId"].as_str().ok_or_else(|| BackendError::Protocol("no browserContextId".to_owned()))?.to_owned();
        let context = ContextState::new(id.clone(), spec.viewport);
        host.events().register(context.clone());
        let waiting_page = spec.start_url.clone().unwrap_or_else(|| "about:blank".to_owned());
        let mut sandbox = Self { host, context, devices: Devices::default(), waiting_page, disposed: false };
        // From here on a failure, or a caller that goes away, disposes of the context: see Drop.
        sandbox
            .host
            .browser()
            .notify("Browser.setDownloadBehavior", json!({"behavior": "deny", "browserContextId": id, "eventsEnabled": true}));
        let target = sandbox.create_target(&sandbox.waiting_page.clone()).await?;
        let appeared = sandbox.context.wait_until(|c| c.tab(&target).is_some());
        timeout(OPEN_LIMIT, appeared).await.map_err(|_| BackendError::Timeout { what: "attaching to a new page", limit: OPEN_LIMIT })?;
        // Answers come in order: this one says that the tab is prepared, and that its renderer lives.
        let session = sandbox.live_session()?;
        session.call_raw("Runtime.evaluate", json!({"expression": "0"})).await?;
        sandbox.load_ends(NAVIGATE_LIMIT).await?;
        sandbox.live_tab()?.frames().warm_up().await?;
        Ok(sandbox)
    }

    pub(crate) async fn create_target(&self, url: &str) -> Result<String, CdpError> {
        let (width, height) = self.context.viewport();
        let made: Value = self
            .host
            .browser()
            .call_as("Target.createTarget", json!({"url": url, "browserContextId": self.context.id, "width": width, "height": height}))
            .await?;
        Ok(made["targetId"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn is_waiting_page(&self, url: &str) -> bool {
        self.waiting_page != "about:blank" && url == self.waiting_page
    }

    pub(crate) fn options(&self) -> &ChromiumOptions {
        self.host.options()
    }

    /// Files that the environment offers for uploads, by name.
    pub(crate) fn upload_paths(&self, names: &[String]) -> Result<Vec<PathBuf>, ActError> {
        let folder = self.host.options().uploads.as_ref();
        let refused = |why: String| ActError::Refused(ActionStatus::Refused, why);
        let folder = folder.ok_or_else(|| refused("this environment offers no files to upload".to_owned()))?;
        names
            .iter()
            .map(|name| {
                let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != "..";
                if plain { Ok(folder.join(name)) } else { Err(refused(format!("{name:?} is not a plain file name"))) }
            })
            .collect()
    }

    /// The active tab.
    pub(crate) fn tab(&self) -> Result<Arc<Tab>, ActError> {
        self.context.active().ok_or_else(|| ActError::failed("no tab is open"))
    }

    pub(crate) fn session(&self) -> Result<Session, ActError> {
        Ok(self.tab()?.session.clone())
    }

    /// The active tab for the farm's own work: its loss is the sandbox's.
    fn live_tab(&self) -> Result<Arc<Tab>, BackendError> {
        if self.host.is_closed() {
            return Err(BackendError::HostLost("the browser is gone".to_owned()));
        }
        let tab = self.context.active().ok_or_else(|| BackendError::SandboxLost("no tab is open".to_owned()))?;
        match tab.lost() {
            Some(why) => Err(BackendError::SandboxLost(why)),
            None => Ok(tab),
        }
    }

    fn live_session(&self) -> Result<Session, BackendError> {
        Ok(self.live_tab()?.session.clone())
    }

    /// Waits until the active page is quiet, at most the caps of the options. True if it became quiet.
    pub(crate) async fn settle(&mut self) -> bool {
        let options = self.options();
        let patience = Patience { load: options.load_cap, cap: options.settle_cap, quiet: options.quiet };
        settle::settle(&self.context, patience).await
    }

    /// Waits for the end of the load under way in the active tab, if any; for its pictures and the like not for long.
    async fn load_ends(&mut self, limit: Duration) -> Result<(), BackendError> {
        let tab = self.live_tab()?;
        let loaded = |t: &Tab| t.busy() != Some(Busy::Loading);
        timeout(limit, tab.wait_until(|t| loaded(t) || t.parsed()))
            .await
            .map_err(|_| BackendError::Timeout { what: "page load", limit })?;
        if timeout(SUBRESOURCES_LIMIT, tab.wait_until(loaded)).await.is_err() {
            tab.forget_pending();
        }
        self.live_tab().map(drop)
    }

    /// A tab must be there to look at: one that closed itself is replaced.
    async fn ensure_tab(&mut self) -> Result<(), BackendError> {
        let (tabs, _) = self.context.tabs();
        if !tabs.is_empty() {
            return Ok(());
        }
        self.context.note("the last tab closed itself; an empty one was opened".to_owned());
        match self.new_tab("about:blank").await {
            Ok(()) => Ok(()),
            Err(ActError::Cdp(error)) => Err(error.into()),
            Err(ActError::Refused(_, why)) => Err(BackendError::SandboxLost(why)),
        }
    }

    /// Takes tabs away that ended up where no agent may be, however they got there.
    async fn evict_forbidden(&mut self) -> Option<String> {
        let (tabs, _) = self.context.tabs();
        let mut evicted = None;
        for tab in tabs {
            let url = tab.url();
            // Chromium's own page for a failed load, or a tab that has not yet loaded anything.
            let harmless = url.is_empty() || url.starts_with("chrome-error://");
            if harmless || allowed_url(&url) {
                continue;
            }
            let _ = tab.session.call_raw("Page.navigate", json!({"url": "about:blank"})).await;
            let why = format!("left {:?}: only http, https, about:blank and data: may be opened", clip(&url));
            self.context.note(why.clone());
            evicted = Some(why);
        }
        evicted
    }

    /// After a call that got no answer: ends whatever holds the page. Tells whether the page answers again.
    async fn unstick(&mut self) -> bool {
        let Some(tab) = self.context.active() else { return true };
        let session = tab.session.with_limit(Duration::from_secs(2));
        if tab.busy() == Some(Busy::Loading) {
            // Chromium holds calls to a page back while its next document is on the way: without this one, forever.
            let _ = session.call_raw("Page.stopLoading", json!({})).await;
            self.context.note("a load that did not end was stopped".to_owned());
            if settle::answers(&session).await {
                return true;
            }
        }
        // Handled off the page's main thread, so a script that spins cannot hold it up.
        let _ = session.call_raw("Runtime.terminateExecution", json!({})).await;
        // What it did before may take the browser a while yet (a hundred windows to open, say): an episode is worth the wait.
        settle::answers_within(&session, UNSTUCK_LIMIT).await
    }

    /// Does something with a tab, unless it dies or is closed first: calls to such a page get no answer.
    async fn with_live<T>(&self, tab: &Tab, work: impl Future<Output = T> + Send) -> Result<T, BackendError> {
        tokio::select! {
            biased;
            why = tab.gone() => Err(BackendError::SandboxLost(why)),
            done = work => Ok(done),
        }
    }

    /// Whether a tab of which something was asked in vain has been closed, by its page perhaps: another can be looked at.
    async fn was_closed(&self, tab: &Tab) -> bool {
        let gone = self.context.wait_until(|c| c.tab(&tab.target).is_none());
        !self.host.is_closed() && timeout(CLOSING_LIMIT, gone).await.is_ok()
    }

    /// What became of an action that did not come about, for agent and farm.
    fn judge(&self, error: ActError) -> Result<(ActionStatus, String), BackendError> {
        match error {
            ActError::Refused(status, why) => Ok((status, why)),
            ActError::Cdp(error) if error.is_gone() => Ok((ActionStatus::Failed, "the page changed under the action".to_owned())),
            ActError::Cdp(error) => {
                if let Some(why) = self.context.active().and_then(|t| t.lost()) {
                    return Err(BackendError::SandboxLost(why));
                }
                match error {
                    CdpError::Closed(_) => Err(error.into()),
                    // A click may close its own tab: the answer to its release is then lost, not the sandbox.
                    _ if error.is_target_gone() => Ok((ActionStatus::Ok, String::new())),
                    CdpError::Timeout { limit, .. } => Ok((ActionStatus::TimedOut, format!("the page did not react within {limit:?}"))),
                    CdpError::Refused { message, .. } => Ok((ActionStatus::Failed, message)),
                    // A script of ours threw: the page did what it was not made for.
                    CdpError::Malformed { method: "Runtime.evaluate", reason } => Ok((ActionStatus::Failed, reason)),
                    CdpError::Malformed { .. } => Err(error.into()),
                }
            }
        }
    }

    async fn page_state(&self) -> PageState {
        let (tabs, active) = self.context.tabs();
        // What the browser tells of a target is older than its document's title.
        let title = async |(i, tab): (usize, &Arc<Tab>)| {
            let asked = if i == active { None } else { tab.frames().title(TITLE_LIMIT).await.ok() };
            asked.unwrap_or_else(|| tab.title())
        };
        let titles = join_all(tabs.iter().enumerate().map(title)).await;
        PageState {
            active,
            tabs: tabs.iter().zip(titles).map(|(tab, title)| observe::TabInfo { url: tab.url(), title }).collect(),
            viewport: self.context.viewport(),
        }
    }

    /// Ends the context. Its pages are closed first: disposing of a context with live pages can hang.
    async fn dispose(host: Arc<HostInner>, context: Arc<ContextState>) {
        let ending = async {
            let browser = host.browser().with_limit(CLOSE_LIMIT);
            for tab in context.close() {
                tab.unlisten();
                let _ = browser.call_raw("Target.closeTarget", json!({"targetId": tab.target})).await;
            }
            if let Err(error) = browser.call_raw("Target.disposeBrowserContext", json!({"browserContextId": context.id})).await
                && !host.is_closed()
            {
                tracing::debug!(%error, "browser context was not disposed of");
            }
        };
        let _ = timeout(CLOSE_LIMIT, ending).await;
        host.events().forget(&context);
    }
}

#[async_trait]
impl Sandbox for ChromiumSandbox {
    async fn act(&mut self, action: &Action) -> Result<ActionResult, BackendError> {
        self.context.take_notes();
        self.ensure_tab().await?;
        let mut result = ActionResult::ok();
        let tab = self.live_tab()?;
        tab.track_requests();
        let performed = tokio::select! {
            biased;
            why = tab.crashed() => return Err(BackendError::SandboxLost(why)),
            performed = act::perform(self, action, &mut result) => performed,
        };
        if let Err(error) = performed {
            (result.status, result.error) = self.judge(error)?;
        }
        if result.status == ActionStatus::TimedOut && !self.unstick().await {
            self.live_tab()?;
            return Err(BackendError::SandboxLost("the page does not answer, and its script cannot be ended".to_owned()));
        }
        let began = Instant::now();
        self.ensure_tab().await?;
        if !self.settle().await {
            let tab = self.live_tab()?;
            // Either the page is merely busy, or a script holds it.
            if !settle::answers(&tab.session).await && !self.unstick().await {
                self.live_tab()?;
                return Err(BackendError::SandboxLost("the page does not answer, and its script cannot be ended".to_owned()));
            }
            tab.forget_pending();
            self.context.note(format!("the page was still busy after {:?}", self.options().settle_cap));
        }
        self.ensure_tab().await?;
        if let Some(why) = self.evict_forbidden().await {
            (result.status, result.error) = (ActionStatus::Refused, why);
        }
        self.live_tab()?;
        result.settle_us = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        result.notes = self.context.take_notes();
        Ok(result)
    }

    async fn rest(&mut self) -> Result<(), BackendError> {
        let tab = self.live_tab()?;
        self.with_live(&tab, settle::rest(&tab)).await
    }

    async fn observe(&mut self, want: &ObservationRequest) -> Result<Vec<Observation>, BackendError> {
        let mut tries = 0..CLOSING_TABS;
        loop {
            self.ensure_tab().await?;
            let tab = self.live_tab()?;
            let (frames, state) = (tab.frames(), self.page_state().await);
            let seen = self.with_live(&tab, observe::capture(&frames, &state, want)).await.flatten();
            if seen.is_ok() || !self.was_closed(&tab).await || tries.next().is_none() {
                return seen;
            }
        }
    }

    async fn save_state(&mut self) -> Result<Bytes, BackendError> {
        let tab = self.live_tab()?;
        let (tabs, active) = self.context.tabs();
        self.with_live(&tab, storage::save(self.host.browser(), &self.context.id, &tabs, active)).await?
    }

    async fn restore_state(&mut self, state: &[u8]) -> Result<(), BackendError> {
        storage::restore(self, state).await
    }

    async fn fingerprint(&mut self) -> Result<String, BackendError> {
        let tab = self.live_tab()?;
        self.with_live(&tab, storage::fingerprint(&tab)).await?
    }

    async fn residue(&mut self) -> Result<Vec<String>, BackendError> {
        let tab = self.live_tab()?;
        let (tabs, _) = self.context.tabs();
        self.with_live(&tab, storage::residue(self.host.browser(), &self.context.id, &tab, tabs.len())).await?
    }

    fn web(&mut self) -> Option<&mut dyn WebPage> {
        Some(self)
    }

    async fn close(mut self: Box<Self>) {
        self.disposed = true;
        Self::dispose(self.host.clone(), self.context.clone()).await;
    }
}

impl Drop for ChromiumSandbox {
    /// A sandbox dropped without `close` (its opening failed, its owner was cancelled) is disposed of all the same.
    fn drop(&mut self) {
        if self.disposed || self.host.is_closed() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(Self::dispose(self.host.clone(), self.context.clone()));
        }
    }
}

#[async_trait]
impl WebPage for ChromiumSandbox {
    async fn navigate(&mut self, url: &str) -> Result<(), BackendError> {
        let tab = self.live_tab()?;
        let session = tab.session.with_limit(NAVIGATE_LIMIT);
        let answer = self.with_live(&tab, session.call_as::<Value>("Page.navigate", json!({"url": url}))).await??;
        if let Some(error) = answer["errorText"].as_str().filter(|e| !e.is_empty()) {
            return Err(BackendError::Protocol(format!("load {}: {error}", clip(url))));
        }
        self.load_ends(NAVIGATE_LIMIT).await
    }

    async fn visit(&mut self, url: &str) -> Result<(), BackendError> {
        self.live_tab()?.track_requests();
        self.navigate(url).await?;
        if !self.settle().await {
            self.live_tab()?.forget_pending();
        }
        self.live_tab().map(drop)
    }

    async fn evaluate(&mut self, expression: &str) -> Result<Result<Value, String>, BackendError> {
        self.ensure_tab().await?;
        let tab = self.live_tab()?;
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.with_live(&tab, tab.session.call_as::<Value>("Runtime.evaluate", params)).await;
        let mut answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.is_gone() => return Ok(Err("the page navigated away".to_owned())),
            Ok(Err(_)) | Err(_) if self.was_closed(&tab).await => return Ok(Err("the page closed itself".to_owned())),
            Err(error) => return Err(error),
            Ok(Err(error)) => {
                self.live_tab()?;
                return Err(error.into());
            }
        };
        if let Some(details) = answer.get("exceptionDetails") {
            let text = details["exception"]["description"].as_str().or(details["text"].as_str()).unwrap_or("exception");
            return Ok(Err(text.to_owned()));
        }
        Ok(Ok(answer["result"]["value"].take()))
    }

    async fn url(&mut self) -> Result<String, BackendError> {
        Ok(self.live_tab()?.url())
    }

    async fn start_over(&mut self) -> Result<(), BackendError> {
        let tab = self.live_tab()?;
        std::mem::take(&mut self.devices).let_go(&tab.session);
        Ok(tab.frames().forget_marks().await?)
    }

    async fn only_first_tab(&mut self) -> Result<(), BackendError> {
        let (tabs, _) = self.context.tabs();
        let Some((first, others)) = tabs.split_first() else {
            return self.ensure_tab().await;
        };
        for tab in others {
            self.host.browser().call_raw("Target.closeTarget", json!({"targetId": tab.target})).await?;
        }
        self.context.activate(&first.target);
        if !others.is_empty() {
            let deadline = tokio::time::Instant::now() + OPEN_LIMIT;
            let alone = self.context.wait_until(|c| c.tabs().0.len() <= 1);
            timeout_at(deadline, alone).await.map_err(|_| BackendError::Timeout { what: "closing tabs", limit: OPEN_LIMIT })?;
        }
        Ok(())
    }
}

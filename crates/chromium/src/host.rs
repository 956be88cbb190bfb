//! A host: one Chromium process, carrying many sandboxes over one connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use envfarm_core::traits::Ready;
use envfarm_core::{
    Backend, BackendError, Endpoints, Host, HostSpec, ObservationKind, ObservationSpec, Sandbox, SandboxSpec, SnapshotLevel,
};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::cdp::{CdpError, Connection, Session};
use crate::context::BrowserEvents;
use crate::devtools;
use crate::sandbox::ChromiumSandbox;

/// The role of Chromium's DevTools WebSocket in [`Endpoints::urls`].
pub const CDP_ENDPOINT: &str = "cdp";

/// How often a browser is asked whether it lives, and for how long it may then say nothing at all.
const PULSE: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(6);

#[derive(Clone, Debug)]
pub struct ChromiumOptions {
    /// Program name or path; the headless shell costs half of what full Chromium does.
    pub program: String,
    /// Added to the command line, after our own.
    pub extra_args: Vec<String>,
    /// The longest that a step waits for a server to answer a navigation.
    pub load_cap: Duration,
    /// The longest that a step then waits for a page to come to rest.
    pub settle_cap: Duration,
    /// How long the DOM must not change, once it changed, to count as at rest.
    pub quiet: Duration,
    /// The longest that an action itself may take.
    pub action_cap: Duration,
    /// Folder whose files agents may upload, by name.
    pub uploads: Option<PathBuf>,
    /// Puts cross-site frames into processes of their own: what the web does, at a cost in memory.
    pub site_isolation: bool,
    pub launch_timeout: Duration,
    /// Off only where Chromium can make user namespaces and does not run as root.
    pub no_sandbox: bool,
}

impl Default for ChromiumOptions {
    fn default() -> Self {
        Self {
            program: "chromium-headless-shell".to_owned(),
            extra_args: Vec::new(),
            load_cap: Duration::from_secs(15),
            settle_cap: Duration::from_secs(3),
            quiet: Duration::from_millis(20),
            action_cap: Duration::from_secs(5),
            uploads: None,
            site_isolation: false,
            launch_timeout: Duration::from_secs(20),
            no_sandbox: rustix::process::geteuid().is_root(),
        }
    }
}

pub struct ChromiumBackend {
    options: Arc<ChromiumOptions>,
}

impl ChromiumBackend {
    pub fn new(options: ChromiumOptions) -> Self {
        Self { options: Arc::new(options) }
    }
}

/// The command line, measured flag by flag; see ARCHITECTURE.md for what each group is for.
fn command_line(options: &ChromiumOptions) -> Vec<String> {
    let mut args: Vec<String> = [
        "--headless",
        "--remote-debugging-port=0",
        "--remote-debugging-address=127.0.0.1",
        "--user-data-dir={dir}/profile",
        // Quiet: no first run, no updates, no calls home.
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-domain-reliability",
        "--disable-extensions",
        "--disable-sync",
        "--disable-quic",
        "--metrics-recording-only",
        "--no-pings",
        "--disable-breakpad",
        "--disable-crash-reporter",
        "--password-store=basic",
        "--use-mock-keychain",
        "--mute-audio",
        // Every tab works at full speed: none is in the background here.
        "--disable-background-timer-throttling",
        "--disable-backgrounding-occluded-windows",
        "--disable-renderer-backgrounding",
        "--disable-ipc-flooding-protection",
        "--disable-hang-monitor",
        // The same picture on every machine.
        "--force-color-profile=srgb",
        "--font-render-hinting=none",
        "--lang=en-US",
        // Memory and speed.
        "--in-process-gpu",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--enable-low-end-device-mode",
        "--num-raster-threads=1",
        "--js-flags=--lite-mode --max-old-space-size=512",
        "about:blank",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut disabled = vec![
        "BackForwardCache",
        "AcceptCHFrame",
        "GlobalMediaControls",
        "MediaRouter",
        "OptimizationHints",
        // Scrollbars take room, as on a desktop: text wraps where BrowserGym's does.
        "OverlayScrollbars",
        "PaintHolding",
        "SpareRendererForSitePerProcess",
        "Translate",
        "DialMediaRouteProvider",
        "LazyFrameLoading",
    ];
    if options.site_isolation {
        // Not the headless shell's own choice.
        args.insert(0, "--site-per-process".to_owned());
    } else {
        args.insert(0, "--disable-site-isolation-trials".to_owned());
        disabled.extend(["IsolateOrigins", "site-per-process", "IsolateSandboxedIframes"]);
    }
    args.insert(0, format!("--disable-features={}", disabled.join(",")));
    if options.no_sandbox {
        args.insert(0, "--no-sandbox".to_owned());
    }
    let url = args.pop();
    args.extend(options.extra_args.iter().cloned());
    args.extend(url);
    args
}

#[async_trait]
impl Backend for ChromiumBackend {
    fn host_spec(&self, environment: &str) -> HostSpec {
        HostSpec {
            environment: environment.to_owned(),
            program: self.options.program.clone(),
            args: command_line(&self.options),
            ready: Ready::PortFile { name: "profile/DevToolsActivePort".to_owned() },
            launch_timeout: self.options.launch_timeout,
            ..HostSpec::default()
        }
    }

    async fn connect(&self, endpoints: &Endpoints, cancel: &CancellationToken) -> Result<Arc<dyn Host>, BackendError> {
        let url =
            endpoints.urls.get(CDP_ENDPOINT).ok_or_else(|| BackendError::Protocol(format!("the host has no endpoint {CDP_ENDPOINT:?}")))?;
        let connect = HostInner::connect(url, self.options.clone());
        let inner = cancel.run_until_cancelled(connect).await.ok_or(BackendError::Cancelled)??;
        Ok(Arc::new(ChromiumHost { inner }))
    }

    fn observations(&self) -> Vec<ObservationSpec> {
        ObservationKind::ALL
            .iter()
            .flat_map(|kind| kind.encodings().iter().filter_map(|encoding| ObservationSpec::new(*kind, Some(*encoding))))
            .collect()
    }

    fn snapshot_levels(&self) -> &'static [SnapshotLevel] {
        &[SnapshotLevel::Storage, SnapshotLevel::Replay]
    }
}

/// What the sandboxes of one browser share.
pub struct HostInner {
    browser: Session,
    events: Arc<BrowserEvents>,
    options: Arc<ChromiumOptions>,
    _guard: devtools::Guard,
}

impl HostInner {
    async fn connect(url: &str, options: Arc<ChromiumOptions>) -> Result<Arc<Self>, BackendError> {
        let events = BrowserEvents::new(options.site_isolation);
        let connection = Connection::open(url, events.clone()).await?;
        events.bind(&connection);
        let browser = Session::browser(connection);
        let pages = json!([{"type": "page"}, {"exclude": true}]);
        browser.call_raw("Target.setDiscoverTargets", json!({"discover": true, "filter": pages})).await?;
        // New pages wait until they are prepared. (Not waiting also hangs Chromium when a page opens a popup.)
        let attach = json!({"autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true, "filter": pages});
        browser.call_raw("Target.setAutoAttach", attach).await?;
        tokio::spawn(feel_pulse(browser.clone()));
        Ok(Arc::new(Self { browser, events, options, _guard: devtools::Guard::new(url) }))
    }

    pub fn browser(&self) -> &Session {
        &self.browser
    }

    pub fn events(&self) -> &BrowserEvents {
        &self.events
    }

    pub fn options(&self) -> &ChromiumOptions {
        &self.options
    }

    pub fn is_closed(&self) -> bool {
        self.browser.connection().is_closed()
    }
}

/// Ends the connection to a browser that hangs. Its process lives, so nothing else would tell; and until it is told, every
/// warm sandbox there costs whoever takes it a deadline.
async fn feel_pulse(browser: Session) {
    let connection = browser.connection();
    let mut ticks = interval(PULSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asking = async {
        loop {
            ticks.tick().await;
            let heard = connection.heard();
            let asked = browser.with_limit(SILENCE).call_raw("Browser.getVersion", json!({})).await;
            if matches!(asked, Err(CdpError::Timeout { .. })) && connection.heard() == heard {
                return connection.fail(format!("the browser said nothing for {SILENCE:?}"));
            }
        }
    };
    tokio::select! {
        () = asking => tracing::warn!("a browser hangs; giving it up"),
        () = connection.closed() => {}
    }
}

impl Drop for HostInner {
    /// Tabs hold the connection and the connection its tabs: closing it lets go of both.
    fn drop(&mut self) {
        self.browser.connection().close();
    }
}

struct ChromiumHost {
    inner: Arc<HostInner>,
}

#[async_trait]
impl Host for ChromiumHost {
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, BackendError> {
        Ok(Box::new(ChromiumSandbox::open(self.inner.clone(), spec).await?))
    }

    fn closed(&self) -> WaitForCancellationFutureOwned {
        self.inner.browser().connection().closed()
    }
}

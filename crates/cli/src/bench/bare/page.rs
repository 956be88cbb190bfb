//! One MiniWoB page in a browser context of its own, by bare CDP calls.

use std::sync::Arc;

use anyhow::{Context, bail};
use envfarm_chromium::cdp::Session;
use envfarm_chromium::observe::{self, FrameRef, FrameTable, PageState, TabInfo, Worlds};
use envfarm_core::{Observation, ObservationRequest};
use envfarm_suites::miniwob::{SCORE, VIEWPORT, start_expression};
use futures::future::try_join_all;
use serde_json::{Value, json};

/// A start that finds its document replaced is tried again: the first document of a new page is an empty one.
const START_TRIES: usize = 5;

pub struct Page {
    browser: Session,
    session: Session,
    context: String,
    target: String,
    frames: FrameTable,
    state: PageState,
}

impl Page {
    /// Opens a context on the task's page and starts the task.
    pub async fn open(browser: &Session, url: &str, seed: u64) -> anyhow::Result<Self> {
        let (width, height) = VIEWPORT;
        let made: Value = browser.call_as("Target.createBrowserContext", json!({"disposeOnDetach": true})).await?;
        let context = text(&made, "browserContextId")?;
        let target = json!({"url": url, "browserContextId": context, "width": width, "height": height});
        let made: Value = browser.call_as("Target.createTarget", target).await?;
        let target = text(&made, "targetId")?;
        let attached: Value = browser.call_as("Target.attachToTarget", json!({"targetId": target, "flatten": true})).await?;
        let session = Session::attached(browser.connection().clone(), &text(&attached, "sessionId")?);
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        session.notify("Emulation.setDeviceMetricsOverride", metrics);
        session.notify("Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        let frame = FrameRef { frame_id: target.clone(), session: session.clone(), parent: None };
        let tab = TabInfo { url: url.to_owned(), title: String::new() };
        let page = Self {
            browser: browser.clone(),
            session,
            context,
            target,
            frames: FrameTable { frames: vec![frame], worlds: Arc::<Worlds>::default() },
            state: PageState { active: 0, tabs: vec![tab], viewport: VIEWPORT },
        };
        page.start(seed).await?;
        Ok(page)
    }

    /// Begins another episode in the same page.
    pub async fn restart(&self, seed: u64) -> anyhow::Result<()> {
        self.frames.forget_marks().await?;
        self.start(seed).await
    }

    async fn start(&self, seed: u64) -> anyhow::Result<()> {
        let start = json!({"expression": start_expression(seed), "awaitPromise": true, "returnByValue": true});
        for _ in 0..START_TRIES {
            match self.session.call_as::<Value>("Runtime.evaluate", &start).await {
                Ok(answer) if answer["result"]["value"]["goal"].is_string() => return Ok(()),
                Ok(answer) => bail!("the task did not start: {answer}"),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("the task's page does not stay")
    }

    pub async fn click(&self, (x, y): (u32, u32)) -> anyhow::Result<()> {
        let event = |kind: &str, button: &str, buttons: u8, count: u8| json!({"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": count});
        let events = [event("mouseMoved", "none", 0, 0), event("mousePressed", "left", 1, 1), event("mouseReleased", "left", 0, 1)];
        try_join_all(events.iter().map(|event| self.session.call_raw("Input.dispatchMouseEvent", event))).await?;
        Ok(())
    }

    /// Reads the score; whether the episode is over.
    pub async fn is_over(&self) -> anyhow::Result<bool> {
        let answer: Value = self.session.call_as("Runtime.evaluate", json!({"expression": SCORE, "returnByValue": true})).await?;
        answer["result"]["value"][1].as_bool().context("the page has no score")
    }

    pub async fn observe(&mut self, want: &ObservationRequest) -> anyhow::Result<Vec<Observation>> {
        Ok(observe::capture(&self.frames, &self.state, want).await?)
    }

    pub async fn close(self) {
        // A page that is gone already is as good as closed.
        let _ = self.browser.call_raw("Target.closeTarget", json!({"targetId": self.target})).await;
        let _ = self.browser.call_raw("Target.disposeBrowserContext", json!({"browserContextId": self.context})).await;
    }
}

fn text(answer: &Value, field: &str) -> anyhow::Result<String> {
    Ok(answer[field].as_str().with_context(|| format!("the browser's answer has no {field}"))?.to_owned())
}

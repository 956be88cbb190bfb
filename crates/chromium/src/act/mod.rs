//! Performs typed actions in a sandbox.
//!
//! An action fails in two ways that must not be confused: the agent asked for what cannot be done (an [`ActionResult`] that
//! says why; the episode goes on), or the farm broke (a [`BackendError`]).

mod element;
pub mod input;
mod keys;
mod navigation;

pub use navigation::allowed_url;

use std::time::Duration;

use envfarm_core::action::{Ending, MAX_WAIT_MS};
use envfarm_core::{Action, ActionResult, ActionStatus};
use tokio::time::timeout;

use crate::cdp::CdpError;
use crate::host::ChromiumOptions;
use crate::sandbox::ChromiumSandbox;

/// Why an action did not come about.
#[derive(Debug)]
pub enum ActError {
    /// The agent's or the page's fault.
    Refused(ActionStatus, String),
    Cdp(CdpError),
}

impl ActError {
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Refused(ActionStatus::Failed, reason.into())
    }
}

impl From<CdpError> for ActError {
    fn from(error: CdpError) -> Self {
        Self::Cdp(error)
    }
}

/// Performs one action, or a sequence of them; `result` collects what the agent said. Does not wait for the page to settle
/// except between the members of a sequence.
pub async fn perform(sandbox: &mut ChromiumSandbox, action: &Action, result: &mut ActionResult) -> Result<(), ActError> {
    let actions = match action {
        Action::Sequence(actions) => actions.as_slice(),
        single => std::slice::from_ref(single),
    };
    let mut waits = 0;
    for (i, action) in actions.iter().enumerate() {
        if let Action::Wait { ms } = action {
            waits += ms.min(&MAX_WAIT_MS);
        }
        if waits > MAX_WAIT_MS {
            return Err(ActError::failed(format!("the actions of one step may wait for {MAX_WAIT_MS} ms in all")));
        }
        if i > 0 {
            sandbox.settle().await;
        }
        let limit = limit(action, sandbox.options());
        let late = |_| Err(ActError::Refused(ActionStatus::TimedOut, format!("the page did not react within {limit:?}")));
        let tab = sandbox.tab()?;
        tokio::select! {
            biased;
            done = timeout(limit, one(sandbox, action, result)) => done.unwrap_or_else(late)?,
            // What closes its own tab may never be answered.
            _ = tab.gone() => {}
        }
    }
    Ok(())
}

/// How long one action may take, settling not counted.
fn limit(action: &Action, options: &ChromiumOptions) -> Duration {
    let more = match action {
        Action::Wait { ms } => Duration::from_millis(u64::from(*ms)),
        // A busy farm types slowly, which is not the agent's fault.
        Action::Type { text, .. } => Duration::from_millis(20) * u32::try_from(text.len().min(1000)).unwrap_or_default(),
        Action::Goto { .. } | Action::Back | Action::Forward => options.load_cap,
        _ => Duration::ZERO,
    };
    options.action_cap + more
}

async fn one(sandbox: &mut ChromiumSandbox, action: &Action, result: &mut ActionResult) -> Result<(), ActError> {
    match action {
        Action::Click { target, button, count, modifiers } => {
            let (session, at) = sandbox.aim(target, true).await?;
            Ok(sandbox.devices.click(&session, at, *button, *count, modifiers).await?)
        }
        Action::Hover { target } => {
            let (session, at) = sandbox.aim(target, false).await?;
            Ok(sandbox.devices.move_to(&session, at).await?)
        }
        Action::MouseDown { target, button } | Action::MouseUp { target, button } => {
            let down = matches!(action, Action::MouseDown { .. });
            if let Some(target) = target {
                let (session, at) = sandbox.aim(target, false).await?;
                sandbox.devices.move_to(&session, at).await?;
            }
            let session = sandbox.session()?;
            Ok(sandbox.devices.button(&session, *button, down).await?)
        }
        Action::Drag { from, to } => sandbox.drag(from, to).await,
        Action::Scroll { at, dx, dy } => {
            let (session, at) = match at {
                Some(target) => sandbox.aim(target, false).await?,
                None => (sandbox.session()?, sandbox.devices.pointer),
            };
            Ok(sandbox.devices.wheel(&session, at, *dx, *dy).await?)
        }
        Action::ScrollPages { pages } => {
            let dy = pages * f64::from(sandbox.context.viewport().1);
            sandbox.scroll_page(dy).await
        }
        Action::Fill { target, text } => sandbox.fill(target, text).await,
        Action::Clear { target } => sandbox.fill(target, "").await,
        Action::Type { target, text, clear, press_enter } => {
            if let Some(target) = target {
                let (session, at) = sandbox.aim(target, true).await?;
                sandbox.devices.click(&session, at, envfarm_core::MouseButton::Left, 1, &[]).await?;
            }
            let session = sandbox.session()?;
            if *clear {
                sandbox.devices.press(&session, "Control+a").await?;
                sandbox.devices.press(&session, "Backspace").await?;
            }
            sandbox.devices.type_text(&session, text).await?;
            if *press_enter { sandbox.devices.press(&session, "Enter").await } else { Ok(()) }
        }
        Action::Select { target, options } => sandbox.select(target, options).await,
        Action::SetChecked { target, checked } => sandbox.set_checked(target, *checked).await,
        Action::Focus { target } => sandbox.focus(target).await,
        Action::Press { target, keys } => {
            if let Some(target) = target {
                sandbox.focus(target).await?;
            }
            let session = sandbox.session()?;
            sandbox.devices.press(&session, keys).await
        }
        Action::KeyDown { key } => {
            let session = sandbox.session()?;
            sandbox.devices.key(&session, key, true).await
        }
        Action::KeyUp { key } => {
            let session = sandbox.session()?;
            sandbox.devices.key(&session, key, false).await
        }
        Action::InsertText { text } => Ok(input::insert(&sandbox.session()?, text).await?),
        Action::Upload { target, files } => sandbox.upload(target, files).await,
        Action::Goto { url, new_tab } => sandbox.goto(url, *new_tab).await,
        Action::Back => sandbox.history(-1).await,
        Action::Forward => sandbox.history(1).await,
        Action::NewTab => sandbox.new_tab("about:blank").await,
        Action::CloseTab => sandbox.close_tab().await,
        Action::FocusTab { index } => sandbox.focus_tab(*index).await,
        Action::Wait { ms } => {
            // The agent asked for time to pass: the one sleep that is meant.
            tokio::time::sleep(Duration::from_millis(u64::from(*ms))).await;
            Ok(())
        }
        Action::Answer { text } => {
            result.answer = Some(text.clone());
            Ok(())
        }
        Action::Infeasible { reason } => {
            result.answer = Some(reason.clone());
            result.ending = Some(Ending::Infeasible(reason.clone()));
            Ok(())
        }
        Action::Finish { answer } => {
            result.answer = Some(answer.clone());
            result.ending = Some(Ending::Finished(answer.clone()));
            Ok(())
        }
        Action::Sequence(_) => Err(ActError::Refused(ActionStatus::Unsupported, "a sequence inside a sequence".to_owned())),
    }
}

impl ChromiumSandbox {
    /// Scrolls the page itself, whatever lies in its middle.
    async fn scroll_page(&mut self, dy: f64) -> Result<(), ActError> {
        let frames = self.tab()?.frames();
        let Some(main) = frames.main() else { return Ok(()) };
        let scroll = format!(
            "new Promise((done) => {{ (document.scrollingElement ?? document.documentElement).scrollBy({{top: {dy}, behavior: 'instant'}}); \
             requestAnimationFrame(() => requestAnimationFrame(done)) }})"
        );
        Ok(frames.wait_for(main, &scroll, self.options().action_cap).await?)
    }
}

//! Acting on elements: finding them by id, bringing them into view, and the form controls that a mouse alone cannot drive.

use std::sync::Arc;

use envfarm_core::{ActionStatus, MouseButton, Target};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ActError;
use super::input::insert;
use crate::cdp::Session;
use crate::observe::resolve::{ResolvedElement, resolve};
use crate::sandbox::ChromiumSandbox;
use crate::tab::Tab;

/// CSS pixels that the pointer moves before a drag counts as begun.
const DRAG_STEP: f64 = 8.0;

/// Sets up an element for `Input.insertText`, or sets its value where typing has no meaning (dates, colours, ranges).
/// Gives "insert", "set" or what is wrong.
const PREPARE_FILL: &str =
    concat!("function (text) { return (", include_str!("fill.js"), ")(this, text, ", include_str!("focus.js"), ") }");
const SELECT_OPTIONS: &str = include_str!("select.js");
const IS_CHECKED: &str = "function () {
  if (this instanceof HTMLInputElement && (this.type === 'checkbox' || this.type === 'radio')) return this.checked;
  const aria = Element.prototype.getAttribute.call(this, 'aria-checked');
  return aria === null ? null : aria === 'true';
}";
/// Of a label, its control.
const FOCUS: &str =
    concat!("function () { return (", include_str!("focus.js"), ")(this instanceof HTMLLabelElement && this.control || this) }");

#[derive(Deserialize)]
struct CallAnswer {
    result: RemoteValue,
    #[serde(rename = "exceptionDetails")]
    exception: Option<Value>,
}

#[derive(Deserialize)]
struct RemoteValue {
    #[serde(default)]
    value: Value,
}

/// Calls a function with `this` as the element; its result by value.
async fn call_on(element: &ResolvedElement, function: &str, arguments: &[Value]) -> Result<Value, ActError> {
    let arguments: Vec<Value> = arguments.iter().map(|value| json!({"value": value})).collect();
    let answer: CallAnswer = element
        .session
        .call_as(
            "Runtime.callFunctionOn",
            json!({
                "objectId": element.object_id, "functionDeclaration": function, "arguments": arguments,
                "returnByValue": true, "userGesture": true,
            }),
        )
        .await?;
    match answer.exception {
        Some(details) => Err(ActError::failed(format!("the page threw: {}", details["exception"]["description"]))),
        None => Ok(answer.result.value),
    }
}

fn no_such(id: &str) -> ActError {
    let shown: String = id.chars().take(40).collect();
    ActError::Refused(ActionStatus::NoSuchElement, format!("no element {shown:?} in the page"))
}

impl ChromiumSandbox {
    /// Finds the element of an id in the active tab.
    async fn find(&mut self, id: &str) -> Result<ResolvedElement, ActError> {
        let tab = self.tab()?;
        resolve(&tab.frames(), id).await?.ok_or_else(|| no_such(id))
    }

    /// The element of a target; form controls have no meaning for bare points.
    async fn element(&mut self, target: &Target) -> Result<ResolvedElement, ActError> {
        match target {
            Target::Element(id) => self.find(id).await,
            Target::Pixel { .. } | Target::Point { .. } => {
                Err(ActError::Refused(ActionStatus::Unsupported, "this action wants an element id, not a point".to_owned()))
            }
        }
    }

    /// A point target in CSS pixels of the viewport.
    pub(super) fn point(&self, target: &Target) -> Result<(f64, f64), ActError> {
        let (width, height) = self.context.viewport();
        let (x, y) = match target {
            Target::Pixel { x, y } => (*x, *y),
            Target::Point { x, y } => (x * f64::from(width), y * f64::from(height)),
            Target::Element(id) => return Err(no_such(id)),
        };
        if (0.0..=f64::from(width)).contains(&x) && (0.0..=f64::from(height)).contains(&y) {
            Ok((x, y))
        } else {
            Err(ActError::failed(format!("({x}, {y}) lies outside the viewport of {width}x{height}")))
        }
    }

    /// Where the pointer must go for a target, in viewport pixels, and the session of the tab. With `click`, an element that
    /// cannot take a click is refused.
    pub(super) async fn aim(&mut self, target: &Target, click: bool) -> Result<(Session, (f64, f64)), ActError> {
        let session = self.session()?;
        let Target::Element(id) = target else {
            return Ok((session, self.point(target)?));
        };
        let element = self.find(id).await?;
        let refuse = |why: String| Err(ActError::Refused(ActionStatus::NotInteractable, format!("element {id:?} {why}")));
        if !element.visible {
            return refuse("is not visible".to_owned());
        }
        if click && !element.enabled {
            return refuse("is disabled".to_owned());
        }
        if let Some(other) = element.covered_by.as_ref().filter(|_| click) {
            return refuse(format!("is covered by {other}"));
        }
        Ok((session, (element.x, element.y)))
    }

    pub(super) async fn focus(&mut self, target: &Target) -> Result<(), ActError> {
        let element = self.element(target).await?;
        match call_on(&element, FOCUS, &[]).await? {
            Value::String(why) => Err(ActError::Refused(ActionStatus::NotInteractable, format!("cannot focus the element: {why}"))),
            _ => Ok(()),
        }
    }

    pub(super) async fn fill(&mut self, target: &Target, text: &str) -> Result<(), ActError> {
        let element = self.element(target).await?;
        let verdict = call_on(&element, PREPARE_FILL, &[text.into()]).await?;
        match verdict.as_str().unwrap_or_default() {
            "set" => Ok(()),
            "insert" if text.is_empty() => Ok(self.devices.press(&element.session, "Delete").await?),
            "insert" => Ok(insert(&element.session, text).await?),
            why => Err(ActError::Refused(ActionStatus::NotInteractable, format!("cannot fill the element: {why}"))),
        }
    }

    pub(super) async fn select(&mut self, target: &Target, options: &[String]) -> Result<(), ActError> {
        let element = self.element(target).await?;
        match call_on(&element, SELECT_OPTIONS, &[json!(options)]).await? {
            Value::String(why) => Err(ActError::Refused(ActionStatus::NotInteractable, why)),
            _ => Ok(()),
        }
    }

    pub(super) async fn set_checked(&mut self, target: &Target, checked: bool) -> Result<(), ActError> {
        let element = self.element(target).await?;
        let is = |value: Value| {
            value.as_bool().ok_or_else(|| {
                ActError::Refused(ActionStatus::NotInteractable, "the element is neither a checkbox nor a radio button".to_owned())
            })
        };
        if is(call_on(&element, IS_CHECKED, &[]).await?)? == checked {
            return Ok(());
        }
        // A native box may be hidden behind its label, which a person would click: then the element is clicked by script.
        if element.visible && element.covered_by.is_none() {
            let session = self.session()?;
            self.devices.click(&session, (element.x, element.y), MouseButton::Left, 1, &[]).await?;
        } else {
            call_on(&element, "function () { this.click(); return true; }", &[]).await?;
        }
        match is(call_on(&element, IS_CHECKED, &[]).await?)? == checked {
            true => Ok(()),
            false => Err(ActError::failed("clicking it did not change its state")),
        }
    }

    pub(super) async fn upload(&mut self, target: &Target, files: &[String]) -> Result<(), ActError> {
        let element = self.element_at(target).await?;
        let paths = self.upload_paths(files)?;
        let result = element.session.call_raw("DOM.setFileInputFiles", json!({"files": paths, "objectId": element.object_id})).await;
        match result {
            Err(error) if !error.is_gone() && !error.is_target_gone() => {
                Err(ActError::Refused(ActionStatus::NotInteractable, format!("not a file input: {error}")))
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// An element by id, or the one under a point.
    async fn element_at(&mut self, target: &Target) -> Result<ResolvedElement, ActError> {
        if let Target::Element(_) = target {
            return self.element(target).await;
        }
        let (x, y) = self.point(target)?;
        let session = self.session()?;
        let hit: Value =
            session.call_as("DOM.getNodeForLocation", json!({"x": x as i64, "y": y as i64, "includeUserAgentShadowDOM": false})).await?;
        let found: Value = session.call_as("DOM.resolveNode", json!({"backendNodeId": hit["backendNodeId"]})).await?;
        let object_id = found["object"]["objectId"].as_str().ok_or_else(|| ActError::failed("nothing is there"))?.to_owned();
        Ok(ResolvedElement { session, object_id, x, y, visible: true, enabled: true, editable: false, covered_by: None })
    }

    pub(super) async fn drag(&mut self, from: &Target, to: &Target) -> Result<(), ActError> {
        // Nothing is pressed before both ends are known to be there.
        self.aim(to, false).await?;
        let (session, start) = self.aim(from, false).await?;
        let tab = self.tab()?;
        self.devices.move_to(&session, start).await?;
        let mut drag = Drag { sandbox: self, session, tab, data: None };
        drag.press(start).await?;
        // The way there may scroll the page under the pointer: what is dragged is already in hand.
        let (_, end) = drag.sandbox.aim(to, false).await?;
        drag.carry(start, end).await?;
        drag.drop_at(end).await
    }
}

/// A drag under way. However it ends, and if the action runs out of time, the button comes up and nothing stays in hand.
struct Drag<'s> {
    sandbox: &'s mut ChromiumSandbox,
    session: Session,
    tab: Arc<Tab>,
    /// What native drag and drop carries.
    data: Option<Box<RawValue>>,
}

impl Drag<'_> {
    /// Presses, and moves far enough for a drag to begin with what is under the pointer now.
    async fn press(&mut self, at: (f64, f64)) -> Result<(), ActError> {
        self.tab.take_drag_data();
        // Native drag and drop leaves the page's control; intercepted, its events can be given on.
        self.session.call_raw("Input.setInterceptDrags", json!({"enabled": true})).await?;
        let devices = &mut self.sandbox.devices;
        devices.button(&self.session, MouseButton::Left, true).await?;
        let step = if at.0 < DRAG_STEP { DRAG_STEP } else { -DRAG_STEP };
        Ok(devices.move_to(&self.session, (at.0 + step, at.1)).await?)
    }

    /// Several moves, as of a hand.
    async fn carry(&mut self, start: (f64, f64), end: (f64, f64)) -> Result<(), ActError> {
        for share in [0.1, 0.5, 1.0] {
            let at = (start.0 + (end.0 - start.0) * share, start.1 + (end.1 - start.1) * share);
            self.sandbox.devices.move_to(&self.session, at).await?;
        }
        Ok(())
    }

    async fn drop_at(&mut self, at: (f64, f64)) -> Result<(), ActError> {
        self.data = self.tab.take_drag_data();
        if let Some(data) = &self.data {
            for kind in ["dragEnter", "dragOver", "drop"] {
                self.session.call_raw("Input.dispatchDragEvent", drag_event(kind, at, data)).await?;
            }
        }
        self.data = None;
        Ok(self.sandbox.devices.button(&self.session, MouseButton::Left, false).await?)
    }
}

impl Drop for Drag<'_> {
    fn drop(&mut self) {
        let devices = &mut self.sandbox.devices;
        // A page that believes to be in a drag takes no clicks.
        if let Some(data) = self.data.take().or_else(|| self.tab.take_drag_data()) {
            self.session.notify("Input.dispatchDragEvent", drag_event("dragCancel", devices.pointer, &data));
        }
        devices.release(&self.session, MouseButton::Left);
        self.session.notify("Input.setInterceptDrags", json!({"enabled": false}));
    }
}

fn drag_event(kind: &str, at: (f64, f64), data: &RawValue) -> Value {
    json!({"type": kind, "x": at.0, "y": at.1, "data": data, "modifiers": 0})
}

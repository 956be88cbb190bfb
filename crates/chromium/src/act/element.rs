//! Acting on elements: finding them by id, bringing them into view, and the form controls that a mouse alone cannot drive.

use envfarm_core::{ActionStatus, MouseButton, Target};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ActError;
use super::input::insert;
use crate::cdp::Session;
use crate::observe::resolve::{ResolvedElement, resolve};
use crate::sandbox::ChromiumSandbox;

/// Sets up an element for `Input.insertText`, or sets its value where typing has no meaning (dates, colours, ranges).
/// Gives "insert", "set" or what is wrong.
const PREPARE_FILL: &str = include_str!("fill.js");
const SELECT_OPTIONS: &str = include_str!("select.js");
const IS_CHECKED: &str = "function () {
  if (this instanceof HTMLInputElement && (this.type === 'checkbox' || this.type === 'radio')) return this.checked;
  const aria = this.getAttribute('aria-checked');
  return aria === null ? null : aria === 'true';
}";
const FOCUS: &str = "function () { this.focus(); return true; }";

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
        call_on(&element, FOCUS, &[]).await.map(drop)
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
        let (session, start) = self.aim(from, false).await?;
        // Native drag and drop leaves the page's control; intercepted, its events can be given on.
        session.call_raw("Input.setInterceptDrags", json!({"enabled": true})).await?;
        let result = self.drag_from(&session, start, to).await;
        session.call_raw("Input.setInterceptDrags", json!({"enabled": false})).await?;
        result
    }

    async fn drag_from(&mut self, session: &Session, start: (f64, f64), to: &Target) -> Result<(), ActError> {
        self.devices.move_to(session, start).await?;
        let (_, end) = self.aim(to, false).await?;
        let tab = self.tab()?;
        tab.take_drag_data();
        self.devices.button(session, MouseButton::Left, true).await?;
        // Several moves: libraries start a drag only after a first small one.
        for share in [0.1, 0.5, 1.0] {
            let at = (start.0 + (end.0 - start.0) * share, start.1 + (end.1 - start.1) * share);
            self.devices.move_to(session, at).await?;
        }
        if let Some(data) = tab.take_drag_data() {
            for kind in ["dragEnter", "dragOver", "drop"] {
                let event = json!({"type": kind, "x": end.0, "y": end.1, "data": data, "modifiers": 0});
                session.call_raw("Input.dispatchDragEvent", event).await?;
            }
        }
        Ok(self.devices.button(session, MouseButton::Left, false).await?)
    }
}

//! The isolated worlds in which the helper script lives, one a frame, and the walk that gives elements their ids.
//!
//! A world is found again by the context id that the browser gave it; when its document is gone the call fails, and the
//! world is made anew in the next document. Context ids count from one in every process, so that of a page gone may name
//! the page's own world in the next: navigations take it back, and the helper's name is a secret that no page has defined.
//! The page's own scripts share the DOM with it, but no object.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cdp::{CdpError, Session};

/// Name of the helper in its world.
static NAME: LazyLock<String> = LazyLock::new(|| format!("envfarm_{:016x}", RandomState::new().hash_one(0)));
static HELPER: LazyLock<String> =
    LazyLock::new(|| include_str!("helper.js").replace("globalThis.envfarm", &format!("globalThis.{}", *NAME)));
/// How long one script of ours may run in a page.
const SCRIPT_LIMIT: Duration = Duration::from_secs(5);
/// How long a frame may hold up what is seen of the page around it.
const CHILD_LIMIT: Duration = Duration::from_secs(2);
/// Handles of elements, released when the next one is asked for.
const OBJECT_GROUP: &str = "envfarm";
const EVALUATE: &str = "Runtime.evaluate";

/// Positions in document order of elements with a click handler set by script; only the page's own world sees those.
const HANDLERS: &str = "(()=>{const r=[],a=document.querySelectorAll('*');for(let i=0;i<a.length;i++)\
    if(a[i].onclick&&!a[i].hasAttribute('onclick'))r.push(i);return r})()";
const HANDLERS_LIMIT: Duration = Duration::from_millis(200);

/// A frame of a page, and the session that serves it.
#[derive(Clone)]
pub struct FrameRef {
    pub frame_id: String,
    pub session: Session,
    /// Index of the parent in the table; `None` for the main frame.
    pub parent: Option<usize>,
}

/// All frames of a page, parents before their children, the main frame first.
#[derive(Clone, Default)]
pub struct FrameTable {
    pub frames: Vec<FrameRef>,
    /// Remembered from step to step.
    pub worlds: Arc<Worlds>,
}

impl FrameTable {
    /// The main frame's session; `None` for a page without frames.
    pub fn main(&self) -> Option<&FrameRef> {
        self.frames.first()
    }
}

/// What is remembered of the frames of one page.
#[derive(Default)]
pub struct Worlds(Mutex<HashMap<String, World>>);

#[derive(Clone, Default)]
struct World {
    context: Option<i64>,
    /// Id of the element that holds the frame.
    owner: Option<String>,
}

impl Worlds {
    fn get(&self, frame: &str) -> World {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(frame).cloned().unwrap_or_default()
    }

    fn update(&self, frame: &str, change: impl FnOnce(&mut World)) {
        let mut worlds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(worlds.entry(frame.to_owned()).or_default());
    }

    /// The frame shows another document, perhaps of another process.
    pub fn forget(&self, frame: &str) {
        if let Some(world) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(frame) {
            world.context = None;
        }
    }

    fn keep(&self, frames: &[FrameRef]) {
        let mut worlds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if worlds.len() > frames.len() {
            worlds.retain(|id, _| frames.iter().any(|f| f.frame_id == *id));
        }
    }

    /// Id of the element that holds `frame`, as of the last walk; empty for the main frame.
    pub(super) fn owner(&self, frame: &FrameRef) -> Option<String> {
        match frame.parent {
            None => Some(String::new()),
            Some(_) => self.get(&frame.frame_id).owner,
        }
    }
}

/// What a walk is to find out, beside giving ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkSpec {
    /// Which share of each element shows, and which elements a set-of-marks picture marks.
    pub geometry: bool,
    /// Which elements can be operated.
    pub operable: bool,
}

/// Elements as a walk found them; lists are of ids, separated by spaces.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Walked {
    pub title: String,
    pub scroll: (f64, f64),
    /// Of the whole document.
    pub size: (f64, f64),
    /// Of the viewport.
    pub inner: (f64, f64),
    pub focus: String,
    /// (id, whether its scripts may run, what of it shows) of each frame element.
    pub frames: Vec<(String, bool, Option<[f64; 4]>)>,
    pub ids: String,
    /// Per cent, in the order of `ids`.
    pub shares: String,
    pub flagged: String,
    pub usable: String,
    /// Elements that have a box in the viewport but are hidden by style.
    pub unseen: String,
    /// Elements that show but say nothing, and so may be missing from the accessibility tree.
    pub silent: String,
}

/// A frame after the walk. Without `walked`, no script can run in it.
#[derive(Clone, Debug, Default)]
pub struct MarkedFrame {
    /// Prefix of the ids in the frame, which is the id of the element that holds it.
    pub prefix: String,
    pub walked: Option<Walked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreatedWorld {
    execution_context_id: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Evaluated {
    result: Remote,
    exception_details: Option<Thrown>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remote {
    value: Option<Box<RawValue>>,
    object_id: Option<String>,
}

#[derive(Deserialize)]
struct Thrown {
    text: String,
    exception: Option<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    description: Option<String>,
}

/// What a script's value comes back as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    Json,
    /// What its promise resolves to.
    Awaited,
    Handle,
}

impl Evaluated {
    /// Whether this was a world without the helper, which is then that of another document.
    fn is_elsewhere(&self) -> bool {
        let thrown = self.exception_details.as_ref().and_then(|t| t.exception.as_ref()).and_then(|e| e.description.as_ref());
        thrown.is_some_and(|text| text.starts_with("ReferenceError") && text.contains(NAME.as_str()))
    }

    fn ok(self) -> Result<Remote, CdpError> {
        match self.exception_details {
            None => Ok(self.result),
            Some(thrown) => {
                let reason = thrown.exception.and_then(|e| e.description).unwrap_or(thrown.text);
                Err(CdpError::Malformed { method: EVALUATE, reason })
            }
        }
    }
}

impl FrameTable {
    /// Calls a function of the helper in a frame. The value as JSON.
    pub async fn call<T: DeserializeOwned>(&self, frame: &FrameRef, call: &str) -> Result<T, CdpError> {
        self.json(frame, &format!("{}.{call}", *NAME)).await
    }

    /// Evaluates an expression in the helper's world of a frame. The value as JSON.
    pub async fn evaluate<T: DeserializeOwned>(&self, frame: &FrameRef, expression: &str) -> Result<T, CdpError> {
        self.json(frame, &format!("({}, {expression})", *NAME)).await
    }

    /// The title of the page.
    pub async fn title(&self, limit: Duration) -> Result<String, CdpError> {
        let Some(main) = self.main() else { return Ok(String::new()) };
        let mut main = main.clone();
        main.session = main.session.with_limit(limit);
        self.evaluate(&main, "document.title").await
    }

    async fn json<T: DeserializeOwned>(&self, frame: &FrameRef, expression: &str) -> Result<T, CdpError> {
        let value = self.run(frame, expression, As::Json, SCRIPT_LIMIT).await?.value;
        let text = value.as_ref().map_or("null", |v| v.get());
        serde_json::from_str(text).map_err(|e| CdpError::Malformed { method: EVALUATE, reason: e.to_string() })
    }

    /// Like [`Self::evaluate`], and awaits a promise.
    pub async fn wait_for(&self, frame: &FrameRef, expression: &str, limit: Duration) -> Result<(), CdpError> {
        self.run(frame, &format!("({}, {expression})", *NAME), As::Awaited, limit).await.map(drop)
    }

    /// Like [`Self::call`], for an object: its handle, if there is one.
    pub async fn call_for_handle(&self, frame: &FrameRef, call: &str) -> Result<Option<String>, CdpError> {
        frame.session.notify("Runtime.releaseObjectGroup", json!({"objectGroup": OBJECT_GROUP}));
        Ok(self.run(frame, &format!("{}.{call}", *NAME), As::Handle, SCRIPT_LIMIT).await?.object_id)
    }

    async fn run(&self, frame: &FrameRef, expression: &str, wanted: As, limit: Duration) -> Result<Remote, CdpError> {
        if let Some(context) = self.worlds.get(&frame.frame_id).context {
            match evaluate_in(&frame.session, Some(context), expression, wanted, limit).await {
                Ok(there) if !there.is_elsewhere() => return there.ok(),
                Err(error) if !error.is_gone() => return Err(error),
                _ => self.worlds.forget(&frame.frame_id),
            }
        }
        let context = self.install(frame).await?;
        evaluate_in(&frame.session, Some(context), expression, wanted, limit).await?.ok()
    }

    /// Puts the helper into the main frame ahead of its first use. A page that navigates meanwhile gets it later.
    pub async fn warm_up(&self) -> Result<(), CdpError> {
        match self.main() {
            None => Ok(()),
            Some(main) => match self.install(main).await {
                Err(error) if !error.is_gone() => Err(error),
                _ => Ok(()),
            },
        }
    }

    async fn install(&self, frame: &FrameRef) -> Result<i64, CdpError> {
        let params = json!({"frameId": frame.frame_id, "worldName": NAME.as_str()});
        let context = frame.session.call_as::<CreatedWorld>("Page.createIsolatedWorld", params).await?.execution_context_id;
        evaluate_in(&frame.session, Some(context), &HELPER, As::Json, SCRIPT_LIMIT).await?.ok()?;
        self.worlds.update(&frame.frame_id, |w| w.context = Some(context));
        Ok(context)
    }

    /// Gives ids to the elements of a page of one frame, if its world is there already: in one round trip, whatever is asked
    /// of the page at the same time comes after it. `None` if there is no world yet.
    pub(super) async fn mark_known(&self, spec: WalkSpec) -> Result<Option<MarkedFrame>, CdpError> {
        let Some(main) = self.main() else { return Ok(None) };
        let Some(context) = self.worlds.get(&main.frame_id).context else { return Ok(None) };
        let walked = self.walk(main, "", None, spec).await?;
        // The walk may have had to make a new world.
        let same = self.worlds.get(&main.frame_id).context == Some(context);
        Ok(same.then(|| MarkedFrame { prefix: String::new(), walked: Some(walked) }))
    }

    /// Gives ids to the elements of all frames, parents first. One entry a frame, in the order of the table.
    pub async fn mark(&self, spec: WalkSpec) -> Result<Vec<MarkedFrame>, CdpError> {
        self.worlds.keep(&self.frames);
        let mut done: Vec<MarkedFrame> = Vec::with_capacity(self.frames.len());
        for frame in &self.frames {
            let marked = match frame.parent {
                None => MarkedFrame { prefix: String::new(), walked: Some(self.walk(frame, "", None, spec).await?) },
                Some(parent) => match self.mark_child(frame, parent, &done, spec).await {
                    Err(error @ CdpError::Closed(_)) => return Err(error),
                    // A frame that vanished meanwhile, or whose process hangs, is not part of this moment.
                    outcome => outcome.unwrap_or_default(),
                },
            };
            done.push(marked);
        }
        Ok(done)
    }

    async fn mark_child(&self, frame: &FrameRef, parent: usize, done: &[MarkedFrame], spec: WalkSpec) -> Result<MarkedFrame, CdpError> {
        // A frame in one whose scripts cannot run has no id, and so nothing in it has.
        let Some(Some(outer)) = done.get(parent).map(|d| d.walked.as_ref()) else { return Ok(MarkedFrame::default()) };
        let known = self.worlds.get(&frame.frame_id).owner;
        let holds = |id: &String| outer.frames.iter().any(|(f, ..)| f == id);
        let owner = match known.filter(holds) {
            Some(owner) => owner,
            None => {
                let Some(owner) = self.find_owner(frame, &self.frames[parent]).await? else { return Ok(MarkedFrame::default()) };
                self.worlds.update(&frame.frame_id, |w| w.owner = Some(owner.clone()));
                owner
            }
        };
        let Some((_, runs, clip)) = outer.frames.iter().find(|(f, ..)| *f == owner) else { return Ok(MarkedFrame::default()) };
        let mut frame = frame.clone();
        frame.session = frame.session.with_limit(CHILD_LIMIT);
        let walked = if *runs { Some(self.walk(&frame, &owner, *clip, spec).await?) } else { None };
        Ok(MarkedFrame { prefix: owner, walked })
    }

    /// Id of the element that holds a frame.
    async fn find_owner(&self, frame: &FrameRef, parent: &FrameRef) -> Result<Option<String>, CdpError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Owner {
            backend_node_id: i64,
        }
        #[derive(Deserialize)]
        struct Resolved {
            object: Remote,
        }
        let owner: Owner = parent.session.call_as("DOM.getFrameOwner", json!({"frameId": frame.frame_id})).await?;
        let context = self.worlds.get(&parent.frame_id).context;
        let params = json!({"backendNodeId": owner.backend_node_id, "executionContextId": context});
        let resolved: Resolved = parent.session.call_as("DOM.resolveNode", params).await?;
        let Some(object) = resolved.object.object_id else { return Ok(None) };
        let ask = json!({"objectId": object, "functionDeclaration": "function(){return this.getAttribute('bid')}", "returnByValue": true});
        let answer: Evaluated = parent.session.call_as("Runtime.callFunctionOn", ask).await?;
        parent.session.notify("Runtime.releaseObject", json!({"objectId": object}));
        let value = answer.ok()?.value;
        Ok(value.and_then(|v| serde_json::from_str(v.get()).ok()))
    }

    async fn walk(&self, frame: &FrameRef, prefix: &str, clip: Option<[f64; 4]>, spec: WalkSpec) -> Result<Walked, CdpError> {
        let call = |handlers: &[u32]| {
            let arguments = json!([prefix, spec.geometry, spec.operable, handlers, clip]);
            format!("mark(...{arguments})")
        };
        if !spec.geometry && !spec.operable {
            return self.call(frame, &call(&[])).await;
        }
        // Hardly a page sets handlers as properties: ask at the same time, and walk again for those that do.
        let first = call(&[]);
        let (walked, handlers) = futures::join!(self.call(frame, &first), self.handlers(frame));
        if handlers.is_empty() { walked } else { self.call(frame, &call(&handlers)).await }
    }

    async fn handlers(&self, frame: &FrameRef) -> Vec<u32> {
        // The main world of a frame other than the session's own would need its context: those go without.
        if frame.parent.is_some() {
            return Vec::new();
        }
        let found = evaluate_in(&frame.session, None, HANDLERS, As::Json, HANDLERS_LIMIT).await.and_then(Evaluated::ok);
        // The page's world is the page's to break: then no element counts as handled.
        found.ok().and_then(|r| r.value).and_then(|v| serde_json::from_str(v.get()).ok()).unwrap_or_default()
    }

    /// Takes all ids back, so that an episode which starts in the same document counts from the start.
    pub async fn forget_marks(&self) -> Result<(), CdpError> {
        for frame in &self.frames {
            self.call::<serde::de::IgnoredAny>(frame, "forget()").await?;
            self.worlds.update(&frame.frame_id, |w| w.owner = None);
        }
        Ok(())
    }
}

async fn evaluate_in(
    session: &Session,
    context: Option<i64>,
    expression: &str,
    wanted: As,
    limit: Duration,
) -> Result<Evaluated, CdpError> {
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    let mut params = json!({
        "expression": expression, "returnByValue": wanted != As::Handle, "awaitPromise": wanted == As::Awaited,
        "timeout": millis, "objectGroup": OBJECT_GROUP,
    });
    if let Some(context) = context {
        params["contextId"] = context.into();
    }
    session.call_as(EVALUATE, params).await
}

//! What an agent sees of a page: one capture gives all observations of one moment, and element ids agree in all of them.
//!
//! Elements get their ids from a script in an isolated world ([`world`]); the DOM snapshot and the accessibility trees then
//! carry them. Only what a request needs is computed. [`resolve`] is the way back, from an id to the element.

mod ax;
mod complete;
mod dict;
mod dom;
mod flatten;
mod font;
mod gather;
mod html;
mod merge;
mod picture;
mod python;
pub mod resolve;
mod roles;
#[cfg(test)]
mod tests;
mod webarena;
pub mod world;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use envfarm_core::{BackendError, Observation, ObservationKind, ObservationRequest, ObservationSpec};
use serde_json::json;
use tokio::time::timeout;

use self::ax::Tree;
use self::dict::Extra;
use self::dom::Dom;
use self::gather::{Moment, Plan};
use self::picture::Mark;
pub use self::world::{FrameRef, FrameTable, Walked, Worlds};

/// A capture takes milliseconds, of a huge page seconds; a page that makes it take this long has none.
const CAPTURE_LIMIT: Duration = Duration::from_secs(25);

/// Bytes of a text; more are left out.
const MAX_TEXT: usize = 1 << 20;
/// Bytes of a page's DOM and nodes of its accessibility tree that BrowserGym's object carries; more are left out.
const MAX_DOM: usize = 8 << 20;
const MAX_NODES: usize = 20_000;

/// What the capture has to be told of the page.
#[derive(Clone, Debug, Default)]
pub struct PageState {
    /// Index of the tab that is observed.
    pub active: usize,
    pub tabs: Vec<TabInfo>,
    /// CSS pixels.
    pub viewport: (u32, u32),
}

#[derive(Clone, Debug, Default)]
pub struct TabInfo {
    pub url: String,
    pub title: String,
}

impl PageState {
    fn url(&self) -> &str {
        self.tabs.get(self.active).map_or("", |t| &t.url)
    }
}

/// Takes all observations of `want`, in its order. An observation that cannot be had says why; `Err` means that the page or
/// the browser is lost.
pub async fn capture(frames: &FrameTable, page: &PageState, want: &ObservationRequest) -> Result<Vec<Observation>, BackendError> {
    let plan = Plan::of(want);
    let moment = match timeout(CAPTURE_LIMIT, gather::gather(frames, page, &plan)).await {
        Ok(moment) => moment?,
        Err(_) => Moment::failed(format!("the page did not answer within {CAPTURE_LIMIT:?}")),
    };
    let captured_unix_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_micros() as u64);
    let moment = Arc::new(moment);
    let view = View::new(&moment, frames, page);
    let mut observations = Vec::with_capacity(want.specs.len());
    for spec in &want.specs {
        let data = match spec.kind {
            ObservationKind::ScreenshotSom => marked_picture(&view, &moment, *spec).await,
            _ => view.take(spec, want),
        };
        observations.push(Observation { kind: spec.kind, encoding: spec.encoding, data, captured_unix_us });
    }
    Ok(observations)
}

async fn marked_picture(view: &View<'_>, moment: &Moment, spec: ObservationSpec) -> Result<Bytes, String> {
    let marks = view.marks(spec.scale)?;
    let png = moment.shot(picture::Shot::for_marks(&spec))?;
    let drawn = tokio::task::spawn_blocking(move || picture::draw(&png, &marks, &spec));
    drawn.await.map_err(|e| e.to_string())?.map_err(|e| format!("draw marks: {e}"))
}

/// A moment, parsed as far as the request needs it.
struct View<'m> {
    moment: &'m Moment,
    frames: &'m FrameTable,
    page: &'m PageState,
    doms: Result<Vec<Dom>, String>,
    main: Walked,
    focused: String,
}

impl<'m> View<'m> {
    fn new(moment: &'m Moment, frames: &'m FrameTable, page: &'m PageState) -> Self {
        let marked = moment.marked.as_deref().unwrap_or_default();
        let main = marked.first().and_then(|m| m.walked.clone()).unwrap_or_default();
        // Into frames, as far as the focus goes.
        let mut focused = main.focus.clone();
        while !focused.is_empty()
            && let Some(inner) = marked.iter().find(|m| m.prefix == focused).and_then(|m| m.walked.as_ref())
            && !inner.focus.is_empty()
        {
            focused = inner.focus.clone();
        }
        Self { moment, frames, page, doms: moment.doms(frames), main, focused }
    }

    fn title(&self) -> &str {
        match (&self.moment.marked, &self.moment.title) {
            (Ok(marked), _) if !marked.is_empty() => &self.main.title,
            (_, Some(title)) => title,
            _ => self.page.tabs.get(self.page.active).map_or("", |t| &t.title),
        }
    }

    fn marked(&self) -> Result<&[world::MarkedFrame], String> {
        self.moment.marked.as_deref().map_err(Clone::clone)
    }

    fn doms(&self) -> Result<&[Dom], String> {
        self.marked()?;
        self.doms.as_deref().map_err(Clone::clone)
    }

    fn main_dom(&self) -> Result<&Dom, String> {
        self.doms()?.first().ok_or_else(|| "the page has no document".to_owned())
    }

    fn extras(&self, scale: f32) -> Result<Vec<(&str, Extra)>, String> {
        Ok(dict::extras(self.doms()?, self.marked()?, scale))
    }

    fn marks(&self, scale: f32) -> Result<Vec<Mark>, String> {
        let shown = |e: &Extra| e.set_of_marks == Some(true) && e.visibility.is_some_and(|v| v > 0.0);
        let marks = self.extras(scale)?.into_iter().filter(|(_, e)| shown(e));
        Ok(marks.filter_map(|(id, e)| Some(Mark { id: id.to_owned(), bounds: e.bbox? })).collect())
    }

    /// The accessibility tree of all frames, with ids.
    fn tree(&self) -> Result<Tree<'m>, String> {
        let (doms, marked) = (self.doms()?, self.marked()?);
        let mut trees: Vec<Option<Tree>> = Vec::with_capacity(self.frames.frames.len());
        for (i, raw) in self.moment.trees.iter().enumerate() {
            let raw = match raw {
                Ok(raw) => raw,
                // Without its main frame there is no page; a frame may have gone.
                Err(error) if i == 0 => return Err(error.clone()),
                Err(_) => {
                    trees.push(None);
                    continue;
                }
            };
            let mut tree: Tree = serde_json::from_str(raw.get()).map_err(|e| format!("accessibility tree: {e}"))?;
            let process = self.moment.process_of(i);
            if let Some(dom) = doms.get(process) {
                let silent = marked.get(i).and_then(|m| m.walked.as_ref()).map_or("", |w| &w.silent);
                complete::complete(&mut tree, dom, silent);
            }
            if process > 0 {
                tree.rename(process);
            }
            trees.push(Some(tree));
        }
        Ok(self.join(trees))
    }

    /// Hangs each frame's tree below the element that holds the frame.
    fn join(&self, mut trees: Vec<Option<Tree<'m>>>) -> Tree<'m> {
        for i in (1..trees.len()).rev() {
            let owner = self.moment.prefix(i);
            let Some(inner) = trees[i].take() else { continue };
            if let Some(outer) = self.frames.frames[i].parent.and_then(|p| trees.get_mut(p)).and_then(Option::as_mut)
                && outer.adopt(owner, &inner)
            {
                outer.nodes.extend(inner.nodes);
            }
        }
        trees.into_iter().next().flatten().unwrap_or_default()
    }

    fn take(&self, spec: &ObservationSpec, want: &ObservationRequest) -> Result<Bytes, String> {
        let text = |text: String| Ok(Bytes::from(shorten(text)));
        match spec.kind {
            ObservationKind::Screenshot => self.moment.shot(picture::Shot::plain(spec)),
            ObservationKind::ScreenshotSom => Err("not here".to_owned()),
            ObservationKind::Browsergym => {
                let (mut tree, extras) = (self.tree()?, self.extras(spec.scale)?);
                let mut dom = self.moment.dom_object(self.frames)?;
                let mut left_out = dict::LeftOut { axtree_nodes: tree.shorten(MAX_NODES), dom_bytes: 0 };
                if dom.get().len() > MAX_DOM {
                    left_out.dom_bytes = dom.get().len();
                    dom = dict::no_dom();
                }
                let seen = dict::Seen { dom: &dom, tree: &tree, extras: &extras, focused: &self.focused, title: self.title(), left_out };
                dict::write(&seen, self.page, &want.context).map(Bytes::from).map_err(|e| e.to_string())
            }
            ObservationKind::AxtreeTxt => text(flatten::flatten(&self.tree()?)),
            ObservationKind::WebarenaTxt => {
                let raw = self.moment.trees.first().ok_or("the page has no document")?.as_ref().map_err(Clone::clone)?;
                let tree: Tree = serde_json::from_str(raw.get()).map_err(|e| format!("accessibility tree: {e}"))?;
                text(webarena::text(&tree, self.main_dom()?, self.page, self.title()))
            }
            ObservationKind::Html => {
                let mut found = html::Found { holders: self.moment.holders(self.frames), ..Default::default() };
                for walked in self.marked()?.iter().filter_map(|m| m.walked.as_ref()) {
                    found.usable.extend(walked.usable.split_ascii_whitespace());
                    found.unseen.extend(walked.unseen.split_ascii_whitespace());
                }
                text(html::text(self.doms()?, &found, &self.main, self.page, &want.context.previous_actions))
            }
            ObservationKind::Url => text(self.page.url().to_owned()),
            ObservationKind::Title => text(self.title().to_owned()),
            ObservationKind::Tabs => {
                let title = |i: usize| if i == self.page.active { self.title() } else { self.page.tabs[i].title.as_str() };
                let tabs = self.page.tabs.iter().enumerate().map(|(i, t)| json!({"url": t.url, "title": title(i)}));
                text(json!({"active": self.page.active, "tabs": tabs.collect::<Vec<_>>()}).to_string())
            }
            ObservationKind::FocusedElement => self.marked().and_then(|_| text(self.focused.clone())),
            ObservationKind::LastActionError => text(want.context.last_action_error.clone()),
            ObservationKind::Goal => text(want.context.goal.clone()),
        }
    }
}

/// Cuts a text that no agent could read whole, and says so.
fn shorten(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let left_out = text.len() - MAX_TEXT;
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push_str(&format!("\n[the page goes on: {left_out} bytes left out]"));
    }
    text
}

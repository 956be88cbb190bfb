//! BrowserGym's observation as one JSON object, under its keys.
//!
//! `dom_object` is the browser's own text, passed on unparsed where all frames are in one process. What numpy arrays hold in
//! BrowserGym are arrays here. Chat messages carry no time of their own: `timestamp` is 0.

use std::collections::{HashMap, HashSet};

use envfarm_core::observation::EpisodeContext;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::PageState;
use super::ax::Tree;
use super::dom::Dom;
use super::world::MarkedFrame;

/// What an agent is told of an element that has an id.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Extra {
    /// Share of it that shows, 0 to 1, in steps of 0.01.
    pub visibility: Option<f64>,
    /// x, y, width, height from the top left of the main viewport; `None` if not rendered.
    pub bbox: Option<[f64; 4]>,
    pub clickable: bool,
    pub set_of_marks: Option<bool>,
}

/// `scale`: pixels of the agent's picture for one CSS pixel.
pub fn extras<'d>(doms: &'d [Dom], marked: &[MarkedFrame], scale: f32) -> Vec<(&'d str, Extra)> {
    let mut walked: HashMap<&str, (f64, bool)> = HashMap::new();
    for frame in marked.iter().filter_map(|m| m.walked.as_ref()) {
        let flagged: HashSet<&str> = frame.flagged.split_ascii_whitespace().collect();
        let ids = frame.ids.split_ascii_whitespace();
        for (id, share) in ids.zip(frame.shares.split_ascii_whitespace()) {
            walked.insert(id, (share.parse::<f64>().unwrap_or(0.0) / 100.0, flagged.contains(id)));
        }
    }
    let mut found = Vec::new();
    for dom in doms {
        let clickable: Vec<HashSet<usize>> =
            dom.snapshot.documents.iter().map(|d| d.nodes.is_clickable.index.iter().copied().collect()).collect();
        for (place, bid) in dom.marked() {
            let seen = walked.get(bid);
            let extra = Extra {
                visibility: seen.map(|(share, _)| *share),
                bbox: dom.rendered_bounds(place).map(|b| b.map(|v| v * f64::from(scale))),
                clickable: clickable[place.document as usize].contains(&(place.node as usize)),
                set_of_marks: seen.map(|(_, flagged)| *flagged),
            };
            found.push((bid, extra));
        }
    }
    found
}

/// A map written in the order of its entries.
struct InOrder<'a>(&'a [(&'a str, Extra)]);

impl Serialize for InOrder<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[derive(Serialize)]
struct Dict<'a> {
    chat_messages: Vec<serde_json::Value>,
    goal: &'a str,
    goal_object: serde_json::Value,
    open_pages_urls: Vec<&'a str>,
    open_pages_titles: Vec<&'a str>,
    active_page_index: [usize; 1],
    url: &'a str,
    dom_object: &'a RawValue,
    axtree_object: &'a Tree<'a>,
    extra_element_properties: InOrder<'a>,
    focused_element_bid: &'a str,
    last_action: &'a str,
    last_action_error: &'a str,
    elapsed_time: [f64; 1],
    #[serde(skip_serializing_if = "LeftOut::is_nothing")]
    truncated: LeftOut,
}

/// What of a huge page the object does not carry. Under the key `truncated`, which BrowserGym has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Nodes of the accessibility tree, the last ones.
    pub axtree_nodes: usize,
    /// Bytes of the DOM snapshot, which is then empty.
    pub dom_bytes: usize,
}

impl LeftOut {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A snapshot of nothing.
pub fn no_dom() -> Box<RawValue> {
    RawValue::from_string(r#"{"documents":[],"strings":[]}"#.to_owned()).expect("is JSON")
}

/// The parts of the object that were observed.
pub struct Seen<'a> {
    pub dom: &'a RawValue,
    pub tree: &'a Tree<'a>,
    pub extras: &'a [(&'a str, Extra)],
    pub focused: &'a str,
    /// Of the active tab.
    pub title: &'a str,
    pub left_out: LeftOut,
}

pub fn write(seen: &Seen, page: &PageState, context: &EpisodeContext) -> Result<Vec<u8>, serde_json::Error> {
    let chat = context.chat.iter().map(|(role, text)| json!({"role": role, "timestamp": 0.0, "message": text}));
    let title = |i: usize| if i == page.active { seen.title } else { page.tabs[i].title.as_str() };
    let dict = Dict {
        chat_messages: chat.collect(),
        goal: &context.goal,
        goal_object: json!([{"type": "text", "text": context.goal}]),
        open_pages_urls: page.tabs.iter().map(|t| t.url.as_str()).collect(),
        open_pages_titles: (0..page.tabs.len()).map(title).collect(),
        active_page_index: [page.active],
        url: page.url(),
        dom_object: seen.dom,
        axtree_object: seen.tree,
        extra_element_properties: InOrder(seen.extras),
        focused_element_bid: seen.focused,
        last_action: &context.last_action,
        last_action_error: &context.last_action_error,
        elapsed_time: [context.elapsed_s],
        truncated: seen.left_out,
    };
    serde_json::to_vec(&dict)
}

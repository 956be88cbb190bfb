//! WebArena's text of a page: open tabs, then what of the accessibility tree is in the viewport.
//!
//! Lines read `[id] role 'name' property: value`. WebArena numbers nodes anew at each step; here the id is that of the
//! element, and text has the id of the element that it is in. As in WebArena, what frames hold is not told.

use std::collections::HashMap;

use super::PageState;
use super::ax::{Node, Tree};
use super::dom::{Dom, Place};
use super::python::{repr, str_json, strip};

const UNTOLD: [&str; 7] = ["focusable", "editable", "readonly", "level", "settable", "multiline", "invalid"];
/// Roles that say nothing without a name or a property.
const EMPTY: [&str; 10] = ["generic", "img", "list", "strong", "paragraph", "banner", "navigation", "Section", "LabelText", "Legend"];
/// WebArena's threshold for being in the viewport, of a ratio that it multiplies by the height where it should divide.
const IN_VIEWPORT: f64 = 0.6;
/// The list of a closed combination box, which has no place.
const CLOSED_LIST: &str = "MenuListPopup";
/// Text is told only if none of that many lines before has it.
const LOOK_BACK: usize = 3;

/// `tree` is the main frame's, as the browser gave it.
pub fn text(tree: &Tree, dom: &Dom, page: &PageState, title: &str) -> String {
    let mut tabs = Vec::with_capacity(page.tabs.len());
    for (i, tab) in page.tabs.iter().enumerate() {
        tabs.push(if i == page.active { format!("Tab {i} (current): {title}") } else { format!("Tab {i}: {}", tab.title) });
    }
    format!("{}\n\n{}", tabs.join(" | "), lines(tree, dom, page.viewport).join("\n"))
}

fn lines(tree: &Tree, dom: &Dom, viewport: (u32, u32)) -> Vec<String> {
    let index: HashMap<&str, usize> = tree.nodes.iter().enumerate().map(|(i, n)| (n.node_id.as_ref(), i)).collect();
    let mut told = vec![false; tree.nodes.len()];
    let mut lines: Vec<Line> = Vec::new();
    // (node, depth, place of the nearest ancestor that the snapshot has). A stack of our own: pages may nest deeply.
    let mut stack = if tree.nodes.is_empty() { Vec::new() } else { vec![(0, 0, None)] };
    while let Some((at, depth, above)) = stack.pop() {
        if std::mem::replace(&mut told[at], true) {
            continue;
        }
        let node = &tree.nodes[at];
        // The snapshot leaves out the insides of form controls; those are where the control is.
        let place = node.backend.and_then(|id| dom.by_backend(id).or(above));
        let shown = place.filter(|p| at == 0 || in_viewport(dom, *p, viewport) && node.role_text() != CLOSED_LIST);
        let line = shown.and_then(|place| line(node, dom, place, depth));
        let child_depth = depth + usize::from(line.is_some());
        if let Some(line) = line {
            let seen = |text: &str| text.is_empty() || lines.iter().rev().take(LOOK_BACK).any(|l| l.words.contains(text));
            if !line.text().is_some_and(seen) {
                lines.push(line);
            }
        }
        let children = node.child_ids.iter().rev().filter_map(|id| index.get(id.as_ref()));
        stack.extend(children.map(|child| (*child, child_depth, place.or(above))));
    }
    lines.into_iter().map(|l| format!("{}[{}] {}", "\t".repeat(l.depth), l.id, l.words)).collect()
}

struct Line {
    depth: usize,
    id: String,
    /// Role, name and properties.
    words: String,
    is_text: bool,
}

impl Line {
    /// Of a text: the text as the line quotes it.
    fn text(&self) -> Option<&str> {
        let quoted = self.words.strip_prefix("StaticText ").filter(|_| self.is_text)?;
        quoted.get(1..quoted.len() - 1)
    }
}

fn line(node: &Node, dom: &Dom, place: Place, depth: usize) -> Option<Line> {
    let role = node.role_text();
    let name = node.name.as_ref()?.text().unwrap_or_default();
    let told: Vec<String> = node
        .properties
        .iter()
        .flatten()
        .filter(|p| !UNTOLD.contains(&p.name.as_ref()))
        .filter_map(|p| Some(format!("{}: {}", p.name, str_json(p.value.value.as_ref()?.get()))))
        .collect();
    let mute = role == "listitem" || told.is_empty() && EMPTY.contains(&role.as_ref());
    if strip(&name).is_empty() && mute {
        return None;
    }
    // The document itself goes by its root element.
    let id = dom.nearest_bid(place).or_else(|| dom.bid(dom.root_element(place)?)).unwrap_or_default().to_owned();
    let mut words = format!("{role} {}", repr(&name));
    for told in told {
        words.push(' ');
        words.push_str(&told);
    }
    Some(Line { depth, id, words, is_text: role == "StaticText" })
}

fn in_viewport(dom: &Dom, place: Place, viewport: (u32, u32)) -> bool {
    // What styles generate, list markers above all, has no box that WebArena could ask for.
    if dom.name(place).starts_with("::") {
        return false;
    }
    let Some([x, y, width, height]) = dom.bounds(place) else { return false };
    if width == 0.0 || height == 0.0 {
        return false;
    }
    let shown = |from: f64, size: f64, limit: u32| (f64::min(from + size, f64::from(limit)) - f64::max(from, 0.0)).max(0.0);
    shown(x, width, viewport.0) * shown(y, height, viewport.1) / width * height >= IN_VIEWPORT
}

//! BrowserGym's text of an accessibility tree, as `flatten_axtree_to_str` makes it by default.

use std::borrow::Cow;
use std::collections::HashMap;

use super::ax::{Node, Raw, Tree};
use super::python::{is_true, repr, repr_json, strip};

/// Properties that the text leaves out.
const UNTOLD: [&str; 7] = ["editable", "readonly", "level", "settable", "multiline", "invalid", "focusable"];
/// Properties told by their name alone, when they hold.
const FLAGS: [&str; 3] = ["required", "focused", "atomic"];

pub fn flatten(tree: &Tree) -> String {
    let index: HashMap<&str, usize> = tree.nodes.iter().enumerate().map(|(i, n)| (n.node_id.as_ref(), i)).collect();
    let mut told = vec![false; tree.nodes.len()];
    let mut out = String::new();
    let mut names: Vec<Cow<str>> = vec![Cow::Borrowed("")];
    // (node, depth, index of the parent's name). A stack of our own: pages may nest deeper than ours reaches.
    let mut stack = if tree.nodes.is_empty() { Vec::new() } else { vec![(0usize, 0usize, 0usize)] };
    while let Some((at, depth, parent_name)) = stack.pop() {
        // A node is told once, whatever the tree says: a loop would never end.
        if std::mem::replace(&mut told[at], true) {
            continue;
        }
        let node = &tree.nodes[at];
        let role = node.role_text();
        let name = if role == "LineBreak" { None } else { node.name.as_ref().map(|n| n.text().unwrap_or_default()) };
        let line = name.as_ref().and_then(|name| line(node, &role, name, &names[parent_name]));
        let child_depth = depth + usize::from(line.is_some());
        if let Some(line) = line {
            if !out.is_empty() {
                out.push('\n');
            }
            out.extend(std::iter::repeat_n('\t', depth));
            out.push_str(&line);
        }
        let children = node.child_ids.iter().rev().filter_map(|id| index.get(id.as_ref()).copied()).filter(|c| *c != at);
        names.push(name.unwrap_or_default());
        let own = names.len() - 1;
        stack.extend(children.map(|child| (child, child_depth, own)));
    }
    out
}

/// `None` for a node that says nothing.
fn line(node: &Node, role: &str, name: &str, parent_name: &str) -> Option<String> {
    let mut told = Vec::new();
    for property in node.properties.iter().flatten() {
        let Some(value) = property.value.value.as_ref().map(Raw::get) else { continue };
        let key = property.name.as_ref();
        if UNTOLD.contains(&key) {
            continue;
        }
        if !FLAGS.contains(&key) {
            told.push(format!("{key}={}", repr_json(value)));
        } else if is_true(value) {
            told.push(key.to_owned());
        }
    }
    if role == "generic" && told.is_empty() || role == "StaticText" && parent_name.contains(name) {
        return None;
    }
    let mut line = String::new();
    if let Some(bid) = &node.bid {
        line = format!("[{bid}] ");
    }
    line.push_str(role);
    if role != "generic" || !name.is_empty() {
        line.push(' ');
        line.push_str(&repr(strip(name)));
    }
    if let Some(value) = node.value.as_ref().and_then(|v| v.value.as_ref()).map(Raw::get) {
        line.push_str(" value=");
        line.push_str(&repr_json(value));
    }
    for told in told {
        line.push_str(", ");
        line.push_str(&told);
    }
    Some(line)
}

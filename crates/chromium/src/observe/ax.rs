//! Accessibility trees: reading them, giving their nodes element ids, and joining those of all frames.
//!
//! BrowserGym writes its ids into ARIA attributes, which makes the browser show elements that it would otherwise leave out
//! as uninteresting. [`Tree::complete`] adds those to an untouched tree, so that agents see what they were trained on while
//! the page keeps its own attributes and the browser need not compute its accessibility anew at each step.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::dom::{Dom, Place};

/// `Accessibility.getFullAXTree`'s answer.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Tree<'a> {
    #[serde(borrow)]
    pub nodes: Vec<Node<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node<'a> {
    #[serde(borrow)]
    pub node_id: Cow<'a, str>,
    pub ignored: bool,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub ignored_reasons: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub role: Option<Value<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub chrome_role: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub name: Option<Value<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub description: Option<Value<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Vec<Property<'a>>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub child_ids: Vec<Cow<'a, str>>,
    #[serde(rename = "backendDOMNodeId", skip_serializing_if = "Option::is_none")]
    pub backend: Option<i64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub frame_id: Option<Cow<'a, str>>,
    #[serde(rename = "browsergym_id", skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub bid: Option<String>,
}

/// An AXValue; what it holds stays unparsed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Value<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub value: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub related_nodes: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub sources: Option<&'a RawValue>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Property<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub value: Value<'a>,
}

impl<'a> Value<'a> {
    /// The text that it holds, if it holds text.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        serde_json::from_str::<Text>(self.value?.get()).ok().map(|t| t.0)
    }

    fn of(kind: &'static str, json: &'static str) -> Self {
        Self { kind: kind.into(), value: Some(raw(json)), related_nodes: None, sources: None }
    }
}

fn raw(json: &'static str) -> &'static RawValue {
    serde_json::from_str(json).expect("a literal of this file is JSON")
}

/// A role that the browser holds back: its name as JSON, and the browser's own number for it, as JSON.
struct Restored {
    role: &'static str,
    chrome_role: &'static str,
}

const GENERIC: Restored = Restored { role: "\"generic\"", chrome_role: r#"{"type":"internalRole","value":88}"# };

/// The role that an element gets as soon as it counts as interesting. `in_table`: in one that holds data.
fn restored(tag: &str, in_table: bool) -> Restored {
    let (role, chrome_role) = match tag {
        "ADDRESS" => ("\"group\"", r#"{"type":"internalRole","value":93}"#),
        "CANVAS" => ("\"Canvas\"", r#"{"type":"internalRole","value":10}"#),
        "CAPTION" => ("\"caption\"", r#"{"type":"internalRole","value":11}"#),
        "IMG" | "svg" => ("\"image\"", r#"{"type":"internalRole","value":99}"#),
        "LABEL" => ("\"LabelText\"", r#"{"type":"internalRole","value":104}"#),
        "P" => ("\"paragraph\"", r#"{"type":"internalRole","value":133}"#),
        "TBODY" if in_table => ("\"rowgroup\"", r#"{"type":"internalRole","value":146}"#),
        _ => return GENERIC,
    };
    Restored { role, chrome_role }
}

impl<'a> Node<'a> {
    pub fn role_text(&self) -> Cow<'a, str> {
        self.role.as_ref().and_then(Value::text).unwrap_or_default()
    }

    /// Why the node is ignored: the first reason's name.
    fn reason(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Reason {
            name: String,
        }
        let reasons: Vec<Reason> = serde_json::from_str(self.ignored_reasons?.get()).ok()?;
        reasons.into_iter().next().map(|r| r.name)
    }

    fn show_as(&mut self, role: &Restored) {
        self.ignored = false;
        self.ignored_reasons = None;
        self.role = Some(Value::of("role", role.role));
        self.chrome_role = Some(raw(role.chrome_role));
        self.name = Some(Value::of("computedString", "\"\""));
        self.properties.get_or_insert_default();
    }
}

impl<'a> Tree<'a> {
    /// Gives ids to the nodes of one frame's tree, and adds the elements that have an id but were left out. `silent` are
    /// the ids of elements that show without saying anything.
    pub fn complete(&mut self, dom: &Dom, silent: &str) {
        let mut present: HashMap<Place, usize> = HashMap::with_capacity(self.nodes.len());
        let mut places: Vec<Option<Place>> = Vec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            let place = node.backend.and_then(|id| dom.by_backend(id));
            places.push(place);
            if let Some(place) = place {
                present.entry(place).or_insert(i);
            }
        }
        let hidden = self.give_ids(dom, &places);
        let missing = missing(dom, &present, &places, &hidden, silent);
        self.insert(dom, present, places, missing);
    }

    /// Returns, for each node, whether it and what it holds are hidden on purpose.
    fn give_ids(&mut self, dom: &Dom, places: &[Option<Place>]) -> Vec<bool> {
        let data_tables: HashSet<String> = self
            .nodes
            .iter()
            .filter(|n| !n.ignored && matches!(n.role_text().as_ref(), "table" | "grid" | "treegrid"))
            .map(|n| n.node_id.to_string())
            .collect();
        let mut hidden = vec![false; self.nodes.len()];
        for (i, node) in self.nodes.iter_mut().enumerate() {
            let Some(place) = places[i] else { continue };
            let reason = if node.ignored { node.reason() } else { None };
            hidden[i] = reason.as_deref().is_some_and(|r| r.starts_with("aria") || r.starts_with("inert") || r.starts_with("activeModal"));
            let tag = dom.name(place);
            let Some(bid) = dom.bid(place).filter(|_| tag != "HTML") else { continue };
            match reason.as_deref() {
                None if !node.ignored => {
                    // BrowserGym's own description takes the place of one made from the title, and is then removed.
                    let own = |name| dom.attribute(place, name).is_some_and(|v| !v.trim().is_empty());
                    if !own("aria-description") && !own("aria-describedby") {
                        node.description = None;
                    }
                }
                Some("uninteresting" | "labelFor" | "labelContainer" | "emptyAlt") => {
                    let in_table = node.parent_id.as_ref().is_some_and(|p| data_tables.contains(p.as_ref()));
                    node.show_as(&restored(tag, in_table));
                }
                _ => continue,
            }
            node.bid = Some(bid.to_owned());
        }
        hidden
    }

    fn insert(&mut self, dom: &Dom, mut present: HashMap<Place, usize>, mut places: Vec<Option<Place>>, missing: Vec<Place>) {
        // In document order, so that whatever holds an element is there before it.
        let mut added: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut hosts = Vec::new();
        for place in missing {
            let above = std::iter::successors(dom.parent(place), |p| dom.parent(*p)).find_map(|p| present.get(&p).copied());
            let Some(host) = above else { continue };
            let backend = dom.backend_id(place);
            let mut node = Node {
                node_id: backend.to_string().into(),
                parent_id: Some(self.nodes[host].node_id.clone()),
                backend: Some(backend),
                bid: dom.bid(place).map(str::to_owned),
                ..Node::default()
            };
            node.show_as(&restored(dom.name(place), false));
            let at = self.nodes.len();
            self.nodes.push(node);
            places.push(Some(place));
            present.insert(place, at);
            added.entry(host).or_insert_with(|| {
                hosts.push(host);
                Vec::new()
            });
            added.entry(host).or_default().push(at);
        }
        if hosts.is_empty() {
            return;
        }
        let index: HashMap<String, usize> = self.nodes.iter().enumerate().map(|(i, n)| (n.node_id.to_string(), i)).collect();
        for host in hosts {
            self.share_children(dom, &places, &index, host, &added[&host]);
        }
    }

    /// Hands the children of `host` that lie within new elements to those, and puts these in their place.
    fn share_children(&mut self, dom: &Dom, places: &[Option<Place>], index: &HashMap<String, usize>, host: usize, new: &[usize]) {
        let children = std::mem::take(&mut self.nodes[host].child_ids);
        let mut kept = Vec::with_capacity(children.len() + new.len());
        let mut next = new.iter().copied().peekable();
        let mut open: Option<usize> = None;
        for child in children {
            let at = index.get(child.as_ref()).copied();
            if let Some(place) = at.and_then(|i| places[i]) {
                while let Some(element) = next.next_if(|&e| places[e].is_some_and(|p| p <= place)) {
                    kept.push(self.nodes[element].node_id.clone());
                    open = Some(element);
                }
                if let (Some(element), Some(at)) = (open, at)
                    && places[element].is_some_and(|p| dom.holds(p, place))
                {
                    self.nodes[at].parent_id = Some(self.nodes[element].node_id.clone());
                    self.nodes[element].child_ids.push(child);
                    continue;
                }
            }
            kept.push(child);
        }
        kept.extend(next.map(|e| self.nodes[e].node_id.clone()));
        self.nodes[host].child_ids = kept;
    }

    /// Makes node ids unlike those of another process's tree.
    pub fn rename(&mut self, process: usize) {
        let rename = |id: &mut Cow<str>| *id = format!("{process}:{id}").into();
        for node in &mut self.nodes {
            rename(&mut node.node_id);
            node.parent_id.as_mut().map(rename);
            node.child_ids.iter_mut().for_each(rename);
        }
    }

    /// Hangs the root of `inner` below the element `owner`; false if this tree does not show that element.
    pub fn adopt(&mut self, owner: &str, inner: &Tree<'a>) -> bool {
        let Some(root) = inner.nodes.first() else { return false };
        let holder = self.nodes.iter_mut().find(|n| n.bid.as_deref() == Some(owner) && n.role_text() == "Iframe");
        holder.map(|node| node.child_ids.push(root.node_id.clone())).is_some()
    }
}

/// Elements with an id between nodes of the tree and their parents, or silent, in document order.
fn missing(dom: &Dom, present: &HashMap<Place, usize>, places: &[Option<Place>], hidden: &[bool], silent: &str) -> Vec<Place> {
    let mut found: HashSet<Place> = HashSet::new();
    let mut climb = |from: Place, itself: bool| {
        let first = if itself { Some(from) } else { dom.parent(from) };
        let mut chain = Vec::new();
        for place in std::iter::successors(first, |p| dom.parent(*p)) {
            if let Some(&at) = present.get(&place) {
                if !hidden[at] {
                    found.extend(chain);
                }
                return;
            }
            if found.contains(&place) {
                found.extend(chain);
                return;
            }
            if dom.bid(place).is_some() && dom.name(place) != "HTML" {
                chain.push(place);
            }
        }
    };
    for (place, _) in places.iter().zip(hidden).filter(|(_, hidden)| !**hidden) {
        if let Some(place) = place {
            climb(*place, false);
        }
    }
    for bid in silent.split_ascii_whitespace() {
        if let Some(place) = dom.by_bid(bid).filter(|p| !present.contains_key(p)) {
            climb(place, true);
        }
    }
    let mut found: Vec<Place> = found.into_iter().collect();
    found.sort_unstable();
    found
}

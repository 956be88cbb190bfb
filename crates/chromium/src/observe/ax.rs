//! Accessibility trees: reading them, giving their nodes element ids, and joining those of all frames.
//!
//! BrowserGym writes its ids into ARIA attributes, which makes the browser show elements that it would otherwise leave out
//! as uninteresting. [`Tree::complete`] adds those to an untouched tree, so that agents see what they were trained on while
//! the page keeps its own attributes and the browser need not compute its accessibility anew at each step.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::dom::{self, Dom, Place};
use super::roles::{self, Role};

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
    pub chrome_role: Option<Raw<'a>>,
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
    pub value: Option<Raw<'a>>,
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

/// JSON that stays unparsed: of the browser, or made here.
#[derive(Clone, Debug)]
pub enum Raw<'a> {
    Borrowed(&'a RawValue),
    Owned(Box<RawValue>),
}

impl Raw<'_> {
    pub fn get(&self) -> &RawValue {
        match self {
            Self::Borrowed(raw) => raw,
            Self::Owned(raw) => raw,
        }
    }
}

impl Raw<'static> {
    pub fn string(text: &str) -> Self {
        Self::Owned(serde_json::value::to_raw_value(text).expect("a string can be written as JSON"))
    }

    /// `text` must be JSON.
    pub fn json(text: &str) -> Self {
        Self::Owned(RawValue::from_string(text.to_owned()).expect("the caller gives JSON"))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a RawValue>::deserialize(deserializer).map(Self::Borrowed)
    }
}

impl Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'a> Value<'a> {
    /// The text that it holds, if it holds text.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        match self.value.as_ref()? {
            Raw::Borrowed(raw) => serde_json::from_str::<Text>(raw.get()).ok().map(|t| t.0),
            Raw::Owned(raw) => serde_json::from_str::<String>(raw.get()).ok().map(Cow::Owned),
        }
    }

    fn new(kind: &'static str, value: Raw<'static>) -> Self {
        Self { kind: kind.into(), value: Some(value), related_nodes: None, sources: None }
    }
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

    fn show_as(&mut self, role: &Role, name: &str) {
        self.ignored = false;
        self.ignored_reasons = None;
        self.role = Some(Value::new("role", Raw::string(role.name)));
        self.chrome_role = Some(Raw::json(&format!(r#"{{"type":"internalRole","value":{}}}"#, role.number)));
        self.name = Some(Value::new("computedString", Raw::string(name)));
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
        // Texts of labels were added meanwhile.
        places.resize(self.nodes.len(), None);
        self.insert(dom, &mut present, &mut places, missing);
        self.describe_restored(dom, &places);
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
        let (mut labels, mut dates) = (Vec::new(), Vec::new());
        for (i, node) in self.nodes.iter_mut().enumerate() {
            let Some(place) = places[i] else { continue };
            let reason = if node.ignored { node.reason() } else { None };
            const ON_PURPOSE: [&str; 5] = ["aria", "inert", "activeModal", "notRendered", "notVisible"];
            hidden[i] = reason.as_deref().is_some_and(|r| ON_PURPOSE.iter().any(|p| r.starts_with(p)));
            let tag = dom.name(place);
            let Some(bid) = dom.bid(place).filter(|_| tag != "HTML") else { continue };
            if is_date(dom, place) {
                dates.push(i);
            }
            let in_table = node.parent_id.as_ref().is_some_and(|p| data_tables.contains(p.as_ref()));
            match reason.as_deref() {
                None if !node.ignored => {
                    // BrowserGym's own description takes the place of one made from the title, and is then removed.
                    let own = |name| dom.attribute(place, name).is_some_and(|v| !v.trim().is_empty());
                    if !own("aria-description") && !own("aria-describedby") {
                        node.description = None;
                    }
                    if roles::in_presentational_table(dom, place) && node.role_text() == "generic" {
                        node.show_as(&roles::restored(dom, place, in_table), "");
                    }
                }
                Some("uninteresting" | "labelFor" | "labelContainer" | "emptyAlt") => {
                    if tag == "LABEL" {
                        labels.push(i);
                    }
                    node.show_as(&roles::restored(dom, place, in_table), "");
                }
                Some("presentationalRole") if roles::is_presentational(dom, place) => {
                    node.show_as(&roles::restored(dom, place, in_table), "");
                }
                _ => continue,
            }
            node.bid = Some(bid.to_owned());
        }
        for label in labels {
            self.restore_text(dom, places, label);
        }
        for date in dates {
            self.share_id(date);
        }
        hidden
    }

    /// The fields and buttons of a date speak for the whole.
    fn share_id(&mut self, date: usize) {
        let bid = self.nodes[date].bid.clone();
        let mut inside: HashSet<String> = HashSet::from([self.nodes[date].node_id.to_string()]);
        // A control's own parts follow it.
        for node in &mut self.nodes[date + 1..] {
            if node.parent_id.as_ref().is_some_and(|p| inside.contains(p.as_ref())) {
                if matches!(node.role_text().as_ref(), "spinbutton" | "button") {
                    node.bid = bid.clone();
                }
                inside.insert(node.node_id.to_string());
            }
        }
    }

    /// Tells the text of a label that was left out because it names a control.
    fn restore_text(&mut self, dom: &Dom, places: &[Option<Place>], label: usize) {
        let children: HashSet<&str> = self.nodes[label].child_ids.iter().map(Cow::as_ref).collect();
        let texts: Vec<(usize, Place)> = (0..places.len())
            .filter(|i| self.nodes[*i].ignored && children.contains(self.nodes[*i].node_id.as_ref()))
            .filter_map(|i| Some((i, places[i].filter(|p| dom.kind(*p) == dom::TEXT)?)))
            .collect();
        for (at, place) in texts {
            let lines = dom.lines(place);
            if lines.is_empty() {
                continue;
            }
            let parent = self.nodes[at].node_id.clone();
            self.nodes[at].show_as(&roles::TEXT, &lines.concat());
            self.nodes[at].child_ids.clear();
            for line in lines {
                // Chromium numbers these downwards from minus a thousand million; ours cannot be mistaken for its own.
                let mut node =
                    Node { node_id: format!("-2{:09}", self.nodes.len()).into(), parent_id: Some(parent.clone()), ..Node::default() };
                node.show_as(&roles::TEXT_BOX, &line);
                self.nodes[at].child_ids.push(node.node_id.clone());
                self.nodes.push(node);
            }
        }
    }

    /// Gives restored nodes the name that they have from their content, and the properties that come with their role.
    fn describe_restored(&mut self, dom: &Dom, places: &[Option<Place>]) {
        let restored = |node: &Node| node.bid.is_some() && matches!(&node.name, Some(Value { value: Some(Raw::Owned(_)), .. }));
        let places: Vec<(usize, Place)> =
            (0..places.len()).filter(|i| restored(&self.nodes[*i])).filter_map(|i| Some((i, places[i]?))).collect();
        let mut index: Option<HashMap<String, usize>> = None;
        for (at, place) in places {
            if roles::NAMED_BY_CONTENT.contains(&self.nodes[at].role_text().as_ref()) {
                let index = index.get_or_insert_with(|| self.nodes.iter().enumerate().map(|(i, n)| (n.node_id.to_string(), i)).collect());
                let text = self.text_within(at, index);
                self.nodes[at].name = Some(Value::new("computedString", Raw::string(super::python::strip(&text))));
            }
            let more = roles::properties(dom, place).into_iter();
            let more = more.map(|(name, kind, value)| Property { name: name.into(), value: Value::new(kind, value) });
            self.nodes[at].properties.get_or_insert_default().extend(more);
        }
    }

    fn text_within(&self, at: usize, index: &HashMap<String, usize>) -> String {
        let mut text = String::new();
        let mut stack = vec![at];
        let mut steps = 0;
        while let Some(at) = stack.pop() {
            let node = &self.nodes[at];
            if matches!(node.role_text().as_ref(), "StaticText" | "image") {
                text.push_str(&node.name.as_ref().and_then(Value::text).unwrap_or_default());
                continue;
            }
            steps += 1;
            if steps > self.nodes.len() {
                break;
            }
            stack.extend(node.child_ids.iter().rev().filter_map(|id| index.get(id.as_ref())));
        }
        text
    }

    fn insert(&mut self, dom: &Dom, present: &mut HashMap<Place, usize>, places: &mut Vec<Option<Place>>, missing: Vec<Place>) {
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
            node.show_as(&roles::restored(dom, place, false), "");
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
            self.share_children(dom, places, &index, host, &added[&host]);
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

fn is_date(dom: &Dom, place: Place) -> bool {
    let kind = || dom.attribute(place, "type").unwrap_or_default().to_ascii_lowercase();
    dom.name(place) == "INPUT" && matches!(kind().as_str(), "date" | "datetime-local" | "month" | "time" | "week")
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
            // An image map is told with its image.
            if dom.bid(place).is_some() && !matches!(dom.name(place), "HTML" | "MAP") {
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

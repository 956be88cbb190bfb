//! Adds to an accessibility tree what BrowserGym's agents see in theirs.
//!
//! BrowserGym writes its ids into ARIA attributes, which makes the browser tell elements that it would otherwise leave out as
//! uninteresting. Here they are added to an untouched tree, by the DOM snapshot: the page keeps its own attributes, and the
//! browser need not compute its accessibility anew at each step.

use std::collections::{HashMap, HashSet};

use super::ax::{Node, Property, Raw, Tree, Value};
use super::dom::{self, Dom, Place};
use super::python::strip;
use super::roles;

/// Gives ids to the nodes of one frame's tree, and adds the elements that have an id but were left out. `silent` are the ids
/// of elements that show without saying anything.
pub fn complete(tree: &mut Tree, dom: &Dom, silent: &str) {
    let places: Vec<Option<Place>> = tree.nodes.iter().map(|n| n.backend.and_then(|id| dom.by_backend(id))).collect();
    let mut present = HashMap::with_capacity(places.len());
    for (i, place) in places.iter().enumerate() {
        if let Some(place) = place {
            present.entry(*place).or_insert(i);
        }
    }
    let index = tree.nodes.iter().enumerate().map(|(i, n)| (n.node_id.to_string(), i)).collect();
    let mut completion = Completion { dom, nodes: &mut tree.nodes, places, present, index };
    let hidden = completion.give_ids();
    let missing = completion.missing(&hidden, silent);
    completion.insert(missing);
    completion.describe_restored();
}

struct Completion<'t, 'a> {
    dom: &'t Dom,
    nodes: &'t mut Vec<Node<'a>>,
    /// Of each node.
    places: Vec<Option<Place>>,
    /// The node at a place.
    present: HashMap<Place, usize>,
    /// The node of an id.
    index: HashMap<String, usize>,
}

/// Why the browser leaves out what an agent shall not see either.
const ON_PURPOSE: [&str; 5] = ["aria", "inert", "activeModal", "notRendered", "notVisible"];

impl Completion<'_, '_> {
    fn add(&mut self, node: Node<'static>, place: Option<Place>) -> usize {
        let at = self.nodes.len();
        self.index.insert(node.node_id.to_string(), at);
        self.nodes.push(node);
        self.places.push(place);
        if let Some(place) = place {
            self.present.insert(place, at);
        }
        at
    }

    fn children(&self, at: usize) -> impl DoubleEndedIterator<Item = usize> {
        self.nodes[at].child_ids.iter().filter_map(|id| self.index.get(id.as_ref()).copied())
    }

    /// Returns, for each node, whether it and what it holds are hidden on purpose.
    fn give_ids(&mut self) -> Vec<bool> {
        let is_table = |n: &Node| !n.ignored && matches!(n.role_text().as_ref(), "table" | "grid" | "treegrid");
        let tables: Vec<bool> = self.nodes.iter().map(is_table).collect();
        let mut hidden = vec![false; self.nodes.len()];
        for (i, hidden) in hidden.iter_mut().enumerate() {
            let Some(place) = self.places[i] else { continue };
            let reason = if self.nodes[i].ignored { self.nodes[i].reason() } else { None };
            *hidden = reason.as_deref().is_some_and(|r| ON_PURPOSE.iter().any(|p| r.starts_with(p)));
            let tag = self.dom.name(place);
            let Some(bid) = self.dom.bid(place).filter(|_| tag != "HTML") else { continue };
            let parent = self.nodes[i].parent_id.as_ref().and_then(|p| self.index.get(p.as_ref()));
            let role = roles::restored(self.dom, place, parent.is_some_and(|p| tables.get(*p) == Some(&true)));
            let node = &mut self.nodes[i];
            match reason.as_deref() {
                None if !node.ignored => {
                    // BrowserGym's own description takes the place of one made from the title, and is then removed.
                    let own = |name| self.dom.attribute(place, name).is_some_and(|v| !v.trim().is_empty());
                    if !own("aria-description") && !own("aria-describedby") {
                        node.description = None;
                    }
                    if roles::in_presentational_table(self.dom, place) && node.role_text() == "generic" {
                        node.show_as(&role, "");
                    }
                }
                Some("uninteresting" | "labelFor" | "labelContainer" | "emptyAlt") => node.show_as(&role, ""),
                Some("presentationalRole") if roles::is_presentational(self.dom, place) => node.show_as(&role, ""),
                _ => continue,
            }
            node.bid = Some(bid.to_owned());
            if reason.is_some() && tag == "LABEL" {
                self.restore_text(i);
            } else if is_date(self.dom, place) {
                self.share_id(i);
            }
        }
        hidden
    }

    /// The fields and buttons of a date speak for the whole.
    fn share_id(&mut self, date: usize) {
        let bid = self.nodes[date].bid.clone();
        let mut inside: Vec<usize> = self.children(date).collect();
        while let Some(at) = inside.pop() {
            if matches!(self.nodes[at].role_text().as_ref(), "spinbutton" | "button") {
                self.nodes[at].bid = bid.clone();
            }
            inside.extend(self.children(at).filter(|child| *child > at));
        }
    }

    /// Tells the text of a label that was left out because it names a control.
    fn restore_text(&mut self, label: usize) {
        let children: Vec<usize> = self.children(label).filter(|c| self.nodes[*c].ignored).collect();
        for at in children {
            let Some(place) = self.places[at].filter(|p| self.dom.kind(*p) == dom::TEXT) else { continue };
            let lines = self.dom.lines(place);
            if lines.is_empty() {
                continue;
            }
            self.nodes[at].show_as(&roles::TEXT, &lines.concat());
            let mut boxes = Vec::with_capacity(lines.len());
            for line in lines {
                let mut node = Node {
                    // Chromium numbers these down from minus a thousand million: ours cannot be mistaken for its own.
                    node_id: format!("-2{:09}", self.nodes.len()).into(),
                    parent_id: Some(self.nodes[at].node_id.to_string().into()),
                    ..Node::default()
                };
                node.show_as(&roles::TEXT_BOX, &line);
                boxes.push(node.node_id.clone());
                self.add(node, None);
            }
            self.nodes[at].child_ids = boxes;
        }
    }

    /// Gives restored nodes the name that they have from their content, and the properties that come with their role.
    fn describe_restored(&mut self) {
        for at in 0..self.nodes.len() {
            let Some(place) = self.places[at] else { continue };
            let node = &self.nodes[at];
            if node.bid.is_none() || !matches!(&node.name, Some(Value { value: Some(Raw::Owned(_)), .. })) {
                continue;
            }
            if roles::NAMED_BY_CONTENT.contains(&node.role_text().as_ref()) {
                let text = self.text_within(at);
                self.nodes[at].name = Some(Value::new("computedString", Raw::string(strip(&text))));
            }
            let more = roles::properties(self.dom, place).into_iter();
            let more = more.map(|(name, kind, value)| Property { name: name.into(), value: Value::new(kind, value) });
            self.nodes[at].properties.get_or_insert_default().extend(more);
        }
    }

    fn text_within(&self, at: usize) -> String {
        let mut text = String::new();
        let mut stack = vec![at];
        // No tree has more nodes below one than it has: a loop ends.
        for _ in 0..self.nodes.len() {
            let Some(at) = stack.pop() else { break };
            let node = &self.nodes[at];
            if matches!(node.role_text().as_ref(), "StaticText" | "image") {
                text.push_str(&node.name.as_ref().and_then(Value::text).unwrap_or_default());
            } else {
                stack.extend(self.children(at).rev());
            }
        }
        text
    }

    fn insert(&mut self, missing: Vec<Place>) {
        let dom = self.dom;
        // In document order, so that whatever holds an element is there before it.
        let mut added: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut hosts = Vec::new();
        for place in missing {
            let above = std::iter::successors(dom.parent(place), |p| dom.parent(*p)).find_map(|p| self.present.get(&p).copied());
            let Some(host) = above else { continue };
            let backend = dom.backend_id(place);
            let mut node = Node {
                node_id: backend.to_string().into(),
                parent_id: Some(self.nodes[host].node_id.to_string().into()),
                backend: Some(backend),
                bid: dom.bid(place).map(str::to_owned),
                ..Node::default()
            };
            node.show_as(&roles::restored(dom, place, false), "");
            let at = self.add(node, Some(place));
            added.entry(host).or_insert_with(|| {
                hosts.push(host);
                Vec::new()
            });
            added.entry(host).or_default().push(at);
        }
        for host in hosts {
            self.share_children(host, &added[&host]);
        }
    }

    /// Hands the children of `host` that lie within new elements to those, and puts these in their place.
    fn share_children(&mut self, host: usize, new: &[usize]) {
        let (dom, places) = (self.dom, &self.places);
        let children = std::mem::take(&mut self.nodes[host].child_ids);
        let mut kept = Vec::with_capacity(children.len() + new.len());
        let mut next = new.iter().copied().peekable();
        let mut open: Option<usize> = None;
        for child in children {
            let at = self.index.get(child.as_ref()).copied();
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

    /// Elements with an id between nodes of the tree and their parents, or silent, in document order.
    fn missing(&self, hidden: &[bool], silent: &str) -> Vec<Place> {
        let (dom, present) = (self.dom, &self.present);
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
        for (place, _) in self.places.iter().zip(hidden).filter(|(_, hidden)| !**hidden) {
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
}

fn is_date(dom: &Dom, place: Place) -> bool {
    let kind = || dom.attribute(place, "type").unwrap_or_default().to_ascii_lowercase();
    dom.name(place) == "INPUT" && matches!(kind().as_str(), "date" | "datetime-local" | "month" | "time" | "week")
}

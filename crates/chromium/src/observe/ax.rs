//! Accessibility trees as the browser gives them, and the joining of those of all frames. What observations do not look into
//! stays unparsed.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::roles::Role;

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

    pub fn new(kind: &'static str, value: Raw<'static>) -> Self {
        Self { kind: kind.into(), value: Some(value), related_nodes: None, sources: None }
    }
}

impl<'a> Node<'a> {
    pub fn role_text(&self) -> Cow<'a, str> {
        self.role.as_ref().and_then(Value::text).unwrap_or_default()
    }

    /// Why the node is ignored: the first reason's name.
    pub fn reason(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Reason {
            name: String,
        }
        let reasons: Vec<Reason> = serde_json::from_str(self.ignored_reasons?.get()).ok()?;
        reasons.into_iter().next().map(|r| r.name)
    }

    /// Tells the node, under a role and a name.
    pub fn show_as(&mut self, role: &Role, name: &str) {
        self.ignored = false;
        self.ignored_reasons = None;
        self.role = Some(Value::new("role", Raw::string(role.name)));
        self.chrome_role = Some(Raw::json(&format!(r#"{{"type":"internalRole","value":{}}}"#, role.number)));
        self.name = Some(Value::new("computedString", Raw::string(name)));
        self.properties.get_or_insert_default();
    }
}

impl<'a> Tree<'a> {
    /// Keeps the first `most` nodes in the order in which they are read; returns how many were left out.
    pub fn shorten(&mut self, most: usize) -> usize {
        let all = self.nodes.len();
        if all <= most {
            return 0;
        }
        let index: HashMap<&str, usize> = self.nodes.iter().enumerate().map(|(i, n)| (n.node_id.as_ref(), i)).collect();
        let mut keep = vec![false; all];
        let mut stack = vec![0];
        let mut kept = 0;
        while let Some(at) = stack.pop().filter(|_| kept < most) {
            if !std::mem::replace(&mut keep[at], true) {
                kept += 1;
                stack.extend(self.nodes[at].child_ids.iter().rev().filter_map(|id| index.get(id.as_ref())));
            }
        }
        let mut keep = keep.into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(false));
        all - self.nodes.len()
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

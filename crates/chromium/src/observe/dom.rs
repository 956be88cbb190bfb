//! The DOM snapshot, as far as observations need it: the tree, attributes, boxes. The snapshot itself travels on unparsed.

use std::collections::HashMap;

use serde::Deserialize;

/// `DOMSnapshot.captureSnapshot`'s answer: flattened documents over a table of strings.
#[derive(Debug, Deserialize)]
pub struct Snapshot {
    pub documents: Vec<Document>,
    pub strings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    pub scroll_offset_x: Option<f64>,
    pub scroll_offset_y: Option<f64>,
    pub nodes: Nodes,
    pub layout: Layout,
    text_boxes: TextBoxes,
}

/// Columns over the lines of text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TextBoxes {
    /// Ascending.
    layout_index: Vec<usize>,
    /// In UTF-16 code units of the box's text.
    start: Vec<usize>,
    length: Vec<usize>,
}

/// Columns over the nodes of a document, in document order; -1 stands for none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    pub parent_index: Vec<i32>,
    pub node_type: Vec<u8>,
    pub node_name: Vec<i32>,
    pub node_value: Vec<i32>,
    pub backend_node_id: Vec<i64>,
    pub attributes: Vec<Vec<i32>>,
    pub is_clickable: Rare,
    pub content_document_index: RareIndex,
    /// Of what is in a shadow tree.
    #[serde(default)]
    shadow_root_type: RareString,
    #[serde(rename = "currentSourceURL")]
    source_url: RareString,
}

#[derive(Debug, Deserialize)]
pub struct Rare {
    pub index: Vec<usize>,
}

#[derive(Debug, Deserialize)]
pub struct RareIndex {
    pub index: Vec<usize>,
    pub value: Vec<usize>,
}

#[derive(Debug, Default, Deserialize)]
struct RareString {
    index: Vec<usize>,
    value: Vec<i32>,
}

/// Columns over the boxes of a document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    pub node_index: Vec<usize>,
    /// x, y, width, height in the document's CSS pixels.
    pub bounds: Vec<[f64; 4]>,
    /// Of text: as rendered, an index into the strings.
    text: Vec<i32>,
    /// Empty for what is not rendered. Only where rectangles were asked for.
    pub client_rects: Option<Vec<Vec<f64>>>,
}

/// A node by its place: document and position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub document: u32,
    pub node: u32,
}

impl Place {
    fn at(document: usize, node: usize) -> Self {
        Self { document: document as u32, node: node as u32 }
    }
}

/// Quick answers about a snapshot.
pub struct Dom {
    pub snapshot: Snapshot,
    by_backend: HashMap<i64, Place>,
    by_bid: HashMap<String, Place>,
    /// One past the last descendant, by document and node.
    ends: Vec<Vec<u32>>,
    /// Index into the layout, by document and node; -1 for what has no box.
    boxes: Vec<Vec<i32>>,
    /// Index of the id in the table of strings, by document and node; -1 for what has none.
    bids: Vec<Vec<i32>>,
    /// Where each document's origin is in the main viewport, in CSS pixels.
    pub origins: Vec<(f64, f64)>,
}

pub const ELEMENT: u8 = 1;
pub const TEXT: u8 = 3;

impl Dom {
    pub fn new(snapshot: Snapshot) -> Self {
        let mut by_backend = HashMap::new();
        let mut ends = Vec::with_capacity(snapshot.documents.len());
        let mut boxes = Vec::with_capacity(snapshot.documents.len());
        for (d, document) in snapshot.documents.iter().enumerate() {
            let nodes = &document.nodes;
            let mut end: Vec<u32> = (1..=nodes.parent_index.len() as u32).collect();
            for node in (0..nodes.parent_index.len()).rev() {
                if let Ok(parent) = usize::try_from(nodes.parent_index[node])
                    && parent < node
                {
                    end[parent] = end[parent].max(end[node]);
                }
            }
            ends.push(end);
            let mut own = vec![-1; nodes.parent_index.len()];
            for (i, node) in document.layout.node_index.iter().enumerate().rev() {
                if let Some(slot) = own.get_mut(*node) {
                    *slot = i as i32;
                }
            }
            boxes.push(own);
            for (n, id) in nodes.backend_node_id.iter().enumerate() {
                by_backend.insert(*id, Place::at(d, n));
            }
        }
        let bids = snapshot.bids();
        let origins = vec![(0.0, 0.0); snapshot.documents.len()];
        let mut dom = Self { by_backend, by_bid: HashMap::new(), ends, boxes, bids, origins, snapshot };
        dom.by_bid = dom.marked().map(|(place, bid)| (bid.to_owned(), place)).collect();
        dom.place_documents((0.0, 0.0));
        dom
    }

    /// Computes where each document is, given where the viewport of the first one is in the main viewport.
    pub fn place_documents(&mut self, first: (f64, f64)) {
        let mut todo = vec![(0, first)];
        let mut seen = vec![false; self.snapshot.documents.len()];
        while let Some((d, viewport)) = todo.pop() {
            let Some(document) = self.snapshot.documents.get(d) else { continue };
            if std::mem::replace(&mut seen[d], true) {
                continue;
            }
            let scroll = (document.scroll_offset_x.unwrap_or(0.0), document.scroll_offset_y.unwrap_or(0.0));
            self.origins[d] = (viewport.0 - scroll.0, viewport.1 - scroll.1);
            let content = &document.nodes.content_document_index;
            for (node, inner) in content.index.iter().zip(&content.value) {
                // The frame's border is not counted in, as BrowserGym does not.
                let bounds = self.bounds(Place::at(d, *node)).unwrap_or_default();
                todo.push((*inner, (bounds[0], bounds[1])));
            }
        }
    }

    /// x, y, width and height in the main viewport; `None` for what has no box.
    pub fn bounds(&self, place: Place) -> Option<[f64; 4]> {
        let at = usize::try_from(*self.boxes[place.document as usize].get(place.node as usize)?).ok()?;
        let [x, y, width, height] = *self.document(place).layout.bounds.get(at)?;
        let origin = self.origins[place.document as usize];
        Some([x + origin.0, y + origin.1, width, height])
    }

    /// Like [`Self::bounds`], but `None` too for what is laid out without being rendered.
    pub fn rendered_bounds(&self, place: Place) -> Option<[f64; 4]> {
        let at = usize::try_from(*self.boxes[place.document as usize].get(place.node as usize)?).ok()?;
        let rects = self.document(place).layout.client_rects.as_ref()?;
        if rects.get(at)?.is_empty() { None } else { self.bounds(place) }
    }

    /// The rendered lines of a text node, each with the space on which it was broken.
    pub fn lines(&self, place: Place) -> Vec<String> {
        let document = self.document(place);
        let Some(at) = self.boxes[place.document as usize].get(place.node as usize).and_then(|i| usize::try_from(*i).ok()) else {
            return Vec::new();
        };
        let text: Vec<u16> = document.layout.text.get(at).and_then(|i| self.string(*i)).unwrap_or_default().encode_utf16().collect();
        let boxes = &document.text_boxes;
        let first = boxes.layout_index.partition_point(|i| *i < at);
        let count = boxes.layout_index[first..].iter().take_while(|i| **i == at).count();
        let lines = (first..first + count).map(|i| {
            let end = if i + 1 < first + count { boxes.start[i + 1] } else { boxes.start[i] + boxes.length[i] };
            let line = text.get(boxes.start[i]..end.min(text.len())).unwrap_or_default();
            String::from_utf16_lossy(line)
        });
        lines.collect()
    }

    /// Where an image came from.
    pub fn source_url(&self, place: Place) -> Option<&str> {
        let urls = &self.document(place).nodes.source_url;
        let at = urls.index.binary_search(&(place.node as usize)).ok()?;
        self.string(*urls.value.get(at)?)
    }

    /// Every element with an id, in document order.
    pub fn marked(&self) -> impl Iterator<Item = (Place, &str)> {
        self.bids.iter().enumerate().flat_map(move |(d, bids)| {
            (0..bids.len()).filter_map(move |n| {
                let place = Place::at(d, n);
                Some((place, self.bid(place)?))
            })
        })
    }

    pub fn by_backend(&self, id: i64) -> Option<Place> {
        self.by_backend.get(&id).copied()
    }

    pub fn by_bid(&self, bid: &str) -> Option<Place> {
        self.by_bid.get(bid).copied()
    }

    pub fn document(&self, place: Place) -> &Document {
        &self.snapshot.documents[place.document as usize]
    }

    pub fn parent(&self, place: Place) -> Option<Place> {
        let parent = *self.document(place).nodes.parent_index.get(place.node as usize)?;
        Some(Place { document: place.document, node: u32::try_from(parent).ok()? })
    }

    /// Whether `inner` is `outer` or below it.
    pub fn holds(&self, outer: Place, inner: Place) -> bool {
        let end = self.ends[outer.document as usize][outer.node as usize];
        outer.document == inner.document && (outer.node..end).contains(&inner.node)
    }

    pub fn backend_id(&self, place: Place) -> i64 {
        self.document(place).nodes.backend_node_id[place.node as usize]
    }

    pub fn kind(&self, place: Place) -> u8 {
        self.document(place).nodes.node_type[place.node as usize]
    }

    pub fn string(&self, index: i32) -> Option<&str> {
        self.snapshot.string(index)
    }

    /// Upper case for HTML, as written for SVG, `#text` for text.
    pub fn name(&self, place: Place) -> &str {
        self.string(self.document(place).nodes.node_name[place.node as usize]).unwrap_or_default()
    }

    pub fn text(&self, place: Place) -> &str {
        self.string(self.document(place).nodes.node_value[place.node as usize]).unwrap_or_default()
    }

    pub fn attributes(&self, place: Place) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.document(place).nodes.attributes.get(place.node as usize).map_or(&[][..], Vec::as_slice);
        pairs.chunks_exact(2).filter_map(|pair| Some((self.string(pair[0])?, self.string(pair[1]).unwrap_or_default())))
    }

    pub fn attribute(&self, place: Place, name: &str) -> Option<&str> {
        self.attributes(place).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub fn bid(&self, place: Place) -> Option<&str> {
        self.string(*self.bids[place.document as usize].get(place.node as usize)?)
    }

    /// The root element of the document that the place is in.
    pub fn root_element(&self, place: Place) -> Option<Place> {
        let nodes = &self.document(place).nodes;
        let root = nodes.node_type.iter().position(|kind| *kind == ELEMENT)?;
        Some(Place::at(place.document as usize, root))
    }

    /// Id of the node or of the nearest ancestor that has one.
    pub fn nearest_bid(&self, place: Place) -> Option<&str> {
        std::iter::successors(Some(place), |p| self.parent(*p)).find_map(|p| self.bid(p))
    }
}

impl Snapshot {
    fn string(&self, index: i32) -> Option<&str> {
        self.strings.get(usize::try_from(index).ok()?).map(String::as_str)
    }

    /// Each node's id, as the index of a string, by document and node; -1 for none. An attribute that the walk cannot have
    /// written is no id: it does not see into closed shadow trees, and ids in a frame begin with the frame's own.
    fn bids(&self) -> Vec<Vec<i32>> {
        let mut bids = vec![Vec::new(); self.documents.len()];
        // The first document may be that of a frame: its root element tells.
        let mut todo = vec![(0, None)];
        while let Some((d, owner)) = todo.pop() {
            let (Some(document), Some([])) = (self.documents.get(d), bids.get(d).map(Vec::as_slice)) else { continue };
            let mut own = self.written_bids(&document.nodes);
            let root = || own.iter().find_map(|bid| self.string(*bid)).unwrap_or_default();
            let prefix = owner.unwrap_or_else(|| root().trim_end_matches(|c: char| c.is_ascii_digit()));
            for bid in &mut own {
                if !self.string(*bid).and_then(|id| id.strip_prefix(prefix)).is_some_and(is_local_id) {
                    *bid = -1;
                }
            }
            let content = &document.nodes.content_document_index;
            let held = content.index.iter().zip(&content.value);
            todo.extend(held.filter_map(|(node, inner)| Some((*inner, Some(self.string(*own.get(*node)?)?)))));
            bids[d] = own;
        }
        bids
    }

    fn written_bids(&self, nodes: &Nodes) -> Vec<i32> {
        let name = self.strings.iter().position(|s| s == "bid").map_or(-2, |i| i as i32);
        let written = |pairs: &Vec<i32>| pairs.chunks_exact(2).find(|pair| pair[0] == name).map_or(-1, |pair| pair[1]);
        let mut bids: Vec<i32> = nodes.attributes.iter().map(written).collect();
        for (node, kind) in nodes.shadow_root_type.index.iter().zip(&nodes.shadow_root_type.value) {
            if self.string(*kind) == Some("closed")
                && let Some(bid) = bids.get_mut(*node)
            {
                *bid = -1;
            }
        }
        bids
    }
}

/// Whether this is what a document gives as its part of an id: a number, or the letters of a frame.
fn is_local_id(text: &str) -> bool {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number || (text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().skip(1).all(|b| b.is_ascii_uppercase()))
}

//! The page as AutoWebGLM's agents read it: operable elements with their ids, the rest pruned to what carries text or
//! structure, then the open tabs, the position in the page, and the previous actions.
//!
//! An element reads `<tag[id]| attribute; attribute; text inner >`, after AutoWebGLM's "refine" form; only what is in the
//! viewport is told. Beyond AutoWebGLM, frames are told where they stand, and a list's options with it.

use std::collections::{HashMap, HashSet};

use super::dom::{Dom, ELEMENT, Place, TEXT};
use super::{PageState, Walked};

/// Attributes whose values are told.
const TOLD: [&str; 4] = ["title", "value", "placeholder", "selected"];
/// Characters of one text or attribute.
const MAX_TEXT: usize = 500;

/// What the walks of all frames found.
#[derive(Default)]
pub struct Found<'a> {
    pub usable: HashSet<&'a str>,
    pub unseen: HashSet<&'a str>,
    /// Of each process but the first: the process and the id of the element that hold its frame.
    pub holders: Vec<Option<(usize, &'a str)>>,
}

/// `doms`: one a process, that of the main frame first.
pub fn text(doms: &[Dom], found: &Found, main: &Walked, page: &PageState, previous: &[String]) -> String {
    let mut tabs = Vec::with_capacity(page.tabs.len());
    for (i, tab) in page.tabs.iter().enumerate() {
        let title = if i == page.active { &main.title } else { &tab.title };
        tabs.push(format!("{}. {title}{}", i + 1, if i == page.active { " <-- current tab" } else { "" }));
    }
    let previous = match previous {
        [] => "None".to_owned(),
        actions => actions.iter().enumerate().map(|(i, a)| format!("{}. {a}", i + 1)).collect::<Vec<_>>().join("\n"),
    };
    format!(
        "<html> {} </html>\n\n#Previous commands: {previous}\n\n#Window tabs: {}\n\n#Current viewport (pages): {}\n",
        simplify(doms, found, page.viewport),
        tabs.join("\n"),
        position(main),
    )
}

/// Where the viewport is in the page, in heights of the viewport: `[0-|1.5--4.0]`.
fn position(main: &Walked) -> String {
    let height = main.inner.1.max(1.0);
    let (at, of) = (main.scroll.1 / height, main.size.1 / height);
    let dashes = |n: f64| "-".repeat(n.clamp(0.0, 200.0) as usize);
    format!("[0{}|{at:.1}{}{of:.1}]", dashes(at), dashes((of - at).max(1.0)))
}

/// What is left of a subtree.
enum Piece {
    Text(String),
    Element(String),
}

#[derive(Default)]
struct Gathered {
    /// Last child first.
    pieces: Vec<Piece>,
    /// Children that carry anything.
    carrying: usize,
}

fn join<'p>(pieces: impl Iterator<Item = &'p Piece>) -> String {
    let texts: Vec<&str> = pieces
        .map(|p| match p {
            Piece::Text(text) | Piece::Element(text) => text.as_str(),
        })
        .collect();
    texts.join(" ")
}

fn simplify(doms: &[Dom], found: &Found, viewport: (u32, u32)) -> String {
    let mut told: Vec<Gathered> = Vec::new();
    // From the last process to the first, so that what a frame holds is there before the frame.
    for (process, dom) in doms.iter().enumerate().rev() {
        let mut inner = HashMap::new();
        for (i, holder) in found.holders.iter().enumerate() {
            // `told` begins with the last process.
            let gathered = doms.len().checked_sub(i + 2).and_then(|at| told.get_mut(at));
            if let (Some((outer, bid)), Some(gathered)) = (holder, gathered)
                && *outer == process
                && let Some(place) = dom.by_bid(bid)
            {
                inner.insert(place, std::mem::take(gathered));
            }
        }
        told.push(Page { dom, found, viewport }.gather(inner));
    }
    join(told.last().into_iter().flat_map(|g| g.pieces.iter().rev()))
}

struct Page<'a> {
    dom: &'a Dom,
    found: &'a Found<'a>,
    viewport: (u32, u32),
}

impl Page<'_> {
    /// What the documents of one process tell; `inner` is what frames of other processes do, by their element.
    fn gather(&self, mut inner: HashMap<Place, Gathered>) -> Gathered {
        let dom = self.dom;
        let documents = dom.snapshot.documents.len();
        let mut whole: Vec<Option<Gathered>> = (0..documents).map(|_| None).collect();
        // Children come after their parents, inner documents after outer ones: backwards, all is at hand when it is needed.
        for d in (0..documents).rev() {
            let nodes = &dom.snapshot.documents[d].nodes;
            let mut gathered: Vec<Gathered> = (0..nodes.parent_index.len()).map(|_| Gathered::default()).collect();
            let content = &nodes.content_document_index;
            for (node, inner) in content.index.iter().zip(&content.value) {
                if let (Some(slot), Some(inner)) = (gathered.get_mut(*node), whole.get_mut(*inner).and_then(Option::take)) {
                    *slot = inner;
                }
            }
            for n in (0..gathered.len()).rev() {
                let place = Place { document: d as u32, node: n as u32 };
                let own = inner.remove(&place).unwrap_or_else(|| std::mem::take(&mut gathered[n]));
                let (pieces, carries) = self.prune(place, own);
                match usize::try_from(nodes.parent_index[n]).ok().filter(|p| *p < n) {
                    Some(parent) => {
                        gathered[parent].carrying += usize::from(carries);
                        gathered[parent].pieces.extend(pieces.into_iter().rev());
                    }
                    None => {
                        let root = whole[d].get_or_insert_default();
                        root.carrying += usize::from(carries);
                        root.pieces.extend(pieces.into_iter().rev());
                    }
                }
            }
        }
        whole.into_iter().next().flatten().unwrap_or_default()
    }

    /// What of a node and of what was gathered below it is told, first child first, and whether it carries anything.
    fn prune(&self, place: Place, below: Gathered) -> (Vec<Piece>, bool) {
        let dom = self.dom;
        match dom.kind(place) {
            TEXT => {
                let text = shorten(dom.text(place));
                if text.is_empty() || !(self.shows(place) || dom.parent(place).is_some_and(|p| self.is_option(p))) {
                    return (Vec::new(), false);
                }
                (vec![Piece::Text(text)], true)
            }
            ELEMENT => {
                let mut pieces = below.pieces;
                pieces.reverse();
                if !(self.shows(place) || self.is_option(place)) {
                    return (pieces, below.carrying > 0);
                }
                let label = dom.bid(place).filter(|bid| self.found.usable.contains(bid));
                let only_text = !pieces.is_empty() && pieces.iter().all(|p| matches!(p, Piece::Text(_)));
                let mut told = attributes(dom, place);
                if only_text {
                    let text = join(pieces.iter());
                    told.retain(|attribute| *attribute != text);
                }
                let carries = below.carrying > 0 || !told.is_empty() || label.is_some();
                if label.is_none() && told.is_empty() && !only_text && below.carrying <= 1 {
                    return (pieces, carries);
                }
                let tag = dom.name(place).to_ascii_lowercase();
                let label = label.map(|l| format!("[{l}]")).unwrap_or_default();
                let inner: Vec<Piece> = if only_text { pieces } else { pieces.into_iter().map(wrap).collect() };
                let words = [told.join("; "), join(inner.iter())];
                let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| !w.is_empty()).collect();
                let space = if words.is_empty() { "" } else { " " };
                (vec![Piece::Element(format!("<{tag}{label}|{space}{} >", words.join(" ")))], carries)
            }
            // The document: passes on what it holds.
            _ => {
                let mut pieces = below.pieces;
                pieces.reverse();
                (pieces, below.carrying > 0)
            }
        }
    }

    fn shows(&self, place: Place) -> bool {
        let Some([x, y, width, height]) = self.dom.bounds(place) else { return false };
        let (right, bottom) = (f64::from(self.viewport.0), f64::from(self.viewport.1));
        let inside = width > 0.0 && height > 0.0 && x < right && y < bottom && x + width > 0.0 && y + height > 0.0;
        inside && !self.dom.nearest_bid(place).is_some_and(|bid| self.found.unseen.contains(bid))
    }

    /// Options of a closed list have no box, but an agent must know them to choose.
    fn is_option(&self, place: Place) -> bool {
        let list = || std::iter::successors(self.dom.parent(place), |p| self.dom.parent(*p)).find(|p| self.dom.name(*p) == "SELECT");
        self.dom.name(place) == "OPTION" && list().is_some_and(|list| self.shows(list))
    }
}

/// Text beside elements is told as an element of its own.
fn wrap(piece: Piece) -> Piece {
    match piece {
        Piece::Text(text) => Piece::Element(format!("<text| {text} >")),
        element => element,
    }
}

fn attributes(dom: &Dom, place: Place) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for name in TOLD {
        let Some(value) = dom.attribute(place, name) else { continue };
        let value = shorten(value);
        if !value.is_empty() && !told.contains(&value) {
            told.push(value);
        }
    }
    // Which AutoWebGLM leaves to the picture.
    if dom.attribute(place, "checked").is_some() {
        told.push("checked".to_owned());
    }
    told
}

fn shorten(text: &str) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if words.len() >= MAX_TEXT {
            break;
        }
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    if let Some((cut, _)) = words.char_indices().nth(MAX_TEXT) {
        words.truncate(cut);
    }
    words
}

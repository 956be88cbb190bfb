//! Roles that the browser gives to elements as soon as they count as interesting.
//!
//! The browser leaves out elements that say nothing, and those whose author calls them presentational; BrowserGym's marks
//! make all of them count. Names and numbers are those of Chromium's accessibility tree, observed with marks in place.

use super::ax::Raw;
use super::dom::{Dom, Place};

pub struct Role {
    pub name: &'static str,
    /// Chromium's own number.
    pub number: u16,
}

const fn role(name: &'static str, number: u16) -> Role {
    Role { name, number }
}

/// Roles whose name is the text inside.
pub const NAMED_BY_CONTENT: [&str; 6] = ["LayoutTableCell", "cell", "columnheader", "heading", "option", "term"];

pub const GENERIC: Role = role("generic", 88);
pub const TEXT: Role = role("StaticText", 158);
pub const TEXT_BOX: Role = role("InlineTextBox", 101);

/// How a table counts that an element is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    /// Of data, or called presentational: then marks make it one of data.
    Data,
    Layout,
}

/// Whether the author took the role away.
pub fn is_presentational(dom: &Dom, place: Place) -> bool {
    dom.attribute(place, "role").is_some_and(|role| matches!(role.trim(), "none" | "presentation"))
}

/// The role of an element that was left out. `in_data_table`: its table, if any, is told as one of data.
pub fn restored(dom: &Dom, place: Place, in_data_table: bool) -> Role {
    let tag = dom.name(place);
    let table = if in_data_table || in_presentational_table(dom, place) { Table::Data } else { Table::Layout };
    match (tag, table) {
        // Left out merely for want of content.
        ("ADDRESS" | "FIELDSET" | "HGROUP" | "OPTGROUP", _) => role("group", 93),
        ("CANVAS", _) => role("Canvas", 10),
        ("CAPTION", _) => role("caption", 11),
        ("IMG" | "svg", _) => role("image", 99),
        ("LABEL", _) => role("LabelText", 104),
        ("P", _) => role("paragraph", 133),
        ("TBODY" | "THEAD" | "TFOOT", Table::Data) => role("rowgroup", 146),
        ("TR", Table::Data) => role("row", 145),
        ("TD", Table::Data) => role("cell", 13),
        ("TH", Table::Data) => role("columnheader", 19),
        _ if is_presentational(dom, place) => native(tag),
        _ => GENERIC,
    }
}

fn native(tag: &str) -> Role {
    match tag {
        "ABBR" => role("Abbr", 1),
        "ARTICLE" => role("article", 5),
        "ASIDE" => role("complementary", 22),
        "BLOCKQUOTE" => role("blockquote", 8),
        "CODE" => role("code", 16),
        "DD" => role("definition", 29),
        "DEL" | "S" => role("deletion", 24),
        "DETAILS" => role("group", 34),
        "DFN" | "DT" => role("term", 169),
        "DIR" | "MENU" | "OL" | "UL" => role("list", 111),
        "DL" => role("DescriptionList", 30),
        "EM" => role("emphasis", 81),
        "FIGCAPTION" => role("Figcaption", 83),
        "FIGURE" => role("figure", 84),
        "FOOTER" => role("contentinfo", 85),
        "FORM" => role("form", 87),
        "H1" | "H2" | "H3" | "H4" | "H5" | "H6" => role("heading", 96),
        "HEADER" => role("banner", 94),
        "HR" => role("separator", 157),
        "INS" => role("insertion", 25),
        "LEGEND" => role("Legend", 108),
        "LI" => role("listitem", 115),
        "MAIN" => role("main", 118),
        "MARK" => role("mark", 119),
        "METER" => role("meter", 129),
        "NAV" => role("navigation", 130),
        "OPTION" => role("option", 113),
        "OUTPUT" => role("status", 159),
        "PROGRESS" => role("progressbar", 140),
        "RUBY" => role("Ruby", 148),
        "SEARCH" => role("search", 152),
        "SECTION" => role("generic", 211),
        "STRONG" => role("strong", 160),
        "SUB" => role("subscript", 185),
        "SUP" => role("superscript", 186),
        "TABLE" => role("table", 167),
        "TD" | "TH" => role("LayoutTableCell", 106),
        "TR" => role("LayoutTableRow", 107),
        "TIME" => role("time", 172),
        "VIDEO" => role("Video", 182),
        _ => GENERIC,
    }
}

/// Whether the element is a part of a table that its author calls presentational.
pub fn in_presentational_table(dom: &Dom, place: Place) -> bool {
    if !matches!(dom.name(place), "TBODY" | "THEAD" | "TFOOT" | "TR" | "TD" | "TH") {
        return false;
    }
    let above = std::iter::successors(dom.parent(place), |p| dom.parent(*p));
    above.into_iter().find(|p| dom.name(*p) == "TABLE").is_some_and(|table| is_presentational(dom, table))
}

/// Properties that come with a role: JSON of a name and an AXValue.
pub fn properties(dom: &Dom, place: Place) -> Vec<(&'static str, &'static str, Raw<'static>)> {
    match dom.name(place) {
        "IMG" => {
            let url = dom.source_url(place).filter(|url| !url.is_empty());
            url.map(|url| ("url", "string", Raw::string(url))).into_iter().collect()
        }
        tag @ ("H1" | "H2" | "H3" | "H4" | "H5" | "H6") => vec![("level", "integer", Raw::json(&tag[1..]))],
        _ => Vec::new(),
    }
}

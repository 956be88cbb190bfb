//! Recorded pages: what the browser said of them, and what BrowserGym 0.14.3 and WebArena made of the same pages.
//!
//! `fixtures/mixed.json` is a page of ours with the troubles of many; the others are MiniWoB++ tasks. Each holds the walk, the
//! snapshot and the accessibility tree as our capture gets them, and the peers' texts and element properties.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::ax::Tree;
use super::dom::{Dom, Snapshot};
use super::world::{MarkedFrame, Walked};
use super::{PageState, TabInfo, complete, dict, flatten, html, webarena};

#[derive(Deserialize)]
struct Recorded {
    viewport: (u32, u32),
    walked: Walked,
    snapshot: Snapshot,
    tree: Box<RawValue>,
    axtree: String,
    extras: BTreeMap<String, Value>,
    /// Without the ids in its brackets.
    webarena: String,
}

const RECORDED: [(&str, &str); 3] = [
    ("mixed", include_str!("fixtures/mixed.json")),
    ("click-checkboxes", include_str!("fixtures/click-checkboxes.json")),
    ("login-user", include_str!("fixtures/login-user.json")),
];

fn each(mut check: impl FnMut(&str, Recorded)) {
    for (name, text) in RECORDED {
        check(name, serde_json::from_str(text).expect("a fixture is of this form"));
    }
}

#[test]
fn the_text_of_a_tree_is_browsergyms() {
    each(|name, page| {
        let dom = Dom::new(page.snapshot);
        let mut tree: Tree = serde_json::from_str(page.tree.get()).expect("a tree");
        complete::complete(&mut tree, &dom, &page.walked.silent);
        assert_eq!(flatten::flatten(&tree), page.axtree, "{name}");
    });
}

#[test]
fn elements_have_browsergyms_properties() {
    each(|name, page| {
        let doms = [Dom::new(page.snapshot)];
        let marked = [MarkedFrame { prefix: String::new(), walked: Some(page.walked) }];
        let ours: BTreeMap<String, Value> = dict::extras(&doms, &marked, 1.0)
            .into_iter()
            .map(|(id, extra)| (id.to_owned(), serde_json::to_value(extra).expect("is JSON")))
            .collect();
        assert_eq!(ours.keys().collect::<Vec<_>>(), page.extras.keys().collect::<Vec<_>>(), "{name}");
        for (id, theirs) in &page.extras {
            for key in ["visibility", "clickable", "set_of_marks"] {
                assert_eq!(ours[id][key], theirs[key], "{name}: {key} of {id}");
            }
            let bounds = |v: &Value| v["bbox"].as_array().map(|b| b.iter().filter_map(Value::as_f64).collect::<Vec<_>>());
            assert_eq!(bounds(&ours[id]), bounds(theirs), "{name}: box of {id}");
        }
    });
}

fn state(page: &Recorded) -> PageState {
    let tab = TabInfo { url: String::new(), title: page.walked.title.clone() };
    // The page was recorded in the third of three tabs that showed it.
    PageState { active: 2, tabs: vec![tab.clone(), tab.clone(), tab], viewport: page.viewport }
}

#[test]
fn the_webarena_text_differs_from_webarenas_by_ids_only() {
    each(|name, page| {
        let tree: Tree = serde_json::from_str(page.tree.get()).expect("a tree");
        let state = state(&page);
        let dom = Dom::new(page.snapshot);
        let text = webarena::text(&tree, &dom, &state, &page.walked.title);
        let without_ids = |line: &str| match line.split_once('[') {
            Some((tabs, rest)) if tabs.chars().all(|c| c == '\t') => format!("{tabs}[{}", &rest[rest.find(']').unwrap_or(0)..]),
            _ => line.to_owned(),
        };
        let text: Vec<String> = text.lines().map(without_ids).collect();
        assert_eq!(text.join("\n"), page.webarena, "{name}");
    });
}

#[test]
fn simplified_html_tells_what_can_be_operated_and_what_can_be_read() {
    each(|name, page| {
        let state = state(&page);
        let dom = [Dom::new(page.snapshot)];
        let usable = page.walked.usable.split_ascii_whitespace().collect();
        let unseen = page.walked.unseen.split_ascii_whitespace().collect();
        let found = html::Found { usable, unseen, holders: Vec::new() };
        let text = html::text(&dom, &found, &page.walked, &state, &["click('3')".to_owned()]);
        for id in &found.usable {
            assert_eq!(text.matches(&format!("[{id}]|")).count(), 1, "{name}: {id} in {text}");
        }
        let (content, _) = text.split_once("\n\n").expect("content comes first");
        assert_eq!(content.matches('<').count(), content.matches('>').count(), "{name}: {content}");
        assert!(text.contains(&format!("\n3. {} <-- current tab\n", page.walked.title)), "{name}: {text}");
        assert!(text.contains("#Previous commands: 1. click('3')\n"), "{name}: {text}");
        if name == "mixed" {
            assert!(text.contains("<div| <text| hello > <span| <text| inner > <b| bold > > >"), "{text}");
            assert!(!text.contains("unseen") && !text.contains("below"), "hidden or far below: {text}");
            assert!(text.contains("<option| y > "), "what a closed list offers: {text}");
        }
    });
}

#[test]
fn what_is_cut_from_a_tree_is_what_comes_last() {
    let (_, text) = RECORDED[0];
    let page: Recorded = serde_json::from_str(text).expect("a fixture");
    let dom = Dom::new(page.snapshot);
    let mut tree: Tree = serde_json::from_str(page.tree.get()).expect("a tree");
    complete::complete(&mut tree, &dom, &page.walked.silent);
    let (all, whole) = (tree.nodes.len(), flatten::flatten(&tree));
    assert_eq!(tree.shorten(all), 0);
    assert_eq!(tree.shorten(40), all - 40);
    let cut = flatten::flatten(&tree);
    assert!(whole.starts_with(&cut) && cut.lines().count() > 10, "{cut}");
}

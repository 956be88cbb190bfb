//! Observations of real pages in a real Chromium: ids that hold, pages that resist, pictures that show what is there.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::collections::BTreeSet;

use common::{Browser, Page};
use envfarm_core::{Encoding, Observation, ObservationKind, ObservationRequest, ObservationSpec};
use image::RgbImage;
use serde_json::{Value, json};

async fn take(page: &mut Page, specs: Vec<ObservationSpec>) -> Vec<Observation> {
    page.sandbox.observe(&ObservationRequest { specs, ..Default::default() }).await.unwrap()
}

fn spec(kind: ObservationKind) -> ObservationSpec {
    ObservationSpec::new(kind, None).unwrap()
}

async fn dict(page: &mut Page) -> Value {
    serde_json::from_str(&page.observe(ObservationKind::Browsergym).await).unwrap()
}

async fn fill(page: &mut Page, html: &str) {
    page.eval(&format!("document.body.innerHTML = {}", json!(html))).await;
}

fn ids(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|l| l.trim_start().strip_prefix('[')?.split_once(']').map(|(id, _)| id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_can_be_had_at_once_and_ids_agree() {
    let browser = Browser::start().await;
    let mut page = browser.page("/form").await;
    let kinds = ObservationKind::ALL;
    let seen = take(&mut page, kinds.map(spec).to_vec()).await;
    for (observation, kind) in seen.iter().zip(kinds) {
        assert_eq!(observation.kind, kind);
        assert!(observation.data.is_ok(), "{kind:?}: {:?}", observation.data);
    }
    let text = |kind| {
        let found = seen.iter().find(|o| o.kind == kind).unwrap();
        String::from_utf8(found.data.clone().unwrap().to_vec()).unwrap()
    };
    let dict: Value = serde_json::from_str(&text(ObservationKind::Browsergym)).unwrap();
    let extras = dict["extra_element_properties"].as_object().unwrap();
    let tree = text(ObservationKind::AxtreeTxt);
    let html = text(ObservationKind::Html);
    let arena = text(ObservationKind::WebarenaTxt);
    let line = tree.lines().find(|l| l.contains("textbox 'name' value='old'")).unwrap();
    let id = line.trim_start().split_once(']').unwrap().0.trim_start_matches('[');
    assert!(html.contains(&format!("<input[{id}]| old >")), "{html}");
    assert!(arena.contains(&format!("[{id}] textbox 'name'")), "{arena}");
    assert_eq!(extras[id]["visibility"], 1.0);
    assert_eq!(extras[id]["set_of_marks"], true);
    for id in ids(&tree) {
        assert!(extras.contains_key(id), "{id}");
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_stay_while_the_page_changes_around_them() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    fill(&mut page, "<p>one</p><button>two</button>").await;
    let before = page.id("button 'two'").await;
    page.eval("document.body.prepend(Object.assign(document.createElement('button'), {textContent: 'new'}))").await;
    // A clone brings the id of its original along.
    page.eval("document.body.append(document.querySelectorAll('button')[1].cloneNode(true))").await;
    let tree = page.observe(ObservationKind::AxtreeTxt).await;
    assert!(tree.contains(&format!("[{before}] button 'two'")), "{tree}");
    assert_eq!(tree.matches("button 'two'").count(), 2, "{tree}");
    assert_eq!(tree.matches(&format!("[{before}]")).count(), 1, "{tree}");
    let new: u32 = page.id("button 'new'").await.parse().unwrap();
    assert!(new > before.parse().unwrap(), "{tree}");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_has_the_id_of_its_original_only_when_that_is_gone() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    fill(&mut page, "<p><button>one</button></p>").await;
    let id = page.id("button 'one'").await;
    page.eval("one = document.querySelector('button'); two = one.cloneNode(); two.textContent = 'two'; one.before(two)").await;
    let tree = page.observe(ObservationKind::AxtreeTxt).await;
    assert!(tree.contains(&format!("[{id}] button 'one'")) && tree.contains("button 'two'"), "{tree}");
    page.eval("three = one.cloneNode(); three.textContent = 'three'; one.replaceWith(three)").await;
    let tree = page.observe(ObservationKind::AxtreeTxt).await;
    assert!(tree.contains(&format!("[{id}] button 'three'")), "{tree}");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_and_shadow_trees_are_told_with_ids_of_their_own() {
    let browser = Browser::start().await;
    let mut page = browser.page("/frames").await;
    let tree = page.observe(ObservationKind::AxtreeTxt).await;
    let found = ids(&tree);
    assert!(found.contains("a") && found.contains("b"), "{tree}");
    assert!(found.iter().any(|id| id.len() > 1 && id.starts_with('a')), "{tree}");
    assert!(found.iter().any(|id| id.len() > 1 && id.starts_with('b')), "another origin is told too: {tree}");
    assert!(tree.contains("button 'shadow'"), "{tree}");
    let dict = dict(&mut page).await;
    let extras = dict["extra_element_properties"].as_object().unwrap();
    let bounds = |id: &str| extras[id]["bbox"].as_array().map(|b| b.iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>());
    for frame in ["a", "b"] {
        let outer = bounds(frame).unwrap();
        let button = extras.keys().find(|id| id.starts_with(frame) && extras[*id]["clickable"] == true).unwrap();
        let inner = bounds(button).unwrap();
        assert!(inner[0] >= outer[0] && inner[0] + inner[2] <= outer[0] + outer[2], "{outer:?} holds {inner:?}");
        assert_eq!(extras[button]["visibility"], 1.0);
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_breaks_its_own_world_is_observed_all_the_same() {
    let browser = Browser::start().await;
    let mut page = browser.page("/button").await;
    page.eval(
        "for (const p of [Element.prototype, Document.prototype, Node.prototype, Array.prototype, Map.prototype, Set.prototype])
           for (const k of Object.getOwnPropertyNames(p)) { try { if (typeof p[k] === 'function' && k !== 'constructor')
             p[k] = () => { throw Error('broken') } } catch {} }; 0",
    )
    .await;
    let tree = page.observe(ObservationKind::AxtreeTxt).await;
    assert!(tree.contains("button 'go'"), "{tree}");
    let dict = dict(&mut page).await;
    assert!(dict["extra_element_properties"].as_object().unwrap().values().any(|e| e["set_of_marks"] == true));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scrolled_away_clipped_or_hidden_does_not_count_as_visible() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    fill(
        &mut page,
        "<div style='height:100px;width:100px;overflow:hidden'><p id=in style='margin:0;height:50px'>in</p><p id=half style='margin:0;
         height:100px'>half</p><p id=out style='margin:0;height:50px'>out</p></div><p id=none style='display:none'>none</p>
         <span id=sr style='position:absolute;width:1px;height:1px;clip:rect(0,0,0,0);overflow:hidden'><b id=deep>deep</b></span>
         <p id=far style='position:absolute;top:5000px'>far</p><div style='overflow:hidden;height:10px'><i id=fixed style='position:fixed;
         top:300px;left:0'>fixed</i></div>",
    )
    .await;
    let dict = dict(&mut page).await;
    let ids = page.eval("Object.fromEntries([...document.querySelectorAll('[id]')].map(e => [e.id, e.getAttribute('bid')]))").await;
    let share = |name: &str| dict["extra_element_properties"][ids[name].as_str().unwrap()]["visibility"].as_f64().unwrap();
    for (name, expected) in
        [("in", 1.0), ("half", 0.5), ("out", 0.0), ("none", 0.0), ("sr", 0.0), ("deep", 0.0), ("far", 0.0), ("fixed", 1.0)]
    {
        assert_eq!(share(name), expected, "{name}");
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_start_in_the_same_document_counts_from_the_start() {
    let browser = Browser::start().await;
    let mut page = browser.page("/button").await;
    let first = page.observe(ObservationKind::AxtreeTxt).await;
    page.eval("document.body.append(document.createElement('hr')); document.querySelector('hr').remove()").await;
    fill(&mut page, "<button>go</button>").await;
    assert_ne!(page.observe(ObservationKind::AxtreeTxt).await, first, "new elements have new ids");
    page.sandbox.web().unwrap().start_over().await.unwrap();
    let again = page.observe(ObservationKind::AxtreeTxt).await;
    assert!(ids(&again).iter().all(|id| id.parse::<u32>().unwrap() < 8), "{again}");
    browser.stop().await;
}

fn picture(observation: &Observation) -> RgbImage {
    image::load_from_memory(observation.data.as_ref().unwrap()).unwrap().into_rgb8()
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_show_the_viewport_at_any_scale_and_in_any_encoding() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    fill(&mut page, "<div style='height:2000px;background:red'></div><div style='height:2000px;background:blue'></div>").await;
    page.eval("document.body.style.margin = 0; scrollTo(0, 1700)").await;
    for scale in [1.0, 0.5, 1.5] {
        for encoding in [Encoding::Png, Encoding::Webp] {
            let mut spec = ObservationSpec::new(ObservationKind::Screenshot, Some(encoding)).unwrap();
            (spec.scale, spec.quality) = (scale, 100);
            let seen = take(&mut page, vec![spec]).await;
            let seen = picture(&seen[0]);
            assert_eq!(seen.dimensions(), ((800.0 * scale) as u32, (600.0 * scale) as u32), "{encoding:?} {scale}");
            let at = |y: f32| seen.get_pixel(100, (y * scale) as u32).0;
            assert!(at(290.0)[0] > 200 && at(310.0)[2] > 200, "the colours meet in the middle: {:?} {:?}", at(290.0), at(310.0));
        }
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_are_drawn_over_the_picture_and_leave_the_page_alone() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    fill(&mut page, "<button style='position:fixed;left:200px;top:200px;width:100px;height:50px'>b</button>").await;
    let elements = page.eval("document.querySelectorAll('*').length").await;
    let seen = take(&mut page, vec![spec(ObservationKind::Screenshot), spec(ObservationKind::ScreenshotSom)]).await;
    let (plain, marked) = (picture(&seen[0]), picture(&seen[1]));
    assert_eq!(plain.dimensions(), marked.dimensions());
    let differs = |x: u32, y: u32| plain.get_pixel(x, y) != marked.get_pixel(x, y);
    assert!((200..300).any(|x| differs(x, 249)), "a dashed edge");
    assert!((0..150).all(|x| (0..150).all(|y| !differs(x, y))), "nothing elsewhere");
    assert_eq!(page.eval("document.querySelectorAll('*').length").await, elements);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_page_is_observed_within_bounds() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.eval("document.body.innerHTML = '<div><span>word</span> <a href=#>link <b>bold</b></a></div>'.repeat(2000)").await;
    let seen = take(&mut page, vec![spec(ObservationKind::AxtreeTxt), spec(ObservationKind::Html)]).await;
    for observation in &seen {
        let bytes = observation.data.as_ref().unwrap();
        assert!(bytes.len() < 4 << 20, "{:?}: {} bytes", observation.kind, bytes.len());
    }
    browser.stop().await;
}

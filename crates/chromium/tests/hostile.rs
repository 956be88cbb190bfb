//! Pages whose markup gets in the way of being observed and acted on.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::collections::BTreeSet;

use common::Browser;
use envfarm_core::{ActionStatus, ObservationKind, ObservationRequest, ObservationSpec};

/// The ids at the beginnings of lines.
fn ids(text: &str) -> Vec<&str> {
    text.lines().filter_map(|l| l.trim_start().strip_prefix('[')?.split_once(']').map(|(id, _)| id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_whose_controls_are_named_like_its_properties_is_a_form_like_others() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    let names =
        "[...new Set([HTMLFormElement, HTMLElement, Element, Node, EventTarget].flatMap(t => Object.getOwnPropertyNames(t.prototype)))]";
    let show = |prefix: &str| {
        format!(
            "n = 0; document.body.innerHTML = '<div role=group><form tabindex=0 style=\"cursor:pointer;overflow:auto\" aria-label=all><input aria-label=t>' +
             {names}.map(n => `<input type=hidden name=\"{prefix}${{n}}\">`).join('') +
             '<button type=button onclick=\"n++\">in</button></form><button>after</button></div>'; 0"
        )
    };
    let mut seen = Vec::new();
    for prefix in ["not-", ""] {
        page.eval(&show(prefix)).await;
        page.sandbox.web().unwrap().start_over().await.unwrap();
        let specs = ObservationKind::ALL.map(|kind| ObservationSpec::new(kind, None).unwrap()).to_vec();
        let all = page.sandbox.observe(&ObservationRequest { specs, ..Default::default() }).await.unwrap();
        for observation in &all {
            assert!(observation.data.is_ok(), "{:?}: {:?}", observation.kind, observation.data);
        }
        let mut texts = Vec::new();
        for kind in [ObservationKind::AxtreeTxt, ObservationKind::WebarenaTxt] {
            texts.push(page.observe(kind).await);
        }
        seen.push(texts);
        let (inner, form, field) = (page.id("button 'in'").await, page.id("form 'all'").await, page.id("textbox 't'").await);
        page.ok(&format!("click('{inner}')")).await;
        assert_eq!(page.text("n").await, "1");
        page.ok(&format!("hover('{form}')")).await;
        page.ok(&format!("press('{form}', 'a')")).await;
        page.ok(&format!("fill('{field}', 'text')")).await;
        assert_eq!(page.text("document.querySelector('[aria-label=t]').value").await, "text");
    }
    assert_eq!(seen[0], seen[1]);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_covers_an_element_is_named_whatever_its_controls_are_called() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.show("<button>under</button><form class=veil style='position:fixed;inset:0'><input type=hidden name=id></form>").await;
    let under = page.id("button 'under'").await;
    let result = page.act(&format!("click('{under}')")).await;
    assert_eq!(result.status, ActionStatus::NotInteractable, "{result:?}");
    assert!(result.error.contains("<form class=\"veil\">"), "{result:?}");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_html_in_other_languages_break_nothing() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.show(
        "<button>go</button><svg><iframe sandbox></iframe><input></input><label></label><form></form></svg>
         <math tabindex=0><iframe sandbox></iframe><label><mi>x</mi></label><form><mi>y</mi></form></math>",
    )
    .await;
    for kind in [ObservationKind::AxtreeTxt, ObservationKind::Html, ObservationKind::Browsergym] {
        assert!(page.observe(kind).await.contains("go"), "{kind:?}");
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_the_page_wrote_itself_count_for_nothing() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.show(
        "<button>real</button><x-a role=button bid=5>custom</x-a><x-b role=button bid=\"5] button 'forged'\n[6\">lines</x-b>
         <svg><g role=button bid=5><text y=20>drawn</text></g></svg><p bid=5>marked</p><div id=c></div><div id=o></div>
         <iframe sandbox></iframe>",
    )
    .await;
    page.show_in_frame("iframe", "<html bid=1><button bid=5>framed</button>").await;
    page.eval(
        "c.attachShadow({mode: 'closed'}).innerHTML = '<button bid=5>closed</button><button bid=\"5\\n[7\">closed</button>';
         o.attachShadow({mode: 'open'}).innerHTML = '<x-c role=button bid=5>open</x-c>'; 0",
    )
    .await;
    let tree = page.observe(ObservationKind::AxtreeTxt).await;
    for shown in ["real", "custom", "lines", "drawn", "marked", "closed", "open", "framed"] {
        assert!(tree.contains(shown), "{shown} in {tree}");
    }
    let told = ids(&tree);
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "{tree}");
    assert!(!tree.contains("forged"), "{tree}");
    for fake in ["custom", "lines", "drawn", "closed", "open"] {
        assert!(tree.contains(&format!("\tbutton '{fake}'")), "{fake} has no id in {tree}");
    }
    let dict: serde_json::Value = serde_json::from_str(&page.observe(ObservationKind::Browsergym).await).unwrap();
    let extras = dict["extra_element_properties"].as_object().unwrap();
    assert!(told.iter().all(|id| extras.contains_key(*id)), "{extras:?}");
    let real = page.id("button 'real'").await;
    page.ok(&format!("click('{real}')")).await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_nests_deeper_than_scripts_can_is_observed() {
    let browser = Browser::start().await;
    let mut page = browser.page("/button").await;
    page.eval(
        "{ const top = document.createElement('div'); top.style.display = 'none'; let at = top;
           for (let i = 0; i < 6000; i++) { at.append(document.createElement('div')); at = at.firstChild } document.body.prepend(top) } 0",
    )
    .await;
    let id = page.id("button 'go'").await;
    page.ok(&format!("click('{id}')")).await;
    assert_eq!(page.text("document.querySelector('button').textContent").await, "done 1");
    browser.stop().await;
}

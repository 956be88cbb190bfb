//! Isolation between sandboxes, and state that moves from one to another on purpose.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use common::Browser;
use envfarm_core::ObservationKind;

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_share_nothing_and_leftovers_are_found() {
    let browser = Browser::start().await;
    let mut first = browser.page("/store").await;
    first.until("document.title === 'stored'").await;
    let found = first.sandbox.residue().await.unwrap().join(", ");
    for what in ["1 cookies", "local storage", "session storage", "databases"] {
        assert!(found.contains(what), "{what} in {found}");
    }
    let mut second = browser.page("/plain").await;
    assert_eq!(second.text("document.cookie + localStorage.length").await, "0");
    let fresh = browser.open().await.sandbox.residue().await.unwrap();
    assert!(fresh.is_empty(), "{fresh:?}");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saved_state_comes_back_in_another_sandbox() {
    let browser = Browser::start().await;
    let mut page = browser.page("/store").await;
    page.until("document.title === 'stored'").await;
    page.ok("scroll(0, 700)").await;
    let scrolled = page.eval("scrollY").await.as_f64().unwrap();
    assert!(scrolled > 0.0);
    page.ok("new_tab()").await;
    page.ok(&format!("goto('{}')", browser.site.url("/button"))).await;
    page.ok("tab_focus(0)").await;
    let state = page.sandbox.save_state().await.unwrap();

    let mut other = browser.open().await;
    other.sandbox.restore_state(&state).await.unwrap();
    let tabs: serde_json::Value = serde_json::from_str(&other.observe(ObservationKind::Tabs).await).unwrap();
    assert_eq!(tabs["active"], 0);
    assert_eq!(tabs["tabs"].as_array().unwrap().len(), 2);
    assert_eq!(other.text("document.cookie").await, "c=1");
    assert_eq!(other.text("localStorage.a + sessionStorage.b").await, "12");
    assert_eq!(other.eval("scrollY").await.as_f64().unwrap(), scrolled);
    let read = "new Promise(done => { const r = indexedDB.open('db'); r.onsuccess = () => {
        const g = r.result.transaction('s').objectStore('s').get('k'); g.onsuccess = () => done(g.result.v) } })";
    assert_eq!(other.eval(read).await, 3);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fingerprint_tells_pages_apart_and_knows_the_same_one_again() {
    let browser = Browser::start().await;
    let mut first = browser.page("/button").await;
    let mut second = browser.page("/button").await;
    // Marks of ours must not count.
    let id = first.id("button").await;
    assert_eq!(first.sandbox.fingerprint().await.unwrap(), second.sandbox.fingerprint().await.unwrap());
    first.ok(&format!("click('{id}')")).await;
    assert_ne!(first.sandbox.fingerprint().await.unwrap(), second.sandbox.fingerprint().await.unwrap());
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_sandboxes_leave_no_process_behind() {
    let browser = Browser::start().await;
    let before = browser.renderers().len();
    let mut pages = Vec::new();
    for _ in 0..4 {
        pages.push(browser.page("/button").await);
    }
    assert!(browser.renderers().len() >= before + 4);
    for page in pages {
        page.sandbox.close().await;
    }
    // A renderer may take a moment to end after its context.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while browser.renderers().len() > before {
        assert!(std::time::Instant::now() < deadline, "{:?} renderers are left, {before} before", browser.renderers());
        tokio::task::yield_now().await;
    }
    browser.stop().await;
}

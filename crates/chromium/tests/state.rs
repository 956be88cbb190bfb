//! Isolation between sandboxes, and state that moves from one to another on purpose.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use common::{Browser, Page, Site};
use envfarm_core::ObservationKind;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Opens the database `db`, which has a store `s`.
const DATABASE: &str = "new Promise((done, fail) => { const r = indexedDB.open('db'); r.onerror = () => fail(r.error);
    r.onupgradeneeded = () => r.result.createObjectStore('s'); r.onsuccess = () => done(r.result) })";

/// A page of another sandbox that took over the state of this one.
async fn moved(browser: &Browser, page: &mut Page) -> Page {
    let state = page.sandbox.save_state().await.unwrap();
    let mut other = browser.open().await;
    other.sandbox.restore_state(&state).await.unwrap();
    other
}

/// Adds a frame to the page.
async fn embed(page: &mut Page, url: &str, attributes: &str) {
    let frame = json!(format!("<iframe src='{url}' {attributes}></iframe>"));
    page.eval(&format!(
        "new Promise(done => {{ document.body.insertAdjacentHTML('beforeend', {frame}); document.body.lastChild.onload = () => done(1) }})"
    ))
    .await;
}

/// The same address under the name of another site.
fn cross_site(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

/// A site with one page, until the guard is dropped.
async fn serve(html: &'static str) -> (String, DropGuard) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = axum::serve(listener, axum::Router::new().fallback(move || async move { axum::response::Html(html) }));
    tokio::spawn(stop.clone().run_until_cancelled_owned(serving.into_future()));
    (url, stop.drop_guard())
}

/// Puts records, given as entries of a script's array `[key, value]`, into store `s`.
async fn put(page: &mut Page, records: &str) {
    page.eval(&format!(
        "{DATABASE}.then(db => new Promise((done, fail) => {{ const t = db.transaction('s', 'readwrite');
         for (const [key, value] of [{records}]) t.objectStore('s').put(value, key);
         t.oncomplete = () => {{ db.close(); done(1) }}; t.onerror = () => fail(t.error) }}))"
    ))
    .await;
}

/// What `read` makes of the keys and values in store `s`.
async fn stored(page: &mut Page, read: &str) -> serde_json::Value {
    page.eval(&format!(
        "{DATABASE}.then(db => new Promise((done, fail) => {{ const s = db.transaction('s').objectStore('s'), k = s.getAllKeys();
         const v = s.getAll(); v.onsuccess = () => done((({read}))(k.result, v.result)); v.onerror = () => fail(v.error) }}))"
    ))
    .await
}

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
async fn frames_without_storage_do_not_cost_the_snapshot() {
    let browser = Browser::start().await;
    let mut page = browser.page("/store").await;
    page.until("document.title === 'stored'").await;
    embed(&mut page, &browser.site.url("/store"), "sandbox=allow-scripts").await;
    embed(&mut page, &cross_site(&browser.site.url("/store")), "sandbox").await;
    embed(&mut page, "data:text/html,<p>data", "").await;
    page.sandbox.fingerprint().await.unwrap();
    let mut other = moved(&browser, &mut page).await;
    assert_eq!(other.text("localStorage.a + sessionStorage.b").await, "12");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_hangs_costs_only_itself() {
    let browser = Browser::start_with(|o| o.site_isolation = true).await;
    let mut page = browser.page("/store").await;
    page.until("document.title === 'stored'").await;
    let (url, _serving) =
        serve("<script>onmessage = () => { parent.postMessage('spins', '*'); setTimeout(() => { for (;;); }) }</script>").await;
    embed(&mut page, &cross_site(&url), "").await;
    page.eval("new Promise(done => { onmessage = () => done(1); frames[0].postMessage('spin', '*') })").await;
    page.sandbox.fingerprint().await.unwrap();
    let mut other = moved(&browser, &mut page).await;
    assert_eq!(other.text("localStorage.a + sessionStorage.b").await, "12");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_no_origin_keeps_its_place() {
    let browser = Browser::start().await;
    let mut page = browser.open().await;
    page.ok("goto('data:text/html,<div style=height:3000px>data')").await;
    page.ok("scroll(0, 700)").await;
    let scrolled = page.eval("scrollY").await.as_f64().unwrap();
    assert!(scrolled > 0.0);
    let mut other = moved(&browser, &mut page).await;
    assert_eq!(other.eval("scrollY").await.as_f64().unwrap(), scrolled);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_json_cannot_hold_are_left_out_and_all_others_come_back() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    put(
        &mut page,
        "['big', {a: 1n}], ['date', new Date(0)], ['deep date', {a: [new Date(0)]}], ['blob', new Blob(['x'])], ['map', new Map([[1, 2]])],
         ['bytes', new Uint8Array(2)], ['nan', NaN], ['minus zero', [-0]], ['infinite', -Infinity], ['hole', [1,,2]],
         ['named', Object.assign([1], {a: 2})], ['no value', {a: undefined}], ['error', new Error('x')], ['boxed', Object(1)],
         ['cycle', (a => { a.a = a; return a })({})], ['twice', (a => [a, a])({})],
         ['endless', Array(600).fill().reduce(a => [a], [])]",
    )
    .await;
    assert_eq!(stored(&mut page, "k => k.length").await, 17);
    let good = "['object', {a: [1.5, 'x', null, true, {b: {}}, []], '': -1e300}], ['proto', JSON.parse('{\"__proto__\": {\"a\": 1}}')],
        ['undefined', undefined], ['null', null], ['text', '\\u2028\\ud800</script>'], ['nested', Array(300).fill().reduce(a => [a], [])]";
    put(&mut page, good).await;
    let mut other = moved(&browser, &mut page).await;
    let keys = stored(&mut other, "k => k.sort()").await;
    assert_eq!(keys, json!(["nested", "null", "object", "proto", "text", "undefined"]));
    let same = format!("(k, v) => [{good}].every(([key, value]) => JSON.stringify(value) === JSON.stringify(v[k.indexOf(key)]))");
    assert_eq!(stored(&mut other, &same).await, true);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_json_cannot_hold_do_not_cost_the_reset() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    put(&mut page, "[new Date(0), 1], [Infinity, 2], [new Uint8Array(2), 3], [[1, new Date(0)], 4], [7, 5], ['x', 6], [[1, ['y', 2]], 7]")
        .await;
    let mut other = moved(&browser, &mut page).await;
    assert_eq!(stored(&mut other, "(...kv) => kv").await, json!([[7, "x", [1, ["y", 2]]], [5, 6, 7]]));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_texts_come_back_whatever_is_in_them() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    let texts = "['\\ud800', 'half a pair'], ['length', '1'], ['key', '\\u0000'], ['__proto__', '\\udc00\\ud800'], ['getItem', '\\u2028']";
    page.eval(&format!("for (const [k, v] of [{texts}]) localStorage.setItem(k, v); 0")).await;
    let mut other = moved(&browser, &mut page).await;
    let same = format!("[{texts}].filter(([k, v]) => localStorage.getItem(k) !== v).map(([k]) => k)");
    assert_eq!(other.eval(&same).await, json!([]));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_saved_with_its_page_only_where_it_shares_its_site() {
    let browser = Browser::start().await;
    let port = Site::start().await;
    let mut page = browser.page("/plain").await;
    let outer = cross_site(&browser.site.url("/plain"));
    embed(&mut page, &port.url("/store"), "").await;
    embed(&mut page, &cross_site(&browser.site.url("/store")), "").await;
    let mut other = moved(&browser, &mut page).await;
    other.ok(&format!("goto('{outer}')")).await;
    assert_eq!(other.text("localStorage.length + ',' + sessionStorage.length").await, "0,0");
    assert_eq!(other.text("indexedDB.databases().then(d => d.length)").await, "0");
    other.ok(&format!("goto('{}')", port.url("/plain"))).await;
    assert_eq!(other.text("localStorage.a + sessionStorage.b").await, "12");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sandbox_had_stored_before_does_not_shine_through() {
    let browser = Browser::start().await;
    let mut page = browser.page("/store").await;
    page.until("document.title === 'stored'").await;
    put(&mut page, "['k', {v: 4}]").await;
    page.eval("localStorage.a = 2; sessionStorage.clear(); document.cookie = 'c=;max-age=0'; document.cookie = 'd=1'").await;
    let state = page.sandbox.save_state().await.unwrap();
    // A reset to a snapshot sets the task up first.
    let mut other = browser.page("/store").await;
    other.until("document.title === 'stored'").await;
    other.eval("localStorage.z = 1").await;
    other.sandbox.restore_state(&state).await.unwrap();
    assert_eq!(other.text("document.cookie").await, "d=1");
    assert_eq!(other.eval("[{...localStorage}, {...sessionStorage}]").await, json!([{"a": "2"}, {}]));
    assert_eq!(stored(&mut other, "(k, v) => v[0].v").await, 4);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_that_share_an_origin_find_it_as_it_was_before_any_of_them_loads() {
    let browser = Browser::start().await;
    let (url, _serving) = serve(
        "<script>localStorage.n = 1 + Number(localStorage.n || 0); const r = indexedDB.open('db', 3);
         r.onupgradeneeded = () => r.result.createObjectStore('s', {keyPath: ['a', 'b']}).createIndex('i', 'c', {unique: true, multiEntry: true});
         r.onsuccess = () => { db = r.result; document.title = 'open' }</script>",
    )
    .await;
    let mut page = browser.open().await;
    page.ok(&format!("goto('{url}')")).await;
    page.until("document.title === 'open'").await;
    page.ok("new_tab()").await;
    page.ok(&format!("goto('{url}')")).await;
    page.until("document.title === 'open'").await;
    let insert = "new Promise(done => { const t = db.transaction('s', 'readwrite'); t.objectStore('s').put({a: 1, b: 'x', c: [5, 6]});
        t.oncomplete = () => done(1) })";
    page.eval(insert).await;
    assert_eq!(page.text("localStorage.n").await, "2");
    let mut other = moved(&browser, &mut page).await;
    other.until("document.title === 'open'").await;
    assert_eq!(other.text("localStorage.n").await, "4", "each of two tabs adds one to two");
    let find = "new Promise(done => { const g = db.transaction('s').objectStore('s').index('i').get(6); g.onsuccess = () =>
        done([db.version, g.result, g.source.unique, g.source.multiEntry, g.source.objectStore.keyPath]) })";
    assert_eq!(other.eval(find).await, json!([3, {"a": 1, "b": "x", "c": [5, 6]}, true, true, ["a", "b"]]));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_after_a_restore_leads_nowhere() {
    let browser = Browser::start().await;
    let mut page = browser.page("/store").await;
    page.until("document.title === 'stored'").await;
    let mut other = moved(&browser, &mut page).await;
    other.ok("go_back()").await;
    assert!(other.observe(ObservationKind::Url).await.ends_with("/store"));
    assert_eq!(other.eval("history.length").await, 1);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_never_comes_does_not_cost_the_reset() {
    let browser = Browser::start().await;
    let mut page = browser.open().await;
    page.act(&format!("goto('{}')", browser.site.url("/hung"))).await;
    page.eval("localStorage.a = 1").await;
    let mut other = moved(&browser, &mut page).await;
    assert_eq!(other.text("localStorage.a + p.textContent").await, "1hung");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_several_origins_are_observed_with_ids_after_a_restore() {
    let browser = Browser::start().await;
    let port = Site::start().await;
    let mut page = browser.page("/store").await;
    page.until("document.title === 'stored'").await;
    embed(&mut page, &port.url("/store"), "").await;
    page.ok("new_tab()").await;
    page.ok(&format!("goto('{}')", cross_site(&browser.site.url("/store")))).await;
    page.ok(&format!("goto('{}')", cross_site(&browser.site.url("/button")))).await;
    let state = page.sandbox.save_state().await.unwrap();
    let mut other = browser.open().await;
    other.sandbox.web().unwrap().navigate(&cross_site(&port.url("/button"))).await.unwrap();
    other.id("button 'go'").await;
    other.sandbox.restore_state(&state).await.unwrap();
    let id = other.id("button 'go'").await;
    other.ok(&format!("click('{id}')")).await;
    assert!(other.observe(ObservationKind::AxtreeTxt).await.contains(&format!("[{id}] button 'done 1'")));
    other.ok("tab_focus(0)").await;
    assert!(other.observe(ObservationKind::AxtreeTxt).await.contains("store"));
    assert!(other.observe(ObservationKind::Html).await.contains("store"));
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
async fn frames_of_another_site_have_a_process_of_their_own_where_asked_for() {
    for site_isolation in [false, true] {
        let browser = Browser::start_with(|o| o.site_isolation = site_isolation).await;
        let mut page = browser.page("/plain").await;
        // The browser's own window has one beside the page's.
        while browser.renderers().len() < 2 {
            tokio::task::yield_now().await;
        }
        for (url, more) in [(browser.site.url("/plain"), 0), (cross_site(&browser.site.url("/plain")), usize::from(site_isolation))] {
            embed(&mut page, &url, "").await;
            assert_eq!(browser.renderers().len(), 2 + more, "isolation {site_isolation}, frame {url}");
        }
        browser.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_sandboxes_leave_no_process_behind() {
    let browser = Browser::start().await;
    // The browser's own window has one, as soon as it is up.
    while browser.renderers().is_empty() {
        tokio::task::yield_now().await;
    }
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

//! Pages that misbehave, and browsers that die: the sandbox says so and others go on.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::time::{Duration, Instant};

use common::Browser;
use envfarm_core::{Action, ActionStatus, BackendError, Dialect, ObservationKind, ObservationRequest, ObservationSpec};

#[tokio::test(flavor = "multi_thread")]
async fn dialogs_are_answered_and_noted() {
    let browser = Browser::start().await;
    let mut page = browser.page("/dialogs").await;
    for (name, title, note) in [("alert", "after", "hi"), ("confirm", "false", "sure?"), ("prompt", "null", "name?")] {
        let id = page.id(&format!("'{name}'")).await;
        let result = page.ok(&format!("click('{id}')")).await;
        assert!(result.notes.iter().any(|n| n.contains(note)), "{result:?}");
        assert_eq!(page.text("document.title").await, title);
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_are_refused_and_noted() {
    let browser = Browser::start().await;
    let mut page = browser.page("/links").await;
    let id = page.id("'download'").await;
    let result = page.ok(&format!("click('{id}')")).await;
    assert!(result.notes.iter().any(|n| n.contains("a.bin")), "{result:?}");
    assert!(page.observe(ObservationKind::Url).await.ends_with("/links"));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_popups_leave_a_bounded_number_of_tabs() {
    let browser = Browser::start().await;
    let mut page = browser.page("/links").await;
    let id = page.id("'popups'").await;
    page.act(&format!("click('{id}')")).await;
    let tabs: serde_json::Value = serde_json::from_str(&page.observe(ObservationKind::Tabs).await).unwrap();
    let count = tabs["tabs"].as_array().unwrap().len();
    assert!((2..=16).contains(&count), "{count} tabs");
    page.ok("tab_focus(0)").await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/links"));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_spins_costs_its_action_and_not_its_episode() {
    let browser = Browser::start().await;
    let mut page = browser.page("/spin").await;
    let (spin, other) = (page.id("'spin'").await, page.id("'other'").await);
    let result = page.act(&format!("click('{spin}')")).await;
    assert_eq!(result.status, ActionStatus::TimedOut, "{result:?}");
    page.ok(&format!("click('{other}')")).await;
    assert_eq!(page.text("document.title").await, "alive");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_never_ends_costs_the_cap_and_no_more() {
    let browser = Browser::start().await;
    let mut page = browser.page("/links").await;
    let id = page.id("'never'").await;
    let began = Instant::now();
    let result = page.act(&format!("click('{id}')")).await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(result.notes.iter().any(|n| n.contains("busy")), "{result:?}");
    page.ok(&format!("goto('{}')", browser.site.url("/button"))).await;
    let mut page = browser.page("/links").await;
    let id = page.id("'poll'").await;
    page.act(&format!("click('{id}')")).await;
    let began = Instant::now();
    page.ok("mouse_click(5, 5)").await;
    assert!(began.elapsed() < Duration::from_secs(1), "a hung request costs one step, not every later one");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_eats_memory_loses_its_sandbox_and_no_other() {
    let browser = Browser::start_with(|o| o.action_cap = Duration::from_secs(60)).await;
    let mut other = browser.page("/button").await;
    let mut page = browser.page("/hog").await;
    let id = page.id("'hog'").await;
    let action = Dialect::Browsergym.parse(&format!("click('{id}')")).unwrap();
    let error = page.sandbox.act(&action).await.unwrap_err();
    assert!(matches!(error, BackendError::SandboxLost(_)), "{error:?}");
    let id = other.id("button").await;
    other.ok(&format!("click('{id}')")).await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_renderer_loses_its_sandbox_and_no_other() {
    let browser = Browser::start().await;
    let mut other = browser.page("/button").await;
    let before = browser.renderers();
    let mut page = browser.page("/plain").await;
    let new: Vec<u32> = browser.renderers().into_iter().filter(|pid| !before.contains(pid)).collect();
    assert!(!new.is_empty());
    for pid in new {
        kill(pid);
    }
    let specs = vec![ObservationSpec::new(ObservationKind::AxtreeTxt, None).unwrap()];
    let deadline = Instant::now() + Duration::from_secs(5);
    let error = loop {
        match page.sandbox.observe(&ObservationRequest { specs: specs.clone(), ..Default::default() }).await {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < deadline, "the loss was never told"),
        }
    };
    assert!(matches!(error, BackendError::SandboxLost(_)), "{error:?}");
    let id = other.id("button").await;
    other.ok(&format!("click('{id}')")).await;
    page.sandbox.close().await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_browser_is_told_to_its_host_and_sandboxes() {
    let browser = Browser::start().await;
    let mut page = browser.page("/button").await;
    kill(browser.endpoints.pid.unwrap());
    tokio::time::timeout(Duration::from_secs(5), browser.host.closed()).await.expect("the host tells that it died");
    let error = page.sandbox.act(&Action::NOOP).await.unwrap_err();
    assert!(matches!(error, BackendError::HostLost(_)), "{error:?}");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_closes_itself_is_replaced() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.eval("window.open('/closer') && 1").await;
    page.ok("noop(0)").await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/closer"));
    let id = page.id("'close'").await;
    page.ok(&format!("click('{id}')")).await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/plain"));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sandbox_reaches_the_browsers_own_port() {
    let browser = Browser::start().await;
    let list = browser.cdp_url().replace("ws:", "http:").split("/devtools").next().unwrap().to_owned() + "/json/list";
    let mut page = browser.page("/plain").await;
    let result = page.act(&format!("goto('{list}')")).await;
    assert_eq!(result.status, ActionStatus::Refused, "{result:?}");
    // By script, under another name.
    page.eval(&format!("location.href = '{}'", list.replace("127.0.0.1", "localhost"))).await;
    let result = page.act("noop(50)").await;
    assert!(result.notes.iter().any(|n| n.contains("the farm's own")), "{result:?}");
    assert_eq!(page.observe(ObservationKind::Url).await, "about:blank");
    // In a frame.
    let mut page = browser.page("/plain").await;
    page.eval(&format!("document.body.innerHTML = '<iframe src=\"{list}\"></iframe>'")).await;
    page.act("noop(50)").await;
    assert!(!page.observe(ObservationKind::AxtreeTxt).await.contains("devtools"));
    browser.stop().await;
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

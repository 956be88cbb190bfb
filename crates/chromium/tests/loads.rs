//! Pages that come late, in part, from elsewhere, or go again: steps wait as long as it makes sense, and no longer.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::time::{Duration, Instant};

use common::Browser;
use envfarm_core::{Action, ActionStatus, ObservationKind};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_late_is_waited_for() {
    let browser = Browser::start().await;
    let mut page = browser.page("/slowlink").await;
    let id = page.id("'slow'").await;
    // Longer than the caps of action and settling.
    page.ok(&format!("click('{id}')")).await;
    assert_eq!(page.observe(ObservationKind::Title).await, "slow");
    page.ok("go_back()").await;
    page.ok(&format!("goto('{}')", browser.site.url("/slow"))).await;
    assert!(page.observe(ObservationKind::AxtreeTxt).await.contains("at last"));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_never_comes_costs_one_step_and_no_episode() {
    let browser = Browser::start().await;
    let mut page = browser.open().await;
    page.act(&format!("goto('{}')", browser.site.url("/hung"))).await;
    let id = page.id("'press'").await;
    let began = Instant::now();
    page.ok(&format!("click('{id}')")).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(page.text("p.textContent").await, "pressed");
    // A request under way when the page goes is the old page's.
    let began = Instant::now();
    page.ok(&format!("goto('{}')", browser.site.url("/plain"))).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // As the start of an episode.
    browser.page("/hung").await.ok("noop(0)").await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_ends_when_the_page_shows_what_it_fetched() {
    let browser = Browser::start().await;
    let mut page = browser.open().await;
    page.sandbox.web().unwrap().visit(&browser.site.url("/spa")).await.unwrap();
    assert!(page.observe(ObservationKind::AxtreeTxt).await.contains("Ready"));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_another_process_is_seen_by_a_world_of_its_own() {
    let browser = Browser::start().await;
    let mut page = browser.page("/nest").await;
    for round in 0..4 {
        let (path, frames) = if round % 2 == 0 { ("/scripted", 1) } else { ("/nest", 6) };
        let url = browser.site.url(path);
        // Another site each time, and with it another process, whose worlds are numbered from one again.
        let url = if round % 4 < 2 { url.replace("127.0.0.1", "localhost") } else { url };
        page.ok(&format!("goto('{url}')")).await;
        let tree = page.observe(ObservationKind::AxtreeTxt).await;
        assert_eq!(tree.matches("StaticText 'scripted'").count(), frames, "{tree}");
        assert_ne!(page.observe(ObservationKind::Title).await, "spoofed");
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_replaces_its_own_clock_and_observers_is_settled_all_the_same() {
    let browser = Browser::start().await;
    let mut page = browser.page("/tampered").await;
    let id = page.id("'go'").await;
    page.ok(&format!("click('{id}')")).await;
    assert_eq!(page.text("p.textContent").await, "n500");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_popup_that_goes_while_it_is_looked_at_costs_nothing() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    for _ in 0..10 {
        page.eval("window.open('/blink') && 1").await;
        page.observe(ObservationKind::Browsergym).await;
        page.ok("noop(0)").await;
    }
    page.ok("noop(100)").await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/plain"));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_action_of_a_sequence_has_its_own_time() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    let result = page.act("noop(1500)\nnoop(1500)").await;
    assert_eq!(result.status, ActionStatus::Ok, "{result:?}");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scrolling_goes_to_what_is_under_the_pointer_and_paging_to_the_page() {
    let browser = Browser::start().await;
    let mut page = browser.page("/scrollers").await;
    page.ok("mouse_move(400, 300)").await;
    page.ok("scroll(0, 50)").await;
    page.until("inner.scrollTop === 50 && scrollY === 0").await;
    page.perform(Action::ScrollPages { pages: 1.0 }).await;
    page.until("inner.scrollTop === 50 && scrollY === 600").await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_in_the_background_tell_their_titles() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.eval("document.title = 'changed'").await;
    page.ok("new_tab()").await;
    let tabs = page.observe(ObservationKind::Tabs).await;
    assert!(tabs.contains("\"changed\""), "{tabs}");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_either_side_and_of_the_number_pad_are_known() {
    let browser = Browser::start().await;
    let mut page = browser.page("/form").await;
    let id = page.id("'name'").await;
    for key in ["ControlLeft+a", "Numpad7", "NumpadAdd", "ShiftRight+a"] {
        page.ok(&format!("press('{id}', '{key}')")).await;
    }
    assert_eq!(page.text("t.value.toLowerCase()").await, "7+a");
    browser.stop().await;
}
